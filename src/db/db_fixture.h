/* For the tests of db/: a small schema with its own statements, so that the program's may change
 * freely, and threads that meet at a gate. */
#pragma once

#include "base/test.h"
#include "db/db_driver.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* X(name, sql) */
#define FIXTURE_STATEMENTS(X)                                       \
    X(ADD, "INSERT INTO item (name) VALUES ($1)")                   \
    X(ADD_CHILD, "INSERT INTO item (name, parent) VALUES ($1, $2)") \
    X(ADD_BYTES, "INSERT INTO item (name, bytes) VALUES ($1, $2)")  \
    X(GET_BYTES, "SELECT bytes, name FROM item WHERE name = $1")    \
    X(COUNT, "SELECT count(*) FROM item")                           \
    X(NAMES, "SELECT name FROM item ORDER BY name")                 \
    X(REMOVE, "DELETE FROM item WHERE name = $1")                   \
    X(ECHO, "SELECT $1, $2, $3")                                    \
    X(GIVE_UP, "ROLLBACK")                                          \
    X(MAX_PAGES_10, "PRAGMA max_page_count = 10")                   \
    X(MAX_PAGES_ANY, "PRAGMA max_page_count = 1000000")             \
    X(FOREIGN_KEYS, "PRAGMA foreign_keys")                          \
    X(SYNCHRONOUS, "PRAGMA synchronous")

enum fixture_query {
#define X(name, sql) T_##name,
    FIXTURE_STATEMENTS(X)
#undef X
        T_COUNT_OF_STATEMENTS
};
#define T(name) ((enum query)T_##name)

static const struct db_statement fixture_statements[] = {
#define X(name, sql) {#name, sql},
    FIXTURE_STATEMENTS(X)
#undef X
};

static const struct embedded_file fixture_migrations[] = {
    {"0001_start.sql", "CREATE TABLE item ("
                       "    id     INTEGER PRIMARY KEY,"
                       "    name   TEXT NOT NULL UNIQUE,"
                       "    bytes  BLOB,"
                       "    parent INTEGER REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED"
                       ") STRICT;"},
    {0, 0},
};

/* A new directory of its own below test_dir(). */
static inline str fixture_dir(struct arena *a)
{
    char *dir = arena_cstr(a, arena_printf(a, "%s/XXXXXX", test_dir()));
    if (!mkdtemp(dir))
        abort();
    return str_from(dir);
}

/* No upkeep when idle and no checkpoints, unless a test asks for them. */
static inline struct db_setup fixture_setup(str dir)
{
    return (struct db_setup){
        .driver = &db_driver_sqlite,
        .dir = dir,
        .readers_n = 4,
        .statements = fixture_statements,
        .statement_n = T_COUNT_OF_STATEMENTS,
        .migrations = fixture_migrations,
        .idle_ms = 3600 * 1000,
        .checkpoint_pages = 1000000,
    };
}

/* Opens or ends the test program. */
static inline struct db *fixture_open(const struct db_setup *setup)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct db *db = NULL;
    if (db_open_setup(&db, setup, &a, &why)) {
        printf("Bail out! %.*s\n", STR_ARG(why.message));
        exit(99);
    }
    return db;
}

/* db_tx functions whose argument is a name. */
static inline void *named(const char *name)
{
    return (void *)(uintptr_t)name;
}

static inline enum err fixture_add(struct db_conn *conn, void *name)
{
    return db_exec(conn, T(ADD), DB_TEXT(str_from(name)));
}

static inline int64_t fixture_count_in(struct db_conn *conn)
{
    DB_CURSOR struct db_cursor c = db_query(conn, T(COUNT));
    return db_next(&c) ? db_int(&c, 0) : -1;
}

static inline int64_t fixture_count(struct db *db)
{
    return fixture_count_in(db_reader(db, 0));
}

/* One thread waits inside until another opens. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool reached, open;
};
#define GATE_INIT                                                         \
    {                                                                     \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false \
    }

static inline void gate_pass(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->reached = true;
    pthread_cond_broadcast(&g->moved);
    while (!g->open)
        pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static inline void gate_await(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    while (!g->reached)
        pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static inline void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

/* db_tx on a thread of its own. */
struct fixture_tx {
    struct db *db;
    db_tx_fn *fn;
    void *arg;
    enum err err;
    pthread_t thread;
};

static inline void *fixture_tx_main(void *arg)
{
    struct fixture_tx *tx = arg;
    tx->err = db_tx(tx->db, tx->fn, tx->arg);
    return NULL;
}

static inline void fixture_tx_start(struct fixture_tx *tx, struct db *db, db_tx_fn *fn, void *arg)
{
    *tx = (struct fixture_tx){.db = db, .fn = fn, .arg = arg};
    if (pthread_create(&tx->thread, NULL, fixture_tx_main, tx))
        abort();
}

static inline enum err fixture_tx_join(struct fixture_tx *tx)
{
    pthread_join(tx->thread, NULL);
    return tx->err;
}

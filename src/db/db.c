#include "base/metrics.h"
#include "db/db_driver.h"
#include "db/db_hot.h"
#include "db/db_writer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const struct db_statement statements[] = {
#define Q DB_STATEMENT_Q
#define H DB_STATEMENT_H
#define W DB_STATEMENT_W
#include "db/queries.def"
#undef Q
};

struct db {
    struct db_setup setup;
    struct arena arena; /* what lives as long as the db */
    struct db_conn writer_conn;
    struct db_conn *readers; /* setup.readers_n */
    struct db_conn memory;   /* the reactors' */
    struct db_hot *hot;      /* NULL: nothing is remembered */
    size_t remember_bytes;
    struct db_touches touches; /* the writer's */
    struct db_writer writer;
    bool reading_only; /* the writer was never started */
    atomic_bool damaged;
};

enum err db_conn_fail(struct db_conn *conn, enum err e, const char *text)
{
    snprintf(conn->error, sizeof conn->error, "%s", text);
    if (e == ERR_DB_CORRUPT && conn->damaged) {
        atomic_store(conn->damaged, true);
        metric_set_at(METRIC_UNREADY, UNREADY_DATABASE, 1);
    }
    return e;
}

static struct db_setup program_setup(str dir, unsigned readers_n)
{
    return (struct db_setup){
        .driver = &db_driver_sqlite,
        .dir = dir,
        .readers_n = readers_n,
        .statements = statements,
        .statement_n = Q_COUNT,
        .migrations = schema_sqlite,
        .idle_ms = 1000,
        .checkpoint_pages = 1000,
    };
}

enum err db_open(struct db **ret, str dir, unsigned readers_n, struct arena *a, struct error *why)
{
    struct db_setup setup = program_setup(dir, readers_n);
    return db_open_setup(ret, &setup, a, why);
}

enum err db_open_reading(struct db **ret, str dir, unsigned readers_n, struct arena *a,
                         struct error *why)
{
    struct db_setup setup = program_setup(dir, readers_n);
    return db_open_reading_setup(ret, &setup, a, why);
}

/* Not connected yet; NULL without memory. */
static struct db *db_new(const struct db_setup *setup)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        return NULL;
    db->setup = *setup;
    db->setup.dir = arena_str(&db->arena, setup->dir);
    db->writer_conn =
        (struct db_conn){.setup = &db->setup, .damaged = &db->damaged, .writer = true};
    db->memory =
        (struct db_conn){.setup = &db->setup, .damaged = &db->damaged, .memory_only = true};
    db->readers = ARENA_ARRAY(&db->arena, setup->readers_n, struct db_conn);
    for (unsigned i = 0; i < setup->readers_n; i++)
        db->readers[i] = (struct db_conn){.setup = &db->setup, .damaged = &db->damaged};
    return db;
}

enum err db_open_reading_setup(struct db **ret, const struct db_setup *setup, struct arena *a,
                               struct error *why)
{
    struct db *db = db_new(setup);
    if (!db)
        return error_set(a, why, ERR_OVERLOADED, "no memory for the database");
    db->reading_only = true;
    assert(setup->readers_n > 0);
    enum err e = setup->driver->open_reading(&db->readers[0], a, why);
    if (e) {
        db_close(db);
        return e;
    }
    *ret = db;
    return OK;
}

enum err db_open_setup(struct db **ret, const struct db_setup *setup, struct arena *a,
                       struct error *why)
{
    struct db *db = db_new(setup);
    if (!db)
        return error_set(a, why, ERR_OVERLOADED, "no memory for the database");
    enum err e = setup->driver->open(&db->writer_conn, a, why);
    if (!e) {
        e = db_writer_start(&db->writer, &db->writer_conn);
        if (e)
            error_set(a, why, e, "cannot start the database's writer thread");
    }
    if (e) {
        setup->driver->disconnect(&db->writer_conn);
        arena_release(&db->arena);
        free(db);
        return e;
    }
    *ret = db;
    return OK;
}

static enum err attach(struct db_conn *conn, void *arg)
{
    struct db *db = arg;
    enum { SHARDS = 16 };
    const atomic_uint *changes = db->setup.driver->count_of_changes(conn);
    if (!changes)
        return OK;
    db->hot = db_hot_new(db->remember_bytes, SHARDS, changes);
    conn->hot = db->hot;
    conn->touches = &db->touches;
    return OK;
}

enum err db_remember(struct db *db, size_t bytes_max)
{
    if (!bytes_max)
        return OK;
    db->remember_bytes = bytes_max;
    enum err e = db_tx(db, attach, db);
    if (e)
        return e;
    db->memory.hot = db->hot;
    for (unsigned i = 0; i < db->setup.readers_n; i++)
        db->readers[i].hot = db->hot;
    return OK;
}

enum err db_close(struct db *db)
{
    if (!db)
        return OK;
    if (!db->reading_only)
        db_writer_stop(&db->writer);
    for (unsigned i = 0; i < db->setup.readers_n; i++) {
        assert(db->readers[i].cursors_n == 0 && db->readers[i].snapshot_n == 0);
        db->setup.driver->disconnect(&db->readers[i]);
    }
    db_hot_free(db->hot);
    bool again;
    enum err e = db->reading_only ? OK : db->setup.driver->maintain(&db->writer_conn, true, &again);
    db->setup.driver->disconnect(&db->writer_conn);
    arena_release(&db->arena);
    free(db);
    return e;
}

struct db_conn *db_reader(struct db *db, int index)
{
    if (index < 0)
        return &db->memory;
    assert((unsigned)index < db->setup.readers_n);
    return &db->readers[index];
}

unsigned db_schema(void)
{
    unsigned n = 0;
    while (schema_sqlite[n].name)
        n++;
    return n;
}

const char *db_engine(void)
{
    return db_driver_sqlite.name;
}

const char *db_engine_version(void)
{
    return db_driver_sqlite.version();
}

void db_sizes(const struct db *db, uint64_t *file_bytes, uint64_t *wal_bytes)
{
    db->setup.driver->sizes(&db->setup, file_bytes, wal_bytes);
}

uint64_t db_queued(struct db *db)
{
    return db_counters(db).queued;
}

enum err db_tx(struct db *db, db_tx_fn *fn, void *arg)
{
    assert(!db->reading_only);
    return db_writer_run(&db->writer, fn, arg);
}

str db_error_text(struct db_conn *conn, struct arena *a)
{
    return conn ? arena_str(a, str_from(conn->error)) : (str){0};
}

str db_writer_error_text(struct db *db, struct arena *a)
{
    pthread_mutex_lock(&db->writer.lock);
    str text = arena_str(a, str_from(db->writer.error));
    pthread_mutex_unlock(&db->writer.lock);
    return text;
}

struct db_condition db_condition(struct db *db)
{
    pthread_mutex_lock(&db->writer.lock);
    struct db_condition condition = {atomic_load(&db->damaged), db->writer.trouble,
                                     db->writer.upkeep};
    pthread_mutex_unlock(&db->writer.lock);
    return condition;
}

struct db_counters db_counters(struct db *db)
{
    pthread_mutex_lock(&db->writer.lock);
    struct db_counters counters = db->writer.counters;
    pthread_mutex_unlock(&db->writer.lock);
    return counters;
}

/* Statements. */

static enum err connected(struct db_conn *conn)
{
    if (conn->memory_only)
        return ERR_WOULD_BLOCK;
    return conn->link ? OK : conn->setup->driver->connect(conn);
}

bool db_may_block(const struct db_conn *conn)
{
    return !conn->memory_only;
}

enum err db_verify(struct db_conn *conn, enum db_verify what, db_verify_fn *found, void *arg)
{
    enum err e = connected(conn);
    return e ? e : conn->setup->driver->verify(conn, what, found, arg);
}

/* The snapshot this thread holds in memory, on a connection that others use as well. */
static _Thread_local struct {
    const struct db_conn *conn; /* NULL: none */
    unsigned depth;
    uint64_t now;
} held;

/* A reader's statements see one state from the first of them to the end of the last. */
static void set_stamp(struct db_conn *conn)
{
    if (conn->hot && conn->cursors_n == 0 && conn->snapshot_n == 0)
        conn->stamp = db_hot_stamp(conn->hot);
}

/* *rows stays NULL when the statement has to be run. */
static enum err find_rows(struct db_conn *conn, enum query q, const struct db_value *values,
                          size_t n, struct cache_value **rows)
{
    if (!conn->hot || conn->writer || conn->setup->statements[q].use != DB_USE_HOT)
        return OK;
    if (!conn->memory_only)
        return db_hot_fill(conn, q, values, n, rows);
    assert(held.conn == conn);
    *rows = db_hot_find(conn->hot, conn, q, values, n, held.now);
    return OK;
}

struct db_cursor db_query_values(struct db_conn *conn, enum query q, const struct db_value *values,
                                 size_t n)
{
    assert(q < conn->setup->statement_n);
    struct db_cursor c = {.conn = conn};
    if (!conn->memory_only) {
        c.err = connected(conn);
        if (!c.err && !conn->writer)
            set_stamp(conn);
    }
    if (!c.err)
        c.err = find_rows(conn, q, values, n, &c.rows);
    if (c.err || c.rows)
        return c;
    c.err = connected(conn);
    if (c.err)
        return c;
    if (conn->touches)
        db_hot_touch(conn->touches, &conn->setup->statements[q], values);
    c.err = conn->setup->driver->start(conn, q, values, n, &c.stmt);
    if (!c.err)
        conn->cursors_n++;
    return c;
}

void db_cursor_end(struct db_cursor *c)
{
    cache_value_unref(c->rows);
    c->rows = NULL;
    if (!c->stmt)
        return;
    c->conn->setup->driver->reset(c->stmt);
    c->conn->cursors_n--;
    c->stmt = NULL;
}

bool db_next(struct db_cursor *c)
{
    if (c->rows) {
        if (c->row_n < db_rows(c->rows)->row_n) {
            c->row_n++;
            return true;
        }
        db_cursor_end(c);
        return false;
    }
    if (!c->stmt)
        return false;
    bool row = false;
    c->err = c->conn->setup->driver->step(c->conn, c->stmt, &row);
    if (c->err || !row)
        db_cursor_end(c);
    return c->stmt != NULL;
}

/* Of a row in memory. */
static const struct db_cell *cell(const struct db_cursor *c, int column)
{
    const struct db_rows *rows = db_rows(c->rows);
    assert(c->row_n > 0 && (unsigned)column < rows->column_n);
    return &rows->cells[(c->row_n - 1) * rows->column_n + (unsigned)column];
}

static str cell_bytes(const struct db_cursor *c, int column)
{
    const struct db_cell *in = cell(c, column);
    bool bytes = in->type == DB_VALUE_TEXT || in->type == DB_VALUE_BYTES;
    return bytes ? str_make(c->rows->bytes + in->offset, in->n) : (str){0};
}

int64_t db_int(const struct db_cursor *c, int column)
{
    return c->rows ? cell(c, column)->i : c->conn->setup->driver->column_int(c->stmt, column);
}

str db_text(const struct db_cursor *c, int column)
{
    return c->rows ? cell_bytes(c, column) : c->conn->setup->driver->column_text(c->stmt, column);
}

str db_bytes(const struct db_cursor *c, int column)
{
    return c->rows ? cell_bytes(c, column) : c->conn->setup->driver->column_bytes(c->stmt, column);
}

bool db_is_null(const struct db_cursor *c, int column)
{
    return c->rows ? cell(c, column)->type == DB_VALUE_NULL
                   : c->conn->setup->driver->column_is_null(c->stmt, column);
}

str db_copy(const struct db_cursor *c, int column, struct arena *a)
{
    str s = db_bytes(c, column);
    return s.p ? arena_str(a, s) : s;
}

enum err db_exec_values(struct db_conn *conn, enum query q, int64_t *changes,
                        const struct db_value *values, size_t n)
{
    DB_CURSOR struct db_cursor c = db_query_values(conn, q, values, n);
    bool row = true;
    assert(!c.rows); /* what is worth remembering is worth reading */
    while (!c.err && row)
        c.err = conn->setup->driver->step(conn, c.stmt, &row);
    if (!c.err && changes)
        *changes = conn->setup->driver->changes(conn, c.stmt);
    return c.err;
}

/* Snapshots. */

static struct db_snapshot hold(struct db_conn *conn)
{
    if (!conn->hot)
        return (struct db_snapshot){0};
    assert(!held.conn || held.conn == conn);
    if (held.depth++ == 0) {
        held.conn = conn;
        held.now = db_hot_now(conn->hot);
    }
    return (struct db_snapshot){.conn = conn};
}

struct db_snapshot db_snapshot_begin(struct db_conn *conn)
{
    if (conn->memory_only)
        return hold(conn);
    if (conn->writer)
        return (struct db_snapshot){0};
    struct db_snapshot s = {.err = connected(conn)};
    if (!s.err)
        set_stamp(conn);
    if (!s.err && conn->snapshot_n == 0)
        s.err = conn->setup->driver->begin(conn);
    if (!s.err) {
        conn->snapshot_n++;
        s.conn = conn;
    }
    return s;
}

void db_snapshot_end(struct db_snapshot *s)
{
    if (!s->conn)
        return;
    if (s->conn->memory_only)
        held.conn = --held.depth ? held.conn : NULL;
    else if (--s->conn->snapshot_n == 0)
        s->conn->setup->driver->rollback(s->conn);
    s->conn = NULL;
}

void db_snapshot_pause(struct db_conn *conn)
{
    if (!conn->snapshot_n)
        return;
    assert(conn->cursors_n == 0);
    conn->setup->driver->rollback(conn);
}

enum err db_snapshot_resume(struct db_conn *conn)
{
    if (!conn->snapshot_n)
        return OK;
    if (conn->hot)
        conn->stamp = db_hot_stamp(conn->hot);
    return conn->setup->driver->begin(conn);
}

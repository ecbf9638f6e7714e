/* Private to db/: what an engine implements, and what db.c and db_writer.c keep around it.
 *
 *     db.c         cursors, snapshots, readers: the API of db.h, independent of the engine
 *     db_writer.c  the queue and group commit behind db_tx
 *     db_sqlite.c  an engine
 *
 * A driver is a table of functions over connections. All take the connection, whose `link` is the
 * driver's own; all run on the thread that uses the connection. On failure they leave text with
 * db_conn_fail. An engine with many concurrent writers (PostgreSQL) implements the same table; only
 * the one who calls begin and commit then differs (db_writer.c is made for a single writer). */
#pragma once

#include "db/db.h"
#include "db/embed.h"

#include <stdatomic.h>

enum { DB_ERROR_MAX = 256, DB_DEPENDS_MAX = 3 };

struct db_driver;
struct db_link; /* the driver's connection */
struct db_hot;
struct db_touches;

/* What statements depend on and touch (db_hot.h). */
#define DB_THING_TABLE(X) X(USER) X(PROJECT) X(REPOSITORY) X(BLOB) X(BODY)
enum db_thing {
    DB_THING_NOTHING,
#define X(name) DB_THING_##name,
    DB_THING_TABLE(X)
#undef X
        DB_THING_ALL,
    DB_THING_COUNT
};

struct db_depends {
    enum db_thing thing;
    int at;      /* parameter, from 1, or column, from 0 */
    bool column; /* else parameter */
};

struct db_statement {
    const char *name;
    const char *sql;
    enum { DB_USE_READS, DB_USE_HOT, DB_USE_WRITES } use;
    struct db_depends depends[DB_DEPENDS_MAX]; /* of HOT; ended by NOTHING */
    struct db_depends touches;                 /* of WRITES */
};

/* Rows of queries.def as initialisers of struct db_statement, for
 *     #define Q DB_STATEMENT_Q
 *     #define H DB_STATEMENT_H
 *     #define W DB_STATEMENT_W
 * and what their arguments are made of. */
#define DB_STATEMENT_Q(name, sql)          {#name, sql, DB_USE_READS, {{0}}, {0}},
#define DB_STATEMENT_H(name, depends, sql) {#name, sql, DB_USE_HOT, depends, {0}},
#define DB_STATEMENT_W(name, touches, sql) {#name, sql, DB_USE_WRITES, {{0}}, touches},
#define DEPENDS(...) \
    {                \
        __VA_ARGS__  \
    }
#define FOUND(thing, column)           \
    {                                  \
        DB_THING_##thing, column, true \
    }
#define ON(thing, parameter)               \
    {                                      \
        DB_THING_##thing, parameter, false \
    }
#define TOUCHES(thing, parameter)          \
    {                                      \
        DB_THING_##thing, parameter, false \
    }
#define TOUCHES_ALL            \
    {                          \
        DB_THING_ALL, 0, false \
    }
#define TOUCHES_NOTHING            \
    {                              \
        DB_THING_NOTHING, 0, false \
    }

/* All that distinguishes a program's database from a test's. */
struct db_setup {
    const struct db_driver *driver;
    str dir;
    unsigned readers_n;
    const struct db_statement *statements; /* indexed by enum query */
    size_t statement_n;
    const struct embedded_file *migrations; /* NNNN_name.sql, contiguous from 0001 */
    uint64_t idle_ms;                       /* without work for so long: housekeeping */
    unsigned checkpoint_pages; /* written since the last checkpoint: another one, even when busy */
};

struct db_conn {
    const struct db_setup *setup;
    atomic_bool *damaged; /* of the db: set once a connection met damage */
    struct db_link *link; /* NULL: not connected yet */
    bool writer;
    bool wrote;                 /* the transaction that was committed last changed something */
    bool memory_only;           /* the reactors': has no link, only what is hot */
    struct db_hot *hot;         /* NULL: nothing is remembered */
    uint64_t stamp;             /* reader: of the snapshot it is in (db_hot.h) */
    struct db_touches *touches; /* writer: noted here; NULL: nothing is remembered */
    unsigned changes_made;      /* writer: what its commits added to *count_of_changes() */
    unsigned cursors_n;         /* open now */
    unsigned snapshot_n;        /* depth of db_snapshot_begin */
    char error[DB_ERROR_MAX];   /* last failure's text, NUL-terminated */
};

struct db_driver {
    /* Creates or migrates the store, checks the statements, connects the writer. */
    enum err (*open)(struct db_conn *writer, struct arena *a, struct error *why);
    /* Connects a reader. */
    enum err (*connect)(struct db_conn *reader);
    /* Connects a reader to a store nobody opened: looks whether it is one, and not too new. */
    enum err (*open_reading)(struct db_conn *reader, struct arena *a, struct error *why);
    /* db_verify; connected. */
    enum err (*verify)(struct db_conn *reader, enum db_verify what, db_verify_fn *found, void *arg);
    /* NULL-safe in `link`. The writer goes last, and leaves the store compact. */
    void (*disconnect)(struct db_conn *conn);

    /* A writer's transaction excludes other writers; a reader's sees one state. */
    enum err (*begin)(struct db_conn *conn);
    /* OK only when all is durable. ERR_IO, ERR_DB_CORRUPT: perhaps it is. On failure the
     * transaction may or may not be open. */
    enum err (*commit)(struct db_conn *conn);
    /* Ends the transaction if there is one. */
    void (*rollback)(struct db_conn *conn);
    /* False after begin: the engine has rolled everything back by itself. */
    bool (*in_transaction)(struct db_conn *conn);
    /* One level is enough. */
    enum err (*savepoint)(struct db_conn *conn);
    enum err (*savepoint_keep)(struct db_conn *conn);
    enum err (*savepoint_undo)(struct db_conn *conn);

    /* Prepares on first use and binds. The statement is in use until `reset`. */
    enum err (*start)(struct db_conn *conn, enum query q, const struct db_value *values, size_t n,
                      struct db_stmt **ret);
    enum err (*step)(struct db_conn *conn, struct db_stmt *s, bool *row);
    void (*reset)(struct db_stmt *s);
    /* Rows changed by a statement that has been stepped to its end. */
    int64_t (*changes)(struct db_conn *conn, const struct db_stmt *s);
    uint32_t (*column_n)(const struct db_stmt *s);
    int (*column_type)(const struct db_stmt *s, int column); /* of struct db_value */
    int64_t (*column_int)(const struct db_stmt *s, int column);
    str (*column_text)(const struct db_stmt *s, int column);
    str (*column_bytes)(const struct db_stmt *s, int column);
    bool (*column_is_null)(const struct db_stmt *s, int column);

    const char *name;
    const char *(*version)(void);
    /* Sizes of the files; any thread. */
    void (*sizes)(const struct db_setup *setup, uint64_t *file_bytes, uint64_t *wal_bytes);
    /* A word of memory that each commit by anybody, in any process, changes, when it can be seen:
     * by one, and a commit of ours adds the same to conn->changes_made. It is there as long as the
     * connection. NULL: cannot tell, and then nothing is remembered. */
    const atomic_uint *(*count_of_changes)(struct db_conn *writer);

    /* Called by the writer between transactions: after each commit, and with `idle` when no job
     * came for setup->idle_ms. *again, which is always set: call again when idle. The result is
     * db_condition.upkeep: what the last attempt, now or before, came to. */
    enum err (*maintain)(struct db_conn *writer, bool idle, bool *again);
    /* Commits something that changes nothing, to learn whether that can be done. Does not wait. */
    enum err (*probe)(struct db_conn *writer);
};

extern const struct db_driver db_driver_sqlite;

/* Records text for db_error_text, and that there is damage, and returns e. */
enum err db_conn_fail(struct db_conn *conn, enum err e, const char *text);

/* db_open for any setup. `setup` is copied; what it points to, but for dir, must outlive the db. */
NODISCARD enum err db_open_setup(struct db **ret, const struct db_setup *setup, struct arena *a,
                                 struct error *why);

/* db_open_reading for any setup. */
NODISCARD enum err db_open_reading_setup(struct db **ret, const struct db_setup *setup,
                                         struct arena *a, struct error *why);

struct db_counters {
    uint64_t commits; /* groups committed */
    uint64_t jobs;    /* finished, well or not */
    uint64_t retries; /* jobs run again alone after their group had failed */
    uint64_t upkeep;  /* idle calls of maintain */
    uint64_t queued;  /* waiting now */
};
/* Any thread. */
struct db_counters db_counters(struct db *db);

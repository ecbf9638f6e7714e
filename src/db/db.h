/* The database: facts in SQL behind one interface, drivers below it.
 *
 * Statements are rows of queries.def and named by their enum; no other file contains SQL. Reads go
 * through a reader connection (one per worker); writes through db_tx, which runs them on the writer
 * with group commit. The functions of registry/ take a `struct db_conn *` and so work in both. The
 * reactors share one that has no database behind it, only what is remembered (db_remember);
 * whatever is not, is ERR_WOULD_BLOCK there.
 *
 *     DB_CURSOR struct db_cursor c = db_query(conn, Q_TAG_FIND, DB_INT(repo), DB_TEXT(name));
 *     if (db_next(&c)) digest = db_bytes(&c, 0);
 *     if (c.err) return c.err;
 */
#pragma once

#include "base/err.h"

struct db;
struct db_conn;
struct cache_value;
struct db_stmt; /* a driver's prepared statement, see db_driver.h */

enum query {
#define Q(name, sql) Q_##name,
#include "db/queries.def"
#undef Q
    Q_COUNT
};

struct db_value {
    enum { DB_VALUE_NULL, DB_VALUE_INT, DB_VALUE_TEXT, DB_VALUE_BYTES } type;
    int64_t i;
    str s;
};
#define DB_NULL     ((struct db_value){.type = DB_VALUE_NULL})
#define DB_INT(v)   ((struct db_value){.type = DB_VALUE_INT, .i = (int64_t)(v)})
#define DB_TEXT(v)  ((struct db_value){.type = DB_VALUE_TEXT, .s = (v)})
#define DB_BYTES(v) ((struct db_value){.type = DB_VALUE_BYTES, .s = (v)})
/* NULL for a slice whose p is NULL. */
#define DB_TEXT_OR_NULL(v) db_text_or_null(v)
static inline struct db_value db_text_or_null(str s)
{
    return s.p ? DB_TEXT(s) : DB_NULL;
}

struct db_cursor {
    struct db_conn *conn;
    struct db_stmt *stmt;
    struct cache_value *rows; /* instead of stmt: in memory */
    size_t row_n;             /* of them, up to the current one */
    enum err err;             /* OK, or why db_next returned false */
};
void db_cursor_end(struct db_cursor *c);
#define DB_CURSOR __attribute__((cleanup(db_cursor_end)))

/* Binds and starts a statement; there are as many values as it has parameters. At most one cursor
 * per statement and connection is open at a time. The slices bound must live until the cursor ends.
 * Errors show in `err` and make db_next false. */
struct db_cursor db_query_values(struct db_conn *conn, enum query q, const struct db_value *values,
                                 size_t n);
#define db_query(conn, q, ...)                                                                  \
    db_query_values((conn), (q), (const struct db_value[]){__VA_ARGS__ __VA_OPT__(, ) DB_NULL}, \
                    sizeof((const struct db_value[]){__VA_ARGS__ __VA_OPT__(, ) DB_NULL}) /     \
                            sizeof(struct db_value) -                                           \
                        1)
/* Steps to the next row; false at the end or on error (see c->err), and then the cursor has ended:
 * the statement is free again. */
bool db_next(struct db_cursor *c);
/* Column of the current row. Slices are valid until the next db_next or the cursor's end; NULL is
 * 0 or p == NULL. */
int64_t db_int(const struct db_cursor *c, int column);
str db_text(const struct db_cursor *c, int column);
str db_bytes(const struct db_cursor *c, int column);
bool db_is_null(const struct db_cursor *c, int column);
/* Text or bytes copied into the arena; p stays NULL for NULL. */
str db_copy(const struct db_cursor *c, int column, struct arena *a);

/* Runs a statement to its end. *changes (may be NULL) gets the number of rows changed. */
NODISCARD enum err db_exec_values(struct db_conn *conn, enum query q, int64_t *changes,
                                  const struct db_value *values, size_t n);
#define db_exec(conn, q, ...)                                                              \
    db_exec_values((conn), (q), NULL,                                                      \
                   (const struct db_value[]){__VA_ARGS__ __VA_OPT__(, ) DB_NULL},          \
                   sizeof((const struct db_value[]){__VA_ARGS__ __VA_OPT__(, ) DB_NULL}) / \
                           sizeof(struct db_value) -                                       \
                       1)
#define db_exec_count(conn, q, changes, ...)                                               \
    db_exec_values((conn), (q), (changes),                                                 \
                   (const struct db_value[]){__VA_ARGS__ __VA_OPT__(, ) DB_NULL},          \
                   sizeof((const struct db_value[]){__VA_ARGS__ __VA_OPT__(, ) DB_NULL}) / \
                           sizeof(struct db_value) -                                       \
                       1)

/* Several reads that agree with each other: until the handle's end all statements of the reader see
 * one state of the database, the one at the first of them. Also cheaper: a statement on its own
 * pays for locks what three cost inside. Nests; on the writer, whose jobs are transactions, it does
 * nothing. No snapshot outlives its handler, since the log cannot be cut while one is held. The
 * reactors' reader is only asked inside one: a permission from before a commit and content from
 * after it make no answer. Begun and ended by one thread, it counts for that thread.
 *
 *     DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
 *     if (s.err) return s.err;
 */
struct db_snapshot {
    struct db_conn *conn; /* NULL: nothing to end */
    enum err err;
};
struct db_snapshot db_snapshot_begin(struct db_conn *conn);
void db_snapshot_end(struct db_snapshot *s);
#define DB_SNAPSHOT __attribute__((cleanup(db_snapshot_end)))

/* Around what takes long inside a snapshot, such as a password's check: in between the reader holds
 * no state, and the log can be cut. After db_snapshot_resume its snapshots go on with the state at
 * the first statement that follows, so what was read before must be read again. No cursor is open
 * and no statement runs in between. Without a snapshot, and on the reactors' reader, both do
 * nothing. On an error of db_snapshot_resume nothing may be read; the handles end as usual. */
void db_snapshot_pause(struct db_conn *conn);
NODISCARD enum err db_snapshot_resume(struct db_conn *conn);

/* Opens DIR/berth.db (SQLite; created 0600 and its directory synced when missing), migrates it to
 * this program's schema, checks every row of queries.def, and starts the writer. readers_n reader
 * connections are opened on first use. The caller keeps other processes out (DIR/lock).
 * ERR_DB_NEWER when a newer program wrote it, ERR_DB_CORRUPT when it is damaged or no database,
 * ERR_DB when it is another program's. `why` names file and reason. */
NODISCARD enum err db_open(struct db **ret, str dir, unsigned readers_n, struct arena *a,
                           struct error *why);
/* Commits what is queued, checkpoints, closes. No reader may be in use. The db is gone in any case;
 * an error tells why the last checkpoint failed: then the log stays, with all that it holds. */
enum err db_close(struct db *db);

/* Opens DIR/berth.db as it is, for reading only: nothing is created, migrated or recovered, and
 * db_tx must not be called. Statements that need a newer schema than the file's fail when they are
 * used. Errors as db_open. */
NODISCARD enum err db_open_reading(struct db **ret, str dir, unsigned readers_n, struct arena *a,
                                   struct error *why);

/* Writes one state of DIR/berth.db, the newest there is, to the file `path`, which is made or
 * replaced, and syncs that file (its directory is the caller's). Other processes and threads may
 * use the database meanwhile, for reading and writing. Errors as db_open. */
NODISCARD enum err db_backup(str dir, str path, struct arena *a, struct error *why);

/* What the engine itself finds wrong, a line for each, at most 100. Reader; takes long.
 * ERR_DB_CORRUPT: damaged so that it cannot be looked at to the end. */
enum db_verify {
    DB_VERIFY_QUICK,      /* structures, without comparing indexes with their tables */
    DB_VERIFY_STRUCTURE,  /* structures */
    DB_VERIFY_REFERENCES, /* rows whose foreign key leads nowhere */
};
typedef void db_verify_fn(void *arg, str line);
NODISCARD enum err db_verify(struct db_conn *conn, enum db_verify what, db_verify_fn *found,
                             void *arg);

/* Number of the schema that this program's databases have: of the last migration. */
unsigned db_schema(void);
/* "sqlite" and "3.40.1". */
const char *db_engine(void);
const char *db_engine_version(void);
/* Sizes of the files, 0 where they are not known. Any thread. */
void db_sizes(const struct db *db, uint64_t *file_bytes, uint64_t *wal_bytes);
/* Jobs that wait for the writer. Any thread. */
uint64_t db_queued(struct db *db);

/* From now on rows of the statements that queries.def marks are remembered, in at most bytes_max of
 * memory; 0: nothing is. Once, before readers are used. Errors as db_tx. */
NODISCARD enum err db_remember(struct db *db, size_t bytes_max);

/* The reader of worker `index` (below readers_n); used by that thread only. It connects with its
 * first statement, whose cursor shows when that fails. WORKER_NONE: the reactors', which has only
 * what is remembered; it never blocks, and any number of threads may use it, each with a snapshot
 * of its own. */
struct db_conn *db_reader(struct db *db, int index);
/* False for the reactors' reader. */
bool db_may_block(const struct db_conn *conn);

/* How the database is, for who is asked whether the registry can serve. */
struct db_condition {
    /* Damage was met. Nothing is written any more until the next start, since writing could spread
     * it (db_tx: ERR_DB_CORRUPT); reading goes on where it can. */
    bool damaged;
    /* OK, or why the last transaction that wrote could not be begun or committed. While there are
     * no jobs the writer tries by itself, so that this does not outlive its cause. */
    enum err writing;
    /* OK, or why what is durable in the log cannot be copied into the database's file. Writing goes
     * on; the log grows, and the next process may not write until it could copy that log. Tried
     * again all the time. */
    enum err upkeep;
};
/* Any thread. */
struct db_condition db_condition(struct db *db);

/* Runs fn on the writer inside a transaction and returns when it is durable (FULL) or failed.
 * Blocks; call from workers, never from inside an fn. fn touches only its connection and arg, may
 * run several times, on any thread, and evaluates every precondition inside; it is short (1,000
 * rows, 5 ms). When it returns an error its changes alone are rolled back (savepoint) and db_tx
 * returns that error; outputs it wrote through arg count only after OK. Jobs of several threads
 * share one commit. Beside fn's own errors: ERR_IO and ERR_DB_CORRUPT (whether it happened is not
 * known, and may turn out otherwise after the next start); ERR_NO_SPACE, ERR_PERMISSION, ERR_MOVED
 * (another file stands where the database's was), ERR_CONSTRAINT (a deferred one), ERR_BUSY
 * (another program writes), and ERR_SHUTTING_DOWN once db_close has begun: it did not happen. */
typedef enum err db_tx_fn(struct db_conn *conn, void *arg);
NODISCARD enum err db_tx(struct db *db, db_tx_fn *fn, void *arg);

/* Text of the last driver error on this connection, for the log; empty when there was none. The
 * connection's thread. */
str db_error_text(struct db_conn *conn, struct arena *a);
/* The same for the writer: jobs, commits, checkpoints. Any thread. */
str db_writer_error_text(struct db *db, struct arena *a);

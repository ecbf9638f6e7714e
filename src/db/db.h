/* The database: facts in SQL behind one interface, drivers below it.
 *
 * Statements are rows of queries.def and named by their enum; no other file contains SQL. Reads go
 * through a reader connection (one per worker); writes through db_tx, which runs them on the writer
 * with group commit. The functions of registry/ take a `struct db_conn *` and so work in both.
 *
 *     DB_CURSOR struct db_cursor c = db_query(conn, Q_TAG_FIND, DB_INT(repo), DB_TEXT(name));
 *     if (db_next(&c)) digest = db_bytes(&c, 0);
 *     if (c.err) return c.err;
 */
#pragma once

#include "base/err.h"

struct db;
struct db_conn;
struct db_stmt; /* a driver's prepared statement */

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
#define DB_NULL ((struct db_value){.type = DB_VALUE_NULL})
#define DB_INT(v) ((struct db_value){.type = DB_VALUE_INT, .i = (int64_t)(v)})
#define DB_TEXT(v) ((struct db_value){.type = DB_VALUE_TEXT, .s = (v)})
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
    enum err err; /* OK, or why db_next returned false */
};
void db_cursor_end(struct db_cursor *c);
#define DB_CURSOR __attribute__((cleanup(db_cursor_end)))

/* Binds and starts a statement. At most one cursor per statement and connection is open at a time.
 * The slices bound must live until the cursor ends. Errors show in `err` and make db_next false. */
struct db_cursor db_query_values(struct db_conn *conn, enum query q, const struct db_value *values,
                                 size_t n);
#define db_query(conn, q, ...)                                                                     \
    db_query_values((conn), (q), (const struct db_value[]){__VA_ARGS__ __VA_OPT__(,) DB_NULL},     \
                    sizeof((const struct db_value[]){__VA_ARGS__ __VA_OPT__(,) DB_NULL}) /         \
                            sizeof(struct db_value) - 1)
/* Steps to the next row; false at the end or on error (see c->err). */
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
#define db_exec(conn, q, ...)                                                                      \
    db_exec_values((conn), (q), NULL,                                                              \
                   (const struct db_value[]){__VA_ARGS__ __VA_OPT__(,) DB_NULL},                   \
                   sizeof((const struct db_value[]){__VA_ARGS__ __VA_OPT__(,) DB_NULL}) /          \
                           sizeof(struct db_value) - 1)
#define db_exec_count(conn, q, changes, ...)                                                       \
    db_exec_values((conn), (q), (changes),                                                         \
                   (const struct db_value[]){__VA_ARGS__ __VA_OPT__(,) DB_NULL},                   \
                   sizeof((const struct db_value[]){__VA_ARGS__ __VA_OPT__(,) DB_NULL}) /          \
                           sizeof(struct db_value) - 1)

/* Opens DIR/berth.db (SQLite), migrates it to this program's schema, checks every row of
 * queries.def, and starts the writer. readers_n reader connections are opened on first use.
 * ERR_DB_NEWER when a newer program wrote it. `why` names file and reason. */
NODISCARD enum err db_open(struct db **ret, str dir, unsigned readers_n, struct arena *a,
                           struct error *why);
/* Commits what is queued, checkpoints, closes. No reader may be in use. */
void db_close(struct db *db);

/* The reader of worker `index`; used by that thread only. With WORKER_NONE (a reactor): NULL, and
 * the caller returns ERR_WOULD_BLOCK. */
struct db_conn *db_reader(struct db *db, int index);

/* Runs fn on the writer inside a transaction and returns when it is durable (FULL) or failed.
 * Blocks; call from workers. fn touches only its connection and arg, may run several times, on any
 * thread, and evaluates every precondition inside; it is short (1,000 rows, 5 ms). When it returns
 * an error its changes alone are rolled back (savepoint) and db_tx returns that error; outputs it
 * wrote through arg count only after OK. Jobs of several threads share one commit. */
typedef enum err db_tx_fn(struct db_conn *conn, void *arg);
NODISCARD enum err db_tx(struct db *db, db_tx_fn *fn, void *arg);

/* Text of the last driver error on this connection, for the log. */
str db_error_text(struct db_conn *conn, struct arena *a);

/* Private to db/: rows kept in memory, and when they may be used.
 *
 * A statement of queries.def that says what its answer depends on is remembered: a worker that runs
 * it leaves the rows here, and a reactor, which has no database, finds them by statement and
 * parameters. So handlers are written once, and nothing but SQL's answer is ever remembered: no
 * verdict, no permission. may() is asked every time.
 *
 * What an answer depends on are things: one user, project, repository, blob, or manifest's body.
 * Every statement that writes says which thing it touches; db_sqlite_hot_test.c compares that with
 * the tables and columns SQLite says it writes, and those that remembered statements read.
 *
 * Time is a count of commits, `now`. Each thing (in fact one of some thousands of slots, into which
 * things are hashed) has the time it was last touched.
 *
 *     the writer                            who fills                      who reads
 *     1. runs jobs, notes what they touch   1. stamp = now                 1. begin = now
 *     2. n = now + 1; touched[...] = n      2. takes its snapshot, reads   2. finds rows
 *     3. commits, durably                   3. keeps the rows with         3. uses them if none of
 *     4. now = n                               stamp and what they            touched[...] > stamp,
 *     5. acknowledges                          depend on                      and then now is begin
 *
 * Rows are never looked for and removed: what is touched makes them unusable.
 *  - After 5, and in fact after 2, nobody uses rows of a snapshot from before the commit: they were
 *    stamped before 4, with less than n.
 *  - Between 2 and 4 nothing that is touched can be used at all, be it old or new. So nobody is
 * given the new state, by a worker, and then the old one, from here.
 *  - A fill whose snapshot is older than the commit has a stamp less than n, however late it comes.
 *  - A commit that fails, or a job that is undone, has touched things for nothing, which is safe.
 *  - Who reads several rows, a permission and then what it permits to see, has all of them from the
 * state at its begin: rows of a later one are found when now has passed begin. Otherwise content
 * that is stored after a right was taken away would be given to who had found the right before.
 *
 * Strangers (the sqlite3 shell) do not tell what they touch. The database's own count of changes, a
 * word of the memory its processes share, shows that they did something: then nothing may be used
 * until the next worker or commit settles it by touching everything. The same word changes in 3,
 * and is settled after 4: nobody uses rows of a state that `now` does not count yet. */
#pragma once

#include "base/cache.h"
#include "db/db_driver.h"

#include <pthread.h>

enum { HOT_SLOTS = 4096, HOT_KEY_MAX = 512, HOT_ROWS_BYTES_MAX = 64 * 1024 };

struct db_hot {
    struct cache *rows;
    const atomic_uint *changes; /* strangers' and ours */
    pthread_mutex_t commit;     /* held from 2 to 4, and while `known` is settled */
    atomic_uint known;          /* *changes, as far as it is settled */
    atomic_ullong now;
    atomic_ullong touched_all; /* at least: everything */
    atomic_ullong touched[HOT_SLOTS];
};

/* What the jobs of one transaction touched; the writer's. */
struct db_touches {
    bool any, all;
    uint64_t slots[HOT_SLOTS / 64];
};

struct db_hot *db_hot_new(size_t bytes_max, unsigned shard_n, const atomic_uint *changes);
/* NULL-safe. */
void db_hot_free(struct db_hot *hot);

/* Step 1 of the writer, for each statement it runs. */
void db_hot_touch(struct db_touches *t, const struct db_statement *s,
                  const struct db_value *values);
/* Steps 2, which empties `t`, and 4. Between them is the commit, which keeps strangers out until it
 * is done; it added changes_made to the count. */
void db_hot_begin_commit(struct db_hot *hot, struct db_touches *t);
void db_hot_end_commit(struct db_hot *hot, unsigned changes_made);

/* Step 1 of who fills, before its snapshot; settles what strangers did. */
uint64_t db_hot_stamp(struct db_hot *hot);

/* The rows of an answer. Cells follow, row by row, then their bytes. */
struct db_cell {
    uint8_t type; /* of struct db_value */
    int64_t i;
    uint32_t offset, n; /* of text and bytes, from the beginning of the value */
};
struct db_rows {
    uint64_t stamp;
    uint32_t row_n, column_n;
    uint32_t slot_n;
    uint16_t slots[DB_DEPENDS_MAX];
    struct db_cell cells[];
};

/* The time, for who begins a snapshot. */
uint64_t db_hot_now(const struct db_hot *hot);
/* A reference to rows that may be used now, in a snapshot begun at `now`, or NULL. */
struct cache_value *db_hot_find(struct db_hot *hot, const struct db_conn *conn, enum query q,
                                const struct db_value *values, size_t n, uint64_t now);
/* Runs the statement on a reader and keeps its rows with the connection's stamp. *ret is a
 * reference to them; NULL when they are too many, and the statement must be run the ordinary way.
 */
NODISCARD enum err db_hot_fill(struct db_conn *conn, enum query q, const struct db_value *values,
                               size_t n, struct cache_value **ret);

static inline const struct db_rows *db_rows(const struct cache_value *v)
{
    return (const struct db_rows *)v->bytes;
}

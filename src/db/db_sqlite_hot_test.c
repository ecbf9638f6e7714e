/* What the statements of queries.def say of themselves (H and W) against what SQLite says they read
 * and write, on the program's schema: nothing that is remembered can change unnoticed. */
#include "base/test.h"
#include "db/db_driver.h"

#include <sqlite3.h>

static const struct db_statement statements[] = {
#define Q DB_STATEMENT_Q
#define H DB_STATEMENT_H
#define W DB_STATEMENT_W
#include "db/queries.def"
#undef Q
};

/* The thing a row of each table belongs to. */
static const struct {
    const char *table;
    enum db_thing thing;
} things[] = {
    {"user", DB_THING_USER},
    {"project", DB_THING_PROJECT},
    {"repository", DB_THING_REPOSITORY},
    {"repository_blob", DB_THING_REPOSITORY},
    {"manifest", DB_THING_REPOSITORY},
    {"tag", DB_THING_REPOSITORY},
    {"blob", DB_THING_BLOB},
    {"manifest_body", DB_THING_BODY},
    {"fact", DB_THING_BODY},
};

static enum db_thing thing_of(str table)
{
    for (size_t i = 0; i < sizeof things / sizeof things[0]; i++)
        if (str_eq(table, str_from(things[i].table)))
            return things[i].thing;
    return DB_THING_NOTHING;
}

/* What preparing a statement showed. */
enum { ACCESSES_MAX = 256 };
struct access {
    int action; /* SQLITE_READ, SQLITE_UPDATE, SQLITE_INSERT, SQLITE_DELETE */
    str table, column;
};
struct accesses {
    struct arena *arena;
    struct access items[ACCESSES_MAX];
    size_t n;
};

static int authorize(void *arg, int action, const char *table, const char *column, const char *db,
                     const char *trigger)
{
    struct accesses *all = arg;
    bool counts = action == SQLITE_READ || action == SQLITE_UPDATE || action == SQLITE_INSERT ||
                  action == SQLITE_DELETE;
    if (!counts || !table)
        return SQLITE_OK;
    CHECK(all->n < ACCESSES_MAX);
    if (all->n < ACCESSES_MAX)
        all->items[all->n++] = (struct access){action, arena_str(all->arena, str_from(table)),
                                               arena_str(all->arena, str_from(column))};
    return SQLITE_OK;
}

static void look(sqlite3 *db, const struct db_statement *s, struct arena *a, struct accesses *ret)
{
    sqlite3_stmt *stmt = NULL;
    ret->arena = a;
    ret->n = 0;
    sqlite3_set_authorizer(db, authorize, ret);
    CHECK_INT(sqlite3_prepare_v2(db, s->sql, -1, &stmt, NULL), SQLITE_OK);
    sqlite3_set_authorizer(db, NULL, NULL);
    if (!!sqlite3_stmt_readonly(stmt) != (s->use != DB_USE_WRITES))
        test_fail(__FILE__, __LINE__, "%s: only rows with W write", s->name);
    sqlite3_finalize(stmt);
}

static bool is_write(const struct access *a)
{
    return a->action != SQLITE_READ;
}

/* Whether the write can change what the H that reads `a` has kept. A new row changes only answers
 * that are kept when they are empty, or have many rows. */
static bool changes(const struct access *write, const struct access *read, bool lists)
{
    if (!str_eq(write->table, read->table))
        return false;
    switch (write->action) {
    case SQLITE_DELETE:
        return true;
    case SQLITE_INSERT:
        return lists;
    default:
        return str_eq(write->column, read->column);
    }
}

static bool depends_on(const struct db_statement *hot, enum db_thing thing)
{
    for (size_t i = 0; i < DB_DEPENDS_MAX; i++)
        if (hot->depends[i].thing == thing)
            return true;
    return false;
}

static bool is_list(const struct db_statement *hot)
{
    for (size_t i = 0; i < DB_DEPENDS_MAX; i++)
        if (hot->depends[i].thing != DB_THING_NOTHING && !hot->depends[i].column)
            return true;
    return false;
}

/* An H depends on the thing of every table it reads. */
static void check_dependencies(const struct db_statement *hot, const struct accesses *reads)
{
    for (size_t i = 0; i < reads->n; i++) {
        enum db_thing thing = thing_of(reads->items[i].table);
        if (thing == DB_THING_NOTHING || !depends_on(hot, thing))
            test_fail(__FILE__, __LINE__, "%s reads %.*s, and does not depend on it", hot->name,
                      STR_ARG(reads->items[i].table));
    }
}

/* A W that changes what an H reads touches its thing. */
static void check_touches(const struct db_statement *write, const struct accesses *writes,
                          const struct db_statement *hot, const struct accesses *reads)
{
    for (size_t w = 0; w < writes->n; w++) {
        for (size_t r = 0; is_write(&writes->items[w]) && r < reads->n; r++) {
            if (!changes(&writes->items[w], &reads->items[r], is_list(hot)))
                continue;
            enum db_thing thing = thing_of(reads->items[r].table);
            if (write->touches.thing != thing && write->touches.thing != DB_THING_ALL)
                test_fail(__FILE__, __LINE__, "%s changes %.*s, which %s has kept", write->name,
                          STR_ARG(reads->items[r].table), hot->name);
            return;
        }
    }
}

static void statements_tell_the_truth(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db *made = NULL;
    sqlite3 *db = NULL;
    struct error why = {0};
    str dir = str_from(test_dir());
    CHECK_INT(db_open(&made, dir, 1, &a, &why), OK);
    db_close(made);
    CHECK_INT(sqlite3_open(arena_printf(&a, "%.*s/berth.db", STR_ARG(dir)).p, &db), SQLITE_OK);
    struct accesses *all = ARENA_ARRAY(&a, Q_COUNT, struct accesses);
    size_t hot_n = 0, write_n = 0;
    for (size_t i = 0; i < Q_COUNT; i++) {
        look(db, &statements[i], &a, &all[i]);
        hot_n += statements[i].use == DB_USE_HOT;
        write_n += statements[i].use == DB_USE_WRITES;
        if (statements[i].use == DB_USE_HOT)
            check_dependencies(&statements[i], &all[i]);
    }
    CHECK(hot_n >= 8 && write_n >= 50);
    for (size_t h = 0; h < Q_COUNT; h++) {
        for (size_t w = 0; statements[h].use == DB_USE_HOT && w < Q_COUNT; w++)
            if (statements[w].use == DB_USE_WRITES)
                check_touches(&statements[w], &all[w], &statements[h], &all[h]);
    }
    sqlite3_close(db);
}

/* The parameter or column that a row names is the id it is said to be: its text says so. */
static void the_numbers_are_ids(void)
{
    static const char *const ids[DB_THING_COUNT] = {
        [DB_THING_USER] = "id", [DB_THING_PROJECT] = "id", [DB_THING_REPOSITORY] = "repository",
        [DB_THING_BLOB] = "id", [DB_THING_BODY] = "body",
    };
    ARENA_CLEANUP struct arena a = {0};
    for (size_t i = 0; i < Q_COUNT; i++) {
        const struct db_statement *s = &statements[i];
        if (s->use != DB_USE_WRITES || s->touches.thing == DB_THING_NOTHING ||
            s->touches.thing == DB_THING_ALL)
            continue;
        str sql = str_from(s->sql);
        const char *id = ids[s->touches.thing];
        bool compared = str_contains(sql, arena_printf(&a, "%s = $%d", id, s->touches.at)) ||
                        str_contains(sql, arena_printf(&a, "WHERE id = $%d", s->touches.at));
        bool inserted = s->touches.at == 1 && str_contains(sql, arena_printf(&a, "(%s, ", id)) &&
                        str_contains(sql, STR("VALUES ($1, "));
        if (!compared && !inserted)
            test_fail(__FILE__, __LINE__, "%s: parameter %d is no %s", s->name, s->touches.at, id);
    }
}

TESTS({"statements tell the truth", statements_tell_the_truth},
      {"the numbers are ids", the_numbers_are_ids});

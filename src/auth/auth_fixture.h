/* For tests: a database of its own, and rows put into it from outside. */
#pragma once

#include "auth/auth.h"
#include "base/test.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>

struct fixture {
    struct arena arena;
    struct db *db;
    struct auth *auth;
    struct db_conn *conn;
    str dir;
};

static const struct auth_config fixture_config = {
    .token_lifetime_ms = 300000,
    .bcrypt_cost = 4,
    .password_checks_max = 2,
    .password_queue_max = 8,
    .password_cache_ms = 60000,
    .create_on_push = true,
    .refresh_lifetime_ms = 90ULL * 24 * 3600 * 1000,
    .refresh_tokens_max = 3,
};

/* Without a database nothing can be tested: ends the program, which TAP counts as a failure. */
static inline void fixture_open(struct fixture *f, const char *name,
                                const struct auth_config *config)
{
    struct error why = {0};
    *f = (struct fixture){0};
    f->dir = arena_printf(&f->arena, "%s/%s", test_dir(), name);
    mkdir(f->dir.p, 0700);
    if (db_open(&f->db, f->dir, 1, &f->arena, &why) || auth_new(&f->auth, f->db, config)) {
        printf("Bail out! no database: %.*s\n", STR_ARG(why.message));
        exit(1);
    }
    f->conn = db_reader(f->db, 0);
}

static inline void fixture_close(struct fixture *f)
{
    auth_free(f->auth);
    db_close(f->db);
    arena_release(&f->arena);
}

/* What an administrator's tool would do meanwhile. */
static inline void fixture_sql(struct fixture *f, const char *sql)
{
    sqlite3 *other = NULL;
    char *why = NULL;
    str path = arena_printf(&f->arena, "%.*s/berth.db", STR_ARG(f->dir));
    if (sqlite3_open(path.p, &other) != SQLITE_OK ||
        sqlite3_exec(other, sql, NULL, NULL, &why) != SQLITE_OK)
        test_fail(__FILE__, __LINE__, "%s: %s", sql, why ? why : sqlite3_errmsg(other));
    sqlite3_free(why);
    sqlite3_close(other);
}

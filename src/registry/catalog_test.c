#include "registry/catalog.h"

#include "auth/auth_fixture.h"

/* In byte order. Projects whose names begin alike, and characters before and after '/'. */
static const char *const names[] = {
    "a-b/x", "a-b/y/z", "a.b/x",   "a/x", "a/y",       "a/y-z",    "a/y/z", "a0/x",
    "a_b/x", "ab/x",    "alice/x", "b/x", "library/x", "secret/x", "z/x",   "z/z/z",
};
enum { NAMES = sizeof names / sizeof names[0] };

/* What a page may begin behind: names, what is no name, and what is nowhere. */
static const char *const odd[] = {"",   "a",    "a-",   "a-b", "a-b/",    "a.b/y",
                                  "a/", "a/y/", "a/y0", "a0",  "library", "m",
                                  "y/", "z/z",  "zz",   "/",   "~"};
enum { ODD = sizeof odd / sizeof odd[0] };

static const struct principal principals[] = {
    {.kind = PRINCIPAL_ANONYMOUS},
    {.kind = PRINCIPAL_USER, .id = 1, .name = STR_INIT("admin"), .admin = true},
    {.kind = PRINCIPAL_USER, .id = 2, .name = STR_INIT("alice")}, /* a private project */
    {.kind = PRINCIPAL_USER, .id = 3, .name = STR_INIT("a")},     /* a public one */
    {.kind = PRINCIPAL_USER, .id = 4, .name = STR_INIT("nobody")},
};
enum { PRINCIPALS = sizeof principals / sizeof principals[0] };

static void fill(struct fixture *f)
{
    fixture_sql(f, "DELETE FROM project; INSERT INTO project (name, public, created_at, created_by)"
                   "VALUES ('empty', 1, 0, ''), ('z', 1, 0, ''), ('secret', 0, 0, ''),"
                   "('a', 1, 0, ''), ('a-b', 1, 0, ''), ('a.b', 0, 0, ''), ('a0', 1, 0, ''),"
                   "('a_b', 1, 0, ''), ('ab', 0, 0, ''), ('alice', 0, 0, ''), ('b', 0, 0, ''),"
                   "('library', 1, 0, '')");
    for (size_t i = NAMES; i-- > 0;) {
        str sql = arena_printf(&f->arena,
                               "INSERT INTO repository (project, full_name, created_at) "
                               "SELECT id, '%s', 0 FROM project WHERE instr('%s', name || '/') = 1",
                               names[i], names[i]);
        fixture_sql(f, sql.p);
    }
}

/* One page against what may() says of each name. */
static void check_page(struct fixture *f, const struct principal *who, str last, size_t limit)
{
    str *page;
    size_t n, at = 0;
    CHECK_INT(catalog_list(f->conn, who, last, limit, &f->arena, &page, &n), OK);
    for (size_t i = 0; i < NAMES && at < limit; i++) {
        str name = str_from(names[i]);
        if (str_cmp(name, last) <= 0 || may(f->auth, f->conn, who, ACTION_PULL, name) != OK)
            continue;
        if (at < n)
            CHECK_STR(page[at], names[i]);
        at++;
    }
    if (n != at)
        test_fail(__FILE__, __LINE__, "%.*s: %zu names behind \"%.*s\", not %zu",
                  STR_ARG(who->name), n, STR_ARG(last), at);
}

static void lists_what_one_may_pull(void)
{
    struct fixture f;
    fixture_open(&f, "lists", &fixture_config);
    fill(&f);
    for (size_t who = 0; who < PRINCIPALS; who++) {
        for (size_t limit = 0; limit <= NAMES + 1; limit++) {
            for (size_t i = 0; i < NAMES; i++)
                check_page(&f, &principals[who], str_from(names[i]), limit);
            for (size_t i = 0; i < ODD; i++)
                check_page(&f, &principals[who], str_from(odd[i]), limit);
        }
    }
    fixture_close(&f);
}

/* So that the table above is no empty one. */
static void counts(void)
{
    static const size_t want[PRINCIPALS] = {11, NAMES, 12, 11, 11};
    struct fixture f;
    fixture_open(&f, "counts", &fixture_config);
    fill(&f);
    for (size_t who = 0; who < PRINCIPALS; who++) {
        str *page;
        size_t n;
        CHECK_INT(catalog_list(f.conn, &principals[who], STR(""), 99, &f.arena, &page, &n), OK);
        CHECK_INT(n, want[who]);
    }
    fixture_close(&f);
}

/* A project that changes hands is where it belongs with the next page. */
static void follows_the_project(void)
{
    struct fixture f;
    fixture_open(&f, "follows", &fixture_config);
    fill(&f);
    fixture_sql(&f, "UPDATE project SET public = 1 - public");
    for (size_t who = 0; who < PRINCIPALS; who++)
        check_page(&f, &principals[who], STR(""), NAMES);
    fixture_close(&f);
}

TESTS({"lists what one may pull", lists_what_one_may_pull}, {"counts", counts},
      {"follows the project", follows_the_project})

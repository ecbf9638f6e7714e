/* The expected answers, written out; never derived from the code that gives them. */
#include "auth/auth_fixture.h"

enum { R = ACTION_PULL, W = ACTION_PUSH, D = ACTION_DELETE, ALL = R | W | D };

static const struct principal anonymous = {.kind = PRINCIPAL_ANONYMOUS};
static const struct principal alice = {.kind = PRINCIPAL_USER, .id = 2, .name = STR_INIT("alice")};
static const struct principal newcomer = {.kind = PRINCIPAL_USER, .id = 3, .name = STR_INIT("new")};
static const struct principal admin = {
    .kind = PRINCIPAL_USER, .id = 1, .name = STR_INIT("admin"), .admin = true};

/* What each may do. Columns: the repository of a public project (library), of a private one (team),
 * of alice's own project, of a project that does not exist (ghost), and of one that does not exist
 * and is named like the user `new`. */
struct row {
    const struct principal *who;
    unsigned library, team, alice, ghost, new;
};

static void check_matrix(const char *name, enum auth_anonymous mode, bool create,
                         const struct row *rows, size_t n)
{
    struct fixture f;
    struct auth_config config = fixture_config;
    config.anonymous = mode;
    config.create_on_push = create;
    fixture_open(&f, name, &config);
    fixture_sql(&f,
                "DELETE FROM project; INSERT INTO project (name, public, created_at, created_by)"
                "VALUES ('library', 1, 0, ''), ('team', 0, 0, ''), ('alice', 0, 0, 'alice')");
    for (size_t i = 0; i < n; i++) {
        const struct row *row = &rows[i];
        const struct {
            const char *repository;
            unsigned may;
        } cells[] = {{"library/app", row->library},
                     {"team/app", row->team},
                     {"alice/app/deep", row->alice},
                     {"ghost/app", row->ghost},
                     {"new/app", row->new}};
        for (size_t j = 0; j < sizeof cells / sizeof cells[0]; j++) {
            for (unsigned action = R; action <= D; action *= 2) {
                enum err want = cells[j].may & action ? OK : ERR_DENIED;
                enum err got = may(f.auth, f.conn, row->who, (enum action)action,
                                   str_from(cells[j].repository));
                if (got != want)
                    test_fail(__FILE__, __LINE__, "%s: \"%.*s\" action %u on %s: %d", name,
                              STR_ARG(row->who->name), action, cells[j].repository, got);
            }
        }
        CHECK_INT(may(f.auth, f.conn, row->who, ACTION_CATALOG, STR("")), OK);
    }
    fixture_close(&f);
}
#define CHECK_MATRIX(name, mode, create, ...)                         \
    check_matrix(name, mode, create, (const struct row[])__VA_ARGS__, \
                 sizeof((const struct row[])__VA_ARGS__) / sizeof(struct row))

static void anonymous_none(void)
{
    CHECK_MATRIX("none", AUTH_ANONYMOUS_NONE, true,
                 {/*            library  team  alice  ghost  new */
                  {&anonymous, R, 0, 0, 0, 0},
                  {&alice, R, 0, ALL, 0, 0},
                  {&newcomer, R, 0, 0, 0, ALL},
                  {&admin, ALL, ALL, ALL, ALL, ALL}});
}

static void anonymous_pull(void)
{
    CHECK_MATRIX("pull", AUTH_ANONYMOUS_PULL, true,
                 {/*            library  team  alice  ghost  new */
                  {&anonymous, R, 0, 0, 0, 0},
                  {&alice, R, 0, ALL, 0, 0},
                  {&newcomer, R, 0, 0, 0, ALL},
                  {&admin, ALL, ALL, ALL, ALL, ALL}});
}

static void anonymous_push(void)
{
    CHECK_MATRIX("push", AUTH_ANONYMOUS_PUSH, true,
                 {/*            library  team  alice  ghost  new */
                  {&anonymous, ALL, 0, 0, ALL, ALL},
                  {&alice, ALL, 0, ALL, ALL, ALL},
                  {&newcomer, ALL, 0, 0, ALL, ALL},
                  {&admin, ALL, ALL, ALL, ALL, ALL}});
}

static void no_creation(void)
{
    CHECK_MATRIX("none-fixed", AUTH_ANONYMOUS_NONE, false,
                 {/*            library  team  alice  ghost  new */
                  {&anonymous, R, 0, 0, 0, 0},
                  {&alice, R, 0, ALL, 0, 0},
                  {&newcomer, R, 0, 0, 0, R | D},
                  {&admin, ALL, ALL, ALL, ALL, ALL}});
    CHECK_MATRIX("push-fixed", AUTH_ANONYMOUS_PUSH, false,
                 {/*            library  team  alice  ghost  new */
                  {&anonymous, ALL, 0, 0, R | D, R | D},
                  {&alice, ALL, 0, ALL, R | D, R | D},
                  {&newcomer, ALL, 0, 0, R | D, R | D},
                  {&admin, ALL, ALL, ALL, ALL, ALL}});
}

/* `alic`, `alice2` and `alice` are three projects; anonymous owns none, not even the unnamed. */
static void names_match_whole(void)
{
    struct fixture f;
    fixture_open(&f, "whole", &fixture_config);
    CHECK_INT(may(f.auth, f.conn, &alice, ACTION_PUSH, STR("alice2/app")), ERR_DENIED);
    CHECK_INT(may(f.auth, f.conn, &alice, ACTION_PUSH, STR("alic/app")), ERR_DENIED);
    CHECK_INT(may(f.auth, f.conn, &alice, ACTION_PUSH, STR("team/alice")), ERR_DENIED);
    CHECK_INT(may(f.auth, f.conn, &alice, ACTION_PUSH, STR("alice/app")), OK);
    CHECK_INT(may(f.auth, f.conn, &anonymous, ACTION_PUSH, STR("")), ERR_DENIED);
    CHECK_INT(may(f.auth, f.conn, &anonymous, ACTION_DELETE, STR("/app")), ERR_DENIED);
    fixture_close(&f);
}

static void changes_count_at_once(void)
{
    struct fixture f;
    fixture_open(&f, "now", &fixture_config);
    fixture_sql(&f, "INSERT INTO project (name, public, created_at, created_by)"
                    "VALUES ('team', 0, 0, '')");
    CHECK_INT(may(f.auth, f.conn, &anonymous, ACTION_PULL, STR("team/app")), ERR_DENIED);
    fixture_sql(&f, "UPDATE project SET public = 1 WHERE name = 'team'");
    CHECK_INT(may(f.auth, f.conn, &anonymous, ACTION_PULL, STR("team/app")), OK);
    fixture_sql(&f, "UPDATE project SET public = 0 WHERE name = 'team'");
    CHECK_INT(may(f.auth, f.conn, &anonymous, ACTION_PULL, STR("team/app")), ERR_DENIED);
    CHECK_INT(may(f.auth, db_reader(f.db, -1), &anonymous, ACTION_PULL, STR("team/app")),
              ERR_WOULD_BLOCK);
    CHECK_INT(may(f.auth, db_reader(f.db, -1), &anonymous, ACTION_DELETE, STR("team/app")),
              ERR_DENIED);
    fixture_close(&f);
}

/* Else one could tell a project that is hidden from one that is missing. */
static void hidden_is_refused_by_workers_like_missing(void)
{
    struct fixture f;
    fixture_open(&f, "hidden", &fixture_config);
    CHECK_INT(db_remember(f.db, 1 << 20), OK);
    fixture_sql(&f,
                "DELETE FROM project; INSERT INTO project (name, public, created_at, created_by)"
                "VALUES ('library', 1, 0, ''), ('team', 0, 0, '')");
    struct db_conn *reactors = db_reader(f.db, -1);
    const struct {
        const char *repository;
        enum action action;
        enum err worker, reactor;
    } rows[] = {
        {"library/app", ACTION_PULL, OK, OK},
        {"library/app", ACTION_PUSH, ERR_DENIED, ERR_DENIED},
        {"team/app", ACTION_PULL, ERR_DENIED, ERR_WOULD_BLOCK},
        {"team/app", ACTION_PUSH, ERR_DENIED, ERR_WOULD_BLOCK},
        {"ghost/app", ACTION_PULL, ERR_DENIED, ERR_WOULD_BLOCK},
        {"ghost/app", ACTION_PUSH, ERR_DENIED, ERR_WOULD_BLOCK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        str repository = str_from(rows[i].repository);
        for (int j = 0; j < 2; j++) {
            const struct principal *who = j ? &alice : &anonymous;
            CHECK_INT(may(f.auth, f.conn, who, rows[i].action, repository), rows[i].worker);
            DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(reactors);
            CHECK_INT(s.err, OK);
            CHECK_INT(may(f.auth, reactors, who, rows[i].action, repository), rows[i].reactor);
        }
    }
    fixture_close(&f);
}

static void ceilings_narrow_and_never_grant(void)
{
    struct fixture f;
    fixture_open(&f, "ceiling", &fixture_config);
    const struct grant grants[] = {
        {.type = STR("repository"), .name = STR("alice/app"), .actions = R | W},
        {.type = STR("repository"), .name = STR("team/app"), .actions = ALL},
        {.type = STR("registry"), .name = STR("alice/other"), .actions = ALL},
        {.type = STR("repository"), .name = STR("catalog"), .actions = ACTION_CATALOG},
    };
    struct credentials who = {
        .principal = alice, .presented = true, .has_ceiling = true, .grants = grants, .grant_n = 4};
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_PULL, STR("alice/app")), OK);
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_PUSH, STR("alice/app")), OK);
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_DELETE, STR("alice/app")), ERR_DENIED);
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_PULL, STR("alice/app2")), ERR_DENIED);
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_PULL, STR("alice/other")), ERR_DENIED);
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_PUSH, STR("team/app")), ERR_DENIED);
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_CATALOG, STR("")), ERR_DENIED);
    who.principal = admin;
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_PUSH, STR("team/app")), OK);
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_PULL, STR("alice/other")), ERR_DENIED);
    who.grant_n = 0;
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_PULL, STR("alice/app")), ERR_DENIED);
    who.has_ceiling = false;
    CHECK_INT(auth_allows(f.auth, f.conn, &who, ACTION_DELETE, STR("alice/app")), OK);
    fixture_close(&f);
}

/* A catalog asked for without credentials is challenged, but where nobody needs any. */
static void catalog_wants_credentials(void)
{
    static const struct grant grant = {
        .type = STR_INIT("registry"), .name = STR_INIT("catalog"), .actions = ACTION_CATALOG};
    struct credentials nobody = {.principal = anonymous};
    struct credentials token = {.principal = anonymous,
                                .presented = true,
                                .has_ceiling = true,
                                .grants = &grant,
                                .grant_n = 1};
    static const enum err want[] = {[AUTH_ANONYMOUS_NONE] = ERR_DENIED,
                                    [AUTH_ANONYMOUS_PULL] = ERR_DENIED,
                                    [AUTH_ANONYMOUS_PUSH] = OK};
    for (unsigned mode = 0; mode < 3; mode++) {
        struct fixture f;
        struct auth_config config = fixture_config;
        config.anonymous = mode;
        fixture_open(&f, "catalog", &config);
        CHECK_INT(auth_allows(f.auth, f.conn, &nobody, ACTION_CATALOG, STR("")), want[mode]);
        CHECK_INT(auth_allows(f.auth, f.conn, &token, ACTION_CATALOG, STR("")), OK);
        fixture_close(&f);
    }
}

TESTS({"anonymous_none", anonymous_none}, {"anonymous_pull", anonymous_pull},
      {"anonymous_push", anonymous_push}, {"no_creation", no_creation},
      {"names_match_whole", names_match_whole}, {"changes_count_at_once", changes_count_at_once},
      {"hidden_is_refused_by_workers_like_missing", hidden_is_refused_by_workers_like_missing},
      {"ceilings_narrow_and_never_grant", ceilings_narrow_and_never_grant},
      {"catalog_wants_credentials", catalog_wants_credentials});

#include "auth/auth_fixture.h"
#include "auth/auth_private.h"

enum { DAY_S = 24 * 3600 };

/* alice and bob; their passwords do not matter here. */
static void open_with_users(struct fixture *f, const char *name, const struct auth_config *config)
{
    fixture_open(f, name, config);
    fixture_sql(f, "INSERT INTO user (id, name, password_hash, created_at) VALUES "
                   "(2, 'alice', '!', 0), (3, 'bob', '!', 0)");
}

static const struct principal alice = {.kind = PRINCIPAL_USER, .id = 2, .name = STR_INIT("alice")};
static const struct principal bob = {.kind = PRINCIPAL_USER, .id = 3, .name = STR_INIT("bob")};

static str issue(struct fixture *f, const struct principal *who)
{
    str token = {0};
    CHECK_INT(auth_refresh_issue(f->auth, who, STR("docker"), &f->arena, &token), OK);
    return token;
}

static enum err verify(struct fixture *f, str token)
{
    struct principal who = {0};
    return auth_refresh_verify(f->auth, f->conn, token, &f->arena, &who);
}

/* Moves all uses into the past. */
static void age(struct fixture *f, int64_t seconds)
{
    fixture_sql(f, arena_printf(&f->arena,
                                "UPDATE refresh_token SET used_at = used_at - %lld * 1000000",
                                (long long)seconds)
                       .p);
}

/* One number out of the database, seen from outside. */
static int64_t number(struct fixture *f, const char *sql)
{
    sqlite3 *other = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t n = -1;
    str path = arena_printf(&f->arena, "%.*s/berth.db", STR_ARG(f->dir));
    if (sqlite3_open(path.p, &other) == SQLITE_OK &&
        sqlite3_prepare_v2(other, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(other);
    return n;
}

static void gives_and_takes(void)
{
    struct fixture f;
    struct principal who = {0};
    open_with_users(&f, "gives", &fixture_config);
    str token = issue(&f, &alice), other = issue(&f, &bob);
    CHECK_INT(token.n, REFRESH_TOKEN_LEN);
    CHECK(str_starts(token, STR("berth_rt_")));
    CHECK(!str_eq(token, other));
    for (int i = 0; i < 2; i++) {
        CHECK_INT(auth_refresh_verify(f.auth, f.conn, token, &f.arena, &who), OK);
        CHECK(who.kind == PRINCIPAL_USER && who.id == 2 && !who.admin);
        CHECK_STR(who.name, "alice");
    }
    /* What the user is counts as of now. */
    fixture_sql(&f, "UPDATE user SET admin = 1, name = 'alicia' WHERE id = 2");
    CHECK_INT(auth_refresh_verify(f.auth, f.conn, token, &f.arena, &who), OK);
    CHECK(who.admin);
    CHECK_STR(who.name, "alicia");
    CHECK_INT(auth_refresh_verify(f.auth, f.conn, other, &f.arena, &who), OK);
    CHECK_STR(who.name, "bob");
    CHECK_INT(auth_refresh_verify(f.auth, db_reader(f.db, -1), other, &f.arena, &who),
              ERR_WOULD_BLOCK);
    fixture_close(&f);
}

static void refuses_others(void)
{
    struct fixture f;
    open_with_users(&f, "refuses", &fixture_config);
    str token = issue(&f, &alice);
    char *changed = arena_cstr(&f.arena, token);
    changed[20] = changed[20] == 'x' ? 'y' : 'x';
    CHECK_INT(verify(&f, str_make(changed, token.n)), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, str_first(token, token.n - 1)), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, arena_printf(&f.arena, "%.*s ", STR_ARG(token))), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, str_skip(token, 9)), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, (str){0}), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, token), OK);
    fixture_close(&f);
}

/* Only its hash is in the database. */
static void is_stored_nowhere(void)
{
    struct fixture f;
    open_with_users(&f, "stored", &fixture_config);
    str token = issue(&f, &alice);
    CHECK_INT(number(&f, "SELECT count(*) FROM refresh_token WHERE length(secret_hash) = 32"), 1);
    str file = arena_printf(&f.arena, "%.*s/berth.db-wal", STR_ARG(f.dir));
    FILE *in = fopen(file.p, "rb");
    CHECK(in != NULL);
    static char bytes[1 << 20];
    str all = str_make(bytes, in ? fread(bytes, 1, sizeof bytes, in) : 0);
    if (in)
        fclose(in);
    CHECK(str_contains(all, STR("refresh_token"))); /* the right file */
    CHECK(!str_contains(all, str_skip(token, 9)));
    fixture_close(&f);
}

static void survives_a_restart(void)
{
    struct fixture f;
    open_with_users(&f, "restart", &fixture_config);
    str token = issue(&f, &alice);
    struct error why;
    auth_free(f.auth);
    db_close(f.db);
    CHECK_INT(db_open(&f.db, f.dir, 1, &f.arena, &why), OK);
    CHECK_INT(auth_new(&f.auth, f.db, &fixture_config), OK);
    f.conn = db_reader(f.db, 0);
    CHECK_INT(verify(&f, token), OK);
    fixture_close(&f);
}

static void ends_with_the_password(void)
{
    struct fixture f;
    open_with_users(&f, "epoch", &fixture_config);
    str token = issue(&f, &alice), other = issue(&f, &bob);
    fixture_sql(&f, "UPDATE user SET epoch = 1 WHERE id = 2");
    CHECK_INT(verify(&f, token), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, other), OK);
    /* A login that was checked before the change gets none after it. */
    str late = {0};
    CHECK_INT(auth_refresh_issue(f.auth, &alice, STR(""), &f.arena, &late), ERR_UNAUTHORIZED);
    CHECK(!late.p);
    /* The next one sweeps away what became void. */
    struct principal now = alice;
    now.epoch = 1;
    CHECK_INT(verify(&f, issue(&f, &now)), OK);
    CHECK_INT(number(&f, "SELECT count(*) FROM refresh_token WHERE owner = 2"), 1);
    fixture_close(&f);
}

static void ends_with_the_user(void)
{
    struct fixture f;
    open_with_users(&f, "user", &fixture_config);
    str token = issue(&f, &alice);
    fixture_sql(&f, "PRAGMA foreign_keys = ON; DELETE FROM user WHERE id = 2");
    CHECK_INT(verify(&f, token), ERR_UNAUTHORIZED);
    fixture_sql(&f, "INSERT INTO user (id, name, password_hash, created_at) "
                    "VALUES (2, 'carol', '!', 0)");
    CHECK_INT(verify(&f, token), ERR_UNAUTHORIZED);
    str late = {0};
    CHECK_INT(auth_refresh_issue(f.auth, &alice, STR(""), &f.arena, &late), ERR_UNAUTHORIZED);
    fixture_close(&f);
}

static void expires_when_unused(void)
{
    struct fixture f;
    open_with_users(&f, "expires", &fixture_config);
    str token = issue(&f, &alice);
    age(&f, 89 * DAY_S);
    CHECK_INT(verify(&f, token), OK);
    age(&f, 89 * DAY_S); /* the use just now started the time anew */
    CHECK_INT(verify(&f, token), OK);
    age(&f, 91 * DAY_S);
    CHECK_INT(verify(&f, token), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, token), ERR_UNAUTHORIZED); /* asking is not using */
    issue(&f, &alice);
    CHECK_INT(number(&f, "SELECT count(*) FROM refresh_token"), 1);
    fixture_close(&f);
}

static void writes_once_an_hour(void)
{
    struct fixture f;
    open_with_users(&f, "hour", &fixture_config);
    const char *last = "SELECT used_at FROM refresh_token";
    str token = issue(&f, &alice);
    age(&f, 3500);
    int64_t before = number(&f, last);
    CHECK_INT(verify(&f, token), OK);
    CHECK_INT(number(&f, last), before);
    age(&f, 200);
    CHECK_INT(verify(&f, token), OK);
    CHECK(number(&f, last) > before + 3000 * INT64_C(1000000));
    fixture_close(&f);
}

/* Of a short lifetime, too, most is left after each use. */
static void writes_often_enough(void)
{
    struct fixture f;
    struct auth_config config = fixture_config;
    config.refresh_lifetime_ms = 10 * 60 * 1000;
    open_with_users(&f, "often", &config);
    str token = issue(&f, &alice);
    for (int i = 0; i < 3; i++) {
        age(&f, 8 * 60);
        CHECK_INT(verify(&f, token), OK);
    }
    fixture_close(&f);
}

static void bounds_their_number(void)
{
    struct fixture f;
    str tokens[5];
    open_with_users(&f, "bound", &fixture_config);
    str other = issue(&f, &bob);
    for (int i = 0; i < 3; i++) {
        age(&f, 2 * 3600);
        tokens[i] = issue(&f, &alice);
    }
    CHECK_INT(verify(&f, tokens[0]), OK); /* now the one used last */
    tokens[3] = issue(&f, &alice);
    tokens[4] = issue(&f, &alice);
    CHECK_INT(verify(&f, tokens[0]), OK);
    CHECK_INT(verify(&f, tokens[1]), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, tokens[2]), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, tokens[3]), OK);
    CHECK_INT(verify(&f, tokens[4]), OK);
    CHECK_INT(verify(&f, other), OK);
    fixture_close(&f);
}

static void revokes(void)
{
    struct fixture f;
    struct refresh_token was = {0};
    open_with_users(&f, "revokes", &fixture_config);
    str token = issue(&f, &alice), other = issue(&f, &alice);
    CHECK_INT(auth_refresh_revoke(f.auth, f.conn, STR("junk"), &f.arena, &was), ERR_NOT_FOUND);
    CHECK_INT(auth_refresh_revoke(f.auth, f.conn, token, &f.arena, &was), OK);
    CHECK_STR(was.user, "alice");
    CHECK_STR(was.client_id, "docker");
    CHECK(was.created_at_us > 0);
    CHECK_INT(verify(&f, token), ERR_UNAUTHORIZED);
    CHECK_INT(auth_refresh_revoke(f.auth, f.conn, token, &f.arena, &was), ERR_NOT_FOUND);
    CHECK_INT(verify(&f, other), OK);
    age(&f, 100 * DAY_S);
    CHECK_INT(auth_refresh_revoke(f.auth, f.conn, other, &f.arena, &was), OK); /* expired, too */
    CHECK_INT(number(&f, "SELECT count(*) FROM refresh_token"), 0);
    fixture_close(&f);
}

static void can_be_switched_off(void)
{
    struct fixture f;
    struct auth_config off = fixture_config;
    struct refresh_token was;
    off.refresh_lifetime_ms = 0;
    open_with_users(&f, "off", &fixture_config);
    str token = issue(&f, &alice);
    auth_free(f.auth);
    CHECK_INT(auth_new(&f.auth, f.db, &off), OK);
    CHECK(!issue(&f, &alice).p);
    CHECK_INT(verify(&f, token), ERR_UNAUTHORIZED);
    CHECK_INT(auth_refresh_revoke(f.auth, f.conn, token, &f.arena, &was), OK);
    fixture_close(&f);
}

static void gives_none_to_nobody(void)
{
    struct fixture f;
    struct principal anonymous = {.kind = PRINCIPAL_ANONYMOUS};
    fixture_open(&f, "nobody", &fixture_config);
    CHECK(!issue(&f, &anonymous).p);
    fixture_close(&f);
}

static void cleans_client_ids(void)
{
    struct fixture f;
    struct refresh_token was = {0};
    char big[300];
    str token;
    open_with_users(&f, "client", &fixture_config);
    CHECK_INT(auth_refresh_issue(f.auth, &alice, STR("a b\n\xff~"), &f.arena, &token), OK);
    CHECK_INT(auth_refresh_revoke(f.auth, f.conn, token, &f.arena, &was), OK);
    CHECK_STR(was.client_id, "a b??~");
    memset(big, 'x', sizeof big);
    CHECK_INT(auth_refresh_issue(f.auth, &alice, str_make(big, sizeof big), &f.arena, &token), OK);
    CHECK_INT(auth_refresh_revoke(f.auth, f.conn, token, &f.arena, &was), OK);
    CHECK_INT(was.client_id.n, CLIENT_ID_BYTES_MAX);
    CHECK_INT(auth_refresh_issue(f.auth, &alice, (str){0}, &f.arena, &token), OK);
    fixture_close(&f);
}

TESTS({"gives_and_takes", gives_and_takes}, {"refuses_others", refuses_others},
      {"is_stored_nowhere", is_stored_nowhere}, {"survives_a_restart", survives_a_restart},
      {"ends_with_the_password", ends_with_the_password},
      {"ends_with_the_user", ends_with_the_user}, {"expires_when_unused", expires_when_unused},
      {"writes_once_an_hour", writes_once_an_hour}, {"writes_often_enough", writes_often_enough},
      {"bounds_their_number", bounds_their_number}, {"revokes", revokes},
      {"can_be_switched_off", can_be_switched_off}, {"gives_none_to_nobody", gives_none_to_nobody},
      {"cleans_client_ids", cleans_client_ids});

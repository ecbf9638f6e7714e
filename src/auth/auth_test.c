#include "auth/auth_fixture.h"

#include "auth/auth_private.h"
#include "base/hex.h"

#include <crypt.h>

/* What happens while a password is computed. */
static void (*meanwhile)(void);

/* In place of libcrypt's. */
char *crypt_rn(const char *phrase, const char *setting, void *data, int size)
{
    CHECK(size >= (int)sizeof(struct crypt_data));
    if (meanwhile)
        meanwhile();
    return crypt_r(phrase, setting, data);
}

/* alice, password "wonderland". */
static const char *const ALICE =
    "INSERT INTO user (id, name, password_hash, admin, epoch, created_at) VALUES (2, 'alice', "
    "'%s', 0, 0, 0)";

static void open_with_alice(struct fixture *f, const char *name)
{
    char hash[PASSWORD_HASH_MAX + 1];
    fixture_open(f, name, &fixture_config);
    CHECK_INT(password_hash(STR("wonderland"), 4, hash), OK);
    fixture_sql(f, arena_printf(&f->arena, ALICE, hash).p);
}

static str basic(struct fixture *f, const char *user, const char *password)
{
    str pair = arena_printf(&f->arena, "%s:%s", user, password);
    return arena_printf(&f->arena, "Basic %.*s", STR_ARG(base64_encode(&f->arena, pair)));
}

static enum err verify(struct fixture *f, str authorization, struct credentials *ret)
{
    return auth_verify(f->auth, f->conn, authorization, STR("berth"), &f->arena, ret);
}

static str bearer_for(struct fixture *f, const struct principal *who, const char *scope)
{
    struct grant grant;
    size_t n = scope_parse(&f->arena, str_from(scope), &grant);
    str token = {0};
    int64_t issued_at_us = 0;
    CHECK_INT(
        auth_token_sign(f->auth, who, STR("berth"), &grant, n, &f->arena, &token, &issued_at_us),
        OK);
    CHECK(issued_at_us > 0 && issued_at_us % 1000000 == 0);
    return arena_printf(&f->arena, "Bearer %.*s", STR_ARG(token));
}

static void first_start_creates_an_administrator(void)
{
    struct fixture f;
    struct credentials who = {0};
    bool found = true;
    char big[73];
    memset(big, 'x', sizeof big);
    fixture_open(&f, "first", &fixture_config);
    CHECK_INT(auth_has_admin(f.auth, &found), OK);
    CHECK(!found);
    CHECK_INT(auth_add_admin(f.auth, str_make(big, 73)), ERR_LIMIT);
    CHECK_INT(auth_add_admin(f.auth, STR("chosen")), OK);
    CHECK_INT(verify(&f, basic(&f, "admin", "chosen"), &who), OK);
    CHECK(who.principal.admin && who.presented && !who.has_ceiling);
    CHECK_STR(who.principal.name, "admin");
    CHECK_INT(auth_has_admin(f.auth, &found), OK);
    CHECK(found);
    CHECK_INT(auth_add_admin(f.auth, STR("other")), ERR_EXISTS);
    CHECK_INT(verify(&f, basic(&f, "admin", "other"), &who), ERR_UNAUTHORIZED);
    fixture_close(&f);
}

static void nothing_of_an_earlier_user_counts_for_a_later_one(void)
{
    struct fixture f;
    struct credentials who = {0};
    struct principal owner;
    str refresh;
    fixture_open(&f, "later", &fixture_config);
    CHECK_INT(auth_add_admin(f.auth, STR("earlier")), OK);
    CHECK_INT(verify(&f, basic(&f, "admin", "earlier"), &who), OK);
    int64_t id = who.principal.id;
    str token = bearer_for(&f, &who.principal, "");
    CHECK_INT(auth_refresh_issue(f.auth, &who.principal, STR("x"), &f.arena, &refresh), OK);

    fixture_sql(&f, "DELETE FROM user"); /* with foreign keys off: his refresh token stays */
    CHECK_INT(auth_add_admin(f.auth, STR("later")), OK);
    CHECK_INT(verify(&f, basic(&f, "admin", "earlier"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, token, &who), ERR_UNAUTHORIZED);
    CHECK_INT(auth_refresh_verify(f.auth, f.conn, refresh, &f.arena, &owner), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, basic(&f, "admin", "later"), &who), OK);
    CHECK_INT(who.principal.id, id);
    fixture_close(&f);
}

static void a_plain_user_named_admin_is_left_alone(void)
{
    struct fixture f;
    bool found = true;
    fixture_open(&f, "plain", &fixture_config);
    fixture_sql(&f, "INSERT INTO user (name, password_hash, created_at) VALUES ('admin', '!', 0)");
    CHECK_INT(auth_has_admin(f.auth, &found), OK);
    CHECK(!found);
    CHECK_INT(auth_add_admin(f.auth, STR("chosen")), ERR_EXISTS);
    fixture_close(&f);
}

static void generated_passwords_differ(void)
{
    struct arena a = {0};
    str one = auth_generate_password(&a), other = auth_generate_password(&a);
    CHECK_INT(one.n, 29);
    CHECK_INT(other.n, 29);
    CHECK(!str_eq(one, other));
    arena_release(&a);
}

static void verifies_basic(void)
{
    struct fixture f;
    struct credentials who = {0};
    open_with_alice(&f, "basic");
    CHECK_INT(verify(&f, (str){0}, &who), OK);
    CHECK(who.principal.kind == PRINCIPAL_ANONYMOUS && !who.presented && !who.principal.admin);
    CHECK_INT(verify(&f, STR("Basic Og=="), &who), OK);
    CHECK(who.principal.kind == PRINCIPAL_ANONYMOUS && !who.presented);
    CHECK_INT(verify(&f, basic(&f, "alice", "wonderland"), &who), OK);
    CHECK(who.principal.kind == PRINCIPAL_USER && who.principal.id == 2 && !who.principal.admin);
    CHECK_INT(verify(&f, basic(&f, "alice", "Wonderland"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, basic(&f, "Alice", "wonderland"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, basic(&f, "alice", ""), &who), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, basic(&f, "", "wonderland"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, STR("Digest x"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(auth_verify(f.auth, db_reader(f.db, -1), basic(&f, "alice", "wonderland"),
                          STR("berth"), &f.arena, &who),
              ERR_WOULD_BLOCK);
    fixture_close(&f);
}

static void unknown_users_compute_too(void)
{
    struct fixture f;
    struct credentials who;
    open_with_alice(&f, "unknown");
    CHECK_INT(verify(&f, basic(&f, "nobody", "wonderland"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(passwords_counts(f.auth->passwords).dummies, 1);
    CHECK_INT(verify(&f, basic(&f, "alice", "wrong"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(passwords_counts(f.auth->passwords).computed, 1);
    /* Nobody is called nothing, and everybody knows. */
    CHECK_INT(verify(&f, basic(&f, "", "wonderland"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(passwords_counts(f.auth->passwords).dummies, 1);
    fixture_close(&f);
}

/* Before anybody is looked for: that takes another time for who is in memory. */
static void impossible_passwords_ask_for_nobody(void)
{
    struct fixture f;
    struct credentials who;
    char big[74] = {0};
    memset(big, 'x', sizeof big - 1);
    open_with_alice(&f, "impossible");
    CHECK_INT(db_remember(f.db, 1 << 20), OK);
    CHECK_INT(verify(&f, basic(&f, "alice", "wonderland"), &who), OK);
    const char *const users[] = {"alice", "nobody"}, *const passwords[] = {"", big};
    for (int i = 0; i < 4; i++) {
        struct db_conn *reactors = db_reader(f.db, -1);
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(reactors);
        CHECK_INT(s.err, OK);
        CHECK_INT(auth_verify(f.auth, reactors, basic(&f, users[i / 2], passwords[i % 2]),
                              STR("berth"), &f.arena, &who),
                  ERR_UNAUTHORIZED);
        CHECK_INT(auth_verify(f.auth, reactors, basic(&f, users[i / 2], "other"), STR("berth"),
                              &f.arena, &who),
                  ERR_WOULD_BLOCK);
    }
    CHECK_INT(passwords_counts(f.auth->passwords).dummies, 0);
    fixture_close(&f);
}

static struct fixture *cut; /* whose log is cut */
static int cut_n;

/* The log can be cut when no reader holds a state. */
static void cut_log(void)
{
    sqlite3 *other = NULL;
    int log = -1, done = -1;
    str path = arena_printf(&cut->arena, "%.*s/berth.db", STR_ARG(cut->dir));
    CHECK_INT(sqlite3_open(path.p, &other), SQLITE_OK);
    CHECK_INT(sqlite3_exec(other, "UPDATE user SET created_at = created_at + 1", NULL, NULL, NULL),
              SQLITE_OK);
    CHECK_INT(sqlite3_wal_checkpoint_v2(other, NULL, SQLITE_CHECKPOINT_TRUNCATE, &log, &done),
              SQLITE_OK);
    CHECK_INT(log, 0);
    sqlite3_close(other);
    cut_n++;
}

static void no_state_is_held_while_a_password_is_computed(void)
{
    static const struct {
        const char *user, *password;
        uint64_t cache_ms;
        enum err want;
    } rows[] = {
        {"nobody", "wonderland", 60000, ERR_UNAUTHORIZED},
        {"alice", "wrong", 60000, ERR_UNAUTHORIZED},
        {"alice", "wonderland", 60000, OK},
        {"alice", "wonderland", 0, OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture f;
        struct credentials who = {0};
        char name[] = "held-0", hash[PASSWORD_HASH_MAX + 1];
        name[sizeof name - 2] = (char)('0' + i);
        struct auth_config config = fixture_config;
        config.password_cache_ms = rows[i].cache_ms;
        fixture_open(&f, name, &config);
        CHECK_INT(password_hash(STR("wonderland"), 4, hash), OK);
        fixture_sql(&f, arena_printf(&f.arena, ALICE, hash).p);
        cut = &f;
        cut_n = 0;
        meanwhile = cut_log;
        {
            DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(f.conn);
            CHECK_INT(s.err, OK);
            CHECK_INT(verify(&f, basic(&f, rows[i].user, rows[i].password), &who), rows[i].want);
        }
        meanwhile = NULL;
        CHECK_INT(cut_n, 1);
        fixture_close(&f);
    }
}

static const char *change;

static void change_user(void)
{
    fixture_sql(cut, change);
}

/* What a request goes on with is the state after the computation, and the user as he is there. */
static void who_changes_while_his_password_is_computed(void)
{
    static const struct {
        const char *change;
        enum err want;
        bool admin;
    } rows[] = {
        {"UPDATE user SET admin = 1 WHERE id = 2", OK, true},
        {"UPDATE user SET epoch = epoch + 1 WHERE id = 2", ERR_UNAUTHORIZED, false},
        {"UPDATE user SET id = 3 WHERE id = 2", ERR_UNAUTHORIZED, false},
        {"DELETE FROM user WHERE id = 2", ERR_UNAUTHORIZED, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture f;
        struct credentials who = {0};
        char name[] = "changes-0";
        name[sizeof name - 2] = (char)('0' + i);
        open_with_alice(&f, name);
        cut = &f;
        change = rows[i].change;
        meanwhile = change_user;
        {
            DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(f.conn);
            CHECK_INT(s.err, OK);
            CHECK_INT(verify(&f, basic(&f, "alice", "wonderland"), &who), rows[i].want);
        }
        meanwhile = NULL;
        CHECK_INT(who.principal.admin, rows[i].admin);
        fixture_close(&f);
    }
}

static void a_changed_password_ends_verdicts_and_tokens(void)
{
    struct fixture f;
    struct credentials who;
    char hash[PASSWORD_HASH_MAX + 1];
    open_with_alice(&f, "epoch");
    for (int i = 0; i < 3; i++)
        CHECK_INT(verify(&f, basic(&f, "alice", "wonderland"), &who), OK);
    CHECK_INT(passwords_counts(f.auth->passwords).computed, 1);
    CHECK_INT(passwords_counts(f.auth->passwords).cached, 2);
    str token = bearer_for(&f, &who.principal, "repository:alice/app:pull");
    for (int i = 0; i < 2; i++)
        CHECK_INT(verify(&f, token, &who), OK);
    CHECK_INT(cache_count(f.auth->tokens), 1);

    CHECK_INT(password_hash(STR("looking-glass"), 4, hash), OK);
    fixture_sql(&f, arena_printf(&f.arena,
                                 "UPDATE user SET password_hash = '%s', epoch = epoch + 1 "
                                 "WHERE id = 2",
                                 hash)
                        .p);
    CHECK_INT(verify(&f, basic(&f, "alice", "wonderland"), &who), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, token, &who), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, basic(&f, "alice", "looking-glass"), &who), OK);
    CHECK_INT(who.principal.epoch, 1);
    CHECK_INT(verify(&f, bearer_for(&f, &who.principal, ""), &who), OK);
    fixture_close(&f);
}

static void verifies_bearer(void)
{
    struct fixture f;
    struct credentials who = {0};
    open_with_alice(&f, "bearer");
    CHECK_INT(verify(&f, basic(&f, "alice", "wonderland"), &who), OK);
    str token = bearer_for(&f, &who.principal, "repository:app:pull,push");
    for (int i = 0; i < 2; i++) { /* computed, then remembered */
        who = (struct credentials){0};
        CHECK_INT(verify(&f, token, &who), OK);
        CHECK(who.presented && who.has_ceiling && who.principal.kind == PRINCIPAL_USER);
        CHECK_STR(who.principal.name, "alice");
        CHECK_INT(who.grant_n, 1);
        CHECK_STR(who.grants[0].name, "library/app");
        CHECK_INT(who.grants[0].actions, ACTION_PULL | ACTION_PUSH);
        CHECK_INT(auth_verify(f.auth, f.conn, token, STR("other"), &f.arena, &who),
                  ERR_UNAUTHORIZED);
        CHECK_INT(auth_verify(f.auth, db_reader(f.db, -1), token, STR("berth"), &f.arena, &who),
                  ERR_WOULD_BLOCK);
    }
    CHECK_INT(verify(&f, str_first(token, token.n - 1), &who), ERR_UNAUTHORIZED);
    char *changed = arena_cstr(&f.arena, token);
    changed[token.n - 40] = changed[token.n - 40] == 'x' ? 'y' : 'x';
    CHECK_INT(verify(&f, str_make(changed, token.n), &who), ERR_UNAUTHORIZED);
    CHECK_INT(verify(&f, STR("Bearer x"), &who), ERR_UNAUTHORIZED);

    /* Becoming administrator, or ceasing to be one, counts at once. */
    fixture_sql(&f, "UPDATE user SET admin = 1 WHERE id = 2");
    CHECK_INT(verify(&f, token, &who), OK);
    CHECK(who.principal.admin);
    /* Another user who got the name, and the id, is not meant. */
    fixture_sql(&f, "UPDATE user SET name = 'bob' WHERE id = 2");
    CHECK_INT(verify(&f, token, &who), ERR_UNAUTHORIZED);
    fixture_sql(&f, "UPDATE user SET id = 9, name = 'alice' WHERE id = 2");
    CHECK_INT(verify(&f, token, &who), ERR_UNAUTHORIZED);
    fixture_sql(&f, "DELETE FROM user");
    CHECK_INT(verify(&f, token, &who), ERR_UNAUTHORIZED);
    fixture_close(&f);
}

static void anonymous_tokens_need_no_database(void)
{
    struct fixture f;
    struct credentials who = {0};
    fixture_open(&f, "anonymous", &fixture_config);
    struct principal anonymous = {.kind = PRINCIPAL_ANONYMOUS};
    str token = bearer_for(&f, &anonymous, "repository:library/app:pull");
    struct db_conn *reactors = db_reader(f.db, -1);
    CHECK_INT(auth_verify(f.auth, reactors, token, STR("berth"), &f.arena, &who), ERR_WOULD_BLOCK);
    CHECK_INT(verify(&f, token, &who), OK); /* the signature was checked, by a worker */
    CHECK_INT(auth_verify(f.auth, reactors, token, STR("berth"), &f.arena, &who), OK);
    CHECK(who.principal.kind == PRINCIPAL_ANONYMOUS && who.presented && who.has_ceiling);
    CHECK(!who.principal.name.n);
    fixture_close(&f);
}

static void keys_survive_restarts_and_do_not_cross(void)
{
    struct fixture f, other;
    struct credentials who;
    struct principal anonymous = {.kind = PRINCIPAL_ANONYMOUS};
    fixture_open(&f, "restart", &fixture_config);
    fixture_open(&other, "elsewhere", &fixture_config);
    str token = bearer_for(&f, &anonymous, "");
    str jwks = auth_jwks(f.auth, &f.arena);
    CHECK(str_starts(jwks, STR("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",")));
    CHECK(!str_contains(jwks, STR("\"d\":")));
    CHECK_INT(verify(&other, token, &who), ERR_UNAUTHORIZED);

    auth_free(f.auth);
    CHECK_INT(auth_new(&f.auth, f.db, &fixture_config), OK);
    CHECK(str_eq(jwks, auth_jwks(f.auth, &f.arena)));
    CHECK_INT(verify(&f, token, &who), OK);
    fixture_close(&other);
    fixture_close(&f);
}

static void the_newest_key_signs_and_older_ones_verify(void)
{
    struct fixture f;
    struct credentials who;
    struct principal anonymous = {.kind = PRINCIPAL_ANONYMOUS};
    struct jws_key *key;
    str pem, jwks;
    fixture_open(&f, "rotate", &fixture_config);
    str old = bearer_for(&f, &anonymous, "");
    CHECK_INT(jws_key_generate(&key), OK);
    CHECK_INT(jws_key_to_pem(key, &f.arena, &pem), OK);
    str id = jws_key_id(key);
    fixture_sql(&f, arena_printf(&f.arena,
                                 "INSERT INTO signing_key (kid, pem, created_at) SELECT '%.*s', "
                                 "'%.*s', max(created_at) + 1 FROM signing_key",
                                 STR_ARG(id), STR_ARG(pem))
                        .p);
    auth_free(f.auth);
    CHECK_INT(auth_new(&f.auth, f.db, &fixture_config), OK);
    jwks = auth_jwks(f.auth, &f.arena);
    CHECK(str_starts(str_skip(jwks, 9), jws_key_jwk(key, &f.arena)));
    CHECK_INT(verify(&f, old, &who), OK);
    CHECK_INT(verify(&f, bearer_for(&f, &anonymous, ""), &who), OK);
    jws_key_free(key);
    fixture_sql(&f, "UPDATE signing_key SET pem = 'rotten'");
    struct auth *none = NULL;
    CHECK_INT(auth_new(&none, f.db, &fixture_config), ERR_DB_CORRUPT);
    fixture_close(&f);
}

static void too_many_grants_are_refused(void)
{
    struct fixture f;
    static const struct grant grants[GRANTS_MAX + 1];
    struct principal anonymous = {.kind = PRINCIPAL_ANONYMOUS};
    str token;
    int64_t at;
    fixture_open(&f, "many", &fixture_config);
    CHECK_INT(auth_token_sign(f.auth, &anonymous, STR("berth"), grants, GRANTS_MAX + 1, &f.arena,
                              &token, &at),
              ERR_LIMIT);
    fixture_close(&f);
}

TESTS({"first_start_creates_an_administrator", first_start_creates_an_administrator},
      {"nothing_of_an_earlier_user_counts_for_a_later_one",
       nothing_of_an_earlier_user_counts_for_a_later_one},
      {"a_plain_user_named_admin_is_left_alone", a_plain_user_named_admin_is_left_alone},
      {"generated_passwords_differ", generated_passwords_differ},
      {"verifies_basic", verifies_basic}, {"unknown_users_compute_too", unknown_users_compute_too},
      {"impossible_passwords_ask_for_nobody", impossible_passwords_ask_for_nobody},
      {"no_state_is_held_while_a_password_is_computed",
       no_state_is_held_while_a_password_is_computed},
      {"who_changes_while_his_password_is_computed", who_changes_while_his_password_is_computed},
      {"a_changed_password_ends_verdicts_and_tokens", a_changed_password_ends_verdicts_and_tokens},
      {"verifies_bearer", verifies_bearer},
      {"anonymous_tokens_need_no_database", anonymous_tokens_need_no_database},
      {"keys_survive_restarts_and_do_not_cross", keys_survive_restarts_and_do_not_cross},
      {"the_newest_key_signs_and_older_ones_verify", the_newest_key_signs_and_older_ones_verify},
      {"too_many_grants_are_refused", too_many_grants_are_refused});

#include "auth/auth_private.h"

#include "auth/authorization.h"
#include "auth/claims.h"
#include "base/clock.h"
#include "base/metrics.h"

#include <openssl/crypto.h>
#include <stdlib.h>

enum {
    TOKENS_BYTES_MAX = 2 * 1024 * 1024, /* about two thousand tokens of one scope */
    GENERATED_GROUPS = 5,
    GENERATED_GROUP_CHARS = 5,
};

static const int64_t US_PER_S = 1000000;

enum err auth_new(struct auth **ret, struct db *db, const struct auth_config *config)
{
    struct keyring keys;
    enum err e = keyring_load(db, &keys);
    if (e)
        return e;
    struct auth *auth = calloc(1, sizeof *auth);
    if (!auth)
        abort();
    auth->db = db;
    auth->config = *config;
    auth->keys = keys;
    auth->tokens = cache_new(CACHE_TOKENS, TOKENS_BYTES_MAX, CACHE_SHARDS);
    auth->passwords = passwords_new(&(struct password_config){
        .cost = config->bcrypt_cost,
        .checks_max = config->password_checks_max,
        .queue_max = config->password_queue_max,
        .cache_ms = config->password_cache_ms,
    });
    *ret = auth;
    return OK;
}

void auth_free(struct auth *auth)
{
    if (!auth)
        return;
    passwords_free(auth->passwords);
    cache_free(auth->tokens);
    keyring_release(&auth->keys);
    free(auth);
}

const struct auth_config *auth_config(const struct auth *auth)
{
    return &auth->config;
}

/* Five groups of five out of 32 characters nobody mistakes for another: 125 bits. */
str auth_generate_password(struct arena *a)
{
    static const char alphabet[] = "23456789abcdefghijkmnpqrstuvwxyz";
    _Static_assert(sizeof alphabet - 1 == 32, "five random bits pick a character");
    uint8_t random[GENERATED_GROUPS * GENERATED_GROUP_CHARS];
    random_bytes(random, sizeof random);
    char *p = arena_alloc(a, sizeof random + GENERATED_GROUPS);
    size_t n = 0;
    for (size_t i = 0; i < sizeof random; i++) {
        if (i && i % GENERATED_GROUP_CHARS == 0)
            p[n++] = '-';
        p[n++] = alphabet[random[i] % 32];
    }
    OPENSSL_cleanse(random, sizeof random);
    return str_make(p, n);
}

static enum err find_admin(struct db_conn *conn, void *arg)
{
    bool *found = arg;
    DB_CURSOR struct db_cursor c = db_query(conn, Q_USER_ADMIN_ANY);
    *found = db_next(&c);
    return c.err;
}

struct new_admin {
    str hash;
    int64_t now_us;
};

static enum err add_admin(struct db_conn *conn, void *arg)
{
    const struct new_admin *admin = arg;
    bool found;
    enum err e = find_admin(conn, &found);
    if (e || found)
        return e ? e : ERR_EXISTS;
    e = db_exec(conn, Q_USER_ADD, DB_TEXT(STR("admin")), DB_TEXT(admin->hash), DB_INT(1),
                DB_INT(admin->now_us));
    return e == ERR_CONSTRAINT ? ERR_EXISTS : e;
}

enum err auth_has_admin(struct auth *auth, bool *ret)
{
    bool found;
    enum err e = db_tx(auth->db, find_admin, &found);
    if (!e)
        *ret = found;
    return e;
}

enum err auth_add_admin(struct auth *auth, str password)
{
    char hash[PASSWORD_HASH_MAX + 1];
    enum err e = password_hash(password, auth->config.bcrypt_cost, hash);
    if (e)
        return e;
    struct new_admin admin = {.hash = str_from(hash), .now_us = clock_wall_us()};
    return db_tx(auth->db, add_admin, &admin);
}

/* Id 0 and a hash with p == NULL: there is no such user. */
static enum err find_user(struct db_conn *conn, str name, struct arena *a, struct principal *who,
                          str *hash)
{
    *who = (struct principal){.kind = PRINCIPAL_USER, .name = name};
    *hash = (str){0};
    DB_CURSOR struct db_cursor c = db_query(conn, Q_USER_BY_NAME, DB_TEXT(name));
    if (db_next(&c)) {
        who->id = db_int(&c, 0);
        *hash = db_copy(&c, 1, a);
        who->admin = db_int(&c, 2);
        who->epoch = db_int(&c, 3);
    }
    return c.err;
}

/* The computation, without a snapshot: waiting for it and doing it takes long, and who has no
 * password at all can ask for it. The verdict is about a user and his epoch; what the request goes
 * on with is the state after it, so there he must be the same. */
static enum err compute(struct auth *auth, struct db_conn *conn,
                        const struct password_attempt *attempt, struct arena *a,
                        struct principal *who)
{
    db_snapshot_pause(conn);
    enum err verdict = passwords_check(auth->passwords, attempt, clock_mono_ms());
    enum err e = db_snapshot_resume(conn);
    if (e || verdict)
        return e ? e : verdict;
    str hash;
    e = find_user(conn, who->name, a, who, &hash);
    if (!e && (!hash.p || who->id != attempt->user || who->epoch != attempt->epoch))
        e = ERR_UNAUTHORIZED;
    return e;
}

enum err auth_verify_password(struct auth *auth, struct db_conn *conn, str user, str password,
                              struct arena *a, struct principal *ret)
{
    /* Nobody has the empty name, so this tells nothing. BuildKit, given a refresh token, tries it
     * like this before it asks properly: that shall cost no bcrypt. */
    if (!user.n)
        return ERR_UNAUTHORIZED;
    struct principal who;
    str hash;
    enum err e = password_screen(password);
    if (!e)
        e = find_user(conn, user, a, &who, &hash);
    if (e)
        return e;
    struct password_attempt attempt = {
        .user = who.id,
        .epoch = who.epoch,
        .hash = hash,
        .password = password,
        .memory_only = true,
    };
    e = passwords_check(auth->passwords, &attempt, clock_mono_ms());
    if (e == ERR_WOULD_BLOCK && db_may_block(conn)) {
        attempt.memory_only = false;
        e = compute(auth, conn, &attempt, a, &who);
    }
    if (!e)
        *ret = who;
    return e;
}

static enum err verify_basic(struct auth *auth, struct db_conn *conn,
                             const struct authorization *sent, struct arena *a,
                             struct credentials *ret)
{
    struct principal who;
    enum err e = auth_verify_password(auth, conn, sent->user, sent->password, a, &who);
    if (!e)
        *ret = (struct credentials){.principal = who, .presented = true};
    return e;
}

/* The signature, and what it signs. */
static enum err token_open(const struct auth *auth, str token, str service, int64_t now_s,
                           struct arena *a, struct claims *ret)
{
    struct jws jws;
    if (jws_parse(a, token, &jws))
        return ERR_UNAUTHORIZED;
    const struct jws_key *key = keyring_find(&auth->keys, jws.key_id);
    if (!key || !jws_verify(&jws, key))
        return ERR_UNAUTHORIZED;
    return claims_read(a, jws.payload, service, now_s, ret);
}

static void remember(struct auth *auth, str token, const struct claims *claims)
{
    size_t n = claims_size(claims);
    struct cache_value *v = cache_value_new(n, (uint64_t)(claims->expires_s + CLAIMS_LEEWAY_S));
    if (v)
        claims_copy(v->bytes, claims, n);
    cache_put(auth->tokens, token, v);
}

/* token_open, remembered for as long as the token is valid. A reactor has no time to check a
 * signature. */
static enum err token_claims(struct auth *auth, bool may_block, str token, str service,
                             struct arena *a, struct claims **ret)
{
    int64_t now_s = clock_wall_s();
    CACHE_VALUE struct cache_value *known = cache_get(auth->tokens, token, (uint64_t)now_s);
    if (known) {
        *ret = arena_alloc(a, known->n);
        claims_copy(*ret, known->bytes, known->n);
        return str_eq((*ret)->service, service) ? OK : ERR_UNAUTHORIZED;
    }
    if (!may_block)
        return ERR_WOULD_BLOCK;
    struct claims *claims = ARENA_NEW(a, struct claims);
    enum err e = token_open(auth, token, service, now_s, a, claims);
    if (e)
        return e;
    remember(auth, token, claims);
    *ret = claims;
    return OK;
}

/* The user as of now: a token of one who is gone, or whose epoch moved since, is void. */
static enum err token_principal(struct db_conn *conn, const struct claims *claims,
                                struct principal *ret)
{
    if (!claims->name.n) {
        *ret = (struct principal){.kind = PRINCIPAL_ANONYMOUS};
        return OK;
    }
    DB_CURSOR struct db_cursor c = db_query(conn, Q_USER_BY_ID, DB_INT(claims->user));
    bool found = db_next(&c);
    if (c.err)
        return c.err;
    if (!found || !str_eq(db_text(&c, 0), claims->name) || db_int(&c, 2) != claims->epoch)
        return ERR_UNAUTHORIZED;
    *ret = (struct principal){
        .kind = PRINCIPAL_USER,
        .id = claims->user,
        .epoch = claims->epoch,
        .name = claims->name,
        .admin = db_int(&c, 1),
    };
    return OK;
}

static enum err verify_bearer(struct auth *auth, struct db_conn *conn, str token, str service,
                              struct arena *a, struct credentials *ret)
{
    struct claims *claims;
    struct principal who;
    enum err e = token_claims(auth, db_may_block(conn), token, service, a, &claims);
    if (!e)
        e = token_principal(conn, claims, &who);
    if (!e || e == ERR_UNAUTHORIZED)
        metric_add_at(METRIC_TOKEN_CHECKS, e ? TOKEN_INVALID : TOKEN_VALID, 1);
    if (e)
        return e;
    *ret = (struct credentials){
        .principal = who,
        .presented = true,
        .has_ceiling = true,
        .grants = claims->grants,
        .grant_n = claims->grant_n,
    };
    return OK;
}

enum err auth_verify(struct auth *auth, struct db_conn *conn, str authorization, str service,
                     struct arena *a, struct credentials *ret)
{
    struct authorization sent;
    enum err e = authorization_parse(a, authorization, &sent);
    if (e)
        return e;
    switch (sent.scheme) {
    case AUTHORIZATION_NONE:
        *ret = (struct credentials){.principal = {.kind = PRINCIPAL_ANONYMOUS}};
        return OK;
    case AUTHORIZATION_BASIC:
        return verify_basic(auth, conn, &sent, a, ret);
    case AUTHORIZATION_BEARER:
        return verify_bearer(auth, conn, sent.token, service, a, ret);
    }
    return ERR_INTERNAL;
}

enum err auth_token_sign(struct auth *auth, const struct principal *who, str service,
                         const struct grant *grants, size_t grant_n, struct arena *a, str *ret,
                         int64_t *issued_at_us)
{
    int64_t now_s = clock_wall_us() / US_PER_S;
    struct claims claims = {
        .service = service,
        .name = who->name,
        .user = who->id,
        .epoch = who->epoch,
        .issued_s = now_s,
        .expires_s = now_s + (int64_t)(auth->config.token_lifetime_ms / 1000),
        .grants = grants,
        .grant_n = grant_n,
    };
    str payload, token;
    enum err e = grant_n > GRANTS_MAX ? ERR_LIMIT : claims_write(&claims, a, &payload);
    if (!e)
        e = jws_sign(auth->keys.keys[0], payload, a, &token);
    if (e)
        return e;
    *ret = token;
    *issued_at_us = now_s * US_PER_S;
    return OK;
}

str auth_jwks(struct auth *auth, struct arena *a)
{
    return keyring_jwks(&auth->keys, a);
}

/* Refresh tokens. What is stored is the SHA-256 of 256 random bits: nothing can be guessed from it,
 * so it needs neither salt nor a slow hash, and looking it up in an index gives nothing away. */
#include "auth/auth_private.h"

#include "base/clock.h"
#include "base/hex.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

enum { SECRET_BYTES = 32, HASH_BYTES = 32 };

/* So that people, and programs that look for leaked secrets, know what they have found. */
#define PREFIX "berth_rt_"
_Static_assert(REFRESH_TOKEN_LEN == sizeof PREFIX - 1 + 43, "43 characters hold 32 bytes");

static const int64_t US_PER_HOUR = 3600 * INT64_C(1000000);

static int64_t lifetime_us(const struct auth *auth)
{
    return (int64_t)auth->config.refresh_lifetime_ms * 1000;
}

/* Uses are recorded when the record is this old: hourly, or often enough for a short lifetime. */
static int64_t record_interval_us(const struct auth *auth)
{
    int64_t part = lifetime_us(auth) / 24;
    return part < US_PER_HOUR ? part : US_PER_HOUR;
}

/* False for what cannot be a refresh token. */
static bool token_hash(str token, uint8_t hash[HASH_BYTES])
{
    return token.n == REFRESH_TOKEN_LEN && str_starts(token, STR(PREFIX)) &&
           EVP_Digest(token.p, token.n, hash, NULL, EVP_sha256(), NULL) == 1;
}

static str token_new(struct arena *a)
{
    uint8_t secret[SECRET_BYTES];
    random_bytes(secret, sizeof secret);
    str text = base64url_encode(a, str_make(secret, sizeof secret));
    OPENSSL_cleanse(secret, sizeof secret);
    return arena_printf(a, PREFIX "%.*s", STR_ARG(text));
}

/* client-id = *VSCHAR (RFC 6749 A.1), and not too much of it. */
static str client_id_clean(struct arena *a, str id)
{
    id = str_first(id, CLIENT_ID_BYTES_MAX);
    char *clean = arena_alloc(a, id.n + 1);
    for (size_t i = 0; i < id.n; i++)
        clean[i] = id.p[i] >= ' ' && id.p[i] <= '~' ? id.p[i] : '?';
    return str_make(clean, id.n);
}

struct issue {
    const struct auth *auth;
    const struct principal *who;
    str hash, client_id;
    int64_t now_us;
};

static enum err issue_tx(struct db_conn *conn, void *arg)
{
    const struct issue *issue = arg;
    const struct principal *who = issue->who;
    int64_t added;
    enum err e = db_exec_count(conn, Q_REFRESH_ADD, &added, DB_BYTES(issue->hash),
                               DB_TEXT(issue->client_id), DB_INT(issue->now_us), DB_INT(who->id),
                               DB_TEXT(who->name), DB_INT(who->epoch));
    if (e)
        return e;
    if (added == 0)
        return ERR_UNAUTHORIZED;
    e = db_exec(conn, Q_REFRESH_SWEEP, DB_INT(who->id),
                DB_INT(issue->now_us - lifetime_us(issue->auth)), DB_INT(who->epoch));
    return e ? e
             : db_exec(conn, Q_REFRESH_TRIM, DB_INT(who->id),
                       DB_INT(issue->auth->config.refresh_tokens_max));
}

enum err auth_refresh_issue(struct auth *auth, const struct principal *who, str client_id,
                            struct arena *a, str *ret)
{
    if (!auth->config.refresh_lifetime_ms || who->kind != PRINCIPAL_USER) {
        *ret = (str){0};
        return OK;
    }
    str token = token_new(a);
    uint8_t hash[HASH_BYTES];
    if (!token_hash(token, hash))
        return ERR_INTERNAL;
    struct issue issue = {
        .auth = auth,
        .who = who,
        .hash = str_make(hash, sizeof hash),
        .client_id = client_id_clean(a, client_id),
        .now_us = clock_wall_us(),
    };
    enum err e = db_tx(auth->db, issue_tx, &issue);
    if (!e)
        *ret = token;
    return e;
}

struct touch {
    str hash;
    int64_t now_us, before_us;
};

static enum err touch_tx(struct db_conn *conn, void *arg)
{
    const struct touch *touch = arg;
    return db_exec(conn, Q_REFRESH_TOUCH, DB_INT(touch->now_us), DB_BYTES(touch->hash),
                   DB_INT(touch->before_us));
}

enum err auth_refresh_verify(struct auth *auth, struct db_conn *conn, str token, struct arena *a,
                             struct principal *ret)
{
    uint8_t hash[HASH_BYTES];
    if (!auth->config.refresh_lifetime_ms || !token_hash(token, hash))
        return ERR_UNAUTHORIZED;
    struct touch touch = {.hash = str_make(hash, sizeof hash), .now_us = clock_wall_us()};
    touch.before_us = touch.now_us - record_interval_us(auth);
    int64_t used_at_us;
    {
        DB_CURSOR struct db_cursor c = db_query(conn, Q_REFRESH_FIND, DB_BYTES(touch.hash),
                                                DB_INT(touch.now_us - lifetime_us(auth)));
        if (!db_next(&c))
            return c.err ? c.err : ERR_UNAUTHORIZED;
        *ret = (struct principal){
            .kind = PRINCIPAL_USER,
            .id = db_int(&c, 0),
            .name = db_copy(&c, 1, a),
            .admin = db_int(&c, 2),
            .epoch = db_int(&c, 3),
        };
        used_at_us = db_int(&c, 4);
    }
    if (used_at_us < touch.before_us) {
        /* A full disk must not end pulls: a use that could not be recorded just did not count. */
        enum err unrecorded = db_tx(auth->db, touch_tx, &touch);
        (void)unrecorded;
    }
    return OK;
}

struct revoke {
    str hash;
    int64_t removed;
};

static enum err revoke_tx(struct db_conn *conn, void *arg)
{
    struct revoke *revoke = arg;
    return db_exec_count(conn, Q_REFRESH_REVOKE, &revoke->removed, DB_BYTES(revoke->hash));
}

enum err auth_refresh_revoke(struct auth *auth, struct db_conn *conn, str token, struct arena *a,
                             struct refresh_token *ret)
{
    uint8_t hash[HASH_BYTES];
    if (!token_hash(token, hash))
        return ERR_NOT_FOUND;
    struct revoke revoke = {.hash = str_make(hash, sizeof hash)};
    struct refresh_token found;
    {
        /* Looked for first: strangers' guesses shall not queue at the writer. */
        DB_CURSOR struct db_cursor c =
            db_query(conn, Q_REFRESH_FIND, DB_BYTES(revoke.hash), DB_INT(INT64_MIN));
        if (!db_next(&c))
            return c.err ? c.err : ERR_NOT_FOUND;
        found = (struct refresh_token){
            .user = db_copy(&c, 1, a),
            .client_id = db_copy(&c, 5, a),
            .created_at_us = db_int(&c, 6),
        };
    }
    enum err e = db_tx(auth->db, revoke_tx, &revoke);
    if (!e && revoke.removed == 0)
        return ERR_NOT_FOUND;
    if (!e)
        *ret = found;
    return e;
}

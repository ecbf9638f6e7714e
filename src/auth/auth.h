/* Authentication and authorisation: from an Authorization header to one may().
 *
 * Users live in the database (table user); tokens are ES256 JWS signed with a key that lives there
 * too. Verdicts on passwords and verified tokens are cached in bounded memory: passwords under a
 * per-process key, tokens by their text, each until it expires or the user's
 * epoch moves. Refresh tokens are random; the database has their SHA-256 (auth/refresh.c). */
#pragma once

#include "auth/principal.h"
#include "auth/scope.h"
#include "db/db.h"

struct auth;

enum auth_anonymous { AUTH_ANONYMOUS_NONE, AUTH_ANONYMOUS_PULL, AUTH_ANONYMOUS_PUSH };

struct auth_config {
    enum auth_anonymous anonymous;
    uint64_t token_lifetime_ms;
    unsigned bcrypt_cost;
    unsigned password_checks_max; /* concurrent bcrypt computations */
    unsigned password_queue_max;  /* waiting for one; more: ERR_TOO_MANY_REQUESTS */
    uint64_t password_cache_ms;
    bool create_on_push;          /* projects.create_on_push */
    uint64_t refresh_lifetime_ms; /* 0: there are no refresh tokens */
    unsigned refresh_tokens_max;  /* of one user; the one unused for longest goes first */
};

/* Loads or creates the signing key. Blocks. */
NODISCARD enum err auth_new(struct auth **ret, struct db *db, const struct auth_config *config);
void auth_free(struct auth *auth);
const struct auth_config *auth_config(const struct auth *auth);

/* Whether the database has an administrator. Blocks. */
NODISCARD enum err auth_has_admin(struct auth *auth, bool *ret);
/* A password that cannot be guessed, in the arena. */
str auth_generate_password(struct arena *a);
/* Creates the user admin. ERR_LIMIT when the password is longer than bcrypt reads (72 bytes) or
 * holds a NUL; ERR_EXISTS when there is an administrator, or `admin` without being one. Blocks. */
NODISCARD enum err auth_add_admin(struct auth *auth, str password);

/* Verifies an Authorization header value (p == NULL: none). Worker; may block on bcrypt.
 *   no header               anonymous, OK
 *   Basic                   the user, or ERR_UNAUTHORIZED; ERR_TOO_MANY_REQUESTS when too many
 *                           password checks wait
 *   Bearer                  principal and ceiling, or ERR_UNAUTHORIZED (malformed, bad signature,
 *                           expired, user gone)
 *   Basic, nothing but ":"  as no header (clients without credentials send it)
 * `service` is the audience a token must have. Strings in *ret live in the arena. On a reactor's
 * connection ERR_WOULD_BLOCK for whatever is not in memory. Snapshots of `conn` may be of another
 * state afterwards (db_snapshot_pause), the one that *ret is from: read nothing in them before. */
NODISCARD enum err auth_verify(struct auth *auth, struct db_conn *conn, str authorization,
                               str service, struct arena *a, struct credentials *ret);

/* A user name and a password that did not come in a header. OK, ERR_UNAUTHORIZED,
 * ERR_TOO_MANY_REQUESTS, or a database error. Worker; may block on bcrypt. Snapshots as above. */
NODISCARD enum err auth_verify_password(struct auth *auth, struct db_conn *conn, str user,
                                        str password, struct arena *a, struct principal *ret);

/* Signs a token. Text in the arena. ERR_LIMIT with more grants than a token may carry.
 * (distribution "Token Authentication Specification"; RFC 7515, 7519) */
NODISCARD enum err auth_token_sign(struct auth *auth, const struct principal *who, str service,
                                   const struct grant *grants, size_t grant_n, struct arena *a,
                                   str *ret, int64_t *issued_at_us);

/* Refresh tokens (RFC 6749 1.5): a user's whole authority in a string of 256 random bits, good
 * until it was not used for refresh_lifetime_ms, is revoked, or the user's epoch moves. It belongs
 * to no one client: docker stores it, others read it from docker's file. */
enum {
    REFRESH_TOKEN_LEN = 52, /* "berth_rt_" and base64url of 32 bytes */
    CLIENT_ID_BYTES_MAX = 128,
};

/* Gives a user a new one; durable when it returns. Text in the arena; p == NULL when they are
 * switched off or `who` is no user. `client_id` is what the program calls itself: cut to
 * CLIENT_ID_BYTES_MAX, other bytes than RFC 6749 allows become '?'. ERR_UNAUTHORIZED when the user
 * has changed since. Blocks. */
NODISCARD enum err auth_refresh_issue(struct auth *auth, const struct principal *who, str client_id,
                                      struct arena *a, str *ret);
/* Whose it is, as of now. ERR_UNAUTHORIZED when it is not, or no longer, good. Worker. */
NODISCARD enum err auth_refresh_verify(struct auth *auth, struct db_conn *conn, str token,
                                       struct arena *a, struct principal *ret);
/* What was revoked, for the log. */
struct refresh_token {
    str user, client_id;
    int64_t created_at_us;
};
/* Durable when it returns. ERR_NOT_FOUND when there is no such token (any more). Worker. */
NODISCARD enum err auth_refresh_revoke(struct auth *auth, struct db_conn *conn, str token,
                                       struct arena *a, struct refresh_token *ret);

/* JSON Web Key Set of the public keys (RFC 7517). */
str auth_jwks(struct auth *auth, struct arena *a);

/* The one decision: may this principal do this (one action) to this repository, as of now?
 * `repository` is canonical ("project/rest"); for ACTION_CATALOG it is not looked at. Answers OK,
 * ERR_DENIED, ERR_WOULD_BLOCK (on a reactor, and not in memory), or a database error.
 * A project that does not exist is denied like a private one, but to those who could use it if it
 * did; both are denied by workers only. Does not look at ceilings: see auth_allows. */
NODISCARD enum err may(const struct auth *auth, struct db_conn *conn, const struct principal *who,
                       enum action action, str repository);

/* token ceiling and may(): what every handler asks. */
NODISCARD enum err auth_allows(const struct auth *auth, struct db_conn *conn,
                               const struct credentials *who, enum action action, str repository);

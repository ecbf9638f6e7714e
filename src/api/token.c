/* The token endpoint and the keys that verify what it hands out.
 *
 *     GET  /service/token         distribution "Token Authentication Specification"; Basic
 *     POST /service/token         the same as OAuth 2.0: grants password and refresh_token
 *                                 (distribution "OAuth2 Token Authentication"; RFC 6749 4.3, 6)
 *     POST /service/token/revoke  RFC 7009, for refresh tokens
 *     GET  /service/jwks          RFC 7517
 *
 * Asking for more than one may is no error: the token then allows less. The audience is always this
 * registry's, whatever `service` says; `account` changes nothing, and `client_id` is noted with a
 * refresh token and otherwise not looked at: all clients are public ones.
 *
 * Who logs in with docker gets a refresh token (offline_token, access_type); docker keeps it in
 * place of the password and from then on speaks POST only. */
#include "api/app.h"
#include "api/challenge.h"
#include "api/error.h"
#include "api/routes.h"
#include "api/v2.h"
#include "auth/jws.h"
#include "base/clock.h"
#include "base/log.h"
#include "json/write.h"

enum {
    FORM_BYTES_MAX = 64 * 1024,
    /* A token twice, GRANTS_MAX scopes, and the little rest. */
    ANSWER_BYTES_MAX = 2 * JWS_BYTES_MAX + GRANTS_MAX * (GRANT_NAME_MAX + 64) + 1024,
};

/* One exchange, however it was asked for. */
struct exchange {
    struct app *app;
    struct db_conn *conn;
    struct principal who;
    str parameters; /* where the scopes are: query or form */
    bool oauth;
    bool offline;      /* a refresh token is asked for */
    str client_id;     /* for a new one */
    str refresh_token; /* the one presented, or none */
};

/* Who asks with GET. A token is not accepted here: it could be made to outlive and outgrow itself.
 */
static enum err caller(struct exchange *x, struct request *req, struct response *res)
{
    str sent = request_header(req, STR("authorization"));
    struct credentials who;
    enum err e = auth_verify(x->app->auth, x->conn, sent, V2_SERVICE, req->arena, &who);
    if (e == ERR_TOO_MANY_REQUESTS)
        return fail(req, e, "too many logins are being checked at once; try again in a moment");
    if (e == ERR_UNAUTHORIZED || (!e && who.has_ceiling)) {
        challenge_add_basic(res);
        return str_eq_nocase(str_first(sent, 6), STR("Basic "))
                   ? fail(req, ERR_UNAUTHORIZED, "wrong user name or password")
                   : fail(req, ERR_UNAUTHORIZED, "tokens are given for a user name and password");
    }
    if (!e)
        x->who = who.principal;
    return e;
}

/* Asked and allowed. Grants with nothing left are dropped. */
static enum err narrow(const struct exchange *x, struct grant_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++) {
        struct grant g = list->items[i];
        unsigned asked = g.actions;
        g.actions = 0;
        for (unsigned action = 1; action <= asked; action <<= 1) {
            if (!(asked & action))
                continue;
            enum err e = may(x->app->auth, x->conn, &x->who, (enum action)action, g.name);
            if (e && e != ERR_DENIED)
                return e;
            g.actions |= e ? 0 : action;
        }
        if (g.actions)
            list->items[kept++] = g;
    }
    list->n = kept;
    return OK;
}

/* The grants as a scope again, each name as the client spelled it. */
static str scope_text(struct arena *a, const struct grant_list *list)
{
    BUF_CLEANUP struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    for (size_t i = 0; i < list->n; i++) {
        const struct grant *g = &list->items[i];
        str word;
        buf_printf(&out, "%s%.*s:%.*s", i ? " " : "", STR_ARG(g->type), STR_ARG(g->asked));
        for (size_t j = 0; (word = grant_word(g, j)).p; j++)
            buf_printf(&out, "%c%.*s", j ? ',' : ':', STR_ARG(word));
    }
    return arena_str(a, buf_str(&out));
}

struct answer {
    str token;
    int64_t issued_at_us;
    str refresh_token; /* p == NULL: none */
    const struct grant_list *grants;
};

static void answer(const struct exchange *x, struct response *res, const struct answer *answer)
{
    char issued_at[CLOCK_RFC3339_LEN];
    BUF_CLEANUP struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    struct json_writer w = {.out = &out};
    jw_object(&w);
    jw_field(&w, "token", answer->token);
    jw_field(&w, "access_token", answer->token);
    if (x->oauth) {
        jw_field(&w, "token_type", STR("Bearer"));
        jw_field(&w, "scope", scope_text(res->req->arena, answer->grants));
    }
    jw_key(&w, "expires_in");
    jw_int(&w, (int64_t)(auth_config(x->app->auth)->token_lifetime_ms / 1000));
    jw_field(&w, "issued_at", clock_rfc3339(answer->issued_at_us, issued_at));
    if (answer->refresh_token.p)
        jw_field(&w, "refresh_token", answer->refresh_token);
    jw_end(&w);
    response_header(res, "Cache-Control", STR("no-store"));
    response_header(res, "Pragma", STR("no-cache")); /* RFC 6749 5.1 wants both */
    response_json(res, 200, arena_str(res->req->arena, buf_str(&out)));
}

/* The token for a principal that is known. */
static enum err exchange(const struct exchange *x, struct request *req, struct response *res)
{
    struct grant_list grants = {0};
    struct answer a = {.refresh_token = x->refresh_token, .grants = &grants};
    str rest = x->parameters, scopes;
    req->log_principal = x->who.name;
    while (form_next(req->arena, &rest, STR("scope"), &scopes))
        scope_list_add(req->arena, scopes, &grants);
    enum err e = narrow(x, &grants);
    if (!e)
        e = auth_token_sign(x->app->auth, &x->who, V2_SERVICE, grants.items, grants.n, req->arena,
                            &a.token, &a.issued_at_us);
    if (!e && x->offline && !a.refresh_token.p)
        e = auth_refresh_issue(x->app->auth, &x->who, x->client_id, req->arena, &a.refresh_token);
    if (e)
        return e;
    answer(x, res, &a);
    return OK;
}

static struct exchange exchange_begin(struct request *req)
{
    struct app *app = req->app;
    return (struct exchange){.app = app, .conn = db_reader(app->db, req->worker)};
}

static enum err token_get(struct request *req, struct response *res)
{
    struct exchange x = exchange_begin(req);
    str offline;
    enum err e = caller(&x, req, res);
    if (e)
        return e;
    x.parameters = req->query;
    /* HEAD would make one that nobody sees. */
    x.offline = req->method == METHOD_GET && request_query(req, STR("offline_token"), &offline) &&
                str_eq(offline, STR("true"));
    if (!request_query(req, STR("client_id"), &x.client_id))
        x.client_id = STR("");
    return exchange(&x, req, res);
}

/* Parameters of a form, empty when absent: those without a value count as absent. */
struct parameter {
    const char *name;
    str *value;
};

/* None of them may be there twice (RFC 6749 3.1, 3.2). */
static enum err form_read(struct request *req, const struct parameter *parameters, size_t n)
{
    str type, ignored;
    str_cut(request_header(req, STR("content-type")), ';', &type, &ignored);
    if (!str_eq_nocase(str_trim(type), STR("application/x-www-form-urlencoded")))
        return fail(req, ERR_BAD_REQUEST,
                    "the body must be a form: application/x-www-form-urlencoded");
    for (size_t i = 0; i < n; i++) {
        str rest = req->body, value;
        *parameters[i].value = STR("");
        while (form_next(req->arena, &rest, str_from(parameters[i].name), &value)) {
            if (value.n && parameters[i].value->n)
                return fail(req, ERR_BAD_REQUEST, "%s is given twice", parameters[i].name);
            if (value.n)
                *parameters[i].value = value;
        }
    }
    return OK;
}

static enum err grant_password(struct exchange *x, struct request *req, str user, str password)
{
    if (!user.n || !password.n)
        return fail(req, ERR_BAD_REQUEST, "the grant password needs username and password");
    enum err e = auth_verify_password(x->app->auth, x->conn, user, password, req->arena, &x->who);
    if (e == ERR_TOO_MANY_REQUESTS)
        return fail(req, e, "too many logins are being checked at once; try again in a moment");
    if (e == ERR_UNAUTHORIZED)
        return fail(req, e, "wrong user name or password");
    return e;
}

static enum err grant_refresh(struct exchange *x, struct request *req, str token)
{
    if (!token.n)
        return fail(req, ERR_BAD_REQUEST, "the grant refresh_token needs refresh_token");
    enum err e = auth_refresh_verify(x->app->auth, x->conn, token, req->arena, &x->who);
    if (e == ERR_UNAUTHORIZED)
        return fail(req, e,
                    "the refresh token was revoked, was not used for too long, or is from before "
                    "the password changed: log in again");
    if (!e)
        x->refresh_token = token;
    return e;
}

/* *oauth gets a code when the error does not imply it. */
static enum err token_post_grant(struct request *req, struct response *res, const char **oauth)
{
    struct exchange x = exchange_begin(req);
    str grant, user, password, token, client, access;
    const struct parameter parameters[] = {
        {"grant_type", &grant},    {"username", &user},    {"password", &password},
        {"refresh_token", &token}, {"client_id", &client}, {"access_type", &access},
    };
    enum err e = form_read(req, parameters, sizeof parameters / sizeof parameters[0]);
    if (e)
        return e;
    x.oauth = true;
    x.parameters = req->body;
    x.client_id = client;
    x.offline = str_eq(access, STR("offline"));
    if (str_eq(grant, STR("password"))) {
        e = grant_password(&x, req, user, password);
    } else if (str_eq(grant, STR("refresh_token"))) {
        e = grant_refresh(&x, req, token);
    } else if (!grant.n) {
        return fail(req, ERR_BAD_REQUEST, "grant_type is missing");
    } else {
        *oauth = "unsupported_grant_type";
        return fail(req, ERR_BAD_REQUEST, "grant_type must be password or refresh_token");
    }
    return e ? e : exchange(&x, req, res);
}

/* Codes of RFC 6749 5.2. Refused credentials are 401 rather than its 400: that is what clients take
 * for a wrong password, and what makes those that can do otherwise fall back to GET. */
static enum err oauth_end(struct request *req, struct response *res, enum err e, const char *oauth)
{
    if (!e)
        return OK;
    int status = err_status(e);
    if (status == 401)
        challenge_add_basic(res);
    if (!oauth)
        oauth = status == 400                    ? "invalid_request"
                : status == 401                  ? "invalid_grant"
                : status == 429 || status == 503 ? "temporarily_unavailable"
                                                 : "server_error";
    response_header(res, "Cache-Control", STR("no-store"));
    error_answer(req, res, e, oauth);
    return OK;
}

static enum err token_post(struct request *req, struct response *res)
{
    const char *oauth = NULL;
    enum err e = token_post_grant(req, res, &oauth);
    return oauth_end(req, res, e, oauth);
}

static enum err revoke(struct request *req, struct response *res, const char **oauth)
{
    struct app *app = req->app;
    struct db_conn *conn = db_reader(app->db, req->worker);
    struct refresh_token revoked;
    str token;
    enum err e = form_read(req, &(struct parameter){"token", &token}, 1);
    if (e)
        return e;
    if (!token.n)
        return fail(req, ERR_BAD_REQUEST, "token is missing");
    if (str_find(token, '.') < token.n) {
        *oauth = "unsupported_token_type";
        return fail(req, ERR_BAD_REQUEST,
                    "access tokens cannot be revoked; they end by themselves in minutes");
    }
    e = auth_refresh_revoke(app->auth, conn, token, req->arena, &revoked);
    if (!e) {
        char created[CLOCK_RFC3339_LEN];
        LOG(INFO, "refresh_token_revoked", log_str("principal", revoked.user),
            log_str("client_id", revoked.client_id),
            log_str("created", clock_rfc3339(revoked.created_at_us, created)),
            log_str("request", str_make(req->id, REQUEST_ID_LEN)));
    }
    if (e && e != ERR_NOT_FOUND)
        return e;
    response_header(res, "Cache-Control", STR("no-store"));
    response_json(res, 200, STR("{}\n"));
    return OK;
}

/* Who has a token may revoke it. One that is not good is answered like one that was (RFC 7009 2.2);
 * an access token, which is kept nowhere, is not said to be revoked. */
static enum err token_revoke(struct request *req, struct response *res)
{
    const char *oauth = NULL;
    enum err e = revoke(req, res, &oauth);
    return oauth_end(req, res, e, oauth);
}

static enum err jwks_get(struct request *req, struct response *res)
{
    struct app *app = req->app;
    response_header(res, "Cache-Control", STR("public, max-age=300"));
    response_json(res, 200, auth_jwks(app->auth, req->arena));
    return OK;
}

const struct route token_routes[] = {
    {METHOD_GET, "/service/token", token_get, BODY_DRAIN,
     .help = "Exchange a password, or nothing, for a token (distribution token specification)"},
    {METHOD_POST, "/service/token", token_post, BODY_SMALL, FORM_BYTES_MAX,
     .help = "Exchange a password or a refresh token for a token (OAuth 2.0, RFC 6749 4.3, 6)"},
    {METHOD_POST, "/service/token/revoke", token_revoke, BODY_SMALL, FORM_BYTES_MAX,
     .help = "Revoke a refresh token (RFC 7009)"},
    {METHOD_GET, "/service/jwks", jwks_get, BODY_DRAIN,
     .help = "Public keys that verify the tokens (RFC 7517)"},
    {0},
};

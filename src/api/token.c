/* The token endpoint (distribution "Token Authentication Specification", GET) and the keys that
 * verify what it hands out.
 *
 * Asking for more than one may is no error: the token then allows less. The audience is always this
 * registry's, whatever `service` says; `account`, `client_id` and `offline_token` change nothing.
 * There are no refresh tokens: docker would keep one in place of the password and from then on
 * speak only POST, which is not offered. */
#include "api/app.h"
#include "api/challenge.h"
#include "api/routes.h"
#include "api/v2.h"
#include "auth/jws.h"
#include "base/clock.h"
#include "json/write.h"

/* Who asks. A token is not accepted here: it could be made to outlive and outgrow itself. */
static enum err caller(struct app *app, struct db_conn *conn, struct request *req,
                       struct response *res, struct credentials *ret)
{
    str sent = request_header(req, STR("authorization"));
    enum err e = auth_verify(app->auth, conn, sent, V2_SERVICE, req->arena, ret);
    if (e == ERR_TOO_MANY_REQUESTS)
        return fail(req, e, "too many logins are being checked at once; try again in a moment");
    if (e == ERR_UNAUTHORIZED || (!e && ret->has_ceiling)) {
        challenge_add_basic(res);
        return str_eq_nocase(str_first(sent, 6), STR("Basic "))
                   ? fail(req, ERR_UNAUTHORIZED, "wrong user name or password")
                   : fail(req, ERR_UNAUTHORIZED, "tokens are given for a user name and password");
    }
    if (!e)
        req->log_principal = ret->principal.name;
    return e;
}

/* Asked and allowed. Grants with nothing left are dropped. */
static enum err narrow(struct app *app, struct db_conn *conn, const struct principal *who,
                       struct grant_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++) {
        struct grant g = list->items[i];
        unsigned asked = g.actions;
        g.actions = 0;
        for (unsigned action = 1; action <= asked; action <<= 1) {
            if (!(asked & action))
                continue;
            enum err e = may(app->auth, conn, who, (enum action)action, g.name);
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

static void answer(const struct app *app, struct response *res, str token, int64_t issued_at_us)
{
    char issued_at[CLOCK_RFC3339_LEN];
    BUF_CLEANUP struct buf out = BUF_INIT(2 * JWS_BYTES_MAX + 1024);
    struct json_writer w = {.out = &out};
    jw_object(&w);
    jw_field(&w, "token", token);
    jw_field(&w, "access_token", token);
    jw_key(&w, "expires_in");
    jw_int(&w, (int64_t)(auth_config(app->auth)->token_lifetime_ms / 1000));
    jw_field(&w, "issued_at", clock_rfc3339(issued_at_us, issued_at));
    jw_end(&w);
    response_header(res, "Cache-Control", STR("no-store"));
    response_json(res, 200, arena_str(res->req->arena, buf_str(&out)));
}

static enum err token_get(struct request *req, struct response *res)
{
    struct app *app = req->app;
    struct db_conn *conn = db_reader(app->db, req->worker);
    if (!conn)
        return ERR_WOULD_BLOCK;
    struct credentials who;
    enum err e = caller(app, conn, req, res, &who);
    if (e)
        return e;
    struct grant_list grants = {0};
    str scopes, token;
    int64_t issued_at_us;
    for (size_t i = 0; i < GRANTS_MAX && request_query_nth(req, STR("scope"), i, &scopes); i++)
        scope_list_add(req->arena, scopes, &grants);
    e = narrow(app, conn, &who.principal, &grants);
    if (!e)
        e = auth_token_sign(app->auth, &who.principal, V2_SERVICE, grants.items, grants.n,
                            req->arena, &token, &issued_at_us);
    if (e)
        return e;
    answer(app, res, token, issued_at_us);
    return OK;
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
    {METHOD_GET, "/service/jwks", jwks_get, BODY_DRAIN,
     .help = "Public keys that verify the tokens (RFC 7517)"},
    {0},
};

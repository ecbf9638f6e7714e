#include "api/v2.h"

#include "base/clock.h"
#include "base/metrics.h"

void v2_resume(struct v2_call *call, const struct request *req)
{
    call->conn = db_reader(call->app->db, req->worker);
}

struct db_snapshot v2_snapshot(const struct request *req)
{
    const struct app *app = req->app;
    return db_snapshot_begin(db_reader(app->db, req->worker));
}

static struct v2_call *call_new(struct request *req, struct response *res, enum action action,
                                bool management)
{
    struct v2_call *call = ARENA_NEW(req->arena, struct v2_call);
    call->app = req->app;
    call->action = action;
    call->management = management;
    v2_resume(call, req);
    req->state = call;
    if (!management)
        response_header(res, "Docker-Distribution-Api-Version", STR("registry/2.0"));
    return call;
}

/* Over the admin socket the peer's user id is credential enough, unless he sends others. No user
 * can have such a name: it holds a colon, which ends the name in Basic credentials. */
static struct credentials admin_credentials(struct request *req)
{
    return (struct credentials){
        .principal = {.kind = PRINCIPAL_USER,
                      .name = arena_printf(req->arena, "uid:%u", req->admin_uid),
                      .admin = true},
        .presented = true,
    };
}

static enum err verify(struct v2_call *call, struct request *req)
{
    if (req->admin && !request_header(req, STR("authorization")).p) {
        call->who = admin_credentials(req);
        req->log_principal = call->who.principal.name;
        return OK;
    }
    enum err e = auth_verify(call->app->auth, call->conn, request_header(req, STR("authorization")),
                             V2_SERVICE, req->arena, &call->who);
    if (!e)
        req->log_principal = call->who.principal.name;
    call->refused = e == ERR_UNAUTHORIZED;
    str scheme = str_first(request_header(req, STR("authorization")), 6);
    if (e == ERR_UNAUTHORIZED && str_eq_nocase(scheme, STR("Basic ")))
        return fail(req, e, "wrong user name or password");
    if (e == ERR_UNAUTHORIZED)
        return fail(req, e, "the token is malformed, expired or not from this registry");
    if (e == ERR_TOO_MANY_REQUESTS)
        return fail(req, e, "too many logins are being checked at once; try again in a moment");
    return e;
}

static const char *action_words(enum action action)
{
    switch (action) {
    case ACTION_PULL:
        return "pull from";
    case ACTION_PUSH:
        return "push to";
    case ACTION_DELETE:
        return "delete from";
    case ACTION_CATALOG:
        break;
    }
    return "use";
}

/* What an allowed request would have needed, in words. */
static enum err refuse(struct v2_call *call, struct request *req)
{
    const struct credentials *who = &call->who;
    call->refused = true;
    if (!who->presented || (call->management && who->principal.kind == PRINCIPAL_ANONYMOUS))
        return fail(req, ERR_UNAUTHORIZED, "authentication required");
    if (who->has_ceiling && !call->management)
        return fail(req, ERR_UNAUTHORIZED,
                    "the token does not allow this, or access was refused: "
                    "log in as a user who may");
    call->refused = false;
    if (!call->name.asked.n)
        return fail(req, ERR_DENIED, "requested access to the resource is denied");
    if (who->has_ceiling)
        return fail(req, ERR_DENIED, "the token does not allow to %s %.*s",
                    action_words(call->action), STR_ARG(call->name.asked));
    return fail(req, ERR_DENIED, "user %.*s may not %s %.*s", STR_ARG(who->principal.name),
                action_words(call->action), STR_ARG(call->name.asked));
}

enum err v2_enter_registry(struct request *req, struct response *res, enum action action,
                           struct v2_call **ret)
{
    struct v2_call *call = call_new(req, res, action, false);
    enum err e = verify(call, req);
    if (!e && action == ACTION_CATALOG)
        e = auth_allows(call->app->auth, call->conn, &call->who, action, STR(""));
    if (e == ERR_DENIED)
        return refuse(call, req);
    *ret = call;
    return e;
}

/* An administrator may push anywhere, but projects may be made otherwise here: say so before the
 * first byte is sent. Others were refused by may(). */
static enum err check_project(struct v2_call *call, struct request *req)
{
    bool exists;
    if (call->action != ACTION_PUSH || call->app->conf->projects_create_on_push)
        return OK;
    enum err e = project_exists(call->conn, call->name.project, &exists);
    if (e || exists)
        return e;
    return fail(req, ERR_NAME_UNKNOWN,
                "project %.*s does not exist, and a push does not create it "
                "(projects.create_on_push)",
                STR_ARG(call->name.project));
}

static enum err enter(struct request *req, struct response *res, enum action action,
                      bool management, struct v2_call **ret)
{
    struct v2_call *call = call_new(req, res, action, management);
    enum err e = name_parse(req->arena, req->args[0], &call->name, &req->error);
    if (e)
        return e;
    req->log_repository = call->name.full;
    e = verify(call, req);
    if (!e)
        e = auth_allows(call->app->auth, call->conn, &call->who, action, call->name.full);
    if (e == ERR_DENIED)
        return refuse(call, req);
    *ret = call;
    return e;
}

enum err v2_enter(struct request *req, struct response *res, enum action action,
                  struct v2_call **ret)
{
    enum err e = enter(req, res, action, false, ret);
    return e ? e : check_project(*ret, req);
}

enum err api_enter(struct request *req, struct response *res, enum action action,
                   struct v2_call **ret)
{
    return enter(req, res, action, true, ret);
}

enum err api_enter_admin(struct request *req, struct response *res, struct v2_call **ret)
{
    struct v2_call *call = call_new(req, res, ACTION_CATALOG, true);
    enum err e = verify(call, req);
    /* A token's scopes have no word for this. */
    if (!e && (!call->who.principal.admin || call->who.has_ceiling))
        return refuse(call, req);
    *ret = call;
    return e;
}

enum err v2_digest(struct request *req, str text, struct digest *ret)
{
    if (digest_parse(text, false, ret))
        return fail(
            req, ERR_DIGEST_INVALID,
            "invalid digest \"%.*s\": expected sha256: and 64, or sha512: and 128 lower-case "
            "hexadecimal digits",
            STR_ARG(str_first(text, 200)));
    return OK;
}

enum err v2_check_space(struct request *req)
{
    const struct app *app = req->app;
    enum err e = store_check_reserve(app->registry.store);
    if (e == ERR_NO_SPACE)
        return fail(req, e,
                    "the registry's disk is full: less than %llu MiB (storage.reserve) are free; "
                    "nothing of this request was kept",
                    (unsigned long long)(app->conf->storage_reserve_bytes >> 20));
    return e;
}

static bool is_digits(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return s.n > 0;
}

enum err v2_page_size(struct request *req, size_t *ret)
{
    const struct app *app = req->app;
    uint64_t n = app->conf->limits_page;
    str text;
    /* More digits than any number has are a number too, and cut like one. */
    bool huge = request_query(req, STR("n"), &text) && is_digits(text) && text.n > 18;
    if (!huge && request_query(req, STR("n"), &text) && !str_u64(text, &n))
        return fail(req, ERR_PAGE_INVALID, "n must be a whole number, not \"%.*s\"",
                    STR_ARG(str_first(text, 40)));
    if (n > app->conf->limits_page || huge)
        metric_limit(LIMIT_PAGE);
    *ret = n < app->conf->limits_page ? n : app->conf->limits_page;
    return OK;
}

void v2_link_next(struct response *res, str path, size_t n, str last)
{
    /* Names and tags hold no character but '/' that a query would need escaped. */
    struct arena *a = res->req->arena;
    char *escaped = arena_alloc(a, last.n * 3 + 1);
    size_t length = 0;
    for (size_t i = 0; i < last.n; i++) {
        if (last.p[i] == '/') {
            memcpy(escaped + length, "%2F", 3);
            length += 3;
        } else {
            escaped[length++] = last.p[i];
        }
    }
    response_header_printf(res, "Link", "<%.*s?n=%zu&last=%.*s>; rel=\"next\"", STR_ARG(path), n,
                           (int)length, escaped);
}

enum err v2_answer_document(struct response *res, str type, str body)
{
    struct arena *a = res->req->arena;
    struct digest digest;
    digest_of(DIGEST_sha256, body, &digest);
    struct entity entity = {
        .etag = digest_quoted(a, &digest),
        .type = type,
        .cache_control = STR("no-cache"),
        .memory = arena_str(a, body),
        .size_bytes = body.n,
    };
    return response_entity(res, &entity);
}

bool v2_may_push(const struct v2_call *call)
{
    return may(call->app->auth, call->conn, &call->who.principal, ACTION_PUSH, call->name.full) ==
           OK;
}

struct maker v2_maker(const struct v2_call *call)
{
    return (struct maker){
        .principal = call->who.principal.name,
        .now_us = clock_wall_us(),
        .new_projects_public = call->app->registry.new_projects_public,
        .may_make_projects = call->app->conf->projects_create_on_push,
        .tag_history_max = call->app->conf->tags_history,
    };
}

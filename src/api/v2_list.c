/* The root, tag lists and the catalog (OCI distribution specification end-1, end-8; Docker registry
 * API, "Catalog"). */
#include "api/routes.h"
#include "api/v2.h"
#include "registry/catalog.h"
#include "registry/tag.h"
#include "json/write.h"

enum { PAGE_BYTES_MAX = 4 << 20 };

/* Clients learn from this answer whether to log in, so it asks for credentials even where anonymous
 * pulls are allowed; only a registry open to all answers 200 without. */
static enum err root_get(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct v2_call *call;
    enum err e = snapshot.err;
    if (!e)
        e = v2_enter_registry(req, res, ACTION_PULL, &call);
    if (e)
        return e;
    bool open_to_all = auth_config(call->app->auth)->anonymous == AUTH_ANONYMOUS_PUSH;
    if (!call->who.presented && !open_to_all) {
        call->refused = true;
        return fail(req, ERR_UNAUTHORIZED, "authentication required");
    }
    response_json(res, 200, STR("{}"));
    return OK;
}

/* {"name": ..., key: [names]} */
static enum err answer_list(struct request *req, struct response *res, str name, const char *key,
                            const str *names, size_t n)
{
    BUF_CLEANUP struct buf out = BUF_INIT(PAGE_BYTES_MAX);
    struct json_writer w = {.out = &out};
    jw_object(&w);
    if (name.p)
        jw_field(&w, "name", name);
    jw_key(&w, key);
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        jw_str(&w, names[i]);
    jw_end(&w);
    jw_end(&w);
    if (out.full)
        return fail(req, ERR_LIMIT, "the page is too large; ask for fewer entries with n=");
    return v2_answer_document(res, STR("application/json"), buf_str(&out));
}

/* One more than the page is read, to know whether a next one exists. */
static size_t cut_page(struct response *res, str path, size_t page, const str *names, size_t n)
{
    if (n <= page || page == 0)
        return n < page ? n : page;
    v2_link_next(res, path, page, names[page - 1]);
    return page;
}

static enum err tags_get(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct v2_call *call;
    struct repository repository;
    size_t page, n;
    str *names, last = STR("");
    enum err e = snapshot.err;
    if (!e)
        e = v2_enter(req, res, ACTION_PULL, &call);
    if (!e)
        e = v2_page_size(req, &page);
    if (!e)
        e = repository_find(call->conn, call->name.full, &repository);
    if (e == ERR_NAME_UNKNOWN)
        return fail(req, e, "repository %.*s does not exist", STR_ARG(call->name.asked));
    if (e)
        return e;
    request_query(req, STR("last"), &last);
    e = tag_list(call->conn, &repository, last, page + 1, req->arena, &names, &n);
    if (e)
        return e;
    str path = arena_printf(req->arena, "/v2/%.*s/tags/list", STR_ARG(call->name.asked));
    return answer_list(req, res, call->name.asked, "tags", names,
                       cut_page(res, path, page, names, n));
}

static enum err catalog_get(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct v2_call *call;
    size_t page, n;
    str *names, last = STR("");
    enum err e = snapshot.err;
    if (!e)
        e = v2_enter_registry(req, res, ACTION_CATALOG, &call);
    if (!e)
        e = v2_page_size(req, &page);
    if (e)
        return e;
    request_query(req, STR("last"), &last);
    e = catalog_list(call->conn, &call->who.principal, last, page + 1, req->arena, &names, &n);
    if (e)
        return e;
    return answer_list(req, res, str_make(NULL, 0), "repositories", names,
                       cut_page(res, STR("/v2/_catalog"), page, names, n));
}

/* What lies beyond the specification's core (extensions/_oci.md). */
static enum err discover(struct request *req, struct response *res, str prefix, bool catalog)
{
    BUF_CLEANUP struct buf out = BUF_INIT(PAGE_BYTES_MAX);
    struct json_writer w = {.out = &out};
    jw_object(&w);
    jw_key(&w, "extensions");
    jw_array(&w);
    jw_object(&w);
    jw_field(&w, "name", STR("_oci"));
    jw_field(&w, "description", STR("Which extensions there are"));
    jw_key(&w, "endpoints");
    jw_array(&w);
    jw_str(&w, arena_printf(req->arena, "/v2/%.*s_oci/ext/discover", STR_ARG(prefix)));
    jw_end(&w);
    jw_end(&w);
    if (catalog) {
        jw_object(&w);
        jw_field(&w, "name", STR("_catalog"));
        jw_field(&w, "description", STR("Names of the repositories one may pull"));
        jw_key(&w, "endpoints");
        jw_array(&w);
        jw_str(&w, STR("/v2/_catalog"));
        jw_end(&w);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    return v2_answer_document(res, STR("application/json"), buf_str(&out));
}

static enum err discover_registry(struct request *req, struct response *res)
{
    struct v2_call *call;
    enum err e = v2_enter_registry(req, res, ACTION_PULL, &call);
    return e ? e : discover(req, res, STR(""), true);
}

static enum err discover_repository(struct request *req, struct response *res)
{
    struct v2_call *call;
    enum err e = v2_enter(req, res, ACTION_PULL, &call);
    if (e)
        return e;
    str prefix = arena_printf(req->arena, "%.*s/", STR_ARG(call->name.asked));
    return discover(req, res, prefix, false);
}

const struct route v2_list_routes[] = {
    {METHOD_GET, "/v2/", root_get, BODY_DRAIN, .quick = true,
     .help = "Is this a registry, am I logged in (OCI end-1)"},
    {METHOD_GET, "/v2", root_get, BODY_DRAIN, .help = "The same"},
    {METHOD_GET, "/v2/_catalog", catalog_get, BODY_DRAIN, .help = "Names of repositories (Docker)"},
    {METHOD_GET, "/v2/{name...}/tags/list", tags_get, BODY_DRAIN, .quick = true,
     .help = "Names of tags (OCI end-8)"},
    {METHOD_GET, "/v2/_oci/ext/discover", discover_registry, BODY_DRAIN,
     .help = "Extensions of the registry"},
    {METHOD_GET, "/v2/{name...}/_oci/ext/discover", discover_repository, BODY_DRAIN,
     .help = "Extensions of a repository"},
    {0},
};

#include "base/test.h"
#include "http/router.h"

static enum err handle(struct request *req, struct response *res)
{
    return OK;
}

#define ROW(m, p)                                             \
    {                                                         \
        .method = METHOD_##m, .pattern = p, .handler = handle \
    }

static const struct route oci[] = {
    ROW(GET, "/v2/"),
    ROW(GET, "/v2/_catalog"),
    ROW(GET, "/v2/{name...}/manifests/{reference}"),
    ROW(PUT, "/v2/{name...}/manifests/{reference}"),
    ROW(DELETE, "/v2/{name...}/manifests/{reference}"),
    ROW(POST, "/v2/{name...}/blobs/uploads/"),
    ROW(PATCH, "/v2/{name...}/blobs/uploads/{upload}"),
    ROW(GET, "/v2/{name...}/blobs/uploads/{upload}"),
    ROW(GET, "/v2/{name...}/blobs/{digest}"),
    ROW(GET, "/v2/{name...}/tags/list"),
    {0},
};

static const struct route other[] = {
    ROW(GET, "/api/projects/{project}"),
    ROW(GET, "/api/projects/{project}/repositories/{name...}/artifacts/{ref}/tags/{tag}"),
    ROW(HEAD, "/api/projects/{project}"),
    ROW(GET, "/ui/{path...}"),
    ROW(GET, "/"),
    {0},
};

static const struct route *const tables[] = {oci, other};
static const struct router router = {tables, 2};

/* "pattern|arg|arg...", or the error's name, or for 405 the methods allowed. */
static str route(struct arena *a, enum method method, const char *path)
{
    struct request req = {.arena = a, .method = method, .path = str_from(path)};
    str allowed;
    enum err e = router_match(&router, &req, &allowed);
    if (e) {
        CHECK(req.route == NULL);
        return e == ERR_METHOD_NOT_ALLOWED ? allowed : str_from(err_name(e));
    }
    str s = str_from(req.route->pattern);
    for (size_t i = 0; i < REQUEST_ARGS_MAX && req.args[i].p; i++)
        s = arena_printf(a, "%.*s|%.*s", STR_ARG(s), STR_ARG(req.args[i]));
    return s;
}

struct row {
    enum method method;
    const char *path, *want;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ARENA_CLEANUP struct arena a = {0};
        str got = route(&a, rows[i].method, rows[i].path);
        if (!str_eq(got, str_from(rows[i].want)))
            test_fail(__FILE__, __LINE__, "%s: \"%.*s\", not \"%s\"", rows[i].path, STR_ARG(got),
                      rows[i].want);
    }
}
#define CHECK_ROWS(rows) check(rows, sizeof(rows) / sizeof((rows)[0]))

#define MANIFESTS "/v2/{name...}/manifests/{reference}"
#define BLOBS     "/v2/{name...}/blobs/{digest}"
#define UPLOAD    "/v2/{name...}/blobs/uploads/{upload}"
#define START     "/v2/{name...}/blobs/uploads/"

static void matches(void)
{
    static const struct row rows[] = {
        {METHOD_GET, "/", "/"},
        {METHOD_GET, "/v2/", "/v2/"},
        {METHOD_HEAD, "/v2/", "/v2/"},
        {METHOD_GET, "/v2/_catalog", "/v2/_catalog"},
        {METHOD_GET, "/v2/a/manifests/b", MANIFESTS "|a|b"},
        {METHOD_HEAD, "/v2/a/b/c/manifests/sha256:d", MANIFESTS "|a/b/c|sha256:d"},
        {METHOD_PUT, "/v2/a/manifests/b", MANIFESTS "|a|b"},
        {METHOD_POST, "/v2/a/blobs/uploads/", START "|a"},
        {METHOD_PATCH, "/v2/a/b/blobs/uploads/1-2", UPLOAD "|a/b|1-2"},
        {METHOD_GET, "/v2/a/b/blobs/uploads/1-2", UPLOAD "|a/b|1-2"},
        {METHOD_GET, "/v2/a/tags/list", "/v2/{name...}/tags/list|a"},
        {METHOD_GET, "/api/projects/p", "/api/projects/{project}|p"},
        {METHOD_HEAD, "/api/projects/p", "/api/projects/{project}|p"},
        {METHOD_GET, "/api/projects/p/repositories/a/b/artifacts/r/tags/t",
         "/api/projects/{project}/repositories/{name...}/artifacts/{ref}/tags/{tag}|p|a/b|r|t"},
        {METHOD_GET, "/ui/a/b.js", "/ui/{path...}|a/b.js"},
        {METHOD_GET, "/ui/a/", "/ui/{path...}|a/"},
    };
    CHECK_ROWS(rows);
}

/* A name may contain the words the patterns are made of. */
static void matches_from_the_right(void)
{
    static const struct row rows[] = {
        {METHOD_GET, "/v2/manifests/manifests/manifests", MANIFESTS "|manifests|manifests"},
        {METHOD_GET, "/v2/a/manifests/b/manifests/c", MANIFESTS "|a/manifests/b|c"},
        {METHOD_GET, "/v2/a/blobs/b/manifests/c", MANIFESTS "|a/blobs/b|c"},
        {METHOD_GET, "/v2/tags/list/tags/list", "/v2/{name...}/tags/list|tags/list"},
        {METHOD_GET, "/v2/a/manifests/tags/list", "/v2/{name...}/tags/list|a/manifests"},
        {METHOD_GET, "/v2/a/blobs/uploads", BLOBS "|a|uploads"},
        {METHOD_GET, "/v2/blobs/uploads/blobs/d", BLOBS "|blobs/uploads|d"},
    };
    CHECK_ROWS(rows);
}

static void decodes_captures(void)
{
    static const struct row rows[] = {
        {METHOD_GET, "/v2/a/manifests/sha256%3Aab", MANIFESTS "|a|sha256:ab"},
        {METHOD_GET, "/v2/%61/b%2Bc/manifests/x%25y", MANIFESTS "|a/b+c|x%y"},
        {METHOD_GET, "/v2/a/manifests/%2541", MANIFESTS "|a|%41"},
        {METHOD_GET, "/v2/a+b/manifests/c", MANIFESTS "|a+b|c"},
        {METHOD_GET, "/api/projects/a%2fb", "/api/projects/{project}|a/b"},
        {METHOD_GET, "/api/projects/caf%C3%A9", "/api/projects/{project}|caf\xc3\xa9"},
        {METHOD_GET, "/v2/a%2Fb/manifests/c", "BAD_REQUEST"},
        {METHOD_GET, "/ui/a/..%2f..%2fb", "BAD_REQUEST"},
        {METHOD_GET, "/v2/a/manifests/%00", "BAD_REQUEST"},
        {METHOD_GET, "/v2/a/manifests/a%0Ab", "BAD_REQUEST"},
        {METHOD_GET, "/v2/a%7f/manifests/b", "BAD_REQUEST"},
        /* Literals are compared as they are. */
        {METHOD_GET, "/v2/a/%6danifests/b", "NOT_FOUND"},
        {METHOD_GET, "/v2/a/manifests%2Fb", "NOT_FOUND"},
    };
    CHECK_ROWS(rows);
}

static void finds_nothing(void)
{
    static const struct row rows[] = {
        {METHOD_GET, "/v2", "NOT_FOUND"},
        {METHOD_GET, "/v2/a", "NOT_FOUND"},
        {METHOD_GET, "/V2/", "NOT_FOUND"},
        {METHOD_GET, "/v2/_catalog/", "NOT_FOUND"},
        {METHOD_GET, "/v2/manifests/a", "NOT_FOUND"},
        {METHOD_GET, "/v2//manifests/a", "NOT_FOUND"},
        {METHOD_GET, "/v2/blobs/uploads/x", "NOT_FOUND"},
        {METHOD_GET, "/v2/a/manifests/", "NOT_FOUND"},
        {METHOD_GET, "/v2/a/manifests", "NOT_FOUND"},
        {METHOD_GET, "/v2/amanifests/b", "NOT_FOUND"},
        {METHOD_GET, "/v2/a/xmanifests/b", "NOT_FOUND"},
        {METHOD_GET, "/v2/tags/list", "NOT_FOUND"},
        {METHOD_GET, "/v2/a/tags/list/", "NOT_FOUND"},
        {METHOD_GET, "/api/projects/", "NOT_FOUND"},
        {METHOD_GET, "/api/projects/a/", "NOT_FOUND"},
        {METHOD_GET, "/ui/", "NOT_FOUND"},
        {METHOD_GET, "", "NOT_FOUND"},
    };
    CHECK_ROWS(rows);
}

static void lists_methods(void)
{
    static const struct row rows[] = {
        {METHOD_POST, "/v2/", "GET, HEAD"},
        {METHOD_POST, "/v2/a/manifests/b", "GET, HEAD, PUT, DELETE"},
        {METHOD_DELETE, "/v2/a/blobs/uploads/x", "GET, HEAD, PATCH"},
        {METHOD_GET, "/v2/a/blobs/uploads/", "POST"},
        {METHOD_HEAD, "/v2/a/blobs/uploads/", "POST"},
        {METHOD_OPTIONS, "/ui/x", "GET, HEAD"},
    };
    CHECK_ROWS(rows);
}

static void explains_bad_escapes(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct request req = {.arena = &a, .path = STR("/v2/a%2fb/manifests/c")};
    str allowed;
    CHECK_INT(router_match(&router, &req, &allowed), ERR_BAD_REQUEST);
    CHECK_INT(req.error.code, ERR_BAD_REQUEST);
    CHECK_STR(req.error.message, "the path has an escaped slash inside a name");
    CHECK(req.route == NULL && req.args[0].p == NULL);
}

TESTS({"matches", matches}, {"matches from the right", matches_from_the_right},
      {"decodes captures", decodes_captures}, {"finds nothing", finds_nothing},
      {"lists methods", lists_methods}, {"explains bad escapes", explains_bad_escapes});

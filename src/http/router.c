#include "http/router.h"

#include "http/chars.h"

/* What a path left in the places of a pattern's captures, still escaped. */
struct captures {
    str raw[REQUEST_ARGS_MAX];
    size_t n;
    size_t rest; /* index of the `{arg...}`, or REQUEST_ARGS_MAX */
};

static bool capture(struct captures *c, str raw)
{
    if (raw.n == 0 || c->n == REQUEST_ARGS_MAX)
        return false;
    c->raw[c->n++] = raw;
    return true;
}

/* Matches what follows a `{arg...}` from the right; what is left of the path is the argument. */
static bool match_right(const char *pattern, str path, struct captures *c)
{
    struct captures right = {.n = 0}; /* last one first */
    for (size_t n = strlen(pattern); n > 0;) {
        if (pattern[n - 1] == '}') {
            size_t slash = str_rfind(path, '/');
            if (slash == path.n || !capture(&right, str_skip(path, slash + 1)))
                return false;
            path.n = slash + 1;
            while (pattern[--n] != '{')
                continue;
        } else {
            if (path.n == 0 || path.p[path.n - 1] != pattern[n - 1])
                return false;
            path.n--;
            n--;
        }
    }
    c->rest = c->n;
    if (!capture(c, path))
        return false;
    while (right.n > 0)
        if (!capture(c, right.raw[--right.n]))
            return false;
    return true;
}

/* Matches from the left, up to the end or a `{arg...}`. */
static bool match(const char *pattern, str path, struct captures *c)
{
    c->n = 0;
    c->rest = REQUEST_ARGS_MAX;
    while (*pattern) {
        if (*pattern != '{') {
            if (path.n == 0 || *path.p != *pattern)
                return false;
            path = str_skip(path, 1);
            pattern++;
            continue;
        }
        while (*pattern != '}')
            pattern++;
        bool rest = pattern[-1] == '.';
        pattern++;
        if (rest)
            return match_right(pattern, path, c);
        str raw = str_first(path, str_find(path, '/'));
        if (!capture(c, raw))
            return false;
        path = str_skip(path, raw.n);
    }
    return path.n == 0;
}

/* Decodes once. Control bytes have no place in any name; and an escaped slash in an argument of
 * several segments would be taken for a separator. */
static enum err decode(struct request *req, str raw, bool rest, str *ret)
{
    size_t escape = str_find(raw, '%');
    if (escape == raw.n) {
        *ret = raw;
        return OK;
    }
    char *p = arena_alloc(req->arena, raw.n);
    size_t n = 0;
    while (raw.n > 0) {
        int c = char_escape(raw);
        bool escaped = c >= 0;
        if (!escaped)
            c = (uint8_t)raw.p[0];
        if (c < 0x20 || c == 0x7f)
            return fail(req, ERR_BAD_REQUEST, "the path has an escaped control character");
        if (escaped && rest && c == '/')
            return fail(req, ERR_BAD_REQUEST, "the path has an escaped slash inside a name");
        p[n++] = (char)c;
        raw = str_skip(raw, escaped ? 3 : 1);
    }
    *ret = str_make(p, n);
    return OK;
}

static enum err take(struct request *req, const struct route *route, const struct captures *c)
{
    str args[REQUEST_ARGS_MAX] = {0};
    for (size_t i = 0; i < c->n; i++) {
        enum err e = decode(req, c->raw[i], i == c->rest, &args[i]);
        if (e)
            return e;
    }
    memcpy(req->args, args, sizeof args);
    req->route = route;
    return OK;
}

/* The Allow header for a path that no row with the request's method has; p == NULL when no row has
 * it at all. */
static str allow_header(const struct router *router, struct arena *a, str path)
{
    unsigned methods = 0;
    for (size_t i = 0; i < router->table_n; i++) {
        struct captures c;
        for (const struct route *route = router->tables[i]; route->pattern; route++)
            if (match(route->pattern, path, &c))
                methods |= 1u << route->method;
    }
    if (methods & 1u << METHOD_GET)
        methods |= 1u << METHOD_HEAD;
    str list = {0};
    for (unsigned m = 0; m < METHOD_COUNT; m++)
        if (methods & 1u << m)
            list = arena_printf(a, "%.*s%s%.*s", STR_ARG(list), list.n ? ", " : "",
                                STR_ARG(method_name((enum method)m)));
    return list;
}

enum err router_match(const struct router *router, struct request *req, str *allowed)
{
    /* Only rows of the right method are tried; a failure then affords a second look at them all. */
    for (size_t i = 0; i < router->table_n; i++) {
        for (const struct route *route = router->tables[i]; route->pattern; route++) {
            struct captures c;
            if ((route->method == req->method ||
                 (route->method == METHOD_GET && req->method == METHOD_HEAD)) &&
                match(route->pattern, req->path, &c))
                return take(req, route, &c);
        }
    }
    str list = allow_header(router, req->arena, req->path);
    if (!list.p)
        return ERR_NOT_FOUND;
    *allowed = list;
    return ERR_METHOD_NOT_ALLOWED;
}

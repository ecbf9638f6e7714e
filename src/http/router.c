#include "http/router.h"

#include "http/chars.h"

/* What a path left in the places of a pattern's captures, still escaped. */
struct captures {
    str raw[REQUEST_ARGS_MAX];
    size_t n;
    size_t rest; /* index of the `{arg...}`, or REQUEST_ARGS_MAX */
};

static bool capture(struct captures *c, size_t at, str raw)
{
    if (raw.n == 0 || at >= REQUEST_ARGS_MAX)
        return false;
    c->raw[at] = raw;
    return true;
}

/* Matches from the left up to the end or a `{arg...}`, cutting what fitted off both. */
static bool match_left(str *pattern, str *path, struct captures *c)
{
    for (;;) {
        size_t literal = str_find(*pattern, '{');
        if (!str_starts(*path, str_first(*pattern, literal)))
            return false;
        *path = str_skip(*path, literal);
        *pattern = str_skip(*pattern, literal);
        if (pattern->n == 0)
            return true;
        size_t end = str_find(*pattern, '}');
        if (pattern->p[end - 1] == '.') {
            c->rest = c->n++;
            *pattern = str_skip(*pattern, end + 1);
            return true;
        }
        str raw = str_first(*path, str_find(*path, '/'));
        if (!capture(c, c->n++, raw))
            return false;
        *path = str_skip(*path, raw.n);
        *pattern = str_skip(*pattern, end + 1);
    }
}

static size_t count(str s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == c;
    return n;
}

/* Matches what follows a `{arg...}` from the right; what is left of the path is the argument. */
static bool match_right(str pattern, str path, struct captures *c)
{
    size_t at = c->n + count(pattern, '{');
    c->n = at;
    while (pattern.n > 0) {
        size_t close = str_rfind(pattern, '}');
        str literal = close < pattern.n ? str_skip(pattern, close + 1) : pattern;
        if (!str_ends(path, literal))
            return false;
        path.n -= literal.n;
        if (close == pattern.n)
            break;
        size_t slash = str_rfind(path, '/');
        if (slash == path.n || !capture(c, --at, str_skip(path, slash + 1)))
            return false;
        path.n = slash + 1;
        pattern.n = str_rfind(pattern, '{');
    }
    return capture(c, c->rest, path);
}

static bool match(const char *route_pattern, str path, struct captures *c)
{
    str pattern = str_from(route_pattern);
    /* Most rows of a table share their beginning and differ in their last byte. */
    char last = pattern.p[pattern.n - 1];
    if (last != '}' && last != path.p[path.n - 1])
        return false;
    c->n = 0;
    c->rest = REQUEST_ARGS_MAX;
    if (!match_left(&pattern, &path, c))
        return false;
    return c->rest < REQUEST_ARGS_MAX ? match_right(pattern, path, c) : path.n == 0;
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

static str allow_header(struct arena *a, unsigned methods)
{
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
    unsigned methods = 0;
    for (size_t i = 0; i < router->table_n && req->path.n > 0; i++) {
        for (const struct route *route = router->tables[i]; route->pattern; route++) {
            struct captures c;
            if (!match(route->pattern, req->path, &c))
                continue;
            if (route->method == req->method ||
                (route->method == METHOD_GET && req->method == METHOD_HEAD))
                return take(req, route, &c);
            methods |= 1u << route->method;
        }
    }
    if (methods == 0)
        return ERR_NOT_FOUND;
    *allowed = allow_header(req->arena, methods);
    return ERR_METHOD_NOT_ALLOWED;
}

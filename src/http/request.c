#include "http/request.h"

#include "http/chars.h"

static const str method_names[METHOD_COUNT] = {
#define X(name) STR_INIT(#name),
    METHOD_TABLE(X)
#undef X
};

str method_name(enum method m)
{
    return method_names[m];
}

bool method_parse(str s, enum method *ret)
{
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (str_eq(s, method_names[i])) {
            *ret = (enum method)i;
            return true;
        }
    }
    return false;
}

str request_header_nth(const struct request *req, str name, size_t n)
{
    for (size_t i = 0; i < req->field_n; i++)
        if (str_eq(req->fields[i].name, name) && n-- == 0)
            return req->fields[i].value;
    return str_make(NULL, 0);
}

str request_header(const struct request *req, str name)
{
    return request_header_nth(req, name, 0);
}

/* Takes one decoded byte off the front of *s, which is not empty. */
static char take_decoded(str *s)
{
    int c = char_escape(*s);
    if (c >= 0) {
        *s = str_skip(*s, 3);
        return (char)c;
    }
    char raw = s->p[0];
    *s = str_skip(*s, 1);
    return raw == '+' ? ' ' : raw;
}

static bool decodes_to(str raw, str want)
{
    size_t i = 0;
    while (raw.n > 0 && i < want.n)
        if (take_decoded(&raw) != want.p[i++])
            return false;
    return raw.n == 0 && i == want.n;
}

static str decode(struct arena *a, str raw)
{
    if (str_find(raw, '%') == raw.n && str_find(raw, '+') == raw.n)
        return raw;
    char *p = arena_alloc(a, raw.n);
    size_t n = 0;
    while (raw.n > 0)
        p[n++] = take_decoded(&raw);
    return str_make(p, n);
}

/* The next value of `key`, as sent. */
static bool next_raw(str *rest, str key, str *ret)
{
    str part;
    while (str_next(rest, '&', &part)) {
        str name, value;
        if (!str_cut(part, '=', &name, &value))
            value = str_skip(part, part.n);
        if (part.n > 0 && decodes_to(name, key)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

bool form_next(struct arena *a, str *rest, str key, str *ret)
{
    str raw;
    if (!next_raw(rest, key, &raw))
        return false;
    *ret = decode(a, raw);
    return true;
}

bool request_query_nth(struct request *req, str key, size_t n, str *ret)
{
    str rest = req->query, raw;
    do {
        if (!next_raw(&rest, key, &raw))
            return false;
    } while (n-- > 0);
    *ret = decode(req->arena, raw);
    return true;
}

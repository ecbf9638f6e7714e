#include "http/h2_head.h"
#include "http/chars.h"
#include "http/target.h"

enum {
    FIELD_OVERHEAD_BYTES = 32, /* RFC 9113 10.5.1 */
    HARM_FACTOR = 4,           /* so many times the limit is no mistake any more */
};

static const str connection_fields[] = {
    STR_INIT("connection"),        STR_INIT("keep-alive"), STR_INIT("proxy-connection"),
    STR_INIT("transfer-encoding"), STR_INIT("upgrade"),
};

static enum err refuse(struct h2_head *h, enum err code, const char *why)
{
    return error_set(h->fields.arena, h->fields.why, code, "%s", why);
}

static enum err bad(struct h2_head *h, const char *why)
{
    return refuse(h, ERR_BAD_REQUEST, why);
}

void h2_head_init(struct h2_head *h, const struct head_limits *limits, struct arena *a,
                  struct error *why)
{
    *h = (struct h2_head){
        .limits = *limits,
        .fields = {.arena = a, .why = why, .fields_max = limits->fields_max},
    };
}

static enum err add_pseudo(struct h2_head *h, str name, str value)
{
    str *to;
    if (str_eq(name, STR(":method")))
        to = &h->method;
    else if (str_eq(name, STR(":scheme")))
        to = &h->scheme;
    else if (str_eq(name, STR(":authority")))
        to = &h->authority;
    else if (str_eq(name, STR(":path")))
        to = &h->path;
    else
        return bad(h, "the request has a pseudo-field that is not known");
    if (to->p || value.n == 0 || h->fields.field_n > 0)
        return bad(h, "a pseudo-field of the request is repeated, empty or not in front");
    if (to == &h->path && value.n > h->limits.target_bytes_max)
        return refuse(h, ERR_TARGET_TOO_LONG, "the request target is longer than allowed");
    *to = arena_str(h->fields.arena, value);
    return OK;
}

static bool is_name(str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] >= 'A' && name.p[i] <= 'Z')
            return false;
    return name.n > 0 && str_is(name, CHAR_TOKEN);
}

static enum err add_field(struct h2_head *h, str name, str value)
{
    if (!is_name(name))
        return bad(h, "a header field's name is malformed");
    if (str_text_length(value) != value.n)
        return bad(h, "a header field's value has a control character");
    for (size_t i = 0; i < sizeof connection_fields / sizeof connection_fields[0]; i++)
        if (str_eq(name, connection_fields[i]))
            return bad(h, "the request has a field that HTTP/2 does not know");
    if (str_eq(name, STR("te")) && !str_eq_nocase(value, STR("trailers")))
        return bad(h, "the only te known is trailers");
    if (str_eq(name, STR("cookie")))
        h->cookie_n++;
    return head_add(&h->fields, arena_str(h->fields.arena, name),
                    arena_str(h->fields.arena, str_trim(value)));
}

/* One Cookie field out of several, in place of the first. */
static void join_cookies(struct h2_head *h)
{
    struct head_fields *f = &h->fields;
    char *p = arena_alloc(f->arena, h->bytes);
    size_t n = 0, kept = 0;
    struct field *cookie = NULL;
    for (size_t i = 0; i < f->field_n; i++) {
        const struct field *from = &f->fields[i];
        if (str_eq(from->name, STR("cookie"))) {
            if (cookie) {
                memcpy(p + n, "; ", 2);
                n += 2;
            }
            if (from->value.n > 0)
                memcpy(p + n, from->value.p, from->value.n);
            n += from->value.n;
            if (cookie)
                continue;
            cookie = &f->fields[kept];
        }
        f->fields[kept++] = *from;
    }
    if (cookie)
        cookie->value = str_make(p, n);
    f->field_n = kept;
}

bool h2_head_add(struct h2_head *h, str name, str value)
{
    h->bytes += name.n + value.n + FIELD_OVERHEAD_BYTES;
    if (h->error)
        return h->bytes <= HARM_FACTOR * h->limits.head_bytes_max;
    if (h->bytes > h->limits.head_bytes_max)
        h->error = refuse(h, ERR_HEAD_TOO_LARGE, "the request head is larger than allowed");
    else if (name.n > 0 && name.p[0] == ':')
        h->error = add_pseudo(h, name, value);
    else
        h->error = add_field(h, name, value);
    return true;
}

void h2_head_bad(struct h2_head *h)
{
    if (!h->error)
        h->error = bad(h, "a header field is malformed");
}

/* What the request is for. */
static enum err finish_target(struct h2_head *h, struct head *ret)
{
    struct target target;
    const char *why;
    if (!h->method.p || !str_is(h->method, CHAR_TOKEN))
        return bad(h, "the request method is missing or malformed");
    if (!method_parse(h->method, &ret->method))
        return refuse(h, ERR_NOT_IMPLEMENTED, "this request method is not known");
    if (!h->scheme.p ||
        (!str_eq_nocase(h->scheme, STR("http")) && !str_eq_nocase(h->scheme, STR("https"))))
        return bad(h, "the scheme of the request is neither http nor https");
    if (!h->path.p || h->path.p[0] != '/')
        return bad(h, "the request target does not begin with '/'");
    if (!target_parse(h->path, &target, &why))
        return bad(h, why);
    if (h->authority.p && !authority_valid(h->authority))
        return bad(h, "the authority of the request is not a host name or address");
    ret->target = h->path;
    ret->path = target.path;
    ret->query = target.query;
    return head_host(&h->fields, h->authority, !h->authority.p, &ret->host);
}

enum err h2_head_finish(struct h2_head *h, bool ended, struct head *ret)
{
    struct head head = {.keep_alive = true, .has_length = true};
    bool expects = false;
    enum err e;
    if ((e = h->error) || (e = finish_target(h, &head)) ||
        (e = head_length(&h->fields, &head.body_bytes)) || (e = head_expect(&h->fields, &expects)))
        return e;
    if (ended && head.body_bytes > 0)
        return bad(h, "the request ends before the body its Content-Length tells of");
    if (!ended && !h->fields.single[SINGLE_CONTENT_LENGTH].p)
        head.body_bytes = BODY_UNKNOWN;
    head.expects_continue = expects && head.body_bytes > 0;
    if (h->cookie_n > 1)
        join_cookies(h);
    head.fields = h->fields.fields;
    head.field_n = h->fields.field_n;
    *ret = head;
    return OK;
}

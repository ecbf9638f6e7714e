#include "http/head.h"
#include "http/target.h"

enum { FIELDS_FIRST = 32 };

static const str single_names[] = {
#define X(id, name) STR_INIT(name),
    SINGLE_TABLE(X)
#undef X
};

static enum err refuse(struct head_fields *f, enum err code, const char *why)
{
    return error_set(f->arena, f->why, code, "%s", why);
}

enum err head_add(struct head_fields *f, str name, str value)
{
    if (f->field_n == f->fields_max)
        return refuse(f, ERR_HEAD_TOO_LARGE, "the request has more header fields than allowed");
    if (f->field_n == f->field_cap) {
        size_t cap = f->field_cap ? f->field_cap * 2 : FIELDS_FIRST;
        struct field *grown = ARENA_ARRAY(f->arena, cap, struct field);
        if (f->field_n > 0)
            memcpy(grown, f->fields, f->field_n * sizeof *grown);
        f->fields = grown;
        f->field_cap = cap;
    }
    f->fields[f->field_n++] = (struct field){name, value};
    for (size_t i = 0; i < SINGLE_COUNT; i++) {
        if (!str_eq(name, single_names[i]))
            continue;
        if (f->single[i].p)
            return error_set(f->arena, f->why, ERR_BAD_REQUEST, "%.*s is given more than once",
                             STR_ARG(name));
        f->single[i] = value;
    }
    return OK;
}

enum err head_host(struct head_fields *f, str authority, bool required, str *ret)
{
    str host = f->single[SINGLE_HOST];
    if (!host.p && required)
        return refuse(f, ERR_BAD_REQUEST, "the Host field is missing");
    if (host.p && !authority_valid(host))
        return refuse(f, ERR_BAD_REQUEST, "the Host field is not a host name or address");
    if (host.p && authority.p && !str_eq_nocase(host, authority))
        return refuse(f, ERR_BAD_REQUEST, "the Host field contradicts the request target");
    *ret = host.p ? host : authority;
    return OK;
}

enum err head_length(struct head_fields *f, uint64_t *ret)
{
    str length = f->single[SINGLE_CONTENT_LENGTH];
    uint64_t n = 0;
    if (length.p && (!str_u64(length, &n) || n > INT64_MAX))
        return refuse(f, ERR_BAD_REQUEST, "the Content-Length is not a decimal number");
    *ret = n;
    return OK;
}

enum err head_expect(struct head_fields *f, bool *ret)
{
    str expect = f->single[SINGLE_EXPECT];
    if (expect.p && !str_eq_nocase(expect, STR("100-continue")))
        return refuse(f, ERR_EXPECTATION_FAILED, "the only expectation known is 100-continue");
    *ret = expect.p != NULL;
    return OK;
}

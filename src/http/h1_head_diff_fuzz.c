/* Another HTTP/1.1 parser (libhttp-parser) reads every head that ours accepts, and must read the
 * same: method, target, fields, framing. What ours refuses may be anything. So a proxy built on
 * that parser and we never see two different messages in the same bytes.
 *
 * Where they differ on purpose:
 *  - Proxy-Connection, a header of the nineties that RFC 9112 appendix C.2.2 says to ignore, is
 *    Connection to it: then only who keeps the connection may differ.
 *  - Upgrade is an offer to it that ends HTTP behind the head; to us it is nothing (RFC 9110 7.8: a
 *    server may ignore it). We say so by not answering 101.
 *  - It takes any name that begins with Transfer-Encoding for that field when it looks whether
 * there is Content-Length, too; a defect, which only makes it refuse. Such heads are passed over.
 *  - In lists like "c, keep-alive" it overlooks the second word. In HTTP/1.0, where a connection is
 *    kept only when that is asked for, it then closes one that we keep: not compared. */
#include "http/chars.h"
#include "http/h1_parse.h"

#include <http_parser.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { FIELDS_MAX = 20 };

struct seen {
    str url, names[FIELDS_MAX], values[FIELDS_MAX];
    size_t field_n;
    bool in_value, complete, keep_alive, chunked, has_length;
    uint64_t length;
};

/* It hands out what it reads in one or more adjoining pieces. */
static void extend(str *s, const char *at, size_t n)
{
    if (!s->p)
        *s = str_make(at, 0);
    if (s->p + s->n != at)
        abort();
    s->n += n;
}

static int on_url(http_parser *p, const char *at, size_t n)
{
    extend(&((struct seen *)p->data)->url, at, n);
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t n)
{
    struct seen *s = p->data;
    if (s->in_value) {
        s->field_n++;
        s->in_value = false;
    }
    if (s->field_n >= FIELDS_MAX)
        abort();
    extend(&s->names[s->field_n], at, n);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    struct seen *s = p->data;
    s->in_value = true;
    extend(&s->values[s->field_n], at, n);
    return 0;
}

static int on_head(http_parser *p)
{
    struct seen *s = p->data;
    s->field_n += s->in_value;
    s->complete = true;
    s->keep_alive = http_should_keep_alive(p);
    s->chunked = p->flags & F_CHUNKED;
    s->has_length = p->flags & F_CONTENTLENGTH;
    s->length = s->has_length ? p->content_length : 0;
    return 1; /* no body */
}

static bool field_is(const struct field *f, str name)
{
    return str_eq_nocase(f->name, name);
}

static void compare_fields(const struct head *h, const struct seen *s)
{
    bool proxy = false;
    if (h->field_n != s->field_n)
        abort();
    for (size_t i = 0; i < h->field_n; i++) {
        if (!field_is(&h->fields[i], s->names[i]) ||
            !str_eq(h->fields[i].value, str_trim(s->values[i])))
            abort();
        proxy |= field_is(&h->fields[i], STR("proxy-connection"));
    }
    if (h->keep_alive && !s->keep_alive && !h->http_1_0 && !proxy)
        abort();
}

static bool is_passed_over(const struct head *h)
{
    static const str coding = STR_INIT("transfer-encoding");
    for (size_t i = 0; i < h->field_n; i++) {
        if (h->fields[i].name.n > coding.n && str_starts(h->fields[i].name, coding))
            return true;
    }
    return false;
}

static void compare(str bytes, const struct head *h)
{
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_header_field = on_field,
                                                  .on_header_value = on_value,
                                                  .on_headers_complete = on_head};
    struct seen s = {0};
    http_parser p = {.data = &s};
    http_parser_init(&p, HTTP_REQUEST);
    size_t taken = http_parser_execute(&p, &settings, bytes.p, bytes.n);
    if (HTTP_PARSER_ERRNO(&p) != HPE_OK || taken != bytes.n || !s.complete)
        abort();
    if (!str_eq(str_from(http_method_str(p.method)), method_name(h->method)) || p.http_major != 1 ||
        p.http_minor != !h->http_1_0 || !str_eq(s.url, h->target))
        abort();
    if (s.chunked != h->chunked ||
        (h->chunked ? s.has_length : s.length != h->body_bytes || s.has_length != h->has_length))
        abort();
    compare_fields(h, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct head_limits limits = {
        .head_bytes_max = 4096, .target_bytes_max = 512, .fields_max = FIELDS_MAX};
    ARENA_CLEANUP struct arena a = {0};
    str bytes = str_make(data, n);
    size_t scanned = 0, length = h1_head_length(bytes, &scanned);
    struct head head;
    struct error why = {0};
    if (length && h1_head_parse(str_first(bytes, length), &limits, &a, &head, &why) == OK &&
        !is_passed_over(&head))
        compare(str_first(bytes, length), &head);
    return 0;
}

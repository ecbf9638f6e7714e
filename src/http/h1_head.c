#include "http/chars.h"
#include "http/h1_parse.h"
#include "http/target.h"

struct parser {
    str rest;
    const struct head_limits *limits;
    struct arena *arena;
    struct error *why;
    struct head head;
    struct head_fields fields;
    bool close, persist; /* Connection: close, keep-alive */
};

static enum err refuse(struct parser *ps, enum err code, const char *why)
{
    return error_set(ps->arena, ps->why, code, "%s", why);
}

static enum err bad(struct parser *ps, const char *why)
{
    return refuse(ps, ERR_BAD_REQUEST, why);
}

size_t h1_head_length(str bytes, size_t *scanned)
{
    /* Bare LF counts as a line end here, so that a head written with it is refused at once rather
     * than waited for. */
    size_t i = *scanned;
    while (i < bytes.n) {
        i += str_find(str_skip(bytes, i), '\n');
        if (i + 1 < bytes.n && bytes.p[i + 1] == '\n')
            return i + 2;
        if (i + 2 < bytes.n && bytes.p[i + 1] == '\r' && bytes.p[i + 2] == '\n')
            return i + 3;
        if (i + 1 >= bytes.n || (i + 2 >= bytes.n && bytes.p[i + 1] == '\r'))
            break; /* this LF, or none, ends the bytes: look at it again */
        i++;
    }
    *scanned = i < bytes.n ? i : bytes.n;
    return 0;
}

/* Takes a line off the head, without its CRLF. */
static enum err take_line(struct parser *ps, str *line)
{
    size_t n = str_text_length(ps->rest);
    if (ps->rest.n - n >= 2 && ps->rest.p[n] == '\r' && ps->rest.p[n + 1] == '\n') {
        *line = str_first(ps->rest, n);
        ps->rest = str_skip(ps->rest, n + 2);
        return OK;
    }
    if (n == ps->rest.n)
        return bad(ps, "the request head is cut short");
    if (ps->rest.p[n] == '\n')
        return bad(ps, "a line of the request head ends with LF instead of CRLF");
    if (ps->rest.p[n] == '\r')
        return bad(ps, "the request head has a CR that does not end a line");
    return bad(ps, "the request head has a control character");
}

static enum err parse_version(struct parser *ps, str version)
{
    static const str prefix = STR_INIT("HTTP/");
    if (version.n != prefix.n + 3 || !str_starts(version, prefix))
        return bad(ps, "the request line is not \"METHOD TARGET HTTP/1.1\"");
    char major = version.p[5], dot = version.p[6], minor = version.p[7];
    if (dot != '.' || major < '0' || major > '9' || minor < '0' || minor > '9')
        return bad(ps, "the HTTP version is malformed");
    if (major != '1' || minor > '1')
        return refuse(ps, ERR_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    ps->head.http_1_0 = minor == '0';
    return OK;
}

static enum err parse_request_line(struct parser *ps)
{
    str line, method, rest, version;
    enum err e = take_line(ps, &line);
    if (e)
        return e;
    str_cut(line, ' ', &method, &rest);
    str_cut(rest, ' ', &ps->head.target, &version);
    if (!str_is(method, CHAR_TOKEN))
        return bad(ps, "the request method is malformed");
    if ((e = parse_version(ps, version)))
        return e;
    if (!method_parse(method, &ps->head.method))
        return refuse(ps, ERR_NOT_IMPLEMENTED, "this request method is not known");
    if (ps->head.target.n > ps->limits->target_bytes_max)
        return refuse(ps, ERR_TARGET_TOO_LONG, "the request target is longer than allowed");
    struct target target;
    const char *why;
    if (!target_parse(ps->head.target, &target, &why))
        return bad(ps, why);
    ps->head.path = target.path;
    ps->head.query = target.query;
    ps->head.host = target.authority;
    return OK;
}

static enum err parse_connection(struct parser *ps, str value)
{
    str token;
    while (str_next(&value, ',', &token)) {
        token = str_trim(token);
        if (token.n > 0 && !str_is(token, CHAR_TOKEN))
            return bad(ps, "the Connection field is malformed");
        if (str_eq_nocase(token, STR("close")))
            ps->close = true;
        else if (str_eq_nocase(token, STR("keep-alive")))
            ps->persist = true;
    }
    return OK;
}

static enum err add_field(struct parser *ps, str name, str value)
{
    enum err e = head_add(&ps->fields, name, value);
    return !e && str_eq(name, STR("connection")) ? parse_connection(ps, value) : e;
}

/* The name in lower case; only a name that is not so already is copied. */
static str lower(struct arena *a, str name)
{
    size_t i = 0;
    while (i < name.n && !(name.p[i] >= 'A' && name.p[i] <= 'Z'))
        i++;
    if (i == name.n)
        return name;
    char *p = arena_alloc(a, name.n);
    for (i = 0; i < name.n; i++)
        p[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i];
    return str_make(p, name.n);
}

/* A tab is white space like any other (RFC 9110 5.6.3), but parsers are known that take it for a
 * part of the value, and then see another end of the message; and no client sends one. */
static bool frames(str name)
{
    return str_eq(name, STR("content-length")) || str_eq(name, STR("transfer-encoding"));
}

static enum err parse_fields(struct parser *ps)
{
    for (;;) {
        str line;
        enum err e = take_line(ps, &line);
        if (e)
            return e;
        if (line.n == 0)
            return ps->rest.n == 0 ? OK : bad(ps, "the request head has an empty line inside");
        if (line.p[0] == ' ' || line.p[0] == '\t')
            return bad(ps, "the request head has a folded line");
        size_t n = 0;
        while (n < line.n && char_is(line.p[n], CHAR_TOKEN))
            n++;
        if (n == 0 || n == line.n || line.p[n] != ':')
            return bad(ps, "a header field's name is malformed");
        str name = lower(ps->arena, str_first(line, n)), value = str_skip(line, n + 1);
        if (frames(name) && str_find(value, '\t') < value.n)
            return bad(ps, "Content-Length or Transfer-Encoding has a tab around its value");
        if ((e = add_field(ps, name, str_trim(value))))
            return e;
    }
}

/* Only `chunked`, alone. A list of known names that holds another coding is understood but not
 * implemented; anything else leaves the end of the message in doubt. */
static enum err check_coding(struct parser *ps, str value)
{
    if (str_eq_nocase(value, STR("chunked")))
        return OK;
    bool other = false;
    str coding;
    while (str_next(&value, ',', &coding)) {
        coding = str_trim(coding);
        if (!str_is(coding, CHAR_TOKEN))
            return bad(ps, "the Transfer-Encoding field is malformed");
        other |= !str_eq_nocase(coding, STR("chunked"));
    }
    return other ? refuse(ps, ERR_NOT_IMPLEMENTED, "the only transfer coding known is chunked")
                 : bad(ps, "the Transfer-Encoding field is malformed");
}

static enum err check_framing(struct parser *ps)
{
    struct head *h = &ps->head;
    str length = ps->fields.single[SINGLE_CONTENT_LENGTH];
    str coding = ps->fields.single[SINGLE_TRANSFER_ENCODING];
    h->chunked = coding.p != NULL;
    h->has_length = coding.p || length.p;
    if (coding.p) {
        if (length.p)
            return bad(ps, "Content-Length and Transfer-Encoding exclude each other");
        if (h->http_1_0)
            return bad(ps, "HTTP/1.0 has no Transfer-Encoding");
        h->body_bytes = BODY_UNKNOWN;
        return check_coding(ps, coding);
    }
    return head_length(&ps->fields, &h->body_bytes);
}

/* RFC 9110 10.1.1: an HTTP/1.0 client does not know 100, whatever it sends. */
static enum err check_expect(struct parser *ps)
{
    bool expects = false;
    enum err e = ps->head.http_1_0 ? OK : head_expect(&ps->fields, &expects);
    ps->head.expects_continue = expects && ps->head.body_bytes > 0;
    return e;
}

enum err h1_head_parse(str head, const struct head_limits *limits, struct arena *a,
                       struct head *ret, struct error *why)
{
    struct parser ps = {.rest = head,
                        .limits = limits,
                        .arena = a,
                        .why = why,
                        .fields = {.arena = a, .why = why, .fields_max = limits->fields_max}};
    if (head.n > limits->head_bytes_max)
        return refuse(&ps, ERR_HEAD_TOO_LARGE, "the request head is larger than allowed");
    if (str_starts(head, STR("\r\n")))
        ps.rest = str_skip(head, 2);

    enum err e;
    if ((e = parse_request_line(&ps)) || (e = parse_fields(&ps)) ||
        (e = head_host(&ps.fields, ps.head.host, !ps.head.http_1_0, &ps.head.host)) ||
        (e = check_framing(&ps)) || (e = check_expect(&ps)))
        return e;
    ps.head.fields = ps.fields.fields;
    ps.head.field_n = ps.fields.field_n;
    ps.head.keep_alive = !ps.close && (ps.persist || !ps.head.http_1_0);
    *ret = ps.head;
    return OK;
}

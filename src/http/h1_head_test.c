#include "base/test.h"
#include "http/h1_parse.h"

static const struct head_limits limits = {
    .head_bytes_max = 4096, .target_bytes_max = 512, .fields_max = 40};

static enum err parse(struct arena *a, str head, struct head *ret, struct error *why)
{
    size_t scanned = 0;
    size_t n = h1_head_length(head, &scanned);
    return h1_head_parse(n ? str_first(head, n) : head, &limits, a, ret, why);
}

#define LINE "GET / HTTP/1.1\r\n"
#define HOST "Host: h\r\n"
#define HEAD LINE HOST

struct refusal {
    str head;
    enum err want;
};

static const struct refusal refusals[] = {
    /* Line ends and control characters. */
    {STR_INIT("GET / HTTP/1.1\nHost: h\n\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1.1\r\nHost: h\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1.1\nHost: h\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1.1\rHost: h\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X: a\0b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X: a\x01\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X: a\x7f\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X: a\x0b long enough to be scanned by words\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("G\0ET / HTTP/1.1\r\nHost: h\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1.1"), ERR_BAD_REQUEST},
    {STR_INIT(""), ERR_BAD_REQUEST},

    /* Request line. */
    {STR_INIT(" GET / HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET  / HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /  HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1.1 \r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /\tHTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("G(T / HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / http/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1,1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/11\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/1.10\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/+.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET / HTTP/2.0\r\n" HOST "\r\n"), ERR_VERSION},
    {STR_INIT("GET / HTTP/1.2\r\n" HOST "\r\n"), ERR_VERSION},
    {STR_INIT("GET / HTTP/0.9\r\n" HOST "\r\n"), ERR_VERSION},
    {STR_INIT("PRI * HTTP/2.0\r\n\r\n"), ERR_VERSION},
    {STR_INIT("get / HTTP/1.1\r\n" HOST "\r\n"), ERR_NOT_IMPLEMENTED},
    {STR_INIT("BREW / HTTP/1.1\r\n" HOST "\r\n"), ERR_NOT_IMPLEMENTED},
    {STR_INIT("TRACE / HTTP/1.1\r\n" HOST "\r\n"), ERR_NOT_IMPLEMENTED},
    {STR_INIT("CONNECT h:443 HTTP/1.1\r\n" HOST "\r\n"), ERR_NOT_IMPLEMENTED},

    /* Target. */
    {STR_INIT("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET v2/ HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET h:80 HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET http:///x HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET http://u:p@h/ HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET http://g/ HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET http://h#f HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a#f HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a?b#f HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a\\b HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a<b HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a[b] HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /?a=\"b\" HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /?\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /% HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /%4 HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /%4g HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /%-1 HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a%00b HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /./a HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a/.. HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a/../b HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a/%2e HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /a/.%2E/b HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET /%2e%2e/b?x HTTP/1.1\r\n" HOST "\r\n"), ERR_BAD_REQUEST},

    /* Fields. */
    {STR_INIT(HEAD "X : y\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X\t: y\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD ": y\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X y: z\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X(y): z\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "\xc3\xa9: z\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X: y\r\n z\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "X: y\r\n\tz\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE " " HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Connection: close, (\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Authorization: a\r\nauthorization: b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Range: bytes=0-1\r\nRange: bytes=0-1\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Range: 0-1\r\nContent-Range: 0-1\r\n\r\n"), ERR_BAD_REQUEST},

    /* Host. */
    {STR_INIT(LINE "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host:\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: \t\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE HOST HOST "\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE HOST "HOST: h\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: a b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: a,b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: a/b\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: u@h\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: h:\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: :80\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: h:80x\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: h:65536\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: h:1:2\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: ::1\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: [::1\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: [::g]\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: [fe80::1%25eth0]\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(LINE "Host: [::1]80\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT("GET http://h/ HTTP/1.1\r\n\r\n"), ERR_BAD_REQUEST},

    /* Framing. */
    {STR_INIT(HEAD "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 3\r\nContent-Length: 3\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 3\r\ncontent-length: 4\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 3, 3\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length:\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: +3\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: -1\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 0x3\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 3 3\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 3.0\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 9223372036854775808\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 18446744073709551616\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding:\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: chunked, chunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: chunked,\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: \"chunked\"\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: chunked;q=1\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: \x0b"
                   "chunked\r\n\r\n"),
     ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding : chunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding:\r\n chunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
     ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"),
     ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: xchunked\r\n\r\n"), ERR_NOT_IMPLEMENTED},
    {STR_INIT(HEAD "Transfer-Encoding: identity\r\n\r\n"), ERR_NOT_IMPLEMENTED},
    {STR_INIT(HEAD "Content-Length:\t12\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Content-Length: 12 \t\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding:\tchunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: chunked\t\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n"), ERR_NOT_IMPLEMENTED},
    {STR_INIT(HEAD "Transfer-Encoding: chunked, identity\r\n\r\n"), ERR_NOT_IMPLEMENTED},
    {STR_INIT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), ERR_BAD_REQUEST},
    {STR_INIT(HEAD "Expect: 200-ok\r\n\r\n"), ERR_EXPECTATION_FAILED},
    {STR_INIT(HEAD "Expect: 100-continue, x\r\n\r\n"), ERR_EXPECTATION_FAILED},
};

static void refuses(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        ARENA_CLEANUP struct arena a = {0};
        struct head head = {.field_n = 77};
        struct error why = {0};
        enum err e = parse(&a, refusals[i].head, &head, &why);
        if (e != refusals[i].want)
            test_fail(__FILE__, __LINE__, "row %zu: %s, not %s: %.*s", i, err_name(e),
                      err_name(refusals[i].want), STR_ARG(refusals[i].head));
        CHECK_INT(why.code, e);
        CHECK(why.message.n > 0);
        CHECK_INT(head.field_n, 77); /* outputs are written on success only */
    }
}

static const str accepted[] = {
    STR_INIT(HEAD "\r\n"),
    STR_INIT("\r\n" HEAD "\r\n"),
    STR_INIT("GET /v2/a/b/manifests/sha256%3Aab?ns=docker.io HTTP/1.1\r\n" HOST "\r\n"),
    STR_INIT("GET /v2/a/blobs/uploads/ HTTP/1.1\r\n" HOST "\r\n"),
    STR_INIT("GET //a//b HTTP/1.1\r\n" HOST "\r\n"),
    STR_INIT("GET /.../..a/.b/a.. HTTP/1.1\r\n" HOST "\r\n"),
    STR_INIT("GET /-._~!$&'()*+,;=:@ HTTP/1.1\r\n" HOST "\r\n"),
    STR_INIT("GET /?q=name=~a,tags=[1~2]&x=/?%zz% HTTP/1.1\r\n" HOST "\r\n"),
    STR_INIT("HEAD / HTTP/1.1\r\n" HOST "\r\n"),
    STR_INIT("OPTIONS / HTTP/1.1\r\n" HOST "\r\n"),
    STR_INIT("PATCH / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"),
    STR_INIT("PUT / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\n"),
    STR_INIT("PUT / HTTP/1.1\r\n" HOST "Content-Length:   12  \r\n\r\n"),
    STR_INIT("PUT / HTTP/1.1\r\n" HOST "X: \t 12 \t\r\n\r\n"),
    STR_INIT("PUT / HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-Continue\r\n\r\n"),
    STR_INIT("GET / HTTP/1.0\r\n\r\n"),
    STR_INIT("GET / HTTP/1.0\r\nExpect: tea\r\n\r\n"),
    STR_INIT(LINE "Host: EXAMPLE.com:5000\r\n\r\n"),
    STR_INIT(LINE "Host: 127.0.0.1:65535\r\n\r\n"),
    STR_INIT(LINE "Host: [::1]\r\n\r\n"),
    STR_INIT(LINE "Host: [2001:db8::192.0.2.1]:443\r\n\r\n"),
    STR_INIT(LINE "Host: my_registry-1.local\r\n\r\n"),
    STR_INIT("GET HTTP://H:80/x HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    STR_INIT("GET https://h HTTP/1.0\r\n\r\n"),
    STR_INIT(HEAD "X:\r\nY: \r\nZ:z\r\n\r\n"),
    STR_INIT(HEAD "User-Agent: caf\xc3\xa9\t(tab inside)\r\n\r\n"),
    STR_INIT(HEAD "!#$%&'*+-.^_`|~09azAZ: v\r\n\r\n"),
    STR_INIT(HEAD "Accept: a\r\nAccept: b\r\nConnection: ,close,, upgrade\r\n\r\n"),
};

static void accepts(void)
{
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        ARENA_CLEANUP struct arena a = {0};
        struct head head;
        struct error why = {0};
        enum err e = parse(&a, accepted[i], &head, &why);
        if (e)
            test_fail(__FILE__, __LINE__, "row %zu: %s (%.*s)", i, err_name(e),
                      STR_ARG(why.message));
    }
}

static void reads_a_request(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct head h = {0};
    struct error why = {0};
    CHECK_INT(parse(&a,
                    STR("PUT /v2/a%2fb/x?digest=c&d HTTP/1.1\r\nHOST: Reg:5000\r\n"
                        "content-type:  a/b \t\r\nX-Mixed: One  Two\r\nContent-Length: 0012\r\n"
                        "Expect: 100-continue\r\n\r\nbody"),
                    &h, &why),
              OK);
    CHECK_INT(h.method, METHOD_PUT);
    CHECK_STR(h.target, "/v2/a%2fb/x?digest=c&d");
    CHECK_STR(h.path, "/v2/a%2fb/x");
    CHECK_STR(h.query, "digest=c&d");
    CHECK_STR(h.host, "Reg:5000");
    CHECK(h.keep_alive && h.expects_continue && h.has_length && !h.chunked && !h.http_1_0);
    CHECK_INT(h.body_bytes, 12);
    CHECK_INT(h.field_n, 5);
    CHECK_STR(h.fields[0].name, "host");
    CHECK_STR(h.fields[1].name, "content-type");
    CHECK_STR(h.fields[1].value, "a/b");
    CHECK_STR(h.fields[2].name, "x-mixed");
    CHECK_STR(h.fields[2].value, "One  Two");
}

static struct head parsed(struct arena *a, str head)
{
    struct head h = {0};
    struct error why = {0};
    CHECK_INT(parse(a, head, &h, &why), OK);
    return h;
}

static void knows_the_body(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct head h = parsed(&a, STR("PATCH / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
                                   "Expect: 100-continue\r\n\r\n"));
    CHECK(h.chunked && h.has_length && h.expects_continue);
    CHECK(h.body_bytes == BODY_UNKNOWN);
    h = parsed(&a, STR("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n"));
    CHECK(!h.has_length && !h.expects_continue);
    CHECK_INT(h.body_bytes, 0);
    h = parsed(&a, STR("POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"));
    CHECK(h.has_length && !h.chunked);
    h = parsed(&a, STR("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"));
    CHECK(h.http_1_0 && !h.expects_continue);
    CHECK_INT(h.body_bytes, 1);
}

static void knows_persistence(void)
{
    ARENA_CLEANUP struct arena a = {0};
    CHECK(parsed(&a, STR(HEAD "\r\n")).keep_alive);
    CHECK(!parsed(&a, STR(HEAD "Connection: Close\r\n\r\n")).keep_alive);
    CHECK(!parsed(&a, STR(HEAD "Connection: x\r\nConnection: te ,close\r\n\r\n")).keep_alive);
    CHECK(!parsed(&a, STR(HEAD "Connection: keep-alive, close\r\n\r\n")).keep_alive);
    CHECK(!parsed(&a, STR("GET / HTTP/1.0\r\n\r\n")).keep_alive);
    CHECK(parsed(&a, STR("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")).keep_alive);
}

static void takes_absolute_targets_apart(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct head h = parsed(&a, STR("GET http://H:1/v2/?n=1 HTTP/1.1\r\nHost: h:1\r\n\r\n"));
    CHECK_STR(h.path, "/v2/");
    CHECK_STR(h.query, "n=1");
    CHECK_STR(h.host, "h:1");
    h = parsed(&a, STR("GET https://h?n=1 HTTP/1.0\r\n\r\n"));
    CHECK_STR(h.target, "https://h?n=1");
    CHECK_STR(h.path, "/");
    CHECK_STR(h.query, "n=1");
    CHECK_STR(h.host, "h");
    h = parsed(&a, STR("GET / HTTP/1.0\r\n\r\n"));
    CHECK_INT(h.host.n, 0);
}

static void keeps_limits(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct head h;
    str head = STR("GET /0123 HTTP/1.1\r\n" HOST "A: b\r\nC: d\r\n\r\n");
    struct head_limits exact = {.head_bytes_max = head.n, .target_bytes_max = 5, .fields_max = 3};
    struct head_limits less;
    struct error why = {0};
    CHECK_INT(h1_head_parse(head, &exact, &a, &h, &why), OK);
    less = exact, less.head_bytes_max--;
    CHECK_INT(h1_head_parse(head, &less, &a, &h, &why), ERR_HEAD_TOO_LARGE);
    less = exact, less.target_bytes_max--, why = (struct error){0};
    CHECK_INT(h1_head_parse(head, &less, &a, &h, &why), ERR_TARGET_TOO_LONG);
    less = exact, less.fields_max--, why = (struct error){0};
    CHECK_INT(h1_head_parse(head, &less, &a, &h, &why), ERR_HEAD_TOO_LARGE);
}

static void holds_many_fields(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str head = STR(HEAD);
    for (int i = 0; i < 39; i++)
        head = arena_printf(&a, "%.*sF%d: %d\r\n", STR_ARG(head), i, i);
    head = arena_printf(&a, "%.*s\r\n", STR_ARG(head));
    struct head h = parsed(&a, head);
    CHECK_INT(h.field_n, 40);
    CHECK_STR(h.fields[0].name, "host");
    CHECK_STR(h.fields[39].name, "f38");
    CHECK_STR(h.fields[39].value, "38");
}

/* Fed byte by byte, the length is found at the last byte of the head and not before. */
static void finds_the_end(void)
{
    static const struct {
        str bytes;
        size_t want;
    } rows[] = {
        {STR_INIT("GET / HTTP/1.1\r\nA: b\r\n\r\nGET "), 24},
        {STR_INIT("\r\nGET /\r\n\r\n"), 11},
        {STR_INIT("GET /\n\nX"), 7},
        {STR_INIT("GET /\r\n\nX"), 8},
        {STR_INIT("GET /\n\r\nX"), 8},
        {STR_INIT("\r\n\r\nGET"), 4},
        {STR_INIT("GET /\r\n\rX\r\nA: b\r\n"), 0},
        {STR_INIT("GET /\r\n"), 0},
        {STR_INIT(""), 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t scanned = 0, at = 0;
        CHECK_INT(h1_head_length(rows[i].bytes, &scanned), rows[i].want);
        scanned = 0;
        for (size_t n = 0; n <= rows[i].bytes.n && at == 0; n++)
            at = h1_head_length(str_first(rows[i].bytes, n), &scanned);
        CHECK_INT(at, rows[i].want);
    }
}

TESTS({"refuses", refuses}, {"accepts", accepts}, {"reads a request", reads_a_request},
      {"knows the body", knows_the_body}, {"knows persistence", knows_persistence},
      {"takes absolute targets apart", takes_absolute_targets_apart},
      {"keeps limits", keeps_limits}, {"holds many fields", holds_many_fields},
      {"finds the end", finds_the_end});

#include "net/proxy_protocol.h"

#include "base/test.h"

#define V2(command, family, length) "\r\n\r\n\0\r\nQUIT\n" command family length
#define V4                          "\x0a\0\0\x07\x0a\0\0\x01\x30\x39\x01\xbb" /* 10.0.0.7:12345 to 10.0.0.1:443 */

static struct proxy_header read_all(str header)
{
    struct proxy_header h = {0};
    size_t n = 0;
    /* Every proper prefix asks for more; what follows is not looked at. */
    for (size_t i = 0; i < header.n; i++)
        CHECK_INT(proxy_header_length(str_first(header, i), &n), ERR_WOULD_BLOCK);
    char with_more[PROXY_HEADER_BYTES_MAX + 4];
    memcpy(with_more, header.p, header.n);
    memcpy(with_more + header.n, "\r\nG", 3);
    CHECK_INT(proxy_header_length(str_make(with_more, header.n + 3), &n), OK);
    CHECK_INT(n, header.n);
    CHECK_INT(proxy_header_parse(header, &h), OK);
    return h;
}

static void expect(struct proxy_header h, const char *source, const char *destination)
{
    char text[ADDRESS_LEN_MAX];
    CHECK_STR(address_text(&h.source, text), source);
    CHECK_STR(address_text(&h.destination, text), destination);
}

static void version_1(void)
{
    expect(read_all(STR("PROXY TCP4 10.0.0.7 10.0.0.1 12345 443\r\n")), "10.0.0.7:12345",
           "10.0.0.1:443");
    expect(read_all(STR("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n")), "[2001:db8::1]:0",
           "[::1]:65535");
    expect(read_all(STR("PROXY TCP6 ::ffff:10.0.0.7 ::1 1 2\r\n")), "10.0.0.7:1", "[::1]:2");
    CHECK_INT(read_all(STR("PROXY UNKNOWN\r\n")).source.family, AF_UNSPEC);
    CHECK_INT(read_all(STR("PROXY UNKNOWN ff ff 1 2\r\n")).source.family, AF_UNSPEC);
}

static void version_2(void)
{
    expect(read_all(STR(V2("\x21", "\x11", "\0\x0c") V4)), "10.0.0.7:12345", "10.0.0.1:443");
    /* Extensions are skipped. */
    expect(read_all(STR(V2("\x21", "\x11", "\0\x10") V4 "\x04\0\x01x")), "10.0.0.7:12345",
           "10.0.0.1:443");
    expect(read_all(STR(V2("\x21", "\x21", "\0\x24") "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                                                     "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                                                     "\0\x07\0\x08")),
           "[2001:db8::1]:7", "[::1]:8");
    CHECK_INT(read_all(STR(V2("\x20", "\0", "\0\0"))).source.family, AF_UNSPEC);
    /* LOCAL: whatever stands there is not looked at. */
    CHECK_INT(read_all(STR(V2("\x20", "\x11", "\0\x0c") V4)).source.family, AF_UNSPEC);
    CHECK_INT(read_all(STR(V2("\x21", "\0", "\0\x03") "abc")).source.family, AF_UNSPEC);
}

static void refused(str in, enum err length, enum err parse)
{
    size_t n = 0;
    struct proxy_header h;
    enum err e = proxy_header_length(in, &n);
    if (e != length || proxy_header_parse(in, &h) != parse)
        test_fail(__FILE__, __LINE__, "%.*s: %s", STR_ARG(in), err_text(e));
}

static void wrong(void)
{
    refused(STR("GET / HTTP/1.1\r\n"), ERR_SYNTAX, ERR_SYNTAX);
    refused(STR("PROXX"), ERR_SYNTAX, ERR_SYNTAX);
    refused(STR("\x16\x03\x01"), ERR_SYNTAX, ERR_SYNTAX);
    refused(STR("\r\n\r\n\0\r\nQUIX"), ERR_SYNTAX, ERR_SYNTAX);
    const char *const lines[] = {"PROXY \r\n",
                                 "PROXY TCP4 10.0.0.7 10.0.0.1 1\r\n",
                                 "PROXY TCP4 10.0.0.7 10.0.0.1 1 2 3\r\n",
                                 "PROXY TCP4  10.0.0.7 10.0.0.1 1 2\r\n",
                                 "PROXY TCP4 10.0.0.7 10.0.0.1 1 65536\r\n",
                                 "PROXY TCP4 10.0.0.7 10.0.0.1 01 2\r\n",
                                 "PROXY TCP4 10.0.0.7 10.0.0.1 -1 2\r\n",
                                 "PROXY TCP4 10.0.0.7 ::1 1 2\r\n",
                                 "PROXY TCP4 10.0.0 10.0.0.1 1 2\r\n",
                                 "PROXY TCP6 10.0.0.7 10.0.0.1 1 2\r\n",
                                 "PROXY TCP6 [::1] ::1 1 2\r\n",
                                 "PROXY UDP4 10.0.0.7 10.0.0.1 1 2\r\n",
                                 "PROXY UNKNOWNX\r\n",
                                 "PROXY TCP4 10.0.0.7 10.0.0.1 1 2 \r\n",
                                 "PROXY TCP4 10.0.0.7 10.0.0.1 1 2\n\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        refused(str_from(lines[i]), OK, ERR_SYNTAX);
    refused(STR(V2("\x11", "\x11", "\0\x0c") V4), OK, ERR_SYNTAX); /* version 1 in binary */
    refused(STR(V2("\x22", "\x11", "\0\x0c") V4), OK, ERR_SYNTAX); /* command 2 */
    refused(STR(V2("\x21", "\x12", "\0\x0c") V4), OK, ERR_SYNTAX); /* datagrams */
    refused(STR(V2("\x21", "\x21", "\0\x0c") V4), OK, ERR_SYNTAX); /* too short for IPv6 */
    refused(STR(V2("\x21", "\x11", "\0\x0b") "\x0a\0\0\x07\x0a\0\0\x01\x30\x39\x01"), OK,
            ERR_SYNTAX);
    refused(STR(V2("\x21", "\x31", "\0\x01") "x"), OK, ERR_SYNTAX);
}

static void too_long(void)
{
    char line[PROXY_V1_BYTES_MAX + 2];
    size_t n = 0;
    memset(line, 'a', sizeof line);
    memcpy(line, "PROXY ", 6);
    CHECK_INT(proxy_header_length(str_make(line, PROXY_V1_BYTES_MAX - 1), &n), ERR_WOULD_BLOCK);
    CHECK_INT(proxy_header_length(str_make(line, PROXY_V1_BYTES_MAX), &n), ERR_LIMIT);
    memcpy(line + PROXY_V1_BYTES_MAX - 2, "\r\n", 2);
    CHECK_INT(proxy_header_length(str_make(line, sizeof line), &n), OK);
    CHECK_INT(proxy_header_length(STR(V2("\x21", "\x11", "\x0f\xf0")), &n), ERR_WOULD_BLOCK);
    CHECK_INT(proxy_header_length(STR(V2("\x21", "\x11", "\x0f\xf1")), &n), ERR_LIMIT);
}

TESTS({"version 1", version_1}, {"version 2", version_2}, {"wrong", wrong}, {"too long", too_long});

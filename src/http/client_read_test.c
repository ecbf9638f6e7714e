#include "http/client_read.h"

#include "base/test.h"

static struct arena arena;

/* Reads the text whole, or byte by byte, then ends. */
static enum err read_text(struct client_reader *r, const char *text, size_t step, size_t limit)
{
    str bytes = str_from(text);
    *r = (struct client_reader){.arena = &arena, .body = BUF_INIT(limit), .no_body = r->no_body};
    enum err e = OK;
    for (size_t at = 0; !e && at < bytes.n; at += step)
        e = client_read(r, str_first(str_skip(bytes, at), step));
    return e ? e : client_read_end(r);
}

static void reads(void)
{
    static const struct {
        const char *text;
        int status;
        const char *body;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", 200, "abc"},
        {"HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n", 404, ""},
        {"HTTP/1.1 200\r\n\r\nuntil the end", 200, "until the end"},
        {"HTTP/1.0 500 x\r\n\r\n", 500, ""},
        {"HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n", 204, ""},
        {"HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200,
         "abcde"},
        {"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
         201, "x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step < 200; step += 66) {
            struct client_reader r = {0};
            CHECK_INT(read_text(&r, cases[i].text, step, 100), OK);
            CHECK_INT(r.answer.status, cases[i].status);
            CHECK_STR(r.answer.body, cases[i].body);
            buf_release(&r.body);
        }
    }
    arena_release(&arena);
}

static void fields(void)
{
    struct client_reader r = {.no_body = true};
    CHECK_INT(read_text(&r,
                        "HTTP/1.1 200 OK\r\nLINK: <a>; rel=\"next\"\r\nx:\r\nlink: b\r\n"
                        "Content-Length: 7\r\n\r\n",
                        5, 0),
              OK);
    CHECK_STR(client_header(&r.answer, STR("link")), "<a>; rel=\"next\"");
    CHECK(client_header(&r.answer, STR("x")).p && client_header(&r.answer, STR("x")).n == 0);
    CHECK(!client_header(&r.answer, STR("y")).p);
    CHECK_STR(r.answer.body, "");
    arena_release(&arena);
}

static void refuses(void)
{
    static const struct {
        const char *text;
        enum err want;
    } cases[] = {
        {"", ERR_CLOSED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", ERR_CLOSED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", ERR_CLOSED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ERR_CLOSED},
        {"HTTP/1.1 100 Continue\r\n\r\n", ERR_CLOSED},
        {"HTTP/2 200 OK\r\n\r\n", ERR_SYNTAX},
        {"GET / HTTP/1.1\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 20 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 2000 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 099 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 101 Switching\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\n\n", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\na b: c\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\n folded: c\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n12345678901", ERR_LIMIT},
        {"HTTP/1.1 200 OK\r\n\r\n12345678901", ERR_LIMIT},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n", ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step < 100; step += 98) {
            struct client_reader r = {0};
            enum err e = read_text(&r, cases[i].text, step, 10);
            if (e != cases[i].want)
                test_fail(__FILE__, __LINE__, "%s: %s, not %s", cases[i].text, err_name(e),
                          err_name(cases[i].want));
            buf_release(&r.body);
        }
    }
    arena_release(&arena);
}

static void large_heads(void)
{
    BUF_CLEANUP struct buf text = BUF_INIT(1 << 20);
    struct client_reader r = {0};
    buf_add(&text, STR("HTTP/1.1 200 OK\r\n"));
    for (int i = 0; i <= CLIENT_FIELDS_MAX; i++)
        buf_printf(&text, "x%d: y\r\n", i);
    buf_add(&text, STR("\r\n"));
    buf_byte(&text, 0);
    CHECK_INT(read_text(&r, text.p, 1000, 10), ERR_LIMIT);
    buf_clear(&text);
    buf_add(&text, STR("HTTP/1.1 200 OK\r\nx: "));
    while (text.n < 2 * CLIENT_HEAD_BYTES_MAX)
        buf_byte(&text, 'a');
    buf_byte(&text, 0);
    CHECK_INT(read_text(&r, text.p, 1000, 10), ERR_LIMIT);
    arena_release(&arena);
}

TESTS({"reads", reads}, {"fields", fields}, {"refuses", refuses}, {"large heads", large_heads})

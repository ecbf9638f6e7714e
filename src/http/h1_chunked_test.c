#include "base/buf.h"
#include "base/test.h"
#include "http/h1_parse.h"

/* Decodes `in`, at most `step` bytes at a time, and collects the data. */
static enum err decode(str in, size_t step, struct buf *out, size_t *used, bool *done)
{
    struct h1_chunked c = {0};
    size_t at = 0;
    while (at < in.n && !c.done) {
        str part = str_first(str_skip(in, at), step), rest = part, data;
        while (rest.n > 0 && !c.done) {
            enum err e = h1_chunked_next(&c, &rest, &data);
            if (e)
                return e;
            buf_add(out, data);
        }
        at += part.n - rest.n;
    }
    CHECK_INT(c.total, out->n);
    *used = at;
    *done = c.done;
    return OK;
}

static void decodes(void)
{
    static const struct {
        str in;
        const char *data;
        size_t left; /* bytes behind the body */
        bool done;
    } rows[] = {
        {STR_INIT("0\r\n\r\n"), "", 0, true},
        {STR_INIT("3\r\nabc\r\n0\r\n\r\nGET /"), "abc", 5, true},
        {STR_INIT("3\r\nabc\r\n00a\r\n0123456789\r\n0\r\n\r\n"), "abc0123456789", 0, true},
        {STR_INIT("B\r\nhello world\r\nb\r\nHELLO WORLD\r\n0\r\n\r\n"), "hello worldHELLO WORLD", 0,
         true},
        {STR_INIT("2;x\r\n\r\n\r\n0;a=\"b;c\"\t;d\r\n\r\n"), "\r\n", 0, true},
        {STR_INIT("1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n"), "a", 0, true},
        {STR_INIT("5\r\nab"), "ab", 0, false},
        {STR_INIT("5\r\nabcde\r\n"), "abcde", 0, false},
        {STR_INIT("0\r\nX: y\r\n"), "", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t step = 1; step <= rows[i].in.n; step++) {
            BUF_CLEANUP struct buf out = BUF_INIT(4096);
            size_t used = 0;
            bool done = false;
            CHECK_INT(decode(rows[i].in, step, &out, &used, &done), OK);
            CHECK_STR(buf_str(&out), rows[i].data);
            CHECK_INT(rows[i].in.n - used, rows[i].left);
            CHECK_INT(done, rows[i].done);
        }
    }
}

static void refuses(void)
{
    static const str rows[] = {
        STR_INIT("\r\n"),
        STR_INIT(" 1\r\na\r\n"),
        STR_INIT("g\r\n"),
        STR_INIT("-1\r\n"),
        STR_INIT("+1\r\n"),
        STR_INIT("0x1\r\na\r\n"),
        STR_INIT(";x\r\n"),
        STR_INIT("1 \r\na\r\n"),
        STR_INIT("1\na\n"),
        STR_INIT("1\r\r\na"),
        STR_INIT("1;x\na\r\n"),
        STR_INIT("1;\0\r\na\r\n"),
        STR_INIT("1;x\rY\r\n"),
        STR_INIT("1\r\nab\r\n"),
        STR_INIT("1\r\na\n0\r\n\r\n"),
        STR_INIT("1\r\na\rX"),
        STR_INIT("10000000000000000\r\n"),
        STR_INIT("ffffffffffffffff\r\n"),
        STR_INIT("0\r\n\n"),
        STR_INIT("0\r\n\rX"),
        STR_INIT("0\r\n X: y\r\n\r\n"),
        STR_INIT("0\r\n: y\r\n\r\n"),
        STR_INIT("0\r\nX : y\r\n\r\n"),
        STR_INIT("0\r\nX\r\n\r\n"),
        STR_INIT("0\r\nX: y\n\r\n"),
        STR_INIT("0\r\nX: y\r\n z\r\n\r\n"),
        STR_INIT("0\r\nX: \x7f\r\n\r\n"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t step = 1; step <= rows[i].n; step++) {
            BUF_CLEANUP struct buf out = BUF_INIT(4096);
            size_t used;
            bool done;
            enum err e = decode(rows[i], step, &out, &used, &done);
            if (e != ERR_BAD_REQUEST)
                test_fail(__FILE__, __LINE__, "row %zu, step %zu: %s", i, step, err_name(e));
        }
    }
}

static enum err decode_text(str in)
{
    BUF_CLEANUP struct buf out = BUF_INIT(64 * 1024);
    size_t used;
    bool done;
    return decode(in, in.n, &out, &used, &done);
}

static void bounds_lines_and_trailers(void)
{
    static char filler[1025];
    memset(filler, 'x', sizeof filler - 1);
    ARENA_CLEANUP struct arena a = {0};
    /* A line has 1024 bytes without its LF: "1;" and CR leave 1021. */
    CHECK_INT(decode_text(arena_printf(&a, "1;%.1021s\r\na\r\n0\r\n\r\n", filler)), OK);
    CHECK_INT(decode_text(arena_printf(&a, "1;%.1022s\r\na\r\n0\r\n\r\n", filler)),
              ERR_BAD_REQUEST);
    CHECK_INT(decode_text(arena_printf(&a, "0\r\nX:%.1021s\r\n\r\n", filler)), OK);
    CHECK_INT(decode_text(arena_printf(&a, "0\r\nX:%.1022s\r\n\r\n", filler)), ERR_BAD_REQUEST);

    str trailers = STR("0\r\n");
    for (int i = 0; i < 8; i++)
        trailers = arena_printf(&a, "%.*sX:%.1000s\r\n", STR_ARG(trailers), filler);
    CHECK_INT(decode_text(arena_printf(&a, "%.*s\r\n", STR_ARG(trailers))), OK);
    CHECK_INT(decode_text(arena_printf(&a, "%.*sX:%.1000s\r\n\r\n", STR_ARG(trailers), filler)),
              ERR_BAD_REQUEST);
    CHECK_INT(decode_text(arena_printf(&a, "%01000d1\r\na\r\n0\r\n\r\n", 0)), OK);
    CHECK_INT(decode_text(arena_printf(&a, "%01024d1\r\na\r\n0\r\n\r\n", 0)), ERR_BAD_REQUEST);
}

static void stops_at_the_end(void)
{
    struct h1_chunked c = {0};
    str in = STR("0\r\n\r\n0\r\n\r\n"), data;
    CHECK_INT(h1_chunked_next(&c, &in, &data), OK);
    CHECK(c.done);
    CHECK_INT(in.n, 5);
    CHECK_INT(h1_chunked_next(&c, &in, &data), OK);
    CHECK_INT(in.n, 5);
    CHECK_INT(data.n, 0);
}

TESTS({"decodes", decodes}, {"refuses", refuses},
      {"bounds lines and trailers", bounds_lines_and_trailers},
      {"stops at the end", stops_at_the_end});

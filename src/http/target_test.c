#include "base/test.h"
#include "http/chars.h"
#include "http/target.h"

static void accepts_authorities(void)
{
    static const char *const good[] = {"h",   "a.b-c_d:5000", "127.0.0.1",       "[::1]",
                                       "h:0", "[::1]:65535",  "[::ffff:1.2.3.4]"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CHECK(authority_valid(str_from(good[i])));
}

static void refuses_authorities(void)
{
    static const str bad[] = {
        STR_INIT(""),       STR_INIT(":"),         STR_INIT("h:"),      STR_INIT(":1"),
        STR_INIT("h:1:2"),  STR_INIT("h:123456"),  STR_INIT("h:-1"),    STR_INIT("h h"),
        STR_INIT("h/"),     STR_INIT("u@h"),       STR_INIT("[]"),      STR_INIT("[h]"),
        STR_INIT("[::1]:"), STR_INIT("[::1\0]"),   STR_INIT("[::1]]"),  STR_INIT("x[::1]"),
        STR_INIT("h%41"),   STR_INIT("h\xc3\xa9"), STR_INIT("[::1%1]"), STR_INIT("h:65536"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (authority_valid(bad[i]))
            test_fail(__FILE__, __LINE__, "accepted: %.*s", STR_ARG(bad[i]));
    static char name[257];
    memset(name, 'a', sizeof name);
    CHECK(authority_valid(str_make(name, 255)));
    CHECK(!authority_valid(str_make(name, 256)));
}

static void keeps_outputs_on_failure(void)
{
    struct target t = {.path = STR("kept")};
    const char *why = NULL;
    CHECK(!target_parse(STR("/a/../b"), &t, &why));
    CHECK_STR(t.path, "kept");
    CHECK_STR(str_from(why), "the path has a \".\" or \"..\" segment");
    CHECK(target_parse(STR("/a%2e?b"), &t, &why));
    CHECK_STR(t.path, "/a%2e");
    CHECK_STR(t.query, "b");
    CHECK(t.authority.p == NULL);
}

/* Word by word and byte by byte agree, wherever the byte stands. */
static void finds_control_bytes(void)
{
    char text[32];
    for (size_t n = 1; n < sizeof text; n++) {
        for (int c = 0; c < 256; c++) {
            bool control = (c < 0x20 && c != '\t') || c == 0x7f;
            for (size_t at = 0; at < n; at++) {
                memset(text, at % 2 ? 0x80 : ' ', sizeof text);
                text[at] = (char)c;
                CHECK_INT(str_text_length(str_make(text, n)), control ? at : n);
                text[at / 2] = at ? '\t' : (char)c;
                CHECK_INT(str_text_length(str_make(text, n)), control ? at : n);
            }
        }
    }
    CHECK_INT(str_text_length(STR("")), 0);
}

static void reads_escapes(void)
{
    CHECK_INT(char_escape(STR("%41x")), 'A');
    CHECK_INT(char_escape(STR("%fF")), 0xff);
    CHECK_INT(char_escape(STR("%00")), 0);
    CHECK_INT(char_escape(STR("%4")), -1);
    CHECK_INT(char_escape(STR("%4g")), -1);
    CHECK_INT(char_escape(STR("%@0")), -1);
    CHECK_INT(char_escape(STR("%\x10"
                              "0")),
              -1);
    CHECK_INT(char_escape(STR("41")), -1);
    CHECK_INT(char_escape(STR("")), -1);
}

TESTS({"accepts authorities", accepts_authorities}, {"refuses authorities", refuses_authorities},
      {"keeps outputs on failure", keeps_outputs_on_failure},
      {"finds control bytes", finds_control_bytes}, {"reads escapes", reads_escapes});

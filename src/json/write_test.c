#include "base/test.h"
#include "json/write.h"

static void nests(void)
{
    BUF_CLEANUP struct buf b = BUF_INIT(1000);
    struct json_writer w = {.out = &b};
    jw_object(&w);
    jw_field(&w, "name", STR("a"));
    jw_key(&w, "list");
    jw_array(&w);
    jw_int(&w, -1);
    jw_bool(&w, true);
    jw_null(&w);
    jw_object(&w);
    jw_end(&w);
    jw_raw(&w, STR("[1]"));
    jw_end(&w);
    jw_key(&w, "last");
    jw_int(&w, INT64_MIN);
    jw_end(&w);
    CHECK_STR(buf_str(&b),
              "{\"name\":\"a\",\"list\":[-1,true,null,{},[1]],\"last\":-9223372036854775808}");
}

static str written(struct buf *b, str s)
{
    struct json_writer w = {.out = b};
    buf_clear(b);
    jw_str(&w, s);
    return buf_str(b);
}

static void escapes(void)
{
    BUF_CLEANUP struct buf b = BUF_INIT(1000);
    CHECK_STR(written(&b, STR("a\"b\\c\n\t\x01")), "\"a\\\"b\\\\c\\n\\u0009\\u0001\"");
    CHECK_STR(written(&b, STR("\xc3\xa4\xf0\x9f\x98\x80")), "\"\xc3\xa4\xf0\x9f\x98\x80\"");
    CHECK_STR(written(&b, STR("\xc0\xaf")), "\"\\ufffd\\ufffd\"");
    CHECK_STR(written(&b, STR("\xed\xa0\x80")), "\"\\ufffd\\ufffd\\ufffd\"");
    CHECK_STR(written(&b, STR("\xf0\x9f\x98")), "\"\\ufffd\\ufffd\\ufffd\"");
}

static void stops_at_the_ceiling(void)
{
    BUF_CLEANUP struct buf b = BUF_INIT(10);
    struct json_writer w = {.out = &b};
    jw_array(&w);
    for (int i = 0; i < 100; i++)
        jw_str(&w, STR("abc"));
    jw_end(&w);
    CHECK(b.full);
    CHECK(b.n <= 10);
}

TESTS({"nests", nests}, {"escapes", escapes}, {"stops at the ceiling", stops_at_the_ceiling})

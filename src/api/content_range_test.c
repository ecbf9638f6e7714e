#include "api/content_range.h"
#include "base/test.h"

static void parses(void)
{
    uint64_t a = 9, b = 9;
    CHECK(content_range_parse(STR("0-0"), &a, &b) && a == 0 && b == 0);
    CHECK(content_range_parse(STR("100-299"), &a, &b) && a == 100 && b == 299);
    CHECK(content_range_parse(STR("bytes 5-7/100"), &a, &b) && a == 5 && b == 7);
    CHECK(content_range_parse(STR("bytes=5-7"), &a, &b) && a == 5 && b == 7);
}

static void refuses(void)
{
    uint64_t a, b;
    CHECK(!content_range_parse(STR(""), &a, &b));
    CHECK(!content_range_parse(STR("5"), &a, &b));
    CHECK(!content_range_parse(STR("-5"), &a, &b));
    CHECK(!content_range_parse(STR("5-"), &a, &b));
    CHECK(!content_range_parse(STR("a-b"), &a, &b));
    CHECK(!content_range_parse(STR("0-18446744073709551615"), &a, &b));
    CHECK(!content_range_parse(STR("0-9223372036854775807"), &a, &b));
    CHECK(!content_range_parse(STR("1 - 2"), &a, &b));
}

TESTS({"parses", parses}, {"refuses", refuses})

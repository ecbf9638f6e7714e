#include "base/str.h"
#include "base/test.h"

static void cuts(void)
{
    str head, tail;
    CHECK(str_cut(STR("a:b:c"), ':', &head, &tail));
    CHECK_STR(head, "a");
    CHECK_STR(tail, "b:c");
    CHECK(!str_cut(STR("abc"), ':', &head, &tail));
    CHECK_STR(head, "abc");
    CHECK_INT(tail.n, 0);
}

static void iterates(void)
{
    str rest = STR("a,,b"), part;
    CHECK(str_next(&rest, ',', &part));
    CHECK_STR(part, "a");
    CHECK(str_next(&rest, ',', &part));
    CHECK_STR(part, "");
    CHECK(str_next(&rest, ',', &part));
    CHECK_STR(part, "b");
    CHECK(!str_next(&rest, ',', &part));
    rest = STR("a,");
    CHECK(str_next(&rest, ',', &part));
    CHECK(str_next(&rest, ',', &part));
    CHECK_INT(part.n, 0);
    CHECK(!str_next(&rest, ',', &part));
}

static void numbers(void)
{
    uint64_t v = 5;
    CHECK(str_u64(STR("18446744073709551615"), &v));
    CHECK(v == UINT64_MAX);
    CHECK(!str_u64(STR("18446744073709551616"), &v));
    CHECK(!str_u64(STR(""), &v));
    CHECK(!str_u64(STR("-1"), &v));
    CHECK(!str_u64(STR("1 "), &v));
    CHECK(!str_u64(STR("0x1"), &v));
    CHECK(v == UINT64_MAX);
}

static void compares(void)
{
    CHECK(str_cmp(STR("a"), STR("ab")) < 0);
    CHECK(str_cmp(STR("b"), STR("ab")) > 0);
    CHECK_INT(str_cmp(STR("ab"), STR("ab")), 0);
    CHECK(str_cmp(STR("\xff"), STR("a")) > 0);
    CHECK(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
    CHECK(!str_eq_nocase(STR("a["), STR("A{")));
    CHECK(str_eq_secret(STR("abc"), STR("abc")));
    CHECK(!str_eq_secret(STR("abc"), STR("abd")));
    CHECK(!str_eq_secret(STR("abc"), STR("ab")));
    CHECK(str_starts(STR("abc"), STR("ab")) && !str_starts(STR("a"), STR("ab")));
    CHECK(str_ends(STR("abc"), STR("bc")) && !str_ends(STR("c"), STR("bc")));
    CHECK_STR(str_trim(STR(" \ta b\t ")), "a b");
}

static void distances(void)
{
    CHECK_INT(str_distance(STR("latest"), STR("latest"), 3), 0);
    CHECK_INT(str_distance(STR("latset"), STR("latest"), 3), 1);
    CHECK_INT(str_distance(STR("lates"), STR("latest"), 3), 1);
    CHECK_INT(str_distance(STR("v1.2"), STR("v1.3"), 3), 1);
    CHECK_INT(str_distance(STR("kitten"), STR("sitting"), 9), 3);
    CHECK_INT(str_distance(STR("abc"), STR("xyzuvw"), 2), 3);
}

TESTS({"cuts", cuts}, {"iterates", iterates}, {"numbers", numbers}, {"compares", compares},
      {"distances", distances})

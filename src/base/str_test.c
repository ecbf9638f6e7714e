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

/* The definition, without what makes it fast. */
static unsigned distance_of(str a, str b)
{
    unsigned d[16][16];
    for (unsigned i = 0; i <= a.n; i++)
        for (unsigned j = 0; j <= b.n; j++) {
            unsigned best = i + j;
            if (i && d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (j && d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i && j && d[i - 1][j - 1] + (a.p[i - 1] != b.p[j - 1]) < best)
                best = d[i - 1][j - 1] + (a.p[i - 1] != b.p[j - 1]);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[a.n][b.n];
}

static void distances_of_all_kinds(void)
{
    char a[15], b[15];
    uint32_t state = 1;
    for (int n = 0; n < 50000; n++) {
        for (size_t i = 0; i < sizeof a; i++) {
            state = state * 1664525 + 1013904223;
            a[i] = (char)('a' + (state >> 24) % 3);
            b[i] = (state >> 16) % 4 ? a[i] : (char)('a' + (state >> 28) % 3);
        }
        str left = str_make(a + (state >> 8) % 4, (state >> 10) % 12);
        str right = str_make(b + (state >> 12) % 4, (state >> 18) % 12);
        unsigned max = (state >> 22) % 7, want = distance_of(left, right);
        CHECK_INT(str_distance(left, right, max), want > max ? max + 1 : want);
    }
}

TESTS({"cuts", cuts}, {"iterates", iterates}, {"numbers", numbers}, {"compares", compares},
      {"distances", distances}, {"distances of all kinds", distances_of_all_kinds})

#include "base/test.h"
#include "http/range.h"

/* The verdict as text: "none", "416", or "first+n ..." */
static str verdict(struct arena *a, const char *header, uint64_t size, unsigned parts_max)
{
    struct range *ranges = NULL;
    size_t n = 0;
    switch (range_parse(a, str_from(header), size, parts_max, &ranges, &n)) {
    case RANGE_NONE:
        return STR("none");
    case RANGE_UNSATISFIABLE:
        return STR("416");
    case RANGE_SOME:
        break;
    }
    str s = {0};
    for (size_t i = 0; i < n; i++)
        s = arena_printf(a, "%.*s%s%llu+%llu", STR_ARG(s), i ? " " : "",
                         (unsigned long long)ranges[i].first, (unsigned long long)ranges[i].n);
    return s;
}

struct row {
    const char *header;
    uint64_t size;
    const char *want;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ARENA_CLEANUP struct arena a = {0};
        str got = verdict(&a, rows[i].header, rows[i].size, 4);
        if (!str_eq(got, str_from(rows[i].want)))
            test_fail(__FILE__, __LINE__, "%s of %llu: \"%.*s\", not \"%s\"", rows[i].header,
                      (unsigned long long)rows[i].size, STR_ARG(got), rows[i].want);
    }
}
#define CHECK_ROWS(rows) check(rows, sizeof(rows) / sizeof((rows)[0]))

static void takes_one(void)
{
    static const struct row rows[] = {
        {"bytes=0-0", 1000, "0+1"},
        {"bytes=0-999", 1000, "0+1000"},
        {"bytes=0-1000", 1000, "0+1000"},
        {"bytes=999-", 1000, "999+1"},
        {"bytes=0-", 1000, "0+1000"},
        {"bytes=5-9", 1000, "5+5"},
        {"bytes=-1", 1000, "999+1"},
        {"bytes=-1000", 1000, "0+1000"},
        {"bytes=-5000", 1000, "0+1000"},
        {"Bytes=1-2", 1000, "1+2"},
        {"bytes= 1-2\t", 1000, "1+2"},
        {"bytes=,1-2,, ", 1000, "1+2"},
        {"bytes=0-99999999999999999999", 1000, "0+1000"},
        {"bytes=-99999999999999999999", 1000, "0+1000"},
        {"bytes=1-18446744073709551615", 1000, "1+999"},
        {"bytes=0-18446744073709551615", UINT64_MAX, "0+18446744073709551615"},
    };
    CHECK_ROWS(rows);
}

static void cannot_satisfy(void)
{
    static const struct row rows[] = {
        {"bytes=1000-", 1000, "416"},
        {"bytes=1000-2000", 1000, "416"},
        {"bytes=500-0", 1000, "416"},
        {"bytes=-0", 1000, "416"},
        {"bytes=0-", 0, "416"},
        {"bytes=0-0", 0, "416"},
        {"bytes=-1", 0, "416"},
        {"bytes=99999999999999999999-", 1000, "416"},
        {"bytes=1000-1001,2000-2001", 1000, "416"},
    };
    CHECK_ROWS(rows);
}

static void ignores(void)
{
    static const struct row rows[] = {
        {"", 1000, "none"},
        {"bytes", 1000, "none"},
        {"bytes=", 1000, "none"},
        {"bytes=,", 1000, "none"},
        {"bytes=-", 1000, "none"},
        {"bytes=1", 1000, "none"},
        {"bytes=a-b", 1000, "none"},
        {"bytes=1-b", 1000, "none"},
        {"bytes=--1", 1000, "none"},
        {"bytes=-1-2", 1000, "none"},
        {"bytes=-1x", 1000, "none"},
        {"bytes=1-2-3", 1000, "none"},
        {"bytes=1 -2", 1000, "none"},
        {"bytes=1-2;3-4", 1000, "none"},
        {"bytes=+1-2", 1000, "none"},
        {"bytes =1-2", 1000, "none"},
        {"items=1-2", 1000, "none"},
        {"bytes 1-2", 1000, "none"},
        {"bytes=0-1,x", 1000, "none"},
    };
    CHECK_ROWS(rows);
}

static void takes_several(void)
{
    static const struct row rows[] = {
        {"bytes=0-0,-1", 1000, "0+1 999+1"},
        {"bytes=8-9, 0-1,\t4-5", 1000, "8+2 0+2 4+2"},
        {"bytes=0-1,2-3,4-5,6-7", 1000, "0+2 2+2 4+2 6+2"},
        {"bytes=0-1,1-2", 1000, "0+2 1+2"},
        {"bytes=0-1,5000-6000", 1000, "0+2"},
        {"bytes=0-499,500-999", 1000, "0+500 500+500"},
        /* Abuse and nonsense get the whole content. */
        {"bytes=0-1,2-3,4-5,6-7,8-9", 1000, "none"},
        {"bytes=0-,0-", 1000, "none"},
        {"bytes=0-499,499-999", 1000, "none"},
        {"bytes=0-1,5-4", 1000, "none"},
        {"bytes=5000-,5001-,5002-,5003-,5004-", 1000, "none"},
    };
    CHECK_ROWS(rows);
}

static void takes_1024_parts(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str header = STR("bytes=0-0");
    for (int i = 1; i < 1024; i++)
        header = arena_printf(&a, "%.*s,%d-%d", STR_ARG(header), 10 * i, 10 * i);
    struct range *ranges = NULL;
    size_t n = 0;
    CHECK_INT(range_parse(&a, header, 10240, 1024, &ranges, &n), RANGE_SOME);
    CHECK_INT(n, 1024);
    CHECK(ranges && ranges[1023].first == 10230 && ranges[1023].n == 1);
    CHECK_INT(range_parse(&a, header, 10240, 1023, &ranges, &n), RANGE_NONE);
}

static void serves_none_when_off(void)
{
    ARENA_CLEANUP struct arena a = {0};
    CHECK_STR(verdict(&a, "bytes=0-1", 1000, 0), "none");
}

TESTS({"takes one", takes_one}, {"cannot satisfy", cannot_satisfy}, {"ignores", ignores},
      {"takes several", takes_several}, {"takes 1024 parts", takes_1024_parts},
      {"serves none when off", serves_none_when_off});

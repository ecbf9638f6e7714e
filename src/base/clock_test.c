#include "base/clock.h"
#include "base/test.h"

static void formats(void)
{
    char out[CLOCK_RFC3339_LEN], http[CLOCK_HTTP_LEN];
    CHECK_STR(clock_rfc3339(784111777000042, out), "1994-11-06T08:49:37.000042Z");
    CHECK_STR(clock_http_date(784111777000042, http), "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK_STR(clock_http_date(0, http), "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK_STR(clock_http_date(INT64_MAX, http), "Fri, 31 Dec 9999 23:59:59 GMT");
}

static int64_t parsed(const char *text)
{
    int64_t us;
    return clock_rfc3339_parse(str_from(text), &us) ? us : -1;
}

static void parses(void)
{
    CHECK_INT(parsed("1994-11-06T08:49:37.000042Z"), 784111777000042);
    CHECK_INT(parsed("1994-11-06T08:49:37Z"), 784111777000000);
    CHECK_INT(parsed("1994-11-06t08:49:37.5z"), 784111777500000);
    CHECK_INT(parsed("1994-11-06 08:49:37.0000429999Z"), 784111777000042);
    CHECK_INT(parsed("1994-11-06T10:19:37+01:30"), 784111777000000);
    CHECK_INT(parsed("1994-11-05T23:49:37-09:00"), 784111777000000);
    CHECK_INT(parsed("1994-11-06"), 784080000000000);
    CHECK_INT(parsed("1970-01-01"), 0);
    CHECK_INT(parsed("1970-01-01T01:00:00+01:00"), 0);
    CHECK_INT(parsed("9999-12-31T23:59:59.999999Z"), 253402300799999999);
    CHECK_INT(parsed("2024-02-29"), 1709164800000000);
    CHECK_INT(parsed("2016-12-31T23:59:60Z"), parsed("2017-01-01"));
}

static void refuses(void)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-1-31",
        "2026-02-29",
        "1900-02-29",
        "2026-00-01",
        "2026-13-01",
        "2026-01-00",
        "2026-01-31T",
        "2026-01-31Z",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00+0100",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+01:60",
        "2026-01-31T12:00:00Z ",
        "2026-01-31T12:00:00ZZ",
        " 2026-01-31",
        "+026-01-31",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "1969-12-31",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parsed(bad[i]) != -1)
            test_fail(__FILE__, __LINE__, "\"%s\" was accepted", bad[i]);
    int64_t us;
    CHECK(!clock_rfc3339_parse(str_make("2026-01-31\0", 11), &us));
    CHECK(!clock_rfc3339_parse(str_make("2026-01-31T12:00:00Z", 19), &us));
}

static void goes_forward(void)
{
    uint64_t before = clock_mono_us();
    CHECK(clock_mono_us() >= before);
    CHECK(clock_wall_us() > 1600000000000000);
    int64_t before_us = clock_wall_us(), s = clock_wall_s();
    CHECK(s >= before_us / 1000000 - 1 && s <= clock_wall_us() / 1000000);
}

static void draws(void)
{
    unsigned char a[32] = {0}, b[32] = {0};
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

TESTS({"formats", formats}, {"parses", parses}, {"refuses", refuses},
      {"goes forward", goes_forward}, {"draws", draws})

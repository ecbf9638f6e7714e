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

static void goes_forward(void)
{
    uint64_t before = clock_mono_us();
    CHECK(clock_mono_us() >= before);
    CHECK(clock_wall_us() > 1600000000000000);
}

static void draws(void)
{
    unsigned char a[32] = {0}, b[32] = {0};
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

TESTS({"formats", formats}, {"goes forward", goes_forward}, {"draws", draws})

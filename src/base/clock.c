#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static int64_t clock_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

uint64_t clock_mono_ms(void)
{
    return (uint64_t)clock_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_mono_us(void)
{
    return (uint64_t)clock_us(CLOCK_MONOTONIC);
}

static void put_digits(char *out, unsigned n, unsigned v)
{
    while (n--) {
        out[n] = (char)('0' + v % 10);
        v /= 10;
    }
}

static struct tm split(int64_t wall_us)
{
    /* Years past 9999 have no place in either text form. */
    time_t t = (time_t)(wall_us / 1000000);
    if (t < 0)
        t = 0;
    if (t > 253402300799)
        t = 253402300799;
    struct tm tm;
    gmtime_r(&t, &tm);
    return tm;
}

str clock_rfc3339(int64_t wall_us, char out[CLOCK_RFC3339_LEN])
{
    struct tm tm = split(wall_us);
    memcpy(out, "0000-00-00T00:00:00.000000Z", CLOCK_RFC3339_LEN);
    put_digits(out, 4, (unsigned)tm.tm_year + 1900);
    put_digits(out + 5, 2, (unsigned)tm.tm_mon + 1);
    put_digits(out + 8, 2, (unsigned)tm.tm_mday);
    put_digits(out + 11, 2, (unsigned)tm.tm_hour);
    put_digits(out + 14, 2, (unsigned)tm.tm_min);
    put_digits(out + 17, 2, (unsigned)tm.tm_sec);
    put_digits(out + 20, 6, (unsigned)(wall_us < 0 ? 0 : wall_us % 1000000));
    return str_make(out, CLOCK_RFC3339_LEN);
}

str clock_http_date(int64_t wall_us, char out[CLOCK_HTTP_LEN])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = split(wall_us);
    memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", CLOCK_HTTP_LEN);
    memcpy(out, days + (ptrdiff_t)tm.tm_wday * 3, 3);
    put_digits(out + 5, 2, (unsigned)tm.tm_mday);
    memcpy(out + 8, months + (ptrdiff_t)tm.tm_mon * 3, 3);
    put_digits(out + 12, 4, (unsigned)tm.tm_year + 1900);
    put_digits(out + 17, 2, (unsigned)tm.tm_hour);
    put_digits(out + 20, 2, (unsigned)tm.tm_min);
    put_digits(out + 23, 2, (unsigned)tm.tm_sec);
    return str_make(out, CLOCK_HTTP_LEN);
}

void random_bytes(void *out, size_t n)
{
    char *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        p += got;
        n -= (size_t)got;
    }
}

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define SECONDS_MAX INT64_C(253402300799) /* the last of the year 9999 */

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

int64_t clock_wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return t.tv_sec;
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
    if (t > SECONDS_MAX)
        t = SECONDS_MAX;
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

/* Takes n digits off the front. */
static bool take_digits(str *s, size_t n, int *ret)
{
    int v = 0;
    if (s->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        v = v * 10 + (s->p[i] - '0');
    }
    *s = str_skip(*s, n);
    *ret = v;
    return true;
}

/* Takes one of the bytes in `set` off the front. */
static bool take_one_of(str *s, const char *set)
{
    if (s->n == 0 || !s->p[0] || !strchr(set, s->p[0]))
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool take_date(str *s, struct tm *tm)
{
    int year, month, day;
    if (!take_digits(s, 4, &year) || !take_one_of(s, "-") || !take_digits(s, 2, &month) ||
        !take_one_of(s, "-") || !take_digits(s, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    *tm = (struct tm){.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    return true;
}

static bool take_time(str *s, struct tm *tm, int *micros)
{
    if (!take_digits(s, 2, &tm->tm_hour) || !take_one_of(s, ":") ||
        !take_digits(s, 2, &tm->tm_min) || !take_one_of(s, ":") || !take_digits(s, 2, &tm->tm_sec))
        return false;
    if (tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 60)
        return false;
    *micros = 0;
    if (!take_one_of(s, "."))
        return true;
    int digit;
    for (int weight = 100000; take_digits(s, 1, &digit); weight /= 10)
        *micros += digit * weight;
    return s->p[-1] != '.';
}

static bool take_offset(str *s, int *seconds)
{
    *seconds = 0;
    if (take_one_of(s, "Zz"))
        return true;
    bool west = s->n > 0 && s->p[0] == '-';
    int hours, minutes;
    if (!take_one_of(s, "+-") || !take_digits(s, 2, &hours) || !take_one_of(s, ":") ||
        !take_digits(s, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *seconds = (west ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_rfc3339_parse(str s, int64_t *ret_wall_us)
{
    struct tm tm;
    int micros = 0, offset = 0;
    if (!take_date(&s, &tm))
        return false;
    if (s.n > 0 && !(take_one_of(&s, "Tt ") && take_time(&s, &tm, &micros) &&
                     take_offset(&s, &offset) && s.n == 0))
        return false;
    int64_t seconds = (int64_t)timegm(&tm) - offset;
    if (seconds < 0 || seconds > SECONDS_MAX)
        return false;
    *ret_wall_us = seconds * 1000000 + micros;
    return true;
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

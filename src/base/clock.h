/* Time and randomness. Any thread. */
#pragma once

#include "base/str.h"

#include <time.h>

/* Microseconds since 1970, UTC. What is stored and shown. */
int64_t clock_wall_us(void);
/* Seconds of the same, up to some milliseconds late; costs less. */
int64_t clock_wall_s(void);
/* Milliseconds of the monotonic clock. What timeouts are measured with. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);

enum { CLOCK_RFC3339_LEN = 27, CLOCK_HTTP_LEN = 29 };

/* "2026-01-31T12:34:56.123456Z"; writes 27 bytes and no NUL. */
str clock_rfc3339(int64_t wall_us, char out[CLOCK_RFC3339_LEN]);
/* RFC 3339 5.6: a date and time with any number of decimals (cut to microseconds) and "Z" or an
 * offset, where 't', 'z' and a blank for the 'T' will do too; or a date alone, which is its first
 * moment in UTC. Years 1970 to 9999; a leap second counts as the second after it. Pure. */
NODISCARD bool clock_rfc3339_parse(str s, int64_t *ret_wall_us);
/* "Sat, 31 Jan 2026 12:34:56 GMT" (RFC 9110 5.6.7); writes 29 bytes and no NUL. */
str clock_http_date(int64_t wall_us, char out[CLOCK_HTTP_LEN]);

/* Fills with bytes from the kernel; aborts when it has none. */
void random_bytes(void *out, size_t n);

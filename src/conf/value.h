/* Numbers with units, as people write them in the configuration. Pure; any thread.
 *
 * A value is decimal digits followed directly by one unit; zero may go without. Nothing passes
 * INT64_MAX, so every value also fits off_t and signed arithmetic. */
#pragma once

#include "base/err.h"

/* Each returns ERR_SYNTAX when the text is not of its form and ERR_LIMIT past INT64_MAX. */

/* "1000" */
NODISCARD enum err count_parse(str s, uint64_t *ret);
/* Bytes: "512B", "64KiB", "4MiB", "1GiB", "2TiB". */
NODISCARD enum err size_parse(str s, uint64_t *ret);
/* Milliseconds: "500ms", "10s", "5m", "24h", "7d". */
NODISCARD enum err duration_parse(str s, uint64_t *ret_ms);

enum { VALUE_TEXT_MAX = 32 };

/* The shortest text that parses to the same value: 65536 is "64KiB". Not NUL-terminated; the
 * slice points into `out` or to static text. */
str count_format(uint64_t v, char out[VALUE_TEXT_MAX]);
str size_format(uint64_t v, char out[VALUE_TEXT_MAX]);
str duration_format(uint64_t ms, char out[VALUE_TEXT_MAX]);

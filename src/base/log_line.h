/* One line of the log. Private to log*.c. Any thread. */
#pragma once

#include "base/log.h"

enum { LOG_LINE_MAX = 8192 };

/* The event as a line with its end, in `out`; a field that does not fit is left out whole. */
str log_line(enum log_format format, enum log_level level, const char *event,
             const struct log_field *fields, size_t n, char out[LOG_LINE_MAX]);

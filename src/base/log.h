/* Log: one line per event, as logfmt or JSON, to standard error.
 *
 * A line is built on the caller's stack. Once log_thread_start was called it is handed to a writer
 * thread through a bounded buffer, so that no caller ever waits for a slow reader of the log; lines
 * that do not fit are dropped, and how many is logged when there is room again. Fields are typed;
 * values are escaped here and nowhere else. The sink (format, level, descriptor) is process-wide
 * and set once before threads start. Who logs: api/, cli/ and background loops. Parsers and library
 * code return errors instead.
 *
 *     LOG(INFO, "listening", log_str("address", a), log_int("reactors", n));
 */
#pragma once

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
    const char *key;
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_ERR } type;
    str s;
    int64_t i;
};

static inline struct log_field log_str(const char *key, str s)
{
    return (struct log_field){.key = key, .type = LOG_FIELD_STR, .s = s};
}
static inline struct log_field log_cstr(const char *key, const char *z)
{
    return (struct log_field){.key = key, .type = LOG_FIELD_STR, .s = str_from(z)};
}
static inline struct log_field log_int(const char *key, int64_t i)
{
    return (struct log_field){.key = key, .type = LOG_FIELD_INT, .i = i};
}
static inline struct log_field log_err(enum err e)
{
    return (struct log_field){.key = "error", .type = LOG_FIELD_ERR, .i = e};
}

/* Sets the sink. Call before other threads exist. */
void log_init(int fd, enum log_format format, enum log_level least);
/* Any thread, at any time. */
void log_set_level(enum log_level least);
bool log_enabled(enum log_level level);

/* From now on a thread writes the lines. The caller has blocked the signals it wants for itself. */
NODISCARD enum err log_thread_start(void);
/* Writes what is left, ends the thread; later lines are written directly again. What nobody reads
 * within a second is lost. */
void log_thread_stop(void);

/* Writes one event. Fields with an empty string are left out. Longer than 8 KiB: cut. */
void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n);

#define LOG(level, event, ...)                                     \
    do {                                                           \
        if (log_enabled(LOG_##level)) {                            \
            struct log_field log_fields_[] = {__VA_ARGS__};        \
            log_event(LOG_##level, event, log_fields_,             \
                      sizeof log_fields_ / sizeof log_fields_[0]); \
        }                                                          \
    } while (0)

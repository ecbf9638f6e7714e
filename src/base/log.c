#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdlib.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 8192 };

static struct {
    int fd;
    enum log_format format;
    enum log_level least;
} sink = {.fd = STDERR_FILENO, .format = LOG_LOGFMT, .least = LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(int fd, enum log_format format, enum log_level least)
{
    sink.fd = fd;
    sink.format = format;
    sink.least = least;
}

bool log_enabled(enum log_level level)
{
    return level >= sink.least;
}

static bool needs_quotes(str s)
{
    if (s.n == 0)
        return true;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return true;
    }
    return false;
}

/* Both formats share one escaping. Bytes outside ASCII are written as \u00XX, so a line is plain
 * ASCII and no input can forge another line, another field or terminal sequences. */
static void put_quoted(struct buf *line, str s)
{
    buf_byte(line, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            buf_byte(line, '\\');
            buf_byte(line, (char)c);
        } else if (c < ' ' || c >= 0x7f) {
            static const char digits[] = "0123456789abcdef";
            char escaped[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
            buf_add(line, str_make(escaped, sizeof escaped));
        } else {
            buf_byte(line, (char)c);
        }
    }
    buf_byte(line, '"');
}

static void put_field(struct buf *line, bool first, str key, str value, bool is_number)
{
    bool json = sink.format == LOG_JSON;
    if (!first)
        buf_byte(line, json ? ',' : ' ');
    if (json) {
        put_quoted(line, key);
        buf_byte(line, ':');
    } else {
        buf_add(line, key);
        buf_byte(line, '=');
    }
    if (is_number || (!json && !needs_quotes(value)))
        buf_add(line, value);
    else
        put_quoted(line, value);
}

static str int_text(int64_t v, char out[24])
{
    struct buf b = {.p = out, .cap = 24, .limit = 24};
    if (v < 0)
        buf_byte(&b, '-');
    buf_u64(&b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    return buf_str(&b);
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    char bytes[LINE_MAX_BYTES + 2];
    struct buf line = {.p = bytes, .cap = LINE_MAX_BYTES, .limit = LINE_MAX_BYTES};
    char stamp[CLOCK_RFC3339_LEN], digits[24];

    if (sink.format == LOG_JSON)
        buf_byte(&line, '{');
    put_field(&line, true, STR("time"), clock_rfc3339(clock_wall_us(), stamp), false);
    put_field(&line, false, STR("level"), str_from(level_names[level]), false);
    put_field(&line, false, STR("event"), str_from(event), false);
    for (size_t i = 0; i < n; i++) {
        const struct log_field *f = &fields[i];
        size_t before = line.n;
        if (f->type == LOG_FIELD_INT)
            put_field(&line, false, str_from(f->key), int_text(f->i, digits), true);
        else if (f->type == LOG_FIELD_ERR)
            put_field(&line, false, str_from(f->key), str_from(err_name((enum err)f->i)), false);
        else if (f->s.n)
            put_field(&line, false, str_from(f->key), f->s, false);
        if (line.full) { /* leave the field out whole: half a field would not parse */
            line.n = before;
            line.full = false;
        }
    }
    /* Room for these two is reserved behind LINE_MAX_BYTES. */
    if (sink.format == LOG_JSON)
        bytes[line.n++] = '}';
    bytes[line.n++] = '\n';
    ssize_t written = write(sink.fd, bytes, line.n);
    (void)written; /* there is nowhere to report that the log itself failed */
}

#include "json/write.h"

#include <stdlib.h>

enum { DEPTH_MAX = 63 };

static void separate(struct json_writer *w)
{
    if (w->comma && !w->after_key)
        buf_byte(w->out, ',');
    w->comma = true;
    w->after_key = false;
}

static void open(struct json_writer *w, bool is_array)
{
    separate(w);
    if (++w->depth > DEPTH_MAX)
        abort();
    uint64_t bit = (uint64_t)1 << w->depth;
    w->is_array = is_array ? w->is_array | bit : w->is_array & ~bit;
    w->comma = false;
    buf_byte(w->out, is_array ? '[' : '{');
}

void jw_object(struct json_writer *w)
{
    open(w, false);
}

void jw_array(struct json_writer *w)
{
    open(w, true);
}

void jw_end(struct json_writer *w)
{
    bool is_array = w->is_array >> w->depth & 1;
    buf_byte(w->out, is_array ? ']' : '}');
    w->depth--;
    w->comma = true;
}

/* Length of the well-formed UTF-8 sequence at the start of s, 0 when there is none. */
static size_t utf8_length(str s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : 4;
    if (n == 1)
        return 1;
    if (c < 0xc2 || c > 0xf4 || s.n < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s.p[i] & 0xc0) != 0x80)
            return 0;
    }
    unsigned char d = (unsigned char)s.p[1];
    bool overlong = (c == 0xe0 && d < 0xa0) || (c == 0xf0 && d < 0x90);
    bool surrogate = c == 0xed && d > 0x9f;
    bool too_high = c == 0xf4 && d > 0x8f;
    return overlong || surrogate || too_high ? 0 : n;
}

static void put_string(struct buf *out, str s)
{
    buf_byte(out, '"');
    while (s.n) {
        unsigned char c = (unsigned char)s.p[0];
        size_t n = utf8_length(s);
        if (n == 0) {
            buf_add(out, STR("\\ufffd"));
            n = 1;
        } else if (c == '"' || c == '\\') {
            buf_byte(out, '\\');
            buf_byte(out, (char)c);
        } else if (c == '\n') {
            buf_add(out, STR("\\n"));
        } else if (c < ' ') {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_add(out, str_first(s, n));
        }
        s = str_skip(s, n);
    }
    buf_byte(out, '"');
}

void jw_key_str(struct json_writer *w, str key)
{
    separate(w);
    put_string(w->out, key);
    buf_byte(w->out, ':');
    w->after_key = true;
}

void jw_key(struct json_writer *w, const char *key)
{
    jw_key_str(w, str_from(key));
}

void jw_str(struct json_writer *w, str s)
{
    separate(w);
    put_string(w->out, s);
}

void jw_int(struct json_writer *w, int64_t v)
{
    separate(w);
    if (v < 0)
        buf_byte(w->out, '-');
    buf_u64(w->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void jw_bool(struct json_writer *w, bool v)
{
    separate(w);
    buf_add(w->out, v ? STR("true") : STR("false"));
}

void jw_null(struct json_writer *w)
{
    separate(w);
    buf_add(w->out, STR("null"));
}

void jw_raw(struct json_writer *w, str text)
{
    separate(w);
    buf_add(w->out, text);
}

void jw_field(struct json_writer *w, const char *key, str value)
{
    jw_key(w, key);
    jw_str(w, value);
}

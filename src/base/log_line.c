#include "base/log_line.h"

#include "base/clock.h"

/* How a byte stands in quotes: as it is, behind a backslash, or as \u00XX, so that a line is plain
 * ASCII and no input can forge another line, another field or terminal sequences. Both formats
 * share this; logfmt has values without quotes, too, in which only PLAIN may stand. */
enum byte_class { PLAIN, QUOTED, BACKSLASH, ESCAPED };

static const uint8_t classes[256] = {
    [0 ... ' ' - 1] = ESCAPED, [' '] = QUOTED,     ['='] = QUOTED,
    ['"'] = BACKSLASH,         ['\\'] = BACKSLASH, [0x7f ... 0xff] = ESCAPED,
};
static const uint8_t lengths[] = {[PLAIN] = 1, [QUOTED] = 1, [BACKSLASH] = 2, [ESCAPED] = 6};

/* The line as it grows. What is put fits: see put_field. */
struct line {
    char *at, *end;
    bool json, begun;
};

static void put(struct line *l, str s)
{
    memcpy(l->at, s.p, s.n);
    l->at += s.n;
}

static void put_quoted(struct line *l, str s)
{
    static const char digits[] = "0123456789abcdef";
    *l->at++ = '"';
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (classes[c] == ESCAPED) {
            put(l, STR("\\u00"));
            *l->at++ = digits[c >> 4];
            *l->at++ = digits[c & 15];
        } else {
            if (classes[c] == BACKSLASH)
                *l->at++ = '\\';
            *l->at++ = (char)c;
        }
    }
    *l->at++ = '"';
}

/* Keys are words of ours, plain. */
static void put_field(struct line *l, str key, str value, bool is_number)
{
    size_t length = 0;
    bool plain = value.n > 0;
    for (size_t i = 0; i < value.n; i++) {
        uint8_t class = classes[(uint8_t)value.p[i]];
        plain &= class == PLAIN;
        length += lengths[class];
    }
    /* Separator, quotes around key and value, colon: at most six. */
    if (key.n + length + 6 > (size_t)(l->end - l->at))
        return;
    if (l->begun)
        *l->at++ = l->json ? ',' : ' ';
    l->begun = true;
    if (l->json)
        *l->at++ = '"';
    put(l, key);
    if (l->json)
        *l->at++ = '"';
    *l->at++ = l->json ? ':' : '=';
    if (is_number || (plain && !l->json))
        put(l, value);
    else
        put_quoted(l, value);
}

static void put_int(struct line *l, str key, int64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0)
        digits[--at] = '-';
    put_field(l, key, str_make(digits + at, sizeof digits - at), true);
}

/* The date is worked out once a second. */
static str stamp(void)
{
    static _Thread_local int64_t second = -1;
    static _Thread_local char text[CLOCK_RFC3339_LEN];
    enum { MICROSECONDS_AT = CLOCK_RFC3339_LEN - 7 };
    int64_t now_us = clock_wall_us();
    if (now_us / 1000000 != second) {
        clock_rfc3339(now_us, text);
        second = now_us / 1000000;
    } else {
        unsigned us = (unsigned)(now_us % 1000000);
        for (size_t i = MICROSECONDS_AT + 6; i-- > MICROSECONDS_AT; us /= 10)
            text[i] = (char)('0' + us % 10);
    }
    return str_make(text, sizeof text);
}

str log_line(enum log_format format, enum log_level level, const char *event,
             const struct log_field *fields, size_t n, char out[LOG_LINE_MAX])
{
    static const char *const level_names[] = {"debug", "info", "warn", "error"};
    /* Room for the end is kept. */
    struct line l = {.at = out, .end = out + LOG_LINE_MAX - 2, .json = format == LOG_JSON};
    if (l.json)
        *l.at++ = '{';
    put_field(&l, STR("time"), stamp(), false);
    put_field(&l, STR("level"), str_from(level_names[level]), false);
    put_field(&l, STR("event"), str_from(event), false);
    for (size_t i = 0; i < n; i++) {
        const struct log_field *f = &fields[i];
        if (f->type == LOG_FIELD_INT)
            put_int(&l, str_from(f->key), f->i);
        else if (f->type == LOG_FIELD_ERR)
            put_field(&l, str_from(f->key), str_from(err_name((enum err)f->i)), false);
        else if (f->s.n)
            put_field(&l, str_from(f->key), f->s, false);
    }
    if (l.json)
        *l.at++ = '}';
    *l.at++ = '\n';
    return str_make(out, (size_t)(l.at - out));
}

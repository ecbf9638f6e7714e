/* Character classes of HTTP and URI syntax (RFC 9110 5.6.2, RFC 3986 appendix A). Pure. */
#pragma once

#include "base/str.h"

enum char_class {
    CHAR_TOKEN = 1, /* tchar */
    CHAR_PATH = 2,  /* pchar without '%', and '/' */
    CHAR_QUERY = 4, /* query; also '[' and ']', which RFC 3986 reserves but browsers send bare */
    CHAR_HOST = 8,  /* letters, digits, '-', '.', '_' */
};

extern const uint8_t char_classes[256];

static inline bool char_is(char c, enum char_class class)
{
    return char_classes[(uint8_t)c] & class;
}

/* All bytes are of the class, and there is at least one. */
bool str_is(str s, enum char_class class);

/* Value of a hexadecimal digit, -1 for another byte. */
static inline int char_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte written as %XX at the start of `s`, -1 when there is no well-formed escape. */
static inline int char_escape(str s)
{
    if (s.n < 3 || s.p[0] != '%')
        return -1;
    int high = char_hex(s.p[1]), low = char_hex(s.p[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Length of the longest prefix without control bytes other than HTAB: what may stand in a field
 * value (RFC 9110 5.5). */
size_t str_text_length(str s);

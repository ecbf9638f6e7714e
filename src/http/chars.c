#include "http/chars.h"

#include <endian.h>

enum {
    T = CHAR_TOKEN,
    P = CHAR_PATH,
    Q = CHAR_QUERY,
    H = CHAR_HOST,
};

const uint8_t char_classes[256] = {
    ['A' ... 'Z'] = T | P | Q | H,
    ['a' ... 'z'] = T | P | Q | H,
    ['0' ... '9'] = T | P | Q | H,
    ['-'] = T | P | Q | H,
    ['.'] = T | P | Q | H,
    ['_'] = T | P | Q | H,
    ['!'] = T | P | Q,
    ['$'] = T | P | Q,
    ['&'] = T | P | Q,
    ['\''] = T | P | Q,
    ['*'] = T | P | Q,
    ['+'] = T | P | Q,
    ['~'] = T | P | Q,
    ['('] = P | Q,
    [')'] = P | Q,
    [','] = P | Q,
    ['/'] = P | Q,
    [':'] = P | Q,
    [';'] = P | Q,
    ['='] = P | Q,
    ['@'] = P | Q,
    ['%'] = T | Q,
    ['?'] = Q,
    ['['] = Q,
    [']'] = Q,
    ['#'] = T,
    ['^'] = T,
    ['`'] = T,
    ['|'] = T,
};

bool str_is(str s, enum char_class class)
{
    for (size_t i = 0; i < s.n; i++)
        if (!char_is(s.p[i], class))
            return false;
    return s.n > 0;
}

/* Whether, and where, one of the eight bytes is below 0x20 or is 0x7f: the lowest bit that is set
 * is the highest of such a byte. Borrows may blame bytes above it, too. */
static uint64_t word_controls(uint64_t x)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    uint64_t del = x ^ ones * 0x7f;
    return (((x - ones * 0x20) & ~x) | ((del - ones) & ~del)) & high;
}

size_t str_text_length(str s)
{
    size_t i = 0;
    while (i < s.n) {
        uint64_t word;
        if (s.n - i >= sizeof word) {
            memcpy(&word, s.p + i, sizeof word);
            uint64_t controls = word_controls(le64toh(word));
            if (!controls) {
                i += sizeof word;
                continue;
            }
            i += (unsigned)__builtin_ctzll(controls) / 8;
        }
        uint8_t c = (uint8_t)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return i;
        i++;
    }
    return s.n;
}

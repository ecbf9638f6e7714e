#include "base/hex.h"

#include "base/clock.h"

static const char hex_digits[] = "0123456789abcdef";

void hex_encode(char *out, const void *bytes, size_t n)
{
    const uint8_t *in = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex_digits[in[i] >> 4];
        out[2 * i + 1] = hex_digits[in[i] & 15];
    }
}

static int hex_value(char c, bool strict_lower)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (!strict_lower && c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(str s, bool strict_lower, void *out, size_t n)
{
    uint8_t *bytes = out;
    if (s.n != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(s.p[2 * i], strict_lower);
        int low = hex_value(s.p[2 * i + 1], strict_lower);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static str encode(struct arena *a, str bytes, const char *digits, bool padded)
{
    const uint8_t *in = (const uint8_t *)bytes.p;
    char *out = arena_alloc(a, (bytes.n + 2) / 3 * 4 + 1);
    size_t n = 0;
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t left = bytes.n - i;
        uint32_t v = (uint32_t)in[i] << 16;
        v |= left > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        v |= left > 2 ? in[i + 2] : 0;
        out[n++] = digits[v >> 18];
        out[n++] = digits[v >> 12 & 63];
        if (left > 1)
            out[n++] = digits[v >> 6 & 63];
        else if (padded)
            out[n++] = '=';
        if (left > 2)
            out[n++] = digits[v & 63];
        else if (padded)
            out[n++] = '=';
    }
    return str_make(out, n);
}

static int digit_value(char c, const char *digits)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == digits[62])
        return 62;
    return c == digits[63] ? 63 : -1;
}

/* `text` without padding. */
static bool decode(struct arena *a, str text, const char *digits, str *ret)
{
    if (text.n % 4 == 1)
        return false;
    uint8_t *out = arena_alloc(a, text.n / 4 * 3 + 3);
    size_t n = 0;
    uint32_t v = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < text.n; i++) {
        int digit = digit_value(text.p[i], digits);
        if (digit < 0)
            return false;
        v = v << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (uint8_t)(v >> bits);
            v &= (1u << bits) - 1;
        }
    }
    if (v != 0) /* unused bits must be zero, or one value has many texts */
        return false;
    *ret = str_make(out, n);
    return true;
}

str base64_encode(struct arena *a, str bytes)
{
    return encode(a, bytes, base64_digits, true);
}

str base64url_encode(struct arena *a, str bytes)
{
    return encode(a, bytes, base64url_digits, false);
}

bool base64_decode(struct arena *a, str text, str *ret)
{
    if (text.n % 4)
        return false;
    for (int i = 0; i < 2 && text.n && text.p[text.n - 1] == '='; i++)
        text.n--;
    return decode(a, text, base64_digits, ret);
}

bool base64url_decode(struct arena *a, str text, str *ret)
{
    return decode(a, text, base64url_digits, ret);
}

void uuid_new(uint8_t out[16])
{
    random_bytes(out, 16);
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40); /* version 4 */
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80); /* RFC 9562 variant */
}

/* Byte counts of the groups between the dashes. */
static const unsigned uuid_groups[] = {4, 2, 2, 2, 6};

str uuid_format(const uint8_t id[16], char out[UUID_LEN])
{
    char *p = out;
    for (size_t g = 0; g < 5; g++) {
        if (g)
            *p++ = '-';
        hex_encode(p, id, uuid_groups[g]);
        p += 2 * uuid_groups[g];
        id += uuid_groups[g];
    }
    return str_make(out, UUID_LEN);
}

bool uuid_parse(str s, uint8_t out[16])
{
    uint8_t id[16];
    size_t at = 0;
    if (s.n != UUID_LEN)
        return false;
    for (size_t g = 0; g < 5; g++) {
        size_t digits = 2 * uuid_groups[g];
        if (g && s.p[0] != '-')
            return false;
        s = str_skip(s, g ? 1 : 0);
        if (!hex_decode(str_first(s, digits), true, id + at, uuid_groups[g]))
            return false;
        at += uuid_groups[g];
        s = str_skip(s, digits);
    }
    memcpy(out, id, sizeof id);
    return true;
}

/* Hexadecimal, base64 and UUID text. Pure; any thread. */
#pragma once

#include "base/arena.h"

/* Writes 2 * n lower-case digits. */
void hex_encode(char *out, const void *bytes, size_t n);
/* Lower-case only when `strict_lower`. False unless s is exactly 2 * n digits. */
NODISCARD bool hex_decode(str s, bool strict_lower, void *out, size_t n);

/* RFC 4648 section 4, with padding. */
str base64_encode(struct arena *a, str bytes);
/* RFC 4648 section 5, without padding. */
str base64url_encode(struct arena *a, str bytes);
/* Strict: canonical padding required, no white space. */
NODISCARD bool base64_decode(struct arena *a, str text, str *ret);
/* Strict: no padding, no white space, unused bits zero. */
NODISCARD bool base64url_decode(struct arena *a, str text, str *ret);

enum { UUID_LEN = 36 };
/* Random (version 4) UUID bytes. */
void uuid_new(uint8_t out[16]);
/* Lower-case 8-4-4-4-12 text, no NUL. */
str uuid_format(const uint8_t id[16], char out[UUID_LEN]);
/* Only the form uuid_format writes. */
NODISCARD bool uuid_parse(str s, uint8_t out[16]);

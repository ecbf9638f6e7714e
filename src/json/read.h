/* Reading JSON: jansson behind a bounded, strict door.
 *
 * The text is scanned for depth and number of values before a tree is built, so hostile input costs
 * a linear scan and no memory. Duplicate keys, trailing text, invalid UTF-8 and NUL in strings are
 * refused. Any thread. */
#pragma once

#include "base/err.h"

#include <jansson.h>

enum { JSON_DEPTH_MAX = 64, JSON_VALUES_MAX = 100000 };

/* Parses one JSON value with only white space around it. On success the caller owns *ret
 * (json_decref). ERR_SYNTAX or ERR_LIMIT otherwise, with `why` set to a text for people. */
NODISCARD enum err json_read(struct arena *a, str text, json_t **ret, str *why);

/* Member access; none of them creates a reference. An absent member, or one of another type, gives
 * false / NULL and leaves the outputs alone. Slices point into the tree. */
bool json_member_str(const json_t *object, const char *key, str *ret);
bool json_member_int(const json_t *object, const char *key, int64_t *ret);
const json_t *json_member(const json_t *object, const char *key);

static inline void json_cleanup(json_t **j)
{
    json_decref(*j);
}
#define JSON_CLEANUP __attribute__((cleanup(json_cleanup)))

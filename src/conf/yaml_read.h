/* Reading the configuration file: the part of YAML that has one meaning.
 *
 * Accepted: one document of nested mappings, whose values are scalars or lists of scalars. Refused:
 * anchors, aliases, tags, merge keys, directives, further documents, the same key twice, keys with
 * a dot, null, and whatever passes the bounds below. Scalars stay text: the option table types
 * them, so "no" is a word and 1e3 is not a number. Pure; any thread. */
#pragma once

#include "base/err.h"

enum {
    YAML_BYTES_MAX = 1 << 20,
    YAML_DEPTH_MAX = 8,       /* mappings and lists inside one another */
    YAML_KEY_BYTES_MAX = 128, /* one key */
    YAML_ENTRIES_MAX = 1024,
    YAML_VALUES_MAX = 1024, /* scalars and list items together */
};

enum yaml_kind {
    YAML_SECTION, /* a mapping; its members follow as entries of their own */
    YAML_NOTHING, /* the key has no value: "limits:" */
    YAML_SCALAR,
    YAML_LIST,
};

struct yaml_entry {
    str path;      /* keys joined by dots: "limits.page" */
    unsigned line; /* of the key, from 1 */
    enum yaml_kind kind;
    const str *values; /* YAML_SCALAR: one */
    size_t n;
};

struct yaml {
    const struct yaml_entry *entries; /* in file order */
    size_t n;
};

/* Everything in *ret lives in the arena. On failure ERR_SYNTAX or ERR_LIMIT, with the line
 * (0: none in particular) and a message that repeats keys but never values. */
NODISCARD enum err yaml_read(struct arena *a, str text, struct yaml *ret, unsigned *line, str *why);

/* The option table as data, and what each type of option does: parse, check, explain, print. */
#pragma once

#include "conf/conf.h"

enum conf_type {
    CONF_PATH,
    CONF_TEXT,
    CONF_URL,
    CONF_LISTEN,
    CONF_HOSTS,
    CONF_NETWORKS,
    CONF_REPOSITORIES,
    CONF_BOOL,
    CONF_COUNT,
    CONF_SIZE,
    CONF_DURATION,
    CONF_CHOICE,
    CONF_TYPES_N
};

enum { CONF_SECRET = 1, CONF_RELOAD = 2, CONF_WRITE = 4, CONF_SOCKET = 8 };

enum {
    CONF_TEXT_BYTES_MAX = 4096, /* of any one value or list entry */
    CONF_LIST_ITEMS_MAX = 256,
};

struct conf_option {
    const char *key;
    enum conf_type type;
    const char *fallback, *min, *max; /* in the notation of the type */
    unsigned flags;
    const char *help;
    size_t offset; /* of the member in struct conf */
};

struct conf_section {
    const char *name, *title;
};

/* All rows of options.def, by enum conf_id; options of one section are neighbours. */
extern const struct conf_option conf_options[CONF_OPTIONS_N];
/* Ended by a row whose name is NULL. */
extern const struct conf_section conf_sections[];

/* A value as its source has it. */
struct conf_value {
    const str *items; /* a scalar has one */
    size_t n;
    bool list;
};

/* Finds an option by its key or, for SECRET options, by its key with "_file" (*indirect is true).
 * NULL when there is none. */
const struct conf_option *conf_option_find(str key, bool *indirect);
/* The same by environment variable, with its BERTH_ prefix. */
const struct conf_option *conf_option_find_env(str name, bool *indirect);
/* "BERTH_LIMITS_PAGE" */
str conf_option_env(struct arena *a, const struct conf_option *o);
/* Key or section a person may have meant; empty when nothing is near. */
str conf_key_nearest(str key);
/* The same for an environment variable. */
str conf_env_nearest(struct arena *a, str name);
/* "limits" is one, "limits.page" and "limit" are not. */
bool conf_is_section(str path);

/* The parts of a key around its last dot; the section of "data" is empty. */
str conf_option_section(const struct conf_option *o);
str conf_option_name(const struct conf_option *o);

/* What the option takes, to stand after "must be": "a size from 1KiB to 1MiB". */
str conf_option_allowed(struct arena *a, const struct conf_option *o);

/* Checks the value and stores it in *conf (strings are copied). On failure ERR_CONFIG and *why
 * without the source: "limits.page is "0"; it must be ...". */
NODISCARD enum err conf_option_set(const struct conf_option *o, struct conf *conf,
                                   struct conf_value value, struct arena *a, str *why);

bool conf_option_is_list(const struct conf_option *o);
/* The effective value in the notation of the type; not for lists, whose items conf_option_items
 * returns. */
str conf_option_text(const struct conf_option *o, const struct conf *conf, struct arena *a);
struct conf_list conf_option_items(const struct conf_option *o, const struct conf *conf);

/* In double quotes, safe to print on a terminal and not longer than about 64 bytes. */
str conf_quote(struct arena *a, str s);

/* Configuration: one typed struct, made from options.def.
 *
 * Precedence: default < file < environment < flag. Every bad key or value gives one line that names
 * the option, the value, where it came from and what is allowed. Built once at start by one thread;
 * read-only and shared afterwards. */
#pragma once

#include "base/err.h"

struct conf_list {
    const str *items;
    size_t n;
};

#define CONF_C_PATH str
#define CONF_C_TEXT str
#define CONF_C_LIST struct conf_list
#define CONF_C_BOOL bool
#define CONF_C_COUNT uint64_t
#define CONF_C_SIZE uint64_t
#define CONF_C_DURATION uint64_t
#define CONF_C_CHOICE unsigned

struct conf {
#define OPT(key, field, type, fallback, min, max, flags, help) CONF_C_##type field;
#include "conf/options.def"
#undef OPT
};

/* Where values come from. All members may be empty. */
struct conf_sources {
    str file;                     /* path of the YAML file */
    const char *const *environ;   /* as environ(7); NULL: none */
    const str *sets;              /* "key=value" from flags, in order */
    size_t set_n;
    void (*warn)(str line, void *arg); /* unknown BERTH_* variables */
    void *warn_arg;
};

/* Fills *ret (strings in the arena). On failure ERR_CONFIG and why->message is the line to print. */
NODISCARD enum err conf_load(struct conf *ret, const struct conf_sources *sources, struct arena *a,
                             struct error *why);

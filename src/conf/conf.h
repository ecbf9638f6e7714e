/* Configuration: one typed struct, made from options.def.
 *
 * Precedence: default < file < environment < flag. Every bad key or value gives one line that names
 * the option, the value, where it came from and what is allowed; values of SECRET options are never
 * repeated. Built once at start by one thread; read-only and shared afterwards. */
#pragma once

#include "base/err.h"

struct conf_list {
    const str *items;
    size_t n;
};

#define CONF_C_PATH         str
#define CONF_C_TEXT         str
#define CONF_C_URL          str
#define CONF_C_LISTEN       struct conf_list
#define CONF_C_HOSTS        struct conf_list
#define CONF_C_NETWORKS     struct conf_list
#define CONF_C_REPOSITORIES struct conf_list
#define CONF_C_BOOL         bool
#define CONF_C_COUNT        uint64_t
#define CONF_C_SIZE         uint64_t
#define CONF_C_DURATION     uint64_t
#define CONF_C_CHOICE       unsigned

/* Index of each option: CONF_ID_ and its field. */
enum conf_id {
#define OPT(key, field, type, fallback, min, max, flags, help) CONF_ID_##field,
#include "conf/options.def"
#undef OPT
    CONF_OPTIONS_N
};

enum conf_source { CONF_DEFAULT, CONF_FILE, CONF_ENVIRONMENT, CONF_FLAG };

/* Where an effective value comes from. */
struct conf_origin {
    enum conf_source source;
    str where; /* for people: "default", "berth.yaml:3", "environment variable BERTH_DATA", "--set"
                */
    str file;  /* that a secret was read from; empty otherwise */
};

struct conf {
#define OPT(key, field, type, fallback, min, max, flags, help) CONF_C_##type field;
#include "conf/options.def"
#undef OPT
    struct conf_origin origins[CONF_OPTIONS_N]; /* by enum conf_id */
};

/* One option given on the command line. */
struct conf_set {
    const char *flag; /* as typed, for error lines: "--set", "--data" */
    str key;
    str value;
};

/* Where values come from. All members may be empty. */
struct conf_sources {
    str file;                    /* path of the YAML file */
    str file_text;               /* p not NULL: its content, and `file` is only its name */
    const char *const *environ;  /* as environ(7); NULL: none */
    const struct conf_set *sets; /* in order; a later one wins */
    size_t set_n;
    void (*warn)(str line, void *arg); /* unknown BERTH_* variables; NULL: ignored silently */
    void *warn_arg;
};

/* Fills *ret (strings in the arena). On failure ERR_CONFIG and why->message is the line to print.
 * BERTH_CONFIG, which names the file, is the caller's business (cli/options.h). */
NODISCARD enum err conf_load(struct conf *ret, const struct conf_sources *sources, struct arena *a,
                             struct error *why);

/* Flags of a command line: --flag=value, --flag value, --switch. Pure; any thread. */
#pragma once

#include "base/err.h"

struct flag {
    const char *name;  /* without the dashes; NULL ends a table */
    const char *value; /* what its value is called: "FILE"; NULL: a switch */
    const char *help;
    bool repeats; /* may be given several times; of others the last one counts */
};

struct flag_use {
    const struct flag *flag;
    str value;
};

struct flags {
    const struct flag_use *uses; /* in order */
    size_t use_n;
    const str *words; /* what is no flag */
    size_t word_n;
};

/* Sorts argv[1..] into flags and words; "--" ends the flags, "-h" is "--help". Slices point into
 * argv. ERR_SYNTAX with a message for an unknown flag, a missing value, a value for a switch. */
NODISCARD enum err flags_parse(struct arena *a, int argc, char **argv, const struct flag *table,
                               struct flags *ret, struct error *why);

/* The last use of a flag; p == NULL when it is not there, "" for a switch that is. */
str flags_value(const struct flags *flags, const char *name);

/* What the commands share: their tables of flags, and the way from flags to a configuration.
 *
 * Functions that return bool have said what is wrong when they return false; *exit_code is then
 * the command's exit code (CLI_OK after --help). */
#pragma once

#include "cli/cli.h"
#include "cli/flags.h"
#include "conf/conf.h"

extern const struct flag conf_flags[]; /* --config --data --listen --set --help */
extern const struct flag fsck_flags[];
extern const struct flag backup_flags[];
extern const struct flag restore_flags[];
extern const struct flag tag_flags[];  /* --at --limit --json --config --data --set --help */
extern const struct flag gc_flags[];   /* --now --dry-run --json --config --data --set --help */
extern const struct flag help_flags[]; /* --markdown --man --example --help */
extern const struct flag no_flags[];   /* --help */

/* Parses a command's arguments; --help prints the command's help. */
NODISCARD bool cli_parse(const char *command, const struct flag *table, int argc, char **argv,
                         struct arena *a, struct flags *ret, int *exit_code);

/* Refuses words behind the first `max`. */
NODISCARD bool cli_words(const char *command, const struct flags *flags, size_t max,
                         int *exit_code);

/* From flags of conf_flags and at most `words_max` words to the effective configuration. The file
 * is the one of --config, else the one BERTH_CONFIG names, else none. */
NODISCARD bool cli_load(const char *command, const struct flags *flags, size_t words_max,
                        struct arena *a, struct conf *ret, int *exit_code);

/* The configuration file they name, or the environment does; empty: none. */
str cli_config_file(const struct flags *flags);

/* The same sources once more, while the program runs. On failure `why` says what cli_load would
 * have printed. */
NODISCARD enum err cli_load_again(const struct flags *flags, struct arena *a, struct conf *ret,
                                  struct error *why);

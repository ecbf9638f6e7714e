#include "cli/options.h"

#include "cli/docs.h"
#include "conf/option.h"

#include <stdlib.h>
#include <unistd.h>

/* Rows that several tables have. */
#define FLAG_CONFIG                                                                                \
    {                                                                                              \
        "config", "FILE",                                                                          \
            "Read the configuration file FILE. Without it, the one that the environment variable " \
            "BERTH_CONFIG names; without both, none.",                                             \
            false                                                                                  \
    }
#define FLAG_DATA                                                                     \
    {                                                                                 \
        "data", "DIR", "Keep everything in the directory DIR: --set data=DIR.", false \
    }
#define FLAG_SET                                                                     \
    {                                                                                \
        "set", "KEY=VALUE", "Set an option. \"berth help options\" lists all.", true \
    }
#define FLAG_HELP                               \
    {                                           \
        "help", NULL, "Print this help.", false \
    }

const struct flag conf_flags[] = {
    FLAG_CONFIG,
    FLAG_DATA,
    {"listen", "ADDR:PORT",
     "Listen on this address: --set listen=ADDR:PORT, which also takes https://ADDR:PORT and "
     "unix:/PATH. Repeat it for several.",
     true},
    FLAG_SET,
    FLAG_HELP,
    {0}};

const struct flag tag_flags[] = {
    {"at", "TIME|DIGEST",
     "What to restore: what the tag pointed at then, or a digest it pointed at. A time is written "
     "2026-01-31T12:00:00Z, with an offset such as +01:00 in place of Z, or 2026-01-31, which is "
     "its first moment in UTC.",
     false},
    {"limit", "N", "Show the N newest lifetimes. Without it 100; 0: all.", false},
    {"json", NULL, "Print JSON.", false},
    FLAG_CONFIG,
    FLAG_DATA,
    FLAG_SET,
    FLAG_HELP,
    {0}};

const struct flag gc_flags[] = {
    {"now", NULL,
     "Do not wait for gc.review_delay and uploads.expire: collect all that is unused at this "
     "moment. A push that is under way may have to be repeated.",
     false},
    {"dry-run", NULL, "Only tell what would be removed.", false},
    {"json", NULL, "Print JSON.", false},
    FLAG_CONFIG,
    FLAG_DATA,
    FLAG_SET,
    FLAG_HELP,
    {0}};

const struct flag fsck_flags[] = {
    {"repair", NULL, "Repair what can be repaired without losing content.", false},
    {"quick", NULL, "Compare the sizes of blobs only; without it, every blob is read and hashed.",
     false},
    {"json", NULL, "Print JSON.", false},
    FLAG_CONFIG,
    FLAG_DATA,
    FLAG_SET,
    FLAG_HELP,
    {0}};

const struct flag backup_flags[] = {
    {"copy", NULL, "Copy the bytes of new blobs, and check them, also where a hard link would do.",
     false},
    FLAG_CONFIG,
    FLAG_DATA,
    FLAG_SET,
    FLAG_HELP,
    {0}};

const struct flag restore_flags[] = {FLAG_CONFIG, FLAG_DATA, FLAG_SET, FLAG_HELP, {0}};

const struct flag help_flags[] = {
    {"markdown", NULL, "Print the reference of all options as Markdown.", false},
    {"man", NULL, "Print the manual page.", false},
    {"example", NULL, "Print a configuration file with every option in it.", false},
    {"metrics", NULL, "Print the reference of all metrics as Markdown.", false},
    FLAG_HELP,
    {0}};

const struct flag no_flags[] = {FLAG_HELP, {0}};

static void warn(str line, void *arg)
{
    cli_error("warning: %.*s", STR_ARG(line));
}

bool cli_parse(const char *command, const struct flag *table, int argc, char **argv,
               struct arena *a, struct flags *ret, int *exit_code)
{
    struct error why = {0};
    if (flags_parse(a, argc, argv, table, ret, &why)) {
        cli_error("%s: %.*s; see \"berth help %s\"", command, STR_ARG(why.message), command);
        *exit_code = CLI_USAGE;
        return false;
    }
    if (flags_value(ret, "help").p) {
        BUF_CLEANUP struct buf out = BUF_INIT(DOCS_BYTES_MAX);
        *exit_code = docs_command(&out, str_from(command)) ? cli_print(&out) : CLI_USAGE;
        return false;
    }
    return true;
}

bool cli_words(const char *command, const struct flags *flags, size_t max, int *exit_code)
{
    if (flags->word_n <= max)
        return true;
    cli_error("%s: unexpected argument \"%.*s\"; see \"berth help %s\"", command,
              STR_ARG(flags->words[max]), command);
    *exit_code = CLI_USAGE;
    return false;
}

/* The --set, --data and --listen flags as settings; several --listen are one list. */
static enum err collect_sets(struct arena *a, const struct flags *flags, struct conf_sources *ret,
                             struct error *why)
{
    struct conf_set *sets = ARENA_ARRAY(a, flags->use_n, struct conf_set), *listen = NULL;
    size_t n = 0;
    for (size_t i = 0; i < flags->use_n; i++) {
        const struct flag_use *use = &flags->uses[i];
        const char *name = use->flag->name;
        struct conf_set *set = &sets[n];
        if (strcmp(name, "data") == 0) {
            sets[n++] = (struct conf_set){"--data", STR("data"), use->value};
        } else if (strcmp(name, "listen") == 0 && listen) {
            listen->value =
                arena_printf(a, "%.*s,%.*s", STR_ARG(listen->value), STR_ARG(use->value));
        } else if (strcmp(name, "listen") == 0) {
            listen = set;
            sets[n++] = (struct conf_set){"--listen", STR("listen"), use->value};
        } else if (strcmp(name, "set") == 0) {
            set->flag = "--set";
            if (!str_cut(use->value, '=', &set->key, &set->value))
                return error_set(a, why, ERR_CONFIG, "--set: %.*s has no =; write --set key=value",
                                 STR_ARG(conf_quote(a, use->value)));
            n++;
        }
    }
    ret->sets = sets;
    ret->set_n = n;
    return OK;
}

str cli_config_file(const struct flags *flags)
{
    str file = flags_value(flags, "config");
    return file.p ? file : str_from(getenv("BERTH_CONFIG"));
}

static enum err find_sources(const struct flags *flags, struct arena *a, struct conf_sources *ret,
                             struct error *why)
{
    *ret = (struct conf_sources){.file = cli_config_file(flags),
                                 .environ = (const char *const *)environ};
    return collect_sets(a, flags, ret, why);
}

enum err cli_load_again(const struct flags *flags, struct arena *a, struct conf *ret,
                        struct error *why)
{
    struct conf_sources sources;
    enum err e = find_sources(flags, a, &sources, why);
    return e ? e : conf_load(ret, &sources, a, why);
}

bool cli_load(const char *command, const struct flags *flags, size_t words_max, struct arena *a,
              struct conf *ret, int *exit_code)
{
    struct error why = {0};
    struct conf_sources sources;
    /* Settings come before words: --set with a secret behind a blank must not print the secret. */
    enum err e = find_sources(flags, a, &sources, &why);
    sources.warn = warn;
    if (!e && !cli_words(command, flags, words_max, exit_code))
        return false;
    if (!e)
        e = conf_load(ret, &sources, a, &why);
    if (e) {
        cli_error("%.*s", STR_ARG(why.message));
        *exit_code = CLI_USAGE;
    }
    return !e;
}

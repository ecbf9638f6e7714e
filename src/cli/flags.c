#include "cli/flags.h"

#include "conf/nearest.h"

static const struct flag *flag_find(const struct flag *table, str name)
{
    for (; table->name; table++)
        if (str_eq(name, str_from(table->name)))
            return table;
    return NULL;
}

static enum err fail_unknown(struct arena *a, const struct flag *table, str name, struct error *why)
{
    struct nearest near = {.wanted = name};
    for (; table->name; table++)
        nearest_offer(&near, str_from(table->name));
    if (near.best.n)
        return error_set(a, why, ERR_SYNTAX, "there is no flag --%.*s; did you mean --%.*s?",
                         STR_ARG(name), STR_ARG(near.best));
    return error_set(a, why, ERR_SYNTAX, "there is no flag --%.*s", STR_ARG(name));
}

enum err flags_parse(struct arena *a, int argc, char **argv, const struct flag *table,
                     struct flags *ret, struct error *why)
{
    struct flag_use *uses = ARENA_ARRAY(a, argc, struct flag_use);
    str *words = ARENA_ARRAY(a, argc, str);
    size_t use_n = 0, word_n = 0;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        str arg = str_from(argv[i]), name, value;
        if (only_words || !str_starts(arg, STR("-")) || arg.n == 1) {
            words[word_n++] = arg;
            continue;
        }
        if (str_eq(arg, STR("-h")))
            arg = STR("--help");
        if (!str_starts(arg, STR("--")))
            return error_set(a, why, ERR_SYNTAX, "there is no flag %.*s; flags begin with --",
                             STR_ARG(str_first(arg, str_find(arg, '='))));
        if (arg.n == 2) {
            only_words = true;
            continue;
        }
        bool has_value = str_cut(str_skip(arg, 2), '=', &name, &value);
        const struct flag *flag = flag_find(table, name);
        if (!flag)
            return fail_unknown(a, table, name, why);
        if (has_value && !flag->value)
            return error_set(a, why, ERR_SYNTAX, "--%s takes no value", flag->name);
        if (!has_value && flag->value) {
            /* A flag in the place of a value is a forgotten value, not a value. */
            if (i + 1 == argc || str_starts(str_from(argv[i + 1]), STR("--")))
                return error_set(a, why, ERR_SYNTAX, "--%s needs a value: --%s %s", flag->name,
                                 flag->name, flag->value);
            value = str_from(argv[++i]);
        }
        uses[use_n++] = (struct flag_use){flag, flag->value ? value : STR("")};
    }
    *ret = (struct flags){uses, use_n, words, word_n};
    return OK;
}

str flags_value(const struct flags *flags, const char *name)
{
    for (size_t i = flags->use_n; i > 0; i--)
        if (strcmp(flags->uses[i - 1].flag->name, name) == 0)
            return flags->uses[i - 1].value;
    return (str){0};
}

#include "cli/flags.h"

#include "base/test.h"

static const struct flag table[] = {{"config", "FILE", "", false},
                                    {"set", "KEY=VALUE", "", true},
                                    {"man", NULL, "", false},
                                    {"help", NULL, "", false},
                                    {0}};

static struct arena a;

/* The outcome as one text: "config=x man= | word word", or the error message. */
static str parse(const char *const *argv)
{
    struct flags flags;
    struct error why = {0};
    int argc = 0;
    while (argv[argc])
        argc++;
    if (flags_parse(&a, argc, (char **)argv, table, &flags, &why))
        return why.message;
    str out = STR("");
    for (size_t i = 0; i < flags.use_n; i++)
        out = arena_printf(&a, "%.*s%s=%.*s ", STR_ARG(out), flags.uses[i].flag->name,
                           STR_ARG(flags.uses[i].value));
    out = arena_printf(&a, "%.*s|", STR_ARG(out));
    for (size_t i = 0; i < flags.word_n; i++)
        out = arena_printf(&a, "%.*s %.*s", STR_ARG(out), STR_ARG(flags.words[i]));
    return out;
}

#define PARSE(...) parse((const char *const[]){"cmd", __VA_ARGS__, NULL})

static void accepts(void)
{
    CHECK_STR(parse((const char *const[]){"cmd", NULL}), "|");
    CHECK_STR(PARSE("--config", "x"), "config=x |");
    CHECK_STR(PARSE("--config=x"), "config=x |");
    CHECK_STR(PARSE("--config="), "config= |");
    CHECK_STR(PARSE("--set", "a=b", "--set=c=d"), "set=a=b set=c=d |");
    CHECK_STR(PARSE("one", "--man", "two", "-"), "man= | one two -");
    CHECK_STR(PARSE("-h"), "help= |");
    CHECK_STR(PARSE("--config", "-x"), "config=-x |");
    CHECK_STR(PARSE("--", "--config", "-h"), "| --config -h");
    arena_release(&a);
}

static void refuses(void)
{
    CHECK_STR(PARSE("--confg", "x"), "there is no flag --confg; did you mean --config?");
    CHECK_STR(PARSE("--sett=a=b"), "there is no flag --sett; did you mean --set?");
    CHECK_STR(PARSE("--frobnicate"), "there is no flag --frobnicate");
    CHECK_STR(PARSE("-c", "x"), "there is no flag -c; flags begin with --");
    CHECK_STR(PARSE("-p=secret"), "there is no flag -p; flags begin with --");
    CHECK_STR(PARSE("--config"), "--config needs a value: --config FILE");
    CHECK_STR(PARSE("--config", "--man"), "--config needs a value: --config FILE");
    CHECK_STR(PARSE("--man=x"), "--man takes no value");
    arena_release(&a);
}

static void last_value_counts(void)
{
    struct flags flags;
    struct error why = {0};
    const char *const argv[] = {"cmd", "--config=x", "--config=y", "--man", NULL};
    CHECK_INT(flags_parse(&a, 4, (char **)argv, table, &flags, &why), OK);
    CHECK_STR(flags_value(&flags, "config"), "y");
    CHECK(flags_value(&flags, "man").p != NULL);
    CHECK(flags_value(&flags, "help").p == NULL);
    arena_release(&a);
}

TESTS({"accepts", accepts}, {"refuses", refuses}, {"last value counts", last_value_counts});

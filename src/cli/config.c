#include "cli/options.h"
#include "conf/show.h"

static void check(struct buf *out, const struct conf *conf)
{
    buf_add(out, STR("The configuration is valid.\n"));
}

static const struct {
    str word;
    void (*render)(struct buf *out, const struct conf *conf);
} actions[] = {{STR_INIT("check"), check}, {STR_INIT("show"), conf_show}};

int cmd_config(int argc, char **argv)
{
    ARENA_CLEANUP struct arena a = {0};
    BUF_CLEANUP struct buf out = BUF_INIT(CONF_SHOW_BYTES_MAX);
    struct flags flags;
    struct conf conf;
    int code;
    if (!cli_parse("config", conf_flags, argc, argv, &a, &flags, &code))
        return code;
    str word = flags.word_n ? flags.words[0] : STR("");
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (!str_eq(word, actions[i].word))
            continue;
        if (!cli_load("config", &flags, 1, &a, &conf, &code))
            return code;
        actions[i].render(&out, &conf);
        return cli_print(&out);
    }
    cli_error("config: \"check\" or \"show\" expected%s%.*s%s", word.n ? ", not \"" : "",
              STR_ARG(word), word.n ? "\"" : "");
    return CLI_USAGE;
}

#include "cli/docs.h"
#include "cli/options.h"
#include "conf/show.h"

static const struct {
    const char *flag;
    void (*render)(struct buf *out);
} forms[] = {{"markdown", conf_markdown},
             {"man", docs_man},
             {"example", conf_example},
             {"metrics", docs_metrics}};

/* Help for one word: a command, or "options". */
static bool word_help(struct buf *out, str word)
{
    if (str_eq(word, STR("options"))) {
        conf_help(out);
        return true;
    }
    return docs_command(out, word);
}

int cmd_help(int argc, char **argv)
{
    ARENA_CLEANUP struct arena a = {0};
    BUF_CLEANUP struct buf out = BUF_INIT(DOCS_BYTES_MAX);
    struct flags flags;
    int code;
    if (!cli_parse("help", help_flags, argc, argv, &a, &flags, &code) ||
        !cli_words("help", &flags, flags.use_n ? 0 : 1, &code))
        return code;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (flags_value(&flags, forms[i].flag).p)
            forms[i].render(&out);
    if (flags.word_n && !word_help(&out, flags.words[0]))
        return cli_no_command(flags.words[0]);
    if (out.n == 0)
        docs_summary(&out);
    return cli_print(&out);
}

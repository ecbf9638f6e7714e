/* The option reference: plain text, Markdown, roff. */
#include "conf/option.h"
#include "conf/show.h"

enum { TEXT_COLUMNS = 78 };

static const char prologue[] =
    "<!-- Written by `berth help --markdown` from src/conf/options.def. Do not edit. -->\n"
    "\n"
    "# Configuration\n"
    "\n"
    "Berth runs without configuration. This page tells how to set options and lists all of them.\n"
    "\n"
    "## Where options are set\n"
    "\n"
    "An option can be set in three places. The one further down wins; without any, the default\n"
    "holds.\n"
    "\n"
    "| place | example: `limits.page` |\n"
    "| --- | --- |\n"
    "| the configuration file | `page: 500` below `limits:` |\n"
    "| the environment | `BERTH_LIMITS_PAGE=500` |\n"
    "| the command line | `--set limits.page=500` |\n"
    "\n"
    "On the command line, `--data DIR` stands for `--set data=DIR`, and `--listen ADDR:PORT` for\n"
    "`--set listen=ADDR:PORT`; repeat `--listen` for several addresses.\n"
    "\n"
    "The configuration file is the one named by `--config FILE`, else by the environment variable\n"
    "`BERTH_CONFIG`. Without either, no file is read. `berth help --example` prints one with "
    "every\n"
    "option in it. Options are read once, when Berth starts: restart it after a change. Relative\n"
    "paths start at the directory Berth was started in.\n"
    "\n"
    "`berth config check` tells whether everything is valid, `berth config show` prints each "
    "value\n"
    "in effect and where it comes from. Both take the flags of `berth serve`.\n"
    "\n"
    "## The configuration file\n"
    "\n"
    "```yaml\n"
    "data: /srv/berth\n"
    "listen:\n"
    "  - 0.0.0.0:5000\n"
    "  - \"[::1]:5000\"\n"
    "server:\n"
    "  url: https://registry.example.com\n"
    "limits:\n"
    "  blob: 20GiB\n"
    "```\n"
    "\n"
    "The file is YAML, of which Berth takes the part that has one meaning: keys, values and "
    "lists.\n"
    "Anchors, aliases, tags, merge keys, `null`, a second document and the same key twice are\n"
    "errors. A value that starts with a special character, such as `[` or `*`, needs quotes. The\n"
    "file may be as large as 1 MiB.\n"
    "\n"
    "## Values\n"
    "\n"
    "| kind | written as |\n"
    "| --- | --- |\n"
    "| size | a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB`: `64KiB` |\n"
    "| duration | a whole number and `ms`, `s`, `m`, `h` or `d`: `10s` |\n"
    "| yes or no | `true` or `false` |\n"
    "| list | a YAML list in the file; elsewhere commas between entries: `10.0.0.0/8,::1` |\n"
    "\n"
    "## Secrets\n"
    "\n"
    "A secret can also be read from a file: name it with `_file` behind the option, as in\n"
    "`auth.admin_password_file` or `BERTH_AUTH_ADMIN_PASSWORD_FILE`. One line break at its end is\n"
    "ignored. Secrets appear neither in error messages nor in `berth config show`.\n"
    "\n"
    "## Mistakes\n"
    "\n"
    "An unknown option, a value that is not allowed or a file that cannot be read ends the "
    "command\n"
    "with exit code 2 and one line that says where and why:\n"
    "\n"
    "```\n"
    "berth: berth.yaml:9: limits.page is \"0\"; it must be a whole number from 1 to 10000\n"
    "```\n"
    "\n"
    "An unknown environment variable that starts with `BERTH_` only draws a warning, because a\n"
    "Kubernetes service named `berth` sets several.\n";

static void backquoted(struct buf *out, const char *text)
{
    if (*text)
        buf_printf(out, "`%s`", text);
    else
        buf_add(out, STR("empty"));
}

static void markdown_option(struct buf *out, const struct conf_option *o)
{
    ARENA_CLEANUP struct arena a = {0};
    buf_printf(out, "\n### `%s`\n\n", o->key);
    text_wrap(out, "", 98, str_from(o->help));
    buf_add(out, STR("\n- Default: "));
    backquoted(out, o->fallback);
    buf_printf(out, "\n- Allowed: %.*s\n- Environment: `%.*s`", STR_ARG(conf_option_allowed(&a, o)),
               STR_ARG(conf_option_env(&a, o)));
    if (o->flags & CONF_SECRET)
        buf_printf(out, "\n- Secret; also from a file: `%s_file`, `%.*s_FILE`", o->key,
                   STR_ARG(conf_option_env(&a, o)));
    if (o->flags & CONF_RELOAD)
        buf_add(out, STR("\n- SIGHUP applies a change without a restart"));
    buf_byte(out, '\n');
}

static bool in_section(const struct conf_option *o, const struct conf_section *s)
{
    return str_eq(conf_option_section(o), str_from(s->name));
}

void conf_markdown(struct buf *out)
{
    buf_add(out, str_from(prologue));
    for (const struct conf_section *s = conf_sections; s->name; s++) {
        buf_printf(out, "\n## %s%s%s%s\n", s->title, *s->name ? ": `" : "", s->name,
                   *s->name ? "`" : "");
        for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++)
            if (in_section(o, s))
                markdown_option(out, o);
    }
}

void conf_help(struct buf *out)
{
    buf_add(out,
            STR("Sizes are whole numbers with B, KiB, MiB, GiB or TiB, durations with ms, s, m, h\n"
                "or d. Lists have commas between entries.\n\n"));
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++) {
        ARENA_CLEANUP struct arena a = {0};
        buf_printf(out, "%s%s\n", o > conf_options ? "\n" : "", o->key);
        text_wrap(out, "    ", TEXT_COLUMNS, str_from(o->help));
        text_wrap(out, "    ", TEXT_COLUMNS,
                  arena_printf(&a, "Default: %s. Allowed: %.*s.",
                               *o->fallback ? o->fallback : "empty",
                               STR_ARG(conf_option_allowed(&a, o))));
    }
}

void roff_add(struct buf *out, str text)
{
    for (size_t i = 0; i < text.n; i++) {
        bool line_start = out->n == 0 || out->p[out->n - 1] == '\n';
        char c = text.p[i];
        if (line_start && (c == '.' || c == '\''))
            buf_add(out, STR("\\&"));
        if (c == '\\')
            buf_add(out, STR("\\e"));
        else if (c == '-')
            buf_add(out, STR("\\-"));
        else
            buf_byte(out, c);
    }
}

void conf_man(struct buf *out)
{
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++) {
        ARENA_CLEANUP struct arena a = {0};
        buf_printf(out, ".TP\n.B %s\n", o->key);
        roff_add(out, str_from(o->help));
        buf_add(out, STR("\n.br\nDefault: "));
        roff_add(out, str_from(*o->fallback ? o->fallback : "empty"));
        buf_add(out, STR(". Allowed: "));
        roff_add(out, conf_option_allowed(&a, o));
        buf_add(out, STR(".\n"));
    }
}

/* The two renderings that are configuration files: what holds now, and what could be written. */
#include "conf/show.h"

#include "conf/option.h"

enum { COMMENT_COLUMN = 44, TEXT_COLUMNS = 78 };

void text_wrap(struct buf *out, const char *indent, size_t width, str text)
{
    size_t column = 0;
    str word;
    while (str_next(&text, ' ', &word)) {
        if (column > 0 && column + 1 + word.n > width) {
            buf_byte(out, '\n');
            column = 0;
        }
        str before = column ? STR(" ") : str_from(indent);
        buf_add(out, before);
        buf_add(out, word);
        column += before.n + word.n;
    }
    buf_byte(out, '\n');
}

/* Whether YAML reads the text as itself without quotes; errs on the side of quotes. */
static bool is_plain(str s)
{
    if (s.n == 0 || str_eq_nocase(s, STR("null")) || s.p[s.n - 1] == ':')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '.' || c == '/' || c == '_';
        if (!word && (i == 0 || (c != ':' && c != '-' && c != '+')))
            return false;
    }
    return true;
}

static void yaml_scalar(struct buf *out, str s)
{
    if (is_plain(s)) {
        buf_add(out, s);
        return;
    }
    buf_byte(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            buf_byte(out, '\\');
        buf_byte(out, s.p[i]);
    }
    buf_byte(out, '"');
}

/* `name: value`, lists in brackets on the same line. */
static void yaml_option(struct buf *out, const struct conf_option *o, const struct conf *conf)
{
    ARENA_CLEANUP struct arena a = {0};
    buf_printf(out, "%.*s: ", STR_ARG(conf_option_name(o)));
    if (!conf_option_is_list(o)) {
        yaml_scalar(out, conf_option_text(o, conf, &a));
        return;
    }
    struct conf_list list = conf_option_items(o, conf);
    buf_byte(out, '[');
    for (size_t i = 0; i < list.n; i++) {
        if (i > 0)
            buf_add(out, STR(", "));
        yaml_scalar(out, list.items[i]);
    }
    buf_byte(out, ']');
}

/* Starts a section with its first option; returns the indentation of its options. */
static const char *yaml_section(struct buf *out, const struct conf_option *o, bool *first)
{
    str section = conf_option_section(o);
    *first = o > conf_options && !str_eq(section, conf_option_section(o - 1));
    if (*first)
        buf_printf(out, "\n%.*s:\n", STR_ARG(section));
    return section.n ? "  " : "";
}

void conf_show(struct buf *out, const struct conf *conf)
{
    for (size_t i = 0; i < CONF_OPTIONS_N; i++) {
        const struct conf_option *o = &conf_options[i];
        const struct conf_origin *origin = &conf->origins[i];
        bool first;
        const char *indent = yaml_section(out, o, &first);
        size_t start = out->n;
        buf_add(out, str_from(indent));
        if ((o->flags & CONF_SECRET) && origin->source != CONF_DEFAULT)
            buf_printf(out, "# %.*s is set, not shown", STR_ARG(conf_option_name(o)));
        else
            yaml_option(out, o, conf);
        while (!out->full && out->n - start < COMMENT_COLUMN)
            buf_byte(out, ' ');
        buf_printf(out, " # %.*s\n", STR_ARG(origin->where));
    }
}

static void example_option(struct buf *out, const struct conf_option *o, const struct conf *conf,
                           const char *indent)
{
    ARENA_CLEANUP struct arena a = {0};
    str comment = arena_printf(&a, "%s# ", indent);
    text_wrap(out, comment.p, TEXT_COLUMNS, str_from(o->help));
    str allowed = conf_option_allowed(&a, o);
    text_wrap(out, comment.p, TEXT_COLUMNS, arena_printf(&a, "Allowed: %.*s.", STR_ARG(allowed)));
    if (o->flags & CONF_SECRET)
        text_wrap(out, comment.p, TEXT_COLUMNS,
                  arena_printf(&a, "Or %.*s_file: the path of a file that holds it.",
                               STR_ARG(conf_option_name(o))));
    buf_printf(out, "%s#", indent);
    yaml_option(out, o, conf);
    buf_byte(out, '\n');
}

void conf_example(struct buf *out)
{
    ARENA_CLEANUP struct arena a = {0};
    struct conf_sources none = {0};
    struct error why = {0};
    struct conf conf;
    if (conf_load(&conf, &none, &a, &why))
        return;
    buf_add(out,
            STR("# Configuration of Berth: every option with its default. To change one, remove\n"
                "# the # in front of it. Use the file with: berth serve --config FILE\n"
                "#\n"
                "# Sizes are whole numbers with B, KiB, MiB, GiB or TiB, durations with ms, s, m,\n"
                "# h or d.\n\n"));
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++) {
        bool first;
        const char *indent = yaml_section(out, o, &first);
        if (!first && o > conf_options)
            buf_byte(out, '\n');
        example_option(out, o, &conf, indent);
    }
}

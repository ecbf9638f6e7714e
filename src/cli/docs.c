#include "cli/docs.h"

#include "cli/options.h"
#include "conf/nearest.h"
#include "conf/option.h"
#include "conf/show.h"

enum { TEXT_COLUMNS = 78 };

struct command {
    const char *name, *words;
    const struct flag *flags;
    const char *help, *details;
};

static const struct command commands[] = {
#define COMMAND(name, fn, words, flags, help, details) {name, words, flags, help, details},
#include "cli/commands.def"
#undef COMMAND
    {0}};

static const char *default_of(enum conf_id id)
{
    return conf_options[id].fallback;
}

void docs_summary(struct buf *out)
{
    buf_add(out, STR("Berth, a container registry.\n\nUsage: berth COMMAND [FLAGS]\n\n"));
    for (const struct command *c = commands; c->name; c++)
        buf_printf(out, "  %-10s%s\n", c->name, c->help);
    buf_printf(out,
               "\n\"berth serve\" starts a registry on %s with its data in %s.\n"
               "\"berth help COMMAND\" explains a command, \"berth help options\" every option.\n",
               default_of(CONF_ID_listen), default_of(CONF_ID_data));
}

/* Appends paragraphs, each followed by an empty line; "\n\n" separates them. */
static void paragraphs(struct buf *out, const char *text)
{
    str rest = str_from(text), line;
    while (str_next(&rest, '\n', &line)) {
        if (line.n) {
            text_wrap(out, "", TEXT_COLUMNS, line);
            buf_byte(out, '\n');
        }
    }
}

bool docs_command(struct buf *out, str name)
{
    const struct command *c = commands;
    while (c->name && !str_eq(name, str_from(c->name)))
        c++;
    if (!c->name)
        return false;
    buf_printf(out, "Usage: berth %s%s%s [FLAGS]\n\n%s\n\n", c->name, *c->words ? " " : "",
               c->words, c->help);
    paragraphs(out, c->details);
    buf_add(out, STR("Flags:\n"));
    for (const struct flag *f = c->flags; f->name; f++) {
        buf_printf(out, "  --%s%s%s\n", f->name, f->value ? " " : "", f->value ? f->value : "");
        text_wrap(out, "      ", TEXT_COLUMNS, str_from(f->help));
    }
    return true;
}

str docs_nearest(str name)
{
    struct nearest near = {.wanted = name};
    for (const struct command *c = commands; c->name; c++)
        nearest_offer(&near, str_from(c->name));
    return near.best;
}

static void man_text(struct buf *out, const char *text)
{
    str rest = str_from(text), line;
    while (str_next(&rest, '\n', &line)) {
        if (line.n)
            roff_add(out, line);
        else
            buf_add(out, STR(".PP"));
        buf_byte(out, '\n');
    }
}

static void man_synopsis(struct buf *out, const struct command *c)
{
    buf_printf(out, ".SY berth\n.B %s\n", c->name);
    if (*c->words)
        buf_printf(out, ".RI %s\n", c->words);
    for (const struct flag *f = c->flags; f->name; f++)
        if (f->value)
            buf_printf(out, ".RB [ \\-\\-%s\n.IR %s ]%s\n", f->name, f->value,
                       f->repeats ? "..." : "");
        else if (strcmp(f->name, "help") != 0)
            buf_printf(out, ".RB [ \\-\\-%s ]\n", f->name);
    buf_add(out, STR(".YS\n"));
}

static void man_command(struct buf *out, const struct command *c)
{
    buf_printf(out, ".SS berth %s\n", c->name);
    man_text(out, c->help);
    if (*c->details) {
        buf_add(out, STR(".PP\n"));
        man_text(out, c->details);
    }
}

static bool has_flag(const struct flag *table, const char *name)
{
    while (table->name && strcmp(table->name, name) != 0)
        table++;
    return table->name;
}

/* One entry for each flag that is not explained yet: --help never is. */
static void man_flags(struct buf *out, const struct flag *table, const struct flag *explained)
{
    for (const struct flag *f = table; f->name; f++) {
        if (has_flag(explained, f->name))
            continue;
        buf_printf(out, ".TP\n\\fB\\-\\-%s\\fR", f->name);
        if (f->value)
            buf_printf(out, " \\fI%s\\fR", f->value);
        buf_byte(out, '\n');
        man_text(out, f->help);
    }
}

static const char man_configuration[] =
    "An option that is set in several places takes the value of the last of these: its default, "
    "the configuration file, the environment, the command line.\n"
    "\n"
    "The option limits.page is written \"page: 500\" below \"limits:\" in the file, "
    "BERTH_LIMITS_PAGE=500 in the environment, and --set limits.page=500 on the command line.\n"
    "\n"
    "The file is YAML: keys, values and lists, without anchors, aliases and tags. Lists have "
    "commas between their entries in the environment and on the command line. A secret can also "
    "be read from a file, named by the option with _file behind it, such as "
    "auth.admin_password_file. Options are read once, at the start.\n"
    "\n"
    "Sizes are whole numbers with B, KiB, MiB, GiB or TiB, durations with ms, s, m, h or d.\n";

static const char man_tail[] =
    ".SH ENVIRONMENT\n"
    ".TP\n.B BERTH_CONFIG\nThe configuration file, unless \\fB\\-\\-config\\fR names one.\n"
    ".TP\n.BI BERTH_ OPTION\nOne for each option: upper case, with _ for the dots. Others that "
    "begin with BERTH_ draw\na warning.\n"
    ".SH EXIT STATUS\n"
    ".TP\n.B 0\nIt worked.\n"
    ".TP\n.B 1\nIt failed.\n"
    ".TP\n.B 2\nThe command line or the configuration is wrong.\n"
    ".SH EXAMPLES\n"
    ".TP\nA registry for this machine:\n.B berth serve\n"
    ".TP\nOne for the network:\n"
    ".B berth serve \\-\\-data /srv/berth \\-\\-listen 0.0.0.0:5000\n"
    ".TP\nStart a configuration file:\n.B berth help \\-\\-example >berth.yaml\n"
    ".TP\nSee what a configuration file changes:\n"
    ".B berth config show \\-\\-config berth.yaml\n";

void docs_man(struct buf *out)
{
    buf_add(out, STR(".\\\" Written by \"berth help --man\". Do not edit.\n"
                     ".TH BERTH 1 \"\" Berth \"User Commands\"\n.nh\n.ad l\n"
                     ".SH NAME\nberth \\- container registry\n.SH SYNOPSIS\n"));
    for (const struct command *c = commands; c->name; c++)
        man_synopsis(out, c);
    buf_add(out, STR(".SH DESCRIPTION\nBerth stores container images and other OCI artifacts and "
                     "serves them to clients such as\ndocker, podman and skopeo. Without "
                     "configuration it listens on\n.B "));
    buf_printf(out, "%s\nand keeps its data in\n.BR %s .\n.SH COMMANDS\n",
               default_of(CONF_ID_listen), default_of(CONF_ID_data));
    for (const struct command *c = commands; c->name; c++)
        man_command(out, c);
    buf_add(out, STR(".SH FLAGS\n"));
    man_flags(out, conf_flags, no_flags);
    man_flags(out, tag_flags, conf_flags);
    man_flags(out, fsck_flags, tag_flags);
    man_flags(out, backup_flags, conf_flags);
    man_flags(out, help_flags, no_flags);
    buf_add(out, STR(".SH CONFIGURATION\n"));
    man_text(out, man_configuration);
    buf_add(out, STR(".SH OPTIONS\n"));
    conf_man(out);
    buf_add(out, str_from(man_tail));
}

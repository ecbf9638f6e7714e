/* From sources to struct conf: each source in turn overwrites what the one before it set. */
#include "conf/option.h"
#include "conf/yaml_read.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct load {
    const struct conf_sources *from;
    struct arena *a;
    struct error *why;
    struct conf conf;
    bool indirect[CONF_OPTIONS_N]; /* the present value came through <key>_file */
};

static void fd_cleanup(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Whole content of a file of at most `max` bytes. False: *why ends "cannot read PATH: ". */
static bool read_whole(struct arena *a, str path, size_t max, str *ret, const char **why)
{
    __attribute__((cleanup(fd_cleanup))) int fd = open(arena_cstr(a, path), O_RDONLY | O_CLOEXEC);
    char *p = fd < 0 ? NULL : arena_alloc(a, max + 1);
    size_t n = 0;
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0 && n <= max) {
        got = read(fd, p + n, max + 1 - n);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            n += (size_t)got;
    }
    *ret = str_make(p, n);
    *why = got < 0 ? strerrordesc_np(errno) : n > max ? "the file is too large" : NULL;
    return !*why;
}

static enum err fail(struct load *l, str where, str what)
{
    return error_set(l->a, l->why, ERR_CONFIG, "%.*s: %.*s", STR_ARG(where), STR_ARG(what));
}

static enum err read_secret(struct load *l, const struct conf_option *o, str where, str path,
                            str *ret)
{
    const char *why;
    if (!read_whole(l->a, path, CONF_TEXT_BYTES_MAX + sizeof "\r\n" - 1, ret, &why))
        return error_set(l->a, l->why, ERR_CONFIG, "%.*s: %s_file: cannot read %.*s: %s",
                         STR_ARG(where), o->key, STR_ARG(conf_quote(l->a, path)), why);
    if (str_ends(*ret, STR("\n")))
        ret->n--;
    if (str_ends(*ret, STR("\r")))
        ret->n--;
    if (ret->n == 0)
        return error_set(l->a, l->why, ERR_CONFIG, "%.*s: %s_file: %.*s is empty", STR_ARG(where),
                         o->key, STR_ARG(conf_quote(l->a, path)));
    return OK;
}

/* Takes over one value, read from the file it names when `indirect`. */
static enum err set(struct load *l, const struct conf_option *o, bool indirect,
                    struct conf_value value, struct conf_origin origin)
{
    size_t i = (size_t)(o - conf_options);
    struct conf_origin *before = &l->conf.origins[i];
    str secret, why;
    origin.file = indirect && !value.list ? arena_str(l->a, value.items[0]) : (str){0};
    if (before->where.p && before->source == origin.source && origin.source != CONF_FLAG) {
        if (l->indirect[i] != indirect)
            return error_set(l->a, l->why, ERR_CONFIG,
                             "%.*s: %s and %s_file are both given; keep one", STR_ARG(origin.where),
                             o->key, o->key);
        return OK; /* a variable that is there twice: the first counts, as for getenv */
    }
    if (indirect) {
        if (value.list)
            return error_set(l->a, l->why, ERR_CONFIG, "%.*s: %s_file is a list; it must be a path",
                             STR_ARG(origin.where), o->key);
        enum err e = read_secret(l, o, origin.where, value.items[0], &secret);
        if (e)
            return e;
        value.items = &secret;
    }
    if (conf_option_set(o, &l->conf, value, l->a, &why))
        return fail(l, origin.where, why);
    l->indirect[i] = indirect;
    *before = origin;
    return OK;
}

static struct conf_value scalar(const str *s)
{
    return (struct conf_value){.items = s, .n = 1};
}

static enum err set_defaults(struct load *l)
{
    enum err e = OK;
    for (const struct conf_option *o = conf_options; !e && o < conf_options + CONF_OPTIONS_N; o++) {
        str s = str_from(o->fallback);
        e = set(l, o, false, scalar(&s), (struct conf_origin){CONF_DEFAULT, STR("default")});
    }
    return e;
}

static enum err fail_unknown(struct load *l, str where, str key)
{
    str near = conf_key_nearest(key);
    str quoted = conf_quote(l->a, key);
    if (near.n)
        return error_set(l->a, l->why, ERR_CONFIG,
                         "%.*s: there is no option %.*s; did you mean \"%.*s\"?", STR_ARG(where),
                         STR_ARG(quoted), STR_ARG(near));
    return error_set(l->a, l->why, ERR_CONFIG,
                     "%.*s: there is no option %.*s; \"berth help options\" lists all",
                     STR_ARG(where), STR_ARG(quoted));
}

static enum err set_entry(struct load *l, const struct yaml_entry *entry)
{
    bool indirect, section = conf_is_section(entry->path);
    str where = arena_printf(l->a, "%.*s:%u", STR_ARG(l->from->file), entry->line);
    const struct conf_option *o = conf_option_find(entry->path, &indirect);
    struct conf_origin origin = {CONF_FILE, where};
    str none = STR("");
    if (section && (entry->kind == YAML_SECTION || entry->kind == YAML_NOTHING))
        return OK;
    if (section)
        return error_set(l->a, l->why, ERR_CONFIG,
                         "%.*s: \"%.*s\" has no value of its own; its options stand below it, "
                         "indented",
                         STR_ARG(where), STR_ARG(entry->path));
    if (!o)
        return fail_unknown(l, where, entry->path);
    if (entry->kind == YAML_SECTION)
        return error_set(l->a, l->why, ERR_CONFIG, "%.*s: %.*s is a section; it must be %.*s",
                         STR_ARG(where), STR_ARG(entry->path),
                         STR_ARG(indirect ? STR("a path") : conf_option_allowed(l->a, o)));
    if (entry->kind == YAML_NOTHING)
        return set(l, o, indirect, scalar(&none), origin);
    return set(l, o, indirect,
               (struct conf_value){entry->values, entry->n, entry->kind == YAML_LIST}, origin);
}

static enum err set_file(struct load *l)
{
    ARENA_CLEANUP struct arena tmp = {0};
    struct yaml yaml;
    str text = l->from->file_text, why;
    const char *reason;
    unsigned line;
    if (!text.p && l->from->file.n == 0)
        return OK;
    if (!text.p && !read_whole(&tmp, l->from->file, YAML_BYTES_MAX, &text, &reason))
        return error_set(l->a, l->why, ERR_CONFIG, "cannot read the configuration file %.*s: %s",
                         STR_ARG(conf_quote(l->a, l->from->file)), reason);
    if (yaml_read(&tmp, text, &yaml, &line, &why))
        return fail(
            l, line ? arena_printf(l->a, "%.*s:%u", STR_ARG(l->from->file), line) : l->from->file,
            why);
    enum err e = OK;
    for (size_t i = 0; !e && i < yaml.n; i++)
        e = set_entry(l, &yaml.entries[i]);
    return e;
}

static void warn_unknown(struct load *l, str name)
{
    str near = conf_env_nearest(l->a, name);
    if (!l->from->warn)
        return;
    str line = arena_printf(l->a, "the environment variable %.*s is no option and has no effect",
                            STR_ARG(name));
    if (near.n)
        line = arena_printf(l->a, "%.*s; did you mean %.*s?", STR_ARG(line), STR_ARG(near));
    l->from->warn(line, l->from->warn_arg);
}

static enum err set_environment(struct load *l)
{
    enum err e = OK;
    for (const char *const *at = l->from->environ; !e && at && *at; at++) {
        str name, value;
        bool indirect;
        if (!str_cut(str_from(*at), '=', &name, &value) || !str_starts(name, STR("BERTH_")) ||
            str_eq(name, STR("BERTH_CONFIG")))
            continue;
        const struct conf_option *o = conf_option_find_env(name, &indirect);
        if (!o) {
            warn_unknown(l, name);
            continue;
        }
        str where = arena_printf(l->a, "environment variable %.*s", STR_ARG(name));
        e = set(l, o, indirect, scalar(&value), (struct conf_origin){CONF_ENVIRONMENT, where});
    }
    return e;
}

static enum err set_flags(struct load *l)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < l->from->set_n; i++) {
        const struct conf_set *flag = &l->from->sets[i];
        bool indirect;
        const struct conf_option *o = conf_option_find(flag->key, &indirect);
        if (!o)
            return fail_unknown(l, str_from(flag->flag), flag->key);
        e = set(l, o, indirect, scalar(&flag->value),
                (struct conf_origin){CONF_FLAG, str_from(flag->flag)});
    }
    return e;
}

enum err conf_load(struct conf *ret, const struct conf_sources *sources, struct arena *a,
                   struct error *why)
{
    struct load l = {.from = sources, .a = a, .why = why};
    enum err e = set_defaults(&l);
    if (!e)
        e = set_file(&l);
    if (!e)
        e = set_environment(&l);
    if (!e)
        e = set_flags(&l);
    if (!e)
        *ret = l.conf;
    return e;
}

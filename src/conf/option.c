#include "conf/option.h"

#include "base/buf.h"
#include "conf/address.h"
#include "conf/listen.h"
#include "conf/nearest.h"
#include "conf/value.h"

enum { SECRET = CONF_SECRET, RELOAD = CONF_RELOAD, WRITE = CONF_WRITE, SOCKET = CONF_SOCKET };

const struct conf_option conf_options[CONF_OPTIONS_N] = {
#define OPT(key, field, type, fallback, min, max, flags, help) \
    {key, CONF_##type, fallback, min, max, flags, help, offsetof(struct conf, field)},
#include "conf/options.def"
#undef OPT
};

const struct conf_section conf_sections[] = {
#define SECTION(name, title) {name, title},
#include "conf/sections.def"
#undef SECTION
    {0}};

/* How values of one type look and where they go. set stores a scalar that is allowed, or returns
 * false; get prints it. Types without both are lists, whose entries pass `ok`
 * or have no `flaw`. */
struct type {
    const char *allowed; /* a scalar, or one entry of a list */
    const char *units;   /* NULL: none */
    const char *words;   /* BOOL */
    bool (*ok)(str s);
    const char *(*flaw)(str s); /* in place of ok: NULL, or what is wrong */
    enum err (*parse)(str s, uint64_t *ret);
    str (*format)(uint64_t v, char *out);
    bool (*set)(const struct conf_option *o, void *field, str s, struct arena *a);
    str (*get)(const struct conf_option *o, const void *field, struct arena *a);
};

static const struct type *type_of(const struct conf_option *o);

static bool is_text(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return s.n <= CONF_TEXT_BYTES_MAX;
}

static bool is_url_or_empty(str s)
{
    return s.n == 0 || address_is_url(s);
}

static bool text_set(const struct conf_option *o, void *field, str s, struct arena *a)
{
    if (!type_of(o)->ok(s))
        return false;
    *(str *)field = arena_str(a, s);
    return true;
}

/* An option without a default path may go without one. */
static bool path_set(const struct conf_option *o, void *field, str s, struct arena *a)
{
    return (s.n > 0 || !*o->fallback) && text_set(o, field, s, a);
}

static str text_get(const struct conf_option *o, const void *field, struct arena *a)
{
    return *(const str *)field;
}

static bool number_set(const struct conf_option *o, void *field, str s, struct arena *a)
{
    const struct type *type = type_of(o);
    uint64_t v, bound;
    str min = str_from(o->min), max = str_from(o->max);
    if (type->parse(s, &v) || (min.n && (type->parse(min, &bound) || v < bound)) ||
        (max.n && (type->parse(max, &bound) || v > bound)))
        return false;
    *(uint64_t *)field = v;
    return true;
}

static str number_get(const struct conf_option *o, const void *field, struct arena *a)
{
    char out[VALUE_TEXT_MAX];
    return arena_str(a, type_of(o)->format(*(const uint64_t *)field, out));
}

/* The words of a BOOL or CHOICE: "a|b|c". */
static str words_of(const struct conf_option *o)
{
    return str_from(type_of(o)->words ? type_of(o)->words : o->min);
}

static bool word_find(str words, str s, unsigned *index)
{
    str word;
    for (unsigned i = 0; str_next(&words, '|', &word); i++) {
        if (str_eq(word, s)) {
            *index = i;
            return true;
        }
    }
    return false;
}

static str word_at(str words, unsigned index)
{
    str word = {0};
    for (unsigned i = 0; i <= index && str_next(&words, '|', &word); i++)
        ;
    return word;
}

static bool bool_set(const struct conf_option *o, void *field, str s, struct arena *a)
{
    unsigned index;
    if (!word_find(words_of(o), s, &index))
        return false;
    *(bool *)field = index == 1;
    return true;
}

static str bool_get(const struct conf_option *o, const void *field, struct arena *a)
{
    return word_at(words_of(o), *(const bool *)field);
}

static bool choice_set(const struct conf_option *o, void *field, str s, struct arena *a)
{
    return word_find(words_of(o), s, field);
}

static str choice_get(const struct conf_option *o, const void *field, struct arena *a)
{
    return word_at(words_of(o), *(const unsigned *)field);
}

/* `*`, `prefix/` and `*`, or a name; the grammar of names is registry/name.h's, which is above. */
static bool is_repository_pattern(str s)
{
    if (str_eq(s, STR("*")))
        return true;
    if (str_ends(s, STR("/*")))
        s.n -= 2;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                    c == '-' || c == '/';
        if (!fits)
            return false;
    }
    return s.n > 0 && s.p[0] != '/' && s.p[s.n - 1] != '/';
}

static const char *listen_flaw(str s)
{
    struct listen_entry entry;
    return listen_entry_parse(s, &entry);
}

static const struct type types[CONF_TYPES_N] = {
    [CONF_PATH] = {.allowed = "a path", .ok = is_text, .set = path_set, .get = text_get},
    [CONF_TEXT] = {.allowed =
                       "text of at most 4096 bytes, without line breaks and control characters",
                   .ok = is_text,
                   .set = text_set,
                   .get = text_get},
    [CONF_URL] = {.allowed = "http://host[:port] or https://host[:port], without a path",
                  .ok = is_url_or_empty,
                  .set = text_set,
                  .get = text_get},
    [CONF_LISTEN] = {.allowed = "a numeric address and a port, such as 127.0.0.1:5000 or "
                                "https://[::]:443, or a socket, such as unix:/run/berth/http.sock",
                     .flaw = listen_flaw},
    [CONF_HOSTS] = {.allowed = "a host or host:port, such as registry.example.com or "
                               "localhost:5000",
                    .ok = address_is_host},
    [CONF_NETWORKS] = {.allowed = "an address or CIDR block, such as 10.0.0.7 or 10.0.0.0/8",
                       .ok = address_is_network},
    [CONF_REPOSITORIES] = {.allowed = "a repository (team/app), all of a project (team/*), or * "
                                      "for all",
                           .ok = is_repository_pattern},
    [CONF_BOOL] = {.words = "false|true", .set = bool_set, .get = bool_get},
    [CONF_COUNT] = {.allowed = "a whole number",
                    .parse = count_parse,
                    .format = count_format,
                    .set = number_set,
                    .get = number_get},
    [CONF_SIZE] = {.allowed = "a size",
                   .units = "B, KiB, MiB, GiB, TiB",
                   .parse = size_parse,
                   .format = size_format,
                   .set = number_set,
                   .get = number_get},
    [CONF_DURATION] = {.allowed = "a duration",
                       .units = "ms, s, m, h, d",
                       .parse = duration_parse,
                       .format = duration_format,
                       .set = number_set,
                       .get = number_get},
    [CONF_CHOICE] = {.set = choice_set, .get = choice_get},
};

static const struct type *type_of(const struct conf_option *o)
{
    return &types[o->type];
}

bool conf_option_is_list(const struct conf_option *o)
{
    return !type_of(o)->set;
}

str conf_option_text(const struct conf_option *o, const struct conf *conf, struct arena *a)
{
    return type_of(o)->get(o, (const char *)conf + o->offset, a);
}

struct conf_list conf_option_items(const struct conf_option *o, const struct conf *conf)
{
    return *(const struct conf_list *)((const char *)conf + o->offset);
}

str conf_quote(struct arena *a, str s)
{
    enum { SHOWN_MAX = 64 };
    char out[SHOWN_MAX];
    size_t n = s.n < SHOWN_MAX ? s.n : SHOWN_MAX;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? '?' : s.p[i];
    /* Do not end inside a UTF-8 character. */
    while (n && n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return arena_printf(a, "\"%.*s%s\"", (int)n, out, n < s.n ? "..." : "");
}

/* "none, pull or push" */
static str words_allowed(struct arena *a, str words)
{
    str out = {0}, word;
    while (str_next(&words, '|', &word)) {
        const char *gap = !out.p ? "" : words.p ? ", " : " or ";
        out = arena_printf(a, "%.*s%s%.*s", STR_ARG(out), gap, STR_ARG(word));
    }
    return out;
}

/* "from 1KiB to 1MiB", "1KiB or more": with a comma or space in front. */
static str bounds_allowed(struct arena *a, const struct conf_option *o)
{
    if (*o->min && *o->max)
        return arena_printf(a, " from %s to %s", o->min, o->max);
    if (*o->min)
        return arena_printf(a, ", %s or more", o->min);
    return *o->max ? arena_printf(a, ", at most %s", o->max) : (str){0};
}

str conf_option_allowed(struct arena *a, const struct conf_option *o)
{
    const struct type *type = type_of(o);
    if (conf_option_is_list(o))
        return arena_printf(a, "a list; each entry is %s", type->allowed);
    if (!type->allowed)
        return words_allowed(a, words_of(o));
    if (!type->parse)
        return str_from(type->allowed);
    return arena_printf(a, "%s%.*s", type->allowed, STR_ARG(bounds_allowed(a, o)));
}

/* One scalar stands for a list with commas: "a, b". The empty text is the empty list. */
static struct conf_value split(str s, struct arena *a)
{
    size_t n = 1;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == ',';
    str *items = ARENA_ARRAY(a, n, str);
    str part;
    if (str_trim(s).n == 0)
        n = 0;
    for (size_t i = 0; i < n && str_next(&s, ',', &part); i++)
        items[i] = str_trim(part);
    return (struct conf_value){.items = items, .n = n, .list = true};
}

/* Checks one entry of a list. */
static enum err check_item(const struct conf_option *o, str item, struct arena *a, str *why)
{
    const struct type *type = type_of(o);
    const char *flaw = type->flaw ? type->flaw(item) : NULL;
    if (type->flaw ? !flaw : type->ok(item))
        return OK;
    *why = arena_printf(a, "%s has the entry %.*s%s%s; each must be %s", o->key,
                        STR_ARG(conf_quote(a, item)), flaw ? ": " : "", flaw ? flaw : "",
                        type->allowed);
    return ERR_CONFIG;
}

static enum err list_set(const struct conf_option *o, struct conf *conf, struct conf_value value,
                         struct arena *a, str *why)
{
    const char *allowed = type_of(o)->allowed;
    uint64_t least = 0;
    if (*o->min && !str_u64(str_from(o->min), &least))
        least = 0;
    if (!value.list)
        value = split(value.items[0], a);
    if (value.n < least) {
        *why = arena_printf(a, "%s is empty; it needs at least one entry: %s", o->key, allowed);
        return ERR_CONFIG;
    }
    if (value.n > CONF_LIST_ITEMS_MAX) {
        *why = arena_printf(a, "%s has %zu entries; at most %d are allowed", o->key, value.n,
                            CONF_LIST_ITEMS_MAX);
        return ERR_CONFIG;
    }
    str *items = ARENA_ARRAY(a, value.n, str);
    for (size_t i = 0; i < value.n; i++) {
        if (check_item(o, value.items[i], a, why))
            return ERR_CONFIG;
        items[i] = arena_str(a, value.items[i]);
    }
    *(struct conf_list *)((char *)conf + o->offset) = (struct conf_list){items, value.n};
    return OK;
}

enum err conf_option_set(const struct conf_option *o, struct conf *conf, struct conf_value value,
                         struct arena *a, str *why)
{
    if (conf_option_is_list(o))
        return list_set(o, conf, value, a, why);
    if (!value.list && type_of(o)->set(o, (char *)conf + o->offset, value.items[0], a))
        return OK;
    str is = value.list ? STR("is a list")
             : o->flags & CONF_SECRET
                 ? STR("has a value that is not allowed (not shown)")
                 : arena_printf(a, "is %.*s", STR_ARG(conf_quote(a, value.items[0])));
    const char *units = type_of(o)->units;
    *why = arena_printf(a, "%s %.*s; it must be %.*s%s%s%s", o->key, STR_ARG(is),
                        STR_ARG(conf_option_allowed(a, o)), units ? " (units: " : "",
                        units ? units : "", units ? ")" : "");
    return ERR_CONFIG;
}

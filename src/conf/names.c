/* Names of options: keys, environment variables, sections, and what a person may have meant. */
#include "conf/nearest.h"
#include "conf/option.h"

#define PREFIX "BERTH_"

str conf_option_section(const struct conf_option *o)
{
    str key = str_from(o->key);
    size_t dot = str_rfind(key, '.');
    return dot < key.n ? str_first(key, dot) : STR("");
}

str conf_option_name(const struct conf_option *o)
{
    str key = str_from(o->key);
    size_t dot = str_rfind(key, '.');
    return dot < key.n ? str_skip(key, dot + 1) : key;
}

/* The environment's spelling of one byte of a key. */
static char env_char(char c)
{
    return c == '.' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

str conf_option_env(struct arena *a, const struct conf_option *o)
{
    str prefix = STR(PREFIX), key = str_from(o->key);
    char *p = arena_alloc(a, prefix.n + key.n + 1);
    memcpy(p, prefix.p, prefix.n);
    for (size_t i = 0; i < key.n; i++)
        p[prefix.n + i] = env_char(key.p[i]);
    return str_make(p, prefix.n + key.n);
}

static bool key_is(str key, str name)
{
    return str_eq(key, name);
}

static bool env_is(str key, str name)
{
    str prefix = STR(PREFIX);
    if (name.n != prefix.n + key.n || !str_starts(name, prefix))
        return false;
    for (size_t i = 0; i < key.n; i++)
        if (env_char(key.p[i]) != name.p[prefix.n + i])
            return false;
    return true;
}

static const struct conf_option *find(bool (*is)(str key, str name), str name, str suffix,
                                      bool *indirect)
{
    str stem = str_ends(name, suffix) ? str_first(name, name.n - suffix.n) : (str){0};
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++) {
        str key = str_from(o->key);
        *indirect = (o->flags & CONF_SECRET) && is(key, stem);
        if (*indirect || is(key, name))
            return o;
    }
    return NULL;
}

const struct conf_option *conf_option_find(str key, bool *indirect)
{
    return find(key_is, key, STR("_file"), indirect);
}

const struct conf_option *conf_option_find_env(str name, bool *indirect)
{
    return find(env_is, name, STR("_FILE"), indirect);
}

bool conf_is_section(str path)
{
    for (const struct conf_section *s = conf_sections + 1; s->name; s++)
        if (str_eq(path, str_from(s->name)))
            return true;
    return false;
}

str conf_key_nearest(str key)
{
    struct nearest near = {.wanted = key};
    /* The right name in the wrong section, or in none. */
    str name = str_skip(key, str_rfind(key, '.') < key.n ? str_rfind(key, '.') + 1 : 0);
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++)
        if (str_eq(name, conf_option_name(o)))
            return str_from(o->key);
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++)
        nearest_offer(&near, str_from(o->key));
    for (const struct conf_section *s = conf_sections + 1; s->name; s++)
        nearest_offer(&near, str_from(s->name));
    return near.best;
}

str conf_env_nearest(struct arena *a, str name)
{
    struct nearest near = {.wanted = name};
    nearest_offer(&near, STR(PREFIX "CONFIG"));
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++)
        nearest_offer(&near, conf_option_env(a, o));
    return near.best;
}

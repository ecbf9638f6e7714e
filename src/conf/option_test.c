#include "conf/option.h"

#include "base/test.h"

static const struct conf_option *const end = conf_options + CONF_OPTIONS_N;

static void environment_names_are_unique(void)
{
    ARENA_CLEANUP struct arena a = {0};
    for (const struct conf_option *o = conf_options; o < end; o++) {
        str name = conf_option_env(&a, o);
        str file = arena_printf(&a, "%.*s_FILE", STR_ARG(name));
        bool indirect;
        CHECK(!str_eq(name, STR("BERTH_CONFIG")));
        CHECK(conf_option_find_env(name, &indirect) == o && !indirect);
        if (o->flags & CONF_SECRET)
            CHECK(conf_option_find_env(file, &indirect) == o && indirect);
        for (const struct conf_option *p = conf_options; p < end; p++) {
            CHECK(p == o || !str_eq(conf_option_env(&a, p), name));
            CHECK(!(o->flags & CONF_SECRET) || !str_eq(conf_option_env(&a, p), file));
        }
    }
}

static void sections_are_known_and_whole(void)
{
    const struct conf_section *s = conf_sections;
    for (const struct conf_option *o = conf_options; o < end; o++) {
        /* The file renderings nest one level. */
        CHECK_INT(str_find(conf_option_section(o), '.'), conf_option_section(o).n);
        while (s->name && !str_eq(conf_option_section(o), str_from(s->name)))
            s++;
        if (!s->name) {
            test_fail(__FILE__, __LINE__, "%s: no row in sections.def, or out of order", o->key);
            return;
        }
    }
    CHECK(conf_is_section(STR("limits")));
    CHECK(!conf_is_section(STR("")));
    CHECK(!conf_is_section(STR("limits.page")));
}

static bool set(const struct conf_option *o, struct conf *conf, const char *text, struct arena *a)
{
    str s = str_from(text), why;
    return !conf_option_set(o, conf, (struct conf_value){.items = &s, .n = 1}, a, &why);
}

static void rows_hold_together(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct conf conf = {0};
    for (const struct conf_option *o = conf_options; o < end; o++) {
        bool number = o->type == CONF_COUNT || o->type == CONF_SIZE || o->type == CONF_DURATION;
        if (!set(o, &conf, o->fallback, &a))
            test_fail(__FILE__, __LINE__, "%s: its own default is refused", o->key);
        else if (!conf_option_is_list(o))
            CHECK(number || str_eq(conf_option_text(o, &conf, &a), str_from(o->fallback)));
        if (number && *o->min)
            CHECK(set(o, &conf, o->min, &a));
        if (number && *o->max)
            CHECK(set(o, &conf, o->max, &a));
        str help = str_from(o->help);
        CHECK(str_ends(help, STR(".")) && !str_contains(help, STR("  ")));
        CHECK(conf_option_allowed(&a, o).n > 0);
    }
}

static const struct conf_option *option(const char *key)
{
    bool indirect;
    return conf_option_find(str_from(key), &indirect);
}

static str allowed(const char *key, struct arena *a)
{
    return conf_option_allowed(a, option(key));
}

static void says_what_is_allowed(void)
{
    ARENA_CLEANUP struct arena a = {0};
    CHECK_STR(allowed("limits.page", &a), "a whole number from 1 to 10000");
    CHECK_STR(allowed("limits.head", &a), "a size from 1KiB to 1MiB");
    CHECK_STR(allowed("limits.blob", &a), "a size, 0B or more");
    CHECK_STR(allowed("timeouts.idle", &a), "a duration from 100ms to 1h");
    CHECK_STR(allowed("auth.anonymous", &a), "none, pull or push");
    CHECK_STR(allowed("log.format", &a), "logfmt or json");
    CHECK_STR(allowed("log.access", &a), "false or true");
    CHECK_STR(allowed("data", &a), "a path");
}

static void suggests(void)
{
    ARENA_CLEANUP struct arena a = {0};
    CHECK_STR(conf_key_nearest(STR("limits.pages")), "limits.page");
    CHECK_STR(conf_key_nearest(STR("lisen")), "listen");
    CHECK_STR(conf_key_nearest(STR("limit")), "limits");
    CHECK_STR(conf_key_nearest(STR("anonymous")), "auth.anonymous");
    CHECK_STR(conf_key_nearest(STR("storage.data")), "data");
    CHECK_STR(conf_key_nearest(STR("something.else")), "");
    CHECK_STR(conf_env_nearest(&a, STR("BERTH_LITSEN")), "BERTH_LISTEN");
    CHECK_STR(conf_env_nearest(&a, STR("BERTH_CONFG")), "BERTH_CONFIG");
    CHECK_STR(conf_env_nearest(&a, STR("BERTH_SERVICE_PORT")), "");
}

static void quotes(void)
{
    ARENA_CLEANUP struct arena a = {0};
    CHECK_STR(conf_quote(&a, STR("")), "\"\"");
    CHECK_STR(conf_quote(&a, STR("a\x1b[31m\n\0b")), "\"a?[31m??b\"");
    CHECK_STR(
        conf_quote(&a, STR("0123456789012345678901234567890123456789012345678901234567890123")),
        "\"0123456789012345678901234567890123456789012345678901234567890123\"");
    /* 63 bytes and a character of two. */
    CHECK_STR(
        conf_quote(&a,
                   STR("012345678901234567890123456789012345678901234567890123456789012\xc3\xa9")),
        "\"012345678901234567890123456789012345678901234567890123456789012...\"");
}

TESTS({"environment names are unique", environment_names_are_unique},
      {"sections are known and whole", sections_are_known_and_whole},
      {"rows hold together", rows_hold_together}, {"says what is allowed", says_what_is_allowed},
      {"suggests", suggests}, {"quotes", quotes});

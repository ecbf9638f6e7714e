#include "conf/show.h"

#include "base/test.h"
#include "conf/option.h"

static struct arena a;

static struct conf load(str file)
{
    struct conf conf;
    struct error why = {0};
    struct conf_sources sources = {.file = STR("f.yaml"), .file_text = file};
    if (conf_load(&conf, &sources, &a, &why))
        test_fail(__FILE__, __LINE__, "%.*s", STR_ARG(why.message));
    return conf;
}

/* Same values, wherever they came from. */
static void check_same(const struct conf *x, const struct conf *y)
{
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++) {
        if (!conf_option_is_list(o)) {
            CHECK(str_eq(conf_option_text(o, x, &a), conf_option_text(o, y, &a)));
            continue;
        }
        struct conf_list p = conf_option_items(o, x), q = conf_option_items(o, y);
        CHECK_INT(p.n, q.n);
        for (size_t i = 0; i < p.n && i < q.n; i++)
            CHECK(str_eq(p.items[i], q.items[i]));
    }
}

static void shown_is_loadable(void)
{
    BUF_CLEANUP struct buf out = BUF_INIT(CONF_SHOW_BYTES_MAX);
    struct conf conf = load(STR("data: \"/a b/\\\"c\\\\: # \xc3\xa9\"\n"
                                "listen: ['[::1]:80', 1.2.3.4:5]\n"
                                "server: {hosts: [a:80], url: 'https://[::1]:8'}\n"
                                "limits: {head: 5KiB}\ntimeouts: {idle: 90s}\n"
                                "log: {format: json, access: false}\n"));
    conf_show(&out, &conf);
    struct conf again = load(buf_str(&out));
    check_same(&conf, &again);
    CHECK(str_contains(buf_str(&out),
                       STR("\n  head: 5KiB                                 # f.yaml:4\n")));
    CHECK(str_contains(buf_str(&out),
                       STR("listen: [\"[::1]:80\", 1.2.3.4:5]              # f.yaml:2\n")));
    conf = load(STR("data: null_\nserver: {hosts: []}"));
    buf_clear(&out);
    conf_show(&out, &conf);
    again = load(buf_str(&out));
    check_same(&conf, &again);
    arena_release(&a);
}

static void secrets_are_not_shown(void)
{
    BUF_CLEANUP struct buf out = BUF_INIT(CONF_SHOW_BYTES_MAX);
    struct conf conf = load(STR("auth: {admin_password: hunter2}"));
    conf_show(&out, &conf);
    CHECK(!str_contains(buf_str(&out), STR("hunter2")));
    CHECK(str_contains(buf_str(&out),
                       STR("  # admin_password is set, not shown         # f.yaml:1\n")));
    (void)load(buf_str(&out));
    arena_release(&a);
}

/* The example loads as it is, and with every option's # removed; both are the defaults. */
static void example_is_the_defaults(void)
{
    BUF_CLEANUP struct buf out = BUF_INIT(CONF_SHOW_BYTES_MAX);
    BUF_CLEANUP struct buf active = BUF_INIT(CONF_SHOW_BYTES_MAX);
    conf_example(&out);
    struct conf none = load(STR("")), conf = load(buf_str(&out));
    check_same(&none, &conf);
    size_t options = 0;
    str rest = buf_str(&out), line;
    while (str_next(&rest, '\n', &line)) {
        size_t hash = str_find(line, '#');
        bool option = hash + 1 < line.n && line.p[hash + 1] != ' ';
        options += option;
        buf_add(&active, option ? str_first(line, hash) : line);
        buf_add(&active, option ? str_skip(line, hash + 1) : STR(""));
        buf_byte(&active, '\n');
        CHECK(line.n <= 80);
    }
    CHECK_INT(options, CONF_OPTIONS_N);
    conf = load(buf_str(&active));
    check_same(&none, &conf);
    for (size_t i = 0; i < CONF_OPTIONS_N; i++)
        CHECK_INT(conf.origins[i].source, CONF_FILE);
    arena_release(&a);
}

static void reference_is_complete(void)
{
    void (*const forms[])(struct buf *) = {conf_help, conf_markdown, conf_man};
    for (size_t i = 0; i < 3; i++) {
        BUF_CLEANUP struct buf out = BUF_INIT(CONF_SHOW_BYTES_MAX);
        forms[i](&out);
        CHECK(!out.full);
        for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++)
            CHECK(str_contains(buf_str(&out), str_from(o->key)));
    }
}

static void wraps(void)
{
    BUF_CLEANUP struct buf out = BUF_INIT(1000);
    text_wrap(&out, "  ", 10, STR("one two three supercalifragilistic a"));
    CHECK_STR(buf_str(&out), "  one two\n  three\n  supercalifragilistic\n  a\n");
}

static void escapes_roff(void)
{
    BUF_CLEANUP struct buf out = BUF_INIT(1000);
    roff_add(&out, STR(".a\\b --c\n'd . '"));
    CHECK_STR(buf_str(&out), "\\&.a\\eb \\-\\-c\n\\&'d . '");
}

TESTS({"shown is loadable", shown_is_loadable}, {"secrets are not shown", secrets_are_not_shown},
      {"example is the defaults", example_is_the_defaults},
      {"reference is complete", reference_is_complete}, {"wraps", wraps},
      {"escapes roff", escapes_roff});

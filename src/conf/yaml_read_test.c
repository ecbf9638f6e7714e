#include "conf/yaml_read.h"

#include "base/test.h"

static struct arena a;

/* The entries as one text: "path@line=value" or "path@line=[v,v]", "{" for sections, ";" between.
 */
static str flat(struct yaml yaml)
{
    str out = STR("");
    for (size_t i = 0; i < yaml.n; i++) {
        const struct yaml_entry *e = &yaml.entries[i];
        const char *open = e->kind == YAML_LIST ? "=[" : e->kind == YAML_SCALAR ? "=" : "";
        out = arena_printf(&a, "%.*s%s%.*s@%u%s", STR_ARG(out), i ? ";" : "", STR_ARG(e->path),
                           e->line, open);
        for (size_t v = 0; v < e->n; v++)
            out = arena_printf(&a, "%.*s%s%.*s", STR_ARG(out), v ? "," : "", STR_ARG(e->values[v]));
        if (e->kind == YAML_LIST || e->kind == YAML_SECTION)
            out = arena_printf(&a, "%.*s%s", STR_ARG(out), e->kind == YAML_LIST ? "]" : "{");
    }
    return out;
}

static str accept(str text)
{
    struct yaml yaml;
    unsigned line;
    str why;
    enum err e = yaml_read(&a, text, &yaml, &line, &why);
    return e ? arena_printf(&a, "%u: %.*s", line, STR_ARG(why)) : flat(yaml);
}

static void refuses(const char *text, unsigned want_line, const char *want_why)
{
    struct yaml yaml;
    unsigned line = 0;
    str why = {0};
    if (!yaml_read(&a, str_from(text), &yaml, &line, &why))
        test_fail(__FILE__, __LINE__, "accepted: %s", text);
    if (line != want_line || !str_contains(why, str_from(want_why)))
        test_fail(__FILE__, __LINE__, "refused with \"%u: %.*s\": %s", line, STR_ARG(why), text);
}

static void accepts(void)
{
    CHECK_STR(accept(STR("")), "");
    CHECK_STR(accept(STR("# only a comment\n")), "");
    CHECK_STR(accept(STR("---\n")), "");
    CHECK_STR(accept(STR("{}")), "");
    CHECK_STR(accept(STR("data: /srv\n")), "data@1=/srv");
    CHECK_STR(accept(STR("\xef\xbb\xbf"
                         "data: /srv\r\n")),
              "data@1=/srv");
    CHECK_STR(accept(STR("listen: 127.0.0.1:5000")), "listen@1=127.0.0.1:5000");
    CHECK_STR(accept(STR("a:\n  b: 1\n  c:\n    d: 'x y'\ne: \"\"\n")),
              "a@1{;a.b@2=1;a.c@3{;a.c.d@4=x y;e@5=");
    CHECK_STR(accept(STR("l:\n- a\n- b\nm: [c, \"d\"]\nn: []\n")), "l@1=[a,b];m@4=[c,d];n@5=[]");
    CHECK_STR(accept(STR("limits:\n  # page: 5\nlog:\n  level: no\n")),
              "limits@1;log@3{;log.level@4=no");
    CHECK_STR(accept(STR("a: \"null\"\nb: '~'\n")), "a@1=null;b@2=~");
    CHECK_STR(accept(STR("a: 1e3\nb: 0x10\nc: 12:30\n")), "a@1=1e3;b@2=0x10;c@3=12:30");
    arena_release(&a);
}

static void refuses_constructs(void)
{
    refuses("a: &x 1\n", 1, "anchors");
    refuses("a: &x [1]\n", 1, "anchors");
    refuses("a: &x {b: 1}\n", 1, "anchors");
    refuses("a: 1\nb: *x\n", 2, "aliases");
    refuses("a: !!int 1\n", 1, "tags");
    refuses("a: ! x\n", 1, "tags");
    refuses("a: !!set {b}\n", 1, "tags");
    refuses("<<: {a: 1}\n", 1, "merge");
    refuses("a: 1\na: 2\n", 2, "\"a\" is there twice");
    refuses("a:\n  b: 1\nc: 1\na:\n  d: 1\n", 4, "\"a\" is there twice");
    refuses("a:\n  b: 1\n  b: 2\n", 3, "\"a.b\" is there twice");
    refuses("a: 1\n---\nb: 1\n", 2, "one document");
    refuses("%YAML 1.1\n---\na: 1\n", 1, "directives");
    refuses("%TAG ! tag:x,2000:\n---\na: 1\n", 1, "directives");
    refuses("server.url: x\n", 1, "no dot: write \"server:\"");
    refuses("a: null\n", 1, "null");
    refuses("a: [~]\n", 1, "null");
    refuses("\"\": 1\n", 1, "empty");
    refuses("\"a\\0b\": 1\n", 1, "NUL");
    refuses("? [a]\n: 1\n", 1, "plain word");
    refuses("? {a: b}\n: 1\n", 1, "plain word");
    refuses("a: [[1]]\n", 1, "plain values only");
    refuses("a:\n- b: 1\n", 2, "plain values only");
    refuses("- a\n", 1, "options expected");
    refuses("just words\n", 1, "options expected");
    arena_release(&a);
}

static void explains_syntax(void)
{
    refuses("a:\n\tb: 1\n", 2, "with spaces");
    refuses("listen: [::]:5000\n", 1, "quotes");
    refuses("a: @b\n", 1, "quotes");
    refuses("a: b: c\n", 1, "not valid YAML");
    refuses("a: 1\nb: \xff\n", 2, "not UTF-8");
    refuses("\xff", 1, "not UTF-8");
    refuses("a: \"x\n", 2, "not valid YAML");
    arena_release(&a);
}

static void keeps_bounds(void)
{
    CHECK_STR(accept(STR("{a: {a: {a: {a: {a: {a: {a: {b: c}}}}}}}}")),
              "a@1{;a.a@1{;a.a.a@1{;a.a.a.a@1{;a.a.a.a.a@1{;a.a.a.a.a.a@1{;a.a.a.a.a.a.a@1{;"
              "a.a.a.a.a.a.a.b@1=c");
    refuses("{a: {a: {a: {a: {a: {a: {a: {a: {b: c}}}}}}}}}", 1, "too deeply");
    static char large[YAML_BYTES_MAX + 2];
    memset(large, '#', YAML_BYTES_MAX + 1);
    refuses(large, 0, "1 MiB");
    large[YAML_BYTES_MAX] = '\0';
    CHECK_STR(accept(str_from(large)), "");

    str keys = STR(""), list = STR("a: [0");
    for (int i = 0; i <= YAML_ENTRIES_MAX; i++)
        keys = arena_printf(&a, "%.*sk%d: 1\n", STR_ARG(keys), i);
    for (int i = 0; i < YAML_VALUES_MAX; i++)
        list = arena_printf(&a, "%.*s,1", STR_ARG(list));
    refuses(keys.p, YAML_ENTRIES_MAX + 1, "too many keys");
    refuses(arena_printf(&a, "%.*s]", STR_ARG(list)).p, 1, "too many values");
    large[YAML_KEY_BYTES_MAX + 1] = '\0';
    memset(large, 'k', YAML_KEY_BYTES_MAX + 1);
    refuses(arena_printf(&a, "%s: 1", large).p, 1, "too long");
    arena_release(&a);
}

TESTS({"accepts", accepts}, {"refuses constructs", refuses_constructs},
      {"explains syntax", explains_syntax}, {"keeps bounds", keeps_bounds});

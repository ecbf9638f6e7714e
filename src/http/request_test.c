#include "base/test.h"
#include "http/request.h"

static void names_methods(void)
{
    enum method m;
    for (int i = 0; i < METHOD_COUNT; i++) {
        CHECK(method_parse(method_name((enum method)i), &m));
        CHECK_INT(m, i);
    }
    CHECK_STR(method_name(METHOD_PATCH), "PATCH");
    CHECK(!method_parse(STR("patch"), &m));
    CHECK(!method_parse(STR("PATCHES"), &m));
    CHECK(!method_parse(STR(""), &m));
}

static void finds_headers(void)
{
    static const struct field fields[] = {
        {STR_INIT("host"), STR_INIT("h")},
        {STR_INIT("accept"), STR_INIT("a")},
        {STR_INIT("accept"), STR_INIT("")},
        {STR_INIT("accept"), STR_INIT("c")},
    };
    struct request req = {.fields = fields, .field_n = 4};
    CHECK_STR(request_header(&req, STR("host")), "h");
    CHECK_STR(request_header(&req, STR("accept")), "a");
    CHECK(request_header_nth(&req, STR("accept"), 1).p != NULL);
    CHECK_STR(request_header_nth(&req, STR("accept"), 2), "c");
    CHECK(request_header_nth(&req, STR("accept"), 3).p == NULL);
    CHECK(request_header(&req, STR("acc")).p == NULL);
}

/* The n-th value of `key`, or "absent". */
static str value(struct arena *a, const char *query, const char *key, size_t n)
{
    struct request req = {.arena = a, .query = str_from(query)};
    str v = STR("untouched");
    bool found = request_query_nth(&req, str_from(key), n, &v);
    if (!found)
        CHECK_STR(v, "untouched");
    return found ? v : STR("absent");
}

static void decodes_queries(void)
{
    static const struct {
        const char *query, *key;
        size_t n;
        const char *want;
    } rows[] = {
        {"digest=sha256:ab", "digest", 0, "sha256:ab"},
        {"digest=sha256%3Aab", "digest", 0, "sha256:ab"},
        {"a=1&tag=x&b=2&tag=y&tag=", "tag", 0, "x"},
        {"a=1&tag=x&b=2&tag=y&tag=", "tag", 1, "y"},
        {"a=1&tag=x&b=2&tag=y&tag=", "tag", 2, ""},
        {"a=1&tag=x&b=2&tag=y&tag=", "tag", 3, "absent"},
        {"a=b=c", "a", 0, "b=c"},
        {"a", "a", 0, ""},
        {"a+b=c+d%2B", "a b", 0, "c d+"},
        {"digest%2Dalgorithm=x", "digest-algorithm", 0, "x"},
        {"a=%2525", "a", 0, "%25"},
        {"a=%", "a", 0, "%"},
        {"a=%4", "a", 0, "%4"},
        {"a=%zz%41", "a", 0, "%zzA"},
        {"ab=1&a=2", "a", 0, "2"},
        {"a=1", "ab", 0, "absent"},
        {"a;b=1", "b", 0, "absent"},
        {"", "a", 0, "absent"},
        {"&&a=1&", "a", 0, "1"},
        {"&&", "", 0, "absent"},
        {"=1", "", 0, "1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ARENA_CLEANUP struct arena a = {0};
        str got = value(&a, rows[i].query, rows[i].key, rows[i].n);
        if (!str_eq(got, str_from(rows[i].want)))
            test_fail(__FILE__, __LINE__, "%s of %s: \"%.*s\", not \"%s\"", rows[i].key,
                      rows[i].query, STR_ARG(got), rows[i].want);
    }
    struct request none = {0};
    str v;
    CHECK(!request_query(&none, STR("a"), &v));
}

static void walks_forms(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str rest = STR("scope=a+b&x=1&scop%65=c%2Cd&scope"), v;
    CHECK(form_next(&a, &rest, STR("scope"), &v));
    CHECK_STR(v, "a b");
    CHECK(form_next(&a, &rest, STR("scope"), &v));
    CHECK_STR(v, "c,d");
    CHECK(form_next(&a, &rest, STR("scope"), &v));
    CHECK_STR(v, "");
    CHECK(!form_next(&a, &rest, STR("scope"), &v));
    CHECK_STR(v, "");
    rest = (str){0};
    CHECK(!form_next(&a, &rest, STR("scope"), &v));
}

static void first_failure_wins(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct request req = {.arena = &a};
    CHECK_INT(fail(&req, ERR_TAG_INVALID, "tag %d", 1), ERR_TAG_INVALID);
    CHECK_INT(fail(&req, ERR_IO, "io"), ERR_IO);
    CHECK_INT(req.error.code, ERR_TAG_INVALID);
    CHECK_STR(req.error.message, "tag 1");
}

TESTS({"names methods", names_methods}, {"finds headers", finds_headers},
      {"decodes queries", decodes_queries}, {"walks forms", walks_forms},
      {"first failure wins", first_failure_wins});

#include "http/h2_head.h"

#include "base/test.h"

static struct arena a;
static struct error why;
static struct head head;

enum { MORE_MAX = 8 };

/* A request of the fields, which begin with method and path unless that is "". */
static enum err ask(const char *method, const char *path, bool ended,
                    const char *const fields[MORE_MAX][2])
{
    static const struct head_limits limits = {
        .head_bytes_max = 1000, .target_bytes_max = 100, .fields_max = 5};
    struct h2_head h;
    arena_reset(&a);
    why = (struct error){0};
    h2_head_init(&h, &limits, &a, &why);
    if (*method) {
        CHECK(h2_head_add(&h, STR(":method"), str_from(method)));
        CHECK(h2_head_add(&h, STR(":scheme"), STR("http")));
        CHECK(h2_head_add(&h, STR(":path"), str_from(path)));
    }
    for (size_t i = 0; fields && i < MORE_MAX && fields[i][0]; i++)
        CHECK(h2_head_add(&h, str_from(fields[i][0]), str_from(fields[i][1])));
    enum err e = h2_head_finish(&h, ended, &head);
    CHECK_INT(why.code, e);
    CHECK(!e || why.message.n > 0);
    return e;
}

#define ASK(method, path, ended, ...) \
    ask(method, path, ended, (const char *const[MORE_MAX][2]){__VA_ARGS__})
#define AUTHORITY         \
    {                     \
        ":authority", "h" \
    }

static void takes_a_request(void)
{
    CHECK_INT(ASK("GET", "/a?b=c", true, AUTHORITY, {"accept", "*/*"}, {"x-a", " b "}), OK);
    CHECK_INT(head.method, METHOD_GET);
    CHECK_STR(head.path, "/a");
    CHECK_STR(head.query, "b=c");
    CHECK_STR(head.host, "h");
    CHECK_INT(head.body_bytes, 0);
    CHECK_INT(head.field_n, 2);
    CHECK_STR(head.fields[1].value, "b");
    CHECK(!head.http_1_0 && !head.chunked && !head.expects_continue);
}

static void knows_the_body(void)
{
    CHECK_INT(ASK("PUT", "/", false, AUTHORITY), OK);
    CHECK(head.body_bytes == BODY_UNKNOWN);
    CHECK_INT(ASK("PUT", "/", false, AUTHORITY, {"content-length", "12"}), OK);
    CHECK_INT(head.body_bytes, 12);
    CHECK_INT(ASK("PUT", "/", true, AUTHORITY, {"content-length", "0"}), OK);
    CHECK_INT(ASK("PUT", "/", true, AUTHORITY, {"content-length", "12"}), ERR_BAD_REQUEST);
    CHECK_INT(ASK("PUT", "/", false, AUTHORITY, {"content-length", "+1"}), ERR_BAD_REQUEST);
    CHECK_INT(ASK("PUT", "/", false, AUTHORITY, {"expect", "100-Continue"}), OK);
    CHECK(head.expects_continue);
    CHECK_INT(ASK("PUT", "/", true, AUTHORITY, {"expect", "100-continue"}), OK);
    CHECK(!head.expects_continue);
    CHECK_INT(ASK("PUT", "/", true, AUTHORITY, {"expect", "x"}), ERR_EXPECTATION_FAILED);
}

static void knows_whom_it_is_for(void)
{
    CHECK_INT(ASK("GET", "/", true, {"host", "other:5000"}), OK);
    CHECK_STR(head.host, "other:5000");
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {"host", "H"}), OK);
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {"host", "i"}), ERR_BAD_REQUEST);
    CHECK_INT(ask("GET", "/", true, NULL), ERR_BAD_REQUEST);
    CHECK_INT(ASK("GET", "/", true, {":authority", "u@h"}), ERR_BAD_REQUEST);
    CHECK_INT(ASK("GET", "/", true, {":authority", ""}), ERR_BAD_REQUEST);
}

static void refuses_targets(void)
{
    char path[200] = "/";
    memset(path + 1, 'a', 100);
    CHECK_INT(ASK("GET", path, true, AUTHORITY), ERR_TARGET_TOO_LONG);
    path[100] = 0;
    CHECK_INT(ASK("GET", path, true, AUTHORITY), OK);
    CHECK_INT(ASK("GET", "http://h/", true, AUTHORITY), ERR_BAD_REQUEST);
    CHECK_INT(ASK("OPTIONS", "*", true, AUTHORITY), ERR_BAD_REQUEST);
    CHECK_INT(ASK("GET", "/a/../b", true, AUTHORITY), ERR_BAD_REQUEST);
    CHECK_INT(ASK("BREW", "/", true, AUTHORITY), ERR_NOT_IMPLEMENTED);
    CHECK_INT(ASK("", "", true, {":method", "CONNECT"}, AUTHORITY), ERR_NOT_IMPLEMENTED);
}

static void refuses_pseudo_fields(void)
{
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, AUTHORITY), ERR_BAD_REQUEST);
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {":path", "/"}), ERR_BAD_REQUEST);
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {":status", "200"}), ERR_BAD_REQUEST);
    CHECK_INT(ASK("GET", "/", true, {"accept", "a"}, AUTHORITY), ERR_BAD_REQUEST);
    CHECK_INT(ASK("", "", true, {":method", "GET"}, {":path", "/"}, AUTHORITY), ERR_BAD_REQUEST);
    CHECK_INT(ASK("", "", true, {":method", "GET"}, {":scheme", "http"}, AUTHORITY),
              ERR_BAD_REQUEST);
    CHECK_INT(ASK("", "", true, {":method", "GET"}, {":path", "/"}, {":scheme", "ftp"}, AUTHORITY),
              ERR_BAD_REQUEST);
    CHECK_INT(ASK("", "", true, AUTHORITY), ERR_BAD_REQUEST);
}

static void refuses_fields(void)
{
    static const char *const bad[][2] = {
        {"Upper", "1"},      {"", "1"},
        {"a b", "1"},        {"a", "x\ny"},
        {"connection", "x"}, {"transfer-encoding", "chunked"},
        {"keep-alive", "1"}, {"upgrade", "h2c"},
        {"te", "gzip"},      {"proxy-connection", "x"},
        {"host", "a b"},     {"a", "x\x7f"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_INT(ASK("GET", "/", true, AUTHORITY, {bad[i][0], bad[i][1]}), ERR_BAD_REQUEST);
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {"te", "trailers"}), OK);
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {"range", "a"}, {"range", "b"}), ERR_BAD_REQUEST);
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"},
                  {"e", "1"}),
              OK);
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"},
                  {"e", "1"}, {"f", "1"}),
              ERR_HEAD_TOO_LARGE);
}

static void joins_cookies(void)
{
    CHECK_INT(ASK("GET", "/", true, AUTHORITY, {"cookie", "a=b"}, {"x", "1"}, {"cookie", "c=d"},
                  {"cookie", ""}),
              OK);
    CHECK_INT(head.field_n, 2);
    CHECK_STR(head.fields[0].name, "cookie");
    CHECK_STR(head.fields[0].value, "a=b; c=d; ");
    CHECK_STR(head.fields[1].name, "x");
}

/* Fields past the limit are counted, not kept, until there are too many for a mistake. */
static void bounds_the_list(void)
{
    static const struct head_limits limits = {
        .head_bytes_max = 1000, .target_bytes_max = 100, .fields_max = 500};
    static char value[168];
    struct h2_head h;
    arena_reset(&a);
    why = (struct error){0};
    memset(value, 'v', sizeof value);
    h2_head_init(&h, &limits, &a, &why);
    for (int i = 0; i < 5; i++) /* 201 bytes each */
        CHECK(h2_head_add(&h, STR("a"), str_make(value, sizeof value)) && (i == 4 || !h.error));
    CHECK_INT(h.error, ERR_HEAD_TOO_LARGE);
    CHECK_INT(h.fields.field_n, 4);
    int taken = 5;
    while (h2_head_add(&h, STR("a"), str_make(value, sizeof value)))
        taken++;
    CHECK_INT(taken, 19); /* the twentieth passes four times the limit */
    CHECK_INT(h.fields.field_n, 4);
    CHECK_INT(h2_head_finish(&h, true, &head), ERR_HEAD_TOO_LARGE);
}

static void fields_that_were_malformed(void)
{
    static const struct head_limits limits = {
        .head_bytes_max = 1000, .target_bytes_max = 100, .fields_max = 5};
    struct h2_head h;
    why = (struct error){0};
    h2_head_init(&h, &limits, &a, &why);
    h2_head_bad(&h);
    CHECK_INT(h2_head_finish(&h, true, &head), ERR_BAD_REQUEST);
    CHECK_INT(why.code, ERR_BAD_REQUEST);
}

static void ends(void)
{
    arena_release(&a);
}

TESTS({"takes a request", takes_a_request}, {"knows the body", knows_the_body},
      {"knows whom it is for", knows_whom_it_is_for}, {"refuses targets", refuses_targets},
      {"refuses pseudo-fields", refuses_pseudo_fields}, {"refuses fields", refuses_fields},
      {"joins cookies", joins_cookies}, {"bounds the list", bounds_the_list},
      {"fields that were malformed", fields_that_were_malformed}, {"ends", ends});

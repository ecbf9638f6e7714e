#include "base/test.h"
#include "http/trace.h"

#define ID   "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static void valid(void)
{
    struct trace t;
    CHECK(trace_parse(STR("00-" ID "-" SPAN "-01"), &t));
    CHECK_STR(str_make(t.id, TRACE_ID_LEN), ID);
    CHECK_STR(str_make(t.span, TRACE_SPAN_LEN), SPAN);
    CHECK_INT(t.flags, 1);
    CHECK(trace_parse(STR("00-" ID "-" SPAN "-ff"), &t));
    CHECK_INT(t.flags, 255);
    /* A later version: what is behind the known part is not looked at. */
    CHECK(trace_parse(STR("01-" ID "-" SPAN "-00"), &t));
    CHECK(trace_parse(STR("cc-" ID "-" SPAN "-00-what the future will be like"), &t));
}

static void invalid(void)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-" ID "-" SPAN,
        "00-" ID "-" SPAN "-0",
        "00-" ID "-" SPAN "-0g",
        "00-" ID "-" SPAN "-0A",
        "00-" ID "-" SPAN "-01-",
        "00-" ID "-" SPAN "-01-more",
        "00-" ID "-" SPAN "-01 ",
        " 00-" ID "-" SPAN "-01",
        "ff-" ID "-" SPAN "-01",
        "0-" ID "-" SPAN "-01",
        "0x-" ID "-" SPAN "-01",
        "01-" ID "-" SPAN "-01.more",
        "00_" ID "-" SPAN "-01",
        "00-" ID "_" SPAN "-01",
        "00-" ID "-" SPAN "_01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-" ID "-00F067AA0BA902B7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" SPAN "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473\"-" SPAN "-01",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct trace t = {.flags = 7};
        if (trace_parse(str_from(bad[i]), &t) || t.flags != 7)
            test_fail(__FILE__, __LINE__, "\"%s\" is taken", bad[i]);
    }
}

static void states(void)
{
    static const char *const good[] = {"congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61",
                                       "a=1, ,b=2", "0tenant@system=x y", "a_-*/b=!"};
    static const char *const bad[] = {"",     ",",     "a",     "a=",     "=1",   "A=1",
                                      "-a=1", "a=b=c", "a=1\r", "a=\x7f", "a =1", "a=1,b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!trace_state_valid(str_from(good[i])))
            test_fail(__FILE__, __LINE__, "\"%s\" is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (trace_state_valid(str_from(bad[i])))
            test_fail(__FILE__, __LINE__, "\"%s\" is taken", bad[i]);
    char many[200] = "";
    for (int i = 0; i < 33; i++)
        memcpy(many + 4 * i, "a=1,", 5);
    CHECK(!trace_state_valid(str_from(many)));
    CHECK(trace_state_valid(str_from(many + 4)));
}

static bool of(const struct field *fields, size_t n, struct arena *a, struct trace *ret)
{
    const struct request req = {.fields = fields, .field_n = n};
    return trace_of_request(&req, a, ret);
}

static void of_a_request(void)
{
    ARENA_CLEANUP struct arena a = {0};
    const struct field parent = {STR("traceparent"), STR("00-" ID "-" SPAN "-01")};
    const struct field one = {STR("tracestate"), STR("a=1")}, two = {STR("tracestate"), STR("b=2")};
    const struct field broken = {STR("tracestate"), STR("what")};
    struct trace t;
    CHECK(!of(NULL, 0, &a, &t));
    CHECK(of((struct field[]){one, parent, two}, 3, &a, &t));
    CHECK_STR(t.state, "a=1,b=2");
    /* A state that is malformed costs the state only. */
    CHECK(of((struct field[]){parent, one, broken}, 3, &a, &t));
    CHECK_INT(t.state.n, 0);
    CHECK(!of((struct field[]){one}, 1, &a, &t));
    CHECK(!of((struct field[]){parent, parent}, 2, &a, &t));
}

static void children(void)
{
    struct trace t, child, other;
    char text[TRACE_PARENT_LEN];
    CHECK(trace_parse(STR("00-" ID "-" SPAN "-fd"), &t));
    CHECK(trace_parse(trace_child(&t, text), &child));
    CHECK(str_starts(str_make(text, sizeof text), STR("00-" ID "-")));
    CHECK(memcmp(child.span, t.span, TRACE_SPAN_LEN) != 0);
    CHECK_INT(child.flags, 1); /* those that we know what they mean */
    trace_new(&t);
    trace_new(&other);
    CHECK(memcmp(t.id, other.id, TRACE_ID_LEN) != 0);
    CHECK(trace_parse(trace_child(&t, text), &child));
    CHECK(memcmp(child.id, t.id, TRACE_ID_LEN) == 0);
    CHECK_INT(child.flags & 1, 0);
}

TESTS({"valid", valid}, {"invalid", invalid}, {"states", states}, {"of a request", of_a_request},
      {"children", children})

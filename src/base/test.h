/* Unit-test harness: TAP on standard output, one program per x_test.c, run by meson.
 *
 *     static void trims(void) { CHECK_STR(str_trim(STR(" a ")), "a"); }
 *     TESTS({"trims", trims});
 */
#pragma once

#include "base/str.h"

#include <stdio.h>

struct test {
    const char *name;
    void (*run)(void);
};

/* Runs the tests (those whose name contains argv[1], when given); returns the exit code. */
int test_main(int argc, char **argv, const struct test *tests, size_t n);

/* Marks the running test failed and prints where; execution goes on. */
void test_fail(const char *file, int line, const char *fmt, ...) PRINTF(3, 4);

/* A fresh directory below TMPDIR, removed with all it holds when the program ends. */
const char *test_dir(void);

#define CHECK(cond)                                     \
    do {                                                \
        if (!(cond))                                    \
            test_fail(__FILE__, __LINE__, "%s", #cond); \
    } while (0)

#define CHECK_INT(got, want)                                                          \
    do {                                                                              \
        long long got_ = (long long)(got), want_ = (long long)(want);                 \
        if (got_ != want_)                                                            \
            test_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #got, got_, want_); \
    } while (0)

#define CHECK_STR(got, want)                                                                   \
    do {                                                                                       \
        str got_ = (got), want_ = str_from(want);                                              \
        if (!str_eq(got_, want_))                                                              \
            test_fail(__FILE__, __LINE__, "%s is \"%.*s\", not \"%.*s\"", #got, STR_ARG(got_), \
                      STR_ARG(want_));                                                         \
    } while (0)

#define TESTS(...)                                                              \
    int main(int argc, char **argv)                                             \
    {                                                                           \
        static const struct test tests_[] = {__VA_ARGS__};                      \
        return test_main(argc, argv, tests_, sizeof tests_ / sizeof tests_[0]); \
    }

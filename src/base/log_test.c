#include "base/clock.h"
#include "base/log_line.h"
#include "base/metrics.h"
#include "base/test.h"

#include <stdlib.h>
#include <unistd.h>

static char line[9000];

/* What one event looks like, without the time at its start. */
static str logged(enum log_format format, const struct log_field *fields, size_t n)
{
    int pipe_fds[2];
    if (pipe(pipe_fds) != 0)
        return STR("no pipe");
    log_init(pipe_fds[1], format, LOG_INFO);
    log_event(LOG_WARN, "test", fields, n);
    log_init(STDERR_FILENO, LOG_LOGFMT, LOG_INFO);
    ssize_t got = read(pipe_fds[0], line, sizeof line);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    str s = str_make(line, got > 0 ? (size_t)got : 0);
    return str_skip(s, format == LOG_JSON ? 38 : 33);
}

static void logfmt(void)
{
    struct log_field fields[] = {log_cstr("plain", "a/b:c"), log_cstr("quoted", "a b"),
                                 log_int("n", -3), log_err(ERR_DENIED), log_cstr("left_out", "")};
    CHECK_STR(logged(LOG_LOGFMT, fields, 5),
              "level=warn event=test plain=a/b:c quoted=\"a b\" n=-3 error=DENIED\n");
}

static void json(void)
{
    struct log_field fields[] = {log_cstr("a", "x\"y"), log_int("n", 7)};
    CHECK_STR(logged(LOG_JSON, fields, 2),
              "\"level\":\"warn\",\"event\":\"test\",\"a\":\"x\\\"y\",\"n\":7}\n");
}

/* Worked out, and, within the same second, only its end. */
static void each_line_has_its_time(void)
{
    char out[LOG_LINE_MAX];
    int64_t before_us = clock_wall_us(), at_us;
    for (int i = 0; i < 1000; i++) {
        str s = log_line(LOG_LOGFMT, LOG_INFO, "test", NULL, 0, out);
        CHECK(str_starts(s, STR("time=")));
        CHECK(clock_rfc3339_parse(str_make(s.p + 5, CLOCK_RFC3339_LEN), &at_us));
        if (at_us < before_us || at_us > clock_wall_us())
            test_fail(__FILE__, __LINE__, "%.*s", STR_ARG(s));
        before_us = at_us;
    }
}

static void input_cannot_forge_lines(void)
{
    struct log_field fields[] = {log_cstr("a", "x\nlevel=error\x1b[0m"), log_cstr("b", "\xc3\xa4")};
    CHECK_STR(logged(LOG_LOGFMT, fields, 2), "level=warn event=test "
                                             "a=\"x\\u000alevel=error\\u001b[0m\" "
                                             "b=\"\\u00c3\\u00a4\"\n");
}

static void long_fields_are_left_out_whole(void)
{
    static char big[9000];
    memset(big, 'x', sizeof big - 1);
    struct log_field fields[] = {log_cstr("big", big), log_int("n", 1)};
    CHECK_STR(logged(LOG_JSON, fields, 2), "\"level\":\"warn\",\"event\":\"test\",\"n\":1}\n");
}

/* A reader that does not read must not hold up who logs; what did not fit is counted. */
static void a_stuck_reader_costs_lines_only(void)
{
    int pipe_fds[2];
    if (pipe(pipe_fds) != 0)
        abort();
    static char filler[4000];
    memset(filler, 'x', sizeof filler - 1);
    log_init(pipe_fds[1], LOG_LOGFMT, LOG_INFO);
    CHECK_INT(log_thread_start(), OK);
    for (int i = 0; i < 1000; i++) /* 4 MB: more than pipe and queue hold */
        LOG(INFO, "filler", log_cstr("x", filler));

    FILE *reader = fdopen(pipe_fds[0], "r");
    int lines = 0;
    bool told = false;
    while (!told && fgets(line, sizeof line, reader)) {
        lines++;
        told = strstr(line, "event=log_lines_dropped") != NULL;
    }
    CHECK(told);
    CHECK(lines > 100 && lines < 1000);
    log_thread_stop();
    log_init(STDERR_FILENO, LOG_LOGFMT, LOG_INFO);
    fclose(reader);
    close(pipe_fds[1]);
}

/* Nor may it keep the program from ending. */
static void a_stuck_reader_does_not_stop_the_end(void)
{
    int pipe_fds[2];
    if (pipe(pipe_fds) != 0)
        abort();
    static char filler[4000];
    memset(filler, 'x', sizeof filler - 1);
    int64_t dropped = metric_value_at(METRIC_LOG_DROPPED, 0);
    log_init(pipe_fds[1], LOG_LOGFMT, LOG_INFO);
    CHECK_INT(log_thread_start(), OK);
    for (int i = 0; i < 1000; i++)
        LOG(INFO, "filler", log_cstr("x", filler));
    log_thread_stop();
    LOG(INFO, "stopped"); /* directly */
    dropped = metric_value_at(METRIC_LOG_DROPPED, 0) - dropped;
    /* The queue holds a quarter, its writer at most as much, the pipe less. */
    CHECK(dropped > 400 && dropped < 1000);
    log_init(STDERR_FILENO, LOG_LOGFMT, LOG_INFO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

TESTS({"a stuck reader does not stop the end", a_stuck_reader_does_not_stop_the_end},
      {"a stuck reader costs lines only", a_stuck_reader_costs_lines_only}, {"logfmt", logfmt},
      {"json", json}, {"each line has its time", each_line_has_its_time},
      {"input cannot forge lines", input_cannot_forge_lines},
      {"long fields are left out whole", long_fields_are_left_out_whole})

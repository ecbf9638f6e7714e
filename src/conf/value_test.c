#include "conf/value.h"

#include "base/test.h"

static uint64_t value(enum err (*parse)(str, uint64_t *), const char *text)
{
    uint64_t v = 0;
    enum err e = parse(str_from(text), &v);
    if (e)
        test_fail(__FILE__, __LINE__, "\"%s\" is refused: %s", text, err_name(e));
    return v;
}

static enum err refusal(enum err (*parse)(str, uint64_t *), const char *text)
{
    uint64_t v = 77;
    enum err e = parse(str_from(text), &v);
    CHECK_INT(v, 77);
    return e;
}

static void counts(void)
{
    CHECK_INT(value(count_parse, "0"), 0);
    CHECK_INT(value(count_parse, "10000"), 10000);
    CHECK_INT(value(count_parse, "9223372036854775807"), INT64_MAX);
    CHECK_INT(refusal(count_parse, "9223372036854775808"), ERR_LIMIT);
    CHECK_INT(refusal(count_parse, "99999999999999999999999"), ERR_LIMIT);
    CHECK_INT(refusal(count_parse, ""), ERR_SYNTAX);
    CHECK_INT(refusal(count_parse, "-1"), ERR_SYNTAX);
    CHECK_INT(refusal(count_parse, "+1"), ERR_SYNTAX);
    CHECK_INT(refusal(count_parse, "1e3"), ERR_SYNTAX);
    CHECK_INT(refusal(count_parse, " 1"), ERR_SYNTAX);
    CHECK_INT(refusal(count_parse, "1B"), ERR_SYNTAX);
}

static void sizes(void)
{
    CHECK_INT(value(size_parse, "0"), 0);
    CHECK_INT(value(size_parse, "0B"), 0);
    CHECK_INT(value(size_parse, "256B"), 256);
    CHECK_INT(value(size_parse, "64KiB"), 65536);
    CHECK_INT(value(size_parse, "4MiB"), 4194304);
    CHECK_INT(value(size_parse, "3GiB"), 3221225472);
    CHECK_INT(value(size_parse, "2TiB"), 2199023255552);
    CHECK_INT(refusal(size_parse, "8388608TiB"), ERR_LIMIT);
    CHECK_INT(refusal(size_parse, "99999999TiB"), ERR_LIMIT);
    CHECK_INT(refusal(size_parse, "1024"), ERR_SYNTAX);
    CHECK_INT(refusal(size_parse, "4MB"), ERR_SYNTAX);
    CHECK_INT(refusal(size_parse, "4mib"), ERR_SYNTAX);
    CHECK_INT(refusal(size_parse, "4 MiB"), ERR_SYNTAX);
    CHECK_INT(refusal(size_parse, "1.5GiB"), ERR_SYNTAX);
    CHECK_INT(refusal(size_parse, "MiB"), ERR_SYNTAX);
    CHECK_INT(refusal(size_parse, "4s"), ERR_SYNTAX);
}

static void durations(void)
{
    CHECK_INT(value(duration_parse, "0"), 0);
    CHECK_INT(value(duration_parse, "500ms"), 500);
    CHECK_INT(value(duration_parse, "10s"), 10000);
    CHECK_INT(value(duration_parse, "5m"), 300000);
    CHECK_INT(value(duration_parse, "24h"), 86400000);
    CHECK_INT(value(duration_parse, "7d"), 604800000);
    CHECK_INT(refusal(duration_parse, "106751991168d"), ERR_LIMIT);
    CHECK_INT(refusal(duration_parse, "10"), ERR_SYNTAX);
    CHECK_INT(refusal(duration_parse, "10sec"), ERR_SYNTAX);
    CHECK_INT(refusal(duration_parse, "1h30m"), ERR_SYNTAX);
    CHECK_INT(refusal(duration_parse, "10S"), ERR_SYNTAX);
}

static void formats(void)
{
    char out[VALUE_TEXT_MAX];
    CHECK_STR(count_format(0, out), "0");
    CHECK_STR(count_format(1048576, out), "1048576");
    CHECK_STR(size_format(0, out), "0B");
    CHECK_STR(size_format(1023, out), "1023B");
    CHECK_STR(size_format(65536, out), "64KiB");
    CHECK_STR(size_format(1ull << 40, out), "1TiB");
    CHECK_STR(size_format((1ull << 40) + 1024, out), "1073741825KiB");
    CHECK_STR(size_format(INT64_MAX, out), "9223372036854775807B");
    CHECK_STR(duration_format(0, out), "0s");
    CHECK_STR(duration_format(1500, out), "1500ms");
    CHECK_STR(duration_format(90000, out), "90s");
    CHECK_STR(duration_format(86400000, out), "1d");
}

TESTS({"counts", counts}, {"sizes", sizes}, {"durations", durations}, {"formats", formats});

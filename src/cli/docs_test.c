#include "cli/docs.h"

#include "base/test.h"
#include "conf/show.h"

#include <stdlib.h>

/* The committed file is what the program prints; otherwise says which line differs. */
static void check_file(const char *name, const char *flag, void (*render)(struct buf *out))
{
    BUF_CLEANUP struct buf want = BUF_INIT(DOCS_BYTES_MAX), file = BUF_INIT(DOCS_BYTES_MAX);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("DOCS") ? getenv("DOCS") : "docs", name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        test_fail(__FILE__, __LINE__, "%s: cannot be opened", path);
        return;
    }
    char *room = buf_room(&file, DOCS_BYTES_MAX);
    buf_added(&file, fread(room, 1, DOCS_BYTES_MAX, f));
    fclose(f);
    render(&want);
    CHECK(!want.full && want.n > 0);
    if (str_eq(buf_str(&want), buf_str(&file)))
        return;
    str x = buf_str(&want), y = buf_str(&file), line_x, line_y;
    int number = 1;
    while (str_next(&x, '\n', &line_x) && str_next(&y, '\n', &line_y) && str_eq(line_x, line_y))
        number++;
    test_fail(__FILE__, __LINE__, "docs/%s differs in line %d; write it with: berth help %s", name,
              number, flag);
}

static void markdown_is_current(void)
{
    check_file("configuration.md", "--markdown", conf_markdown);
}

static void manual_is_current(void)
{
    check_file("berth.1", "--man", docs_man);
}

static void example_is_current(void)
{
    check_file("berth.example.yaml", "--example", conf_example);
}

static void metrics_are_current(void)
{
    check_file("metrics.md", "--metrics", docs_metrics);
}

static void every_command_is_explained(void)
{
    BUF_CLEANUP struct buf summary = BUF_INIT(DOCS_BYTES_MAX), manual = BUF_INIT(DOCS_BYTES_MAX);
    docs_summary(&summary);
    docs_man(&manual);
#define COMMAND(name, fn, words, flags, help, details)                 \
    {                                                                  \
        BUF_CLEANUP struct buf one = BUF_INIT(DOCS_BYTES_MAX);         \
        CHECK(docs_command(&one, STR(name)));                          \
        CHECK(str_contains(buf_str(&one), STR("berth " name)));        \
        CHECK(str_contains(buf_str(&summary), STR("  " name)));        \
        CHECK(str_contains(buf_str(&manual), STR(".SS berth " name))); \
    }
#include "cli/commands.def"
#undef COMMAND
    CHECK(!docs_command(&summary, STR("nothing")));
}

TESTS({"markdown is current", markdown_is_current}, {"manual is current", manual_is_current},
      {"example is current", example_is_current}, {"metrics are current", metrics_are_current},
      {"every command is explained", every_command_is_explained});

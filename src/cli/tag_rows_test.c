#include "cli/tag_rows.h"

#include "base/test.h"

static const char newest[] =
    "{\"history\":["
    "{\"digest\":\"sha256:c\",\"from\":\"2026-03-01T00:00:00.000000Z\",\"from_by\":\"ann\","
    "\"until\":null,\"until_by\":null,\"exists\":true,\"media_type\":\"a/b\"},"
    "{\"digest\":\"sha256:b\",\"from\":\"2026-02-01T00:00:00.000000Z\",\"from_by\":null,"
    "\"until\":\"2026-02-02T00:00:00.000000Z\",\"until_by\":\"bob\",\"exists\":false}]}";
static const char older[] =
    "{\"history\":["
    "{\"digest\":\"sha256:a\",\"from\":\"2026-01-01T00:00:00.000000Z\",\"from_by\":"
    "\"administrator\","
    "\"until\":\"2026-02-01T00:00:00.000000Z\",\"until_by\":null,\"exists\":true,"
    "\"media_type\":\"a/b\"}]}";

static struct arena arena;

static void read_page(struct tag_rows *rows, const char *text)
{
    JSON_CLEANUP json_t *json = NULL;
    str why;
    CHECK_INT(json_read(&arena, str_from(text), &json, &why), OK);
    tag_rows_read(rows, json, &arena);
}

static void check(void (*print)(const struct tag_rows *rows, struct buf *out), const char *want)
{
    BUF_CLEANUP struct buf out = BUF_INIT(1 << 20);
    struct tag_rows rows = {.repository = STR("a/b"), .tag = STR("t")};
    read_page(&rows, newest);
    read_page(&rows, older);
    CHECK_INT(rows.n, 3);
    print(&rows, &out);
    CHECK_STR(buf_str(&out), want);
    arena_release(&arena);
}

static void table(void)
{
    check(tag_rows_table,
          "FROM                         UNTIL                        BY             DIGEST\n"
          "2026-03-01T00:00:00.000000Z  now                          ann            sha256:c\n"
          "2026-02-01T00:00:00.000000Z  2026-02-02T00:00:00.000000Z  (anonymous)    sha256:b"
          "  tag deleted by bob  manifest deleted\n"
          "2026-01-01T00:00:00.000000Z  2026-02-01T00:00:00.000000Z  administrator  sha256:a\n");
}

static void columns(void)
{
    check(tag_rows_columns,
          "2026-03-01T00:00:00.000000Z\t-\tann\t-\tsha256:c\tkept\n"
          "2026-02-01T00:00:00.000000Z\t2026-02-02T00:00:00.000000Z\t-\tbob\tsha256:b\tdeleted\n"
          "2026-01-01T00:00:00.000000Z\t2026-02-01T00:00:00.000000Z\tadministrator\t-\tsha256:a\t"
          "kept\n");
}

static void json(void)
{
    /* What the API said, as one page. */
    str first = str_from(newest), rest = str_from(older);
    BUF_CLEANUP struct buf want = BUF_INIT(4096);
    buf_printf(&want, "{\"repository\":\"a/b\",\"tag\":\"t\",%.*s,%.*s\n",
               STR_ARG(str_first(str_skip(first, 1), first.n - 3)),
               STR_ARG(str_skip(rest, sizeof "{\"history\":[" - 1)));
    buf_byte(&want, 0);
    check(tag_rows_json, want.p);
}

static void nothing(void)
{
    BUF_CLEANUP struct buf out = BUF_INIT(4096);
    struct tag_rows rows = {0};
    read_page(&rows, "{\"errors\":[]}");
    CHECK_INT(rows.n, 0);
    tag_rows_columns(&rows, &out);
    CHECK_INT(out.n, 0);
    arena_release(&arena);
}

TESTS({"table", table}, {"columns", columns}, {"json", json}, {"nothing", nothing})

/* berth gc: collects garbage now, in the server that runs or without one (docs/gc.md). */
#include "cli/admin.h"
#include "cli/options.h"
#include "json/write.h"

enum { OUTPUT_BYTES_MAX = 64 << 10 };

/* "17.3 MiB" */
static str size_text(struct arena *a, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int64_t tenths = bytes * 10;
    size_t unit = 0;
    for (; tenths >= 10240 && unit + 1 < sizeof units / sizeof *units; unit++)
        tenths /= 1024;
    if (unit == 0)
        return arena_printf(a, "%lld B", (long long)bytes);
    return arena_printf(a, "%lld.%lld %s", (long long)(tenths / 10), (long long)(tenths % 10),
                        units[unit]);
}

static int64_t number(const json_t *report, const char *key)
{
    int64_t n = 0;
    json_member_int(report, key, &n);
    return n;
}

static void print_count(struct buf *out, const json_t *report, const char *key, const char *one,
                        const char *many)
{
    int64_t n = number(report, key);
    if (n)
        buf_printf(out, "%12lld  %s\n", (long long)n, n == 1 ? one : many);
}

static void print_text(struct buf *out, const json_t *report, bool dry_run, struct arena *a)
{
    int64_t blobs = number(report, "blobs");
    buf_printf(out, "%s %lld blob%s, %.*s\n", dry_run ? "Would remove" : "Removed",
               (long long)blobs, blobs == 1 ? "" : "s",
               STR_ARG(size_text(a, number(report, "blob_bytes"))));
    print_count(out, report, "links", "blob in a repository that no manifest there uses",
                "blobs in repositories that no manifest there uses");
    print_count(out, report, "manifests", "manifest that no tag leads to",
                "manifests that no tag leads to");
    print_count(out, report, "bodies", "manifest that no repository has any more",
                "manifests that no repository has any more");
    print_count(out, report, "uploads", "abandoned upload", "abandoned uploads");
    print_count(out, report, "stray_uploads", "file of an upload that nobody knows",
                "files of uploads that nobody knows");
    print_count(out, report, "tag_lifetimes", "entry of a tag's history",
                "entries of tags' histories");
    print_count(out, report, "files_left", "file stays until the backup that reads it is done",
                "files stay until the backup that reads them is done");
    print_count(out, report, "files_failed", "file could not be unlinked",
                "files could not be unlinked");
}

static void print_json(struct buf *out, const json_t *report, bool dry_run)
{
    struct json_writer w = {.out = out};
    jw_object(&w);
    jw_key(&w, "dry_run");
    jw_bool(&w, dry_run);
#define X(name, help) jw_key(&w, #name), jw_int(&w, number(report, #name));
    GC_REPORT_TABLE(X)
#undef X
    jw_end(&w);
    buf_byte(out, '\n');
}

/* Until the run is finished: a long one answers again and again that it is not. */
static bool run_to_end(struct admin *admin, str body, json_t **ret, int *exit_code)
{
    struct admin_answer answer;
    if (!admin_call(admin, METHOD_POST, STR("/api/berth/v1/gc"), body, &answer, exit_code))
        return false;
    while (!json_is_true(json_member(answer.json, "finished"))) {
        str target = arena_printf(admin->arena, "/api/berth/v1/gc/%lld",
                                  (long long)number(answer.json, "id"));
        json_decref(answer.json);
        if (!admin_call(admin, METHOD_GET, target, str_make(NULL, 0), &answer, exit_code))
            return false;
    }
    *ret = answer.json;
    return true;
}

int cmd_gc(int argc, char **argv)
{
    ARENA_CLEANUP struct arena a = {0};
    BUF_CLEANUP struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    ADMIN_CLEANUP struct admin admin = {.lock_fd = -1};
    JSON_CLEANUP json_t *answer = NULL;
    struct flags flags;
    struct conf conf;
    int code;
    if (!cli_parse("gc", gc_flags, argc, argv, &a, &flags, &code) ||
        !cli_load("gc", &flags, 0, &a, &conf, &code) || !admin_open(&admin, &conf, &a, &code))
        return code;
    bool dry_run = flags_value(&flags, "dry-run").p != NULL;
    str body =
        arena_printf(&a, "{\"now\":%s,\"dry_run\":%s}",
                     flags_value(&flags, "now").p ? "true" : "false", dry_run ? "true" : "false");
    if (!run_to_end(&admin, body, &answer, &code))
        return code;
    const json_t *report = json_member(answer, "report");
    if (flags_value(&flags, "json").p)
        print_json(&out, report, dry_run);
    else
        print_text(&out, report, dry_run, &a);
    code = cli_print(&out);
    return code == CLI_OK && number(report, "files_failed") ? CLI_FAILED : code;
}

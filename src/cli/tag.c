/* berth tag: what a tag was, and the way back (docs/tags.md). */
#include "base/clock.h"
#include "cli/admin.h"
#include "cli/options.h"
#include "cli/tag_rows.h"
#include "registry/name.h"
#include "json/write.h"

#include <unistd.h>

enum { LIMIT_DEFAULT = 100, OUTPUT_BYTES_MAX = 64 << 20 };

/* What the command line asks for. */
struct ask {
    struct arena *arena;
    struct flags flags;
    str verb; /* log or restore */
    str repository, tag;
    uint64_t limit; /* 0: all */
    str body;       /* of a restore */
};

static bool wrong(int *exit_code)
{
    *exit_code = CLI_USAGE;
    return false;
}

static bool read_reference(struct ask *ask, str text, int *exit_code)
{
    struct error why = {0};
    struct name name;
    size_t colon = str_rfind(text, ':');
    ask->repository = str_first(text, colon);
    ask->tag = str_skip(text, colon + 1);
    if (str_find(text, '@') < text.n)
        cli_error("tag %.*s: \"%.*s\" names a digest; write REPOSITORY:TAG", STR_ARG(ask->verb),
                  STR_ARG(text));
    else if (colon == text.n || str_find(ask->tag, '/') < ask->tag.n)
        cli_error("tag %.*s: \"%.*s\" has no tag; write REPOSITORY:TAG", STR_ARG(ask->verb),
                  STR_ARG(text));
    else if (str_find(ask->repository, ':') < ask->repository.n)
        cli_error("tag %.*s: write REPOSITORY:TAG without the registry's address",
                  STR_ARG(ask->verb));
    else if (name_parse(ask->arena, ask->repository, &name, &why))
        cli_error("tag %.*s: %.*s", STR_ARG(ask->verb), STR_ARG(why.message));
    else if (!tag_is_valid(ask->tag))
        cli_error("tag %.*s: \"%.*s\" is no valid tag", STR_ARG(ask->verb), STR_ARG(ask->tag));
    else
        return true;
    return wrong(exit_code);
}

static bool read_limit(struct ask *ask, int *exit_code)
{
    str text = flags_value(&ask->flags, "limit");
    ask->limit = LIMIT_DEFAULT;
    if (flags_value(&ask->flags, "at").p)
        cli_error("tag log: --at belongs to \"berth tag restore\"");
    else if (text.p && !str_u64(text, &ask->limit))
        cli_error("tag log: --limit: \"%.*s\" is no whole number", STR_ARG(text));
    else
        return true;
    return wrong(exit_code);
}

/* --at makes the request's body. No digest begins with a digit. */
static bool read_at(struct ask *ask, int *exit_code)
{
    str at = flags_value(&ask->flags, "at");
    bool is_time = at.n && at.p[0] >= '0' && at.p[0] <= '9';
    struct digest digest;
    int64_t at_us;
    if (flags_value(&ask->flags, "limit").p)
        cli_error("tag restore: --limit belongs to \"berth tag log\"");
    else if (!at.p)
        cli_error("tag restore: say to what: --at TIME or --at DIGEST, as \"berth tag log\" "
                  "shows them");
    else if (is_time ? !clock_rfc3339_parse(at, &at_us) : digest_parse(at, false, &digest) != OK)
        cli_error("tag restore: --at: \"%.*s\" is neither a time, such as 2026-01-31T12:00:00Z or "
                  "2026-01-31, nor a digest, such as sha256:...",
                  STR_ARG(at));
    else {
        ask->body =
            arena_printf(ask->arena, "{\"%s\":\"%.*s\"}", is_time ? "at" : "digest", STR_ARG(at));
        return true;
    }
    return wrong(exit_code);
}

static bool read_ask(struct ask *ask, int argc, char **argv, struct conf *conf, int *exit_code)
{
    if (!cli_parse("tag", tag_flags, argc, argv, ask->arena, &ask->flags, exit_code))
        return false;
    ask->verb = ask->flags.word_n ? ask->flags.words[0] : STR("");
    bool is_log = str_eq(ask->verb, STR("log"));
    if (!is_log && !str_eq(ask->verb, STR("restore"))) {
        cli_error("tag: \"log\" or \"restore\" expected%s%.*s%s", ask->verb.n ? ", not \"" : "",
                  STR_ARG(ask->verb), ask->verb.n ? "\"" : "");
        return wrong(exit_code);
    }
    if (!cli_load("tag", &ask->flags, 2, ask->arena, conf, exit_code))
        return false;
    if (ask->flags.word_n < 2) {
        cli_error("tag %.*s: which? Write REPOSITORY:TAG", STR_ARG(ask->verb));
        return wrong(exit_code);
    }
    return read_reference(ask, ask->flags.words[1], exit_code) &&
           (is_log ? read_limit(ask, exit_code) : read_at(ask, exit_code));
}

static str target_of(const struct ask *ask, const char *rest)
{
    return arena_printf(ask->arena, "/api/berth/v1/repositories/%.*s/tags/%.*s/%s",
                        STR_ARG(ask->repository), STR_ARG(ask->tag), rest);
}

/* All pages, up to the limit. */
static bool read_log(const struct ask *ask, struct admin *admin, struct tag_rows *rows,
                     int *exit_code)
{
    str next = target_of(ask, "history");
    if (ask->limit)
        next =
            arena_printf(ask->arena, "%.*s?n=%llu", STR_ARG(next), (unsigned long long)ask->limit);
    while (next.p && (ask->limit == 0 || rows->n < ask->limit)) {
        struct admin_answer answer;
        if (!admin_call(admin, METHOD_GET, next, str_make(NULL, 0), &answer, exit_code))
            return false;
        tag_rows_read(rows, answer.json, ask->arena);
        json_decref(answer.json);
        next = answer.next;
    }
    if (ask->limit && rows->n > ask->limit)
        rows->n = ask->limit;
    return true;
}

static bool run_log(const struct ask *ask, struct admin *admin, struct buf *out, int *exit_code)
{
    struct tag_rows rows = {.repository = ask->repository, .tag = ask->tag};
    if (!read_log(ask, admin, &rows, exit_code))
        return false;
    if (flags_value(&ask->flags, "json").p)
        tag_rows_json(&rows, out);
    else if (isatty(STDOUT_FILENO))
        tag_rows_table(&rows, out);
    else
        tag_rows_columns(&rows, out);
    return true;
}

static bool run_restore(const struct ask *ask, struct admin *admin, struct buf *out, int *exit_code)
{
    struct admin_answer answer;
    str digest = {0};
    if (!admin_call(admin, METHOD_POST, target_of(ask, "restore"), ask->body, &answer, exit_code))
        return false;
    json_member_str(answer.json, "digest", &digest);
    bool changed = json_is_true(json_member(answer.json, "changed"));
    if (flags_value(&ask->flags, "json").p) {
        struct json_writer w = {.out = out};
        jw_object(&w);
        jw_field(&w, "repository", ask->repository);
        jw_field(&w, "tag", ask->tag);
        jw_field(&w, "digest", digest);
        jw_key(&w, "changed");
        jw_bool(&w, changed);
        jw_end(&w);
        buf_byte(out, '\n');
    } else {
        buf_printf(out, "%.*s:%.*s %s %.*s\n", STR_ARG(ask->repository), STR_ARG(ask->tag),
                   changed ? "points again at" : "points already at", STR_ARG(digest));
    }
    json_decref(answer.json);
    return true;
}

int cmd_tag(int argc, char **argv)
{
    ARENA_CLEANUP struct arena a = {0};
    BUF_CLEANUP struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    ADMIN_CLEANUP struct admin admin = {.lock_fd = -1};
    struct ask ask = {.arena = &a};
    struct conf conf;
    int code;
    if (!read_ask(&ask, argc, argv, &conf, &code) || !admin_open(&admin, &conf, &a, &code))
        return code;
    bool done =
        ask.body.p ? run_restore(&ask, &admin, &out, &code) : run_log(&ask, &admin, &out, &code);
    return done ? cli_print(&out) : code;
}

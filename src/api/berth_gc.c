/* Garbage collection on request (docs/gc.md). A run may take longer than a connection stays quiet:
 * the answer comes when it is finished or after a while, and then the client asks again. */
#include "api/routes.h"
#include "api/v2.h"
#include "json/read.h"
#include "json/write.h"

enum { WAIT_MS = 15000, ASK_BYTES_MAX = 4096, ANSWER_BYTES_MAX = 64 << 10 };

struct gc app_gc(struct app *app, struct db_conn *reader)
{
    const struct conf *conf = app->conf;
    return (struct gc){
        .registry = &app->registry,
        .reader = reader,
        .uploads_expire_ms = conf->uploads_expire_ms,
        .tags_history_max = conf->tags_history,
        .untagged = conf->gc_untagged.items,
        .untagged_n = conf->gc_untagged.n,
        .rate = conf->gc_rate,
    };
}

/* One switch of the body; false when it is there and not a boolean. */
static bool read_switch(const json_t *json, const char *key, bool *ret, size_t *known)
{
    const json_t *member = json_member(json, key);
    if (!member)
        return true;
    *ret = json_is_true(member);
    ++*known;
    return json_is_boolean(member);
}

/* The content type is asked for because a web page of another site can have a browser send any
 * other one, with the browser's credentials. */
static enum err read_ask(struct request *req, struct gc_ask *ret)
{
    static const char expected[] = "expected {\"now\": BOOLEAN, \"dry_run\": BOOLEAN}";
    str type, parameters, why;
    size_t known = 0;
    JSON_CLEANUP json_t *json = NULL;
    str_cut(request_header(req, STR("content-type")), ';', &type, &parameters);
    if (!str_eq_nocase(str_trim(type), STR("application/json")))
        return fail(req, ERR_CONTENT_TYPE, "send the body with Content-Type: application/json");
    if (json_read(req->arena, req->body, &json, &why))
        return fail(req, ERR_BAD_REQUEST, "the body is no JSON: %.*s; %s", STR_ARG(why), expected);
    *ret = (struct gc_ask){.sweep = true};
    if (!json_is_object(json) || !read_switch(json, "now", &ret->now, &known) ||
        !read_switch(json, "dry_run", &ret->dry_run, &known) || json_object_size(json) != known)
        return fail(req, ERR_BAD_REQUEST, "%s", expected);
    return OK;
}

static enum err answer(struct request *req, struct response *res, const struct collection *run)
{
    if (run->finished && run->err)
        return fail(req, run->err, "collection ended early: %s; it goes on with the next run",
                    err_text(run->err));
    BUF_CLEANUP struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    struct json_writer w = {.out = &out};
    jw_object(&w);
    jw_key(&w, "id");
    jw_int(&w, (int64_t)run->id);
    jw_key(&w, "finished");
    jw_bool(&w, run->finished);
    if (run->finished) {
        jw_key(&w, "report");
        jw_object(&w);
#define X(name, help) jw_key(&w, #name), jw_int(&w, (int64_t)run->report.name);
        GC_REPORT_TABLE(X)
#undef X
        jw_end(&w);
    }
    jw_end(&w);
    response_json(res, run->finished ? 200 : 202, arena_str(req->arena, buf_str(&out)));
    return OK;
}

static enum err gc_post(struct request *req, struct response *res)
{
    struct v2_call *call;
    struct gc_ask ask;
    struct collection run = {.finished = true};
    enum err e = api_enter_admin(req, res, &call);
    if (!e)
        e = read_ask(req, &ask);
    if (e)
        return e;
    if (!call->app->collector) {
        struct gc gc = app_gc(call->app, call->conn);
        gc.rate = 0; /* nobody waits for anything */
        run.err = gc_run(&gc, &ask, &run.report);
        return answer(req, res, &run);
    }
    e = collector_ask(call->app->collector, &ask, &run.id);
    if (!e)
        e = collector_wait(call->app->collector, run.id, WAIT_MS, &run);
    return e ? e : answer(req, res, &run);
}

static enum err gc_get(struct request *req, struct response *res)
{
    struct v2_call *call;
    struct collection run;
    uint64_t id;
    enum err e = api_enter_admin(req, res, &call);
    if (e)
        return e;
    if (!call->app->collector || !str_u64(req->args[0], &id))
        e = ERR_NOT_FOUND;
    else
        e = collector_wait(call->app->collector, id, WAIT_MS, &run);
    if (e == ERR_NOT_FOUND)
        return fail(req, e, "run %.*s of collection is not known (any more)",
                    STR_ARG(str_first(req->args[0], 40)));
    return e ? e : answer(req, res, &run);
}

const struct route berth_gc_routes[] = {
    {METHOD_POST, "/api/berth/v1/gc", gc_post, BODY_SMALL, .body_max_bytes = ASK_BYTES_MAX,
     .help = "Collect garbage: {\"now\": BOOLEAN, \"dry_run\": BOOLEAN}"},
    {METHOD_GET, "/api/berth/v1/gc/{id}", gc_get, BODY_DRAIN,
     .help = "What a run has done, once it is finished"},
    {0},
};

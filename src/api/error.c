/* How errors look to clients (OCI distribution specification, "Error Codes"). */
#include "api/error.h"

#include "api/app.h"
#include "api/challenge.h"
#include "api/v2.h"
#include "base/log.h"
#include "base/metrics.h"
#include "json/write.h"

enum { ERROR_BYTES_MAX = 256 * 1024 };

static void write_entry(struct json_writer *w, const struct error *entry)
{
    jw_object(w);
    jw_field(w, "code", str_from(err_code(entry->code)));
    jw_field(w, "message", entry->message.n ? entry->message : str_from(err_text(entry->code)));
    if (entry->detail.n) {
        jw_key(w, "detail");
        jw_raw(w, entry->detail);
    }
    jw_end(w);
}

static str error_body(struct request *req, const struct error *first, const char *oauth)
{
    BUF_CLEANUP struct buf out = BUF_INIT(ERROR_BYTES_MAX);
    struct json_writer w = {.out = &out};
    jw_object(&w);
    jw_key(&w, "errors");
    jw_array(&w);
    for (const struct error *entry = first; entry && out.n < ERROR_BYTES_MAX / 2;
         entry = entry->next)
        write_entry(&w, entry);
    jw_end(&w);
    if (oauth) {
        jw_field(&w, "error", str_from(oauth));
        jw_field(&w, "error_description",
                 first->message.n ? first->message : str_from(err_text(first->code)));
    }
    jw_end(&w);
    buf_byte(&out, '\n');
    return arena_str(req->arena, buf_str(&out));
}

/* What went wrong inside: nobody expected 500, 507 and a constraint; what answers 503 passes. Being
 * full, or stopping, is no failure: limits are counted, and the access log has the code. */
static bool is_failure(enum err e, enum log_level *level)
{
    int status = err_status(e);
    *level = status == 503 ? LOG_WARN : LOG_ERROR;
    return e == ERR_CONSTRAINT || (status >= 500 && e != ERR_OVERLOADED && e != ERR_SHUTTING_DOWN &&
                                   e != ERR_NOT_IMPLEMENTED && e != ERR_VERSION);
}

/* The client learns that something went wrong, and the request's id; the rest is for the log. */
static void log_failure(struct request *req, enum err e)
{
    enum log_level level;
    if (!is_failure(e, &level) || !log_enabled(level))
        return;
    const struct app *app = req->app;
    struct db_conn *reader = db_reader(app->db, req->worker);
    str database = {0}, store = {0};
    if (e == ERR_DB || e == ERR_DB_CORRUPT || e == ERR_CONSTRAINT ||
        e == db_condition(app->db).writing)
        database = db_writer_error_text(app->db, req->arena);
    if (e == store_condition(app->registry.store))
        store = store_error_text(app->registry.store, req->arena);
    else if (e == ERR_BLOB_UNREADABLE)
        store = store_read_error_text(app->registry.store, req->arena);
    if (database.n == 0 && (e == ERR_DB || e == ERR_DB_CORRUPT))
        database = db_error_text(reader, req->arena);
    const struct log_field fields[] = {
        log_err(e),
        log_str("request", str_make(req->id, REQUEST_ID_LEN)),
        log_str("method", req->path.n ? method_name(req->method) : (str){0}),
        log_str("path", req->path),
        log_str("message", req->error.message),
        log_str("database", database),
        log_str("store", store),
    };
    log_event(level, "request_failed", fields, sizeof fields / sizeof *fields);
}

/* Bounds on a single request; the others are counted where they are met. */
static void count_limit(const struct request *req, enum err e)
{
    if (e == ERR_HEAD_TOO_LARGE)
        metric_limit(LIMIT_HEAD);
    if (e == ERR_TARGET_TOO_LONG)
        metric_limit(LIMIT_TARGET);
    if (e == ERR_MANIFEST_TOO_LARGE)
        metric_limit(LIMIT_MANIFEST);
    if (e == ERR_BODY_TOO_LARGE && req->route && req->route->body == BODY_STREAM)
        metric_limit(LIMIT_BLOB);
}

static bool has_header(const struct response *res, const char *name)
{
    for (size_t i = 0; i < res->header_n; i++) {
        if (str_eq(res->headers[i].name, str_from(name)))
            return true;
    }
    return false;
}

void error_answer(struct request *req, struct response *res, enum err e, const char *oauth)
{
    struct error error = req->error;
    if (error.code != e)
        error = (struct error){.code = e};
    int status = err_status(e);
    count_limit(req, e);
    log_failure(req, e);
    if (str_starts(req->path, STR("/v2/")) && !req->state) /* no handler was there to set it */
        response_header(res, "Docker-Distribution-Api-Version", STR("registry/2.0"));
    if ((status == 503 || status == 429) && !has_header(res, "Retry-After"))
        response_header(res, "Retry-After", STR("1"));
    /* A 404 may be kept by caches unless told otherwise (RFC 9110 15.1), and be wrong tomorrow. */
    if (!has_header(res, "Cache-Control"))
        response_header(res, "Cache-Control", STR("no-store"));
    response_json(res, status, error_body(req, &error, oauth));
}

void api_render_error(struct request *req, struct response *res, enum err e)
{
    struct v2_call *call = req->state;
    if (err_status(e) == 401 && call && call->refused)
        challenge_add(res, call);
    error_answer(req, res, e, NULL);
}

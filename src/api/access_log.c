/* The access log: one line per request (docs/logging.md). */
#include "api/metrics.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/trace.h"

enum { PROXY_ID_MAX = 128 };

/* The id a trusted proxy gave the request, if it is one: what others send is anybody's. */
static str proxy_request_id(const struct request *req)
{
    str id = req->from_proxy ? request_header(req, STR("x-request-id")) : (str){0};
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool fits = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    c == '-' || c == '_' || c == '.' || c == ':' || c == '/' || c == '=' ||
                    c == '+' || c == '@';
        if (!fits)
            return (str){0};
    }
    return id.n <= PROXY_ID_MAX ? id : (str){0};
}

static void log_request(const struct request *req, const struct http_done *done)
{
    ARENA_CLEANUP struct arena a = {0};
    struct trace trace;
    bool traced = trace_of_request(req, &a, &trace);
    bool failed = done->status >= 400 || done->status == 0;
    /* The query may hold what is nobody's business (tokens of misguided clients): left out. */
    LOG(INFO, "request", log_str("request", str_make(req->id, REQUEST_ID_LEN)),
        log_str("trace", str_make(trace.id, traced ? TRACE_ID_LEN : 0)),
        log_str("proxy_request", proxy_request_id(req)), log_str("client", req->client),
        log_str("subject", req->client_subject), log_str("principal", req->log_principal),
        log_str("method", req->path.n ? method_name(req->method) : (str){0}),
        log_str("path", req->path), log_cstr("route", req->route ? req->route->pattern : NULL),
        log_str("repository", req->log_repository), log_int("status", done->status),
        log_cstr("error", failed && req->error.code ? err_name(req->error.code) : NULL),
        log_int("in_bytes", (int64_t)done->body_in_bytes),
        log_int("out_bytes", (int64_t)done->body_out_bytes),
        log_int("first_byte_us", (int64_t)done->first_byte_us),
        log_int("us", (int64_t)done->elapsed_us), log_cstr("http", done->http),
        log_cstr("tls", done->tls), log_str("agent", request_header(req, STR("user-agent"))));
}

/* The client has the status already: only here is it told that the answer ended early. */
static void log_unreadable(const struct request *req, const struct http_done *done)
{
    LOG(ERROR, "request_failed", log_err(ERR_BLOB_UNREADABLE),
        log_str("request", str_make(req->id, REQUEST_ID_LEN)),
        log_str("method", method_name(req->method)), log_str("path", req->path),
        log_cstr("message", "the file could not be read to its end: the answer was cut off"),
        log_int("out_bytes", (int64_t)done->body_out_bytes));
}

void api_on_done(const struct request *req, const struct http_done *done)
{
    const struct app *app = req->app;
    api_metrics_count(req, done);
    if (done->unreadable) {
        metric_add(METRIC_STORE_READ_FAILURES, 1);
        log_unreadable(req, done);
    }
    if (atomic_load_explicit(&app->log_access, memory_order_relaxed))
        log_request(req, done);
}

void api_on_refused(void *app, str client, str why)
{
    if (atomic_load_explicit(&((struct app *)app)->log_access, memory_order_relaxed))
        LOG(INFO, "tls_failed", log_str("client", client), log_str("reason", why));
}

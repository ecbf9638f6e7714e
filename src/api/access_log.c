/* The access log: one line per request. */
#include "api/metrics.h"
#include "base/log.h"

void api_on_done(const struct request *req, const struct http_done *done)
{
    const struct app *app = req->app;
    api_metrics_count(req, done);
    if (!atomic_load_explicit(&app->log_access, memory_order_relaxed))
        return;
    /* The query may hold what is nobody's business (tokens of misguided clients): left out. */
    LOG(INFO, "request", log_str("request", str_make(req->id, REQUEST_ID_LEN)),
        log_str("client", req->client), log_str("subject", req->client_subject),
        log_str("principal", req->log_principal), log_str("method", method_name(req->method)),
        log_str("path", req->path), log_str("repository", req->log_repository),
        log_int("status", done->status), log_int("in_bytes", (int64_t)done->body_in_bytes),
        log_int("out_bytes", (int64_t)done->body_out_bytes),
        log_int("us", (int64_t)done->elapsed_us),
        log_str("agent", request_header(req, STR("user-agent"))));
}

void api_on_refused(void *app, str client, str why)
{
    if (atomic_load_explicit(&((struct app *)app)->log_access, memory_order_relaxed))
        LOG(INFO, "tls_failed", log_str("client", client), log_str("reason", why));
}

/* What handlers work with: request.app points here. Built once by cli/serve.c before the server
 * starts; read-only afterwards, but for what is atomic. */
#pragma once

#include "auth/auth.h"
#include "conf/conf.h"
#include "db/db.h"
#include "http/server.h"
#include "jobs/collector.h"
#include "jobs/scrub.h"
#include "registry/registry.h"

#include <stdatomic.h>

struct app {
    const struct conf *conf; /* as it was at start */
    atomic_bool log_access;  /* log.access as it is now */
    struct db *db;
    struct auth *auth;
    struct registry registry;
    struct http_server *server;  /* NULL: none runs */
    atomic_bool probing;         /* a /readyz tries whether writing works again */
    struct collector *collector; /* NULL: no server runs */
    struct scrub *scrub;         /* NULL: the same, or scrub.rate is 0B */
};

/* Collection as the configuration wants it, with this reader. */
struct gc app_gc(struct app *app, struct db_conn *reader);

/* The tables of all handler files, for struct router. */
extern const struct route *const api_routes[];
extern const size_t api_route_tables_n;

/* The same for the addresses of metrics.listen. */
extern const struct route *const api_metrics_routes[];
extern const size_t api_metrics_route_tables_n;

/* http_config.render_error: JSON error body (OCI distribution specification, "Error Codes"),
 * WWW-Authenticate, Retry-After. */
void api_render_error(struct request *req, struct response *res, enum err e);
/* http_config.on_done: metrics and the access log. */
void api_on_done(const struct request *req, const struct http_done *done);
/* http_config.on_refused: a log line as for a request. */
void api_on_refused(void *app, str client, str why);

/* Metrics over HTTP, and what only this layer knows for them: routes, and values that are asked for
 * when somebody looks. */
#pragma once

#include "api/app.h"

/* Names the series: one for each row of the tables, of api_routes and api_metrics_routes, and one
 * for each reactor. Before the server starts; the names live in the arena as long as the program.
 */
void api_metrics_init(struct arena *a, unsigned reactors_n);

/* Counts a request that is over. Reactor. */
void api_metrics_count(const struct request *req, const struct http_done *done);

/* Sets all gauges that nobody keeps: of pool, reactors, files, process. Any thread; reads /proc. */
void api_metrics_collect(struct app *app);
/* The part of it about the process. */
void api_metrics_process(void);

/* Whether the client rather reads OpenMetrics than the Prometheus text format; `accept` is its
 * Accept header, p == NULL without. */
bool metrics_accept_open(str accept);

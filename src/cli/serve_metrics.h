/* The addresses of metrics.listen: a server of its own, with one reactor, for /metrics, /healthz
 * and /readyz in cleartext. */
#pragma once

#include "api/app.h"
#include "cli/sockets.h"

struct serve_metrics {
    struct sockets sockets;
    struct http_server *server; /* NULL: not started, or there is no address */
};

/* Opens the sockets. On failure `why` names the entry. Before other threads exist. */
NODISCARD enum err serve_metrics_open(struct serve_metrics *m, const struct conf *conf,
                                      struct arena *a, struct error *why);
/* Starts the server; `main` is the other one's configuration. */
NODISCARD enum err serve_metrics_start(struct serve_metrics *m, const struct http_config *main,
                                       struct arena *a, struct error *why);
/* Logs the addresses. */
void serve_metrics_tell(const struct serve_metrics *m, struct arena *a);
/* Ends it. */
void serve_metrics_close(struct serve_metrics *m);

/* What each client address takes: open connections, and requests by a rate. One table of a fixed
 * size for the whole server; addresses of IPv6 count by their /64, which is what one customer of a
 * provider has. Any thread; never blocks for long. */
#pragma once

#include "net/address.h"

struct clients;

struct clients_config {
    size_t addresses_max;       /* known at once */
    unsigned connections_max;   /* of one address; 0: no bound */
    unsigned requests_rate_max; /* of one address, per second; 0: no bound */
    unsigned requests_burst;    /* that may come at once; at least 1 */
};

enum client_verdict {
    CLIENT_REFUSED,
    CLIENT_COUNTED,   /* clients_disconnect is due */
    CLIENT_UNCOUNTED, /* it may go on, but nothing is known of it: no bound, or the table is full */
};

struct clients *clients_new(const struct clients_config *config);
/* NULL-safe. */
void clients_free(struct clients *c);

/* A connection begins. */
NODISCARD enum client_verdict clients_connect(struct clients *c, const struct address *a);
/* One that was counted ends. */
void clients_disconnect(struct clients *c, const struct address *a);

/* A request begins at now_us (monotonic): 0 when it may, else the microseconds until one may, and
 * it does not count. */
NODISCARD uint64_t clients_request(struct clients *c, const struct address *a, uint64_t now_us);

/* The HTTP server: listeners, reactors, connections. Everything above it is a handler. */
#pragma once

#include "http/router.h"
#include "net/listener.h"

struct http_server;
struct tls;

/* Bounds and times; all from the option table (conf/options.def, sections limits and timeouts). */
struct http_limits {
    unsigned connections_max;
    /* Of one client address (http/clients.h); 0: no bound. Addresses of trusted proxies and of
     * loopback interfaces are not counted. */
    unsigned address_connections_max;
    unsigned address_requests_rate_max; /* per second */
    unsigned address_requests_burst;
    size_t addresses_max; /* known at once */
    uint64_t head_bytes_max;
    unsigned head_fields_max;
    uint64_t target_bytes_max;
    uint64_t body_bytes_max;       /* BODY_SMALL default */
    uint64_t receive_memory_bytes; /* all bodies in flight */
    uint64_t upload_window_bytes;  /* one body in flight */
    unsigned ranges_max;
    uint64_t handshake_ms; /* TLS: accepted to ready for requests */
    uint64_t head_ms;      /* first byte to complete head */
    uint64_t idle_ms;      /* between requests */
    uint64_t body_ms;      /* window over which body_rate_min is required */
    uint64_t body_bytes_per_second_min;
    uint64_t send_ms;  /* without any progress while sending */
    uint64_t drain_ms; /* lingering close after an early refusal */
};

/* How an exchange went. */
struct http_done {
    int status; /* 0: the client was gone before it got one */
    uint64_t body_in_bytes, body_out_bytes;
    uint64_t elapsed_us;    /* from a complete head to the last byte */
    uint64_t first_byte_us; /* to the first byte of the answer */
    uint64_t worker_us;     /* workers' part in it */
    bool by_worker;         /* false: a reactor did it all */
    bool unreadable;        /* a file could not be read to its end: the answer ended early */
    const char *http;       /* version: "1.0", "1.1" or "2" */
    const char *tls;        /* version: "1.3"; NULL: cleartext */
};

/* HTTP/2 (conf/options.def, section http2). */
struct http2_limits {
    bool cleartext; /* also without TLS, to clients that begin with it */
    unsigned streams_max;
    uint64_t window_bytes;
    unsigned resets_max;         /* in ten seconds */
    unsigned control_frames_max; /* in ten seconds */
    unsigned continuations_max;
    unsigned queue_max;
};

struct http_config {
    /* Open; their descriptors become the server's, come what may. */
    const struct listener *listeners;
    size_t listener_n;
    struct tls *tls;  /* for listeners that speak it; NULL: none does. Outlives the server */
    str admin_socket; /* path of a unix socket to listen on as well; n == 0: none. Its requests have
                         request.admin set. Must outlive the server, which removes it at the end */
    unsigned reactors_n;
    struct http_limits limits;
    struct http2_limits http2;
    const str *trusted_proxies; /* addresses or CIDR blocks */
    size_t trusted_proxy_n;
    struct router router;
    struct pool *pool;
    void *app; /* request.app */
    /* Worker or reactor; must not block. Turns an error into the response (JSON body, challenge
     * headers). `req->error` has the details. req->route may be NULL, and before the head could be
     * parsed method, target, host and fields are empty. */
    void (*render_error)(struct request *req, struct response *res, enum err e);
    /* Reactor; must not block. After the last byte was handed to the kernel or the connection
     * ended: for metrics and the access log. */
    void (*on_done)(const struct request *req, const struct http_done *done);
    /* Reactor; must not block. A connection's TLS handshake failed. NULL: nobody asks. */
    void (*on_refused)(void *app, str client, str why);
};

/* Opens the admin socket and makes what serves. On failure `why` tells what to do about it. */
NODISCARD enum err http_server_new(struct http_server **ret, const struct http_config *config,
                                   struct arena *a, struct error *why);
/* Starts the reactor threads and accepts. */
NODISCARD enum err http_server_start(struct http_server *s);
/* The n-th listener as "address:port" (the port the kernel chose for :0) or "unix:/path", p == NULL
 * past the last. */
str http_server_address(const struct http_server *s, size_t n);
/* Any thread but a reactor or worker: stops accepting, closes idle connections, lets transfers
 * finish for up to grace_ms, then closes the rest, waits for handlers that still run, and joins the
 * reactors. Blocks. */
void http_server_drain(struct http_server *s, uint64_t grace_ms);
/* Drains without grace if it still runs. NULL-safe. */
void http_server_free(struct http_server *s);
/* One thread: asks every reactor for a sign of life; true when all have answered the question
 * before this one. */
bool http_server_alive(struct http_server *s);
/* Any thread: connections that are open now. */
unsigned http_server_connections(const struct http_server *s);

/* Any thread: memory that bodies in flight have taken, and may take. */
void http_server_memory(struct http_server *s, uint64_t *used_bytes, uint64_t *max_bytes);
/* Any thread: what the n-th reactor has; false past the last. */
bool http_server_reactor(const struct http_server *s, unsigned n, unsigned *connections,
                         uint64_t *in_flight_bytes);

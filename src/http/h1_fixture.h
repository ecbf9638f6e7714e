/* Test fixture: a real server on 127.0.0.1 with small handlers, and a client that sends raw bytes.
 *
 * Nothing sleeps to wait: the client reads until an answer or the end of the connection, handlers
 * that shall take long wait on a gate, and sinks that shall be slow hold their buffers until the
 * test lets them go. A client that gets nothing for 20 seconds fails the test. */
#pragma once

#include "base/metrics.h"
#include "base/test.h"
#include "http/server.h"

#include <pthread.h>

/* A door that handlers wait at, and a count of who came. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned arrived, open; /* `open` may pass */
};
void gate_pass(struct gate *g);
void gate_open(struct gate *g, unsigned n);
void gate_wait_arrived(struct gate *g, unsigned n);

enum { HELD_MAX = 4096 };

/* Request.app of the test handlers. */
struct fixture {
    struct http_server *server;
    struct pool *pool;
    struct gate gate;     /* GET /gate */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    bool hold; /* PUT /stream keeps its buffers */
    struct iobuf *held[HELD_MAX];
    size_t held_n;
    size_t held_bytes, held_bytes_max; /* capacities */
    size_t cap_max;                    /* largest buffer */
    unsigned finished, aborted, answered_aborts;
    unsigned done; /* on_done calls */
    int done_status;
    uint64_t done_in, done_out;
    struct http_done last_done;
    int64_t hits[LIMIT_COUNT]; /* before the start */
};

struct http_config fixture_config(void);
/* Starts with the configuration; pool and app are filled in. */
void fixture_start(struct fixture *f, struct http_config config, unsigned workers, unsigned queue);
void fixture_stop(struct fixture *f);
/* Lets held buffers go, and holds no more. */
void fixture_release(struct fixture *f);
/* Waits until buffers are held, and lets them go; false when instead n sinks are over. */
bool fixture_release_next(struct fixture *f, unsigned n);
/* Waits until that many bytes, in capacities, are held. */
void fixture_wait_held(struct fixture *f, size_t bytes);
/* Waits until the counter of the fixture is at least n. */
void fixture_wait(struct fixture *f, const unsigned *counter, unsigned n);

/* How often the bound was met since the start. */
int64_t fixture_hits(const struct fixture *f, enum limit limit);

/* Client. */
int client_connect(struct fixture *f);
void client_send(int fd, const char *text);
void client_send_bytes(int fd, const void *p, size_t n);

struct reply {
    int status; /* 0: the connection ended before a whole response */
    char head[4096];
    char body[1 << 16]; /* the first bytes */
    uint64_t body_n;
    uint32_t body_sum; /* of all body bytes */
};
/* Reads one response; `head_only` for HEAD. */
void client_reply(int fd, struct reply *r, bool head_only);
/* Sends and reads one response, expecting the status. */
void client_ask(int fd, const char *text, struct reply *r, int status);
bool reply_has(const struct reply *r, const char *line);
/* True when the server closes without sending anything more. */
bool client_ends(int fd);

/* Position-dependent content, and its checksum. */
void pattern_fill(char *p, uint64_t offset, size_t n);
uint32_t pattern_sum(uint32_t sum, const char *p, size_t n);

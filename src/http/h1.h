/* HTTP/1.1 connections. Private to server.c, conn.c, h1*.c and send.c.
 *
 * A connection belongs to one reactor and is a list of named steps: HANDSHAKE, IDLE, HEAD, maybe
 * BODY or STREAM, WORK on a worker, SEND, then IDLE again, LINGER or END. Each step is a function
 * that goes as far as it can without blocking. It returns true when the step the connection is in
 * now (often another) shall run at once, and false when it has arranged to be run again: by the
 * socket, the timer, a worker, or a buffer coming home.
 *
 * What one request needs is an `exchange`, taken when its head is complete and given back when the
 * response is out; so an idle connection is no more than struct conn. While a worker has the
 * exchange (`away`) the reactor leaves it alone. */
#pragma once

#include "http/forwarded.h"
#include "http/h1_parse.h"
#include "http/iobuf.h"
#include "http/server.h"
#include "net/tls.h"
#include "net/transport.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/metrics.h"

/* name, what runs it, what its timer does */
#define H1_STEP_TABLE(X)                                                                    \
    X(HANDSHAKE, conn_handshake, conn_handshake_late) /* TLS begins; plain TCP passes by */ \
    X(IDLE, h1_idle, h1_gone)                         /* between requests */                \
    X(HEAD, h1_head, h1_head_late)                    /* a head is arriving */              \
    X(CONTINUE, h1_continue, h1_gone)                 /* "100 Continue" is going out */     \
    X(BODY, h1_body, h1_body_late)                    /* collecting or discarding a body */ \
    X(STREAM, h1_stream, h1_body_late)                /* a body is going into a sink */     \
    X(SETTLE, h1_settle, h1_stay)  /* no more body; the sink still has buffers */           \
    X(WORK, h1_work, h1_stay)      /* a worker has the exchange */                          \
    X(SEND, h1_send, h1_send_late) /* the response is going out */                          \
    X(LINGER, h1_linger, h1_gone)  /* responded; reading what still comes, then closing */  \
    X(END, h1_end, h1_stay)        /* nothing left to do */

enum h1_step {
#define X(name, run, late) STEP_##name,
    H1_STEP_TABLE(X)
#undef X
};

enum {
    SCRATCH_BYTES = 64 * 1024,   /* one read of a collected body */
    HEAD_READ_BYTES = 16 * 1024, /* one read of a head; less, so that little body is copied twice */
    HEAD_FREE_BYTES = 4 * 1024,  /* of an incomplete head; larger ones count in the budget */
    DISCARD_BYTES = 64 * 1024,   /* a body this small is read rather than the connection lost */
    LINGER_BYTES = 256 * 1024,
    TURN_BYTES = 512 * 1024, /* moved for one connection before others have their turn */
};

struct http_server {
    struct http_config config; /* listen and trusted_proxies are gone after http_server_new */
    struct cidr *trusted;
    size_t trusted_n;
    struct listener *listeners;
    size_t listener_n;
    struct shard *shards;
    unsigned shard_n;
    struct budget budget;
    atomic_uint connections;
    bool running;
    pthread_mutex_t lock; /* guards drained_n; `changed` also tells that connections became 0 */
    pthread_cond_t changed;
    unsigned drained_n;
};

/* One reactor and all that belongs to its thread. */
struct shard {
    struct http_server *server;
    struct reactor *reactor;
    pthread_t thread;
    struct conn *conns;
    struct exchange *free_exchanges;
    unsigned free_exchange_n;
    struct iobuf_pool iobufs;
    char *scratch;     /* SCRATCH_BYTES; holds nothing between two steps */
    char *tls_scratch; /* transport.scratch of its connections */
    bool draining;     /* no further requests on any connection */
    uint64_t id_state;
    int64_t date_second;
    char date[CLOCK_HTTP_LEN];
    /* For other reactors, which choose where a new connection goes. */
    atomic_ullong in_flight_bytes;
    atomic_uint connections;
    /* server.c only */
    struct acceptor *acceptors;
    struct timer accept_again;
    struct task drain, kill;
};

enum h1_work { WORK_HANDLER, WORK_FINISH, WORK_ABORT, WORK_READ_AHEAD };

struct exchange {
    struct conn *conn;
    struct exchange *next_free;
    struct arena arena;
    struct request req;
    struct response res;
    bool keep_alive; /* the client wants it */

    /* The body as it is framed. */
    bool chunked;
    bool body_done;
    bool body_broken;   /* it will not be read to its end */
    uint64_t body_left; /* not chunked */
    uint64_t body_in;   /* bytes received */
    struct h1_chunked decoder;
    uint64_t window_bytes; /* body_in when the rate window began */

    /* BODY */
    bool responding; /* the response is ready and the body only in the way */
    bool collect;    /* else discard */
    uint64_t body_max;
    struct buf small;
    size_t small_charge;

    /* CONTINUE, and what comes after it */
    size_t continue_sent;
    enum h1_step continue_to;

    /* STREAM, SETTLE */
    struct sink *sink;
    size_t outstanding; /* charges of the buffers the sink has */
    unsigned class;     /* of the next buffer that is read into */
    bool paused;        /* until a buffer comes home */
    bool waiting;       /* in the budget's queue with `wait` */
    bool granted;       /* wait.bytes are taken from the budget and not yet a buffer */
    unsigned wait_class;
    struct budget_wait wait;
    enum err body_error; /* why the body did not arrive whole */

    /* WORK */
    bool away;
    bool answer; /* the client was still there when the work began */
    enum h1_work work;
    struct job job;
    struct task back;

    /* SEND */
    bool close, linger;
    str head;
    uint64_t head_sent;
    struct segment *segment; /* the one being sent */
    uint64_t segment_sent;
    uint64_t warm_end; /* the segment's file is in memory up to here */
    uint64_t body_out;
};

struct conn {
    struct watch watch;
    struct timer timer;
    struct transport transport;
    struct shard *shard;
    struct conn *next, **link; /* shard->conns */
    struct exchange *x;        /* NULL between requests */
    struct task task;          /* to be adopted; later, to be run again */
    bool posted; /* the task is on its way: the connection is not freed before it has run */
    enum h1_step step;
    bool can_read;   /* the socket may have bytes */
    bool waiting;    /* for the socket: its events run the step */
    bool gone;       /* the socket is closed */
    bool head_timed; /* the timer is this head's */
    bool progress;   /* bytes went out since the timer was set */
    /* Received and not used up. Within one step the memory may be the scratch. */
    char *in;
    size_t in_start, in_n, in_cap, in_charge;
    size_t scanned; /* by h1_head_length */
    bool admin;     /* over the admin socket, by admin_uid */
    uint32_t admin_uid;
    uint64_t linger_bytes;
    uint64_t load; /* this connection's part of in_flight_bytes */
    struct address peer;
    uint8_t peer_text_n, local_text_n;
    char peer_text[ADDRESS_LEN_MAX], local_text[ADDRESS_LEN_MAX];
};

/* conn.c: life, events, input */

/* Any thread. Takes over fd. `tls` NULL: cleartext. `peer` NULL: over the admin socket, by
 * admin_uid. */
struct conn *conn_new(int fd, struct tls *tls, const struct address *peer, uint32_t admin_uid,
                      str local);
/* From now on the connection is the shard's. */
void conn_adopt(struct shard *s, struct conn *c);
/* Drops the connection whatever it does; it is freed now or when its worker is back. */
void conn_kill(struct conn *c);
/* Runs steps until one waits. The connection may be freed. */
void conn_run(struct conn *c);
/* Waits for the socket; for `return conn_wait(...)`. */
bool conn_wait(struct conn *c, uint32_t events);
void conn_set_timer(struct conn *c, uint64_t ms);
void conn_cancel_timer(struct conn *c);
/* What this connection has before it, for the balance between reactors. */
void conn_set_load(struct conn *c, uint64_t bytes);

/* Received, not used up. */
static inline str conn_input(const struct conn *c)
{
    return c->in_n > 0 ? str_make(c->in + c->in_start, c->in_n) : (str){0};
}
/* Reads at most n bytes behind the input: result as of transport read. */
ssize_t conn_fill(struct conn *c, size_t n);
void conn_consume(struct conn *c, size_t n);
/* Moves input that is in the shard's scratch to memory of its own. */
void conn_keep(struct conn *c);
/* Makes `bytes`, which may be in a receive buffer, the input; there is none so far. */
void conn_put_back(struct conn *c, str bytes);

/* The client is not there any more: ends what is going on. */
bool h1_gone(struct conn *c);
bool h1_stay(struct conn *c);

/* h1.c: heads, routing, handlers */

/* Answers someone who speaks cleartext where TLS is spoken; the transport is plain by now. */
bool h1_refuse_cleartext(struct conn *c);
/* Reports the exchange as done and gives it back, if there is one. */
void exchange_end(struct conn *c);
/* Responds with an error. */
bool h1_refuse(struct conn *c, enum err e);
/* Sends x->res, after the rest of a small body, else with the end of the connection. */
bool h1_respond(struct conn *c);
/* Runs the handler, here or on a worker. */
bool h1_dispatch(struct conn *c);
/* Hands the exchange to a worker. */
bool h1_submit(struct conn *c, enum h1_work work);
/* The response is out. */
bool h1_finished(struct conn *c);

/* h1_body.c: bodies */

/* Gets what a routed request's handler needs of the body, then runs it. */
bool h1_body_begin(struct conn *c);
/* Reads and drops the rest of the body, then sends. */
bool h1_discard_begin(struct conn *c);
/* Streams the body into x->sink. */
bool h1_stream_begin(struct conn *c);
/* No more of the body goes into the sink. `e`: why, if it did not arrive whole. */
bool h1_stream_end(struct conn *c, enum err e);
void h1_iobuf_home(struct iobuf *b);

/* send.c */

bool h1_send_begin(struct conn *c);

/* The steps and their timers. */
#define X(name, run, late)    \
    bool run(struct conn *c); \
    bool late(struct conn *c);
H1_STEP_TABLE(X)
#undef X

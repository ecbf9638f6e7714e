/* A connection as the reactor sees it. Private to http/.
 *
 * A connection belongs to one reactor and is a list of named steps: maybe PROXY, HANDSHAKE, IDLE,
 * HEAD, maybe BODY or STREAM, WORK on a worker, SEND, then IDLE again, LINGER or END. Each step is
 * a function that goes as far as it can without blocking. It returns true when the step the
 * connection is in now (often another) shall run at once, and false when it has arranged to be run
 * again: by the socket, the timer, a worker, or a buffer coming home. HTTP/2 is one step,
 * H2: h2.h.
 *
 * What one request needs is an `exchange` (exchange.h), taken when its head is complete and given
 * back when the response is out; so an idle connection is no more than struct conn. */
#pragma once

#include "http/clients.h"
#include "http/forwarded.h"
#include "http/iobuf.h"
#include "http/server.h"
#include "net/tls.h"
#include "net/transport.h"

#include "base/clock.h"
#include "base/metrics.h"

struct exchange;
struct h2;
struct h2_shared;

/* name, what runs it, what its timer does */
#define STEP_TABLE(X)                                                                           \
    X(PROXY, proxy_read, proxy_late)                  /* a PROXY protocol header is arriving */ \
    X(HANDSHAKE, conn_handshake, conn_handshake_late) /* TLS begins; plain TCP passes by */     \
    X(IDLE, h1_idle, conn_gone)                       /* between requests */                    \
    X(HEAD, h1_head, h1_head_late)                    /* a head is arriving */                  \
    X(CONTINUE, h1_continue, conn_gone)               /* "100 Continue" is going out */         \
    X(BODY, h1_body, h1_body_late)                    /* collecting or discarding a body */     \
    X(STREAM, h1_stream, h1_body_late)                /* a body is going into a sink */         \
    X(SETTLE, h1_settle, conn_stay) /* no more body; the sink still has buffers */              \
    X(WORK, h1_work, conn_stay)     /* a worker has the exchange */                             \
    X(SEND, h1_send, h1_send_late)  /* the response is going out */                             \
    X(H2, h2_run, h2_late)          /* HTTP/2 is spoken, to the end */                          \
    X(LINGER, h1_linger, conn_gone) /* responded; reading what still comes, then closing */     \
    X(END, conn_end, conn_stay)     /* nothing left to do */

enum conn_step {
#define X(name, run, late) STEP_##name,
    STEP_TABLE(X)
#undef X
};

enum {
    SCRATCH_BYTES = 64 * 1024,   /* one read of a collected body */
    HEAD_READ_BYTES = 16 * 1024, /* one read of a head; less, so that little body is copied twice */
    HEAD_FREE_BYTES = 4 * 1024,  /* of an incomplete head; larger ones count in the budget */
    DISCARD_BYTES = 64 * 1024,   /* a body this small is read rather than the connection lost */
    LINGER_BYTES = 256 * 1024,
    TURN_BYTES = 512 * 1024, /* moved for one connection before others have their turn */
    TURN_REQUESTS = 64,      /* HTTP/1: begun for it, likewise */
};

struct http_server {
    struct http_config config; /* listeners and trusted_proxies are gone after http_server_new */
    struct cidr *trusted;
    size_t trusted_n;
    struct clients *clients; /* NULL: no bound on what one address takes */
    struct door *doors;
    size_t door_n;
    struct arena arena; /* the doors and their text */
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
    char *scratch;        /* SCRATCH_BYTES; holds nothing between two steps */
    char *tls_scratch;    /* transport.scratch of its connections */
    struct h2_shared *h2; /* NULL before the first connection that speaks it */
    bool draining;        /* no further requests on any connection */
    uint64_t id_state;
    int64_t date_second;
    char date[CLOCK_HTTP_LEN];
    /* For other reactors, which choose where a new connection goes. */
    atomic_ullong in_flight_bytes;
    atomic_uint connections;
    /* server.c only */
    struct acceptor *acceptors;
    struct timer accept_again;
    struct task drain, kill, alive;
    atomic_bool asked; /* `alive` is on its way */
};

struct conn {
    struct watch watch;
    struct timer timer;
    struct transport transport;
    struct shard *shard;
    const struct listener *listener; /* it came in by */
    struct proxy_input *proxy;       /* PROXY only */
    struct conn *next, **link;       /* shard->conns */
    struct exchange *x;              /* HTTP/1: NULL between requests */
    struct h2 *h2;                   /* HTTP/2: else NULL */
    struct task task;                /* to be adopted; later, to be run again */
    bool posted; /* the task is on its way: the connection is not freed before it has run */
    enum conn_step step;
    bool can_read;         /* the socket may have bytes */
    bool waiting;          /* for the socket: its events run the step */
    bool gone;             /* the socket is closed */
    bool begun;            /* HTTP/1: a head came */
    uint8_t turn_requests; /* HTTP/1: begun since others had their turn */
    bool head_timed;       /* the timer is this head's */
    bool progress;         /* bytes went out since the timer was set */
    /* Received and not used up. Within one step the memory may be the scratch. */
    char *in;
    size_t in_start, in_n, in_cap, in_charge;
    size_t scanned; /* by h1_head_length */
    bool counted;   /* in the server's clients, as one of the peer */
    bool admin;     /* over the admin socket, by admin_uid */
    uint32_t admin_uid;
    uint64_t linger_bytes;
    struct address peer;
    uint8_t peer_text_n, local_text_n;
    char peer_text[ADDRESS_LEN_MAX], local_text[ADDRESS_LEN_MAX];
};

/* conn.c: life, events, input */

/* Any thread. Takes over fd, accepted from the listener, which outlives the connection. `tls` NULL:
 * cleartext. */
struct conn *conn_new(int fd, const struct listener *l, struct tls *tls, const struct address *peer,
                      str local);
/* Who the client is, and the address it connected to; as conn_new has it, or as a PROXY header
 * tells. */
void conn_set_peer(struct conn *c, const struct address *peer);
void conn_set_local(struct conn *c, str local);
/* Any thread: counts a connection of that peer; CLIENT_REFUSED when it has too many. */
NODISCARD enum client_verdict server_admit(struct http_server *s, const struct address *peer);
/* Whether what this address does is counted. Any thread. */
bool server_counts(const struct http_server *s, const struct address *a);
/* From now on the connection is the shard's. */
void conn_adopt(struct shard *s, struct conn *c);
/* No further requests: ends when the one that is going on has. The connection may be freed. */
void conn_drain(struct conn *c);
/* Drops the connection whatever it does; it is freed now or when its worker is back. */
void conn_kill(struct conn *c);
/* Runs steps until one waits. The connection may be freed. */
void conn_run(struct conn *c);
/* Waits for the socket; for `return conn_wait(...)`. */
bool conn_wait(struct conn *c, uint32_t events);
/* Runs the step again after others had their turn; for `return conn_yield(...)`. */
bool conn_yield(struct conn *c);
void conn_set_timer(struct conn *c, uint64_t ms);
void conn_cancel_timer(struct conn *c);

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
/* The same for input that may stay for long, which counts in the budget when there is much of it.
 * False: there is too much. */
NODISCARD bool conn_hold(struct conn *c);
/* Makes `bytes`, which may be in a receive buffer, the input; there is none so far. */
void conn_put_back(struct conn *c, str bytes);

/* The steps and their timers. */
#define X(name, run, late)    \
    bool run(struct conn *c); \
    bool late(struct conn *c);
STEP_TABLE(X)
#undef X

/* The client is not there any more: ends what is going on. */
bool conn_gone(struct conn *c);
bool conn_stay(struct conn *c);

/* proxy.c: frees what the step PROXY has; NULL-safe. */
void proxy_input_free(struct proxy_input *p);

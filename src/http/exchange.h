/* One request and its response, whichever HTTP version carries them. Private to http/.
 *
 * The protocol (h1*.c) reads a head, takes an exchange for it, and moves it on: route, body, work,
 * response. Everything here runs on the connection's reactor, but for the work itself. Nothing here
 * touches the socket. What an exchange waits for (a worker, memory of the budget, a buffer coming
 * home) comes back as a call of `wake`, on the reactor, and the protocol goes on from there. While
 * a worker has the exchange (`away`) the reactor leaves it alone. */
#pragma once

#include "http/conn.h"
#include "http/h1_parse.h"
#include "http/h2_head.h"

#include "base/buf.h"

enum exchange_work { WORK_HANDLER, WORK_FINISH, WORK_ABORT, WORK_READ_AHEAD };

/* What HTTP/1.1 needs beside: h1.h. */
struct h1_part {
    bool keep_alive; /* the client wants it */

    /* The body as it is framed. */
    bool chunked;
    bool body_broken; /* it will not be read to its end */
    struct h1_chunked decoder;

    bool responding; /* BODY: the response is ready and the body only in the way */

    /* CONTINUE, and what comes after it */
    size_t continue_sent;
    enum conn_step continue_to;

    /* SEND */
    bool close, linger;
    str head;
    uint64_t head_sent;
};

/* What HTTP/2 needs beside: h2.h. */
enum h2_state {
    H2_HEAD,    /* its head is arriving */
    H2_COLLECT, /* the body goes into memory */
    H2_WORK,    /* the handler runs */
    H2_STREAM,  /* the body goes into a sink */
    H2_SETTLE,  /* no more body; the sink still has buffers */
    H2_FINISH,  /* a worker finishes or aborts the sink */
    H2_SEND,    /* the response is going out */
    H2_WARM,    /* a worker reads ahead for it */
};

struct h2_part {
    int32_t id;
    enum h2_state state;
    struct exchange *next, **link; /* h2.streams */
    struct timer timer;
    struct h2_head *head; /* in the arena */
    bool closed;          /* the stream is over, whatever still runs */
    bool sent;            /* the whole response is out */
    bool held;            /* since the timer was set we let the client wait */
    struct iobuf *filling;
    uint64_t stored_bytes;   /* of the body, in buffers so far */
    uint64_t credited_bytes; /* of body_home: the client may send as many again */
    uint64_t grown_bytes;    /* stored_bytes when the window was last changed */
    uint32_t window_bytes;
    uint64_t out_mark; /* body_out when the timer was set */
};

struct exchange {
    struct conn *conn;
    void (*wake)(struct exchange *x);
    struct exchange *next_free;
    struct arena arena;
    struct request req;
    struct response res;
    bool gone;              /* the client is not there any more */
    bool answered;          /* part of the response is out */
    uint64_t first_byte_us; /* since the head was complete; 0: when the response is out whole */
    uint64_t worker_us;
    bool by_worker;
    uint64_t load; /* this exchange's part of in_flight_bytes */

    /* The request's body. */
    bool body_done;        /* all of it arrived */
    uint64_t body_left;    /* BODY_UNKNOWN: nobody told */
    uint64_t body_in;      /* bytes received */
    uint64_t window_bytes; /* body_in when the rate window began */

    /* A body that is collected, or, without `collect`, discarded. */
    bool collect;
    uint64_t body_max;
    struct buf small;
    size_t small_charge;
    size_t head_charge;

    /* A body that goes into a sink. */
    struct sink *sink;
    size_t outstanding; /* charges of the buffers the sink has */
    unsigned class;     /* of the next buffer that is filled */
    bool paused;        /* until a buffer comes home */
    bool settling;      /* until all have come home */
    bool every_home;    /* `wake` is called for each buffer that comes home */
    uint64_t body_home; /* bytes of the body that came home */
    bool waiting;       /* in the budget's queue with `wait` */
    bool granted;       /* wait.bytes are taken from the budget and not yet a buffer */
    unsigned wait_class;
    struct budget_wait wait;
    enum err body_error; /* why the body did not arrive whole */

    /* The worker. */
    bool away;
    bool answer; /* the client was still there when the work began */
    enum exchange_work work;
    struct job job;
    struct task back;

    /* The response's body. */
    struct segment *segment; /* the one being sent; NULL: no more */
    uint64_t segment_sent;
    uint64_t warm_end; /* the segment's file is in memory up to here */
    uint64_t body_out;
    bool unreadable; /* the segment's file does not give what was promised: nothing more is sent */

    union {
        struct h1_part h1;
        struct h2_part h2;
    };
};

/* exchange.c: life, head, handlers */

struct exchange *exchange_new(struct conn *c, void (*wake)(struct exchange *x));
/* Reports the exchange as done and gives it back. */
void exchange_end(struct exchange *x);
/* What this exchange has before it, for the balance between reactors. */
void exchange_set_load(struct exchange *x, uint64_t bytes);
/* Takes the request over, and what trusted proxies say of it; finds its route. On error x->res may
 * have headers that belong to the answer. */
NODISCARD enum err exchange_begin(struct exchange *x, const struct head *h);
/* x->res becomes the answer to the error. */
void exchange_fail(struct exchange *x, enum err e);
/* Runs the handler, here or on a worker. True: x->sink or else x->res is set; false: it will be
 * when `wake` is called and the exchange not `away`. */
bool exchange_run(struct exchange *x);
/* Hands the exchange to a worker; result as above. Only handlers are ever refused, with
 * ERR_OVERLOADED as the response. */
bool exchange_submit(struct exchange *x, enum exchange_work work);

/* exchange_body.c: bodies into memory or a sink */

/* What a routed request's body is for: collected up to a size, or streamed. Refuses a body that is
 * known to be too large. */
NODISCARD enum err exchange_plan_body(struct exchange *x);
/* Takes body bytes, which count in body_in already, in memory, or drops them. */
NODISCARD enum err exchange_take_body(struct exchange *x, str data);
/* All of the collected body is there. */
void exchange_body_ready(struct exchange *x);
/* Begins to watch how fast the body comes. */
void exchange_rate_begin(struct exchange *x);
/* Whether it came fast enough since; if not, the error is recorded. */
NODISCARD enum err exchange_rate(struct exchange *x);

/* The handler has returned a sink. */
void exchange_stream_begin(struct exchange *x);
/* An empty buffer for the next bytes of the body, of which `here` are in memory already (0: they
 * are in the socket). NULL: none now, and `wake` will tell. */
struct iobuf *exchange_buffer(struct exchange *x, size_t here);
/* Hands the buffer to the sink; an empty one back to its pool. */
void exchange_push(struct exchange *x, struct iobuf *b, uint64_t offset);
/* Chooses the class of the next buffer: of `b`, `got` bytes were filled at one go. */
void exchange_adapt_class(struct exchange *x, const struct iobuf *b, size_t got);
/* No more of the body goes into the sink. Once it has no more buffers a worker finishes or aborts
 * it; call until true, which means submitted. */
bool exchange_settle(struct exchange *x);
/* iobuf_pool.on_home */
void exchange_iobuf_home(struct iobuf *b);

/* exchange_send.c: what of the plan is out */

/* The response has no body, whatever the plan says. */
bool exchange_bodiless(const struct exchange *x);
void exchange_send_begin(struct exchange *x);
/* n bytes of the body are out. */
void exchange_sent(struct exchange *x, uint64_t n);
/* The response cannot go on at once. If part of it is out, that part's time is noted. */
void exchange_send_pause(struct exchange *x);
/* How many of at most n bytes of the current segment, a file, are in memory. 0: none; then
 * WORK_READ_AHEAD is due. */
uint64_t exchange_warm(struct exchange *x, uint64_t n);
/* The date as headers have it; valid until the next call. */
str shard_date(struct shard *s);

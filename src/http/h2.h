/* HTTP/2 (RFC 9113) on a connection, with libnghttp2, which knows frames, HPACK and the states of
 * streams. Private to http/.
 *
 * The connection has one step, H2: it reads what is there, lets nghttp2 take it apart, and sends
 * what there is to send. Each stream is an exchange (exchange.h), taken when its first HEADERS
 * frame begins. Its state moves on where HTTP/1.1 has steps of the connection. After the client is
 * gone or has reset the stream, the exchange stays until its worker and its buffers are back.
 *
 * Memory for bodies is drawn from the budget when bytes have arrived, never for a window: a window
 * is a promise a slow client could hold for ever. A stream begins with 64 KiB of window. It grows
 * to 1 MiB when it is used, and while the sink keeps up with it to http2.window, is cut back while
 * the budget is short, and is opened again by what the sink has done with, so a slow sink holds up
 * its own stream only. Only when the budget, or the stream's part in it (limits.upload_window), has
 * no room for what has arrived does the whole connection wait. The connection's own window never
 * limits: it is http2.window, opened again at once.
 *
 * Streams share the connection evenly, frame by frame; what clients say about priority is ignored.
 */
#pragma once

#include "http/exchange.h"

#include <nghttp2/nghttp2.h>

enum {
    H2_WINDOW_FIRST_BYTES = 65535,
    H2_WINDOW_SMALL_BYTES = 1024 * 1024,
    H2_FRAME_HEAD_BYTES = 9,
    H2_FRAME_BYTES_MAX = 64 * 1024, /* that a client may send */
    H2_OUT_BYTES = 64 * 1024,       /* gathered for one write */
    H2_OUT_SLACK_BYTES = 64 * 1024, /* a frame that nghttp2 made always fits behind */
    H2_DATA_BYTES_MAX = 32 * 1024,  /* one DATA frame, when the peer takes as many */
    H2_RATE_MS = 10000,             /* time in which the bounds on frames count */
    H2_NOTICE_MS = 1000,            /* from the first GOAWAY of a drain to the last */
};

/* Events within H2_RATE_MS. */
struct h2_count {
    uint64_t since_ms;
    unsigned n;
};

/* The frame under way on its way in. */
struct h2_frame {
    uint8_t head[H2_FRAME_HEAD_BYTES];
    unsigned head_n; /* of them are there */
    uint32_t left;   /* payload to come; at first, the client's preface */
    bool bulk;       /* much of a body, which can go straight into its stream's buffer */
};

struct h2 {
    struct conn *conn;
    nghttp2_session *session;
    struct exchange *streams;
    unsigned stream_n;
    bool ready;    /* the client's SETTINGS came */
    bool draining; /* the first GOAWAY is under way */
    bool noticed;  /* the client has read it, or had the time */
    bool final;    /* the last GOAWAY is under way */
    bool ending;   /* nothing more is read; what is queued is sent, then the connection ends */
    bool failed;   /* ending because of an error: the client may still be sending */

    /* Input that waits: the first `fed` bytes were taken in but for a piece of them, the body bytes
     * of `blocked`. */
    struct exchange *blocked;
    size_t fed, piece_at, piece_n;
    struct h2_frame frame;

    /* Output: gathered in the shard's memory, in memory of its own while the socket takes no more.
     */
    char *out;
    size_t out_start, out_n;
    bool out_kept;
    char *gather; /* while gathering: where, and how much */
    size_t gather_n;
    struct timer send_timer;

    /* Bounds. */
    struct h2_count resets, control;
    uint64_t credit_bytes; /* work done that pays for control frames */
    unsigned continuations;
    bool queue_counted;
};

/* What the connections of a reactor share. */
struct h2_shared {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    char *out; /* H2_OUT_BYTES + H2_OUT_SLACK_BYTES */
};

/* h2.c: the connection */

/* How the input of a new connection compares with what an HTTP/2 client says first. */
enum h2_preface { H2_PREFACE_NO, H2_PREFACE_PART, H2_PREFACE_WHOLE };
enum h2_preface h2_preface(str in);
/* From now on HTTP/2 is spoken; for `return h2_begin(c)` in a step. */
bool h2_begin(struct conn *c);
/* No further requests: says so, and ends when the streams have. The connection may be freed. */
void h2_drain(struct conn *c);
/* The socket is closed: ends what is going on. True when nothing is left. */
bool h2_lost(struct conn *c);
void h2_free(struct h2 *h);
void h2_shared_free(struct h2_shared *s);
/* Ends the connection with GOAWAY; an error but for NGHTTP2_NO_ERROR. */
void h2_terminate(struct h2 *h, uint32_t code);

/* h2_input.c */

/* Takes in what is there, for one turn. False: the connection is dead. *more: there may be more to
 * read at once. */
NODISCARD bool h2_input(struct conn *c, bool *more);
/* For input that waits on: when there is too much, the stream that it waits for is given up. */
void h2_hold_input(struct conn *c);

/* h2_session.c: what nghttp2 tells, and the bounds on it */

struct h2_shared *h2_shared_new(const struct http2_limits *limits);

/* h2_stream.c */

struct exchange *h2_stream_new(struct h2 *h, int32_t id);
/* The head is there; `ended`: no body follows. */
void h2_stream_head(struct exchange *x, bool ended);
/* Room for the next body bytes in the stream's buffer; empty when there is none now. */
struct iovec h2_stream_room(struct exchange *x);
/* Takes body bytes off the front of *data. False: there is no room for the rest now. */
NODISCARD bool h2_stream_data(struct exchange *x, str *data);
/* The body is there. */
void h2_stream_ended(struct exchange *x);
/* The whole response is out. */
void h2_stream_sent(struct exchange *x);
/* The body will not be taken to its end. */
void h2_stream_refuse(struct exchange *x, enum err e);
/* The stream is over. The exchange may be freed. */
void h2_stream_closed(struct exchange *x);
/* The turn is over: what was gathered goes to the sink, unless that is busy and the buffer has
 * room. */
void h2_stream_flush(struct exchange *x);

/* h2_send.c */

/* Sends x->res. */
void h2_respond(struct exchange *x);
void h2_continue(struct exchange *x);
/* Gathers output and writes it. Sets *events to what to wait for, 0 when all is out. False: the
 * connection is dead. */
NODISCARD bool h2_output(struct conn *c, uint32_t *events);
/* Work was done that pays for control frames. */
void h2_earn(struct h2 *h, uint64_t bytes);
/* nghttp2_send_data_callback */
int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
                 nghttp2_data_source *source, void *h);

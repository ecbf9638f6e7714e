/* Request bodies in motion: buffers, sinks, and the budget they draw from.
 *
 * A reactor receives into `iobuf`s and hands each to the request's sink. The sink keeps references
 * while its strands work on the bytes; when the last reference goes, the buffer returns to its
 * reactor, which is how back-pressure works: a body may have only `limits.upload_window` bytes
 * outstanding, and all bodies together `limits.receive_memory`. When either is reached the reactor
 * stops reading that connection, and its minimum-rate timer stops too. */
#pragma once

#include "loop/pool.h"

struct request;
struct response;
struct iobuf_pool;

struct iobuf {
    char *p;
    size_t n; /* bytes filled */
    size_t cap;
    uint64_t offset;      /* of p[0] within this body */
    struct task steps[2]; /* for the sink: one node per strand it queues the buffer on */
    void *sink;           /* for the sink: itself */
    /* http/ only */
    atomic_uint refs;
    struct task home;
    struct iobuf_pool *pool;
    void *body; /* whose bytes these are */
    struct iobuf *next;
};

/* Any thread. */
void iobuf_ref(struct iobuf *b);
/* Any thread. The last one sends the buffer home. */
void iobuf_unref(struct iobuf *b);

/* Where a streamed body goes. Made by a handler, which sets response.sink; from then on http/ calls
 *   push    reactor; must not block. Takes references as it needs, posts work to its strands. May
 *           be called again before earlier buffers were worked on.
 *   finish  worker; after the whole body arrived and every buffer was released. Ordinary handler:
 *           blocks as it likes, fills the response. The sink is over when it returns.
 *   abort   worker; instead of finish, when the body did not arrive whole (client gone, timeout,
 *           bad framing) or failed() was true. Every buffer was released. Must keep what has to
 *           survive a broken connection. If the client can still be answered (`res` not NULL), it
 *           fills the response with the reason. The sink is over when it returns.
 *   failed  reactor; true once the sink cannot use further bytes: reading stops, then abort.
 * finish and abort free the sink. Exactly one of them is called, once. abort may leave the response
 * unset and return OK: then http/ answers with what was wrong with the body, which is in req->error
 * beforehand (408 too slow, 400 bad framing). A handler that returns an error sets no sink. */
struct sink;
struct sink_ops {
    void (*push)(struct sink *s, struct iobuf *b);
    enum err (*finish)(struct sink *s, struct request *req, struct response *res);
    enum err (*abort)(struct sink *s, struct request *req, struct response *res);
    bool (*failed)(struct sink *s);
};
struct sink {
    const struct sink_ops *ops;
};

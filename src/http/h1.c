/* Requests: heads in, routing, handlers on workers and back, and how a response ends the exchange.
 * Bodies are in h1_body.c, sending in h1_send.c, the connection underneath in conn.c. */
#include "http/h1.h"
#include "http/h2.h"

enum {
    TLS_HANDSHAKE = 0x16,   /* first byte of a TLS connection */
    TARGET_LINE_SLACK = 64, /* method and version around the target */
};

static void wake(struct exchange *x)
{
    conn_run(x->conn);
}

static struct exchange *new_exchange(struct conn *c)
{
    struct exchange *x = exchange_new(c, wake);
    x->h1 = (struct h1_part){.body_broken = true}; /* until a head says how it is framed */
    c->x = x;
    c->begun = true;
    return x;
}

/* Heads. */

bool h1_idle(struct conn *c)
{
    const struct http_limits *limits = &c->shard->server->config.limits;
    if (c->in_n > 0 || c->can_read) {
        c->step = STEP_HEAD;
        return c->turn_requests++ < TURN_REQUESTS || conn_yield(c);
    }
    if (c->shard->draining)
        return conn_gone(c);
    if (!c->timer.link)
        conn_set_timer(c, limits->idle_ms);
    return conn_wait(c, EPOLLIN);
}

/* What is wrong with the start of a head that is not complete, if waiting for more is no use. */
static enum err hopeless(const struct conn *c)
{
    const struct http_limits *limits = &c->shard->server->config.limits;
    str in = conn_input(c);
    if (in.n == 0)
        return OK;
    if (in.p[0] == TLS_HANDSHAKE)
        return ERR_BAD_REQUEST;
    bool long_line = in.n > limits->target_bytes_max + TARGET_LINE_SLACK;
    if (long_line && str_find(in, '\n') == in.n)
        return ERR_TARGET_TOO_LONG;
    return in.n >= limits->head_bytes_max ? ERR_HEAD_TOO_LARGE : OK;
}

static bool refuse_head(struct conn *c, enum err e)
{
    struct exchange *x = new_exchange(c);
    conn_consume(c, c->in_n);
    if (e == ERR_BAD_REQUEST)
        (void)fail(&x->req, e, "this looks like TLS, but plain HTTP is spoken on this port");
    return h1_refuse(c, e);
}

bool h1_refuse_cleartext(struct conn *c)
{
    struct exchange *x = new_exchange(c);
    (void)fail(&x->req, ERR_BAD_REQUEST,
               "this is plain HTTP, but this port speaks HTTPS: write https://");
    return h1_refuse(c, ERR_BAD_REQUEST);
}

static bool head_arrived(struct conn *c, size_t n)
{
    const struct http_config *config = &c->shard->server->config;
    const struct head_limits limits = {.head_bytes_max = config->limits.head_bytes_max,
                                       .target_bytes_max = config->limits.target_bytes_max,
                                       .fields_max = config->limits.head_fields_max};
    struct exchange *x = new_exchange(c);
    str head = arena_str(&x->arena, str_first(conn_input(c), n));
    conn_consume(c, n);
    conn_keep(c);
    conn_cancel_timer(c);
    c->head_timed = false;

    struct head h;
    enum err e = h1_head_parse(head, &limits, &x->arena, &h, &x->req.error);
    if (e)
        return h1_refuse(c, e);
    x->h1.keep_alive = h.keep_alive;
    x->h1.chunked = h.chunked;
    x->h1.body_broken = false;
    e = exchange_begin(x, &h);
    return e ? h1_refuse(c, e) : h1_body_begin(c);
}

/* Whether the connection may turn out to be HTTP/2 (RFC 9113 3.3). */
static bool may_be_h2(const struct conn *c)
{
    return c->shard->server->config.http2.cleartext && !c->begun && !c->admin &&
           !c->transport.secure;
}

bool h1_head(struct conn *c)
{
    for (;;) {
        enum h2_preface preface = may_be_h2(c) ? h2_preface(conn_input(c)) : H2_PREFACE_NO;
        if (preface == H2_PREFACE_WHOLE)
            return h2_begin(c);
        size_t n = c->in_n > 0 && !preface ? h1_head_length(conn_input(c), &c->scanned) : 0;
        if (n > 0)
            return head_arrived(c, n);
        enum err e = hopeless(c);
        if (e)
            return refuse_head(c, e);
        if (c->in_n == 0 && !c->can_read) {
            c->step = STEP_IDLE;
            return true;
        }
        if (c->in_n > 0 && !conn_hold(c)) {
            metric_limit(LIMIT_RECEIVE_MEMORY);
            return refuse_head(c, ERR_OVERLOADED);
        }
        if (c->in_n > 0 && !c->head_timed) {
            conn_set_timer(c, c->shard->server->config.limits.head_ms);
            c->head_timed = true;
        }
        if (!c->can_read)
            return conn_wait(c, EPOLLIN);
        ssize_t got = conn_fill(c, HEAD_READ_BYTES);
        if (got == IO_END || got == IO_FAILED)
            return conn_gone(c);
    }
}

bool h1_head_late(struct conn *c)
{
    metric_limit(LIMIT_HEAD_TIME);
    return refuse_head(c, ERR_TIMEOUT);
}

/* Handlers. */

bool h1_dispatch(struct conn *c)
{
    c->step = STEP_WORK;
    return exchange_run(c->x);
}

static bool handled(struct conn *c)
{
    if (!c->x->sink)
        return h1_respond(c);
    return c->gone ? h1_stream_end(c, ERR_CLOSED) : h1_stream_begin(c);
}

bool h1_work(struct conn *c)
{
    struct exchange *x = c->x;
    if (x->away)
        return false;
    switch (x->work) {
    case WORK_HANDLER:
        return handled(c);
    case WORK_FINISH:
    case WORK_ABORT:
        return h1_respond(c);
    case WORK_READ_AHEAD:
        c->step = STEP_SEND;
        return c->gone ? conn_gone(c) : true;
    }
    return conn_gone(c);
}

/* Responses. */

bool h1_refuse(struct conn *c, enum err e)
{
    exchange_fail(c->x, e);
    return h1_respond(c);
}

bool h1_respond(struct conn *c)
{
    struct exchange *x = c->x;
    if (c->gone)
        return conn_gone(c);
    conn_cancel_timer(c);
    bool small = !x->h1.body_broken && !x->req.expects_continue && x->body_left <= DISCARD_BYTES;
    if (!x->body_done && small)
        return h1_discard_begin(c);
    if (!x->body_done)
        x->h1.close = x->h1.linger = true;
    return h1_send_begin(c);
}

bool h1_finished(struct conn *c)
{
    bool close = c->x->h1.close, linger = c->x->h1.linger;
    exchange_end(c->x);
    c->x = NULL;
    conn_cancel_timer(c);
    if (!close) {
        c->step = STEP_IDLE;
        return true;
    }
    if (!linger)
        return conn_gone(c);
    /* Closing now would reset the connection when the client still sends, and the reset may reach
     * it before the response does (RFC 9112 9.6). */
    c->transport.ops->shutdown_write(&c->transport);
    conn_set_timer(c, c->shard->server->config.limits.drain_ms);
    conn_consume(c, c->in_n);
    c->can_read = true;
    c->step = STEP_LINGER;
    return true;
}

bool h1_linger(struct conn *c)
{
    for (uint64_t turn = 0; c->can_read && turn < SCRATCH_BYTES;) {
        ssize_t got = conn_fill(c, SCRATCH_BYTES);
        conn_consume(c, c->in_n);
        if (got == IO_END || got == IO_FAILED)
            return conn_gone(c);
        turn += got > 0 ? (size_t)got : 0;
        c->linger_bytes += got > 0 ? (size_t)got : 0;
        if (c->linger_bytes > LINGER_BYTES)
            return conn_gone(c);
    }
    return conn_wait(c, EPOLLIN);
}

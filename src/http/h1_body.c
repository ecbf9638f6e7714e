/* Request bodies off the wire: collected, discarded, or streamed into a sink (exchange_body.c).
 *
 * The rate timer runs while the connection waits for the client, and not while reading is paused
 * for want of memory or because the sink is behind. */
#include "http/h1.h"

/* Takes the next body bytes off the front of *raw; *data may stay empty. */
static enum err decode(struct exchange *x, str *raw, str *data)
{
    if (x->h1.chunked) {
        enum err e = h1_chunked_next(&x->h1.decoder, raw, data);
        if (e)
            return fail(&x->req, e, "the chunked coding of the request body is malformed");
        x->body_done = x->h1.decoder.done;
    } else {
        *data = str_first(*raw, x->body_left < raw->n ? (size_t)x->body_left : raw->n);
        *raw = str_skip(*raw, data->n);
        x->body_left -= data->n;
        x->body_done = x->body_left == 0;
    }
    x->body_in += data->n;
    return OK;
}

/* Waits for more of the body, under the rate timer. */
static bool wait_for_client(struct conn *c)
{
    if (!c->timer.link) {
        exchange_rate_begin(c->x);
        conn_set_timer(c, c->shard->server->config.limits.body_ms);
    }
    return conn_wait(c, EPOLLIN);
}

static bool body_failed(struct conn *c, enum err e)
{
    struct exchange *x = c->x;
    x->h1.body_broken = true;
    if (x->sink)
        return h1_stream_end(c, e);
    return x->h1.responding ? h1_respond(c) : h1_refuse(c, e);
}

bool h1_body_late(struct conn *c)
{
    enum err e = exchange_rate(c->x);
    return e ? body_failed(c, e) : wait_for_client(c);
}

/* Goes to `step`, after "100 Continue" when that is owed and the client really waits for it. */
static bool receive(struct conn *c, enum conn_step step)
{
    struct exchange *x = c->x;
    bool owed = x->req.expects_continue && !x->body_done && c->in_n == 0;
    x->req.expects_continue = false;
    x->h1.continue_to = step;
    c->step = owed ? STEP_CONTINUE : step;
    return true;
}

bool h1_continue(struct conn *c)
{
    static const str text = STR_INIT("HTTP/1.1 100 Continue\r\n\r\n");
    struct exchange *x = c->x;
    str rest = str_skip(text, x->h1.continue_sent);
    const struct iovec v = {(char *)rest.p, rest.n};
    ssize_t n = c->transport.ops->writev(&c->transport, &v, 1, false);
    if (n > 0)
        x->h1.continue_sent += (size_t)n;
    if (n == IO_FAILED || n == IO_END)
        return conn_gone(c);
    if (x->h1.continue_sent < text.n) {
        if (!c->timer.link)
            conn_set_timer(c, c->shard->server->config.limits.send_ms);
        return n > 0 ? true : conn_wait(c, n == IO_WAIT_READ ? EPOLLIN : EPOLLOUT);
    }
    conn_cancel_timer(c);
    c->step = x->h1.continue_to;
    return true;
}

/* Collecting and discarding. */

bool h1_body_begin(struct conn *c)
{
    struct exchange *x = c->x;
    enum err e = exchange_plan_body(x);
    if (e)
        return h1_refuse(c, e);
    if (x->body_done || x->req.route->body == BODY_STREAM)
        return h1_dispatch(c);
    return receive(c, STEP_BODY);
}

bool h1_discard_begin(struct conn *c)
{
    struct exchange *x = c->x;
    x->h1.responding = true;
    c->step = STEP_BODY;
    return true;
}

static enum err take_input(struct conn *c)
{
    struct exchange *x = c->x;
    while (c->in_n > 0 && !x->body_done) {
        str raw = conn_input(c), data = {0};
        enum err e = decode(x, &raw, &data);
        if (e)
            return e;
        if (!x->h1.responding && (e = exchange_take_body(x, data)))
            return e;
        conn_consume(c, c->in_n - raw.n);
    }
    return OK;
}

bool h1_body(struct conn *c)
{
    struct exchange *x = c->x;
    size_t turn = 0;
    while (!x->body_done) {
        if (c->in_n == 0) {
            if (!c->can_read || turn >= TURN_BYTES)
                return wait_for_client(c);
            bool exact = x->body_left < SCRATCH_BYTES;
            ssize_t got = conn_fill(c, exact ? (size_t)x->body_left : SCRATCH_BYTES);
            if (got == IO_END || got == IO_FAILED)
                return conn_gone(c);
            turn += got > 0 ? (size_t)got : 0;
        }
        enum err e = take_input(c);
        if (e) {
            conn_keep(c);
            return body_failed(c, e);
        }
    }
    conn_keep(c);
    conn_cancel_timer(c);
    exchange_body_ready(x);
    return x->h1.responding ? h1_respond(c) : h1_dispatch(c);
}

/* Streaming. */

bool h1_stream_begin(struct conn *c)
{
    exchange_stream_begin(c->x);
    c->can_read = true; /* the body went on arriving while the handler ran */
    return receive(c, STEP_STREAM);
}

bool h1_stream_end(struct conn *c, enum err e)
{
    struct exchange *x = c->x;
    conn_cancel_timer(c);
    if (!x->body_error)
        x->body_error = e;
    c->step = STEP_SETTLE;
    return true;
}

bool h1_settle(struct conn *c)
{
    if (exchange_settle(c->x))
        c->step = STEP_WORK;
    return false;
}

static enum err fill_from_input(struct conn *c, struct iobuf *b)
{
    struct exchange *x = c->x;
    while (c->in_n > 0 && b->n < b->cap && !x->body_done) {
        str raw = str_first(conn_input(c), b->cap - b->n), data = {0};
        size_t before = raw.n;
        enum err e = decode(x, &raw, &data);
        if (e)
            return e;
        if (data.n > 0)
            memcpy(b->p + b->n, data.p, data.n);
        b->n += data.n;
        conn_consume(c, before - raw.n);
    }
    return OK;
}

/* Reads straight into the buffer; chunk framing is then squeezed out in place. */
static ssize_t fill_from_socket(struct conn *c, struct iobuf *b, enum err *e)
{
    struct exchange *x = c->x;
    bool exact = x->body_left < b->cap;
    size_t want = exact ? (size_t)x->body_left : b->cap;
    ssize_t got = c->transport.ops->read(&c->transport, b->p, want);
    c->can_read = got == (ssize_t)want;
    if (got <= 0)
        return got;
    exchange_adapt_class(x, b, (size_t)got);
    str raw = str_make(b->p, (size_t)got), data = {0};
    while (raw.n > 0 && !x->body_done && !(*e = decode(x, &raw, &data))) {
        if (data.p != b->p + b->n)
            memmove(b->p + b->n, data.p, data.n);
        b->n += data.n;
    }
    if (raw.n > 0 && !*e)
        conn_put_back(c, raw);
    return got;
}

bool h1_stream(struct conn *c)
{
    struct exchange *x = c->x;
    size_t turn = 0;
    while (!x->body_done) {
        if (x->sink->ops->failed(x->sink))
            return h1_stream_end(c, OK);
        if (x->waiting || x->paused)
            return false;
        if (c->in_n == 0 && (!c->can_read || turn >= TURN_BYTES))
            return wait_for_client(c);
        struct iobuf *b = exchange_buffer(x, c->in_n);
        if (!b) {
            conn_cancel_timer(c);
            return false;
        }
        uint64_t offset = x->body_in;
        enum err e = OK;
        ssize_t got = 1;
        if (c->in_n > 0)
            e = fill_from_input(c, b);
        else
            got = fill_from_socket(c, b, &e);
        turn += b->n;
        exchange_push(x, b, offset);
        if (got == IO_END || got == IO_FAILED)
            return conn_gone(c);
        if (e)
            return body_failed(c, e);
    }
    return h1_stream_end(c, OK);
}

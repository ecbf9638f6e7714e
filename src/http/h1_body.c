/* Request bodies: collected, discarded, or streamed into a sink (body.h, iobuf.h).
 *
 * The rate timer runs while the connection waits for the client, and not while reading is paused
 * for want of memory or because the sink is behind. */
#include "http/h1.h"

/* What a body of unknown length counts as in the balance between reactors. */
enum { UNKNOWN_LOAD_BYTES = 16 * 1024 * 1024, STREAM_CLASS_FIRST = 2 };

/* Takes the next body bytes off the front of *raw; *data may stay empty. */
static enum err decode(struct exchange *x, str *raw, str *data)
{
    if (x->chunked) {
        enum err e = h1_chunked_next(&x->decoder, raw, data);
        if (e)
            return fail(&x->req, e, "the chunked coding of the request body is malformed");
        x->body_done = x->decoder.done;
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
        c->x->window_bytes = c->x->body_in;
        conn_set_timer(c, c->shard->server->config.limits.body_ms);
    }
    return conn_wait(c, EPOLLIN);
}

static bool body_failed(struct conn *c, enum err e)
{
    struct exchange *x = c->x;
    x->body_broken = true;
    if (x->sink)
        return h1_stream_end(c, e);
    return x->responding ? h1_respond(c) : h1_refuse(c, e);
}

bool h1_body_late(struct conn *c)
{
    const struct http_limits *limits = &c->shard->server->config.limits;
    struct exchange *x = c->x;
    uint64_t need = limits->body_bytes_per_second_min * limits->body_ms / 1000;
    if (x->body_in - x->window_bytes >= (need > 0 ? need : 1))
        return wait_for_client(c);
    metric_limit(LIMIT_BODY_RATE);
    (void)fail(&x->req, ERR_TIMEOUT, "the request body arrived too slowly");
    return body_failed(c, ERR_TIMEOUT);
}

/* Goes to `step`, after "100 Continue" when that is owed and the client really waits for it. */
static bool receive(struct conn *c, enum h1_step step)
{
    struct exchange *x = c->x;
    bool owed = x->req.expects_continue && !x->body_done && c->in_n == 0;
    x->req.expects_continue = false;
    x->continue_to = step;
    c->step = owed ? STEP_CONTINUE : step;
    return true;
}

bool h1_continue(struct conn *c)
{
    static const str text = STR_INIT("HTTP/1.1 100 Continue\r\n\r\n");
    struct exchange *x = c->x;
    str rest = str_skip(text, x->continue_sent);
    const struct iovec v = {(char *)rest.p, rest.n};
    ssize_t n = c->transport.ops->writev(&c->transport, &v, 1, false);
    if (n > 0)
        x->continue_sent += (size_t)n;
    if (n == IO_FAILED || n == IO_END)
        return h1_gone(c);
    if (x->continue_sent < text.n) {
        if (!c->timer.link)
            conn_set_timer(c, c->shard->server->config.limits.send_ms);
        return n > 0 ? true : conn_wait(c, n == IO_WAIT_READ ? EPOLLIN : EPOLLOUT);
    }
    conn_cancel_timer(c);
    c->step = x->continue_to;
    return true;
}

/* Collecting and discarding. */

static enum err too_large(struct exchange *x)
{
    const struct route *route = x->req.route;
    if (route->body == BODY_NONE)
        return fail(&x->req, ERR_BODY_TOO_LARGE, "this request takes no body");
    return fail(&x->req, route->too_large ? route->too_large : ERR_BODY_TOO_LARGE,
                "the request's body may have at most %llu bytes here",
                (unsigned long long)x->body_max);
}

bool h1_body_begin(struct conn *c)
{
    struct exchange *x = c->x;
    const struct route *route = x->req.route;
    uint64_t small_max = route->body_max_bytes ? route->body_max_bytes
                                               : c->shard->server->config.limits.body_bytes_max;
    switch (route->body) {
    case BODY_STREAM:
        return h1_dispatch(c);
    case BODY_NONE:
        x->body_max = 0;
        break;
    case BODY_SMALL:
        x->collect = true;
        x->body_max = small_max;
        break;
    case BODY_DRAIN:
        x->body_max = DISCARD_BYTES;
        break;
    }
    if (x->body_left > x->body_max)
        return h1_refuse(c, too_large(x));
    if (x->body_done)
        return h1_dispatch(c);
    x->small.limit = (size_t)x->body_max;
    return receive(c, STEP_BODY);
}

bool h1_discard_begin(struct conn *c)
{
    struct exchange *x = c->x;
    x->collect = false;
    x->responding = true;
    c->step = STEP_BODY;
    return true;
}

/* Memory for n more bytes: the whole of a short body of known length at once, a long one's as it
 * comes, so that a client pays with bytes for what it takes. */
static enum err reserve(struct conn *c, size_t n)
{
    struct exchange *x = c->x;
    size_t need = x->small.n + n;
    if (need <= x->small_charge)
        return OK;
    size_t target = 2 * x->small_charge;
    if (target == 0 && x->body_left <= SCRATCH_BYTES)
        target = need + (size_t)x->body_left; /* 0 left when chunked */
    target = target > need ? target : need;
    target = target < x->small.limit ? target : x->small.limit;
    if (!budget_take_small(&c->shard->server->budget, x->small_charge, target - x->small_charge)) {
        metric_limit(LIMIT_RECEIVE_MEMORY);
        return ERR_OVERLOADED;
    }
    x->small_charge = target;
    return buf_room(&x->small, target - x->small.n) ? OK : ERR_INTERNAL;
}

static enum err take_input(struct conn *c)
{
    struct exchange *x = c->x;
    while (c->in_n > 0 && !x->body_done) {
        str raw = conn_input(c), data = {0};
        enum err e = decode(x, &raw, &data);
        if (e)
            return e;
        if (!x->responding && x->body_in > x->body_max)
            return too_large(x);
        if (x->collect && data.n > 0) {
            if ((e = reserve(c, data.n)))
                return e;
            buf_add(&x->small, data);
        }
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
            bool exact = !x->chunked && x->body_left < SCRATCH_BYTES;
            ssize_t got = conn_fill(c, exact ? (size_t)x->body_left : SCRATCH_BYTES);
            if (got == IO_END || got == IO_FAILED)
                return h1_gone(c);
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
    x->req.body = buf_str(&x->small);
    return x->responding ? h1_respond(c) : h1_dispatch(c);
}

/* Streaming. */

static void granted(struct task *t)
{
    struct exchange *x = (struct exchange *)((char *)t - offsetof(struct exchange, wait.granted));
    x->waiting = false;
    x->granted = true;
    conn_run(x->conn);
}

bool h1_stream_begin(struct conn *c)
{
    struct exchange *x = c->x;
    x->class = STREAM_CLASS_FIRST;
    x->wait.reactor = c->shard->reactor;
    x->wait.granted.run = granted;
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
    struct exchange *x = c->x;
    if (x->outstanding > 0 || x->waiting)
        return false;
    if (x->granted)
        budget_give(&c->shard->server->budget, x->wait.bytes);
    x->granted = false;
    bool failed = x->sink->ops->failed(x->sink);
    if (x->body_done && !failed)
        return h1_submit(c, WORK_FINISH);
    if (!x->body_error)
        x->body_error = ERR_INTERNAL; /* the sink failed and will say why */
    return h1_submit(c, WORK_ABORT);
}

void h1_iobuf_home(struct iobuf *b)
{
    struct exchange *x = b->body;
    struct conn *c = x->conn;
    size_t charge = iobuf_put(&c->shard->iobufs, b);
    x->outstanding -= charge;
    budget_give(&c->shard->server->budget, charge);
    if (x->paused || c->step == STEP_SETTLE || x->sink->ops->failed(x->sink)) {
        x->paused = false;
        conn_run(c);
    }
}

/* Small enough for what is still to come, and for two of them to fit the window, so that receiving
 * and writing overlap. */
static unsigned next_class(const struct conn *c)
{
    const struct exchange *x = c->x;
    uint64_t window = c->shard->server->config.limits.upload_window_bytes;
    uint64_t left = x->chunked ? UINT64_MAX : x->body_left;
    if (c->in_n > 0 && left > c->in_n)
        left = c->in_n;
    unsigned class = iobuf_class(left);
    if (c->in_n == 0 && class > x->class)
        class = x->class;
    while (class > 0 && 2 * iobuf_class_charge(class) > window)
        class --;
    return class;
}

/* NULL when reading has to pause. */
static struct iobuf *next_buffer(struct conn *c)
{
    struct exchange *x = c->x;
    struct http_server *s = c->shard->server;
    if (!x->granted) {
        x->wait_class = next_class(c);
        x->wait.bytes = iobuf_class_charge(x->wait_class);
        if (x->outstanding > 0 &&
            x->outstanding + x->wait.bytes > s->config.limits.upload_window_bytes) {
            x->paused = true;
            return NULL;
        }
        if (!budget_take(&s->budget, &x->wait)) {
            metric_limit(LIMIT_RECEIVE_PAUSE);
            x->waiting = true;
            return NULL;
        }
    }
    x->granted = false;
    return iobuf_get(&c->shard->iobufs, x->wait_class);
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

/* Faster clients get larger buffers, slower ones smaller. */
static void adapt_class(struct exchange *x, const struct iobuf *b, size_t got)
{
    if (got == b->cap && x->class < IOBUF_CLASSES - 1)
        x->class ++;
    else if (got < b->cap / 4 && x->class > 0)
        x->class --;
}

/* Reads straight into the buffer; chunk framing is then squeezed out in place. */
static ssize_t fill_from_socket(struct conn *c, struct iobuf *b, enum err *e)
{
    struct exchange *x = c->x;
    bool exact = !x->chunked && x->body_left < b->cap;
    size_t want = exact ? (size_t)x->body_left : b->cap;
    ssize_t got = c->transport.ops->read(&c->transport, b->p, want);
    c->can_read = got == (ssize_t)want;
    if (got <= 0)
        return got;
    adapt_class(x, b, (size_t)got);
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

static void push(struct conn *c, struct iobuf *b, uint64_t offset)
{
    struct exchange *x = c->x;
    if (b->n == 0) {
        budget_give(&c->shard->server->budget, iobuf_put(&c->shard->iobufs, b));
        return;
    }
    b->offset = offset;
    b->body = x;
    x->outstanding += iobuf_class_charge(iobuf_class(b->cap));
    x->sink->ops->push(x->sink, b);
    iobuf_unref(b);
    conn_set_load(c, x->chunked ? UNKNOWN_LOAD_BYTES : x->body_left);
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
        struct iobuf *b = next_buffer(c);
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
        push(c, b, offset);
        if (got == IO_END || got == IO_FAILED)
            return h1_gone(c);
        if (e)
            return body_failed(c, e);
    }
    return h1_stream_end(c, OK);
}

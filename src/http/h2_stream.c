/* A stream's life: head, body, handler, response. */
#include "http/h2.h"

/* A response pays for so much of control frames: the client opens windows, and closes the stream.
 */
enum { CREDIT_PER_RESPONSE_BYTES = 16 * 1024 };

static struct h2 *of(const struct exchange *x)
{
    return x->conn->h2;
}

static const struct http_config *config_of(const struct exchange *x)
{
    return &x->conn->shard->server->config;
}

static void set_timer(struct exchange *x, uint64_t ms)
{
    x->h2.held = of(x)->blocked != NULL;
    exchange_rate_begin(x);
    reactor_timer_set(x->conn->shard->reactor, &x->h2.timer, ms);
}

static void cancel_timer(struct exchange *x)
{
    reactor_timer_cancel(x->conn->shard->reactor, &x->h2.timer);
}

/* Ends. */

/* What is not pushed yet goes back. */
static void drop_filling(struct exchange *x)
{
    struct iobuf *b = x->h2.filling;
    if (b) {
        b->n = 0;
        exchange_push(x, b, 0);
    }
    x->h2.filling = NULL;
    if (of(x)->blocked == x)
        of(x)->blocked = NULL;
}

static void end_if_over(struct exchange *x)
{
    struct h2 *h = of(x);
    if (!x->h2.closed || x->away || x->sink || x->waiting)
        return;
    drop_filling(x);
    if (x->granted)
        budget_give(&x->conn->shard->server->budget, x->wait.bytes);
    *x->h2.link = x->h2.next;
    if (x->h2.next)
        x->h2.next->h2.link = x->h2.link;
    h->stream_n--;
    exchange_end(x);
}

static void respond(struct exchange *x)
{
    cancel_timer(x);
    drop_filling(x);
    x->h2.state = H2_SEND;
    if (!x->h2.closed)
        h2_respond(x);
}

static void refuse(struct exchange *x, enum err e)
{
    exchange_fail(x, e);
    respond(x);
}

/* Into the sink. */

static void settle(struct exchange *x)
{
    if (exchange_settle(x))
        x->h2.state = H2_FINISH;
}

static void push_filling(struct exchange *x)
{
    struct iobuf *b = x->h2.filling;
    x->h2.filling = NULL;
    exchange_adapt_class(x, b, b->n);
    exchange_push(x, b, x->h2.stored_bytes - b->n);
}

/* No more of the body goes into the sink. `e`: why, if it did not arrive whole. */
static void stream_end(struct exchange *x, enum err e)
{
    cancel_timer(x);
    if (x->h2.filling)
        push_filling(x);
    drop_filling(x);
    if (!x->body_error)
        x->body_error = e;
    x->h2.state = H2_SETTLE;
    settle(x);
}

/* Handing a buffer over costs as much for a few KiB as for a full one. What a busy sink has waits
 * no longer for being gathered: when it is done it comes home, which leads here again. */
void h2_stream_flush(struct exchange *x)
{
    if (x->h2.state != H2_STREAM)
        return;
    struct iobuf *b = x->h2.filling;
    if (b && b->n == 0) /* nothing came: no client has a buffer while we wait for it */
        drop_filling(x);
    else if (b && (x->outstanding == 0 || b->n == b->cap))
        push_filling(x);
    if (x->sink->ops->failed(x->sink))
        stream_end(x, OK);
}

/* A window that was used up while the sink kept up was too small. One of a few buffers grows in any
 * case, as client and sink would wait for each other; what is under way then still has room in the
 * stream's part of the budget. */
static void adapt_window(struct exchange *x)
{
    const struct http_config *config = config_of(x);
    uint64_t max = config->http2.window_bytes, small = config->limits.upload_window_bytes / 2;
    uint32_t window = x->h2.window_bytes;
    bool used = x->h2.stored_bytes - x->h2.grown_bytes >= window;
    if (small > H2_WINDOW_SMALL_BYTES)
        small = H2_WINDOW_SMALL_BYTES;
    if (budget_short(&x->conn->shard->server->budget))
        window = H2_WINDOW_FIRST_BYTES;
    else if (used && (2ull * window <= small || x->outstanding <= window / 4))
        window = 2ull * window < max ? 2 * window : (uint32_t)max;
    if (window == x->h2.window_bytes)
        return;
    x->h2.window_bytes = window;
    x->h2.grown_bytes = x->h2.stored_bytes;
    (void)nghttp2_session_set_local_window_size(of(x)->session, NGHTTP2_FLAG_NONE, x->h2.id,
                                                (int32_t)window);
}

/* What the sink has done with the client may send again. */
static void credit(struct exchange *x)
{
    uint64_t n = x->body_home - x->h2.credited_bytes;
    x->h2.held |= x->h2.stored_bytes - x->h2.credited_bytes >= x->h2.window_bytes / 2;
    x->h2.credited_bytes += n;
    if (n == 0 || x->h2.closed || x->h2.state != H2_STREAM)
        return;
    adapt_window(x);
    (void)nghttp2_session_consume_stream(of(x)->session, x->h2.id, (size_t)n);
}

/* Body bytes go into buffers, which wait for the sink while the handler still runs. */
struct iovec h2_stream_room(struct exchange *x)
{
    bool streams =
        x->h2.state == H2_STREAM || (x->h2.state == H2_WORK && x->req.route->body == BODY_STREAM);
    struct iobuf *b = x->h2.filling;
    if (!streams)
        return (struct iovec){0};
    if (b && b->n == b->cap && x->h2.state == H2_STREAM) {
        push_filling(x);
        b = NULL;
    }
    if (!b && !x->waiting && !x->paused)
        b = x->h2.filling = exchange_buffer(x, 0);
    return b ? (struct iovec){b->p + b->n, b->cap - b->n} : (struct iovec){0};
}

static bool fill(struct exchange *x, str *data)
{
    while (data->n > 0) {
        struct iovec room = h2_stream_room(x);
        str part = str_first(*data, room.iov_len);
        if (part.n == 0)
            return false;
        if (part.p != room.iov_base) /* else it was read to there */
            memcpy(room.iov_base, part.p, part.n);
        x->h2.filling->n += part.n;
        x->h2.stored_bytes += part.n;
        if (x->body_left != BODY_UNKNOWN)
            x->body_left -= part.n < x->body_left ? part.n : x->body_left;
        *data = str_skip(*data, part.n);
    }
    return true;
}

static void collect(struct exchange *x, str *data)
{
    enum err e = exchange_take_body(x, *data);
    if (e) {
        refuse(x, e);
        return;
    }
    (void)nghttp2_session_consume_stream(of(x)->session, x->h2.id, data->n);
    *data = (str){0};
}

bool h2_stream_data(struct exchange *x, str *data)
{
    if (x->h2.state == H2_COLLECT)
        collect(x, data);
    if ((x->h2.state == H2_WORK && x->req.route->body == BODY_STREAM) || x->h2.state == H2_STREAM)
        return fill(x, data);
    *data = (str){0}; /* nobody wants it any more */
    return true;
}

void h2_stream_refuse(struct exchange *x, enum err e)
{
    if (x->h2.state == H2_STREAM)
        stream_end(x, e);
    else if (x->h2.state == H2_COLLECT)
        refuse(x, e);
}

/* The handler. */

static void handled(struct exchange *x)
{
    if (!x->sink) {
        respond(x);
        return;
    }
    x->h2.state = H2_STREAM;
    if (x->h2.closed) {
        stream_end(x, ERR_CLOSED);
    } else if (x->body_done) {
        stream_end(x, OK);
    } else {
        h2_continue(x);
        h2_stream_flush(x);
        set_timer(x, config_of(x)->limits.body_ms);
    }
}

static void dispatch(struct exchange *x)
{
    x->h2.state = H2_WORK;
    if (exchange_run(x))
        handled(x);
}

/* A head holds memory until its response is out, and a connection may have many. What is wrong with
 * it changes nothing: an answer too waits for the client's windows. */
static bool charge_head(struct exchange *x)
{
    const struct h2_head *head = x->h2.head;
    size_t n =
        head->bytes < head->limits.head_bytes_max ? head->bytes : head->limits.head_bytes_max;
    if (n <= HEAD_FREE_BYTES)
        return true;
    if (head->cookie_n > 1) /* joined in a copy */
        n *= 2;
    if (!budget_take_small(&x->conn->shard->server->budget, 0, n)) {
        metric_limit(LIMIT_RECEIVE_MEMORY);
        return false;
    }
    x->head_charge = n;
    return true;
}

/* There is no memory for the head, and so none for an answer that the client need not take. */
static void drop_head(struct exchange *x)
{
    x->h2.head = NULL;
    x->h2.state = H2_SEND;
    x->req.error = (struct error){.code = ERR_OVERLOADED};
    arena_release(&x->arena);
    (void)nghttp2_submit_rst_stream(of(x)->session, NGHTTP2_FLAG_NONE, x->h2.id,
                                    NGHTTP2_REFUSED_STREAM);
}

void h2_stream_head(struct exchange *x, bool ended)
{
    struct head head;
    enum err e;
    cancel_timer(x);
    x->req.start_us = clock_mono_us();
    if (!charge_head(x)) {
        drop_head(x);
        return;
    }
    if ((e = h2_head_finish(x->h2.head, ended, &head)) || (e = exchange_begin(x, &head)) ||
        (e = exchange_plan_body(x))) {
        refuse(x, e);
        return;
    }
    exchange_stream_begin(x);
    if (x->body_done || x->req.route->body == BODY_STREAM) {
        dispatch(x);
        return;
    }
    x->h2.state = H2_COLLECT;
    h2_continue(x);
    set_timer(x, config_of(x)->limits.body_ms);
}

void h2_stream_ended(struct exchange *x)
{
    x->body_done = true;
    if (x->h2.state == H2_STREAM) {
        stream_end(x, OK);
    } else if (x->h2.state == H2_COLLECT) {
        cancel_timer(x);
        exchange_body_ready(x);
        dispatch(x);
    }
}

/* Coming back. */

static void advance(struct exchange *x)
{
    credit(x);
    if (x->away)
        return;
    switch (x->h2.state) {
    case H2_WORK:
        handled(x);
        break;
    case H2_STREAM:
        if (x->sink->ops->failed(x->sink))
            stream_end(x, OK);
        break;
    case H2_SETTLE:
        settle(x);
        break;
    case H2_FINISH:
        respond(x);
        break;
    case H2_WARM:
        x->h2.state = H2_SEND;
        if (!x->h2.closed)
            (void)nghttp2_session_resume_data(of(x)->session, x->h2.id);
        break;
    case H2_HEAD:
    case H2_COLLECT:
    case H2_SEND:
        break;
    }
    end_if_over(x);
}

/* RFC 9113 8.1: a client that still sends may be told that it need not. It gets some time to find
 * out by itself: there are clients that forget the response when they are told at once. */
void h2_stream_sent(struct exchange *x)
{
    x->h2.sent = true;
    h2_earn(of(x), CREDIT_PER_RESPONSE_BYTES);
    if (!x->body_done)
        set_timer(x, config_of(x)->limits.drain_ms);
}

static void wake(struct exchange *x)
{
    struct conn *c = x->conn;
    advance(x);
    conn_run(c);
}

void h2_stream_closed(struct exchange *x)
{
    x->h2.closed = x->gone = true;
    cancel_timer(x);
    if (x->h2.state == H2_STREAM)
        stream_end(x, ERR_CLOSED);
    else if (of(x)->blocked == x)
        of(x)->blocked = NULL;
    end_if_over(x);
}

/* Timers. */

static void body_late(struct exchange *x)
{
    enum err e = OK;
    /* While the client waited for us it could not be fast. */
    if (!x->h2.held && !of(x)->blocked && x->outstanding == 0)
        e = exchange_rate(x);
    if (!e)
        set_timer(x, config_of(x)->limits.body_ms);
    else
        h2_stream_refuse(x, e);
}

/* Stalled is a response that the client's windows have no room for. */
static void send_late(struct exchange *x)
{
    nghttp2_session *session = of(x)->session;
    if (x->h2.sent) {
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, x->h2.id, NGHTTP2_NO_ERROR);
        return;
    }
    bool shut = nghttp2_session_get_remote_window_size(session) <= 0 ||
                nghttp2_session_get_stream_remote_window_size(session, x->h2.id) <= 0;
    if (!shut || x->body_out != x->h2.out_mark) {
        x->h2.out_mark = x->body_out;
        set_timer(x, config_of(x)->limits.send_ms);
        return;
    }
    metric_limit(LIMIT_SEND_TIME);
    (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, x->h2.id, NGHTTP2_CANCEL);
}

static void late(struct timer *t)
{
    struct exchange *x = (struct exchange *)((char *)t - offsetof(struct exchange, h2.timer));
    struct conn *c = x->conn;
    switch (x->h2.state) {
    case H2_HEAD:
        metric_limit(LIMIT_HEAD_TIME);
        h2_terminate(c->h2, NGHTTP2_ENHANCE_YOUR_CALM);
        break;
    case H2_COLLECT:
    case H2_STREAM:
        body_late(x);
        break;
    case H2_SEND:
    case H2_WARM:
        send_late(x);
        break;
    case H2_WORK:
    case H2_SETTLE:
    case H2_FINISH:
        break;
    }
    conn_run(c);
}

struct exchange *h2_stream_new(struct h2 *h, int32_t id)
{
    const struct http_limits *limits = &h->conn->shard->server->config.limits;
    const struct head_limits head_limits = {.head_bytes_max = limits->head_bytes_max,
                                            .target_bytes_max = limits->target_bytes_max,
                                            .fields_max = limits->head_fields_max};
    struct exchange *x = exchange_new(h->conn, wake);
    x->every_home = true;
    x->h2 = (struct h2_part){.id = id,
                             .next = h->streams,
                             .link = &h->streams,
                             .timer.on_expire = late,
                             .head = ARENA_NEW(&x->arena, struct h2_head),
                             .window_bytes = H2_WINDOW_FIRST_BYTES};
    h2_head_init(x->h2.head, &head_limits, &x->arena, &x->req.error);
    if (h->streams)
        h->streams->h2.link = &x->h2.next;
    h->streams = x;
    h->stream_n++;
    set_timer(x, limits->head_ms);
    return x;
}

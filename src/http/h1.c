/* Requests: heads in, routing, handlers on workers and back, and how a response ends the exchange.
 * Bodies are in h1_body.c, sending in send.c, the connection underneath in conn.c. */
#include "http/h1.h"

#include "base/hex.h"

#include <stdlib.h>

enum {
    EXCHANGES_KEPT = 64, /* a reactor's free list */
    EXCHANGE_ARENA_KEPT = 16 * 1024,
    TLS_HANDSHAKE = 0x16,   /* first byte of a TLS connection */
    TARGET_LINE_SLACK = 64, /* method and version around the target */
};

/* Exchanges. */

static void come_back(struct task *t)
{
    struct exchange *x = (struct exchange *)((char *)t - offsetof(struct exchange, back));
    x->away = false;
    conn_run(x->conn);
}

static void work_run(struct job *j, int worker);

static void set_request_id(struct shard *s, struct request *req)
{
    /* splitmix64: unique for long enough, and need not be secret. */
    uint64_t z = s->id_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    hex_encode(req->id, &z, sizeof z);
}

static struct exchange *exchange_new(struct conn *c)
{
    struct shard *s = c->shard;
    struct exchange *x = s->free_exchanges;
    struct arena arena = {0};
    if (x) {
        s->free_exchanges = x->next_free;
        s->free_exchange_n--;
        arena = x->arena;
    } else if (!(x = malloc(sizeof *x))) {
        abort();
    }
    *x = (struct exchange){.conn = c, .arena = arena, .job.run = work_run, .back.run = come_back};
    x->body_broken = true; /* until a head says how it is framed */
    x->req = (struct request){
        .arena = &x->arena,
        .admin = c->admin,
        .admin_uid = c->admin_uid,
        .client = str_make(c->peer_text, c->peer_text_n),
        .local = str_make(c->local_text, c->local_text_n),
        .start_us = clock_mono_us(),
        .secure = c->transport.secure,
        .ranges_max = s->server->config.limits.ranges_max,
        .worker = WORKER_NONE,
        .app = s->server->config.app,
    };
    set_request_id(s, &x->req);
    response_init(&x->res, &x->req);
    c->x = x;
    return x;
}

void exchange_end(struct conn *c)
{
    struct shard *s = c->shard;
    struct exchange *x = c->x;
    if (!x)
        return;
    int status = x->head_sent > 0 ? x->res.status : 0;
    s->server->config.on_done(&x->req, status, x->body_in, x->body_out,
                              clock_mono_us() - x->req.start_us);
    response_release(&x->res);
    buf_release(&x->small);
    budget_give_small(&s->server->budget, x->small_charge);
    c->x = NULL;
    if (x->arena.total_bytes > EXCHANGE_ARENA_KEPT)
        arena_release(&x->arena);
    else
        arena_reset(&x->arena);
    if (s->free_exchange_n == EXCHANGES_KEPT) {
        arena_release(&x->arena);
        free(x);
        return;
    }
    x->next_free = s->free_exchanges;
    s->free_exchanges = x;
    s->free_exchange_n++;
}

/* Heads. */

bool h1_idle(struct conn *c)
{
    const struct http_limits *limits = &c->shard->server->config.limits;
    if (c->in_n > 0 || c->can_read) {
        c->step = STEP_HEAD;
        return true;
    }
    if (c->shard->draining)
        return h1_gone(c);
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
    struct exchange *x = exchange_new(c);
    conn_consume(c, c->in_n);
    if (e == ERR_BAD_REQUEST)
        (void)fail(&x->req, e, "this looks like TLS, but plain HTTP is spoken on this port");
    return h1_refuse(c, e);
}

bool h1_refuse_cleartext(struct conn *c)
{
    struct exchange *x = exchange_new(c);
    (void)fail(&x->req, ERR_BAD_REQUEST,
               "this is plain HTTP, but this port speaks HTTPS: write https://");
    return h1_refuse(c, ERR_BAD_REQUEST);
}

/* Keeps an incomplete head; false when there are too many large ones. */
static bool keep_head(struct conn *c)
{
    struct budget *budget = &c->shard->server->budget;
    conn_keep(c);
    size_t more = c->in_cap > HEAD_FREE_BYTES ? c->in_cap - c->in_charge : 0;
    if (more > 0 && !budget_take_small(budget, c->in_charge, more))
        return false;
    c->in_charge += more;
    return true;
}

static void take_forwarded(struct exchange *x)
{
    const struct http_server *s = x->conn->shard->server;
    struct forwarded f = {.client = x->conn->peer, .host = x->req.host};
    char text[ADDRESS_LEN_MAX];
    forwarded_resolve(s->trusted, s->trusted_n, x->req.fields, x->req.field_n, &f);
    x->req.client = arena_str(&x->arena, address_ip_text(&f.client, text));
    x->req.secure = f.secure || x->conn->transport.secure;
    x->req.host = f.host;
}

static void take_head(struct exchange *x, const struct h1_head *h)
{
    struct request *req = &x->req;
    req->method = h->method;
    req->http_1_0 = h->http_1_0;
    req->expects_continue = h->expects_continue;
    req->target = h->target;
    req->path = h->path;
    req->query = h->query;
    req->host = h->host;
    req->fields = h->fields;
    req->field_n = h->field_n;
    req->body_bytes = h->body_bytes;
    x->keep_alive = h->keep_alive;
    x->chunked = h->chunked;
    x->body_left = h->chunked ? 0 : h->body_bytes;
    x->body_done = h->body_bytes == 0;
    x->body_broken = false;
    if (x->conn->shard->server->trusted_n > 0 && !x->conn->admin)
        take_forwarded(x);
}

static bool head_arrived(struct conn *c, size_t n)
{
    const struct http_config *config = &c->shard->server->config;
    const struct h1_limits limits = {.head_bytes_max = config->limits.head_bytes_max,
                                     .target_bytes_max = config->limits.target_bytes_max,
                                     .fields_max = config->limits.head_fields_max};
    struct exchange *x = exchange_new(c);
    str head = arena_str(&x->arena, str_first(conn_input(c), n));
    conn_consume(c, n);
    conn_keep(c);
    conn_cancel_timer(c);
    c->head_timed = false;

    struct h1_head h;
    enum err e = h1_head_parse(head, &limits, &x->arena, &h, &x->req.error);
    if (e)
        return h1_refuse(c, e);
    take_head(x, &h);
    str allowed = {0};
    e = router_match(&config->router, &x->req, &allowed);
    if (!e)
        return h1_body_begin(c);
    if (e == ERR_METHOD_NOT_ALLOWED)
        response_header(&x->res, "Allow", allowed);
    return h1_refuse(c, e);
}

bool h1_head(struct conn *c)
{
    for (;;) {
        size_t n = c->in_n > 0 ? h1_head_length(conn_input(c), &c->scanned) : 0;
        if (n > 0)
            return head_arrived(c, n);
        enum err e = hopeless(c);
        if (e)
            return refuse_head(c, e);
        if (c->in_n == 0 && !c->can_read) {
            c->step = STEP_IDLE;
            return true;
        }
        if (c->in_n > 0 && !keep_head(c)) {
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
            return h1_gone(c);
    }
}

bool h1_head_late(struct conn *c)
{
    metric_limit(LIMIT_HEAD_TIME);
    return refuse_head(c, ERR_TIMEOUT);
}

/* Handlers. */

static bool has_header(const struct response *res, const char *name)
{
    for (size_t i = 0; i < res->header_n; i++)
        if (str_eq_nocase(res->headers[i].name, str_from(name)))
            return true;
    return false;
}

/* Headers that were set stay: they belong to the error as well (response.h). */
static void render(struct exchange *x, enum err e)
{
    size_t header_n = x->res.header_n;
    response_clear(&x->res);
    x->res.header_n = header_n;
    if (!x->req.error.code)
        x->req.error.code = e;
    x->conn->shard->server->config.render_error(&x->req, &x->res, e);
    if (!x->res.status)
        x->res.status = err_status(e);
    if (e == ERR_OVERLOADED && !has_header(&x->res, "Retry-After"))
        response_header(&x->res, "Retry-After", STR("1"));
}

/* Whatever ran has to leave a status or a sink. */
static void complete(struct exchange *x, enum err e)
{
    if (!e && !x->res.status && !x->res.sink)
        e = ERR_INTERNAL;
    if (e)
        render(x, e);
}

static void abort_sink(struct exchange *x)
{
    enum err e = x->sink->ops->abort(x->sink, &x->req, x->answer ? &x->res : NULL);
    if (x->answer)
        complete(x, e || x->res.status ? e : x->body_error);
}

static void work_run(struct job *j, int worker)
{
    struct exchange *x = (struct exchange *)((char *)j - offsetof(struct exchange, job));
    struct segment *s = x->segment;
    x->req.worker = worker;
    switch (x->work) {
    case WORK_HANDLER:
        complete(x, x->req.route->handler(&x->req, &x->res));
        break;
    case WORK_FINISH:
        complete(x, x->sink->ops->finish(x->sink, &x->req, &x->res));
        break;
    case WORK_ABORT:
        abort_sink(x);
        break;
    case WORK_READ_AHEAD:
        file_read_ahead(s->file, s->offset + x->segment_sent,
                        x->warm_end - (s->offset + x->segment_sent));
        break;
    }
    reactor_post(x->conn->shard->reactor, &x->back);
}

bool h1_submit(struct conn *c, enum h1_work work)
{
    struct exchange *x = c->x;
    struct pool *pool = c->shard->server->config.pool;
    c->step = STEP_WORK;
    x->work = work;
    x->answer = !c->gone;
    x->away = true;
    if (work != WORK_HANDLER) {
        pool_submit_always(pool, &x->job);
        return false;
    }
    enum err e = pool_submit(pool, &x->job);
    if (!e)
        return false;
    x->away = false;
    metric_limit(LIMIT_QUEUE);
    return h1_refuse(c, e);
}

static bool handled(struct conn *c)
{
    struct exchange *x = c->x;
    x->sink = x->res.sink;
    x->res.sink = NULL;
    if (!x->sink)
        return h1_respond(c);
    return c->gone ? h1_stream_end(c, ERR_CLOSED) : h1_stream_begin(c);
}

bool h1_dispatch(struct conn *c)
{
    struct exchange *x = c->x;
    if (x->req.route->quick) {
        enum err e = x->req.route->handler(&x->req, &x->res);
        if (e != ERR_WOULD_BLOCK) {
            complete(x, e);
            return handled(c);
        }
        response_clear(&x->res);
        x->req.error = (struct error){0};
    }
    return h1_submit(c, WORK_HANDLER);
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
        x->sink = NULL;
        return h1_respond(c);
    case WORK_READ_AHEAD:
        c->step = STEP_SEND;
        return c->gone ? h1_gone(c) : true;
    }
    return h1_gone(c);
}

/* Responses. */

bool h1_refuse(struct conn *c, enum err e)
{
    render(c->x, e);
    return h1_respond(c);
}

bool h1_respond(struct conn *c)
{
    struct exchange *x = c->x;
    if (c->gone)
        return h1_gone(c);
    conn_cancel_timer(c);
    bool small =
        !x->body_broken && !x->chunked && !x->req.expects_continue && x->body_left <= DISCARD_BYTES;
    if (!x->body_done && small)
        return h1_discard_begin(c);
    if (!x->body_done)
        x->close = x->linger = true;
    return h1_send_begin(c);
}

bool h1_finished(struct conn *c)
{
    bool close = c->x->close, linger = c->x->linger;
    exchange_end(c);
    conn_cancel_timer(c);
    conn_set_load(c, 0);
    if (!close) {
        c->step = STEP_IDLE;
        return true;
    }
    if (!linger)
        return h1_gone(c);
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
            return h1_gone(c);
        turn += got > 0 ? (size_t)got : 0;
        c->linger_bytes += got > 0 ? (size_t)got : 0;
        if (c->linger_bytes > LINGER_BYTES)
            return h1_gone(c);
    }
    return conn_wait(c, EPOLLIN);
}

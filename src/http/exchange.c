#include "http/exchange.h"

#include "base/hex.h"

#include <stdlib.h>

enum {
    EXCHANGES_KEPT = 64, /* a reactor's free list */
    EXCHANGE_ARENA_KEPT = 16 * 1024,
};

/* Life. */

static void come_back(struct task *t)
{
    struct exchange *x = (struct exchange *)((char *)t - offsetof(struct exchange, back));
    x->away = false;
    x->wake(x);
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

struct exchange *exchange_new(struct conn *c, void (*wake)(struct exchange *x))
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
    *x = (struct exchange){
        .conn = c, .wake = wake, .arena = arena, .job.run = work_run, .back.run = come_back};
    x->req = (struct request){
        .arena = &x->arena,
        .admin = c->admin,
        .admin_uid = c->admin_uid,
        .client = str_make(c->peer_text, c->peer_text_n),
        .local = str_make(c->local_text, c->local_text_n),
        .start_us = clock_mono_us(),
        .secure = c->transport.secure,
        .client_subject = c->transport.client_subject,
        .ranges_max = s->server->config.limits.ranges_max,
        .worker = WORKER_NONE,
        .app = s->server->config.app,
    };
    set_request_id(s, &x->req);
    response_init(&x->res, &x->req);
    return x;
}

void exchange_end(struct exchange *x)
{
    struct shard *s = x->conn->shard;
    struct http_done done = {
        .status = x->answered ? x->res.status : 0,
        .body_in_bytes = x->body_in,
        .body_out_bytes = x->body_out,
        .elapsed_us = clock_mono_us() - x->req.start_us,
        .worker_us = x->worker_us,
        .by_worker = x->by_worker,
        .unreadable = x->unreadable,
        .http = x->conn->h2       ? "2"
                : x->req.http_1_0 ? "1.0"
                                  : "1.1",
        .tls = x->conn->transport.tls_version,
    };
    done.first_byte_us = x->first_byte_us ? x->first_byte_us : done.elapsed_us;
    s->server->config.on_done(&x->req, &done);
    exchange_set_load(x, 0);
    response_release(&x->res);
    buf_release(&x->small);
    budget_give_small(&s->server->budget, x->small_charge + x->head_charge);
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

void exchange_set_load(struct exchange *x, uint64_t bytes)
{
    /* This thread is the only writer. */
    atomic_ullong *in_flight = &x->conn->shard->in_flight_bytes;
    uint64_t sum = atomic_load_explicit(in_flight, memory_order_relaxed);
    atomic_store_explicit(in_flight, sum - x->load + bytes, memory_order_relaxed);
    x->load = bytes;
}

/* Heads. */

/* Changes *client to what trusted proxies say. */
static void take_forwarded(struct exchange *x, struct address *client)
{
    const struct http_server *s = x->conn->shard->server;
    struct forwarded f = {
        .client = x->conn->peer, .secure = x->conn->transport.secure, .host = x->req.host};
    char text[ADDRESS_LEN_MAX];
    x->req.from_proxy = cidr_match_any(s->trusted, s->trusted_n, &x->conn->peer);
    forwarded_resolve(s->trusted, s->trusted_n, x->req.fields, x->req.field_n, &f);
    x->req.client = arena_str(&x->arena, address_ip_text(&f.client, text));
    x->req.secure = f.secure;
    x->req.host = f.host;
    *client = f.client;
}

/* Whether the client's address may ask once more now. */
static enum err check_rate(struct exchange *x, const struct address *client)
{
    const struct http_server *s = x->conn->shard->server;
    if (!server_counts(s, client))
        return OK;
    uint64_t wait_us = clients_request(s->clients, client, x->req.start_us);
    if (!wait_us)
        return OK;
    uint64_t seconds = (wait_us + 999999) / 1000000;
    metric_limit(LIMIT_REQUESTS_PER_ADDRESS);
    response_header(&x->res, "Retry-After",
                    arena_printf(&x->arena, "%llu", (unsigned long long)seconds));
    return fail(&x->req, ERR_TOO_MANY_REQUESTS,
                "more requests from %.*s than limits.requests_per_address allows; try again in "
                "%llu s",
                STR_ARG(x->req.client), (unsigned long long)seconds);
}

enum err exchange_begin(struct exchange *x, const struct head *h)
{
    const struct http_server *s = x->conn->shard->server;
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
    x->body_left = h->body_bytes;
    x->body_done = h->body_bytes == 0;
    struct address client = x->conn->peer;
    if (!x->conn->admin && (s->trusted_n > 0 || client.family == AF_UNSPEC))
        take_forwarded(x, &client);
    enum err e = check_rate(x, &client);
    if (e)
        return e;
    str allowed = {0};
    e = router_match(&s->config.router, req, &allowed);
    if (e == ERR_METHOD_NOT_ALLOWED)
        response_header(&x->res, "Allow", allowed);
    return e;
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
void exchange_fail(struct exchange *x, enum err e)
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
    x->sink = x->res.sink;
    x->res.sink = NULL;
    if (!e && !x->res.status && !x->sink)
        e = ERR_INTERNAL;
    if (e)
        exchange_fail(x, e);
}

static void abort_sink(struct exchange *x)
{
    enum err e = x->sink->ops->abort(x->sink, &x->req, x->answer ? &x->res : NULL);
    x->sink = NULL;
    if (x->answer)
        complete(x, e || x->res.status ? e : x->body_error);
}

static void work_run(struct job *j, int worker)
{
    struct exchange *x = (struct exchange *)((char *)j - offsetof(struct exchange, job));
    struct segment *s = x->segment;
    uint64_t begin_us = j->at_us;
    x->req.worker = worker;
    x->by_worker |= x->work != WORK_READ_AHEAD;
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
        x->unreadable = !file_read_ahead(s->file, s->offset + x->segment_sent,
                                         x->warm_end - (s->offset + x->segment_sent));
        break;
    }
    if (x->work != WORK_READ_AHEAD)
        x->worker_us += clock_mono_us() - begin_us;
    reactor_post(x->conn->shard->reactor, &x->back);
}

bool exchange_submit(struct exchange *x, enum exchange_work work)
{
    struct pool *pool = x->conn->shard->server->config.pool;
    x->work = work;
    x->answer = !x->gone;
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
    exchange_fail(x, e);
    return true;
}

bool exchange_run(struct exchange *x)
{
    if (x->req.route->quick) {
        enum err e = x->req.route->handler(&x->req, &x->res);
        if (e != ERR_WOULD_BLOCK) {
            x->work = WORK_HANDLER;
            complete(x, e);
            return true;
        }
        response_clear(&x->res);
        x->req.error = (struct error){0};
    }
    return exchange_submit(x, WORK_HANDLER);
}

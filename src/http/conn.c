/* A connection as the reactor sees it: its steps run, its events, timer and input, and its life
 * from adoption to end. What the steps do is in h1.c, h1_body.c and h1_send.c. */
#include "http/h1.h"
#include "http/h2.h"

#include <stdlib.h>

/* Ten thousand idle connections are ten megabytes, not more. */
_Static_assert(sizeof(struct conn) < 1024, "an idle connection is small");

static const struct {
    bool (*run)(struct conn *c);
    bool (*late)(struct conn *c);
} steps[] = {
#define X(name, run, late) {run, late},
    STEP_TABLE(X)
#undef X
};

void conn_run(struct conn *c)
{
    c->waiting = false;
    c->turn_requests = 0;
    while (steps[c->step].run(c)) {
    }
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct conn *c = (struct conn *)((char *)w - offsetof(struct conn, watch));
    if (events & ~(uint32_t)EPOLLOUT || c->transport.read_needs_write)
        c->can_read = true;
    if (c->waiting)
        conn_run(c);
    else /* interest that was left in place in the hope that nothing would come */
        reactor_unwatch(c->shard->reactor, w);
}

static void on_expire(struct timer *t)
{
    struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, timer));
    if (steps[c->step].late(c))
        conn_run(c);
}

/* Runs the step again, after others had their turn. */
static void run_again(struct task *t)
{
    struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, task));
    c->posted = false;
    if (c->waiting || c->step == STEP_END)
        conn_run(c);
}

static void post_again(struct conn *c)
{
    if (c->posted)
        return;
    c->posted = true;
    c->task.run = run_again;
    reactor_post(c->shard->reactor, &c->task);
}

bool conn_yield(struct conn *c)
{
    conn_keep(c);
    c->waiting = true;
    post_again(c);
    return false;
}

bool conn_wait(struct conn *c, uint32_t events)
{
    c->waiting = true;
    if (events == EPOLLIN && c->transport.read_needs_write)
        events = EPOLLOUT;
    /* What the socket has delivered already it does not announce again. */
    if (events & EPOLLIN && c->can_read && c->transport.buffered)
        post_again(c);
    return reactor_watch(c->shard->reactor, &c->watch, events) == OK ? false : conn_gone(c);
}

void conn_set_timer(struct conn *c, uint64_t ms)
{
    reactor_timer_set(c->shard->reactor, &c->timer, ms);
}

void conn_cancel_timer(struct conn *c)
{
    reactor_timer_cancel(c->shard->reactor, &c->timer);
}

/* Input. */

static bool in_scratch(const struct conn *c)
{
    return c->in == c->shard->scratch;
}

static void release_input(struct conn *c)
{
    if (!in_scratch(c))
        free(c->in);
    budget_give_small(&c->shard->server->budget, c->in_charge);
    c->in = NULL;
    c->in_start = c->in_n = c->in_cap = c->in_charge = 0;
}

void conn_consume(struct conn *c, size_t n)
{
    c->in_start += n;
    c->in_n -= n;
    c->scanned = 0;
    if (c->in_n == 0)
        release_input(c);
}

void conn_put_back(struct conn *c, str bytes)
{
    c->in = malloc(bytes.n);
    if (!c->in)
        abort();
    memcpy(c->in, bytes.p, bytes.n);
    c->in_start = 0;
    c->in_n = c->in_cap = bytes.n;
}

void conn_keep(struct conn *c)
{
    if (c->in_n > 0 && in_scratch(c))
        conn_put_back(c, conn_input(c));
}

bool conn_hold(struct conn *c)
{
    struct budget *budget = &c->shard->server->budget;
    conn_keep(c);
    size_t more = c->in_cap > HEAD_FREE_BYTES ? c->in_cap - c->in_charge : 0;
    if (more > 0 && !budget_take_small(budget, c->in_charge, more))
        return false;
    c->in_charge += more;
    return true;
}

static void append_input(struct conn *c, const char *bytes, size_t n)
{
    if (c->in_cap - c->in_n < n) {
        size_t cap = 2 * c->in_cap > c->in_n + n ? 2 * c->in_cap : c->in_n + n;
        char *p = malloc(cap);
        if (!p)
            abort();
        memcpy(p, c->in + c->in_start, c->in_n);
        free(c->in);
        c->in = p;
        c->in_cap = cap;
    } else if (c->in_start > 0) {
        memmove(c->in, c->in + c->in_start, c->in_n);
    }
    c->in_start = 0;
    memcpy(c->in + c->in_n, bytes, n);
    c->in_n += n;
}

ssize_t conn_fill(struct conn *c, size_t n)
{
    char *scratch = c->shard->scratch;
    if (n > SCRATCH_BYTES)
        n = SCRATCH_BYTES;
    ssize_t got = c->transport.ops->read(&c->transport, scratch, n);
    /* After a short read the socket's next event tells when there is more. */
    c->can_read = got == (ssize_t)n;
    if (got <= 0)
        return got;
    if (c->in_n > 0) {
        append_input(c, scratch, (size_t)got);
    } else {
        c->in = scratch;
        c->in_start = 0;
        c->in_n = c->in_cap = (size_t)got;
    }
    return got;
}

/* Life. */

void conn_set_peer(struct conn *c, const struct address *peer)
{
    c->peer = *peer;
    c->peer_text_n = (uint8_t)address_ip_text(peer, c->peer_text).n;
}

void conn_set_local(struct conn *c, str local)
{
    c->local_text_n = (uint8_t)str_first(local, sizeof c->local_text).n;
    memcpy(c->local_text, local.p, c->local_text_n);
}

struct conn *conn_new(int fd, const struct listener *l, struct tls *tls, const struct address *peer,
                      str local)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    if (tls)
        transport_init_tls(&c->transport, fd, tls);
    else
        transport_init_tcp(&c->transport, fd);
    c->watch = (struct watch){.fd = fd, .on_ready = on_ready};
    c->timer.on_expire = on_expire;
    c->listener = l;
    conn_set_peer(c, peer);
    conn_set_local(c, local);
    c->step = l->proxy ? STEP_PROXY : STEP_HANDSHAKE;
    return c;
}

void conn_adopt(struct shard *s, struct conn *c)
{
    c->shard = s;
    c->transport.scratch = s->tls_scratch;
    c->next = s->conns;
    c->link = &s->conns;
    if (c->next)
        c->next->link = &c->next;
    s->conns = c;
    conn_run(c);
}

/* The peer is told why in an alert, which a reset must not overtake. */
static bool refused(struct conn *c)
{
    const struct http_config *config = &c->shard->server->config;
    char why[TLS_ERROR_BYTES_MAX];
    if (config->on_refused)
        config->on_refused(config->app, str_make(c->peer_text, c->peer_text_n),
                           tls_handshake_error(&c->transport, why));
    transport_to_tcp(&c->transport);
    c->transport.ops->shutdown_write(&c->transport);
    conn_set_timer(c, config->limits.drain_ms);
    c->can_read = true;
    c->step = STEP_LINGER;
    return true;
}

/* What the peer of a TLS connection is told when it speaks HTTP without it. */
static bool refuse_cleartext(struct conn *c)
{
    metric_add(METRIC_TLS_CLEARTEXT, 1);
    transport_to_tcp(&c->transport);
    c->can_read = true;
    return h1_refuse_cleartext(c);
}

bool conn_handshake(struct conn *c)
{
    int n = c->transport.ops->handshake(&c->transport);
    if (n == IO_WAIT_READ || n == IO_WAIT_WRITE) {
        if (!c->timer.link)
            conn_set_timer(c, c->shard->server->config.limits.handshake_ms);
        return conn_wait(c, n == IO_WAIT_READ ? EPOLLIN : EPOLLOUT);
    }
    conn_cancel_timer(c);
    if (n == IO_CLEARTEXT)
        return refuse_cleartext(c);
    if (n == IO_END)
        return conn_gone(c);
    if (n != 1) {
        metric_add(METRIC_TLS_FAILED, 1);
        return refused(c);
    }
    if (c->transport.secure)
        metric_add(METRIC_TLS_CONNECTIONS, 1);
    c->can_read = c->transport.buffered;
    if (c->transport.protocol == PROTOCOL_HTTP2)
        return h2_begin(c);
    c->step = STEP_IDLE;
    return true;
}

bool conn_handshake_late(struct conn *c)
{
    metric_limit(LIMIT_HANDSHAKE_TIME);
    return conn_gone(c);
}

bool conn_end(struct conn *c)
{
    struct http_server *server = c->shard->server;
    if (c->posted)
        return false;
    if (c->x)
        exchange_end(c->x);
    proxy_input_free(c->proxy);
    if (c->counted)
        clients_disconnect(server->clients, &c->peer);
    if (c->h2)
        h2_free(c->h2);
    release_input(c);
    transport_release(&c->transport);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    atomic_fetch_sub_explicit(&c->shard->connections, 1, memory_order_relaxed);
    free(c);
    if (atomic_fetch_sub(&server->connections, 1) == 1) {
        pthread_mutex_lock(&server->lock);
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->lock);
    }
    return false;
}

static void close_socket(struct conn *c)
{
    if (c->gone)
        return;
    c->gone = true;
    conn_cancel_timer(c);
    reactor_unwatch(c->shard->reactor, &c->watch);
    c->transport.ops->close(&c->transport);
}

bool conn_gone(struct conn *c)
{
    struct exchange *x = c->x;
    close_socket(c);
    if (c->h2 && !h2_lost(c))
        return false;
    if (x)
        x->gone = true;
    if (x && x->away) /* on its return the step finds the connection gone */
        return false;
    if (x && x->sink)
        return h1_stream_end(c, ERR_CLOSED);
    c->step = STEP_END;
    return true;
}

bool conn_stay(struct conn *c)
{
    (void)c;
    return false;
}

void conn_drain(struct conn *c)
{
    if (c->step == STEP_IDLE || c->step == STEP_HANDSHAKE || c->step == STEP_PROXY)
        conn_kill(c);
    else if (c->step == STEP_H2)
        h2_drain(c);
}

void conn_kill(struct conn *c)
{
    if (!c->gone && conn_gone(c))
        conn_run(c);
}

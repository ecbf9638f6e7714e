/* The first step of connections whose listener expects a PROXY protocol header. Exactly the header
 * is taken from the socket: what follows may be TLS and is the transport's. */
#include "http/conn.h"

#include "net/proxy_protocol.h"

#include <errno.h>
#include <stdlib.h>

/* A header that has not arrived whole. */
struct proxy_input {
    size_t n;
    char bytes[PROXY_HEADER_BYTES_MAX];
};

static struct proxy_input *proxy_input_new(void)
{
    struct proxy_input *p = malloc(sizeof *p);
    if (!p)
        abort();
    p->n = 0;
    return p;
}

void proxy_input_free(struct proxy_input *p)
{
    free(p);
}

static bool refuse(struct conn *c)
{
    metric_add(METRIC_PROXY_REFUSED, 1);
    return conn_gone(c);
}

bool proxy_late(struct conn *c)
{
    return refuse(c);
}

/* Moves what belongs to the header from the socket into `p`: OK with the whole header in it,
 * ERR_WOULD_BLOCK, ERR_CLOSED, or what is wrong with it. */
static enum err take(int fd, struct proxy_input *p)
{
    for (;;) {
        ssize_t got = recv(fd, p->bytes + p->n, sizeof p->bytes - p->n, MSG_PEEK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 && errno == EAGAIN ? ERR_WOULD_BLOCK : ERR_CLOSED;
        size_t length, take = (size_t)got;
        enum err e = proxy_header_length(str_make(p->bytes, p->n + take), &length);
        if (!e)
            take = length - p->n;
        else if (e != ERR_WOULD_BLOCK)
            return e;
        if (recv(fd, p->bytes + p->n, take, 0) != (ssize_t)take)
            return ERR_CLOSED;
        p->n += take;
        if (!e)
            return OK;
    }
}

static void told(struct conn *c, const struct proxy_header *h)
{
    char text[ADDRESS_LEN_MAX];
    if (h->source.family == AF_UNSPEC)
        return;
    conn_set_peer(c, &h->source);
    conn_set_local(c, address_text(&h->destination, text));
}

bool proxy_read(struct conn *c)
{
    struct proxy_header header;
    if (!c->proxy) {
        c->proxy = proxy_input_new();
        conn_set_timer(c, c->shard->server->config.limits.head_ms);
    }
    enum err e = take(c->watch.fd, c->proxy);
    if (e == ERR_WOULD_BLOCK)
        return conn_wait(c, EPOLLIN);
    if (!e)
        e = proxy_header_parse(str_make(c->proxy->bytes, c->proxy->n), &header);
    if (e == ERR_CLOSED)
        return conn_gone(c);
    if (e)
        return refuse(c);
    told(c, &header);
    enum client_verdict verdict = server_admit(c->shard->server, &c->peer);
    if (verdict == CLIENT_REFUSED)
        return conn_gone(c);
    c->counted = verdict == CLIENT_COUNTED;
    proxy_input_free(c->proxy);
    c->proxy = NULL;
    conn_cancel_timer(c);
    c->step = STEP_HANDSHAKE;
    c->can_read = true;
    return true;
}

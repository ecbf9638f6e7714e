/* Responses and all other frames out. nghttp2 says what comes next; frames are gathered in the
 * reactor's memory and leave in one write. What the socket does not take is kept in memory of the
 * connection's own, at most one such gathering, and nothing more is gathered meanwhile. */
#include "http/h2.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CREDIT_BYTES_MAX = 16 * 1024 * 1024 };

void h2_earn(struct h2 *h, uint64_t bytes)
{
    h->credit_bytes += bytes;
    if (h->credit_bytes > CREDIT_BYTES_MAX)
        h->credit_bytes = CREDIT_BYTES_MAX;
}

/* Heads. */

static nghttp2_nv field(str name, str value)
{
    return (nghttp2_nv){(uint8_t *)name.p, (uint8_t *)value.p, name.n, value.n,
                        NGHTTP2_NV_FLAG_NONE};
}

void h2_continue(struct exchange *x)
{
    const nghttp2_nv status = field(STR(":status"), STR("100"));
    if (x->req.expects_continue && !x->body_done && x->body_in == 0)
        (void)nghttp2_submit_headers(x->conn->h2->session, NGHTTP2_FLAG_NONE, x->h2.id, NULL,
                                     &status, 1, NULL);
    x->req.expects_continue = false;
}

/* nghttp2_data_source_read_callback: how much comes next, and whether it can be read at once. */
static ssize_t next_data(nghttp2_session *session, int32_t id, uint8_t *unused, size_t max,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct exchange *x = source->ptr;
    const struct segment *s = x->segment;
    uint64_t left = s->n - x->segment_sent, n = left;
    if (x->unreadable)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (s->file) {
        n = exchange_warm(x, n < TURN_BYTES ? n : TURN_BYTES);
        if (n == 0) {
            exchange_send_pause(x);
            x->h2.state = H2_WARM;
            (void)exchange_submit(x, WORK_READ_AHEAD);
            return NGHTTP2_ERR_DEFERRED;
        }
    }
    n = n < max ? n : max;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == left && !s->next)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

void h2_respond(struct exchange *x)
{
    const struct response *res = &x->res;
    struct h2 *h = x->conn->h2;
    nghttp2_nv fields[RESPONSE_HEADERS_MAX + 4];
    char status[16], length[24];
    size_t n = 0;
    int status_n = snprintf(status, sizeof status, "%d", res->status);
    fields[n++] = field(STR(":status"), str_make(status, (size_t)status_n));
    fields[n++] = field(STR("date"), shard_date(x->conn->shard));
    if (res->status != 204 && res->status != 304) {
        int length_n = snprintf(length, sizeof length, "%llu", (unsigned long long)res->body_bytes);
        fields[n++] = field(STR("content-length"), str_make(length, (size_t)length_n));
    }
    fields[n++] = field(STR("x-request-id"), str_make(x->req.id, REQUEST_ID_LEN));
    for (size_t i = 0; i < res->header_n; i++)
        fields[n++] = field(res->headers[i].name, res->headers[i].value);
    exchange_send_begin(x);
    exchange_set_load(x, x->segment ? res->body_bytes : 0);
    const nghttp2_data_provider body = {.source.ptr = x, .read_callback = next_data};
    if (nghttp2_submit_response(h->session, x->h2.id, fields, n, x->segment ? &body : NULL))
        (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, x->h2.id,
                                        NGHTTP2_INTERNAL_ERROR);
    if (x->segment)
        reactor_timer_set(x->conn->shard->reactor, &x->h2.timer,
                          x->conn->shard->server->config.limits.send_ms);
}

/* Bodies. */

static bool read_file(const struct segment *s, uint64_t at, char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = pread(s->file->fd, p, n, (off_t)(s->offset + at));
        if (got <= 0)
            return false; /* shorter than promised, and what is missing is not made up */
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
                 nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    struct exchange *x = source->ptr;
    const struct segment *s = x->segment;
    if (h->gather_n + H2_FRAME_HEAD_BYTES + n > H2_OUT_BYTES)
        return NGHTTP2_ERR_WOULDBLOCK;
    char *p = h->gather + h->gather_n;
    memcpy(p, head, H2_FRAME_HEAD_BYTES);
    if (!s->file)
        memcpy(p + H2_FRAME_HEAD_BYTES, s->memory.p + x->segment_sent, n);
    else
        x->unreadable = !read_file(s, x->segment_sent, p + H2_FRAME_HEAD_BYTES, n);
    if (x->unreadable)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    h->gather_n += H2_FRAME_HEAD_BYTES + n;
    exchange_sent(x, n);
    exchange_set_load(x, x->load > n ? x->load - n : 0);
    h2_earn(h, n);
    return 0;
}

/* Output. */

static bool gather(struct h2 *h, struct shard *s)
{
    h->gather = s->h2->out;
    h->gather_n = 0;
    ssize_t n = 0;
    const uint8_t *p;
    while (h->gather_n < H2_OUT_BYTES && (n = nghttp2_session_mem_send(h->session, &p)) > 0) {
        if ((size_t)n > H2_OUT_BYTES + H2_OUT_SLACK_BYTES - h->gather_n)
            return false;
        memcpy(h->gather + h->gather_n, p, (size_t)n);
        h->gather_n += (size_t)n;
    }
    h->out = h->gather;
    h->out_start = 0;
    h->out_n = h->gather_n;
    h->gather = NULL;
    return n >= 0;
}

static void release_output(struct h2 *h)
{
    if (h->out_kept)
        free(h->out);
    h->out = NULL;
    h->out_kept = false;
}

/* The reactor's memory is wanted by others now. */
static void keep_output(struct h2 *h)
{
    if (h->out_kept)
        return;
    char *p = malloc(h->out_n);
    if (!p)
        abort();
    memcpy(p, h->out + h->out_start, h->out_n);
    h->out = p;
    h->out_start = 0;
    h->out_kept = true;
}

static void watch_progress(struct conn *c)
{
    struct h2 *h = c->h2;
    if (h->out_n == 0)
        reactor_timer_cancel(c->shard->reactor, &h->send_timer);
    else if (c->progress || !h->send_timer.link)
        reactor_timer_set(c->shard->reactor, &h->send_timer,
                          c->shard->server->config.limits.send_ms);
    c->progress = false;
}

bool h2_output(struct conn *c, uint32_t *events)
{
    struct h2 *h = c->h2;
    *events = 0;
    for (size_t turn = 0; *events == 0;) {
        if (h->out_n == 0) {
            release_output(h);
            if (!gather(h, c->shard))
                return false;
            if (h->out_n == 0)
                break;
        }
        const struct iovec v = {h->out + h->out_start, h->out_n};
        ssize_t n = c->transport.ops->writev(&c->transport, &v, 1, false);
        if (n == IO_FAILED || n == IO_END)
            return false;
        if (n > 0) {
            h->out_start += (size_t)n;
            h->out_n -= (size_t)n;
            turn += (size_t)n;
            c->progress = true;
        }
        if (n < 0 || turn >= TURN_BYTES)
            *events = n == IO_WAIT_READ ? EPOLLIN : EPOLLOUT;
    }
    if (h->out_n > 0)
        keep_output(h);
    else
        release_output(h);
    watch_progress(c);
    return true;
}

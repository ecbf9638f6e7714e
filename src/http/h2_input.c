/* What arrives goes through nghttp2, which calls h2_session.c.
 *
 * The bytes of a large DATA frame are read to where they belong, the buffer of their stream, when
 * that has room: nghttp2 is shown them there, and nothing is copied. For this the frames are
 * followed beside nghttp2, and after such a frame only the head of the next one is read. This is
 * done over TLS, where a small read is no system call. */
#include "http/h2.h"

enum { BULK_BYTES_MIN = 4096 };

/* Following frames. */

/* Counts what nghttp2 has taken. */
static void follow(struct h2_frame *f, str taken)
{
    while (taken.n > 0) {
        bool in_head = f->left == 0;
        if (in_head && f->head_n == H2_FRAME_HEAD_BYTES)
            f->head_n = 0;
        str part = str_first(taken, in_head ? H2_FRAME_HEAD_BYTES - f->head_n : f->left);
        taken = str_skip(taken, part.n);
        if (!in_head) {
            f->left -= (uint32_t)part.n;
            continue;
        }
        memcpy(f->head + f->head_n, part.p, part.n);
        f->head_n += (unsigned)part.n;
        if (f->head_n == H2_FRAME_HEAD_BYTES) {
            f->left = (uint32_t)f->head[0] << 16 | (uint32_t)f->head[1] << 8 | f->head[2];
            f->bulk = f->left >= BULK_BYTES_MIN && f->head[3] == NGHTTP2_DATA &&
                      !(f->head[4] & NGHTTP2_FLAG_PADDED);
        }
    }
}

/* The stream of the frame. */
static struct exchange *stream_of(const struct h2 *h)
{
    const uint8_t *p = h->frame.head + 5;
    uint32_t id = (p[0] & 0x7fu) << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return nghttp2_session_get_stream_user_data(h->session, (int32_t)id);
}

/* Into nghttp2. */

/* What nghttp2 found wrong. Where it did not say so to the client itself, we do. Its fixed versions
 * have bounds of their own, on continuations among others. */
static void refuse_input(struct h2 *h, ssize_t error)
{
    if (h->continuations >= h->conn->shard->server->config.http2.continuations_max)
        metric_limit(LIMIT_HTTP2_CONTINUATIONS);
    h2_terminate(h, error == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? NGHTTP2_PROTOCOL_ERROR
                                                          : NGHTTP2_ENHANCE_YOUR_CALM);
}

static void feed(struct conn *c)
{
    struct h2 *h = c->h2;
    str in = conn_input(c);
    ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)in.p, in.n);
    if (n < 0) {
        refuse_input(h, n);
        conn_consume(c, c->in_n);
        return;
    }
    follow(&h->frame, str_first(in, (size_t)n));
    if (h->blocked)
        h->fed = (size_t)n;
    else
        conn_consume(c, (size_t)n);
}

/* What nghttp2 does not want of a body's bytes does not stay in the buffer. */
static ssize_t read_direct(struct conn *c, struct iovec room)
{
    struct h2 *h = c->h2;
    size_t want = h->frame.left < room.iov_len ? h->frame.left : room.iov_len;
    ssize_t got = c->transport.ops->read(&c->transport, room.iov_base, want);
    c->can_read = got == (ssize_t)want;
    if (got <= 0)
        return got;
    ssize_t n = nghttp2_session_mem_recv(h->session, room.iov_base, (size_t)got);
    if (n < 0)
        refuse_input(h, n);
    else
        follow(&h->frame, str_make(room.iov_base, (size_t)n));
    return got;
}

/* Result as of transport read. */
static ssize_t read_more(struct conn *c)
{
    const struct h2_frame *f = &c->h2->frame;
    bool bulk = f->bulk && c->transport.secure;
    struct exchange *x = bulk && f->left > 0 ? stream_of(c->h2) : NULL;
    struct iovec room = x ? h2_stream_room(x) : (struct iovec){0};
    if (room.iov_len > 0)
        return read_direct(c, room);
    bool head_only = bulk && f->left == 0;
    ssize_t got = conn_fill(c, head_only ? H2_FRAME_HEAD_BYTES - f->head_n % H2_FRAME_HEAD_BYTES
                                         : SCRATCH_BYTES);
    if (got > 0)
        feed(c);
    return got;
}

/* The piece that waits goes to its stream, if that is still there. False: it waits on. */
static bool unblock(struct conn *c)
{
    struct h2 *h = c->h2;
    if (h->blocked) {
        str piece = str_make(conn_input(c).p + h->piece_at, h->piece_n);
        if (!h2_stream_data(h->blocked, &piece)) {
            h->piece_at = (size_t)(piece.p - conn_input(c).p);
            h->piece_n = piece.n;
            return false;
        }
        h->blocked = NULL;
    }
    conn_consume(c, h->fed);
    h->fed = 0;
    feed(c); /* also without further bytes: the end of the frame is still to be noticed */
    return true;
}

/* Turns. */

/* A client that does not read what it makes us say waits until it does. */
static bool may_read(struct h2 *h)
{
    unsigned max = h->conn->shard->server->config.http2.queue_max;
    bool ok = nghttp2_session_get_outbound_queue_size(h->session) < max;
    if (!ok && !h->queue_counted)
        metric_limit(LIMIT_HTTP2_QUEUE);
    h->queue_counted = !ok;
    return ok;
}

bool h2_input(struct conn *c, bool *more)
{
    struct h2 *h = c->h2;
    size_t turn = 0;
    *more = false;
    for (;;) {
        if (h->ending)
            conn_consume(c, c->in_n);
        if (h->ending || !may_read(h))
            return true;
        if (h->blocked || h->fed > 0) {
            if (!unblock(c))
                return true;
            continue;
        }
        if (c->in_n == 0) {
            *more = true;
            if (!c->can_read || turn >= TURN_BYTES)
                return true;
            *more = false;
            ssize_t got = read_more(c);
            if (got == IO_END || got == IO_FAILED)
                return false;
            if (got < 0) {
                *more = true;
                return true;
            }
            turn += (size_t)got;
        } else {
            feed(c);
        }
    }
}

void h2_hold_input(struct conn *c)
{
    struct h2 *h = c->h2;
    if (c->in_n == 0 || conn_hold(c))
        return;
    metric_limit(LIMIT_RECEIVE_MEMORY);
    if (h->blocked)
        h2_stream_refuse(h->blocked, ERR_OVERLOADED);
    if (h->blocked || h->fed == 0)
        h2_terminate(h, NGHTTP2_ENHANCE_YOUR_CALM);
}

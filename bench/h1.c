/* HTTP/1.1: a request, its answer, the next request. Bodies of answers are thrown away as they come
 * (without TLS inside the kernel), so that receiving costs the generator little and the server is
 * what is measured. */
#include "conn.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

static void head_add(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void head_add(struct conn *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(c->head + c->head_n, sizeof c->head - c->head_n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof c->head - c->head_n)
        abort(); /* larger than all its parts may be */
    c->head_n += (size_t)n;
}

static void write_head(const struct load *l, struct conn *c)
{
    const struct exchange *x = &c->one;
    if (c->head_n > 0 && c->same_head)
        return;
    c->same_head = l->mode == MODE_GET && !x->range[0] && strcmp(x->path, l->path) == 0;
    c->head_n = 0;
    head_add(c, "%s %s HTTP/1.1\r\nHost: %s\r\n", x->method, x->path, l->host);
    for (size_t i = 0; i < l->headers_n; i++)
        head_add(c, "%s: %s\r\n", l->headers[i].name, l->headers[i].value);
    if (x->range[0])
        head_add(c, "range: %s\r\n", x->range);
    if (x->is_blob)
        head_add(c, "content-type: application/octet-stream\r\n");
    if (x->has_body)
        head_add(c, "content-length: %" PRIu64 "\r\n", x->body_n);
    head_add(c, "\r\n");
}

/* The next bytes of head and body. The bulk of a large blob is sent without copying it, so that the
 * generator takes less of the CPUs it shares with the server. */
static ssize_t send_some(const struct load *l, struct conn *c, size_t head_left)
{
    enum { FILE_BYTES_MIN = 1 << 16 };
    const struct exchange *x = &c->one;
    struct iovec iov[1 + BODY_PARTS_MAX];
    int n = 0;
    if (!c->tls && x->blob && x->body_sent >= BLOB_MARK &&
        x->body_n - x->body_sent >= FILE_BYTES_MIN) {
        n = body_next(l, x, BLOB_BLOCK, iov);
        return conn_send_file(c, l->block_fd, (uint64_t)((char *)iov[0].iov_base - l->block),
                              iov[0].iov_len);
    }
    if (head_left > 0)
        iov[n++] = (struct iovec){c->head + c->head_sent, head_left};
    n += body_next(l, x, SEND_BYTES_MAX, iov + n);
    return conn_write(c, iov, n);
}

/* Sends what the socket takes. */
static bool send_request(struct load *l, struct conn *c, int epoll)
{
    struct exchange *x = &c->one;
    while (c->head_sent < c->head_n || x->body_sent < x->body_n) {
        size_t head_left = c->head_n - c->head_sent;
        ssize_t sent = send_some(l, c, head_left);
        if (sent == IO_WAIT) {
            conn_watch(c, epoll, true);
            return true;
        }
        if (sent == IO_FAILED)
            return false;
        size_t of_head = (size_t)sent < head_left ? (size_t)sent : head_left;
        c->head_sent += of_head;
        x->body_sent += (size_t)sent - of_head;
        l->bytes_out += (uint64_t)sent;
        if (body_stalls(l, x))
            break;
    }
    conn_watch(c, epoll, false);
    c->state = CONN_HEAD;
    return true;
}

static bool next_request(struct load *l, struct conn *c, int epoll)
{
    c->state = CONN_IDLE;
    if (!script_next(l, &c->one))
        return true;
    write_head(l, c);
    c->head_sent = 0;
    c->answer_n = 0;
    c->state = CONN_SENDING;
    return send_request(l, c, epoll);
}

/* Value of a field in the response head, up to its line's end; NULL when absent. */
static const char *field(const struct conn *c, size_t head_n, const char *name)
{
    size_t len = strlen(name);
    const char *end = c->answer + head_n;
    for (const char *p = c->answer; (p = memchr(p, '\n', (size_t)(end - p))) != NULL;) {
        p++;
        if ((size_t)(end - p) > len && strncasecmp(p, name, len) == 0 && p[len] == ':')
            return p + len + 1 + strspn(p + len + 1, " ");
    }
    return NULL;
}

/* A complete head lies in c->answer. False when it is not what we can read. */
static bool parse_head(const struct load *l, struct conn *c, size_t head_n)
{
    struct exchange *x = &c->one;
    if (head_n < 16 || memcmp(c->answer, "HTTP/1.1 ", 9) != 0)
        return false;
    x->status = (int)strtol(c->answer + 9, NULL, 10);
    const char *length = field(c, head_n, "content-length");
    bool bodyless = x->status == 204 || x->status == 304 || strcmp(x->method, "HEAD") == 0;
    if (!length && !bodyless && field(c, head_n, "transfer-encoding"))
        return false;
    c->left = length && !bodyless ? strtoull(length, NULL, 10) : 0;
    const char *location = l->mode >= MODE_PUSH ? field(c, head_n, "location") : NULL;
    if (location) {
        size_t n = strcspn(location, "\r\n");
        if (n >= sizeof x->location)
            return false;
        memcpy(x->location, location, n);
        x->location[n] = '\0';
    }
    return true;
}

static bool answered(struct load *l, struct conn *c, int epoll)
{
    script_answer(l, &c->one, c->answer, c->answer_n);
    return next_request(l, c, epoll);
}

static bool read_head(struct load *l, struct conn *c, int epoll, bool *more)
{
    ssize_t n = conn_read(c, c->answer + c->answer_n, sizeof c->answer - 1 - c->answer_n);
    *more = n > 0;
    if (n == IO_WAIT || n == IO_FAILED)
        return n == IO_WAIT;
    c->answer_n += (size_t)n;
    c->answer[c->answer_n] = '\0';
    const char *end = memmem(c->answer, c->answer_n, "\r\n\r\n", 4);
    if (!end)
        return c->answer_n < sizeof c->answer - 1;
    size_t head_n = (size_t)(end - c->answer) + 4;
    /* While sending this is an early refusal: what is left of the body has nowhere to go. */
    if (!parse_head(l, c, head_n) || c->state == CONN_SENDING)
        return false;
    size_t body = c->answer_n - head_n;
    if (body > c->left)
        return false;
    c->left -= body;
    l->bytes_in += body;
    if (c->left == 0)
        return answered(l, c, epoll);
    c->state = CONN_BODY;
    return true;
}

static bool read_body(struct load *l, struct conn *c, int epoll, bool *more)
{
    ssize_t n = conn_skip(c, c->left);
    *more = n > 0;
    if (n == IO_WAIT || n == IO_FAILED)
        return n == IO_WAIT;
    c->left -= (uint64_t)n;
    l->bytes_in += (uint64_t)n;
    return c->left > 0 || answered(l, c, epoll);
}

static bool h1_event(struct load *l, struct conn *c, int epoll, uint32_t events)
{
    if (c->state == CONN_SENDING && (events & EPOLLOUT) && !send_request(l, c, epoll))
        return false;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return true;
    bool more = true;
    do {
        if (c->state == CONN_IDLE) {
            /* Nothing is expected but TLS's own messages. */
            char byte;
            return conn_read(c, &byte, 1) == IO_WAIT;
        }
        bool ok =
            c->state == CONN_BODY ? read_body(l, c, epoll, &more) : read_head(l, c, epoll, &more);
        if (!ok) {
            note_error(l, &c->one, "connection broke", c->answer, c->answer_n);
            return false;
        }
    } while (more && conn_pending(c));
    return true;
}

static bool h1_open(struct load *l, struct conn *c)
{
    c->one.conn = c;
    c->one.step = 0;
    c->state = CONN_IDLE;
    return true;
}

static unsigned h1_close(struct conn *c)
{
    bool was_busy = c->state != CONN_IDLE;
    c->state = CONN_IDLE;
    return was_busy;
}

static bool h1_busy(const struct conn *c)
{
    return c->state != CONN_IDLE;
}

const struct protocol protocol_h1 = {h1_open, next_request, h1_event, h1_close, h1_busy};

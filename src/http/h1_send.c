/* Responses out: the head and memory by sendmsg, files by sendfile in slices. The head leaves
 * together with the first bytes behind it (MSG_MORE before a file). */
#include "http/h1.h"

#include <stdio.h>

enum {
    IOV_MAX_USED = 16,
    IO_COLD = -100,        /* send_file: not in memory */
    HEAD_FIXED_BYTES = 256 /* status line and our own headers */
};

#define STATUS_TABLE(X)                       \
    X(200, "OK")                              \
    X(201, "Created")                         \
    X(202, "Accepted")                        \
    X(204, "No Content")                      \
    X(206, "Partial Content")                 \
    X(301, "Moved Permanently")               \
    X(302, "Found")                           \
    X(303, "See Other")                       \
    X(304, "Not Modified")                    \
    X(307, "Temporary Redirect")              \
    X(308, "Permanent Redirect")              \
    X(400, "Bad Request")                     \
    X(401, "Unauthorized")                    \
    X(403, "Forbidden")                       \
    X(404, "Not Found")                       \
    X(405, "Method Not Allowed")              \
    X(406, "Not Acceptable")                  \
    X(408, "Request Timeout")                 \
    X(409, "Conflict")                        \
    X(410, "Gone")                            \
    X(411, "Length Required")                 \
    X(412, "Precondition Failed")             \
    X(413, "Content Too Large")               \
    X(414, "URI Too Long")                    \
    X(415, "Unsupported Media Type")          \
    X(416, "Range Not Satisfiable")           \
    X(417, "Expectation Failed")              \
    X(421, "Misdirected Request")             \
    X(422, "Unprocessable Content")           \
    X(429, "Too Many Requests")               \
    X(431, "Request Header Fields Too Large") \
    X(500, "Internal Server Error")           \
    X(501, "Not Implemented")                 \
    X(502, "Bad Gateway")                     \
    X(503, "Service Unavailable")             \
    X(504, "Gateway Timeout")                 \
    X(505, "HTTP Version Not Supported")      \
    X(507, "Insufficient Storage")

static const char *reason(int status)
{
    switch (status) {
#define X(code, text) \
    case code:        \
        return text;
        STATUS_TABLE(X)
#undef X
    default:
        return "Status";
    }
}

static char *put(char *p, str s)
{
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

static char *put_u64(char *p, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n > 0)
        *p++ = digits[--n];
    return p;
}

static str response_head(struct exchange *x)
{
    const struct response *res = &x->res;
    size_t room = HEAD_FIXED_BYTES;
    for (size_t i = 0; i < res->header_n; i++)
        room += res->headers[i].name.n + res->headers[i].value.n + 4;
    char *start = arena_alloc(&x->arena, room);
    char *p = put(start, STR("HTTP/1.1 "));
    p = put_u64(p, (uint64_t)res->status);
    *p++ = ' ';
    p = put(p, str_from(reason(res->status)));
    p = put(p, STR("\r\nDate: "));
    p = put(p, shard_date(x->conn->shard));
    /* RFC 9110 8.6: no length in a 204; that of a 304 would be the representation's. */
    if (res->status != 204 && res->status != 304) {
        p = put(p, STR("\r\nContent-Length: "));
        p = put_u64(p, res->body_bytes);
    }
    p = put(p, STR("\r\nX-Request-Id: "));
    p = put(p, str_make(x->req.id, REQUEST_ID_LEN));
    if (x->h1.close)
        p = put(p, STR("\r\nConnection: close"));
    else if (x->req.http_1_0)
        p = put(p, STR("\r\nConnection: keep-alive"));
    for (size_t i = 0; i < res->header_n; i++) {
        p = put(p, STR("\r\n"));
        p = put(p, res->headers[i].name);
        p = put(p, STR(": "));
        p = put(p, res->headers[i].value);
    }
    p = put(p, STR("\r\n\r\n"));
    return str_make(start, (size_t)(p - start));
}

bool h1_send_begin(struct conn *c)
{
    struct exchange *x = c->x;
    const struct response *res = &x->res;
    if (res->close || c->shard->draining || !x->h1.keep_alive) {
        x->h1.close = true;
        /* Who asked for the close sends nothing more; anyone else might. */
        x->h1.linger |= x->h1.keep_alive;
    }
    x->h1.head = response_head(x);
    exchange_send_begin(x);
    c->progress = true;
    c->step = STEP_SEND;
    exchange_set_load(x, x->h1.head.n + (exchange_bodiless(x) ? 0 : res->body_bytes));
    return true;
}

/* Moves on by n bytes that are out. */
static void advance(struct exchange *x, uint64_t n)
{
    uint64_t head = x->h1.head.n - x->h1.head_sent;
    if (head > n)
        head = n;
    x->h1.head_sent += head;
    x->answered = true;
    exchange_sent(x, n - head);
    exchange_set_load(x, x->load > n ? x->load - n : 0);
}

/* What is left of the head and the memory up to the next file. */
static ssize_t send_memory(struct conn *c)
{
    struct exchange *x = c->x;
    struct iovec v[IOV_MAX_USED];
    size_t n = 0;
    str head = str_skip(x->h1.head, (size_t)x->h1.head_sent);
    if (head.n > 0)
        v[n++] = (struct iovec){(char *)head.p, head.n};
    struct segment *s = x->segment;
    uint64_t skip = x->segment_sent;
    for (; s && !s->file && n < IOV_MAX_USED; s = s->next, skip = 0)
        v[n++] = (struct iovec){(char *)s->memory.p + skip, (size_t)(s->n - skip)};
    return c->transport.ops->writev(&c->transport, v, n, s != NULL);
}

static ssize_t send_file(struct conn *c)
{
    struct exchange *x = c->x;
    struct segment *s = x->segment;
    uint64_t n = s->n - x->segment_sent;
    if (x->unreadable)
        return IO_END;
    n = exchange_warm(x, n < TURN_BYTES ? n : TURN_BYTES);
    if (n == 0)
        return IO_COLD;
    return c->transport.ops->sendfile(&c->transport, s->file->fd, s->offset + x->segment_sent,
                                      (size_t)n);
}

/* Without progress the timer goes on running, however often the socket says it is writable. */
static bool wait_to_send(struct conn *c, uint32_t events)
{
    if (c->progress || !c->timer.link)
        conn_set_timer(c, c->shard->server->config.limits.send_ms);
    c->progress = false;
    exchange_send_pause(c->x);
    return conn_wait(c, events);
}

bool h1_send(struct conn *c)
{
    struct exchange *x = c->x;
    uint64_t turn = 0;
    while (x->h1.head_sent < x->h1.head.n || x->segment) {
        if (turn >= TURN_BYTES)
            return wait_to_send(c, EPOLLOUT);
        bool memory = x->h1.head_sent < x->h1.head.n || !x->segment->file;
        ssize_t n = memory ? send_memory(c) : send_file(c);
        if (n > 0) {
            advance(x, (uint64_t)n);
            turn += (uint64_t)n;
            c->progress = true;
        } else if (n == IO_WAIT_WRITE || n == IO_WAIT_READ) {
            return wait_to_send(c, n == IO_WAIT_READ ? EPOLLIN : EPOLLOUT);
        } else if (n == IO_COLD) {
            conn_cancel_timer(c);
            c->step = STEP_WORK;
            exchange_send_pause(x);
            return exchange_submit(x, WORK_READ_AHEAD);
        } else {
            /* The file's end, too: what was promised and is missing is not made up. */
            x->unreadable |= n == IO_END && !memory;
            return conn_gone(c);
        }
    }
    return h1_finished(c);
}

bool h1_send_late(struct conn *c)
{
    metric_limit(LIMIT_SEND_TIME);
    return conn_gone(c);
}

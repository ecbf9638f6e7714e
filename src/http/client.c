#include "http/client.h"

#include "net/unix_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, REQUEST_HEAD_MAX = 16 * 1024 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static void set_timeout(int fd, uint64_t ms)
{
    const struct timeval time = {.tv_sec = (time_t)(ms / 1000),
                                 .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/* A server that answers before it has read the request may close: its answer counts then, so that
 * trouble here is not yet the end. */
static void send_all(int fd, str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return;
        bytes = str_skip(bytes, n > 0 ? (size_t)n : 0);
    }
}

static void add_trace(struct buf *out, const struct trace *trace)
{
    struct trace fresh;
    char parent[TRACE_PARENT_LEN];
    if (!trace) {
        trace_new(&fresh);
        trace = &fresh;
    }
    buf_printf(out, "traceparent: %.*s\r\n", STR_ARG(trace_child(trace, parent)));
    if (trace->state.n)
        buf_printf(out, "tracestate: %.*s\r\n", STR_ARG(trace->state));
}

static void send_request(int fd, const struct client_request *request)
{
    BUF_CLEANUP struct buf out = BUF_INIT(REQUEST_HEAD_MAX);
    buf_printf(&out,
               "%.*s %.*s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: berth/" BERTH_VERSION
               "\r\nConnection: close\r\n",
               STR_ARG(method_name(request->method)), STR_ARG(request->target));
    add_trace(&out, request->trace);
    if (request->body.p)
        buf_printf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                   request->body.n);
    buf_add(&out, STR("\r\n"));
    send_all(fd, buf_str(&out));
    send_all(fd, request->body);
}

static enum err receive(int fd, struct client_reader *r)
{
    char *bytes = arena_alloc(r->arena, READ_BYTES);
    while (r->step != CLIENT_DONE) {
        ssize_t n = recv(fd, bytes, READ_BYTES, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? ERR_TIMEOUT : ERR_CLOSED;
        enum err e = n == 0 ? client_read_end(r) : client_read(r, str_make(bytes, (size_t)n));
        if (e)
            return e;
    }
    return OK;
}

static const char *reason(enum err e)
{
    return e == ERR_TIMEOUT  ? "does not answer"
           : e == ERR_CLOSED ? "closed the connection without a whole answer"
           : e == ERR_LIMIT  ? "sends an answer that is too large"
                             : "does not speak HTTP/1.1";
}

enum err client_exchange(const struct client_request *request, struct arena *a,
                         struct client_answer *ret, struct error *why)
{
    __attribute__((cleanup(close_fd))) int fd = -1;
    enum err e = unix_connect(request->socket, &fd, a, why);
    if (e)
        return e;
    set_timeout(fd, request->timeout_ms);
    send_request(fd, request);
    struct client_reader r = {.arena = a,
                              .body = BUF_INIT(request->answer_bytes_max),
                              .no_body = request->method == METHOD_HEAD};
    e = receive(fd, &r);
    if (e) {
        error_set(a, why, e, "the server at %.*s %s", STR_ARG(request->socket), reason(e));
    } else {
        *ret = r.answer;
        ret->body = arena_str(a, r.answer.body);
    }
    buf_release(&r.body);
    return e;
}

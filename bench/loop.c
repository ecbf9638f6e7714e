/* The connections: one epoll loop that sends a request, reads its answer, and asks the script what
 * comes next. Bodies of answers are thrown away inside the kernel (recv with MSG_TRUNC), so that
 * receiving costs the generator little and the server is what is measured. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    ERRORS_MAX = 50, /* then the run is given up */
    SEND_BYTES_MAX = 1 << 18,
    EVENTS_MAX = 256,
    STALL_MS = 60000,
};

uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void note_error(struct load *l, const struct conn *c, const char *what)
{
    l->errors++;
    if (l->first_error[0])
        return;
    int n = snprintf(l->first_error, sizeof l->first_error, "%s; status %d: ", what, c->status);
    for (size_t i = 0; i < c->answer_n && n < (int)sizeof l->first_error - 1; i++) {
        char ch = c->answer[i];
        l->first_error[n++] = ch < ' ' || ch > '~' || ch == '"' || ch == '\\' ? ' ' : ch;
    }
    l->first_error[n] = '\0';
}

static bool conn_open(const struct load *l, struct conn *c, int epoll)
{
    int one = 1;
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(l->port), .sin_addr.s_addr = l->address};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return false;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    struct timeval patience = {.tv_sec = 5};
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
        close(c->fd);
        c->fd = -1;
        return false;
    }
    c->wants_write = false;
    return true;
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = CONN_IDLE;
}

static void conn_watch(struct conn *c, int epoll, bool write)
{
    if (c->wants_write == write)
        return;
    struct epoll_event ev = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &ev);
    c->wants_write = write;
}

/* The next bytes of head and body, at most SEND_BYTES_MAX. */
static int unsent(const struct load *l, const struct conn *c, struct iovec iov[4])
{
    int n = 0;
    size_t room = SEND_BYTES_MAX;
    uint64_t at = c->sent;
    if (at < c->head_n) {
        iov[n++] = (struct iovec){(char *)c->head + at, c->head_n - at};
        room -= c->head_n - at;
        at = c->head_n;
    }
    for (at -= c->head_n; at < c->body_n && room > 0 && n < 4; n++) {
        const char *p = c->text + at;
        uint64_t size = c->body_n - at;
        if (c->blob && at < BLOB_MARK) {
            p = c->blob->mark + at;
            size = size < BLOB_MARK - at ? size : BLOB_MARK - at;
        } else if (c->blob) {
            uint64_t in_block = (at - BLOB_MARK) % BLOB_BLOCK;
            p = l->block + in_block;
            size = size < BLOB_BLOCK - in_block ? size : BLOB_BLOCK - in_block;
        }
        size = size < room ? size : room;
        iov[n] = (struct iovec){(char *)p, size};
        room -= size;
        at += size;
    }
    return n;
}

/* Sends what the socket takes. False when the connection broke. */
static bool conn_send(struct load *l, struct conn *c, int epoll)
{
    while (c->sent < c->head_n + c->body_n) {
        struct iovec iov[4];
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)unsent(l, c, iov)};
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            conn_watch(c, epoll, true);
            return true;
        }
        if (n < 0)
            return false;
        c->sent += (uint64_t)n;
        l->bytes_out += (uint64_t)n;
    }
    conn_watch(c, epoll, false);
    c->state = CONN_HEAD;
    return true;
}

/* Starts the next request, or leaves the connection idle. False when it broke. */
static bool conn_next(struct load *l, struct conn *c, int epoll)
{
    if (!script_next(l, c)) {
        c->state = CONN_IDLE;
        return true;
    }
    c->state = CONN_SENDING;
    c->status = 0;
    return conn_send(l, c, epoll);
}

/* Value of a header field in the response head, up to its line's end; NULL when absent. */
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
    if (head_n < 16 || memcmp(c->answer, "HTTP/1.1 ", 9) != 0)
        return false;
    c->status = (int)strtol(c->answer + 9, NULL, 10);
    const char *length = field(c, head_n, "content-length");
    bool bodyless = c->status == 204 || c->status == 304 ||
                    (l->mode == MODE_GET && strcmp(l->method, "HEAD") == 0);
    if (!length && !bodyless && field(c, head_n, "transfer-encoding"))
        return false;
    c->left = length && !bodyless ? strtoull(length, NULL, 10) : 0;
    const char *location = l->mode >= MODE_PUSH ? field(c, head_n, "location") : NULL;
    if (location) {
        size_t n = strcspn(location, "\r\n");
        if (n >= sizeof c->location)
            return false;
        memcpy(c->location, location, n);
        c->location[n] = '\0';
    }
    return true;
}

/* The answer is complete: count it and go on. False when the connection cannot be used again. */
static bool conn_answered(struct load *l, struct conn *c, int epoll)
{
    bool ok;
    bool more = script_answer(l, c, &ok);
    if (!ok)
        note_error(l, c, "unexpected answer");
    if (!more) {
        c->step = 0;
        if (ok) {
            l->done++;
            histogram_add(&l->latency_us, now_us() - c->start_us);
        }
    }
    return conn_next(l, c, epoll);
}

static bool conn_read_head(struct load *l, struct conn *c, int epoll)
{
    size_t room = sizeof c->answer - 1 - c->answer_n;
    ssize_t n = recv(c->fd, c->answer + c->answer_n, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    c->answer_n += (size_t)n;
    c->answer[c->answer_n] = '\0';
    const char *end = memmem(c->answer, c->answer_n, "\r\n\r\n", 4);
    if (!end)
        return c->answer_n < sizeof c->answer - 1;
    size_t head_n = (size_t)(end - c->answer) + 4;
    /* An early refusal: what is left of the body has nowhere to go. */
    if (!parse_head(l, c, head_n) || c->state == CONN_SENDING)
        return false;
    size_t body = c->answer_n - head_n;
    if (body > c->left)
        return false;
    c->left -= body;
    l->bytes_in += body;
    if (c->left == 0)
        return conn_answered(l, c, epoll);
    c->state = CONN_BODY;
    return true;
}

static bool conn_read_body(struct load *l, struct conn *c, int epoll)
{
    size_t most = c->left < (1u << 24) ? c->left : (1u << 24);
    // cppcheck-suppress nullPointer ; with MSG_TRUNC nothing is copied (tcp(7))
    ssize_t n = recv(c->fd, NULL, most, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    c->left -= (uint64_t)n;
    l->bytes_in += (uint64_t)n;
    return c->left > 0 || conn_answered(l, c, epoll);
}

static bool conn_event(struct load *l, struct conn *c, int epoll, uint32_t events)
{
    if (c->state == CONN_SENDING && (events & EPOLLOUT) && !conn_send(l, c, epoll))
        return false;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return true;
    if (c->state == CONN_IDLE)
        return false;
    return c->state == CONN_BODY ? conn_read_body(l, c, epoll) : conn_read_head(l, c, epoll);
}

/* A broken connection costs its operation; the next one gets a new connection. */
static void conn_renew(struct load *l, struct conn *c, int epoll)
{
    bool was_idle = c->state == CONN_IDLE;
    conn_close(c);
    if (was_idle)
        return;
    note_error(l, c, "connection broke");
    c->step = 0;
    if (!conn_open(l, c, epoll) || !conn_next(l, c, epoll))
        conn_close(c);
}

static unsigned busy(const struct load *l, const struct conn *conns)
{
    unsigned n = 0;
    for (unsigned i = 0; i < l->connections; i++)
        n += conns[i].state != CONN_IDLE;
    return n;
}

/* Until the time is up, all operations are done, or too much went wrong. */
static void serve(struct load *l, struct conn *conns, int epoll)
{
    uint64_t deadline = l->start_us + l->duration_us;
    struct epoll_event events[EVENTS_MAX];
    for (unsigned i = 0; i < l->connections; i++)
        if (!conn_next(l, &conns[i], epoll))
            conn_renew(l, &conns[i], epoll);
    while (busy(l, conns) > 0 && l->errors < ERRORS_MAX) {
        uint64_t now = now_us();
        if (now >= deadline)
            break;
        uint64_t left_ms = (deadline - now + 999) / 1000;
        int n = epoll_wait(epoll, events, EVENTS_MAX, left_ms < STALL_MS ? (int)left_ms : STALL_MS);
        if (n == 0 && left_ms >= STALL_MS) {
            note_error(l, &conns[0], "no progress for a minute");
            break;
        }
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c->fd >= 0 && !conn_event(l, c, epoll, events[i].events))
                conn_renew(l, c, epoll);
        }
    }
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

bool loop_run(struct load *l)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct conn *conns = calloc(l->connections, sizeof *conns);
    bool ok = epoll >= 0 && conns;
    for (unsigned i = 0; conns && i < l->connections; i++) {
        conns[i].fd = -1;
        conns[i].state = CONN_IDLE;
        conns[i].text = l->text_n > 0 ? malloc(l->text_n) : NULL;
        ok = ok && (conns[i].text || l->text_n == 0) && conn_open(l, &conns[i], epoll);
    }
    if (ok) {
        double cpu = cpu_seconds();
        l->start_us = now_us();
        serve(l, conns, epoll);
        l->end_us = now_us();
        l->cpu = (cpu_seconds() - cpu) * 1e6 / (double)(l->end_us - l->start_us);
    }
    for (unsigned i = 0; conns && i < l->connections; i++) {
        conn_close(&conns[i]);
        free(conns[i].text);
    }
    free(conns);
    if (epoll >= 0)
        close(epoll);
    return ok;
}

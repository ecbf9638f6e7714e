/* Clients that hold what a server has little of: idle ones, slow readers, heads that never end (of
 * bodies that stop see MODE_STALL). They are set up one after the other with blocking calls; then
 * one epoll loop with a clock keeps them going. Who is thrown out comes again and is counted. */
#include "conn.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    LORIS_TICKS = 10,      /* one byte of a head a second */
    RECEIVE_BYTES = 16384, /* of a slow reader's socket */
    TEXT_BYTES_MAX = 12288,
    EVENTS_MAX = 256,
};

struct member {
    struct conn *conn;
    bool ended; /* the server closed it, or answered and there is nothing more to do */
};

struct crowd_run {
    struct load *load;
    enum crowd role;
    SSL_CTX *tls;
    struct member *members;
    int epoll;
    uint64_t returned, bytes_in;
};

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    stopped = 1;
}

static int request_text(const struct load *l, const char *method, const char *path,
                        const char *more, char text[TEXT_BYTES_MAX])
{
    int n = snprintf(text, TEXT_BYTES_MAX, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, l->host);
    for (size_t i = 0; i < l->headers_n; i++)
        n += snprintf(text + n, TEXT_BYTES_MAX - (size_t)n, "%s: %s\r\n", l->headers[i].name,
                      l->headers[i].value);
    return n + snprintf(text + n, TEXT_BYTES_MAX - (size_t)n, "%s", more);
}

/* Sends all of it, waiting in between. */
static bool send_all(struct conn *c, const char *p, size_t n)
{
    while (n > 0) {
        struct iovec iov = {(char *)p, n};
        ssize_t sent = conn_write(c, &iov, 1);
        if (sent == IO_FAILED)
            return false;
        if (sent == IO_WAIT) {
            usleep(1000);
            continue;
        }
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Reads a response without a body, or the head of one with; false when none comes in 30 s. */
static bool read_answer(struct conn *c, char text[TEXT_BYTES_MAX], const char *status)
{
    size_t n = 0;
    uint64_t end_us = now_us() + 30000000;
    while (now_us() < end_us && n < TEXT_BYTES_MAX - 1) {
        ssize_t got = conn_read(c, text + n, TEXT_BYTES_MAX - 1 - n);
        if (got == IO_FAILED)
            return false;
        if (got == IO_WAIT) {
            usleep(1000);
            continue;
        }
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n"))
            return strncmp(text + 9, status, strlen(status)) == 0;
    }
    return false;
}

static bool take_place(struct crowd_run *r, struct member *m)
{
    struct load *l = r->load;
    char text[TEXT_BYTES_MAX];
    int n, small = RECEIVE_BYTES;
    m->ended = true;
    if (!conn_open(l, m->conn, r->tls))
        return false;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = m};
    bool ok = true;
    switch (r->role) {
    case CROWD_IDLE:
        n = request_text(l, "GET", l->path, "\r\n", text);
        ok = send_all(m->conn, text, (size_t)n) && read_answer(m->conn, text, "");
        break;
    case CROWD_SLOW:
        ev.events = EPOLLRDHUP;
        n = request_text(l, "GET", l->path, "\r\n", text);
        ok = setsockopt(m->conn->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0 &&
             send_all(m->conn, text, (size_t)n) && read_answer(m->conn, text, "200");
        break;
    case CROWD_LORIS:
        ok = send_all(m->conn, "GET /v2/ HTTP/1.1\r\nX: ", 22);
        break;
    }
    if (ok && epoll_ctl(r->epoll, EPOLL_CTL_ADD, m->conn->fd, &ev) == 0) {
        m->ended = false;
        return true;
    }
    conn_close(m->conn);
    return false;
}

static void leave(struct member *m)
{
    if (!m->ended)
        conn_close(m->conn);
    m->ended = true;
}

/* What one member does in one tick. */
static void tick(struct crowd_run *r, struct member *m, uint64_t ticks)
{
    if (r->role == CROWD_SLOW) {
        ssize_t n = conn_skip(m->conn, r->load->rate * TICK_MS / 1000);
        if (n == IO_FAILED)
            leave(m);
        r->bytes_in += n > 0 ? (uint64_t)n : 0;
    }
    if (r->role == CROWD_LORIS && ticks % LORIS_TICKS == 0 && !send_all(m->conn, "x", 1))
        leave(m);
}

static void keep_going(struct crowd_run *r)
{
    struct load *l = r->load;
    struct epoll_event events[EVENTS_MAX];
    uint64_t next_us = now_us(), ticks = 0;
    while (!stopped && now_us() < l->start_us + l->duration_us) {
        for (; now_us() < next_us && !stopped;) {
            int n = epoll_wait(r->epoll, events, EVENTS_MAX, (int)((next_us - now_us()) / 1000));
            for (int i = 0; i < n; i++)
                leave(events[i].data.ptr); /* an answer or the end: neither was asked for */
        }
        next_us += TICK_MS * 1000;
        ticks++;
        for (unsigned i = 0; i < l->connections && !stopped; i++) {
            struct member *m = &r->members[i];
            if (!m->ended)
                tick(r, m, ticks);
            if (m->ended && ticks % LORIS_TICKS == i % LORIS_TICKS)
                r->returned += take_place(r, m);
        }
    }
}

static bool gather(struct crowd_run *r)
{
    for (unsigned i = 0; i < r->load->connections; i++) {
        struct member *m = &r->members[i];
        if (!(m->conn = calloc(1, sizeof *m->conn)))
            return false;
        m->conn->fd = -1;
        if (!take_place(r, m)) {
            fprintf(stderr, "load: client %u could not take its place\n", i);
            return false;
        }
    }
    return true;
}

bool crowd_run(struct load *l, enum crowd role)
{
    struct crowd_run r = {.load = l,
                          .role = role,
                          .tls = l->tls ? tls_context(l) : NULL,
                          .members = calloc(l->connections, sizeof *r.members),
                          .epoll = epoll_create1(EPOLL_CLOEXEC)};
    signal(SIGTERM, on_stop);
    bool ok = r.epoll >= 0 && r.members && (r.tls || !l->tls) && gather(&r);
    if (ok) {
        puts("ready");
        fflush(stdout);
        l->start_us = now_us();
        keep_going(&r);
        double seconds = (double)(now_us() - l->start_us) / 1e6;
        printf("{\"seconds\": %.3f, \"returned\": %" PRIu64 ", \"bytes_in\": %" PRIu64 "}\n",
               seconds, r.returned, r.bytes_in);
    }
    for (unsigned i = 0; r.members && i < l->connections; i++) {
        if (r.members[i].conn)
            conn_close(r.members[i].conn);
        free(r.members[i].conn);
    }
    free(r.members);
    SSL_CTX_free(r.tls);
    if (r.epoll >= 0)
        close(r.epoll);
    return ok;
}

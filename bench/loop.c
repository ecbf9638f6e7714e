/* The connections of a run, in one epoll loop. */
#include "conn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    ERRORS_MAX = 50, /* then the run is given up */
    EVENTS_MAX = 256,
    STALL_MS = 60000,
};

struct run {
    struct load *load;
    const struct protocol *protocol;
    SSL_CTX *tls;
    struct conn *conns;
    int epoll;
};

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    stopped = 1;
}

uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void note_error(struct load *l, const struct exchange *x, const char *what, const char *text,
                size_t text_n)
{
    bool placed = l->stalled >= (uint64_t)l->connections * l->streams;
    l->errors += l->mode != MODE_STALL || !placed; /* who was thrown out comes again */
    if (l->first_error[0])
        return;
    int n = snprintf(l->first_error, sizeof l->first_error, "%s; step %d, status %d: ", what,
                     x->step, x->status);
    for (size_t i = 0; i < text_n && n < (int)sizeof l->first_error - 1; i++) {
        char ch = text[i];
        l->first_error[n++] = ch < ' ' || ch > '~' || ch == '"' || ch == '\\' ? ' ' : ch;
    }
    l->first_error[n] = '\0';
}

static bool open_one(struct run *r, struct conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (!conn_open(r->load, c, r->tls))
        return false;
    if (r->protocol->open(r->load, c) && epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &ev) == 0)
        return true;
    conn_close(c);
    return false;
}

/* A broken connection costs its operations; the next ones get a new connection. */
static void renew(struct run *r, struct conn *c)
{
    conn_close(c);
    unsigned lost = r->protocol->close(c);
    if (lost == 0)
        return;
    r->load->returned += lost;
    if (r->load->errors == 0)
        note_error(r->load, &c->one, "connection broke", "", 0);
    if (!open_one(r, c) || !r->protocol->start(r->load, c, r->epoll)) {
        r->protocol->close(c);
        conn_close(c);
    }
}

static bool any_busy(const struct run *r)
{
    for (unsigned i = 0; i < r->load->connections; i++)
        if (r->protocol->busy(&r->conns[i]))
            return true;
    return false;
}

/* Until the time is up, all operations are done, or too much went wrong. */
static void serve(struct run *r)
{
    struct load *l = r->load;
    uint64_t deadline = l->start_us + l->duration_us;
    struct epoll_event events[EVENTS_MAX];
    for (unsigned i = 0; i < l->connections; i++)
        if (!r->protocol->start(l, &r->conns[i], r->epoll))
            renew(r, &r->conns[i]);
    while (any_busy(r) && l->errors < ERRORS_MAX && !stopped) {
        uint64_t now = now_us();
        if (now >= deadline)
            break;
        uint64_t left_ms = (deadline - now + 999) / 1000;
        int n =
            epoll_wait(r->epoll, events, EVENTS_MAX, left_ms < STALL_MS ? (int)left_ms : STALL_MS);
        if (n == 0 && left_ms >= STALL_MS && l->mode != MODE_STALL) {
            note_error(l, &r->conns[0].one, "no progress for a minute", "", 0);
            break;
        }
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c->fd >= 0 && !r->protocol->event(l, c, r->epoll, events[i].events))
                renew(r, c);
        }
    }
}

static bool prepare(struct run *r)
{
    struct load *l = r->load;
    for (unsigned i = 0; i < l->connections; i++)
        r->conns[i].fd = -1;
    for (unsigned i = 0; i < l->connections; i++) {
        struct conn *c = &r->conns[i];
        if (l->text_n > 0 && !l->h2 && !(c->one.text = malloc(l->text_n)))
            return false;
        if (!open_one(r, c))
            return false;
    }
    return true;
}

bool loop_run(struct load *l)
{
    struct run r = {.load = l,
                    .protocol = l->h2 ? &protocol_h2 : &protocol_h1,
                    .tls = l->tls ? tls_context(l) : NULL,
                    .conns = calloc(l->connections, sizeof *r.conns),
                    .epoll = epoll_create1(EPOLL_CLOEXEC)};
    bool ok = r.epoll >= 0 && r.conns && (r.tls || !l->tls) && prepare(&r);
    if (ok) {
        if (l->says_ready) {
            puts("ready");
            fflush(stdout);
        }
        if (l->mode == MODE_STALL)
            signal(SIGTERM, on_stop);
        double cpu = cpu_seconds();
        l->start_us = now_us();
        serve(&r);
        l->end_us = now_us();
        l->cpu = (cpu_seconds() - cpu) * 1e6 / (double)(l->end_us - l->start_us);
    }
    for (unsigned i = 0; r.conns && i < l->connections; i++) {
        r.protocol->close(&r.conns[i]);
        conn_close(&r.conns[i]);
        free(r.conns[i].one.text);
    }
    free(r.conns);
    SSL_CTX_free(r.tls);
    if (r.epoll >= 0)
        close(r.epoll);
    return ok;
}

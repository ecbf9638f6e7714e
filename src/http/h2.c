#include "http/h2.h"

#include <stdlib.h>

static const str preface = STR_INIT(NGHTTP2_CLIENT_MAGIC);

enum h2_preface h2_preface(str in)
{
    size_t n = in.n < preface.n ? in.n : preface.n;
    if (n == 0 || memcmp(in.p, preface.p, n) != 0)
        return H2_PREFACE_NO;
    return n == preface.n ? H2_PREFACE_WHOLE : H2_PREFACE_PART;
}

/* Ending. */

void h2_terminate(struct h2 *h, uint32_t code)
{
    if (h->ending)
        return;
    h->ending = true;
    h->failed = code != NGHTTP2_NO_ERROR;
    (void)nghttp2_session_terminate_session(h->session, code);
}

/* Sent before anything else is taken in: what it does not name was not worked on. */
static void say_last(struct h2 *h)
{
    if (!h->noticed || h->final || h->ending)
        return;
    h->final = true;
    (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
}

/* RFC 9113 6.8: requests that are on their way when the first GOAWAY arrives are still served. The
 * answer to a PING, which h2_session.c sends behind it, tells that there are no more. */
static void say_notice(struct conn *c)
{
    c->h2->draining = true;
    (void)nghttp2_submit_shutdown_notice(c->h2->session);
    conn_set_timer(c, H2_NOTICE_MS);
}

void h2_drain(struct conn *c)
{
    if (c->h2->draining || c->h2->ending)
        return;
    say_notice(c);
    conn_run(c);
}

static void lose_streams(struct h2 *h)
{
    for (struct exchange *x = h->streams, *next; x; x = next) {
        next = x->h2.next;
        if (!x->h2.closed)
            h2_stream_closed(x);
    }
}

bool h2_lost(struct conn *c)
{
    struct h2 *h = c->h2;
    h->ending = true;
    reactor_timer_cancel(c->shard->reactor, &h->send_timer);
    lose_streams(h);
    c->step = STEP_H2; /* where what comes back finds the connection gone */
    return h->stream_n == 0;
}

/* Everything is said. A client that broke the rules may still be sending, and a reset would
 * overtake the GOAWAY. */
static bool finish(struct conn *c)
{
    struct h2 *h = c->h2;
    if (!h->failed)
        return conn_gone(c);
    lose_streams(h);
    reactor_timer_cancel(c->shard->reactor, &h->send_timer);
    c->transport.ops->shutdown_write(&c->transport);
    conn_set_timer(c, c->shard->server->config.limits.drain_ms);
    conn_consume(c, c->in_n);
    c->can_read = true;
    c->step = STEP_LINGER;
    return true;
}

/* Beginning. */

static void send_late(struct timer *t)
{
    struct h2 *h = (struct h2 *)((char *)t - offsetof(struct h2, send_timer));
    struct conn *c = h->conn;
    metric_limit(LIMIT_SEND_TIME);
    conn_kill(c);
}

static void say_settings(struct h2 *h, const struct http_config *config)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config->http2.streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW_FIRST_BYTES},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, H2_FRAME_BYTES_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)config->limits.head_bytes_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                sizeof settings / sizeof settings[0]) ||
        nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                              (int32_t)config->http2.window_bytes))
        abort();
}

static struct h2 *h2_new(struct conn *c)
{
    struct shard *s = c->shard;
    struct h2 *h = calloc(1, sizeof *h);
    if (!s->h2)
        s->h2 = h2_shared_new(&s->server->config.http2);
    if (!h || nghttp2_session_server_new2(&h->session, s->h2->callbacks, h, s->h2->option))
        abort();
    h->conn = c;
    h->frame.left = (uint32_t)preface.n;
    h->send_timer.on_expire = send_late;
    return h;
}

bool h2_begin(struct conn *c)
{
    const struct http_config *config = &c->shard->server->config;
    c->h2 = h2_new(c);
    c->step = STEP_H2;
    say_settings(c->h2, config);
    metric_add(METRIC_HTTP2_CONNECTIONS, 1);
    if (c->shard->draining) /* it was not yet known to speak it when that began */
        say_notice(c);
    else
        conn_set_timer(c, config->limits.head_ms);
    return true;
}

void h2_free(struct h2 *h)
{
    nghttp2_session_del(h->session);
    if (h->out_kept)
        free(h->out);
    free(h);
}

void h2_shared_free(struct h2_shared *s)
{
    if (!s)
        return;
    nghttp2_session_callbacks_del(s->callbacks);
    nghttp2_option_del(s->option);
    free(s->out);
    free(s);
}

/* The step. */

static void watch_idle(struct conn *c)
{
    struct h2 *h = c->h2;
    if (!h->ready || h->draining)
        return;
    if (h->stream_n > 0)
        conn_cancel_timer(c);
    else if (!c->timer.link)
        conn_set_timer(c, c->shard->server->config.limits.idle_ms);
}

bool h2_run(struct conn *c)
{
    struct h2 *h = c->h2;
    uint32_t events = 0;
    bool more, was_ready = h->ready;
    if (c->gone)
        return conn_gone(c);
    if (!h2_input(c, &more))
        return conn_gone(c);
    for (struct exchange *x = h->streams, *next; x; x = next) {
        next = x->h2.next;
        h2_stream_flush(x);
    }
    h2_hold_input(c);
    say_last(h);
    if (!h2_output(c, &events))
        return conn_gone(c);
    if (h->out_n == 0 && !nghttp2_session_want_read(h->session) &&
        !nghttp2_session_want_write(h->session))
        return finish(c);
    if (h->ready && !was_ready && !h->draining)
        conn_cancel_timer(c);
    watch_idle(c);
    if (more)
        events |= EPOLLIN;
    if (events)
        return conn_wait(c, events);
    /* Reading had to stop for what is out by now, or for a stream that was given up. */
    return !h->blocked && !h->ending;
}

bool h2_late(struct conn *c)
{
    struct h2 *h = c->h2;
    if (h->draining) {
        h->noticed = true;
    } else if (h->ready) {
        h2_terminate(h, NGHTTP2_NO_ERROR);
    } else {
        metric_limit(LIMIT_HEAD_TIME);
        h2_terminate(h, NGHTTP2_SETTINGS_TIMEOUT);
    }
    return true;
}

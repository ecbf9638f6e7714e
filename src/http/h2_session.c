/* What nghttp2 tells of a connection's frames, and the bounds on frames.
 *
 * Frames that carry no work are bounded by http2.control_frames in ten seconds: PING, SETTINGS,
 * PRIORITY, WINDOW_UPDATE, RST_STREAM and tiny DATA. Work that was done pays for them, since a
 * client that reads fast opens its windows often. A connection that passes a bound gets GOAWAY with
 * ENHANCE_YOUR_CALM. Frames of unknown types nghttp2 skips; they lead to nothing. */
#include "http/h2.h"

#include <stdlib.h>

enum {
    CREDIT_PER_FRAME_BYTES = 2048,
    TINY_DATA_BYTES = 16,
    SETTINGS_ENTRIES_MAX = 32,
    TABLE_BYTES = 4096, /* HPACK, each way: RFC 7541's default */
};

static const struct http2_limits *bounds(const struct h2 *h)
{
    return &h->conn->shard->server->config.http2;
}

static struct exchange *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* Bounds. */

static void calm(struct h2 *h, enum limit limit)
{
    metric_limit(limit);
    h2_terminate(h, NGHTTP2_ENHANCE_YOUR_CALM);
}

static bool passes(struct h2 *h, struct h2_count *count, unsigned max)
{
    uint64_t now_ms = reactor_now_ms(h->conn->shard->reactor);
    if (now_ms - count->since_ms >= H2_RATE_MS)
        *count = (struct h2_count){.since_ms = now_ms};
    return ++count->n > max;
}

static void count_control(struct h2 *h)
{
    if (h->credit_bytes >= CREDIT_PER_FRAME_BYTES)
        h->credit_bytes -= CREDIT_PER_FRAME_BYTES;
    else if (passes(h, &h->control, bounds(h)->control_frames_max))
        calm(h, LIMIT_HTTP2_CONTROL);
}

static void count_reset(struct h2 *h)
{
    if (passes(h, &h->resets, bounds(h)->resets_max))
        calm(h, LIMIT_HTTP2_RESETS);
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct h2 *h = user;
    bool ends = hd->flags & NGHTTP2_FLAG_END_STREAM;
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        h->continuations = 0;
        break;
    case NGHTTP2_CONTINUATION:
        if (++h->continuations > bounds(h)->continuations_max)
            calm(h, LIMIT_HTTP2_CONTINUATIONS);
        break;
    case NGHTTP2_DATA:
        if (hd->length < TINY_DATA_BYTES && !ends)
            count_control(h);
        break;
    default:
        count_control(h);
        break;
    }
    return 0;
}

/* Heads. */

static bool begins_request(const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    static const nghttp2_extpri even = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
    struct h2 *h = user;
    int32_t id = frame->hd.stream_id;
    if (!begins_request(frame))
        return 0;
    if (h->final)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    /* nghttp2 counts streams that are open; those that were reset may still be worked on. */
    if (h->stream_n >= bounds(h)->streams_max) {
        metric_limit(LIMIT_HTTP2_STREAMS);
        count_reset(h);
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    }
    struct exchange *x = h2_stream_new(h, id);
    (void)nghttp2_session_set_stream_user_data(session, id, x);
    (void)nghttp2_session_change_extpri_stream_priority(session, id, &even, 1);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct exchange *x = stream_of(session, frame->hd.stream_id);
    if (!x || x->h2.state != H2_HEAD) /* refused, or a trailer */
        return 0;
    if (!h2_head_add(x->h2.head, str_make(name, name_n), str_make(value, value_n)))
        calm(user, LIMIT_HEAD);
    return 0;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_n, const uint8_t *value,
                             size_t value_n, uint8_t flags, void *user)
{
    struct exchange *x = stream_of(session, frame->hd.stream_id);
    if (x && x->h2.state == H2_HEAD)
        h2_head_bad(x->h2.head);
    return 0;
}

/* Frames. */

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct exchange *x;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        x = h->ending ? NULL : stream_of(session, frame->hd.stream_id);
        if (x && begins_request(frame))
            h2_stream_head(x, ends);
        else if (x && ends)
            h2_stream_ended(x);
        break;
    case NGHTTP2_SETTINGS:
        h->ready = true;
        break;
    case NGHTTP2_PING:
        h->noticed |= h->draining && frame->hd.flags & NGHTTP2_FLAG_ACK;
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    struct h2 *h = user;
    struct exchange *x = stream_of(session, id);
    str data = str_make(p, n);
    (void)nghttp2_session_consume_connection(session, n);
    if (!x || h->ending)
        return 0;
    x->body_in += n;
    if (h2_stream_data(x, &data))
        return 0;
    h->blocked = x;
    h->piece_at = (size_t)(data.p - conn_input(h->conn).p);
    h->piece_n = data.n;
    for (struct exchange *each = h->streams; each; each = each->h2.next)
        each->h2.held = true;
    return NGHTTP2_ERR_PAUSE;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct exchange *x = stream_of(session, frame->hd.stream_id);
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2 *h = user;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        h->ending = h->failed = true;
    else if (frame->hd.type == NGHTTP2_GOAWAY && h->draining && !h->final)
        return nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, NULL);
    if (!x || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    x->answered |= x->h2.state == H2_SEND; /* not with 100 */
    if (ends)
        h2_stream_sent(x);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct exchange *x = stream_of(session, id);
    if (!x)
        return 0;
    if (!x->h2.sent) /* whatever the code: NO_ERROR is as cheap to say */
        count_reset(user);
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    h2_stream_closed(x);
    return 0;
}

static ssize_t data_bytes(nghttp2_session *session, uint8_t type, int32_t id, int32_t window,
                          int32_t stream_window, uint32_t frame_max, void *user)
{
    return frame_max < H2_DATA_BYTES_MAX ? (ssize_t)frame_max : H2_DATA_BYTES_MAX;
}

struct h2_shared *h2_shared_new(const struct http2_limits *limits)
{
    struct h2_shared *s = calloc(1, sizeof *s);
    if (!s || !(s->out = malloc(H2_OUT_BYTES + H2_OUT_SLACK_BYTES)) ||
        nghttp2_session_callbacks_new(&s->callbacks) || nghttp2_option_new(&s->option))
        abort();
    nghttp2_session_callbacks *c = s->callbacks;
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(c, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
    nghttp2_session_callbacks_set_send_data_callback(c, h2_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(c, data_bytes);
    nghttp2_option_set_no_auto_window_update(s->option, 1);
    nghttp2_option_set_no_closed_streams(s->option, 1);
    nghttp2_option_set_max_settings(s->option, SETTINGS_ENTRIES_MAX);
    nghttp2_option_set_max_deflate_dynamic_table_size(s->option, TABLE_BYTES);
    /* Reading stops at queue_max; what one read can add must not end the connection. */
    nghttp2_option_set_max_outbound_ack(s->option, limits->queue_max + SCRATCH_BYTES);
    return s;
}

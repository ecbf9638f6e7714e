/* HTTP/2 by libnghttp2: up to `streams` operations at a time on a connection. What the library
 * wants to send is gathered, as much as HTTP/1.1 sends at once. Of a blob only what fills the TLS
 * record of a frame's head is copied; the rest goes out from where it is.
 * Windows are as large as browsers' and container clients' grow to, so that they do not bound the
 * rate. */
#include "conn.h"

#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    OUT_BYTES = SEND_BYTES_MAX,
    IN_BYTES = 1 << 17,
    STREAM_WINDOW = 4 << 20,
    CONNECTION_WINDOW = 16 << 20,
    FIELDS_MAX = HEADERS_MAX + 8,
    HEAD_LEN = 9,                              /* of a frame */
    FRAME_BYTES = 4 * RECORD_BYTES - HEAD_LEN, /* of DATA: full records, when the server takes it */
    PARTS_MAX = 64,
};

struct h2 {
    struct load *load;
    nghttp2_session *session;
    struct exchange *exchanges; /* load->streams of them */
    unsigned busy;
    struct iovec parts[PARTS_MAX]; /* to be sent: copies in `out`, and pieces of blobs */
    int parts_n, parts_sent;
    size_t gathered; /* bytes of all parts */
    char *out;
    size_t out_n;
};

/* Frames that were begun are always finished, hence the room for one more's parts. */
static bool has_room(const struct h2 *h, size_t n)
{
    return h->gathered + n <= OUT_BYTES && h->parts_n + 2 * BODY_PARTS_MAX < PARTS_MAX;
}

static void add_copy(struct h2 *h, const void *p, size_t n)
{
    struct iovec *last = h->parts_n > 0 ? &h->parts[h->parts_n - 1] : NULL;
    char *to = h->out + h->out_n;
    memcpy(to, p, n);
    h->out_n += n;
    h->gathered += n;
    if (last && (char *)last->iov_base + last->iov_len == to)
        last->iov_len += n;
    else
        h->parts[h->parts_n++] = (struct iovec){to, n};
}

/* Never more than what the session wants to write now: it stops when enough is gathered. */
static ssize_t on_send(nghttp2_session *s, const uint8_t *p, size_t n, int flags, void *arg)
{
    struct h2 *h = ((struct conn *)arg)->h2;
    if (!has_room(h, n))
        return NGHTTP2_ERR_WOULDBLOCK;
    add_copy(h, p, n);
    return (ssize_t)n;
}

static ssize_t on_body(nghttp2_session *s, int32_t stream, uint8_t *p, size_t n, uint32_t *flags,
                       nghttp2_data_source *source, void *arg)
{
    const struct exchange *x = source->ptr;
    uint64_t left = x->body_n - x->body_sent;
    if (body_stalls(((struct conn *)arg)->h2->load, x))
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left <= n)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)(left < n ? left : n);
}

static int on_send_data(nghttp2_session *s, nghttp2_frame *frame, const uint8_t *head, size_t n,
                        nghttp2_data_source *source, void *arg)
{
    struct h2 *h = ((struct conn *)arg)->h2;
    struct exchange *x = source->ptr;
    bool bulk = x->blob && n >= RECORD_BYTES;
    size_t copy = !bulk ? n : h->load->tls ? RECORD_BYTES - HEAD_LEN : 0;
    if (!has_room(h, HEAD_LEN + n))
        return NGHTTP2_ERR_WOULDBLOCK;
    add_copy(h, head, HEAD_LEN);
    while (n > 0) {
        struct iovec iov[BODY_PARTS_MAX];
        int parts = body_next(h->load, x, copy > 0 ? copy : n, iov);
        for (int i = 0; i < parts; i++) {
            size_t len = iov[i].iov_len;
            if (copy > 0) {
                add_copy(h, iov[i].iov_base, len);
                copy -= len;
            } else {
                h->parts[h->parts_n++] = iov[i];
                h->gathered += len;
            }
            x->body_sent += len;
            n -= len;
        }
    }
    return 0;
}

static ssize_t on_body_length(nghttp2_session *s, uint8_t type, int32_t stream, int32_t window,
                              int32_t stream_window, uint32_t frame_max, void *arg)
{
    return frame_max < FRAME_BYTES ? (ssize_t)frame_max : FRAME_BYTES;
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

static bool submit(struct load *l, struct exchange *x)
{
    struct h2 *h = x->conn->h2;
    nghttp2_nv fields[FIELDS_MAX];
    char length[24];
    size_t n = 0;
    fields[n++] = nv(":method", x->method);
    fields[n++] = nv(":scheme", l->tls ? "https" : "http");
    fields[n++] = nv(":authority", l->host);
    fields[n++] = nv(":path", x->path);
    for (size_t i = 0; i < l->headers_n; i++)
        fields[n++] = nv(l->headers[i].name, l->headers[i].value);
    if (x->range[0])
        fields[n++] = nv("range", x->range);
    if (x->is_blob)
        fields[n++] = nv("content-type", "application/octet-stream");
    snprintf(length, sizeof length, "%" PRIu64, x->body_n);
    if (x->has_body)
        fields[n++] = nv("content-length", length);
    nghttp2_data_provider body = {.source.ptr = x, .read_callback = on_body};
    x->stream = nghttp2_submit_request(h->session, NULL, fields, n, x->body_n ? &body : NULL, x);
    return x->stream > 0;
}

static bool next_request(struct load *l, struct exchange *x)
{
    bool was_busy = x->busy;
    x->busy = script_next(l, x);
    x->conn->h2->busy += (unsigned)x->busy - (unsigned)was_busy;
    return !x->busy || submit(l, x);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t n, uint8_t flags, void *arg)
{
    struct exchange *x = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);
    if (!x)
        return 0;
    if (name_n == 7 && memcmp(name, ":status", 7) == 0)
        x->status = (int)strtol((const char *)value, NULL, 10);
    if (name_n == 8 && memcmp(name, "location", 8) == 0 && n < sizeof x->location) {
        memcpy(x->location, value, n);
        x->location[n] = '\0';
    }
    return 0;
}

static int on_chunk(nghttp2_session *s, uint8_t flags, int32_t stream, const uint8_t *p, size_t n,
                    void *arg)
{
    ((struct conn *)arg)->h2->load->bytes_in += n;
    return 0;
}

/* An answer before the end of the body: the rest has nobody to go to. */
static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
    const struct exchange *x = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);
    bool answer = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!x || !answer || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || x->body_sent == x->body_n)
        return 0;
    return nghttp2_submit_rst_stream(s, 0, frame->hd.stream_id, NGHTTP2_CANCEL);
}

static int on_close(nghttp2_session *s, int32_t stream, uint32_t code, void *arg)
{
    struct load *l = ((struct conn *)arg)->h2->load;
    struct exchange *x = nghttp2_session_get_stream_user_data(s, stream);
    if (!x)
        return 0;
    if (code != NGHTTP2_NO_ERROR && x->status / 100 == 2)
        x->status = 0; /* cut short, whatever its head said */
    script_answer(l, x, "", 0);
    return next_request(l, x) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void note_sent(struct h2 *h, size_t n)
{
    for (; h->parts_sent < h->parts_n && n >= h->parts[h->parts_sent].iov_len; h->parts_sent++)
        n -= h->parts[h->parts_sent].iov_len;
    if (n > 0) {
        struct iovec *part = &h->parts[h->parts_sent];
        *part = (struct iovec){(char *)part->iov_base + n, part->iov_len - n};
    }
}

/* Sends what the session has and the socket takes. */
static bool flush(struct load *l, struct conn *c, int epoll)
{
    struct h2 *h = c->h2;
    for (;;) {
        if (h->parts_sent == h->parts_n) {
            h->parts_sent = h->parts_n = 0;
            h->gathered = h->out_n = 0;
            if (nghttp2_session_send(h->session) != 0)
                return false;
            if (h->parts_n == 0) {
                conn_watch(c, epoll, false);
                return true;
            }
        }
        ssize_t n = conn_write(c, h->parts + h->parts_sent, h->parts_n - h->parts_sent);
        if (n == IO_WAIT) {
            conn_watch(c, epoll, true);
            return true;
        }
        if (n == IO_FAILED)
            return false;
        note_sent(h, (size_t)n);
        l->bytes_out += (uint64_t)n;
    }
}

static bool receive(struct conn *c)
{
    static uint8_t in[IN_BYTES];
    do {
        ssize_t n = conn_read(c, in, sizeof in);
        if (n == IO_WAIT)
            return true;
        if (n == IO_FAILED || nghttp2_session_mem_recv(c->h2->session, in, (size_t)n) != n)
            return false;
    } while (conn_pending(c));
    return true;
}

static bool h2_event(struct load *l, struct conn *c, int epoll, uint32_t events)
{
    bool ok = (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || receive(c)) && flush(l, c, epoll) &&
              (nghttp2_session_want_read(c->h2->session) || c->h2->busy == 0);
    if (!ok && c->h2->busy > 0)
        note_error(l, &c->h2->exchanges[0], "connection broke", "", 0);
    return ok;
}

static bool h2_start(struct load *l, struct conn *c, int epoll)
{
    for (unsigned i = 0; i < l->streams; i++)
        if (!next_request(l, &c->h2->exchanges[i]))
            return false;
    return flush(l, c, epoll);
}

static bool make_session(struct conn *c)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_body_length);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    int e = nghttp2_session_client_new(&c->h2->session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    return e == 0;
}

static unsigned h2_close(struct conn *c)
{
    struct h2 *h = c->h2;
    if (!h)
        return 0;
    unsigned lost = h->busy;
    nghttp2_session_del(h->session);
    for (unsigned i = 0; i < h->load->streams; i++)
        free(h->exchanges[i].text);
    free(h->exchanges);
    free(h->out);
    free(h);
    c->h2 = NULL;
    return lost;
}

static bool h2_open(struct load *l, struct conn *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW}};
    h2_close(c);
    struct h2 *h = c->h2 = calloc(1, sizeof *h);
    if (!h)
        abort();
    h->load = l;
    h->out = malloc(OUT_BYTES);
    h->exchanges = calloc(l->streams, sizeof *h->exchanges);
    if (!h->out || !h->exchanges || !make_session(c))
        abort();
    for (unsigned i = 0; i < l->streams; i++) {
        h->exchanges[i].conn = c;
        h->exchanges[i].text = l->text_n > 0 ? malloc(l->text_n) : NULL;
        if (l->text_n > 0 && !h->exchanges[i].text)
            abort();
    }
    return nghttp2_submit_settings(h->session, 0, settings, 2) == 0 &&
           nghttp2_session_set_local_window_size(h->session, 0, 0, CONNECTION_WINDOW) == 0;
}

static bool h2_busy(const struct conn *c)
{
    return c->h2 && c->h2->busy > 0;
}

const struct protocol protocol_h2 = {h2_open, h2_start, h2_event, h2_close, h2_busy};

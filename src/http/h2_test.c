/* HTTP/2 against a real server, with nghttp2 as the client: what reactors, workers and sinks do to
 * each other. Frames that no client sends are in test/protocol/test_http2*.py. */
#include "http/h1_fixture.h"

#include <nghttp2/nghttp2.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAMS_MAX = 64, BLOCK_BYTES = 16384 };

static struct fixture f;

/* Client. */

struct stream {
    int32_t id;
    int status; /* the last one, 100 too */
    char body[64];
    uint64_t body_n;
    uint32_t body_sum;
    bool over;
    uint32_t code;                   /* of the end */
    uint64_t to_send, allowed, sent; /* `allowed`: the client keeps the rest for later */
    uint32_t sent_sum;
};

struct peer {
    int fd;
    nghttp2_session *session;
    struct stream streams[STREAMS_MAX];
    size_t n;
    bool gone;
    uint32_t goaway; /* error code of the last one, + 1 */
    unsigned goaway_n;
};

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    uint64_t status;
    if (s && str_eq(str_make(name, name_n), STR(":status")) &&
        str_u64(str_make(value, value_n), &status))
        s->status = (int)status;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    for (size_t i = 0; i < n && s->body_n + i + 1 < sizeof s->body; i++)
        s->body[s->body_n + i] = (char)p[i];
    s->body_sum = pattern_sum(s->body_sum, (const char *)p, n);
    s->body_n += n;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    s->over = true;
    s->code = code;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct peer *p = user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        p->goaway = frame->goaway.error_code + 1;
        p->goaway_n++;
    }
    return 0;
}

/* `silent`: it does not answer PING. */
static void peer_open_as(struct peer *p, bool silent)
{
    nghttp2_session_callbacks *c;
    nghttp2_option *option;
    memset(p, 0, sizeof *p);
    p->fd = client_connect(&f);
    if (nghttp2_session_callbacks_new(&c) || nghttp2_option_new(&option))
        abort();
    nghttp2_option_set_no_auto_ping_ack(option, silent);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    if (nghttp2_session_client_new2(&p->session, c, p, option) ||
        nghttp2_submit_settings(p->session, NGHTTP2_FLAG_NONE, NULL, 0))
        abort();
    nghttp2_session_callbacks_del(c);
    nghttp2_option_del(option);
}

static void peer_open(struct peer *p)
{
    peer_open_as(p, false);
}

static void peer_send(struct peer *p)
{
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(p->session, &bytes)) > 0)
        client_send_bytes(p->fd, bytes, (size_t)n);
}

/* Sends what there is, then reads something. False at the end of the connection. */
static bool peer_step(struct peer *p)
{
    uint8_t block[BLOCK_BYTES];
    peer_send(p);
    ssize_t n = recv(p->fd, block, sizeof block, 0);
    if (n <= 0) {
        p->gone = true;
        return false;
    }
    CHECK(nghttp2_session_mem_recv(p->session, block, (size_t)n) == n);
    peer_send(p);
    return true;
}

static void peer_wait(struct peer *p, const struct stream *s)
{
    while (!s->over && peer_step(p)) {
    }
}

static ssize_t next_bytes(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
                          uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct stream *s = source->ptr;
    uint64_t left = s->allowed - s->sent;
    if (left == 0)
        return NGHTTP2_ERR_DEFERRED;
    size_t n = left < max ? (size_t)left : max;
    pattern_fill((char *)to, s->sent, n);
    s->sent_sum = pattern_sum(s->sent_sum, (char *)to, n);
    s->sent += n;
    if (s->sent == s->to_send)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

/* A request with `body_n` bytes of pattern (0: no body), of which so many go out as are allowed. */
static struct stream *peer_begin(struct peer *p, const char *method, const char *path,
                                 uint64_t body_n, uint64_t allowed)
{
    const nghttp2_nv fields[] = {field(":method", method), field(":scheme", "http"),
                                 field(":authority", "h"), field(":path", path)};
    struct stream *s = &p->streams[p->n++];
    *s = (struct stream){.to_send = body_n, .allowed = allowed};
    const nghttp2_data_provider body = {.source.ptr = s, .read_callback = next_bytes};
    s->id = nghttp2_submit_request(p->session, NULL, fields, 4, body_n > 0 ? &body : NULL, s);
    CHECK(s->id > 0);
    peer_send(p);
    return s;
}

static struct stream *peer_ask(struct peer *p, const char *method, const char *path,
                               uint64_t body_n)
{
    return peer_begin(p, method, path, body_n, body_n);
}

static void peer_allow(struct peer *p, struct stream *s, uint64_t n)
{
    s->allowed += n;
    CHECK_INT(nghttp2_session_resume_data(p->session, s->id), 0);
    peer_send(p);
}

/* Asks, and waits for the end. */
static struct stream *peer_do(struct peer *p, const char *method, const char *path, uint64_t body_n)
{
    struct stream *s = peer_ask(p, method, path, body_n);
    peer_wait(p, s);
    return s;
}

static struct stream *peer_get(struct peer *p, const char *path)
{
    return peer_do(p, "GET", path, 0);
}

/* What was sent before has arrived when this returns. */
static void peer_hello(struct peer *p)
{
    CHECK_INT(peer_get(p, "/hello")->status, 200);
}

static void peer_reset(struct peer *p, const struct stream *s, uint32_t code)
{
    (void)nghttp2_submit_rst_stream(p->session, NGHTTP2_FLAG_NONE, s->id, code);
    peer_send(p);
}

static void peer_set_window(struct peer *p, uint32_t bytes)
{
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, bytes};
    CHECK_INT(nghttp2_submit_settings(p->session, NGHTTP2_FLAG_NONE, &window, 1), 0);
}

/* Reads to the end of the connection: its last GOAWAY had this code. */
static void peer_ends(struct peer *p, uint32_t code)
{
    while (peer_step(p)) {
    }
    CHECK_INT(p->goaway, code + 1);
}

/* Whether the answer to an upload tells all that was sent. */
static void check_sum(const struct stream *s, int status)
{
    char want[64];
    snprintf(want, sizeof want, "%llu %08x", (unsigned long long)s->to_send, s->sent_sum);
    CHECK_INT(s->status, status);
    CHECK_STR(str_from(s->body), want);
}

static void wait_uploaded(struct peer *p, const struct stream *s)
{
    peer_wait(p, s);
    check_sum(s, 201);
}

/* Server. */

static struct http_config h2_config(void)
{
    struct http_config config = fixture_config();
    config.limits.drain_ms = 50;
    config.http2 = (struct http2_limits){.cleartext = true,
                                         .streams_max = STREAMS_MAX,
                                         .window_bytes = 4 << 20,
                                         .resets_max = 100,
                                         .control_frames_max = 1000,
                                         .continuations_max = 8,
                                         .queue_max = 1000};
    return config;
}

static void start_with(struct peer *p, struct http_config config)
{
    fixture_start(&f, config, 4, 100);
    peer_open(p);
}

static void start(struct peer *p)
{
    start_with(p, h2_config());
}

/* The client goes, whatever is under way. */
static void leave(struct peer *p)
{
    nghttp2_session_del(p->session);
    close(p->fd);
}

static void finish(struct peer *p)
{
    leave(p);
    fixture_stop(&f);
}

/* Requests. */

static void answers(void)
{
    static const struct {
        const char *method, *path;
        uint64_t body_n;
        int status;
        const char *body; /* NULL: any */
    } cases[] = {
        {"GET", "/hello", 0, 200, "hello"},  {"GET", "/quick", 0, 200, "quick"},
        {"GET", "/maybe", 0, 200, "slow"},   {"GET", "/nothing", 0, 500, NULL},
        {"GET", "/error", 0, 403, NULL},     {"GET", "/nowhere", 0, 404, NULL},
        {"PUT", "/hello", 0, 405, NULL},     {"POST", "/hello", 5, 405, NULL},
        {"POST", "/small", 1001, 413, NULL}, /* the route's own bound */
        {"POST", "/drain", 100, 200, NULL},  {"GET", "/hello", 100, 413, NULL},
    };
    struct peer p;
    start(&p);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream *s = peer_do(&p, cases[i].method, cases[i].path, cases[i].body_n);
        CHECK_INT(s->status, cases[i].status);
        if (cases[i].body)
            CHECK_STR(str_from(s->body), cases[i].body);
    }
    CHECK(str_starts(str_from(peer_get(&p, "/about/x")->body), STR("127.0.0.1|h|127.0.0.1:")));
    check_sum(peer_do(&p, "POST", "/sum", 3000000), 200);
    finish(&p);
    CHECK_INT(f.done, sizeof cases / sizeof cases[0] + 2);
}

static void many_at_once(void)
{
    static const char *const paths[] = {"/hello", "/quick", "/maybe", "/file/100000",
                                        "/file/70000?cold"};
    struct peer p;
    start(&p);
    for (size_t i = 0; i < 60; i++)
        peer_ask(&p, "GET", paths[i % 5], 0);
    for (size_t i = 0; i < 60; i++) {
        peer_wait(&p, &p.streams[i]);
        CHECK_INT(p.streams[i].status, 200);
        CHECK_INT(p.streams[i].code, NGHTTP2_NO_ERROR);
    }
    CHECK_INT(p.streams[3].body_n, 100003);
    CHECK_INT(p.streams[4].body_n, 70003);
    finish(&p);
    CHECK_INT(f.done, 60);
}

/* "<<", the pattern, ">": as the handler makes it. */
static uint32_t file_sum(uint64_t n)
{
    char block[4096];
    uint32_t sum = pattern_sum(0, "<<", 2);
    for (uint64_t at = 0; at < n; at += sizeof block) {
        size_t part = n - at < sizeof block ? (size_t)(n - at) : sizeof block;
        pattern_fill(block, at, part);
        sum = pattern_sum(sum, block, part);
    }
    return pattern_sum(sum, ">", 1);
}

static void files(void)
{
    struct peer p;
    start(&p);
    struct stream *s = peer_get(&p, "/file/3000000");
    CHECK_INT(s->body_n, 3000003);
    CHECK_INT(s->body_sum, file_sum(3000000));
    s = peer_get(&p, "/file/1500000?cold");
    CHECK_INT(s->body_sum, file_sum(1500000));
    s = peer_get(&p, "/file/5000?short"); /* cut off, and said so */
    CHECK_INT(s->code, NGHTTP2_INTERNAL_ERROR);
    peer_hello(&p);
    s = peer_do(&p, "HEAD", "/file/5000", 0);
    CHECK_INT(s->status, 200);
    CHECK_INT(s->body_n, 0);
    finish(&p);
}

static void streams(void)
{
    static const uint64_t sizes[] = {1, 2000, 16384, 65535, 65536, 300000, 20000000};
    struct peer p;
    start(&p);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        wait_uploaded(&p, peer_ask(&p, "PUT", "/stream", sizes[i]));
    for (size_t i = 0; i < 20; i++) /* at once */
        peer_ask(&p, "PUT", "/stream", 200000 + i);
    for (size_t i = 7; i < 27; i++)
        wait_uploaded(&p, &p.streams[i]);
    finish(&p);
    CHECK_INT(f.finished, 27);
    CHECK_INT(f.aborted, 0);
    CHECK(f.cap_max > 65536); /* a fast body gets larger buffers */
}

static void sinks_that_fail(void)
{
    struct peer p;
    start(&p);
    struct stream *s = peer_do(&p, "PUT", "/failing", 5000000);
    CHECK_INT(s->status, 507);
    CHECK(s->sent < s->to_send);
    s = peer_do(&p, "PUT", "/refused", 5000000);
    CHECK_INT(s->status, 403);
    CHECK_INT(s->code, NGHTTP2_NO_ERROR);
    peer_hello(&p);
    finish(&p);
    CHECK_INT(f.aborted, 1);
    CHECK_INT(f.answered_aborts, 1);
}

/* Back-pressure. */

static void a_slow_sink_holds_up_its_stream_only(void)
{
    struct peer p;
    start(&p);
    f.hold = true;
    struct stream *s = peer_ask(&p, "PUT", "/stream", 1000000);
    /* All of the first window is held, and no more is granted. */
    while (s->sent < 65535 && peer_step(&p)) {
    }
    for (int i = 0; i < 5; i++)
        peer_hello(&p);
    CHECK_INT(s->sent, 65535);
    CHECK(f.held_bytes_max <= 2 * 65536 + 4 * 16384);
    fixture_release(&f);
    wait_uploaded(&p, s);
    finish(&p);
}

/* What comes while the sink is busy is one buffer for it, not one for each piece. */
static void little_pieces_are_gathered(void)
{
    enum { PIECES = 20, PIECE_BYTES = 500 };
    struct peer p;
    start(&p);
    f.hold = true;
    struct stream *s =
        peer_begin(&p, "PUT", "/stream", (uint64_t)PIECES * PIECE_BYTES, PIECE_BYTES);
    fixture_wait_held(&f, PIECE_BYTES);
    for (int i = 2; i < PIECES; i++) {
        peer_allow(&p, s, PIECE_BYTES);
        peer_hello(&p);
    }
    CHECK_INT(f.held_n, 1);
    fixture_release(&f);
    peer_allow(&p, s, PIECE_BYTES);
    wait_uploaded(&p, s);
    finish(&p);
}

/* More uploads than the budget has room for: all of them end well, one after another. */
static void the_budget_is_shared(void)
{
    enum { PEERS = 4, EACH = 5 };
    static struct peer peers[PEERS];
    struct http_config config = h2_config();
    config.limits.receive_memory_bytes = 1 << 20;
    config.limits.upload_window_bytes = 256 << 10;
    fixture_start(&f, config, 4, 100);
    f.hold = true;
    for (int i = 0; i < PEERS; i++) {
        peer_open(&peers[i]);
        peer_hello(&peers[i]); /* the windows are known */
        for (int k = 0; k < EACH; k++)
            peer_ask(&peers[i], "PUT", "/stream", 400000);
    }
    while (fixture_hits(&f, LIMIT_RECEIVE_PAUSE) == 0)
        sched_yield();
    fixture_release(&f);
    for (int i = 0; i < PEERS; i++)
        for (int k = 0; k < EACH; k++)
            wait_uploaded(&peers[i], &peers[i].streams[k + 1]);
    for (int i = 0; i < PEERS; i++)
        leave(&peers[i]);
    fixture_stop(&f);
    CHECK(f.held_bytes_max <= 1 << 20);
    CHECK_INT(f.finished, PEERS * EACH);
}

/* A head of FAT_BYTES and some. Of two methods: one that is known, or one that is not. */
enum { FAT_BYTES = 6000, FAT_SHARE = (1 << 20) / 4 };

static struct stream *ask_fat(struct peer *p, const char *method)
{
    char fat[FAT_BYTES + 1];
    memset(fat, 'x', FAT_BYTES);
    fat[FAT_BYTES] = '\0';
    const nghttp2_nv fields[] = {field(":method", method), field(":scheme", "http"),
                                 field(":authority", "h"), field(":path", "/hello"),
                                 field("fat", fat)};
    struct stream *s = &p->streams[p->n++];
    *s = (struct stream){0};
    s->id = nghttp2_submit_request(p->session, NULL, fields, 5, NULL, s);
    CHECK(s->id > 0);
    peer_send(p);
    return s;
}

/* Heads whose answers the client does not take: what has no room in the budget is gone at once,
 * also when there is something wrong with it. */
static void heads_without_memory_are_dropped(void)
{
    static const char *const methods[] = {"GET", "BREW"};
    for (size_t i = 0; i < 2; i++) {
        struct peer p;
        struct http_config config = h2_config();
        config.limits.receive_memory_bytes = 4ull * FAT_SHARE;
        start_with(&p, config);
        peer_set_window(&p, 0);
        struct stream *s = ask_fat(&p, methods[i]);
        while (p.n < STREAMS_MAX)
            s = ask_fat(&p, methods[i]);
        peer_wait(&p, s);
        CHECK_INT(s->code, NGHTTP2_REFUSED_STREAM);
        CHECK_INT(s->status, 0);
        int64_t refused = fixture_hits(&f, LIMIT_RECEIVE_MEMORY);
        CHECK(refused >= STREAMS_MAX - FAT_SHARE / FAT_BYTES - 1 && refused < STREAMS_MAX);
        fixture_wait(&f, &f.done, (unsigned)refused);
        finish(&p);
        CHECK_INT(f.done, STREAMS_MAX);
    }
}

/* Clients that go. */

static void resets_while_a_worker_has_it(void)
{
    struct peer p;
    start(&p);
    struct stream *s = peer_ask(&p, "GET", "/gate", 0);
    gate_wait_arrived(&f.gate, 1);
    peer_reset(&p, s, NGHTTP2_CANCEL);
    peer_hello(&p);
    gate_open(&f.gate, 1);
    fixture_wait(&f, &f.done, 2);
    CHECK_INT(f.done_status, 0);
    finish(&p);
}

static void resets_while_the_sink_has_it(void)
{
    struct peer p;
    start(&p);
    f.hold = true;
    struct stream *s = peer_ask(&p, "PUT", "/stream", 500000);
    fixture_wait_held(&f, 1);
    peer_reset(&p, s, NGHTTP2_CANCEL);
    peer_hello(&p);
    while (fixture_release_next(&f, 1)) {
    }
    fixture_wait(&f, &f.aborted, 1);
    CHECK_INT(f.answered_aborts, 0);
    finish(&p);
}

static void connections_end_at_any_time(void)
{
    struct peer p;
    start(&p);
    f.hold = true;
    peer_ask(&p, "PUT", "/stream", 500000);
    peer_ask(&p, "GET", "/gate", 0);
    peer_ask(&p, "GET", "/file/5000000", 0);
    peer_ask(&p, "GET", "/file/5000000?cold", 0);
    peer_ask(&p, "POST", "/sum", 1000000);
    fixture_wait_held(&f, 1);
    gate_wait_arrived(&f.gate, 1);
    leave(&p);
    fixture_wait(&f, &f.done, 3); /* of the five, those that nothing holds */
    gate_open(&f.gate, 1);
    while (fixture_release_next(&f, 1)) {
    }
    fixture_wait(&f, &f.done, 5);
    fixture_stop(&f);
    CHECK_INT(f.aborted, 1);
}

/* Bounds. */

static void requests_that_were_reset_still_count(void)
{
    struct peer p;
    struct http_config config = h2_config();
    config.http2.streams_max = 3;
    start_with(&p, config);
    peer_hello(&p); /* the client knows the bound from here on */
    for (int i = 0; i < 3; i++)
        peer_ask(&p, "GET", "/gate", 0);
    gate_wait_arrived(&f.gate, 3);
    for (size_t i = 1; i < 4; i++)
        peer_reset(&p, &p.streams[i], NGHTTP2_CANCEL);
    CHECK_INT(peer_get(&p, "/hello")->code, NGHTTP2_REFUSED_STREAM);
    CHECK_INT(fixture_hits(&f, LIMIT_HTTP2_STREAMS), 1);
    gate_open(&f.gate, 3);
    fixture_wait(&f, &f.done, 4);
    peer_hello(&p);
    finish(&p);
}

static void rapid_resets_end_the_connection(void)
{
    struct peer p;
    struct http_config config = h2_config();
    config.http2.resets_max = 10;
    start_with(&p, config);
    for (int i = 0; i < 11; i++) /* whatever reason is said */
        peer_reset(&p, peer_ask(&p, "GET", "/gate", 0), i % 2 ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR);
    peer_ends(&p, NGHTTP2_ENHANCE_YOUR_CALM);
    CHECK_INT(fixture_hits(&f, LIMIT_HTTP2_RESETS), 1);
    gate_open(&f.gate, 11);
    finish(&p);
}

static struct http_config impatient(unsigned body_ms, uint64_t bytes_per_second)
{
    struct http_config config = h2_config();
    config.limits.body_ms = body_ms;
    config.limits.body_bytes_per_second_min = bytes_per_second;
    return config;
}

static void slow_bodies_are_408(void)
{
    struct peer p;
    start_with(&p, impatient(100, 1 << 20));
    /* The client sends a first window, and then waits for more window as it never reads. */
    struct stream *sink = peer_ask(&p, "PUT", "/stream", 1000000);
    fixture_wait(&f, &f.aborted, 1);
    CHECK_INT(fixture_hits(&f, LIMIT_BODY_RATE), 1);
    peer_wait(&p, sink);
    CHECK_INT(sink->status, 408);
    finish(&p);
}

static void a_held_body_is_not_late(void)
{
    struct peer p;
    start_with(&p, impatient(300, 1000));
    f.hold = true;
    struct stream *s = peer_ask(&p, "PUT", "/stream", 300000);
    fixture_wait_held(&f, 1);
    /* Turns of the timer: this one, whose body stays out, is late after two of them. */
    struct stream *late = peer_begin(&p, "POST", "/sum", 1, 0);
    peer_wait(&p, late);
    CHECK_INT(late->status, 408);
    CHECK_INT(late->sent, 0);
    fixture_release(&f);
    wait_uploaded(&p, s);
    CHECK_INT(fixture_hits(&f, LIMIT_BODY_RATE), 1);
    finish(&p);
}

static void a_window_that_stays_shut_is_given_up(void)
{
    struct peer p;
    struct http_config config = h2_config();
    config.limits.send_ms = 100;
    start_with(&p, config);
    peer_set_window(&p, 0);
    struct stream *s = peer_get(&p, "/file/10000");
    CHECK_INT(s->status, 200);
    CHECK_INT(s->code, NGHTTP2_CANCEL);
    CHECK_INT(fixture_hits(&f, LIMIT_SEND_TIME), 1);
    finish(&p);
}

static void a_client_that_does_not_read_is_given_up(void)
{
    struct peer p;
    struct http_config config = h2_config();
    config.limits.send_ms = 100;
    start_with(&p, config);
    CHECK_INT(nghttp2_session_set_local_window_size(p.session, NGHTTP2_FLAG_NONE, 0, 1 << 30), 0);
    peer_set_window(&p, 1 << 30);
    peer_ask(&p, "GET", "/file/30000000", 0);
    fixture_wait(&f, &f.done, 1); /* nothing is read here */
    CHECK_INT(fixture_hits(&f, LIMIT_SEND_TIME), 1);
    finish(&p);
}

/* Ends. */

static void *stop(void *unused)
{
    http_server_drain(f.server, 20000);
    return unused;
}

static void drains(void)
{
    pthread_t thread;
    struct peer p;
    start(&p);
    struct stream *s = peer_ask(&p, "GET", "/gate", 0);
    gate_wait_arrived(&f.gate, 1);
    pthread_create(&thread, NULL, stop, NULL);
    while (!p.goaway && peer_step(&p)) {
    }
    CHECK_INT(p.goaway, NGHTTP2_NO_ERROR + 1);
    gate_open(&f.gate, 1);
    peer_wait(&p, s);
    CHECK_INT(s->status, 200);
    peer_ends(&p, NGHTTP2_NO_ERROR);
    pthread_join(thread, NULL);
    finish(&p);
}

/* The drain begins when the client has sent no more than so many bytes. What was read of them is
 * certain: another connection was served after them, and its end tells that the drain reached it.
 */
static void drain_after(struct peer *p, size_t first, pthread_t *thread)
{
    uint8_t start[256];
    size_t n = 0;
    const uint8_t *bytes;
    struct reply reply;
    for (ssize_t more; (more = nghttp2_session_mem_send(p->session, &bytes)) > 0;
         n += (size_t)more) {
        CHECK(n + (size_t)more <= sizeof start);
        memcpy(start + n, bytes, (size_t)more);
    }
    client_send_bytes(p->fd, start, first);
    int other = client_connect(&f);
    for (int i = 0; i < 2; i++)
        client_ask(other, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", &reply, 200);
    pthread_create(thread, NULL, stop, NULL);
    CHECK(client_ends(other));
    close(other);
    client_send_bytes(p->fd, start + first, n - first);
}

static void drains_what_begins_meanwhile(void)
{
    enum { PREFACE_BYTES = 24 };
    static const size_t firsts[] = {1, 16, PREFACE_BYTES - 1, PREFACE_BYTES};
    for (size_t i = 0; i < 4; i++) {
        pthread_t thread;
        struct peer p;
        struct http_config config = h2_config();
        config.reactors_n = 1;
        fixture_start(&f, config, 4, 100);
        peer_open_as(&p, i % 2 == 1);
        drain_after(&p, firsts[i], &thread);
        struct stream *s = peer_ask(&p, "GET", "/gate", 0); /* still served */
        while (p.goaway_n < 2 && peer_step(&p)) {
        }
        CHECK_INT(p.goaway_n, 2);
        gate_open(&f.gate, 1);
        peer_wait(&p, s);
        CHECK_INT(s->status, 200);
        peer_ends(&p, NGHTTP2_NO_ERROR);
        pthread_join(thread, NULL);
        finish(&p);
    }
}

static void idle_connections_end(void)
{
    struct peer p;
    struct http_config config = h2_config();
    config.limits.idle_ms = 300;
    start_with(&p, config);
    peer_hello(&p);
    peer_ends(&p, NGHTTP2_NO_ERROR);
    finish(&p);
}

static void shutdown_without_grace(void)
{
    struct peer p;
    start(&p);
    f.hold = true;
    peer_ask(&p, "PUT", "/stream", 500000);
    peer_ask(&p, "GET", "/file/9000000", 0);
    fixture_wait_held(&f, 1);
    fixture_release(&f);
    http_server_drain(f.server, 0);
    CHECK_INT(f.finished + f.aborted, 1);
    finish(&p);
}

TESTS({"answers", answers}, {"many at once", many_at_once}, {"files", files}, {"streams", streams},
      {"sinks that fail", sinks_that_fail},
      {"a slow sink holds up its stream only", a_slow_sink_holds_up_its_stream_only},
      {"little pieces are gathered", little_pieces_are_gathered},
      {"the budget is shared", the_budget_is_shared},
      {"heads without memory are dropped", heads_without_memory_are_dropped},
      {"resets while a worker has it", resets_while_a_worker_has_it},
      {"resets while the sink has it", resets_while_the_sink_has_it},
      {"connections end at any time", connections_end_at_any_time},
      {"requests that were reset still count", requests_that_were_reset_still_count},
      {"rapid resets end the connection", rapid_resets_end_the_connection},
      {"slow bodies are 408", slow_bodies_are_408},
      {"a held body is not late", a_held_body_is_not_late},
      {"a window that stays shut is given up", a_window_that_stays_shut_is_given_up},
      {"a client that does not read is given up", a_client_that_does_not_read_is_given_up},
      {"drains", drains}, {"drains what begins meanwhile", drains_what_begins_meanwhile},
      {"idle connections end", idle_connections_end},
      {"shutdown without grace", shutdown_without_grace});

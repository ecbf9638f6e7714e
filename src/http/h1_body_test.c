/* Request bodies against a real server: framing, Expect, refusals, back-pressure, sinks. */
#include "http/h1_fixture.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: h\r\n"

static struct fixture f;
static struct reply r;

static void start(void)
{
    fixture_start(&f, fixture_config(), 4, 100);
}

static void small_bodies(void)
{
    start();
    int fd = client_connect(&f);
    client_ask(fd, "POST /small HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody", &r, 200);
    CHECK_STR(str_from(r.body), "body");
    client_send(fd, "POST /small HTTP/1.1\r\n" HOST "Content-Length: 8\r\n\r\nin ");
    client_ask(fd, "parts", &r, 200);
    CHECK_STR(str_from(r.body), "in parts");
    client_send(fd, "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\na");
    client_ask(fd, "bc\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\n", &r, 200);
    CHECK_STR(str_from(r.body), "abcd");
    client_ask(fd, "POST /small HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    CHECK_INT(r.body_n, 0);
    close(fd);
    fixture_wait(&f, &f.done, 4);
    fixture_stop(&f);
}

/* Larger than one read and than what is taken from the budget at first. */
static void collects_megabytes(void)
{
    enum { N = 3000000 };
    char *bytes = malloc(N), head[200], want[64];
    pattern_fill(bytes, 0, N);
    snprintf(want, sizeof want, "%d %08x", N, pattern_sum(0, bytes, N));
    start();
    int fd = client_connect(&f);
    snprintf(head, sizeof head, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", N);
    client_send(fd, head);
    client_send_bytes(fd, bytes, N);
    client_reply(fd, &r, false);
    CHECK_STR(str_from(r.body), want);
    client_send(fd, "POST /sum HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < N; at += 100000) {
        client_send(fd, "186a0\r\n");
        client_send_bytes(fd, bytes + at, 100000);
        client_send(fd, "\r\n");
    }
    client_send(fd, "0\r\n\r\n");
    client_reply(fd, &r, false);
    CHECK_STR(str_from(r.body), want);
    close(fd);
    fixture_stop(&f);
    free(bytes);
}

static void too_large_bodies(void)
{
    static char large[70000];
    memset(large, 'x', sizeof large);
    start();
    int fd = client_connect(&f); /* short enough to be read: the connection lives on */
    client_send(fd, "POST /small HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n");
    client_send_bytes(fd, large, 1001);
    client_reply(fd, &r, false);
    CHECK_INT(r.status, 413);
    CHECK(str_starts(str_from(r.body), STR("MANIFEST_TOO_LARGE")));
    client_send(fd, "GET /hello HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
    client_reply(fd, &r, false);
    CHECK_STR(str_from(r.body), "BODY_TOO_LARGE: this request takes no body");
    client_send(fd, "POST /drain HTTP/1.1\r\n" HOST "Content-Length: 65536\r\n\r\n");
    client_send_bytes(fd, large, 65536);
    client_reply(fd, &r, false);
    CHECK_STR(str_from(r.body), "hello");
    client_send(fd, "GET /hello HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    client_reply(fd, &r, false); /* an empty body is none */
    CHECK_INT(r.status, 200);
    /* Too long to be worth reading. */
    client_ask(fd, "POST /drain HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n", &r, 413);
    CHECK(reply_has(&r, "Connection: close"));
    CHECK(client_ends(fd));
    close(fd);
    fd = client_connect(&f); /* chunked: noticed on the way */
    client_send(fd, "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e9\r\n");
    client_send_bytes(fd, large, 1001);
    client_reply(fd, &r, false);
    CHECK_INT(r.status, 413);
    CHECK(client_ends(fd));
    close(fd);
    fixture_stop(&f);
}

static void bad_chunks(void)
{
    static const char *const paths[] = {"POST /small", "PUT /stream"};
    start();
    for (int i = 0; i < 2; i++) {
        int fd = client_connect(&f);
        client_send(fd, paths[i]);
        client_ask(fd, " HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nokX", &r, 400);
        CHECK(str_contains(str_from(r.body), STR("chunked")));
        CHECK(client_ends(fd));
        close(fd);
    }
    fixture_stop(&f);
    CHECK_INT(f.aborted, 1);
    CHECK_INT(f.answered_aborts, 1);
    CHECK_INT(f.finished, 0);
}

/* Expect: 100-continue. */

static void continue_is_sent_when_the_body_is_wanted(void)
{
    static const char *const paths[] = {"POST /small", "PUT /stream", "POST /drain"};
    static const int statuses[] = {200, 201, 200};
    start();
    int fd = client_connect(&f);
    for (int i = 0; i < 3; i++) {
        client_send(fd, paths[i]);
        client_ask(fd, " HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", &r,
                   100);
        client_ask(fd, "ab", &r, statuses[i]);
    }
    /* Not when it is here already. */
    client_ask(fd,
               "POST /small HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
               "ab",
               &r, 200);
    client_ask(fd,
               "POST /small HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 0\r\n"
               "\r\n",
               &r, 200);
    close(fd);
    fixture_stop(&f);
}

static void continue_is_not_sent_otherwise(void)
{
    static const struct {
        const char *start;
        int status;
    } cases[] = {{"PUT /refused", 403},
                 {"POST /nowhere", 404},
                 {"DELETE /hello", 405},
                 {"POST /small", 413},
                 {"GET /hello", 413}};
    start();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = client_connect(&f);
        client_send(fd, cases[i].start);
        client_ask(fd, " HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n",
                   &r, cases[i].status);
        CHECK(reply_has(&r, "Connection: close"));
        CHECK(client_ends(fd));
        close(fd);
    }
    fixture_stop(&f);
}

/* The client goes on sending a little after the refusal and must still see it. */
static void early_refusal_lingers(void)
{
    static char block[65536];
    start();
    int fd = client_connect(&f);
    client_send(fd, "PUT /refused HTTP/1.1\r\n" HOST "Content-Length: 100000000\r\n\r\n");
    client_send_bytes(fd, block, sizeof block);
    fixture_wait(&f, &f.done, 1);
    client_send_bytes(fd, block, sizeof block);
    client_reply(fd, &r, false);
    CHECK_INT(r.status, 403);
    CHECK(client_ends(fd)); /* half-closed, not reset: this is the end of the stream */
    /* It drains 256 KiB; after that it is gone. */
    while (send(fd, block, sizeof block, MSG_NOSIGNAL) > 0) {
    }
    close(fd);
    fd = client_connect(&f); /* a short rest is read instead */
    client_send(fd, "PUT /refused HTTP/1.1\r\n" HOST "Content-Length: 50000\r\n\r\n");
    client_send_bytes(fd, block, 50000);
    client_reply(fd, &r, false);
    CHECK_INT(r.status, 403);
    client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    close(fd);
    fixture_stop(&f);
}

/* Streams. */

static void send_pattern(int fd, uint64_t n, uint32_t *sum)
{
    char block[10000];
    *sum = 0;
    for (uint64_t at = 0; at < n; at += sizeof block) {
        size_t part = n - at < sizeof block ? (size_t)(n - at) : sizeof block;
        pattern_fill(block, at, part);
        *sum = pattern_sum(*sum, block, part);
        client_send_bytes(fd, block, part);
    }
}

static void check_stream(int fd, uint64_t n)
{
    char text[256], want[64];
    uint32_t sum;
    snprintf(text, sizeof text, "PUT /stream HTTP/1.1\r\n" HOST "Content-Length: %llu\r\n\r\n",
             (unsigned long long)n);
    client_send(fd, text);
    send_pattern(fd, n, &sum);
    client_reply(fd, &r, false);
    CHECK_INT(r.status, 201);
    snprintf(want, sizeof want, "%llu %08x", (unsigned long long)n, sum);
    CHECK_STR(str_from(r.body), want);
}

static void streams(void)
{
    static const uint64_t sizes[] = {0, 1, 2000, 16384, 70000, 300000, 20000000};
    start();
    int fd = client_connect(&f);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_stream(fd, sizes[i]);
    close(fd);
    fixture_stop(&f);
    CHECK_INT(f.finished, 7);
    CHECK_INT(f.aborted, 0);
}

static void small_streams_take_small_buffers(void)
{
    start();
    int fd = client_connect(&f);
    check_stream(fd, 2000);
    close(fd);
    fixture_stop(&f);
    CHECK_INT(f.cap_max, 4096);
}

static void streams_chunked(void)
{
    static char block[40000];
    char line[32], want[64];
    uint64_t total = 0;
    uint32_t sum = 0;
    start();
    int fd = client_connect(&f);
    client_send(fd, "PUT /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t n = 1; n < sizeof block; n += 997) {
        pattern_fill(block, total, n);
        sum = pattern_sum(sum, block, n);
        total += n;
        client_send_bytes(fd, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", n));
        client_send_bytes(fd, block, n);
        client_send(fd, "\r\n");
    }
    client_send(fd, "0\r\n\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n");
    client_reply(fd, &r, false);
    CHECK_INT(r.status, 201);
    snprintf(want, sizeof want, "%llu %08x", (unsigned long long)total, sum);
    CHECK_STR(str_from(r.body), want);
    client_reply(fd, &r, false);
    CHECK_INT(r.status, 200);
    close(fd);
    fixture_stop(&f);
}

struct sender {
    pthread_t thread;
    int fd;
    uint64_t n; /* bytes that are sent, of the length that is announced */
    uint64_t length;
    uint32_t sum;
};

static void *sender_main(void *arg)
{
    struct sender *s = arg;
    char text[256];
    snprintf(text, sizeof text, "PUT /stream HTTP/1.1\r\n" HOST "Content-Length: %llu\r\n\r\n",
             (unsigned long long)s->length);
    client_send(s->fd, text);
    send_pattern(s->fd, s->n, &s->sum);
    return NULL;
}

static void sender_start(struct sender *s, uint64_t n, uint64_t length)
{
    *s = (struct sender){.fd = client_connect(&f), .n = n, .length = length};
    pthread_create(&s->thread, NULL, sender_main, s);
}

static void sender_finish(struct sender *s)
{
    char want[64];
    pthread_join(s->thread, NULL);
    client_reply(s->fd, &r, false);
    CHECK_INT(r.status, 201);
    snprintf(want, sizeof want, "%llu %08x", (unsigned long long)s->n, s->sum);
    CHECK_STR(str_from(r.body), want);
    close(s->fd);
}

enum { WINDOW = 1 << 20 };

/* While the sink keeps its buffers no more than a window is read; then it goes on. */
static void a_slow_sink_stops_the_reading(void)
{
    struct sender s;
    start();
    f.hold = true;
    sender_start(&s, 12000000, 12000000);
    fixture_wait_held(&f, WINDOW / 4);
    while (fixture_release_next(&f, 1)) {
    }
    sender_finish(&s);
    fixture_stop(&f);
    CHECK(f.held_bytes_max <= WINDOW);
    CHECK(f.cap_max >= 256 * 1024); /* a fast client came to large buffers */
}

/* All bodies together stay within the budget, and every one of them gets through. */
static void the_budget_is_shared(void)
{
    enum { SENDERS = 8, BUDGET = 1 << 20 };
    struct sender senders[SENDERS];
    struct http_config config = fixture_config();
    config.limits.receive_memory_bytes = BUDGET;
    fixture_start(&f, config, 4, 100);
    f.hold = true;
    for (int i = 0; i < SENDERS; i++)
        sender_start(&senders[i], 2000000, 2000000);
    fixture_wait_held(&f, BUDGET / 4); /* small buffers count twice: header and data */
    while (fixture_release_next(&f, SENDERS)) {
    }
    for (int i = 0; i < SENDERS; i++)
        sender_finish(&senders[i]);
    CHECK(fixture_hits(&f, LIMIT_RECEIVE_PAUSE) > 0);
    fixture_stop(&f);
    CHECK_INT(f.finished, SENDERS);
    CHECK(f.held_bytes_max <= BUDGET);
}

static void disconnects_abort_once(void)
{
    struct sender s;
    start();
    for (unsigned i = 0; i < 2; i++) { /* first with a fast sink, then with buffers outstanding */
        f.hold = i > 0;
        sender_start(&s, 200000, 400000);
        pthread_join(s.thread, NULL);
        if (f.hold)
            fixture_wait_held(&f, 1);
        close(s.fd);
        fixture_release_next(&f, i + 1);
        while (fixture_release_next(&f, i + 1)) {
        }
        fixture_wait(&f, &f.done, i + 1);
    }
    fixture_stop(&f);
    CHECK_INT(f.aborted, 2);
    CHECK_INT(f.answered_aborts, 0);
    CHECK_INT(f.finished, 0);
}

static void a_failing_sink_is_answered(void)
{
    static char block[1 << 16];
    start();
    int fd = client_connect(&f);
    client_send(fd, "PUT /failing HTTP/1.1\r\n" HOST "Content-Length: 100000000\r\n\r\n");
    client_send_bytes(fd, block, sizeof block);
    client_reply(fd, &r, false); /* the client is not done, the server does not wait for it */
    CHECK_INT(r.status, 507);
    CHECK_STR(str_from(r.body), "NO_SPACE: the sink is full");
    CHECK(reply_has(&r, "Connection: close"));
    CHECK(client_ends(fd));
    close(fd);
    fixture_stop(&f);
    CHECK_INT(f.aborted, 1);
    CHECK_INT(f.answered_aborts, 1);
}

/* Timeouts. */

static void slow_bodies_are_408(void)
{
    static const char *const paths[] = {"POST /small", "PUT /stream"};
    struct http_config config = fixture_config();
    config.limits.body_ms = 60;
    config.limits.body_bytes_per_second_min = 1000000;
    fixture_start(&f, config, 2, 10);
    for (int i = 0; i < 2; i++) {
        int fd = client_connect(&f);
        client_send(fd, paths[i]);
        client_ask(fd, " HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\nslow", &r, 408);
        CHECK(client_ends(fd));
        close(fd);
    }
    CHECK_INT(fixture_hits(&f, LIMIT_BODY_RATE), 2);
    fixture_stop(&f);
    CHECK_INT(f.answered_aborts, 1);
}

/* While the server does not read, the client is not to blame. Time passes until another
 * connection's head is late, which takes three windows of the body's rate. */
static void a_paused_body_is_not_late(void)
{
    struct sender s;
    struct http_config config = fixture_config();
    config.limits.body_ms = 500;
    config.limits.head_ms = 1500;
    fixture_start(&f, config, 2, 10);
    f.hold = true;
    sender_start(&s, 8000000, 8000000);
    fixture_wait_held(&f, WINDOW / 4);
    int other = client_connect(&f);
    client_ask(other, "G", &r, 408);
    close(other);
    while (fixture_release_next(&f, 1)) {
    }
    sender_finish(&s);
    CHECK_INT(fixture_hits(&f, LIMIT_BODY_RATE), 0);
    fixture_stop(&f);
    CHECK_INT(f.aborted, 0);
}

static void *drain_main(void *arg)
{
    http_server_drain(f.server, 0);
    return arg;
}

static void drain_aborts_streams(void)
{
    struct sender s;
    pthread_t thread;
    start();
    f.hold = true;
    sender_start(&s, 300000, 400000);
    pthread_join(s.thread, NULL);
    fixture_wait_held(&f, 1);
    pthread_create(&thread, NULL, drain_main, NULL);
    client_reply(s.fd, &r, false);
    CHECK_INT(r.status, 0);
    while (fixture_release_next(&f, 1)) {
    }
    pthread_join(thread, NULL);
    close(s.fd);
    fixture_stop(&f);
    CHECK_INT(f.aborted, 1);
    CHECK_INT(f.answered_aborts, 0);
    CHECK_INT(f.done, 1);
}

/* Small bodies have a share of their own, and what does not fit is refused, not waited for. */
static void small_bodies_are_bounded(void)
{
    enum { N = 400000 }; /* the share is 256 KiB; one body may pass it, if it is alone */
    static char bytes[N];
    struct http_config config = fixture_config();
    config.limits.receive_memory_bytes = 1 << 20;
    fixture_start(&f, config, 2, 10);
    int first = client_connect(&f), second = client_connect(&f);
    client_send(first, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 400000\r\n\r\n");
    client_send_bytes(first, bytes, N - 1);
    do { /* until the first one's bytes have been received */
        client_send(second, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
        client_reply(second, &r, false);
    } while (r.status == 200);
    CHECK_INT(r.status, 503);
    CHECK(reply_has(&r, "Retry-After: 1"));
    CHECK(fixture_hits(&f, LIMIT_RECEIVE_MEMORY) > 0);
    client_send_bytes(first, bytes, 1);
    client_reply(first, &r, false);
    CHECK_INT(r.status, 200);
    do { /* the first one's memory is given back once its answer is out */
        close(second);
        second = client_connect(&f);
        client_send(second, "POST /sum HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
        client_reply(second, &r, false);
    } while (r.status == 503);
    CHECK_INT(r.status, 200);
    close(first);
    close(second);
    fixture_stop(&f);
}

TESTS({"small bodies", small_bodies}, {"collects megabytes", collects_megabytes},
      {"too large bodies", too_large_bodies}, {"bad chunks", bad_chunks},
      {"100 when the body is wanted", continue_is_sent_when_the_body_is_wanted},
      {"no 100 otherwise", continue_is_not_sent_otherwise},
      {"an early refusal lingers", early_refusal_lingers}, {"streams", streams},
      {"small streams take small buffers", small_streams_take_small_buffers},
      {"streams chunked", streams_chunked},
      {"a slow sink stops the reading", a_slow_sink_stops_the_reading},
      {"the budget is shared", the_budget_is_shared},
      {"disconnects abort once", disconnects_abort_once},
      {"a failing sink is answered", a_failing_sink_is_answered},
      {"slow bodies are 408", slow_bodies_are_408},
      {"a paused body is not late", a_paused_body_is_not_late},
      {"drain aborts streams", drain_aborts_streams},
      {"small bodies are bounded", small_bodies_are_bounded});

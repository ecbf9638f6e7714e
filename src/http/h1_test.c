/* The connection state machine, against a real server: heads, keep-alive, refusals, responses,
 * timeouts, limits, draining. Bodies are in h1_body_test.c. */
#include "http/h1_fixture.h"

#include <poll.h>
#include <sched.h>
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

static void answers_and_keeps_alive(void)
{
    start();
    int fd = client_connect(&f);
    for (int i = 0; i < 3; i++) {
        client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
        CHECK_STR(str_from(r.body), "hello");
    }
    CHECK(reply_has(&r, "Content-Length: 5"));
    CHECK(reply_has(&r, "Content-Type: text/plain"));
    CHECK(strstr(r.head, "\r\nX-Request-Id: ") != NULL);
    CHECK(strstr(r.head, " GMT\r\n") != NULL);
    CHECK(!strstr(r.head, "Connection:"));
    close(fd);
    fixture_stop(&f);
    CHECK_INT(f.done, 3);
    CHECK_INT(f.done_status, 200);
    CHECK_INT(f.done_out, 5);
}

static void quick_handlers_run_on_the_reactor(void)
{
    start();
    int fd = client_connect(&f);
    client_ask(fd, "GET /quick HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    client_ask(fd, "GET /maybe HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    CHECK_STR(str_from(r.body), "slow");
    CHECK(strstr(strstr(r.head, "X-Run: 1") + 1, "X-Run") == NULL); /* the first run left nothing */
    close(fd);
    fixture_stop(&f);
}

static void pipelines_in_order(void)
{
    static const char *const paths[] = {"/hello", "/quick", "/status/404", "/quick", "/hello"};
    static const int statuses[] = {200, 200, 404, 200, 200};
    char all[1024] = "";
    start();
    for (int i = 0; i < 5; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "GET %s HTTP/1.1\r\n" HOST "\r\n",
                 paths[i]);
    for (size_t cut = 1; cut < strlen(all); cut += 7) { /* whatever the packets look like */
        int fd = client_connect(&f);
        client_send_bytes(fd, all, cut);
        client_send_bytes(fd, all + cut, strlen(all) - cut);
        for (int i = 0; i < 5; i++) {
            client_reply(fd, &r, false);
            CHECK_INT(r.status, statuses[i]);
        }
        close(fd);
    }
    fixture_stop(&f);
}

/* Who sends many requests at once has them served, but others in between. */
static void pipelines_take_turns(void)
{
    enum { REQUESTS = 2000, TURN = 64 };
    static char all[REQUESTS * 40];
    uint64_t before = 0;
    size_t n = 0;
    struct http_config config = fixture_config();
    config.reactors_n = 1;
    fixture_start(&f, config, 2, 10);
    int greedy = client_connect(&f), other = client_connect(&f);
    client_ask(other, "GET /quick HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    for (int i = 0; i < REQUESTS; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, "GET /quick%s HTTP/1.1\r\n" HOST "\r\n",
                              i == 0 ? "-gate" : "");
    client_send_bytes(greedy, all, n);
    gate_wait_arrived(&f.gate, 1);
    client_send(other, "GET /done HTTP/1.1\r\n" HOST "\r\n");
    gate_open(&f.gate, 1);
    client_reply(other, &r, false);
    CHECK(str_u64(str_make(r.body, (size_t)r.body_n), &before) && before <= 4 * TURN);
    for (int i = 0; i < REQUESTS; i++) {
        client_reply(greedy, &r, false);
        CHECK_STR(str_make(r.body, (size_t)r.body_n), i == 0 ? "passed" : "quick");
    }
    close(greedy);
    close(other);
    fixture_stop(&f);
    CHECK_INT(f.done, REQUESTS + 2);
}

static void pipelines_bodies_too(void)
{
    start();
    int fd = client_connect(&f);
    client_send(fd, "POST /small HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\none"
                    "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                    "1\r\nt\r\n2\r\nwo\r\n0\r\n\r\n"
                    "POST /small HTTP/1.1\r\n" HOST "\r\n"
                    "PUT /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                    "4\r\nfour\r\n0\r\n\r\n"
                    "GET /nowhere HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nfive"
                    "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    static const char *const bodies[] = {"one", "two", "", NULL, NULL, "hello"};
    static const int statuses[] = {200, 200, 200, 201, 404, 200};
    for (int i = 0; i < 6; i++) {
        client_reply(fd, &r, false);
        CHECK_INT(r.status, statuses[i]);
        if (bodies[i])
            CHECK_STR(str_from(r.body), bodies[i]);
    }
    close(fd);
    fixture_stop(&f);
}

static void head_has_no_body(void)
{
    start();
    int fd = client_connect(&f);
    client_send(fd, "HEAD /hello HTTP/1.1\r\n" HOST "\r\n");
    client_reply(fd, &r, true);
    CHECK_INT(r.status, 200);
    CHECK(reply_has(&r, "Content-Length: 5"));
    client_ask(fd, "GET /status/204 HTTP/1.1\r\n" HOST "\r\n", &r, 204);
    CHECK(!strstr(r.head, "Content-Length"));
    client_ask(fd, "GET /status/304 HTTP/1.1\r\n" HOST "\r\n", &r, 304);
    CHECK(!strstr(r.head, "Content-Length"));
    client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200); /* still in step */
    close(fd);
    fixture_stop(&f);
}

static void connection_close(void)
{
    start();
    int fd = client_connect(&f);
    client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", &r, 200);
    CHECK(reply_has(&r, "Connection: close"));
    CHECK(client_ends(fd));
    close(fd);
    fd = client_connect(&f);
    client_ask(fd, "GET /hello HTTP/1.0\r\n\r\n", &r, 200);
    CHECK(reply_has(&r, "Connection: close"));
    CHECK(client_ends(fd));
    close(fd);
    fd = client_connect(&f);
    client_ask(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &r, 200);
    CHECK(reply_has(&r, "Connection: keep-alive"));
    client_ask(fd, "GET /hello HTTP/1.0\r\n\r\n", &r, 200);
    close(fd);
    fixture_stop(&f);
}

static void errors_are_rendered(void)
{
    start();
    int fd = client_connect(&f);
    client_ask(fd, "GET /error HTTP/1.1\r\n" HOST "\r\n", &r, 403);
    CHECK_STR(str_from(r.body), "DENIED: not for you");
    CHECK(reply_has(&r, "X-Kept: yes"));
    client_ask(fd, "GET /nothing HTTP/1.1\r\n" HOST "\r\n", &r, 500);
    client_ask(fd, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n", &r, 404);
    client_ask(fd, "DELETE /hello HTTP/1.1\r\n" HOST "\r\n", &r, 405);
    CHECK(reply_has(&r, "Allow: GET, HEAD"));
    client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    close(fd);
    fixture_stop(&f);
}

/* What is wrong before routing is answered, and ends the connection. */
static void bad_heads(void)
{
    static char long_target[2100], many[2048], large[9000];
    memset(long_target, 'a', sizeof long_target - 1);
    memcpy(long_target, "GET /", 5);
    snprintf(many, sizeof many, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 20; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "F%d: x\r\n", i);
    snprintf(many + strlen(many), sizeof many - strlen(many), "\r\n");
    memset(large, 'a', sizeof large - 1);
    memcpy(large, "GET / HTTP/1.1\r\nA: ", 19);
    const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
        {"GET /\n\n", 400},
        {"\x16\x03\x01\x02", 400},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"BREW / HTTP/1.1\r\n" HOST "\r\n", 501},
        {"POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501},
        {"POST /small HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
        {"POST /small HTTP/1.1\r\n" HOST "Expect: money\r\nContent-Length: 1\r\n\r\n", 417},
        {long_target, 414},
        {many, 431},
        {large, 431},
    };
    start();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = client_connect(&f);
        client_ask(fd, cases[i].text, &r, cases[i].status);
        CHECK(reply_has(&r, "Connection: close"));
        CHECK(client_ends(fd));
        close(fd);
    }
    fixture_stop(&f);
}

static void heads_in_pieces(void)
{
    static const char text[] = "\r\nGET /about/a%20b HTTP/1.1\r\n" HOST "\r\n";
    start();
    int fd = client_connect(&f);
    for (size_t i = 0; i < sizeof text - 1; i++)
        client_send_bytes(fd, text + i, 1);
    client_reply(fd, &r, false);
    CHECK_INT(r.status, 200);
    ARENA_CLEANUP struct arena a = {0};
    str want =
        arena_printf(&a, "127.0.0.1|h|%.*s|a b|0", STR_ARG(http_server_address(f.server, 0)));
    CHECK_STR(want, r.body);
    close(fd);
    fixture_stop(&f);
}

static void trusted_proxies(void)
{
    static const str proxies[] = {STR_INIT("127.0.0.0/8")};
    struct http_config config = fixture_config();
    config.trusted_proxies = proxies;
    config.trusted_proxy_n = 1;
    fixture_start(&f, config, 1, 10);
    int fd = client_connect(&f);
    client_ask(fd,
               "GET /about/x HTTP/1.1\r\n" HOST "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n"
               "X-Forwarded-Proto: https\r\nX-Forwarded-Host: reg:443\r\n\r\n",
               &r, 200);
    CHECK(str_starts(str_from(r.body), STR("192.0.2.1|reg:443|127.0.0.1:")));
    CHECK(str_ends(str_from(r.body), STR("|x|1")));
    close(fd);
    fixture_stop(&f);
}

static void files(void)
{
    static const char *const paths[] = {"/file/1", "/file/10000", "/file/3000000",
                                        "/file/3000000?cold", "/file/5000?cold"};
    static const uint64_t sizes[] = {1, 10000, 3000000, 3000000, 5000};
    start();
    int fd = client_connect(&f);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        client_ask(fd, text, &r, 200);
        uint32_t sum = pattern_sum(0, "<<", 2);
        for (uint64_t at = 0; at < sizes[i]; at++) {
            char byte;
            pattern_fill(&byte, at, 1);
            sum = pattern_sum(sum, &byte, 1);
        }
        sum = pattern_sum(sum, ">", 1);
        CHECK_INT(r.body_n, sizes[i] + 3);
        CHECK_INT(r.body_sum, sum);
    }
    close(fd);
    fixture_stop(&f);
}

static void short_file_ends_the_connection(void)
{
    start();
    int fd = client_connect(&f);
    client_ask(fd, "GET /file/10000?short HTTP/1.1\r\n" HOST "\r\n", &r, 0);
    CHECK_INT(r.body_n, 10002);
    close(fd);
    fixture_stop(&f);
    CHECK(f.last_done.unreadable);
}

/* Timeouts: small values, and waiting for the end of the connection; not so small where a request
 * must come in time. */

static void slow_head_is_408(void)
{
    struct http_config config = fixture_config();
    config.limits.head_ms = 300;
    fixture_start(&f, config, 1, 10);
    int fd = client_connect(&f);
    client_ask(fd, "GET /hello HT", &r, 408);
    CHECK(client_ends(fd));
    CHECK_INT(fixture_hits(&f, LIMIT_HEAD_TIME), 1);
    close(fd);
    fd = client_connect(&f); /* a later request too */
    client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    client_ask(fd, "G", &r, 408);
    CHECK(client_ends(fd));
    close(fd);
    fixture_stop(&f);
}

static void idle_connections_are_closed(void)
{
    struct http_config config = fixture_config();
    config.limits.idle_ms = 300;
    fixture_start(&f, config, 1, 10);
    int fd = client_connect(&f);
    CHECK(client_ends(fd));
    close(fd);
    fd = client_connect(&f);
    client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    CHECK(client_ends(fd));
    close(fd);
    fixture_stop(&f);
    CHECK_INT(f.done, 1);
}

static void stalled_send_is_given_up(void)
{
    struct http_config config = fixture_config();
    config.limits.send_ms = 60;
    fixture_start(&f, config, 1, 10);
    int fd = client_connect(&f);
    client_send(fd, "GET /file/30000000 HTTP/1.1\r\n" HOST "\r\n");
    fixture_wait(&f, &f.done, 1); /* nothing is read here */
    CHECK_INT(fixture_hits(&f, LIMIT_SEND_TIME), 1);
    CHECK(f.last_done.first_byte_us < f.last_done.elapsed_us);
    close(fd);
    fixture_stop(&f);
    CHECK_INT(f.done_status, 200);
    CHECK(f.done_out < 30000000);
}

/* Limits. */

static void full_queue_is_503(void)
{
    fixture_start(&f, fixture_config(), 1, 1);
    int busy = client_connect(&f), fds[2] = {client_connect(&f), client_connect(&f)};
    client_send(busy, "GET /gate HTTP/1.1\r\n" HOST "\r\n");
    gate_wait_arrived(&f.gate, 1);
    /* One place in the queue for two requests: whoever comes second is refused at once. */
    struct pollfd polls[2];
    for (int i = 0; i < 2; i++) {
        client_send(fds[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    CHECK_INT(poll(polls, 2, 20000), 1);
    int refused = polls[1].revents != 0;
    client_reply(fds[refused], &r, false);
    CHECK_INT(r.status, 503);
    CHECK(reply_has(&r, "Retry-After: 1"));
    CHECK(!strstr(r.head, "Connection: close"));
    CHECK_INT(fixture_hits(&f, LIMIT_QUEUE), 1);
    gate_open(&f.gate, 1);
    client_reply(fds[1 - refused], &r, false);
    CHECK_INT(r.status, 200);
    client_ask(fds[refused], "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    close(busy);
    close(fds[0]);
    close(fds[1]);
    fixture_stop(&f);
}

static void what_a_request_took_is_told(void)
{
    int64_t waits = (int64_t)metric_observed_at(METRIC_WORKER_WAIT, 0);
    unsigned connections = 0;
    uint64_t bytes = 0, used = 0, max = 0;
    fixture_start(&f, fixture_config(), 1, 10);
    int first = client_connect(&f), second = client_connect(&f);
    client_send(first, "GET /gate HTTP/1.1\r\n" HOST "\r\n");
    gate_wait_arrived(&f.gate, 1);
    CHECK_INT(pool_load(f.pool).busy, 1);
    client_send(second, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    while (pool_load(f.pool).waiting == 0)
        sched_yield();
    CHECK_INT(pool_load(f.pool).waiting, 1);
    unsigned total = 0, reactors = 0;
    for (; http_server_reactor(f.server, reactors, &connections, &bytes); reactors++)
        total += connections;
    CHECK_INT(reactors, 2);
    CHECK_INT(total, 2);
    http_server_memory(f.server, &used, &max);
    CHECK(max > 0 && used == 0);
    gate_open(&f.gate, 1);
    fixture_wait(&f, &f.done, 2);
    CHECK(f.last_done.by_worker && f.last_done.worker_us <= f.last_done.elapsed_us);
    CHECK(f.last_done.first_byte_us <= f.last_done.elapsed_us);
    CHECK_INT((int64_t)metric_observed_at(METRIC_WORKER_WAIT, 0) - waits, 2);
    client_reply(second, &r, false);
    client_ask(second, "GET /quick HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    fixture_wait(&f, &f.done, 3);
    CHECK(!f.last_done.by_worker && f.last_done.worker_us == 0);
    CHECK_INT((int64_t)metric_observed_at(METRIC_WORKER_WAIT, 0) - waits, 2);
    close(first);
    close(second);
    fixture_stop(&f);
}

static void connection_limit(void)
{
    struct http_config config = fixture_config();
    config.limits.connections_max = 2;
    fixture_start(&f, config, 1, 10);
    int a = client_connect(&f), b = client_connect(&f), c = client_connect(&f);
    client_ask(a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    client_ask(b, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    client_send(c, "GET /hello HTTP/1.1\r\n" HOST "\r\n"); /* waits in the kernel's queue */
    client_ask(a, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    CHECK_INT(http_server_connections(f.server), 2);
    close(a);
    client_reply(c, &r, false);
    CHECK_INT(r.status, 200);
    CHECK(fixture_hits(&f, LIMIT_CONNECTIONS) > 0);
    close(b);
    close(c);
    fixture_stop(&f);
}

/* Draining. */

struct drainer {
    struct fixture *f;
    uint64_t grace_ms;
};

static void *drain_main(void *arg)
{
    struct drainer *d = arg;
    http_server_drain(d->f->server, d->grace_ms);
    return NULL;
}

static void drain_finishes_what_runs(void)
{
    pthread_t thread;
    struct drainer d = {&f, 20000};
    struct http_config config = fixture_config();
    config.reactors_n = 1; /* so that one closed connection shows that all know of the drain */
    fixture_start(&f, config, 4, 100);
    int idle = client_connect(&f), busy = client_connect(&f);
    client_ask(idle, "GET /quick HTTP/1.1\r\n" HOST "\r\n", &r, 200);
    client_send(busy, "GET /gate HTTP/1.1\r\n" HOST "\r\n");
    gate_wait_arrived(&f.gate, 1);
    pthread_create(&thread, NULL, drain_main, &d);
    CHECK(client_ends(idle));
    gate_open(&f.gate, 1);
    client_reply(busy, &r, false);
    CHECK_INT(r.status, 200);
    CHECK(reply_has(&r, "Connection: close"));
    close(busy); /* the server lingers until the client is through */
    pthread_join(thread, NULL);
    CHECK_INT(http_server_connections(f.server), 0);
    close(idle);
    fixture_stop(&f);
}

static void drain_without_grace_cuts(void)
{
    pthread_t thread;
    struct drainer d = {&f, 0};
    start();
    int busy = client_connect(&f), sending = client_connect(&f), head = client_connect(&f);
    client_send(busy, "GET /gate HTTP/1.1\r\n" HOST "\r\n");
    gate_wait_arrived(&f.gate, 1);
    client_send(sending, "GET /file/30000000 HTTP/1.1\r\n" HOST "\r\n");
    char first[1];
    CHECK_INT(recv(sending, first, 1, 0), 1);
    client_send(head, "GET /he");
    pthread_create(&thread, NULL, drain_main, &d);
    CHECK(client_ends(head));
    client_reply(busy, &r, false); /* cut, though its handler still runs */
    CHECK_INT(r.status, 0);
    gate_open(&f.gate, 1); /* drain waits for the handler */
    pthread_join(thread, NULL);
    CHECK_INT(http_server_connections(f.server), 0);
    close(busy);
    close(sending);
    close(head);
    fixture_stop(&f);
    CHECK_INT(f.done, 2);
}

static void new_reports_what_is_wrong(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct http_server *s = NULL;
    struct http_config config = fixture_config();
    const str bad[] = {STR("nonsense")};
    start();
    config.trusted_proxies = bad;
    config.trusted_proxy_n = 1;
    CHECK_INT(http_server_new(&s, &config, &a, &why), ERR_CONFIG);
    CHECK(str_contains(why.message, STR("\"nonsense\"")));
    CHECK(!http_server_address(f.server, 1).p);
    fixture_stop(&f);
}

TESTS({"answers and keeps alive", answers_and_keeps_alive},
      {"quick handlers run on the reactor", quick_handlers_run_on_the_reactor},
      {"pipelines in order", pipelines_in_order}, {"pipelines bodies too", pipelines_bodies_too},
      {"pipelines take turns", pipelines_take_turns}, {"HEAD has no body", head_has_no_body},
      {"Connection: close", connection_close}, {"errors are rendered", errors_are_rendered},
      {"bad heads", bad_heads}, {"heads in pieces", heads_in_pieces},
      {"trusted proxies", trusted_proxies}, {"files", files},
      {"a short file ends the connection", short_file_ends_the_connection},
      {"a slow head is 408", slow_head_is_408},
      {"idle connections are closed", idle_connections_are_closed},
      {"a stalled send is given up", stalled_send_is_given_up},
      {"what a request took is told", what_a_request_took_is_told},
      {"a full queue is 503", full_queue_is_503}, {"connection limit", connection_limit},
      {"drain finishes what runs", drain_finishes_what_runs},
      {"drain without grace cuts", drain_without_grace_cuts},
      {"new reports what is wrong", new_reports_what_is_wrong});

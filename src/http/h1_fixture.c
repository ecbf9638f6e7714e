#include "http/h1_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Gates. */

void gate_pass(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->arrived++;
    pthread_cond_broadcast(&g->changed);
    while (g->open == 0)
        pthread_cond_wait(&g->changed, &g->lock);
    g->open--;
    pthread_mutex_unlock(&g->lock);
}

void gate_open(struct gate *g, unsigned n)
{
    pthread_mutex_lock(&g->lock);
    g->open += n;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void gate_wait_arrived(struct gate *g, unsigned n)
{
    pthread_mutex_lock(&g->lock);
    while (g->arrived < n)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

/* Content. */

void pattern_fill(char *p, uint64_t offset, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)((offset + i) * 31 + (offset + i) / 251);
}

uint32_t pattern_sum(uint32_t sum, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = sum * 16777619u + (uint8_t)p[i] + 1;
    return sum;
}

/* A sink that adds up what it gets, in order, on a strand; or holds it. */

struct test_sink {
    struct sink sink;
    struct fixture *f;
    struct strand strand;
    uint64_t bytes;
    uint32_t sum;
    uint64_t fail_at; /* failed() from this many bytes on; 0: never */
    atomic_bool failed;
};

static void account(struct test_sink *s, struct iobuf *b)
{
    CHECK_INT(b->offset, s->bytes);
    s->bytes += b->n;
    s->sum = pattern_sum(s->sum, b->p, b->n);
    if (s->fail_at && s->bytes >= s->fail_at)
        atomic_store(&s->failed, true);
}

static void sink_step(struct task *t)
{
    struct iobuf *b = (struct iobuf *)((char *)t - offsetof(struct iobuf, steps[0]));
    account(b->sink, b);
    iobuf_unref(b);
}

static void sink_push(struct sink *sink, struct iobuf *b)
{
    struct test_sink *s = (struct test_sink *)sink;
    struct fixture *f = s->f;
    CHECK(b->n > 0 && b->n <= b->cap);
    iobuf_ref(b);
    pthread_mutex_lock(&f->lock);
    bool hold = f->hold;
    if (b->cap > f->cap_max)
        f->cap_max = b->cap;
    if (hold) {
        account(s, b);
        if (f->held_n == HELD_MAX)
            abort();
        f->held[f->held_n++] = b;
        f->held_bytes += b->cap;
        if (f->held_bytes > f->held_bytes_max)
            f->held_bytes_max = f->held_bytes;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    if (hold)
        return;
    b->sink = s;
    b->steps[0].run = sink_step;
    strand_post(&s->strand, &b->steps[0]);
}

static void sink_over(struct test_sink *s, unsigned *counter, bool answered)
{
    strand_release(&s->strand);
    pthread_mutex_lock(&s->f->lock);
    (*counter)++;
    s->f->answered_aborts += answered;
    pthread_cond_broadcast(&s->f->changed);
    pthread_mutex_unlock(&s->f->lock);
    free(s);
}

static enum err sink_finish(struct sink *sink, struct request *req, struct response *res)
{
    struct test_sink *s = (struct test_sink *)sink;
    res->status = 201;
    response_memory(res,
                    arena_printf(req->arena, "%llu %08x", (unsigned long long)s->bytes, s->sum));
    sink_over(s, &s->f->finished, false);
    return OK;
}

static enum err sink_abort(struct sink *sink, struct request *req, struct response *res)
{
    struct test_sink *s = (struct test_sink *)sink;
    bool failed = atomic_load(&s->failed);
    sink_over(s, &s->f->aborted, res != NULL);
    return failed ? fail(req, ERR_NO_SPACE, "the sink is full") : OK;
}

static bool sink_failed(struct sink *sink)
{
    return atomic_load(&((struct test_sink *)sink)->failed);
}

static const struct sink_ops sink_ops = {sink_push, sink_finish, sink_abort, sink_failed};

static enum err new_sink(struct request *req, struct response *res, uint64_t fail_at)
{
    struct fixture *f = req->app;
    struct test_sink *s = calloc(1, sizeof *s);
    s->sink.ops = &sink_ops;
    s->f = f;
    s->fail_at = fail_at;
    strand_init(&s->strand, f->pool);
    res->sink = &s->sink;
    return OK;
}

/* Handlers. */

static enum err text(struct response *res, int status, str body)
{
    res->status = status;
    response_header(res, "Content-Type", STR("text/plain"));
    response_memory(res, body);
    return OK;
}

static enum err get_hello(struct request *req, struct response *res)
{
    CHECK(req->worker >= 0);
    return text(res, 200, STR("hello"));
}

static enum err get_quick(struct request *req, struct response *res)
{
    CHECK_INT(req->worker, WORKER_NONE);
    return text(res, 200, STR("quick"));
}

/* A reactor that has to wait. */
static enum err get_quick_gate(struct request *req, struct response *res)
{
    gate_pass(&((struct fixture *)req->app)->gate);
    return text(res, 200, STR("passed"));
}

/* How many were done before. */
static enum err get_done(struct request *req, struct response *res)
{
    struct fixture *f = req->app;
    pthread_mutex_lock(&f->lock);
    unsigned n = f->done;
    pthread_mutex_unlock(&f->lock);
    return text(res, 200, arena_printf(req->arena, "%u", n));
}

static enum err get_maybe(struct request *req, struct response *res)
{
    response_header(res, "X-Run", STR("1"));
    if (req->worker == WORKER_NONE)
        return fail(req, ERR_WOULD_BLOCK, "not in memory");
    CHECK_INT(req->error.code, OK);
    return text(res, 200, STR("slow"));
}

static enum err get_about(struct request *req, struct response *res)
{
    return text(res, 200,
                arena_printf(req->arena, "%.*s|%.*s|%.*s|%.*s|%d", STR_ARG(req->client),
                             STR_ARG(req->host), STR_ARG(req->local), STR_ARG(req->args[0]),
                             req->secure));
}

static enum err get_gate(struct request *req, struct response *res)
{
    struct fixture *f = req->app;
    gate_pass(&f->gate);
    return text(res, 200, STR("passed"));
}

static enum err get_error(struct request *req, struct response *res)
{
    response_header(res, "X-Kept", STR("yes"));
    res->status = 200;
    response_memory(res, STR("dropped"));
    return fail(req, ERR_DENIED, "not for you");
}

static enum err get_nothing(struct request *req, struct response *res)
{
    return OK;
}

static enum err get_status(struct request *req, struct response *res)
{
    uint64_t status;
    if (!str_u64(req->args[0], &status))
        return ERR_BAD_REQUEST;
    return text(res, (int)status, STR("text"));
}

static enum err post_small(struct request *req, struct response *res)
{
    return text(res, 200, req->body);
}

static enum err post_sum(struct request *req, struct response *res)
{
    return text(res, 200,
                arena_printf(req->arena, "%zu %08x", req->body.n,
                             pattern_sum(0, req->body.p, req->body.n)));
}

static enum err put_stream(struct request *req, struct response *res)
{
    return new_sink(req, res, 0);
}

static enum err put_failing(struct request *req, struct response *res)
{
    return new_sink(req, res, 1);
}

static enum err put_refused(struct request *req, struct response *res)
{
    return fail(req, ERR_DENIED, "no");
}

/* head memory, a pattern file of args[0] bytes, tail memory */
static enum err get_file(struct request *req, struct response *res)
{
    static atomic_uint serial;
    uint64_t n;
    if (!str_u64(req->args[0], &n))
        return ERR_BAD_REQUEST;
    char path[4096], block[4096];
    snprintf(path, sizeof path, "%s/file%u", test_dir(), atomic_fetch_add(&serial, 1));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (uint64_t at = 0; at < n; at += sizeof block) {
        size_t part = n - at < sizeof block ? (size_t)(n - at) : sizeof block;
        pattern_fill(block, at, part);
        CHECK_INT(write(fd, block, part), part);
    }
    unlink(path);
    bool cold = str_eq(req->query, STR("cold"));
    if (cold) {
        CHECK_INT(fsync(fd), 0);
        CHECK_INT(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    }
    res->status = 200;
    response_memory(res, STR("<"));
    response_memory(res, STR("<"));
    response_file(res, file_new(fd, n), 0, str_eq(req->query, STR("short")) ? n + 1 : n);
    response_memory(res, STR(">"));
    return OK;
}

static const struct route routes[] = {
    {METHOD_GET, "/hello", get_hello},
    {METHOD_GET, "/quick", get_quick, .quick = true},
    {METHOD_GET, "/quick-gate", get_quick_gate, .quick = true},
    {METHOD_GET, "/done", get_done, .quick = true},
    {METHOD_GET, "/maybe", get_maybe, .quick = true},
    {METHOD_GET, "/about/{x}", get_about},
    {METHOD_GET, "/gate", get_gate},
    {METHOD_GET, "/error", get_error},
    {METHOD_GET, "/nothing", get_nothing},
    {METHOD_GET, "/status/{n}", get_status},
    {METHOD_GET, "/file/{n}", get_file},
    {METHOD_POST, "/small", post_small, BODY_SMALL, 1000, ERR_MANIFEST_TOO_LARGE},
    {METHOD_POST, "/sum", post_sum, BODY_SMALL},
    {METHOD_POST, "/drain", get_hello, BODY_DRAIN},
    {METHOD_PUT, "/stream", put_stream, BODY_STREAM},
    {METHOD_PUT, "/failing", put_failing, BODY_STREAM},
    {METHOD_PUT, "/refused", put_refused, BODY_STREAM},
    {METHOD_GET, NULL, NULL},
};
static const struct route *const tables[] = {routes};

static void render_error(struct request *req, struct response *res, enum err e)
{
    res->status = err_status(e);
    response_memory(res,
                    arena_printf(req->arena, "%s: %.*s", err_name(e), STR_ARG(req->error.message)));
}

static void on_done(const struct request *req, const struct http_done *done)
{
    struct fixture *f = req->app;
    pthread_mutex_lock(&f->lock);
    f->done++;
    f->done_status = done->status;
    f->done_in = done->body_in_bytes;
    f->done_out = done->body_out_bytes;
    f->last_done = *done;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

struct http_config fixture_config(void)
{
    return (struct http_config){
        .reactors_n = 2,
        .limits = {.connections_max = 100,
                   .head_bytes_max = 8192,
                   .head_fields_max = 20,
                   .target_bytes_max = 1024,
                   .body_bytes_max = 4 << 20,
                   .receive_memory_bytes = 8 << 20,
                   .upload_window_bytes = 1 << 20,
                   .ranges_max = 16,
                   .head_ms = 60000,
                   .idle_ms = 60000,
                   .body_ms = 60000,
                   .body_bytes_per_second_min = 1,
                   .send_ms = 60000,
                   .drain_ms = 60000},
        .router = {tables, 1},
        .render_error = render_error,
        .on_done = on_done,
    };
}

void fixture_start(struct fixture *f, struct http_config config, unsigned workers, unsigned queue)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    *f = (struct fixture){.done_status = -1};
    (void)test_dir(); /* made here, not by two workers at once */
    for (unsigned i = 0; i < LIMIT_COUNT; i++)
        f->hits[i] = metric_value_at(METRIC_LIMIT_HITS, i);
    pthread_mutex_init(&f->gate.lock, NULL);
    pthread_cond_init(&f->gate.changed, NULL);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    if (pool_new(&f->pool, workers, queue))
        abort();
    const struct address loopback = {.family = AF_INET, .ip = {127, 0, 0, 1}};
    struct listener listener = {.tls = false};
    if (listener_open(&loopback, &listener.fd, &listener.address, &a, &why))
        abort();
    config.listeners = &listener;
    config.listener_n = 1;
    config.pool = f->pool;
    config.app = f;
    if (http_server_new(&f->server, &config, &a, &why) || http_server_start(f->server)) {
        test_fail(__FILE__, __LINE__, "%.*s", STR_ARG(why.message));
        abort();
    }
}

int64_t fixture_hits(const struct fixture *f, enum limit limit)
{
    return metric_value_at(METRIC_LIMIT_HITS, limit) - f->hits[limit];
}

void fixture_stop(struct fixture *f)
{
    http_server_drain(f->server, 20000);
    CHECK_INT(http_server_connections(f->server), 0);
    http_server_free(f->server);
    pool_free(f->pool);
    pthread_mutex_destroy(&f->gate.lock);
    pthread_cond_destroy(&f->gate.changed);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
}

/* With the lock held, which is given up. */
static void release_held(struct fixture *f)
{
    struct iobuf *held[HELD_MAX];
    size_t n = f->held_n;
    memcpy(held, f->held, n * sizeof held[0]);
    f->held_n = 0;
    f->held_bytes = 0;
    pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < n; i++)
        iobuf_unref(held[i]);
}

void fixture_release(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->hold = false;
    release_held(f);
}

bool fixture_release_next(struct fixture *f, unsigned n)
{
    pthread_mutex_lock(&f->lock);
    while (f->held_n == 0 && f->finished + f->aborted < n)
        pthread_cond_wait(&f->changed, &f->lock);
    bool any = f->held_n > 0;
    release_held(f);
    return any;
}

void fixture_wait(struct fixture *f, const unsigned *counter, unsigned n)
{
    pthread_mutex_lock(&f->lock);
    while (*counter < n)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

void fixture_wait_held(struct fixture *f, size_t bytes)
{
    pthread_mutex_lock(&f->lock);
    while (f->held_bytes < bytes)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

/* Client. */

int client_connect(struct fixture *f)
{
    uint64_t port;
    str address = http_server_address(f->server, 0);
    if (!str_u64(str_skip(address, str_rfind(address, ':') + 1), &port))
        abort();
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    CHECK_INT(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

void client_send_bytes(int fd, const void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t sent = send(fd, (const char *)p + at, n - at, MSG_NOSIGNAL);
        if (sent < 0)
            return; /* the server closed; the reply tells */
        at += (size_t)sent;
    }
}

void client_send(int fd, const char *text)
{
    client_send_bytes(fd, text, strlen(text));
}

/* One byte at a time, so that the next response stays in the socket. */
static bool read_head(int fd, struct reply *r)
{
    size_t n = 0;
    while (n + 1 < sizeof r->head) {
        ssize_t got = recv(fd, r->head + n, 1, 0);
        if (got <= 0) {
            if (got < 0 && errno == EAGAIN)
                test_fail(__FILE__, __LINE__, "the server does not answer");
            return false;
        }
        r->head[++n] = '\0';
        if (n >= 4 && memcmp(r->head + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static void read_body(int fd, struct reply *r, uint64_t length)
{
    char block[1 << 16];
    while (r->body_n < length) {
        uint64_t want = length - r->body_n;
        ssize_t got = recv(fd, block, want < sizeof block ? (size_t)want : sizeof block, 0);
        if (got <= 0) {
            r->status = 0;
            return;
        }
        size_t n = (size_t)got;
        r->body_sum = pattern_sum(r->body_sum, block, n);
        for (size_t i = 0; i < n && r->body_n + i + 1 < sizeof r->body; i++) {
            r->body[r->body_n + i] = block[i];
            r->body[r->body_n + i + 1] = '\0';
        }
        r->body_n += n;
    }
}

void client_reply(int fd, struct reply *r, bool head_only)
{
    memset(r, 0, sizeof *r);
    if (!read_head(fd, r))
        return;
    uint64_t length = 0, status = 0;
    if (!str_starts(str_from(r->head), STR("HTTP/1.1 ")) ||
        !str_u64(str_make(r->head + 9, 3), &status))
        return;
    r->status = (int)status;
    const char *field = strstr(r->head, "\r\nContent-Length: ");
    if (field) {
        str value = str_from(field + 18);
        CHECK(str_u64(str_first(value, str_find(value, '\r')), &length));
    }
    if (!head_only && status != 204 && status != 304 && status != 100)
        read_body(fd, r, length);
}

void client_ask(int fd, const char *request, struct reply *r, int status)
{
    client_send(fd, request);
    client_reply(fd, r, false);
    CHECK_INT(r->status, status);
}

bool reply_has(const struct reply *r, const char *line)
{
    const char *at = strstr(r->head, line);
    return at && at > r->head && at[-1] == '\n' && at[strlen(line)] == '\r';
}

bool client_ends(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

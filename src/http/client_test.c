/* The client against scripted peers, and against the admin socket of a whole server. */
#include "http/client.h"

#include "http/server.h"
#include "net/listener.h"
#include "net/unix_socket.h"

#include "base/test.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct arena arena;

static str path_of(const char *name)
{
    return arena_printf(&arena, "%s/%s", test_dir(), name);
}

static enum err ask(str socket, enum method method, const char *target, const char *body,
                    struct client_answer *ret, struct error *why)
{
    const struct client_request request = {
        .socket = socket,
        .method = method,
        .target = str_from(target),
        .body = str_from(body),
        .timeout_ms = 20000,
        .answer_bytes_max = 1 << 20,
    };
    *why = (struct error){0};
    return client_exchange(&request, &arena, ret, why);
}

/* Answers one request with a text, whatever it asks. */
struct peer {
    int listener;
    const char *text;
    bool linger; /* reads until the client is gone */
    pthread_t thread;
};

static void *peer_main(void *arg)
{
    struct peer *p = arg;
    char byte, request[4096];
    struct sockaddr_storage from;
    socklen_t from_n = sizeof from;
    int fd = accept4(p->listener, (struct sockaddr *)&from, &from_n, SOCK_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(recv(fd, request, sizeof request, 0) > 0);
    CHECK_INT(send(fd, p->text, strlen(p->text), MSG_NOSIGNAL), strlen(p->text));
    while (p->linger && recv(fd, &byte, 1, 0) > 0) {
    }
    close(fd);
    return NULL;
}

static enum err ask_peer(const char *text, bool linger, uint64_t timeout_ms,
                         struct client_answer *ret, struct error *why)
{
    struct peer p = {.text = text, .linger = linger};
    const struct client_request request = {
        .socket = path_of("peer"),
        .method = METHOD_GET,
        .target = STR("/"),
        .timeout_ms = timeout_ms,
        .answer_bytes_max = 100,
    };
    *why = (struct error){0};
    CHECK_INT(unix_listen(request.socket, 0600, &p.listener, &arena, why), OK);
    int blocking = fcntl(p.listener, F_GETFL) & ~O_NONBLOCK;
    CHECK_INT(fcntl(p.listener, F_SETFL, blocking), 0);
    CHECK_INT(pthread_create(&p.thread, NULL, peer_main, &p), 0);
    enum err e = client_exchange(&request, &arena, ret, why);
    pthread_join(p.thread, NULL);
    close(p.listener);
    return e;
}

static void scripted(void)
{
    struct client_answer answer;
    struct error why;
    CHECK_INT(
        ask_peer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true, 20000, &answer, &why), OK);
    CHECK_STR(answer.body, "hi");
    CHECK_INT(ask_peer("HTTP/1.1 200 OK\r\n\r\nuntil the end", false, 20000, &answer, &why), OK);
    CHECK_STR(answer.body, "until the end");
    CHECK_INT(ask_peer("", false, 20000, &answer, &why), ERR_CLOSED);
    CHECK(str_contains(why.message, STR("/peer closed the connection")));
    CHECK_INT(ask_peer("220 mail.example\r\n\r\n", true, 20000, &answer, &why), ERR_SYNTAX);
    CHECK(str_contains(why.message, STR("/peer does not speak")));
    CHECK_INT(
        ask_peer("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", true, 20000, &answer, &why),
        ERR_LIMIT);
    CHECK_INT(ask_peer("HTTP/1.1 200 OK\r\n", true, 10, &answer, &why), ERR_TIMEOUT);
    CHECK(str_contains(why.message, STR("/peer does not answer")));
    CHECK_INT(ask(path_of("none"), METHOD_GET, "/", NULL, &answer, &why), ERR_NOT_FOUND);
    arena_release(&arena);
}

/* Who asks: "admin UID" or "stranger", and the body. */
static enum err who(struct request *req, struct response *res)
{
    res->status = 200;
    response_memory(res, req->admin ? arena_printf(req->arena, "admin %u", req->admin_uid)
                                    : STR("stranger"));
    response_memory(res, STR(" at "));
    response_memory(res, req->local);
    response_memory(res, req->body);
    return OK;
}

static void render_error(struct request *req, struct response *res, enum err e)
{
    response_json(res, err_status(e), STR("{}"));
}

static void on_done(const struct request *req, const struct http_done *done)
{
}

static void ask_tcp(const struct http_server *server, const char *want)
{
    struct address address;
    struct sockaddr_storage sa;
    char text[4096];
    size_t n = 0;
    str request = STR("GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    CHECK(address_parse(http_server_address(server, 0), &address));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&sa, address_to_sockaddr(&address, &sa)), 0);
    CHECK_INT(send(fd, request.p, request.n, 0), request.n);
    for (ssize_t got; (got = recv(fd, text + n, sizeof text - n, 0)) > 0;)
        n += (size_t)got;
    CHECK(str_contains(str_make(text, n), str_from(want)));
    close(fd);
}

static const struct route routes[] = {{METHOD_GET, "/who", who},
                                      {METHOD_POST, "/who", who, BODY_SMALL},
                                      {METHOD_POST, "/little", who, BODY_SMALL, 1},
                                      {0}};

static void admin_socket(void)
{
    static const str trusted[] = {STR_INIT("0.0.0.0/0")};
    const struct address loopback = {.family = AF_INET, .ip = {127, 0, 0, 1}};
    struct listener listener = {.tls = false};
    static const struct route *const tables[] = {routes};
    struct http_config config = {
        .listeners = &listener,
        .listener_n = 1,
        .admin_socket = path_of("admin.sock"),
        .reactors_n = 2,
        .limits = {.connections_max = 10,
                   .head_bytes_max = 8192,
                   .head_fields_max = 20,
                   .target_bytes_max = 1024,
                   .body_bytes_max = 1 << 20,
                   .receive_memory_bytes = 8 << 20,
                   .upload_window_bytes = 1 << 20,
                   .head_ms = 60000,
                   .idle_ms = 60000,
                   .body_ms = 60000,
                   .send_ms = 60000,
                   .drain_ms = 60000},
        .trusted_proxies = trusted,
        .trusted_proxy_n = 1,
        .router = {tables, 1},
        .render_error = render_error,
        .on_done = on_done,
    };
    struct http_server *server = NULL, *second = NULL;
    struct client_answer answer = {0};
    struct error why = {0};
    CHECK_INT(pool_new(&config.pool, 2, 10), OK);
    CHECK_INT(listener_open(&loopback, &listener.fd, &listener.address, &arena, &why), OK);
    CHECK_INT(http_server_new(&server, &config, &arena, &why), OK);
    CHECK_INT(http_server_start(server), OK);
    CHECK(http_server_address(server, 0).p && !http_server_address(server, 1).p);
    struct stat st;
    CHECK_INT(stat(config.admin_socket.p, &st), 0);
    CHECK_INT(st.st_mode, S_IFSOCK | 0600);

    str me = arena_printf(&arena, "admin %u at localhost", geteuid());
    CHECK_INT(ask(config.admin_socket, METHOD_GET, "/who", NULL, &answer, &why), OK);
    CHECK_INT(answer.status, 200);
    CHECK(str_eq(answer.body, me));
    CHECK_INT(ask(config.admin_socket, METHOD_POST, "/who", "{\"a\":1}", &answer, &why), OK);
    CHECK(str_ends(answer.body, STR("localhost{\"a\":1}")));
    CHECK_INT(ask(config.admin_socket, METHOD_POST, "/little", "{\"a\":1}", &answer, &why), OK);
    CHECK_INT(answer.status, 413);
    ask_tcp(server, "stranger");

    CHECK_INT(listener_open(&loopback, &listener.fd, &listener.address, &arena, &why), OK);
    CHECK_INT(http_server_new(&second, &config, &arena, &why), ERR_BUSY);
    CHECK(str_contains(why.message, config.admin_socket));
    CHECK_INT(ask(config.admin_socket, METHOD_GET, "/who", NULL, &answer, &why), OK);
    http_server_free(server);
    CHECK_INT(stat(config.admin_socket.p, &st), -1);
    pool_free(config.pool);
    arena_release(&arena);
}

TESTS({"scripted", scripted}, {"admin socket", admin_socket})

#include "base/test.h"
#include "net/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

static int open_at(const char *text, struct address *bound)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct address address;
    int fd = -1;
    CHECK(address_parse(str_from(text), &address));
    enum err e = listener_open(&address, &fd, bound, &a, &why);
    CHECK_INT(e, OK);
    return fd;
}

static int connect_to(const struct address *to)
{
    struct sockaddr_storage sa;
    socklen_t n = address_to_sockaddr(to, &sa);
    int fd = socket(to->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&sa, n), 0);
    return fd;
}

static void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_INT(poll(&p, 1, 10000), 1);
}

static void accepts(void)
{
    struct address bound, peer;
    int listener = open_at("127.0.0.1:0", &bound), fd = -1;
    CHECK(bound.port != 0);
    CHECK_INT(listener_accept(listener, &fd, &peer), ERR_WOULD_BLOCK);
    int client = connect_to(&bound);
    wait_readable(listener);
    CHECK_INT(listener_accept(listener, &fd, &peer), OK);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    int no_delay = 0;
    socklen_t n = sizeof no_delay;
    CHECK_INT(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &n), 0);
    CHECK(no_delay);
    char out[ADDRESS_LEN_MAX];
    CHECK_STR(address_ip_text(&peer, out), "127.0.0.1");
    close(fd);
    close(client);
    close(listener);
}

static void wildcard_takes_both_families(void)
{
    struct address bound, peer;
    int listener = open_at("*:0", &bound), fd = -1;
    struct address v4 = {.family = AF_INET, .port = bound.port, .ip = {127, 0, 0, 1}};
    int client = connect_to(&v4);
    wait_readable(listener);
    CHECK_INT(listener_accept(listener, &fd, &peer), OK);
    CHECK_INT(peer.family, AF_INET);
    close(fd);
    close(client);
    close(listener);
}

static void address_in_use(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct address bound, again;
    int listener = open_at("127.0.0.1:0", &bound), fd = -1;
    CHECK(listener_open(&bound, &fd, &again, &a, &why) != OK);
    CHECK_INT(fd, -1);
    char text[ADDRESS_LEN_MAX];
    str want = arena_printf(&a, "address already in use: %.*s (another program",
                            STR_ARG(address_text(&bound, text)));
    CHECK(str_starts(why.message, want));
    close(listener);
}

static void foreign_address(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct address address, bound;
    int fd = -1;
    CHECK(address_parse(STR("192.0.2.1:0"), &address));
    CHECK(listener_open(&address, &fd, &bound, &a, &why) != OK);
    CHECK(str_contains(why.message, STR("192.0.2.1:0")));
    CHECK(str_contains(why.message, STR("--listen")));
}

static void out_of_descriptors(void)
{
    struct address bound, peer;
    int listener = open_at("127.0.0.1:0", &bound), fd = -1;
    int client = connect_to(&bound);
    wait_readable(listener);
    struct rlimit before, none;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_INT(listener_accept(listener, &fd, &peer), ERR_NO_FILES);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_INT(listener_accept(listener, &fd, &peer), OK); /* it had stayed in the queue */
    close(fd);
    close(client);
    close(listener);
}

TESTS({"accepts", accepts}, {"wildcard takes both families", wildcard_takes_both_families},
      {"address in use", address_in_use}, {"foreign address", foreign_address},
      {"out of descriptors", out_of_descriptors});

#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { BACKLOG = 4096 }; /* the kernel cuts it to net.core.somaxconn */

static const char *advice(int errnum)
{
    switch (errnum) {
    case EADDRINUSE:
        return "another program listens there; stop it or choose another port with --listen";
    case EACCES:
        return "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE; "
               "choose another port with --listen";
    case EADDRNOTAVAIL:
        return "this machine does not have that address; choose another with --listen";
    default:
        return "choose another address with --listen";
    }
}

static enum err refuse(struct arena *a, struct error *why, int errnum,
                       const struct address *address)
{
    char text[ADDRESS_LEN_MAX], reason[128];
    str at = address_text(address, text);
    const char *what = strerror_r(errnum, reason, sizeof reason);
    char first = what[0] >= 'A' && what[0] <= 'Z' ? (char)(what[0] | 0x20) : what[0];
    return error_set(a, why, errnum == EACCES ? ERR_PERMISSION : ERR_IO, "%c%s: %.*s (%s)", first,
                     what[0] ? what + 1 : "", STR_ARG(at), advice(errnum));
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

static int bind_and_listen(int fd, const struct address *address)
{
    struct sockaddr_storage sa;
    socklen_t n = address_to_sockaddr(address, &sa);
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0)
        return -1;
    if (address->family == AF_INET6 &&
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !address_is_any(address)) < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&sa, n) < 0 || listen(fd, BACKLOG) < 0)
        return -1;
    return 0;
}

enum err listener_open(const struct address *address, int *ret_fd, struct address *bound,
                       struct arena *a, struct error *why)
{
    struct address actual = *address;
    const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(actual.family, type, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && address_is_any(address)) {
        actual.family = AF_INET;
        fd = socket(AF_INET, type, 0);
    }
    if (fd < 0 || bind_and_listen(fd, &actual) < 0) {
        enum err e = refuse(a, why, errno, address);
        if (fd >= 0)
            close(fd);
        return e;
    }
    struct sockaddr_storage sa = {0};
    socklen_t n = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &n) == 0)
        address_from_sockaddr(&actual, &sa);
    *ret_fd = fd;
    *bound = actual;
    return OK;
}

str listener_text(const struct listener *l, struct arena *a)
{
    char text[ADDRESS_LEN_MAX];
    if (l->address.family == AF_UNSPEC)
        return arena_printf(a, "unix:%.*s", STR_ARG(l->path));
    return arena_str(a, address_text(&l->address, text));
}

enum err listener_accept(int listener_fd, int *ret_fd, struct address *peer)
{
    struct sockaddr_storage sa = {0};
    socklen_t n = sizeof sa;
    int fd = accept4(listener_fd, (struct sockaddr *)&sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        address_from_sockaddr(peer, &sa);
        *ret_fd = fd;
        return OK;
    }
    switch (errno) {
    case EAGAIN:
        return ERR_WOULD_BLOCK;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return ERR_NO_FILES;
    default: /* errors of the connection, which accept(2) reports as its own */
        return ERR_CLOSED;
    }
}

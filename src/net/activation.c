#include "net/activation.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_FD = 3 };

static int option_of(int fd, int name)
{
    int value = -1;
    socklen_t n = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &n) ? -1 : value;
}

static enum err take_one(int fd, struct listener *ret, struct arena *a, struct error *why)
{
    struct sockaddr_storage sa = {0};
    socklen_t n = sizeof sa;
    const struct sockaddr_un *un = (const struct sockaddr_un *)&sa;
    struct listener l = {.fd = fd, .inherited = true};
    if (option_of(fd, SO_TYPE) != SOCK_STREAM || option_of(fd, SO_ACCEPTCONN) != 1 ||
        getsockname(fd, (struct sockaddr *)&sa, &n))
        return error_set(a, why, ERR_CONFIG,
                         "descriptor %d, passed on by the service manager, is no listening stream "
                         "socket",
                         fd);
    address_from_sockaddr(&l.address, &sa);
    if (sa.ss_family == AF_UNIX) {
        size_t max = n > offsetof(struct sockaddr_un, sun_path)
                         ? n - offsetof(struct sockaddr_un, sun_path)
                         : 0;
        l.path = arena_str(a, str_make(un->sun_path, strnlen(un->sun_path, max)));
        if (l.path.n == 0)
            l.path = STR("@");
    } else if (l.address.family == AF_UNSPEC) {
        return error_set(a, why, ERR_CONFIG,
                         "descriptor %d, passed on by the service manager, is neither an internet "
                         "nor a unix socket",
                         fd);
    } else {
        const int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
        return error_set(a, why, ERR_IO, "descriptor %d, passed on by the service manager, fails",
                         fd);
    *ret = l;
    return OK;
}

/* The value, which stays valid, and the variable is gone. */
static str take_variable(const char *name, struct arena *a)
{
    str value = arena_str(a, str_from(getenv(name)));
    (void)unsetenv(name);
    return value;
}

enum err activation_take(struct activated **ret, size_t *ret_n, struct arena *a, struct error *why)
{
    uint64_t pid, n;
    str pid_text = take_variable("LISTEN_PID", a), n_text = take_variable("LISTEN_FDS", a),
        names = take_variable("LISTEN_FDNAMES", a), name;
    *ret_n = 0;
    if (!str_u64(pid_text, &pid) || pid != (uint64_t)getpid() || n_text.n == 0)
        return OK;
    if (!str_u64(n_text, &n) || n > ACTIVATION_SOCKETS_MAX)
        return error_set(a, why, ERR_CONFIG, "LISTEN_FDS is \"%.*s\"; at most %d sockets are taken",
                         STR_ARG(n_text), ACTIVATION_SOCKETS_MAX);
    struct activated *list = ARENA_ARRAY(a, n, struct activated);
    for (size_t i = 0; i < n; i++) {
        enum err e = take_one(FIRST_FD + (int)i, &list[i].listener, a, why);
        if (e)
            return e;
        list[i].name = str_next(&names, ':', &name) ? name : (str){0};
    }
    *ret = list;
    *ret_n = n;
    return OK;
}

#include "net/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, PRIVATE = 0600 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define FD_CLEANUP __attribute__((cleanup(close_fd)))

/* Fills the address. A path that is too long is reached through its open directory: *dir_fd, which
 * the caller closes (-1: none) when it is done with the address. */
static bool resolve(str path, struct sockaddr_un *sa, int *dir_fd, struct arena *a)
{
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    *dir_fd = -1;
    if (path.n < sizeof sa->sun_path) {
        memcpy(sa->sun_path, path.p, path.n);
        return true;
    }
    size_t slash = str_rfind(path, '/');
    *dir_fd = open(arena_cstr(a, str_first(path, slash + 1)), O_PATH | O_DIRECTORY | O_CLOEXEC);
    int n = snprintf(sa->sun_path, sizeof sa->sun_path, "/proc/self/fd/%d/%.*s", *dir_fd,
                     STR_ARG(str_skip(path, slash + 1)));
    if (slash == path.n || n >= (int)sizeof sa->sun_path)
        errno = ENAMETOOLONG;
    else if (*dir_fd >= 0)
        return true;
    return false;
}

static enum err failed(struct arena *a, struct error *why, const char *what, str path)
{
    int errnum = errno;
    enum err e = errnum == ENOENT || errnum == ECONNREFUSED ? ERR_NOT_FOUND
                 : errnum == EACCES || errnum == EPERM      ? ERR_PERMISSION
                                                            : err_from_errno(errnum);
    return error_set(a, why, e, "cannot %s %.*s: %s", what, STR_ARG(path), strerrordesc_np(errnum));
}

static bool bind_to(int fd, const struct sockaddr_un *sa)
{
    return bind(fd, (const struct sockaddr *)sa, sizeof *sa) == 0;
}

/* Makes room for a socket where something is. Two processes that do this at once may both succeed,
 * and the first is then no longer reached. The lock of the data directory keeps that from admin
 * sockets only: the others are made before it is taken, with the rights of the start. */
static enum err remove_stale(const struct sockaddr_un *sa, str path, struct arena *a,
                             struct error *why)
{
    struct stat st;
    if (lstat(sa->sun_path, &st))
        return errno == ENOENT ? OK : failed(a, why, "listen on", path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(a, why, ERR_EXISTS, "%.*s is there already and is no socket",
                         STR_ARG(path));
    FD_CLEANUP int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failed(a, why, "listen on", path);
    if (connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0 || errno == EAGAIN)
        return error_set(a, why, ERR_BUSY, "another process listens on %.*s", STR_ARG(path));
    if (errno != ECONNREFUSED || (unlink(sa->sun_path) && errno != ENOENT))
        return failed(a, why, "replace", path);
    return OK;
}

enum err unix_listen(str path, unsigned mode, int *ret_fd, struct arena *a, struct error *why)
{
    struct sockaddr_un sa;
    FD_CLEANUP int dir_fd = -1;
    FD_CLEANUP int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Linux gives the file the mode the socket had. */
    if (!resolve(path, &sa, &dir_fd, a) || fd < 0 || fchmod(fd, PRIVATE))
        return failed(a, why, "listen on", path);
    if (!bind_to(fd, &sa)) {
        if (errno != EADDRINUSE)
            return failed(a, why, "listen on", path);
        enum err e = remove_stale(&sa, path, a, why);
        if (e)
            return e;
        if (!bind_to(fd, &sa))
            return failed(a, why, "listen on", path);
    }
    if ((mode != PRIVATE && chmod(sa.sun_path, mode)) || listen(fd, BACKLOG))
        return failed(a, why, "listen on", path);
    *ret_fd = fd;
    fd = -1;
    return OK;
}

void unix_unlink(str path)
{
    ARENA_CLEANUP struct arena a = {0};
    (void)unlink(arena_cstr(&a, path));
}

enum err unix_connect(str path, int *ret_fd, struct arena *a, struct error *why)
{
    struct sockaddr_un sa;
    FD_CLEANUP int dir_fd = -1;
    FD_CLEANUP int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!resolve(path, &sa, &dir_fd, a) || fd < 0 ||
        connect(fd, (const struct sockaddr *)&sa, sizeof sa))
        return failed(a, why, "connect to", path);
    *ret_fd = fd;
    fd = -1;
    return OK;
}

bool unix_peer_uid(int fd, uint32_t *ret)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) || n != sizeof peer)
        return false;
    *ret = peer.uid;
    return true;
}

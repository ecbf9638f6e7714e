/* Plain TCP: each verb is one system call. */
#include "net/transport.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t result(ssize_t n, enum io wait)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? (ssize_t)wait : IO_FAILED;
}

static int tcp_handshake(struct transport *t)
{
    (void)t;
    return 1;
}

static ssize_t tcp_read(struct transport *t, void *bytes, size_t n)
{
    return result(recv(t->fd, bytes, n, 0), IO_WAIT_READ);
}

static ssize_t tcp_writev(struct transport *t, const struct iovec *v, size_t n, bool more)
{
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    if (n == 1) /* costs less than a vector of one */
        return result(send(t->fd, v->iov_base, v->iov_len, flags), IO_WAIT_WRITE);
    const struct msghdr message = {.msg_iov = (struct iovec *)v, .msg_iovlen = n};
    return result(sendmsg(t->fd, &message, flags), IO_WAIT_WRITE);
}

/* The calling thread has SIGPIPE blocked: sendfile has no flag against it. */
static ssize_t tcp_sendfile(struct transport *t, int file_fd, uint64_t offset, size_t n)
{
    off_t at = (off_t)offset;
    return result(sendfile(t->fd, file_fd, &at, n), IO_WAIT_WRITE);
}

static void tcp_shutdown_write(struct transport *t)
{
    (void)shutdown(t->fd, SHUT_WR);
}

static void tcp_close(struct transport *t)
{
    close(t->fd);
    t->fd = -1;
}

static const struct transport_ops tcp_ops = {
    .handshake = tcp_handshake,
    .read = tcp_read,
    .writev = tcp_writev,
    .sendfile = tcp_sendfile,
    .shutdown_write = tcp_shutdown_write,
    .close = tcp_close,
};

void transport_init_tcp(struct transport *t, int fd)
{
    *t = (struct transport){.ops = &tcp_ops, .fd = fd};
}

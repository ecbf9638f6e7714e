#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCRATCH_BYTES = 1 << 18 };

SSL_CTX *tls_context(const struct load *l)
{
    static const unsigned char h1[] = "\x08http/1.1", h2[] = "\x02h2";
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") ||
        SSL_CTX_set_alpn_protos(ctx, l->h2 ? h2 : h1, l->h2 ? sizeof h2 - 1 : sizeof h1 - 1) != 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    /* Several records to a system call. */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, 1 << 16);
    return ctx;
}

static bool shake_hands(const struct load *l, struct conn *c, SSL_CTX *tls)
{
    const unsigned char *chosen;
    unsigned chosen_n;
    c->tls = SSL_new(tls);
    if (!c->tls || !SSL_set_fd(c->tls, c->fd) || SSL_connect(c->tls) != 1) {
        errno = EPROTO;
        return false;
    }
    SSL_get0_alpn_selected(c->tls, &chosen, &chosen_n);
    errno = EPROTONOSUPPORT;
    return !l->h2 || (chosen_n == 2 && memcmp(chosen, "h2", 2) == 0);
}

bool conn_open(const struct load *l, struct conn *c, SSL_CTX *tls)
{
    int one = 1;
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(l->port), .sin_addr.s_addr = l->address};
    struct timeval patience = {.tv_sec = 5};
    c->tls = NULL;
    c->wants_write = false;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    /* Pacing for a line that is not there would bound uploads, and cost CPU. */
    setsockopt(c->fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0 &&
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
        (!tls || shake_hands(l, c, tls)) &&
        fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK) == 0)
        return true;
    int errnum = errno;
    conn_close(c);
    errno = errnum;
    return false;
}

void conn_close(struct conn *c)
{
    SSL_free(c->tls);
    c->tls = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static ssize_t tls_result(struct conn *c, int n)
{
    if (n > 0)
        return n;
    int why = SSL_get_error(c->tls, n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? IO_WAIT : IO_FAILED;
}

static ssize_t plain_result(ssize_t n)
{
    if (n > 0)
        return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? IO_WAIT : IO_FAILED;
}

static void hold_packets(const struct conn *c, int on)
{
    setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

/* OpenSSL makes a system call of each record, and the kernel a packet of each call when the line is
 * free: they are kept back until all are there. */
static ssize_t tls_write(struct conn *c, const struct iovec *iov, int n)
{
    bool several = n > 1 || iov[0].iov_len > RECORD_BYTES;
    ssize_t done = 0, sent = 0;
    if (several)
        hold_packets(c, 1);
    for (int i = 0; i < n && sent >= 0; i++)
        for (size_t at = 0; at < iov[i].iov_len && sent >= 0; at += sent > 0 ? (size_t)sent : 0) {
            const char *p = (const char *)iov[i].iov_base + at;
            sent = tls_result(c, SSL_write(c->tls, p, (int)(iov[i].iov_len - at)));
            done += sent > 0 ? sent : 0;
        }
    if (several)
        hold_packets(c, 0);
    return done > 0 ? done : sent;
}

ssize_t conn_write(struct conn *c, const struct iovec *iov, int n)
{
    if (c->tls)
        return tls_write(c, iov, n);
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
    return plain_result(sendmsg(c->fd, &msg, MSG_NOSIGNAL));
}

ssize_t conn_send_file(struct conn *c, int fd, uint64_t offset, size_t n)
{
    off_t at = (off_t)offset;
    return plain_result(sendfile(c->fd, fd, &at, n));
}

ssize_t conn_read(struct conn *c, void *p, size_t n)
{
    if (c->tls)
        return tls_result(c, SSL_read(c->tls, p, (int)n));
    return plain_result(recv(c->fd, p, n, 0));
}

ssize_t conn_skip(struct conn *c, uint64_t n)
{
    static char scratch[SCRATCH_BYTES];
    if (c->tls)
        return conn_read(c, scratch, n < sizeof scratch ? n : sizeof scratch);
    // cppcheck-suppress nullPointer ; with MSG_TRUNC nothing is copied (tcp(7))
    return plain_result(recv(c->fd, NULL, n < (1u << 24) ? n : (1u << 24), MSG_TRUNC));
}

bool conn_pending(const struct conn *c)
{
    return c->tls && SSL_has_pending(c->tls);
}

void conn_watch(struct conn *c, int epoll, bool write)
{
    if (c->wants_write == write)
        return;
    struct epoll_event ev = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &ev);
    c->wants_write = write;
}

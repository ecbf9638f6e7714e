/* One connection of the generator: bytes over TCP or TLS (conn.c), and the protocol on top (h1.c,
 * h2.c). */
#pragma once

#include "load.h"

#include <openssl/ssl.h>

enum { IO_WAIT = -1, IO_FAILED = -2 }; /* the end of the stream is a failure, too */

enum {
    ANSWER_BYTES_MAX = 16384, /* HTTP/1.1: response head, with the start of its body */
    HEAD_BYTES_MAX = 12288,   /* HTTP/1.1: request head */
    SEND_BYTES_MAX = 1 << 18,
    RECORD_BYTES = 1 << 14, /* most that one TLS record carries */
};

struct h2;

struct conn {
    int fd;
    SSL *tls;
    bool wants_write; /* EPOLLOUT is registered */
    /* HTTP/1.1: one operation at a time */
    enum { CONN_IDLE, CONN_SENDING, CONN_HEAD, CONN_BODY } state;
    struct exchange one;
    char head[HEAD_BYTES_MAX];
    size_t head_n, head_sent;
    bool same_head; /* the next request's is what was sent */
    char answer[ANSWER_BYTES_MAX];
    size_t answer_n;
    uint64_t left; /* body bytes to come */
    struct h2 *h2;
};

/* What all connections of a run share: the trust in any certificate, one cipher for all servers,
 * and the protocol TLS is asked for. NULL without TLS. */
SSL_CTX *tls_context(const struct load *l);

/* Connects and shakes hands, blocking for at most five seconds; non-blocking from then on. False
 * when it could not; errno says why. */
bool conn_open(const struct load *l, struct conn *c, SSL_CTX *tls);
void conn_close(struct conn *c);
/* Bytes taken, IO_WAIT or IO_FAILED. */
ssize_t conn_write(struct conn *c, const struct iovec *iov, int n);
/* The same of a file's bytes, which are not copied. Without TLS only. */
ssize_t conn_send_file(struct conn *c, int fd, uint64_t offset, size_t n);
ssize_t conn_read(struct conn *c, void *p, size_t n);
/* Reads up to n bytes and forgets them: inside the kernel where there is no TLS. */
ssize_t conn_skip(struct conn *c, uint64_t n);
/* Bytes that epoll does not know of are waiting. */
bool conn_pending(const struct conn *c);
void conn_watch(struct conn *c, int epoll, bool write);

/* A protocol. Each returns false when the connection cannot be used any more. */
struct protocol {
    bool (*open)(struct load *l, struct conn *c); /* after conn_open; before any operation */
    bool (*start)(struct load *l, struct conn *c, int epoll); /* begins what there is to begin */
    bool (*event)(struct load *l, struct conn *c, int epoll, uint32_t events);
    /* Operations that were under way are lost. Returns how many. */
    unsigned (*close)(struct conn *c);
    bool (*busy)(const struct conn *c);
};
extern const struct protocol protocol_h1, protocol_h2;

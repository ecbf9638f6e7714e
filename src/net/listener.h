/* Listening sockets. */
#pragma once

#include "base/err.h"
#include "net/address.h"

/* A listening socket and what is spoken on it. */
struct listener {
    int fd;
    struct address address; /* as bound; family AF_UNSPEC: a unix socket */
    str path;               /* of a unix socket; lives as long as the listener is used */
    bool tls;               /* else plain */
    bool proxy;             /* every connection begins with a PROXY protocol header */
    bool inherited;         /* opened by who started this process: its path is not ours to remove */
};

/* "127.0.0.1:5000", "[::]:443", "unix:/run/berth/http.sock". */
str listener_text(const struct listener *l, struct arena *a);

/* Binds and listens: non-blocking, close-on-exec, SO_REUSEADDR, TCP_NODELAY (which accepted sockets
 * inherit). [::] takes IPv4 too; where the kernel has no IPv6 it becomes 0.0.0.0. `bound` gets the
 * real address and port. On failure `why` says what is wrong and what to do about it. */
NODISCARD enum err listener_open(const struct address *address, int *ret_fd, struct address *bound,
                                 struct arena *a, struct error *why);

/* Any thread; never blocks. OK with a non-blocking, close-on-exec socket and the peer's address;
 * ERR_WOULD_BLOCK when nobody waits; ERR_NO_FILES when the process or the machine is out of
 * descriptors or memory (the connection stays in the kernel's queue); ERR_CLOSED for a connection
 * that died in the queue: try the next. */
NODISCARD enum err listener_accept(int listener_fd, int *ret_fd, struct address *peer);

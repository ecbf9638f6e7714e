/* Transports: what stands between the bytes of a protocol and a socket.
 *
 * The protocol above reads and writes without knowing whether the bytes are encrypted. A transport
 * is embedded in its connection and used by that connection's reactor only. Nothing here blocks.
 *
 * Results of read, writev and sendfile: the number of bytes moved (at least 1), or one of enum io.
 * A TLS transport may need the socket in the other direction than the caller would think, hence
 * two ways to wait. After a short read the socket's next event tells when there is more. After a
 * write or sendfile that had to wait, the same bytes must be offered again, at least as many. */
#pragma once

#include "base/str.h"

#include <sys/types.h>
#include <sys/uio.h>

enum io {
    IO_END = 0,         /* read: the peer has finished; sendfile: the file ended */
    IO_FAILED = -1,     /* the connection is dead */
    IO_WAIT_READ = -2,  /* call again when the socket is readable */
    IO_WAIT_WRITE = -3, /* call again when it is writable */
    IO_CLEARTEXT = -4,  /* handshake: the peer speaks, but not TLS; nothing was read */
};

/* What is spoken over the transport, once the handshake is done. */
enum protocol { PROTOCOL_HTTP1, PROTOCOL_HTTP2 };

enum { TRANSPORT_SCRATCH_BYTES = 64 * 1024 };

struct transport;

struct transport_ops {
    /* To be called before all others until it returns 1: done. Else a wait, IO_END (the peer left
     * without a word), IO_FAILED or IO_CLEARTEXT. */
    int (*handshake)(struct transport *t);
    /* Reads up to n bytes. */
    ssize_t (*read)(struct transport *t, void *bytes, size_t n);
    /* Writes a prefix of the vectors. `more`: further bytes follow at once, so a short packet may
     * wait for them. */
    ssize_t (*writev)(struct transport *t, const struct iovec *v, size_t n, bool more);
    /* Sends up to n bytes of the file from `offset`. */
    ssize_t (*sendfile)(struct transport *t, int file_fd, uint64_t offset, size_t n);
    /* Tells the peer that nothing more comes; reading goes on. */
    void (*shutdown_write)(struct transport *t);
    /* Closes the socket. */
    void (*close)(struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
    int fd;
    enum protocol protocol;
    bool secure;   /* encrypted */
    bool buffered; /* there may be bytes to read that no event of the socket will announce */
    bool read_needs_write; /* the last read waits for the socket to be writable */
    bool broken;           /* TLS: the session failed, nothing more may be sent */
    bool more;             /* TLS: further bytes follow the record being written */
    bool drained;          /* TLS: the socket had less than it was last asked for */
    size_t allowed_bytes;  /* TLS: this call may still take off the socket */
    size_t silent_bytes;   /* TLS: taken off it since the last data of the application */
    struct ssl_st *tls;
    /* Known once the handshake is done, also after the socket was closed. */
    const char *tls_version; /* TLS: "1.3" */
    str client_subject;      /* TLS: who the verified certificate of the client names (RFC 4514),
                                empty without; until transport_release */
    char *scratch; /* TLS: TRANSPORT_SCRATCH_BYTES of the reactor's; holds nothing between calls */
};

/* Plain TCP. Takes over fd. */
void transport_init_tcp(struct transport *t, int fd);
/* Frees what is left after the socket was closed. Of any transport. */
void transport_release(struct transport *t);

/* The load generator: what a run is, and the parts it is made of.
 *
 * One thread, one epoll loop, N keep-alive connections, with or without TLS. An operation is one
 * request (get, put) or the requests of one blob push; over HTTP/1.1 a connection carries one
 * operation at a time, over HTTP/2 as many as -m says. It shares no code with the server it
 * measures. */
#pragma once

#include "histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum mode {
    MODE_GET,        /* the same request again and again */
    MODE_PUT,        /* a small text body, different each time */
    MODE_PUSH,       /* POST, PUT with the blob */
    MODE_PUSH_PATCH, /* POST, PATCH with the blob, empty PUT: what docker does */
    MODE_STALL,      /* POST, and a PATCH that stops after STALL_BYTES */
};

enum {
    BLOB_MARK = 64,       /* leading bytes that make each blob different */
    BLOB_BLOCK = 1 << 20, /* random bytes repeated after the mark */
    STALL_BYTES = 256 << 10,
    DIGEST_LEN = 71,       /* "sha256:" and 64 digits */
    NUMBER_LEN = 12,       /* digits that replace NUMBER */
    PATH_BYTES_MAX = 4096, /* of a request, with its query */
    HEADERS_MAX = 16,      /* -H */
    BODY_PARTS_MAX = 4,    /* of what body_next points at */
};
#define NUMBER "@NUMBER@@@@@" /* in get's and put's path, and in put's body */

struct blob {
    char mark[BLOB_MARK];
    char digest[DIGEST_LEN + 1];
};

struct header {
    char *name, *value; /* the name in small letters */
};

struct load {
    /* What to do. */
    enum mode mode;
    bool tls, h2;
    bool says_ready;  /* prints a line when the clock starts */
    const char *host; /* as in the URL, for the Host field */
    uint32_t address; /* IPv4, network order */
    uint16_t port;
    const char *path;   /* get, put: of the request; push: /v2/<name> */
    const char *method; /* get only; DELETE goes well with 202, others with 200 */
    struct header headers[HEADERS_MAX];
    size_t headers_n;
    unsigned connections;
    unsigned streams;        /* h2: operations at a time on one connection */
    uint64_t duration_us;    /* stop after this time, */
    uint64_t operations_max; /* or when this many operations were begun */
    uint64_t first;          /* number of the first operation */
    uint64_t range_bytes;    /* get: > 0 asks for ranges of this size, */
    uint64_t range_total;    /* out of this many bytes */
    const char *text;        /* put: the body, holding NUMBER once */
    size_t text_n;
    uint64_t blob_bytes;
    uint64_t rate; /* slow: bytes a second of one connection */
    uint64_t seed; /* push, put: different in each run against the same store */

    /* Prepared before the clock starts. */
    struct blob *blobs; /* operations_max of them; stall: one, without digest */
    char *block;        /* BLOB_BLOCK bytes, mapped from block_fd, until the process ends */
    int block_fd;

    /* What came out. */
    uint64_t begun;
    uint64_t done;
    uint64_t errors;
    uint64_t stalled, returned; /* bodies that stopped; those that the server gave up */
    uint64_t bytes_in;          /* of response bodies */
    uint64_t bytes_out;
    uint64_t start_us, end_us;
    double cpu; /* this process's share of one core while the clock ran */
    struct histogram latency_us;
    char first_error[256];
};

/* One operation: the request it is at, and that request's answer. */
struct exchange {
    struct conn *conn;
    bool busy;
    int step;        /* request within the operation */
    uint64_t number; /* of the operation */
    uint64_t start_us;
    /* request */
    const char *method;
    char path[PATH_BYTES_MAX];
    char range[64];          /* value of Range, or empty */
    bool is_blob;            /* carries Content-Type: application/octet-stream */
    bool has_body;           /* carries Content-Length */
    const struct blob *blob; /* the body is this blob, */
    char *text;              /* or this text (text_n of struct load), or nothing */
    uint64_t body_n, body_sent;
    /* answer */
    int status;
    char location[PATH_BYTES_MAX / 2];
    int32_t stream; /* h2 */
};

/* Monotonic microseconds. */
uint64_t now_us(void);
/* User and system time of this process. */
double cpu_seconds(void);
void note_error(struct load *l, const struct exchange *x, const char *what, const char *text,
                size_t text_n);

/* blobs.c: makes the random block and the digests. False when memory is short. */
bool blobs_prepare(struct load *l);
/* Points at the next bytes of x's body, at most `room`. Returns the number of parts. */
int body_next(const struct load *l, const struct exchange *x, size_t room,
              struct iovec iov[BODY_PARTS_MAX]);

/* Before more of x's body is sent. True: it stops here. Prints "ready" when all have stopped. */
bool body_stalls(struct load *l, const struct exchange *x);

/* script.c: makes x's next request. False when nothing is left to do. */
bool script_next(struct load *l, struct exchange *x);
/* The answer is complete: counts it. True when the operation goes on with another request. `text`
 * is what of it is shown when it is not the expected one. */
bool script_answer(struct load *l, struct exchange *x, const char *text, size_t text_n);

/* loop.c: runs to the end; stall until SIGTERM, too. False when no connection could be made. */
bool loop_run(struct load *l);

/* crowd.c: clients that only hold the server's resources, until the time is up or SIGTERM. "ready"
 * is printed once all are in place; who is thrown out comes again. */
enum crowd {
    CROWD_IDLE,  /* made one request, stays connected */
    CROWD_SLOW,  /* reads an answer at `rate` bytes a second */
    CROWD_LORIS, /* sends a head, one byte a second */
};
bool crowd_run(struct load *l, enum crowd role);

/* probe.c: what this machine can do at best, as JSON on standard output. False on an error. */
bool probe_sha256(double seconds, unsigned threads);
bool probe_disk(const char *path, uint64_t bytes);
/* receiver.c: connections streams of blob_bytes each out of sockets, through SHA-256, into files at
 * `path` that are synced; the best of three arrangements of threads. */
bool receiver_run(struct load *l, const char *path);

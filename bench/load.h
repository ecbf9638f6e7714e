/* The load generator: what a run is, and the parts it is made of.
 *
 * One thread, one epoll loop, N keep-alive connections; on each connection one operation at a time.
 * An operation is one request (get, put) or the requests of one blob push. It shares no code with
 * the server it measures. */
#pragma once

#include "histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mode {
    MODE_GET,        /* the same request again and again */
    MODE_PUT,        /* a small text body, different each time */
    MODE_PUSH,       /* POST, PUT with the blob */
    MODE_PUSH_PATCH, /* POST, PATCH with the blob, empty PUT: what docker does */
};

enum {
    BLOB_MARK = 64,          /* leading bytes that make each blob different */
    BLOB_BLOCK = 1 << 20,    /* random bytes repeated after the mark */
    DIGEST_LEN = 71,         /* "sha256:" and 64 digits */
    NUMBER_LEN = 12,         /* digits that replace NUMBER in a put's path and body */
    HEAD_BYTES_MAX = 8192,   /* request head we send */
    ANSWER_BYTES_MAX = 16384 /* response head we read, with the start of its body */
};
#define NUMBER "@NUMBER@@@@@"

struct blob {
    char mark[BLOB_MARK];
    char digest[DIGEST_LEN + 1];
};

struct load {
    /* What to do. */
    enum mode mode;
    const char *host; /* as in the URL, for the Host field */
    uint32_t address; /* IPv4, network order */
    uint16_t port;
    const char *path;    /* get, put: of the request; push: /v2/<name> */
    const char *method;  /* get only */
    const char *headers; /* "Name: value\r\n"..., sent with each request */
    unsigned connections;
    uint64_t duration_us;    /* stop after this time, */
    uint64_t operations_max; /* or when this many operations were begun */
    uint64_t range_bytes;    /* get: > 0 asks for ranges of this size, */
    uint64_t range_total;    /* out of this many bytes */
    const char *text;        /* put: the body, holding NUMBER once */
    size_t text_n;
    uint64_t blob_bytes;
    uint64_t seed; /* push, put: different in each run against the same store */

    /* Prepared before the clock starts. */
    struct blob *blobs; /* operations_max of them */
    char *block;

    /* What came out. */
    uint64_t begun;
    uint64_t done;
    uint64_t errors;
    uint64_t bytes_in; /* of response bodies */
    uint64_t bytes_out;
    uint64_t start_us, end_us;
    double cpu; /* this process's share of one core while the clock ran */
    struct histogram latency_us;
    char first_error[256];
};

enum conn_state { CONN_SENDING, CONN_HEAD, CONN_BODY, CONN_IDLE };

struct conn {
    int fd;
    enum conn_state state;
    bool wants_write; /* EPOLLOUT is registered */
    int step;         /* request within the operation */
    uint64_t number;  /* of the operation */
    uint64_t start_us;
    /* request */
    char head[HEAD_BYTES_MAX];
    size_t head_n;
    const struct blob *blob; /* body is this blob, */
    char *text;              /* or this text (text_n of struct load), or nothing */
    uint64_t body_n;
    uint64_t sent; /* of head and body together */
    /* response */
    char answer[ANSWER_BYTES_MAX];
    size_t answer_n;
    int status;
    uint64_t left; /* body bytes to come */
    char location[HEAD_BYTES_MAX / 2];
};

/* Monotonic microseconds. */
uint64_t now_us(void);

/* blobs.c: makes the random block and the digests. False when memory is short. */
bool blobs_prepare(struct load *l);

/* script.c: writes the head of the next request into c and says what its body is. False when
 * nothing is left to do. */
bool script_next(struct load *l, struct conn *c);
/* A response is complete. True when the operation goes on with another request; *ok false when the
 * answer is not the expected one. */
bool script_answer(struct load *l, struct conn *c, bool *ok);

/* loop.c: runs to the end. False when no connection could be made. */
bool loop_run(struct load *l);

/* probe.c: what this machine can do at best, as JSON on standard output. False on an error. */
bool probe_sha256(double seconds);
bool probe_disk(const char *path, uint64_t bytes);

/* The head of a request, whichever HTTP version it came in, and what holds for its fields in all of
 * them. Pure; no I/O. */
#pragma once

#include "http/request.h"

struct head_limits {
    size_t head_bytes_max;
    size_t target_bytes_max;
    unsigned fields_max;
};

struct head {
    enum method method;
    bool http_1_0;
    bool keep_alive; /* HTTP/1: from version and Connection */
    bool expects_continue;
    bool chunked;        /* HTTP/1 */
    uint64_t body_bytes; /* Content-Length, 0 without a body; BODY_UNKNOWN when nobody told */
    bool has_length;     /* HTTP/1: Content-Length or chunked was there */
    str target, path, query, host;
    struct field *fields; /* names in lower case */
    size_t field_n;
};

/* Fields the framing, the routing or the authorisation of a message hangs on. Two parsers that
 * disagree about which of two such fields counts is how requests are smuggled, so none of them may
 * be repeated. */
#define SINGLE_TABLE(X)                       \
    X(HOST, "host")                           \
    X(CONTENT_LENGTH, "content-length")       \
    X(TRANSFER_ENCODING, "transfer-encoding") \
    X(EXPECT, "expect")                       \
    X(AUTHORIZATION, "authorization")         \
    X(CONTENT_RANGE, "content-range")         \
    X(RANGE, "range")

enum single {
#define X(id, name) SINGLE_##id,
    SINGLE_TABLE(X)
#undef X
        SINGLE_COUNT
};

/* Fields as they are read. Zero but for arena, why and fields_max to begin with. */
struct head_fields {
    struct arena *arena;
    struct error *why;
    unsigned fields_max;
    struct field *fields;
    size_t field_n, field_cap;
    str single[SINGLE_COUNT]; /* p == NULL: not seen */
};

/* Name in lower case; nothing is copied. ERR_HEAD_TOO_LARGE for one too many, ERR_BAD_REQUEST for a
 * second one of the single ones. */
NODISCARD enum err head_add(struct head_fields *f, str name, str value);
/* Whom the request is for: `authority` of its target, p == NULL without, which Host must not
 * contradict. `required`: one of them must be there. */
NODISCARD enum err head_host(struct head_fields *f, str authority, bool required, str *ret);
/* Content-Length; 0 without. */
NODISCARD enum err head_length(struct head_fields *f, uint64_t *ret);
/* Whether 100-continue is expected; the only expectation known. */
NODISCARD enum err head_expect(struct head_fields *f, bool *ret);

/* Reading one HTTP/1.1 response (RFC 9112) as its bytes arrive. Strict where a length is in doubt.
 * Pure; no I/O. */
#pragma once

#include "base/buf.h"
#include "http/h1_parse.h"

enum { CLIENT_HEAD_BYTES_MAX = 64 * 1024, CLIENT_FIELDS_MAX = 100 };

struct client_answer {
    int status;
    struct field *fields; /* names in lower case */
    size_t field_n;
    str body;
};

/* Value of the first such field (`name` in lower case), or a slice with p == NULL. */
str client_header(const struct client_answer *answer, str name);

/* {.arena, .body = BUF_INIT(limit), .no_body} begins; buf_release(&body) ends. What is in the
 * answer lives in the arena, but its body in `body`. */
struct client_reader {
    struct arena *arena;
    struct buf body;
    bool no_body; /* the request was HEAD */
    /* the reader's own */
    char *head;
    size_t head_n, scanned;
    enum { CLIENT_HEAD, CLIENT_LENGTH, CLIENT_CHUNKED, CLIENT_UNTIL_END, CLIENT_DONE } step;
    uint64_t left;
    struct h1_chunked chunked;
    struct client_answer answer;
};

/* Takes the bytes that arrived next. When the answer is whole, step is CLIENT_DONE and what follows
 * it is ignored. ERR_SYNTAX when it is no HTTP/1.1 response, ERR_LIMIT when head or body are too
 * large. */
NODISCARD enum err client_read(struct client_reader *r, str bytes);
/* The connection has ended. ERR_CLOSED unless the answer is whole. */
NODISCARD enum err client_read_end(struct client_reader *r);

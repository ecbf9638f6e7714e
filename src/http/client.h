/* Outbound HTTP/1.1: one request over a unix socket, for the commands that speak to the server on
 * this machine. Blocks. */
#pragma once

#include "http/client_read.h"
#include "http/trace.h"

struct client_request {
    str socket; /* path */
    enum method method;
    str target;
    str body;                  /* JSON; p == NULL: none */
    const struct trace *trace; /* what this is part of; NULL: a new trace */
    uint64_t timeout_ms;       /* without any progress */
    size_t answer_bytes_max;
};

/* Sends the request and reads the answer into the arena. ERR_NOT_FOUND when nobody listens there,
 * ERR_PERMISSION when this user may not connect; ERR_CLOSED when there was no whole answer,
 * ERR_TIMEOUT, ERR_SYNTAX, ERR_LIMIT; `why` is one line for people. */
NODISCARD enum err client_exchange(const struct client_request *request, struct arena *a,
                                   struct client_answer *ret, struct error *why);

/* One HTTP request as handlers see it: parsed, bounded, independent of the HTTP version.
 *
 * Everything a slice points at lives in the request's arena or its connection's head buffer; both
 * stay put until the response has been sent. */
#pragma once

#include "base/err.h"

#include <netinet/in.h>

struct route;

#define METHOD_TABLE(X) X(GET) X(HEAD) X(POST) X(PUT) X(PATCH) X(DELETE) X(OPTIONS)

enum method {
#define X(name) METHOD_##name,
    METHOD_TABLE(X)
#undef X
        METHOD_COUNT
};
str method_name(enum method m);
/* False for methods Berth does not know (501). */
NODISCARD bool method_parse(str s, enum method *ret);

/* Name in lower case, value without surrounding white space. */
struct field {
    str name;
    str value;
};

enum { REQUEST_ARGS_MAX = 4, REQUEST_ID_LEN = 16, ADDRESS_TEXT_MAX = 64 };
#define BODY_UNKNOWN UINT64_MAX

struct request {
    struct arena *arena;
    enum method method;
    bool http_1_0;
    bool secure;           /* https, here or at a trusted proxy */
    bool expects_continue; /* 100 Continue is still owed */
    str target;            /* as sent */
    str path;              /* raw, before '?' */
    str query;             /* raw, after '?'; empty without */
    str host;              /* authority: Host, or a trusted proxy's */
    const struct field *fields;
    size_t field_n;
    bool admin;              /* over the admin socket, by root or the server's own user */
    uint32_t admin_uid;      /* which of them */
    str client;              /* address as text, behind trusted proxies; no port */
    bool from_proxy;         /* the connection is a trusted proxy's */
    str client_subject;      /* of the verified TLS client certificate (RFC 4514); empty without */
    str local;               /* address:port the connection arrived at, as text */
    char id[REQUEST_ID_LEN]; /* request id: hexadecimal, in X-Request-Id and the log */
    uint64_t start_us;       /* monotonic, when the head was complete */

    uint64_t body_bytes; /* from Content-Length; BODY_UNKNOWN when chunked; 0 without body */
    str body;            /* the whole body, for routes with a small one */

    const struct route *route;  /* NULL when none matched */
    str args[REQUEST_ARGS_MAX]; /* path captures, percent-decoded, in the route's order */
    int worker;                 /* index of the worker the handler runs on, or WORKER_NONE */
    void *app;                  /* what http_server_new was given */
    unsigned ranges_max;        /* limits.ranges: most parts of one Range that are served */

    void *state; /* the handler's own, for render_error and on_done; lives in the arena */

    /* Set by the handler for the access log. */
    str log_principal;
    str log_repository;
    struct error error;
};

/* Value of the first such field (`name` in lower case), or a slice with p == NULL. */
str request_header(const struct request *req, str name);
/* The n-th one (0-based) with that name; p == NULL past the last. */
str request_header_nth(const struct request *req, str name, size_t n);

/* Takes the next value of `key` off the front of *rest, a query or the body of a form
 * (application/x-www-form-urlencoded), and decodes it: '+' is a space, %XX once; malformed escapes
 * stay as they are. False at the end. */
bool form_next(struct arena *a, str *rest, str key, str *ret);
/* The n-th query parameter with that key, decoded alike. False when there are no n + 1 of them. */
bool request_query_nth(struct request *req, str key, size_t n, str *ret);
static inline bool request_query(struct request *req, str key, str *ret)
{
    return request_query_nth(req, key, 0, ret);
}

/* Records why the request failed and returns the code:
 * return fail(req, ERR_TAG_INVALID, "tag \"%.*s\" ...", ...). The first one wins. */
#define fail(req, code, ...) error_set((req)->arena, &(req)->error, (code), __VA_ARGS__)

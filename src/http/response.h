/* The response plan: what a handler returns and a reactor transmits.
 *
 * A plan is a status, headers and a list of segments, each memory or a range of a file, so a slow
 * downloader never holds a worker. Built on one thread, then handed over whole. */
#pragma once

#include "http/body.h"
#include "http/request.h"
#include "loop/file.h"

enum { RESPONSE_HEADERS_MAX = 32 };

struct segment {
    struct segment *next;
    struct file *file; /* NULL: memory */
    str memory;        /* lives in the request's arena, or forever */
    uint64_t offset;
    uint64_t n;
};

struct response {
    struct request *req;
    int status; /* 0: not set yet */
    struct field headers[RESPONSE_HEADERS_MAX];
    size_t header_n;
    struct segment *first, **last;
    uint64_t body_bytes; /* sum of the segments (for HEAD: of GET's); what Content-Length says */
    struct sink *sink;   /* set instead of a status: stream the request body into it */
    bool close;          /* close the connection after this response */
};

void response_init(struct response *res, struct request *req);
/* Drops file references. */
void response_release(struct response *res);
/* Back to "not set": status, headers and segments are dropped; `sink` and `close` stay. */
void response_clear(struct response *res);

/* Headers that are set when a handler returns an error stay: the error's response carries them too
 * (Content-Range of a 416, Location of a refused chunk).
 *
 * `name` as it shall appear, a literal. `value` is not copied. Values with CR, LF or NUL, and
 * headers past RESPONSE_HEADERS_MAX, abort: they are programming errors, input never gets here
 * unescaped. */
void response_header(struct response *res, const char *name, str value);
void response_header_printf(struct response *res, const char *name, const char *fmt, ...)
    PRINTF(3, 4);

/* Appends a segment. Memory is not copied. The file reference is taken over. */
void response_memory(struct response *res, str bytes);
void response_file(struct response *res, struct file *f, uint64_t offset, uint64_t n);

/* status + Content-Type: application/json + body. */
void response_json(struct response *res, int status, str body);

/* What If-Match and If-None-Match (RFC 9110 13.1.1, 13.1.2) say about a resource whose current
 * strong entity tag, with its quotes, is `etag`; p == NULL: the resource does not exist. Values
 * without quotes are taken as if they had them. If-Modified-Since and If-Unmodified-Since are
 * ignored, as Berth sends no dates. Pure; any thread. */
enum condition {
    CONDITION_HOLDS,        /* perform the request */
    CONDITION_NOT_MODIFIED, /* GET and HEAD only: 304 */
    CONDITION_FAILED,       /* 412 */
};
enum condition request_condition(const struct request *req, str etag);

/* A representation to be served with conditions and ranges (RFC 9110 13, 14). Sets status 200, 206
 * (one part, or multipart/byteranges with its parts in request order) or 304, and ETag,
 * Cache-Control, Accept-Ranges, Content-Type, Content-Range as they belong to it. Otherwise returns
 * ERR_PRECONDITION_FAILED, or ERR_RANGE_INVALID with Content-Range set. Takes over the file
 * reference in every case. HEAD ignores Range and gets `body_bytes` without segments, so it needs
 * neither file nor memory. Abuse (more than req->ranges_max parts, or parts that sum to more than
 * the size) is answered with the whole representation, never 416. */
struct entity {
    str etag; /* with its quotes; strong */
    str type;
    str cache_control; /* empty: none */
    struct file *file; /* NULL: memory */
    str memory;
    uint64_t size_bytes;
    bool ranges; /* ranges are served */
};
NODISCARD enum err response_entity(struct response *res, struct entity *entity);

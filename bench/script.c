/* The requests of each kind of operation, and the answers they must get. */
#include "load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STEP_FIRST, STEP_PATCH, STEP_PUT };

static bool head_add(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool head_add(struct conn *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(c->head + c->head_n, sizeof c->head - c->head_n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof c->head - c->head_n)
        return false;
    c->head_n += (size_t)n;
    return true;
}

static bool head_end(const struct load *l, struct conn *c)
{
    return head_add(c, "Host: %s\r\n%s\r\n", l->host, l->headers);
}

static bool get_request(const struct load *l, struct conn *c)
{
    bool ok = head_add(c, "%s %s HTTP/1.1\r\n", l->method, l->path);
    if (l->range_bytes > 0) {
        /* Walks through the whole content in an order no read-ahead guesses. */
        uint64_t parts = l->range_total / l->range_bytes;
        uint64_t from = (c->number * 7919 % parts) * l->range_bytes;
        ok = ok && head_add(c, "Range: bytes=%" PRIu64 "-%" PRIu64 "\r\n", from,
                            from + l->range_bytes - 1);
    }
    return ok && head_end(l, c);
}

static void write_number(const struct load *l, const struct conn *c, char *at)
{
    char digits[NUMBER_LEN + 1];
    uint64_t limit = 1000000000000;
    snprintf(digits, sizeof digits, "%012" PRIu64, (l->seed * 1000000 + c->number) % limit);
    memcpy(at, digits, NUMBER_LEN);
}

static bool put_request(const struct load *l, struct conn *c)
{
    char path[HEAD_BYTES_MAX / 2];
    snprintf(path, sizeof path, "%s", l->path);
    char *at = strstr(path, NUMBER);
    if (at)
        write_number(l, c, at);
    memcpy(c->text, l->text, l->text_n);
    at = memmem(c->text, l->text_n, NUMBER, NUMBER_LEN);
    if (at)
        write_number(l, c, at);
    c->body_n = l->text_n;
    return head_add(c, "PUT %s HTTP/1.1\r\nContent-Length: %zu\r\n", path, l->text_n) &&
           head_end(l, c);
}

/* Location is a path or an absolute URL of the same server. */
static const char *location_path(const struct conn *c)
{
    const char *p = strstr(c->location, "://");
    p = p ? strchr(p + 3, '/') : c->location;
    return p ? p : "/";
}

static bool push_request(const struct load *l, struct conn *c)
{
    const char *to = location_path(c);
    if (c->step == STEP_FIRST)
        return head_add(c, "POST %s/blobs/uploads/ HTTP/1.1\r\nContent-Length: 0\r\n", l->path) &&
               head_end(l, c);
    bool with_body = c->step == STEP_PATCH || l->mode == MODE_PUSH;
    if (with_body) {
        c->blob = &l->blobs[c->number];
        c->body_n = l->blob_bytes;
    }
    bool ok = c->step == STEP_PATCH
                  ? head_add(c, "PATCH %s HTTP/1.1\r\n", to)
                  : head_add(c, "PUT %s%cdigest=%s HTTP/1.1\r\n", to, strchr(to, '?') ? '&' : '?',
                             l->blobs[c->number].digest);
    return ok &&
           head_add(c, "Content-Type: application/octet-stream\r\nContent-Length: %" PRIu64 "\r\n",
                    c->body_n) &&
           head_end(l, c);
}

bool script_next(struct load *l, struct conn *c)
{
    if (c->step == STEP_FIRST) {
        if (l->begun == l->operations_max)
            return false;
        c->number = l->begun++;
        c->start_us = now_us();
    }
    c->head_n = 0;
    c->sent = 0;
    c->body_n = 0;
    c->blob = NULL;
    c->answer_n = 0;
    switch (l->mode) {
    case MODE_GET:
        return get_request(l, c);
    case MODE_PUT:
        return put_request(l, c);
    case MODE_PUSH:
    case MODE_PUSH_PATCH:
        return push_request(l, c);
    }
    return false;
}

bool script_answer(struct load *l, struct conn *c, bool *ok)
{
    if (l->mode == MODE_GET) {
        *ok = c->status == (l->range_bytes > 0 ? 206 : 200);
        return false;
    }
    if (l->mode == MODE_PUT) {
        *ok = c->status == 201;
        return false;
    }
    if (c->step == STEP_PUT) {
        *ok = c->status == 201;
        return false;
    }
    *ok = c->status == 202 && c->location[0];
    c->step = c->step == STEP_FIRST && l->mode == MODE_PUSH_PATCH ? STEP_PATCH : STEP_PUT;
    return *ok;
}

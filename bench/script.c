/* The requests of each kind of operation, and the answers they must get. */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { STEP_FIRST, STEP_PATCH, STEP_PUT };

static void write_number(const struct load *l, const struct exchange *x, char *at)
{
    if (!at)
        return;
    char digits[NUMBER_LEN + 1];
    uint64_t limit = 1000000000000;
    snprintf(digits, sizeof digits, "%012" PRIu64, (l->seed * 1000000 + x->number) % limit);
    memcpy(at, digits, NUMBER_LEN);
}

static void get_request(const struct load *l, struct exchange *x)
{
    x->method = l->method;
    snprintf(x->path, sizeof x->path, "%s", l->path);
    write_number(l, x, strstr(x->path, NUMBER));
    if (l->range_bytes > 0) {
        /* Walks through the whole content in an order no read-ahead guesses. */
        uint64_t parts = l->range_total / l->range_bytes;
        uint64_t from = (x->number * 7919 % parts) * l->range_bytes;
        snprintf(x->range, sizeof x->range, "bytes=%" PRIu64 "-%" PRIu64, from,
                 from + l->range_bytes - 1);
    }
}

static void put_request(const struct load *l, struct exchange *x)
{
    x->method = "PUT";
    snprintf(x->path, sizeof x->path, "%s", l->path);
    write_number(l, x, strstr(x->path, NUMBER));
    memcpy(x->text, l->text, l->text_n);
    write_number(l, x, memmem(x->text, l->text_n, NUMBER, NUMBER_LEN));
    x->has_body = true;
    x->body_n = l->text_n;
}

/* Location is a path or an absolute URL of the same server. */
static const char *location_path(const struct exchange *x)
{
    const char *p = strstr(x->location, "://");
    p = p ? strchr(p + 3, '/') : x->location;
    return p ? p : "/";
}

static void push_request(const struct load *l, struct exchange *x)
{
    x->has_body = true;
    if (x->step == STEP_FIRST) {
        x->method = "POST";
        snprintf(x->path, sizeof x->path, "%s/blobs/uploads/", l->path);
        return;
    }
    const char *to = location_path(x);
    if (x->step == STEP_PATCH || l->mode == MODE_PUSH) {
        x->blob = &l->blobs[l->mode == MODE_STALL ? 0 : x->number - l->first];
        x->body_n = l->blob_bytes;
    }
    x->is_blob = true;
    x->method = x->step == STEP_PATCH ? "PATCH" : "PUT";
    if (x->step == STEP_PATCH)
        snprintf(x->path, sizeof x->path, "%s", to);
    else
        snprintf(x->path, sizeof x->path, "%s%cdigest=%s", to, strchr(to, '?') ? '&' : '?',
                 l->blobs[x->number - l->first].digest);
}

bool script_next(struct load *l, struct exchange *x)
{
    if (x->step == STEP_FIRST) {
        if (l->begun == l->operations_max)
            return false;
        x->number = l->first + l->begun++;
        x->start_us = now_us();
    }
    x->status = 0;
    x->body_n = x->body_sent = 0;
    x->blob = NULL;
    x->has_body = x->is_blob = false;
    switch (l->mode) {
    case MODE_GET:
        get_request(l, x);
        break;
    case MODE_PUT:
        put_request(l, x);
        break;
    case MODE_PUSH:
    case MODE_PUSH_PATCH:
    case MODE_STALL:
        push_request(l, x);
        break;
    }
    return true;
}

static bool is_last(const struct load *l, const struct exchange *x)
{
    return l->mode < MODE_PUSH || x->step == STEP_PUT;
}

static int expected_status(const struct load *l, const struct exchange *x)
{
    if (l->mode == MODE_GET && strcmp(l->method, "DELETE") == 0)
        return 202;
    if (l->mode == MODE_GET)
        return l->range_bytes > 0 ? 206 : 200;
    return is_last(l, x) ? 201 : 202;
}

bool script_answer(struct load *l, struct exchange *x, const char *text, size_t text_n)
{
    if (l->mode == MODE_STALL && x->step == STEP_PATCH) { /* no answer would be right */
        l->returned++;
        x->step = STEP_FIRST;
        return false;
    }
    bool ok = x->status == expected_status(l, x) && (is_last(l, x) || x->location[0]);
    if (!ok)
        note_error(l, x, "unexpected answer", text, text_n);
    if (ok && !is_last(l, x)) {
        bool patch = x->step == STEP_FIRST && l->mode >= MODE_PUSH_PATCH;
        x->step = patch ? STEP_PATCH : STEP_PUT;
        return true;
    }
    x->step = STEP_FIRST;
    if (ok) {
        l->done++;
        histogram_add(&l->latency_us, now_us() - x->start_us);
    }
    return false;
}

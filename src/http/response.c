#include "http/response.h"
#include "http/chars.h"

#include <stdarg.h>
#include <stdlib.h>

void response_init(struct response *res, struct request *req)
{
    *res = (struct response){.req = req};
    res->last = &res->first;
}

static void drop_segments(struct response *res)
{
    for (struct segment *s = res->first; s; s = s->next) {
        file_unref(s->file);
        s->file = NULL;
    }
    res->first = NULL;
    res->last = &res->first;
    res->body_bytes = 0;
}

void response_release(struct response *res)
{
    drop_segments(res);
}

void response_clear(struct response *res)
{
    drop_segments(res);
    res->status = 0;
    res->header_n = 0;
}

void response_header(struct response *res, const char *name, str value)
{
    if (res->header_n == RESPONSE_HEADERS_MAX)
        abort();
    for (size_t i = str_text_length(value); i < value.n; i++) /* eight at a time, if it is text */
        if (value.p[i] == '\r' || value.p[i] == '\n' || value.p[i] == 0)
            abort();
    res->headers[res->header_n++] = (struct field){str_from(name), value};
}

void response_header_printf(struct response *res, const char *name, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    str value = arena_vprintf(res->req->arena, fmt, args);
    va_end(args);
    response_header(res, name, value);
}

static void append(struct response *res, struct segment segment)
{
    struct segment *s = ARENA_NEW(res->req->arena, struct segment);
    *s = segment;
    *res->last = s;
    res->last = &s->next;
    res->body_bytes += s->n;
}

void response_memory(struct response *res, str bytes)
{
    if (bytes.n > 0)
        append(res, (struct segment){.memory = bytes, .n = bytes.n});
}

void response_file(struct response *res, struct file *f, uint64_t offset, uint64_t n)
{
    if (n > 0)
        append(res, (struct segment){.file = f, .offset = offset, .n = n});
    else
        file_unref(f);
}

void response_json(struct response *res, int status, str body)
{
    res->status = status;
    response_header(res, "Content-Type", STR("application/json"));
    response_memory(res, body);
}

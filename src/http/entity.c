#include "base/clock.h"
#include "base/hex.h"
#include "http/range.h"
#include "http/response.h"

enum { BOUNDARY_RANDOM = 16, BOUNDARY_LEN = 2 * BOUNDARY_RANDOM };

static void add_part(struct response *res, struct entity *entity, struct range r)
{
    if (entity->file)
        response_file(res, file_ref(entity->file), r.first, r.n);
    else
        response_memory(res, str_first(str_skip(entity->memory, r.first), r.n));
}

/* RFC 9110 14.6. One memory segment goes before each part: the end of the part before it, the
 * boundary and the part's header. */
static void add_parts(struct response *res, struct entity *entity, const struct range *ranges,
                      size_t n)
{
    uint8_t random[BOUNDARY_RANDOM];
    char boundary[BOUNDARY_LEN];
    random_bytes(random, sizeof random);
    hex_encode(boundary, random, sizeof random);
    for (size_t i = 0; i < n; i++) {
        const struct range *r = &ranges[i];
        response_memory(res, arena_printf(res->req->arena,
                                          "%s--%.*s\r\nContent-Type: %.*s\r\n"
                                          "Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
                                          i ? "\r\n" : "", BOUNDARY_LEN, boundary,
                                          STR_ARG(entity->type), (unsigned long long)r->first,
                                          (unsigned long long)(r->first + r->n - 1),
                                          (unsigned long long)entity->size_bytes));
        add_part(res, entity, *r);
    }
    response_memory(res, arena_printf(res->req->arena, "\r\n--%.*s--\r\n", BOUNDARY_LEN, boundary));
    response_header_printf(res, "Content-Type", "multipart/byteranges; boundary=%.*s", BOUNDARY_LEN,
                           boundary);
}

/* RFC 9110 13.1.5, 14.2: what the request wants of the representation. A repeated field says
 * nothing, and an If-Range that is not exactly our strong tag (a date, a weak one) does not hold.
 */
static enum range_verdict wanted(const struct request *req, const struct entity *entity,
                                 struct range **ranges, size_t *n)
{
    str range = request_header(req, STR("range")), if_range = request_header(req, STR("if-range"));
    if (!entity->ranges || req->method != METHOD_GET || !range.p)
        return RANGE_NONE;
    if (request_header_nth(req, STR("range"), 1).p || request_header_nth(req, STR("if-range"), 1).p)
        return RANGE_NONE;
    if (if_range.p && !str_eq(if_range, entity->etag))
        return RANGE_NONE;
    return range_parse(req->arena, range, entity->size_bytes, req->ranges_max, ranges, n);
}

static enum err plan_content(struct response *res, struct entity *entity)
{
    struct range *ranges;
    size_t n;
    enum range_verdict verdict = wanted(res->req, entity, &ranges, &n);
    if (entity->ranges)
        response_header(res, "Accept-Ranges", STR("bytes"));
    if (verdict == RANGE_UNSATISFIABLE) {
        response_header_printf(res, "Content-Range", "bytes */%llu",
                               (unsigned long long)entity->size_bytes);
        return fail(res->req, ERR_RANGE_INVALID, "the content has %llu bytes; none is in the range",
                    (unsigned long long)entity->size_bytes);
    }
    response_header(res, "ETag", entity->etag);
    if (entity->cache_control.n > 0)
        response_header(res, "Cache-Control", entity->cache_control);
    res->status = verdict == RANGE_SOME ? 206 : 200;
    if (verdict == RANGE_SOME && n > 1) {
        add_parts(res, entity, ranges, n);
        return OK;
    }
    response_header(res, "Content-Type", entity->type);
    if (res->req->method == METHOD_HEAD) {
        res->body_bytes = entity->size_bytes;
    } else if (verdict == RANGE_SOME) {
        response_header_printf(res, "Content-Range", "bytes %llu-%llu/%llu",
                               (unsigned long long)ranges[0].first,
                               (unsigned long long)(ranges[0].first + ranges[0].n - 1),
                               (unsigned long long)entity->size_bytes);
        add_part(res, entity, ranges[0]);
    } else {
        add_part(res, entity, (struct range){0, entity->size_bytes});
    }
    return OK;
}

enum err response_entity(struct response *res, struct entity *entity)
{
    enum err e = OK;
    switch (request_condition(res->req, entity->etag)) {
    case CONDITION_HOLDS:
        e = plan_content(res, entity);
        break;
    case CONDITION_NOT_MODIFIED:
        res->status = 304;
        response_header(res, "ETag", entity->etag);
        if (entity->cache_control.n > 0)
            response_header(res, "Cache-Control", entity->cache_control);
        break;
    case CONDITION_FAILED:
        e = fail(res->req, ERR_PRECONDITION_FAILED, "the content is now %.*s",
                 STR_ARG(entity->etag));
        break;
    }
    file_unref(entity->file);
    return e;
}

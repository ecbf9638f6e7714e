#include "cli/local.h"

#include "api/routes.h"
#include "base/clock.h"
#include "base/hex.h"
#include "http/target.h"

#include <unistd.h>

static enum err handle(struct request *req, struct response *res)
{
    const struct router router = {api_routes, api_route_tables_n};
    struct target target;
    const char *why;
    str allowed;
    if (!target_parse(req->target, &target, &why))
        return fail(req, ERR_BAD_REQUEST, "%s", why);
    req->path = target.path;
    req->query = target.query;
    enum err e = router_match(&router, req, &allowed);
    return e ? e : req->route->handler(req, res);
}

static str lower(struct arena *a, str name)
{
    char *p = arena_cstr(a, name);
    for (size_t i = 0; i < name.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] |= 0x20;
    return str_make(p, name.n);
}

static void take_answer(const struct response *res, struct arena *a, struct client_answer *ret)
{
    char *body = arena_alloc(a, res->body_bytes);
    size_t n = 0;
    for (const struct segment *s = res->first; s && !s->file; s = s->next) {
        memcpy(body + n, s->memory.p, s->memory.n);
        n += s->memory.n;
    }
    struct field *fields = ARENA_ARRAY(a, res->header_n, struct field);
    for (size_t i = 0; i < res->header_n; i++)
        fields[i] = (struct field){lower(a, res->headers[i].name), res->headers[i].value};
    *ret = (struct client_answer){
        .status = res->status,
        .fields = fields,
        .field_n = res->header_n,
        .body = str_make(body, n),
    };
}

void local_exchange(struct app *app, const struct client_request *request, struct arena *a,
                    struct client_answer *ret)
{
    static const struct field fields[] = {{STR_INIT("content-type"), STR_INIT("application/json")}};
    struct response res;
    struct request req = {
        .arena = a,
        .method = request->method,
        .target = request->target,
        .host = STR("localhost"),
        .local = STR("localhost"),
        .admin = true,
        .admin_uid = geteuid(),
        .fields = fields,
        .field_n = request->body.p ? 1 : 0,
        .body_bytes = request->body.n,
        .body = request->body,
        .start_us = clock_mono_us(),
        .app = app,
    };
    uint64_t id;
    random_bytes(&id, sizeof id);
    hex_encode(req.id, &id, sizeof id);
    response_init(&res, &req);
    enum err e = handle(&req, &res);
    if (e)
        api_render_error(&req, &res, e);
    take_answer(&res, a, ret);
    response_release(&res);
}

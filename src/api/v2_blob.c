/* Blobs: GET, HEAD, DELETE (OCI distribution specification end-2, end-10). */
#include "api/routes.h"
#include "api/v2.h"
#include "base/clock.h"
#include "registry/content.h"
#include "registry/review.h"

static enum err unknown(struct request *req, const struct v2_call *call)
{
    return fail(req, ERR_BLOB_UNKNOWN, "blob %.*s is not in %.*s", STR_ARG(req->args[1]),
                STR_ARG(call->name.asked));
}

static enum err open_content(struct request *req, const struct v2_call *call,
                             const struct blob *blob, struct entity *entity)
{
    struct registry *registry = &call->app->registry;
    if (req->method == METHOD_HEAD)
        return content_check(registry, call->conn, blob);
    if (blob->size_bytes <= CONTENT_BYTES_MAX) /* leaves with the head in one write */
        return content_load(registry, call->conn, blob, req->arena, &entity->memory);
    return blob_serve(registry->store, call->conn, blob, &entity->file);
}

/* A push counts on HEAD 200: the manifest that is sent next names the blob. Whoever asks may be
 * about to push, with this token or another one. A GET has the bytes already; that of who may not
 * push is a pull. What cannot be recorded is no reason to refuse a pull. */
static enum err lease(const struct request *req, const struct v2_call *call,
                      const struct digest *digest, const struct blob *blob)
{
    struct registry *registry = &call->app->registry;
    bool asks = req->method == METHOD_HEAD;
    if (!review_must_lease(blob->review_from, registry->review_delay_ms, clock_wall_us()))
        return OK;
    if (!db_may_block(call->conn))
        return ERR_WOULD_BLOCK;
    bool may_push = v2_may_push(call);
    if (!asks && !may_push)
        return OK;
    enum err e = blob_lease(registry, call->name.full, digest);
    return e == ERR_BLOB_UNKNOWN || (asks && may_push) ? e : OK;
}

static enum err blob_get(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct v2_call *call;
    struct digest digest;
    struct blob blob;
    struct entity entity = {0};
    enum err e = snapshot.err;
    if (!e)
        e = v2_enter(req, res, ACTION_PULL, &call);
    if (!e)
        e = v2_digest(req, req->args[1], &digest);
    if (!e)
        e = blob_find_linked(call->conn, call->name.full, &digest, &blob);
    if (!e)
        e = lease(req, call, &digest, &blob);
    if (!e)
        e = open_content(req, call, &blob, &entity);
    if (e == ERR_BLOB_UNKNOWN)
        return unknown(req, call);
    if (e)
        return e;
    entity.etag = digest_quoted(req->arena, &digest);
    response_header(res, "Docker-Content-Digest",
                    str_first(str_skip(entity.etag, 1), entity.etag.n - 2));
    entity.type = STR("application/octet-stream");
    entity.cache_control = STR("max-age=31536000, immutable");
    entity.size_bytes = blob.size_bytes;
    entity.ranges = true;
    return response_entity(res, &entity);
}

struct unlink {
    const struct name *name;
    const struct digest *digest;
};

static enum err unlink_tx(struct db_conn *conn, void *arg)
{
    const struct unlink *unlink = arg;
    struct repository repository;
    enum err e = repository_find(conn, unlink->name->full, &repository);
    return e ? e : blob_unlink(conn, &repository, unlink->digest, clock_wall_us());
}

static enum err blob_delete(struct request *req, struct response *res)
{
    struct v2_call *call;
    struct digest digest;
    enum err e = v2_enter(req, res, ACTION_DELETE, &call);
    if (!e)
        e = v2_digest(req, req->args[1], &digest);
    if (e)
        return e;
    struct unlink unlink = {&call->name, &digest};
    e = db_tx(call->app->db, unlink_tx, &unlink);
    if (e == ERR_BLOB_UNKNOWN || e == ERR_NAME_UNKNOWN)
        return unknown(req, call);
    if (e == ERR_BLOB_IN_USE) {
        response_header(res, "Allow", STR("GET, HEAD")); /* RFC 9110 15.5.6: with every 405 */
        return fail(req, e, "a manifest in %.*s still uses blob %.*s; delete the manifest first",
                    STR_ARG(call->name.asked), STR_ARG(req->args[1]));
    }
    if (!e)
        res->status = 202;
    return e;
}

const struct route v2_blob_routes[] = {
    {METHOD_GET, "/v2/{name...}/blobs/{digest}", blob_get, BODY_DRAIN, .quick = true,
     .help = "Read a blob, whole or in ranges (OCI end-2)"},
    {METHOD_DELETE, "/v2/{name...}/blobs/{digest}", blob_delete, BODY_DRAIN,
     .help = "Remove a blob from a repository (OCI end-10)"},
    {0},
};

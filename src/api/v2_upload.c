/* Blob uploads: start, mount, stream, finish, status, cancel (OCI distribution specification
 * end-4, end-5, end-6, end-11, end-13, end-14).
 *
 * A request with a body goes: handler (head) -> sink (bytes) -> patch_done, put_done or put_failed.
 * Nothing is acknowledged that is not synced and recorded. */
#include "api/content_range.h"
#include "api/routes.h"
#include "api/v2.h"
#include "blob/upload_sink.h"
#include "registry/review.h"
#include "registry/upload.h"

/* One streamed request; lives in its arena. */
struct streaming {
    struct v2_call *call;
    struct upload *upload;
    str uuid;
    struct digest digest; /* PUT and monolithic POST: what the client says it is */
    uint64_t range_bytes; /* of Content-Range, or BODY_UNKNOWN */
};

static void answer_position(struct response *res, const struct v2_call *call, str uuid,
                            uint64_t offset)
{
    response_header_printf(res, "Location", "/v2/%.*s/blobs/uploads/%.*s",
                           STR_ARG(call->name.asked), STR_ARG(uuid));
    /* The header cannot say "nothing yet": clients read 0-0 as that. */
    response_header_printf(res, "Range", "0-%llu", (unsigned long long)(offset ? offset - 1 : 0));
    response_header(res, "Docker-Upload-UUID", uuid);
}

static void answer_created(struct response *res, const struct v2_call *call,
                           const struct digest *digest)
{
    str text = digest_text(res->req->arena, digest);
    res->status = 201;
    response_header_printf(res, "Location", "/v2/%.*s/blobs/%.*s", STR_ARG(call->name.asked),
                           STR_ARG(text));
    response_header(res, "Docker-Content-Digest", text);
}

static struct upload_owner owner(const struct v2_call *call)
{
    return (struct upload_owner){call->name.full, call->who.principal.name};
}

static enum err unknown(struct request *req, str uuid)
{
    return fail(req, ERR_BLOB_UPLOAD_UNKNOWN,
                "upload %.*s is not known here: it was finished, cancelled or has expired",
                STR_ARG(str_first(uuid, 64)));
}

static enum err busy(struct request *req, str uuid)
{
    return fail(req, ERR_BLOB_UPLOAD_BUSY, "another request is writing to upload %.*s",
                STR_ARG(uuid));
}

/* The uuid in the path and the upload behind it. */
static enum err find(struct request *req, const struct v2_call *call, str *uuid,
                     struct upload_row *row)
{
    uint8_t id[16];
    if (!uuid_parse(req->args[1], id))
        return unknown(req, req->args[1]);
    const struct upload_owner who = owner(call);
    enum err e = upload_find(&call->app->registry, call->conn, req->args[1], &who, row);
    if (e == ERR_BLOB_UPLOAD_UNKNOWN)
        return unknown(req, req->args[1]);
    *uuid = req->args[1];
    return e;
}

static enum err store_failed(struct request *req, enum err e)
{
    if (e == ERR_NO_SPACE)
        return fail(req, e, "the registry's disk is full; nothing of this request was kept");
    return e;
}

/* Syncs what was received and records it. */
static enum err acknowledge(struct streaming *s, uint64_t total_bytes)
{
    const struct upload_owner who = owner(s->call);
    enum err e = upload_sync(s->upload, total_bytes);
    return e ? e : upload_advance(&s->call->app->registry, s->uuid, &who, total_bytes);
}

/* End of a body, the way clients stream layers: the bytes are kept and the offset acknowledged. */
static enum err patch_done(void *arg, struct request *req, struct response *res,
                           uint64_t total_bytes)
{
    struct streaming *s = arg;
    UPLOAD_CLEANUP struct upload *upload = s->upload;
    uint64_t received = total_bytes - upload->offset;
    if (s->range_bytes != BODY_UNKNOWN && received != s->range_bytes)
        return fail(req, ERR_SIZE_INVALID,
                    "Content-Range announced %llu bytes, %llu arrived; the upload stays where it "
                    "was",
                    (unsigned long long)s->range_bytes, (unsigned long long)received);
    enum err e = acknowledge(s, total_bytes);
    if (e)
        return store_failed(req, e);
    upload_checkin(upload, true);
    upload = NULL;
    res->status = 202;
    answer_position(res, s->call, s->uuid, total_bytes);
    return OK;
}

/* What to say of a body that did not arrive whole. When the sender is to blame, http/ knows better
 * what was wrong: too slow, bad framing. */
static enum err receive_failed(struct request *req, enum err why)
{
    return why == ERR_CLOSED ? OK : store_failed(req, why);
}

/* The sender went away in the middle: what arrived is kept, and status tells how much. */
static enum err patch_failed(void *arg, struct request *req, struct response *res,
                             uint64_t total_bytes, enum err why)
{
    struct streaming *s = arg;
    UPLOAD_CLEANUP struct upload *upload = s->upload;
    (void)res;
    if (why != ERR_CLOSED || s->range_bytes != BODY_UNKNOWN)
        return receive_failed(req, why);
    enum err e = acknowledge(s, total_bytes);
    if (!e) {
        upload_checkin(upload, true);
        upload = NULL;
    }
    return e ? e : receive_failed(req, why);
}

static enum err finish_blob(struct streaming *s, struct request *req, struct response *res,
                            uint64_t total_bytes)
{
    struct v2_call *call = s->call;
    struct registry *registry = &call->app->registry;
    struct digest actual;
    enum err e = upload_digest(s->upload, total_bytes, digest_algorithm(&s->digest), &actual);
    if (e)
        return e;
    if (!digest_eq(&actual, &s->digest)) {
        e = upload_discard(s->upload);
        if (!e)
            e = upload_delete(registry, s->uuid);
        return fail(req, e ? e : ERR_DIGEST_INVALID,
                    "the content's digest is %.*s, not %.*s; the upload was thrown away",
                    STR_ARG(digest_text(req->arena, &actual)),
                    STR_ARG(digest_text(req->arena, &s->digest)));
    }
    struct upload_commit commit = {
        .name = &call->name,
        .digest = s->digest,
        .size_bytes = total_bytes,
        .maker = v2_maker(call),
    };
    e = upload_finish(registry, call->conn, s->upload, &commit);
    if (!e)
        answer_created(res, call, &s->digest);
    return e;
}

static enum err finish_put(struct streaming *s, struct request *req, struct response *res,
                           uint64_t total_bytes)
{
    uint64_t received = total_bytes - s->upload->offset;
    if (s->range_bytes != BODY_UNKNOWN && received != s->range_bytes)
        return fail(req, ERR_SIZE_INVALID, "Content-Range announced %llu bytes, %llu arrived",
                    (unsigned long long)s->range_bytes, (unsigned long long)received);
    v2_resume(s->call, req);
    return store_failed(req, finish_blob(s, req, res, total_bytes));
}

static enum err put_done(void *arg, struct request *req, struct response *res, uint64_t total_bytes)
{
    struct streaming *s = arg;
    UPLOAD_CLEANUP struct upload *upload = s->upload;
    return finish_put(s, req, res, total_bytes);
}

/* A final body that broke off is not kept: the client will send it again from where it started. */
static enum err put_failed(void *arg, struct request *req, struct response *res,
                           uint64_t total_bytes, enum err why)
{
    struct streaming *s = arg;
    (void)res, (void)total_bytes;
    upload_checkin(s->upload, false);
    return receive_failed(req, why);
}

/* A monolithic POST has no row to come back to: without a blob its file is of no use. */
static void discard_file(struct upload *upload)
{
    enum err e = upload_discard(upload);
    (void)e; /* a stray file is harmless, and the client must learn what came before */
}

static enum err post_done(void *arg, struct request *req, struct response *res,
                          uint64_t total_bytes)
{
    struct streaming *s = arg;
    UPLOAD_CLEANUP struct upload *upload = s->upload;
    enum err e = finish_put(s, req, res, total_bytes);
    if (e)
        discard_file(upload);
    return e;
}

static enum err post_failed(void *arg, struct request *req, struct response *res,
                            uint64_t total_bytes, enum err why)
{
    struct streaming *s = arg;
    discard_file(s->upload);
    return put_failed(arg, req, res, total_bytes, why);
}

/* From here the upload belongs to the sink. */
static enum err stream(struct request *req, struct response *res, struct streaming *s,
                       upload_finish_fn *finish, upload_abort_fn *abort)
{
    struct registry *registry = &s->call->app->registry;
    /* An upload whose bytes are all here may be finished: that takes next to nothing. */
    enum err e = req->body_bytes ? v2_check_space(req) : OK;
    if (e)
        return e;
    struct upload_sink_options options = {
        .pool = registry->pool,
        .upload = s->upload,
        .size_max = registry->blob_bytes_max ? registry->blob_bytes_max : UINT64_MAX,
        .body_bytes = req->body_bytes,
        .finish = finish,
        .abort = abort,
        .arg = s,
    };
    e = upload_sink_new(&options, &res->sink);
    if (e == ERR_BODY_TOO_LARGE)
        return fail(req, e, "a blob may have at most %llu bytes here (limits.blob)",
                    (unsigned long long)registry->blob_bytes_max);
    return e;
}

static enum err post_monolithic(struct request *req, struct response *res, struct v2_call *call,
                                const struct digest *digest)
{
    UPLOAD_CLEANUP struct upload *upload = NULL;
    uint8_t id[16];
    char *uuid = arena_alloc(req->arena, UUID_LEN);
    uuid_new(id);
    struct streaming *s = ARENA_NEW(req->arena, struct streaming);
    *s = (struct streaming){.call = call,
                            .uuid = uuid_format(id, uuid),
                            .digest = *digest,
                            .range_bytes = BODY_UNKNOWN};
    enum err e = upload_checkout(call->app->registry.uploads, s->uuid, &upload);
    if (!e)
        e = upload_resume(upload, 0, digest_algorithm(digest));
    s->upload = upload;
    if (!e)
        e = stream(req, res, s, post_done, post_failed);
    if (!e)
        upload = NULL;
    else if (upload)
        discard_file(upload);
    return store_failed(req, e);
}

/* What is mounted from where. A source that is unknown, unreadable or malformed is no error: the
 * client gets an ordinary upload instead. */
struct source {
    struct name name;
    struct digest digest;
    bool usable;
};

/* Whether the source has the blob, and its file can be read: who mounts a blob will not push it,
 * and then nobody would repair it. */
static enum err check_content(struct v2_call *call, const struct source *source)
{
    struct blob blob;
    struct file *file;
    enum err e = blob_find_linked(call->conn, source->name.full, &source->digest, &blob);
    if (!e)
        e = blob_open(call->app->registry.store, &blob, &file);
    if (!e)
        file_unref(file);
    return e;
}

static enum err find_source(struct request *req, struct v2_call *call, struct source *ret)
{
    str mount, from;
    struct error ignored = {0};
    ret->usable = false;
    if (!request_query(req, STR("mount"), &mount) || !request_query(req, STR("from"), &from) ||
        digest_parse(mount, false, &ret->digest) ||
        name_parse(req->arena, from, &ret->name, &ignored))
        return OK;
    enum err e = auth_allows(call->app->auth, call->conn, &call->who, ACTION_PULL, ret->name.full);
    if (!e)
        e = check_content(call, ret);
    ret->usable = !e;
    return e == ERR_DENIED || e == ERR_BLOB_UNKNOWN || e == ERR_BLOB_UNREADABLE ? OK : e;
}

/* ERR_BLOB_UNKNOWN when the source has it no more. */
static enum err mount(struct response *res, struct v2_call *call, const struct source *source)
{
    struct maker maker = v2_maker(call);
    enum err e =
        blob_mount(&call->app->registry, &source->name, &call->name, &source->digest, &maker);
    if (!e)
        answer_created(res, call, &source->digest);
    return e;
}

static enum err upload_post(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct v2_call *call;
    struct source source;
    struct digest digest;
    str text;
    enum digest_algorithm algorithm = DIGEST_sha256;
    enum err e = snapshot.err;
    if (!e)
        e = v2_enter(req, res, ACTION_PUSH, &call);
    if (!e)
        e = find_source(req, call, &source);
    db_snapshot_end(&snapshot); /* it would keep the log from being cut while one waits for disks */
    if (e)
        return e;
    if (source.usable) {
        e = mount(res, call, &source);
        if (e != ERR_BLOB_UNKNOWN)
            return e;
    }
    e = v2_check_space(req);
    if (e)
        return e;
    if (request_query(req, STR("digest"), &text)) {
        e = v2_digest(req, text, &digest);
        return e ? e : post_monolithic(req, res, call, &digest);
    }
    if (request_query(req, STR("digest-algorithm"), &text)) {
        algorithm = digest_algorithm_parse(text);
        if (algorithm == DIGEST_OTHER)
            return fail(req, ERR_DIGEST_INVALID,
                        "digest-algorithm \"%.*s\" is not known; sha256 and sha512 are",
                        STR_ARG(str_first(text, 40)));
    }
    char *uuid = arena_alloc(req->arena, UUID_LEN);
    const struct upload_owner who = owner(call);
    e = upload_create(&call->app->registry, &who, algorithm, uuid);
    if (e == ERR_TOO_MANY_REQUESTS)
        return fail(req, e, "too many unfinished uploads (limits.uploads); try again later");
    if (e)
        return e;
    res->status = 202;
    answer_position(res, call, str_make(uuid, UUID_LEN), 0);
    return OK;
}

/* Content-Range against the upload's end and the body's length; decided before a byte is read, so
 * that a refusal leaves the upload untouched. */
static enum err check_range(struct request *req, struct response *res, struct streaming *s,
                            uint64_t offset)
{
    str header = request_header(req, STR("content-range"));
    uint64_t first, last;
    s->range_bytes = BODY_UNKNOWN;
    if (!header.p)
        return OK;
    if (!content_range_parse(header, &first, &last))
        return fail(req, ERR_BLOB_UPLOAD_INVALID,
                    "Content-Range must be <first>-<last>, two byte positions, not \"%.*s\"",
                    STR_ARG(str_first(header, 60)));
    if (first > last || first != offset)
        answer_position(res, s->call, s->uuid, offset);
    if (first > last)
        return fail(req, ERR_BLOB_UPLOAD_RANGE,
                    "Content-Range %.*s ends before it begins; both positions are inclusive",
                    STR_ARG(str_first(header, 60)));
    if (first != offset)
        return fail(req, ERR_BLOB_UPLOAD_RANGE,
                    "the upload has %llu bytes, so the next chunk starts at %llu, not %llu",
                    (unsigned long long)offset, (unsigned long long)offset,
                    (unsigned long long)first);
    s->range_bytes = last - first + 1;
    if (req->body_bytes != BODY_UNKNOWN && req->body_bytes != s->range_bytes)
        return fail(req, ERR_SIZE_INVALID,
                    "Content-Range announces %llu bytes, Content-Length %llu",
                    (unsigned long long)s->range_bytes, (unsigned long long)req->body_bytes);
    return OK;
}

/* What PATCH and PUT share: the upload is taken, then looked up (it cannot move any more), the
 * range checked, file and hash brought to the offset, and the body streamed. */
static enum err receive(struct request *req, struct response *res, struct streaming *s,
                        upload_finish_fn *finish, upload_abort_fn *abort)
{
    UPLOAD_CLEANUP struct upload *upload = NULL;
    struct upload_row row;
    enum err e = upload_checkout(s->call->app->registry.uploads, s->uuid, &upload);
    if (e == ERR_BLOB_UPLOAD_BUSY)
        return busy(req, s->uuid);
    if (!e)
        e = find(req, s->call, &s->uuid, &row);
    if (!e)
        e = check_range(req, res, s, row.offset_bytes);
    if (e)
        return e;
    e = upload_resume(upload, row.offset_bytes, row.algorithm);
    if (e == ERR_BLOB_UPLOAD_UNKNOWN)
        return unknown(req, s->uuid);
    s->upload = upload;
    if (!e)
        e = stream(req, res, s, finish, abort);
    if (!e)
        upload = NULL;
    return store_failed(req, e);
}

static enum err streaming_new(struct request *req, struct response *res, struct streaming **ret)
{
    struct streaming *s = ARENA_NEW(req->arena, struct streaming);
    struct upload_row row;
    enum err e = v2_enter(req, res, ACTION_PUSH, &s->call);
    if (!e)
        e = find(req, s->call, &s->uuid, &row);
    *ret = s;
    return e;
}

static enum err upload_patch(struct request *req, struct response *res)
{
    struct streaming *s;
    enum err e = streaming_new(req, res, &s);
    return e ? e : receive(req, res, s, patch_done, patch_failed);
}

/* A client that lost the answer to its last PUT asks again: the blob is there, so it is told so. */
static enum err put_again(struct request *req, struct response *res, const struct v2_call *call,
                          const struct digest *digest, enum err unknown_upload)
{
    struct blob blob;
    if (req->body_bytes != 0 || blob_find_linked(call->conn, call->name.full, digest, &blob) ||
        blob_lease(&call->app->registry, call->name.full, digest))
        return unknown_upload;
    req->error = (struct error){0};
    answer_created(res, call, digest);
    return OK;
}

static enum err upload_put(struct request *req, struct response *res)
{
    struct streaming *s;
    struct digest digest;
    str text;
    enum err e = streaming_new(req, res, &s);
    if (e && e != ERR_BLOB_UPLOAD_UNKNOWN)
        return e;
    if (!request_query(req, STR("digest"), &text))
        return e ? e
                 : fail(req, ERR_DIGEST_INVALID,
                        "the query parameter digest is missing; the upload stays open");
    enum err malformed = digest_parse(text, false, &digest);
    if (e)
        return malformed ? e : put_again(req, res, s->call, &digest, e);
    e = v2_digest(req, text, &s->digest);
    if (!e)
        e = receive(req, res, s, put_done, put_failed);
    /* The first of two equal requests may have ended the upload a moment ago. */
    return e == ERR_BLOB_UPLOAD_UNKNOWN ? put_again(req, res, s->call, &s->digest, e) : e;
}

static enum err upload_get(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct v2_call *call;
    struct upload_row row;
    str uuid;
    enum err e = snapshot.err;
    if (!e)
        e = v2_enter(req, res, ACTION_PUSH, &call);
    db_snapshot_end(&snapshot); /* a row may have been written since */
    if (!e)
        e = find(req, call, &uuid, &row);
    if (e)
        return e;
    res->status = 204;
    answer_position(res, call, uuid, row.offset_bytes);
    return OK;
}

/* Needs no more than the right to push: clients that cancel do not ask for delete. */
static enum err upload_cancel(struct request *req, struct response *res)
{
    struct v2_call *call;
    struct upload_row row;
    str uuid;
    UPLOAD_CLEANUP struct upload *upload = NULL;
    enum err e = v2_enter(req, res, ACTION_PUSH, &call);
    if (!e)
        e = find(req, call, &uuid, &row);
    if (e)
        return e;
    e = upload_checkout(call->app->registry.uploads, uuid, &upload);
    if (e == ERR_BLOB_UPLOAD_BUSY)
        return busy(req, uuid);
    if (!e)
        e = upload_delete(&call->app->registry, uuid);
    if (!e)
        e = upload_discard(upload);
    if (!e) {
        res->status = 204;
        response_header(res, "Docker-Upload-UUID", uuid);
    }
    return e;
}

const struct route v2_upload_routes[] = {
    {METHOD_POST, "/v2/{name...}/blobs/uploads/", upload_post, BODY_STREAM,
     .help = "Start an upload, upload at once, or mount (OCI end-4, end-11)"},
    {METHOD_POST, "/v2/{name...}/blobs/uploads", upload_post, BODY_STREAM, .help = "The same"},
    {METHOD_PATCH, "/v2/{name...}/blobs/uploads/{uuid}", upload_patch, BODY_STREAM,
     .help = "Append to an upload (OCI end-5)"},
    {METHOD_PUT, "/v2/{name...}/blobs/uploads/{uuid}", upload_put, BODY_STREAM,
     .help = "Finish an upload (OCI end-6)"},
    {METHOD_GET, "/v2/{name...}/blobs/uploads/{uuid}", upload_get, BODY_DRAIN,
     .help = "How far an upload is (OCI end-13)"},
    {METHOD_DELETE, "/v2/{name...}/blobs/uploads/{uuid}", upload_cancel, BODY_DRAIN,
     .help = "Cancel an upload (OCI end-14)"},
    {0},
};

/* Manifests: GET, HEAD, PUT, DELETE (OCI distribution specification end-3, end-7, end-9). */
#include "api/platform_help.h"
#include "api/routes.h"
#include "api/v2.h"
#include "base/clock.h"
#include "registry/manifest.h"
#include "registry/review.h"
#include "registry/tag.h"

#include "json/write.h"

enum {
    TAGS_MAX = 32,       /* tag parameters in one PUT; the specification asks for 10 */
    MISSING_SHOWN = 256, /* parts a refused manifest lacks, told one by one */
};

static enum err enter(struct request *req, struct response *res, enum action action,
                      struct v2_call **call, struct reference *reference)
{
    enum err e = v2_enter(req, res, action, call);
    return e ? e : reference_parse(req->arena, req->args[1], reference, &req->error);
}

/* Tells who may pull what is there instead. */
static enum err unknown(struct request *req, const struct v2_call *call,
                        const struct reference *reference)
{
    struct repository repository;
    str near[TAG_NEAR_MAX];
    size_t n = 0;
    DB_SNAPSHOT struct db_snapshot snapshot = db_snapshot_begin(call->conn);
    enum err e = snapshot.err;
    if (!e)
        e = repository_find(call->conn, call->name.full, &repository);
    if (e == ERR_NAME_UNKNOWN)
        return fail(req, e, "repository %.*s does not exist", STR_ARG(call->name.asked));
    if (e)
        return e;
    /* A token may be for deleting alone. */
    if (!reference->is_digest)
        e = auth_allows(call->app->auth, call->conn, &call->who, ACTION_PULL, call->name.full);
    if (!e && !reference->is_digest)
        e = tag_near(call->conn, &repository, reference->tag, req->arena, near, &n);
    if (e && e != ERR_DENIED)
        return e;
    str list = {0};
    for (size_t i = 0; i < n; i++)
        list =
            arena_printf(req->arena, "%.*s%s%.*s", STR_ARG(list), i ? ", " : "", STR_ARG(near[i]));
    return fail(req, ERR_MANIFEST_UNKNOWN, "%s %.*s is not in %.*s%s%.*s",
                reference->is_digest ? "manifest" : "tag", STR_ARG(reference->text),
                STR_ARG(call->name.asked), n ? "; near ones: " : "", STR_ARG(list));
}

static bool is_covered(const struct v2_call *call, const struct conf_list *patterns)
{
    for (size_t i = 0; i < patterns->n; i++) {
        if (name_matches(call->name.full, patterns->items[i]))
            return true;
    }
    return false;
}

/* As in v2_blob.c, where manifests without a tag are collected. What a tag names is in no danger.
 */
static enum err lease(const struct request *req, const struct v2_call *call,
                      const struct reference *reference, const struct manifest_view *view)
{
    struct registry *registry = &call->app->registry;
    bool asks = req->method == METHOD_HEAD;
    if (!reference->is_digest ||
        !review_must_lease(view->review_from, registry->review_delay_ms, clock_wall_us()) ||
        !is_covered(call, &call->app->conf->gc_untagged))
        return OK;
    if (!db_may_block(call->conn))
        return ERR_WOULD_BLOCK;
    bool may_push = v2_may_push(call);
    if (!asks && !may_push)
        return OK;
    enum err e = manifest_lease(registry, call->name.full, &view->digest);
    return e == ERR_MANIFEST_UNKNOWN || (asks && may_push) ? e : OK;
}

static enum err manifest_get_handler(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct v2_call *call;
    struct reference reference;
    struct manifest_view view;
    enum err e = snapshot.err;
    if (!e)
        e = enter(req, res, ACTION_PULL, &call, &reference);
    if (e == ERR_TAG_INVALID) { /* nothing of that name can be there; the text says why */
        req->error.code = ERR_MANIFEST_UNKNOWN;
        return ERR_MANIFEST_UNKNOWN;
    }
    if (!e)
        e = manifest_get(call->conn, call->name.full, &reference, req->method == METHOD_GET,
                         req->arena, &view);
    if (!e)
        e = lease(req, call, &reference, &view);
    if (e == ERR_MANIFEST_UNKNOWN)
        return unknown(req, call, &reference);
    if (!e && !reference.is_digest)
        e = platform_warn(req, res, call, view.body);
    if (e)
        return e;
    str etag = digest_quoted(req->arena, &view.digest);
    response_header(res, "Docker-Content-Digest", str_first(str_skip(etag, 1), etag.n - 2));
    struct entity entity = {
        .etag = etag,
        .type = view.media_type,
        .cache_control = reference.is_digest ? STR("max-age=31536000, immutable") : STR("no-cache"),
        .memory = view.bytes,
        .size_bytes = view.size_bytes,
    };
    return response_entity(res, &entity);
}

static const char *kind(const struct manifest *manifest, size_t i)
{
    if (manifest_type_is_index(manifest->type))
        return manifest->refs[i].is_manifest ? "manifest" : "blob";
    return i == 0 ? "config" : "layer";
}

/* Parts that were told of so far. */
struct missing_list {
    const struct manifest_ref *refs[MISSING_SHOWN];
    struct error *last;
    size_t n;
};

static bool is_listed(const struct missing_list *list, const struct manifest_ref *ref)
{
    for (size_t i = 0; i < list->n; i++) {
        if (digest_eq(&list->refs[i]->digest, &ref->digest))
            return true;
    }
    return false;
}

static void list_missing(struct request *req, const struct v2_call *call, const char *kind,
                         const struct manifest_ref *ref, struct missing_list *list)
{
    str digest = digest_text(req->arena, &ref->digest);
    struct error *entry = list->n ? ARENA_NEW(req->arena, struct error) : &req->error;
    BUF_CLEANUP struct buf detail = BUF_INIT(1024);
    struct json_writer w = {.out = &detail};
    jw_object(&w);
    jw_field(&w, "digest", digest);
    jw_field(&w, "mediaType", ref->media_type);
    jw_end(&w);
    entry->code = ERR_MANIFEST_BLOB_UNKNOWN;
    entry->message = arena_printf(req->arena, "%s %.*s is not in %.*s: push it first", kind,
                                  STR_ARG(digest), STR_ARG(call->name.asked));
    if (!detail.full)
        entry->detail = arena_str(req->arena, buf_str(&detail));
    if (list->last)
        list->last->next = entry;
    list->last = entry;
    list->refs[list->n++] = ref;
}

/* One error entry for each missing part, so that a person sees them all at once. */
static enum err missing_parts(struct request *req, const struct v2_call *call,
                              const struct manifest_put *put)
{
    struct missing_list *list = ARENA_NEW(req->arena, struct missing_list);
    for (size_t i = 0; i < put->manifest->ref_n; i++) {
        const struct manifest_ref *ref = &put->manifest->refs[i];
        if (!put->missing[i] || is_listed(list, ref))
            continue;
        if (list->n == MISSING_SHOWN) {
            list->last->message = arena_printf(req->arena, "%.*s; and more are missing",
                                               STR_ARG(list->last->message));
            break;
        }
        list_missing(req, call, kind(put->manifest, i), ref, list);
    }
    return ERR_MANIFEST_BLOB_UNKNOWN;
}

static enum err wrong_size(struct request *req, const struct manifest_put *put)
{
    size_t i = (size_t)put->wrong_size;
    const struct manifest_ref *ref = &put->manifest->refs[i];
    return fail(req, ERR_MANIFEST_INVALID,
                "the manifest says that %s %.*s has %llu bytes; the stored content has another "
                "size",
                kind(put->manifest, i), STR_ARG(digest_text(req->arena, &ref->digest)),
                (unsigned long long)ref->size_bytes);
}

/* Content-Type without parameters; p == NULL when absent. */
static str content_type(const struct request *req)
{
    str type, parameters;
    str value = request_header(req, STR("content-type"));
    str_cut(value, ';', &type, &parameters);
    type = str_trim(type);
    return type.n ? type : str_make(NULL, 0);
}

/* The digest of the body: as the URL claims it, or sha256 for a tag. */
static enum err check_digest(struct request *req, const struct reference *reference,
                             struct digest *ret)
{
    enum digest_algorithm alg =
        reference->is_digest ? digest_algorithm(&reference->digest) : DIGEST_sha256;
    digest_of(alg, req->body, ret);
    if (reference->is_digest && !digest_eq(ret, &reference->digest))
        return fail(req, ERR_DIGEST_INVALID,
                    "the manifest's digest is %.*s, not %.*s as the URL "
                    "says",
                    STR_ARG(digest_text(req->arena, ret)), STR_ARG(reference->text));
    return OK;
}

static bool is_among(const str *tags, size_t n, str tag)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(tags[i], tag))
            return true;
    }
    return false;
}

/* The tags to set: the one in the path, or those of `tag` parameters beside a digest. */
static enum err read_tags(struct request *req, const struct reference *reference,
                          struct manifest_put *put)
{
    str tag, *tags = ARENA_ARRAY(req->arena, TAGS_MAX, str);
    put->tags = tags;
    if (!reference->is_digest) {
        tags[put->tag_n++] = reference->tag;
        return request_query(req, STR("tag"), &tag)
                   ? fail(req, ERR_TAG_INVALID,
                          "the parameter tag goes with a manifest pushed by digest, not by tag")
                   : OK;
    }
    for (size_t i = 0; request_query_nth(req, STR("tag"), i, &tag); i++) {
        if (i == TAGS_MAX)
            return fail(req, ERR_TARGET_TOO_LONG, "at most %d tags in one request", TAGS_MAX);
        if (!tag_is_valid(tag))
            return fail(req, ERR_TAG_INVALID,
                        "invalid tag \"%.*s\" in the parameter tag: a tag has at most %d letters, "
                        "digits, '_', '.' and '-', and does not begin with '.' or '-'",
                        STR_ARG(str_first(tag, 200)), TAG_LENGTH_MAX);
        if (!is_among(tags, put->tag_n, tag))
            tags[put->tag_n++] = tag;
    }
    return OK;
}

static bool is_conditional(const struct request *req)
{
    return request_header(req, STR("if-match")).p || request_header(req, STR("if-none-match")).p;
}

static enum err condition_failed(struct request *req)
{
    return fail(req, ERR_PRECONDITION_FAILED,
                "%.*s does not name what If-Match or If-None-Match expects", STR_ARG(req->args[1]));
}

/* If-Match and If-None-Match (RFC 9110 13.1), against what is there when the write happens. */
static bool condition_holds(void *arg, const struct digest *current)
{
    struct request *req = arg;
    str etag = {0};
    if (current)
        etag = arena_printf(req->arena, "\"%.*s\"", STR_ARG(digest_text(req->arena, current)));
    return request_condition(req, etag) == CONDITION_HOLDS;
}

/* The config's text, when it is small and here; p == NULL otherwise. */
static str read_config(struct v2_call *call, struct arena *a, const struct manifest *manifest)
{
    str text, none = {0};
    struct blob blob;
    if (manifest_type_is_index(manifest->type) ||
        blob_find_linked(call->conn, call->name.full, &manifest->refs[0].digest, &blob) ||
        blob.size_bytes > FACT_CONFIG_BYTES_MAX ||
        blob_load(call->app->registry.store, &blob, a, &text))
        return none;
    return text;
}

static enum err prepare_put(struct request *req, struct response *res, struct v2_call **call,
                            struct manifest *manifest, struct manifest_put *put)
{
    struct reference reference;
    enum err e = enter(req, res, ACTION_PUSH, call, &reference);
    if (!e)
        e = v2_check_space(req);
    if (!e)
        e = read_tags(req, &reference, put);
    if (!e)
        e = check_digest(req, &reference, &put->digest);
    if (!e)
        e = manifest_parse(req->arena, req->body, content_type(req), manifest, &req->error);
    if (e)
        return e;
    uint64_t references_max = (*call)->app->conf->limits_manifest_references;
    if (manifest->ref_n > references_max)
        return fail(req, ERR_MANIFEST_TOO_LARGE,
                    "the manifest names %zu parts; at most %llu are accepted here "
                    "(limits.manifest_references)",
                    manifest->ref_n, (unsigned long long)references_max);
    struct facts *facts = ARENA_NEW(req->arena, struct facts);
    facts_read(req->arena, manifest, req->body, read_config(*call, req->arena, manifest), facts);
    put->facts = facts;
    put->sparse = is_covered(*call, &(*call)->app->conf->manifests_sparse);
    put->name = &(*call)->name;
    put->manifest = manifest;
    put->bytes = req->body;
    put->maker = v2_maker(*call);
    put->missing = ARENA_ARRAY(req->arena, manifest->ref_n, bool);
    if (is_conditional(req)) {
        put->condition = condition_holds;
        put->condition_arg = req;
    }
    if (put->condition && put->tag_n > 1)
        return fail(req, ERR_BAD_REQUEST,
                    "If-Match and If-None-Match go with one tag at most; here are %zu", put->tag_n);
    return OK;
}

static void answer_put(struct response *res, const struct v2_call *call,
                       const struct manifest_put *put, bool tags_asked)
{
    struct arena *a = res->req->arena;
    str digest = digest_text(a, &put->digest), tags = {0};
    res->status = 201;
    response_header_printf(res, "Location", "/v2/%.*s/manifests/%.*s", STR_ARG(call->name.asked),
                           STR_ARG(digest));
    response_header(res, "Docker-Content-Digest", digest);
    response_header_printf(res, "ETag", "\"%.*s\"", STR_ARG(digest)); /* for the next If-Match */
    if (put->manifest->has_subject)
        response_header(res, "OCI-Subject", digest_text(a, &put->manifest->subject));
    for (size_t i = 0; tags_asked && i < put->tag_n; i++)
        tags = arena_printf(a, "%.*s%s%.*s", STR_ARG(tags), i ? ", " : "", STR_ARG(put->tags[i]));
    if (tags.n)
        response_header(res, "OCI-Tag", tags);
}

static enum err manifest_put_handler(struct request *req, struct response *res)
{
    struct v2_call *call;
    struct manifest manifest;
    struct manifest_put put = {0};
    enum err e = prepare_put(req, res, &call, &manifest, &put);
    if (e)
        return e;
    e = db_tx(call->app->db, manifest_put_tx, &put);
    if (e == ERR_MANIFEST_BLOB_UNKNOWN)
        return missing_parts(req, call, &put);
    if (e == ERR_MANIFEST_INVALID)
        return wrong_size(req, &put);
    if (e == ERR_PRECONDITION_FAILED)
        return condition_failed(req);
    if (!e)
        answer_put(res, call, &put, request_query(req, STR("tag"), &(str){0}));
    return e;
}

static enum err manifest_delete_handler(struct request *req, struct response *res)
{
    struct v2_call *call;
    struct reference reference;
    enum err e = enter(req, res, ACTION_DELETE, &call, &reference);
    if (e)
        return e;
    struct maker maker = v2_maker(call);
    struct manifest_delete delete = {
        .name = &call->name,
        .reference = &reference,
        .by = maker.principal,
        .now_us = maker.now_us,
        .condition = is_conditional(req) ? condition_holds : NULL,
        .condition_arg = req,
    };
    e = db_tx(call->app->db, manifest_delete_tx, &delete);
    if (e == ERR_MANIFEST_UNKNOWN || e == ERR_NAME_UNKNOWN)
        return unknown(req, call, &reference);
    if (e == ERR_PRECONDITION_FAILED)
        return condition_failed(req);
    if (!e)
        res->status = 202;
    return e;
}

const struct route v2_manifest_routes[] = {
    {METHOD_GET, "/v2/{name...}/manifests/{reference}", manifest_get_handler, BODY_DRAIN,
     .quick = true, .help = "Read a manifest by tag or digest (OCI end-3)"},
    {METHOD_PUT, "/v2/{name...}/manifests/{reference}", manifest_put_handler, BODY_SMALL,
     .too_large = ERR_MANIFEST_TOO_LARGE, .help = "Store a manifest, with tags (OCI end-7)"},
    {METHOD_DELETE, "/v2/{name...}/manifests/{reference}", manifest_delete_handler, BODY_DRAIN,
     .help = "Delete a tag, or a manifest with its tags (OCI end-9)"},
    {0},
};

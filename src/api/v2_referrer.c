/* Referrers (OCI distribution specification end-12). Known repository or not, subject or not: the
 * answer is an index, or clients fall back to tags for good. */
#include "api/routes.h"
#include "api/v2.h"
#include "registry/referrer.h"

/* Clients cap such bodies like manifests, so a page ends early. One referrer alone may be larger:
 * its annotations are bounded by limits.manifest, whose bound this is. */
enum { PAGE_BYTES_SOFT = 3 << 20, PAGE_BYTES_MAX = (64 << 20) + (64 << 10) };

static str percent_encode(struct arena *a, str s)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, s.n * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '-' || c == '_';
        if (plain) {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    return str_make(out, n);
}

static void link_next(struct response *res, const struct v2_call *call,
                      const struct referrer_page *page)
{
    struct arena *a = res->req->arena;
    str filter =
        page->artifact_type.p
            ? arena_printf(a, "&artifactType=%.*s", STR_ARG(percent_encode(a, page->artifact_type)))
            : STR("");
    response_header_printf(res, "Link",
                           "</v2/%.*s/referrers/%.*s?n=%zu&last=%.*s%.*s>; rel=\"next\"",
                           STR_ARG(call->name.asked), STR_ARG(digest_text(a, page->subject)),
                           page->limit, STR_ARG(digest_text(a, &page->last)), STR_ARG(filter));
}

/* A media type holds no spaces: one was a '+' that the client did not escape. */
static str plus_for_space(struct arena *a, str s)
{
    char *out = arena_alloc(a, s.n);
    for (size_t i = 0; i < s.n; i++)
        out[i] = s.p[i] == ' ' ? '+' : s.p[i];
    return str_make(out, s.n);
}

/* Subjects may have digests of any algorithm: manifests that name them are accepted. */
static enum err read_subject(struct request *req, struct digest *ret)
{
    return digest_parse(req->args[1], true, ret) ? v2_digest(req, req->args[1], ret) : OK;
}

static enum err read_page(struct request *req, struct referrer_page *page)
{
    str text;
    enum err e = v2_page_size(req, &page->limit);
    if (!e && request_query(req, STR("last"), &text))
        e = v2_digest(req, text, &page->last);
    if (!e && request_query(req, STR("artifactType"), &text) && text.n)
        page->artifact_type = plus_for_space(req->arena, text);
    page->bytes_max = PAGE_BYTES_SOFT;
    return e;
}

static enum err write_index(struct v2_call *call, struct referrer_page *page, struct arena *a,
                            struct buf *out, bool *more)
{
    struct json_writer w = {.out = out};
    struct repository repository;
    *more = false;
    jw_object(&w);
    jw_key(&w, "schemaVersion");
    jw_int(&w, 2);
    jw_field(&w, "mediaType", manifest_type_text(MANIFEST_OCI_INDEX));
    jw_key(&w, "manifests");
    jw_array(&w);
    enum err e = repository_find(call->conn, call->name.full, &repository);
    if (!e)
        e = referrer_list(call->conn, &repository, page, a, &w, more);
    jw_end(&w);
    jw_end(&w);
    return e == ERR_NAME_UNKNOWN ? OK : e;
}

static enum err referrers_get(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct v2_call *call;
    struct digest subject;
    struct referrer_page page = {.subject = &subject};
    bool more;
    BUF_CLEANUP struct buf out = BUF_INIT(PAGE_BYTES_MAX);
    enum err e = snapshot.err;
    if (!e)
        e = v2_enter(req, res, ACTION_PULL, &call);
    if (!e)
        e = read_subject(req, &subject);
    if (!e)
        e = read_page(req, &page);
    if (!e)
        e = write_index(call, &page, req->arena, &out, &more);
    if (!e && out.full)
        return fail(req, ERR_LIMIT, "one referrer's annotations alone are larger than a page");
    if (e)
        return e;
    if (more)
        link_next(res, call, &page);
    if (page.artifact_type.p)
        response_header(res, "OCI-Filters-Applied", STR("artifactType"));
    return v2_answer_document(res, manifest_type_text(MANIFEST_OCI_INDEX), buf_str(&out));
}

const struct route v2_referrer_routes[] = {
    {METHOD_GET, "/v2/{name...}/referrers/{digest}", referrers_get, BODY_DRAIN,
     .help = "Manifests about a digest (OCI end-12)"},
    {0},
};

/* Tag history: what a tag was, and the way back (docs/tags.md). */
#include "api/routes.h"
#include "api/v2.h"
#include "base/clock.h"
#include "registry/tag_history.h"
#include "json/read.h"
#include "json/write.h"

enum { ANSWER_BYTES_MAX = 8 << 20, RESTORE_BYTES_MAX = 4096 };

struct tag_call {
    struct v2_call *call;
    struct repository repository;
    str tag;
};

static enum err enter(struct request *req, struct response *res, enum action action,
                      struct tag_call *ret)
{
    enum err e = api_enter(req, res, action, &ret->call);
    if (e)
        return e;
    ret->tag = req->args[1];
    if (!tag_is_valid(ret->tag))
        return fail(req, ERR_TAG_INVALID,
                    "invalid tag \"%.*s\": letters, digits, '_', '.' and '-', at most %d, not "
                    "beginning with '.' or '-'",
                    STR_ARG(str_first(ret->tag, 200)), TAG_LENGTH_MAX);
    const struct name *name = &ret->call->name;
    e = repository_find(ret->call->conn, name->full, &ret->repository);
    if (e == ERR_NAME_UNKNOWN)
        return fail(req, e, "repository %.*s does not exist", STR_ARG(name->asked));
    return e;
}

static enum err read_time(struct request *req, const char *what, str text, int64_t *ret)
{
    if (clock_rfc3339_parse(text, ret))
        return OK;
    return fail(req, ERR_TIME_INVALID,
                "%s: \"%.*s\" is no time; write 2026-01-31T12:00:00Z, 2026-01-31T12:00:00+01:00 "
                "(in a URL, + is %%2B) or 2026-01-31, its first moment in UTC",
                what, STR_ARG(str_first(text, 80)));
}

static str time_text(struct arena *a, int64_t at_us)
{
    char out[CLOCK_RFC3339_LEN];
    return arena_str(a, clock_rfc3339(at_us, out));
}

static enum err unknown_tag(struct request *req, const struct tag_call *t)
{
    str near[TAG_NEAR_MAX], list = {0};
    size_t n;
    enum err e = tag_near(t->call->conn, &t->repository, t->tag, req->arena, near, &n);
    if (e)
        return e;
    for (size_t i = 0; i < n; i++)
        list =
            arena_printf(req->arena, "%.*s%s%.*s", STR_ARG(list), i ? ", " : "", STR_ARG(near[i]));
    return fail(req, ERR_TAG_UNKNOWN, "%.*s has no tag %.*s, and no history of one%s%.*s",
                STR_ARG(t->call->name.asked), STR_ARG(t->tag), n ? "; near ones: " : "",
                STR_ARG(list));
}

/* Why the tag pointed at nothing then. */
static enum err absent(struct request *req, const struct tag_call *t, int64_t at_us)
{
    int64_t began_us;
    enum err e = tag_began(t->call->conn, &t->repository, t->tag, &began_us);
    if (e)
        return e == ERR_TAG_UNKNOWN ? unknown_tag(req, t) : e;
    if (at_us == TAG_NOW)
        return fail(req, ERR_TAG_ABSENT, "tag %.*s was deleted; its history tells what it was",
                    STR_ARG(t->tag));
    str at = time_text(req->arena, at_us);
    if (at_us >= began_us)
        return fail(req, ERR_TAG_ABSENT, "tag %.*s pointed at nothing at %.*s: it was deleted",
                    STR_ARG(t->tag), STR_ARG(at));
    return fail(req, ERR_TAG_ABSENT, "the history of tag %.*s begins at %.*s, after %.*s",
                STR_ARG(t->tag), STR_ARG(time_text(req->arena, began_us)), STR_ARG(at));
}

/* A person's name; null for who did not log in. */
static void write_who(struct json_writer *w, const char *key, str who)
{
    jw_key(w, key);
    if (who.n)
        jw_str(w, who);
    else
        jw_null(w);
}

/* The members of one lifetime, into an object that is open. */
static void write_lifetime(struct json_writer *w, struct arena *a,
                           const struct tag_lifetime *lifetime)
{
    jw_field(w, "digest", digest_text(a, &lifetime->digest));
    jw_field(w, "from", time_text(a, lifetime->from_us));
    write_who(w, "from_by", lifetime->from_by);
    jw_key(w, "until");
    if (lifetime->until_us == TAG_NOW)
        jw_null(w);
    else
        jw_str(w, time_text(a, lifetime->until_us));
    write_who(w, "until_by", lifetime->until_by);
    jw_key(w, "exists");
    jw_bool(w, lifetime->media_type.p != NULL);
    if (lifetime->media_type.p)
        jw_field(w, "media_type", lifetime->media_type);
}

/* Opens the object every answer here is. */
static void write_names(struct json_writer *w, const struct tag_call *t)
{
    jw_object(w);
    jw_field(w, "repository", t->call->name.asked);
    jw_field(w, "tag", t->tag);
}

static void answer(struct response *res, struct json_writer *w)
{
    jw_end(w);
    response_json(res, 200, arena_str(res->req->arena, buf_str(w->out)));
}

static enum err tag_get_handler(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct tag_call t;
    struct tag_lifetime lifetime;
    int64_t at_us = TAG_NOW;
    str text;
    enum err e = snapshot.err;
    if (!e)
        e = enter(req, res, ACTION_PULL, &t);
    if (!e && request_query(req, STR("at"), &text))
        e = read_time(req, "at", text, &at_us);
    if (e)
        return e;
    e = tag_at(t.call->conn, &t.repository, t.tag, at_us, req->arena, &lifetime);
    if (e == ERR_TAG_ABSENT || e == ERR_TAG_UNKNOWN)
        return absent(req, &t, at_us);
    if (e)
        return e;
    BUF_CLEANUP struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    struct json_writer w = {.out = &out};
    write_names(&w, &t);
    write_lifetime(&w, req->arena, &lifetime);
    answer(res, &w);
    return OK;
}

/* Where a page begins: "FROM.ID" of the lifetime before it, as our Link header says it. */
static enum err read_position(struct request *req, struct tag_lifetime *ret,
                              const struct tag_lifetime **last)
{
    str text, from, id;
    uint64_t from_us, number;
    *last = NULL;
    if (!request_query(req, STR("last"), &text))
        return OK;
    if (!str_cut(text, '.', &from, &id) || !str_u64(from, &from_us) || !str_u64(id, &number) ||
        from_us > INT64_MAX || number > INT64_MAX)
        return fail(req, ERR_PAGE_INVALID, "last: take it from the Link header of the page before");
    *ret = (struct tag_lifetime){.from_us = (int64_t)from_us, .id = (int64_t)number};
    *last = ret;
    return OK;
}

static void link_next(struct response *res, const struct tag_call *t, size_t page,
                      const struct tag_lifetime *last)
{
    struct arena *a = res->req->arena;
    str path = arena_printf(a, "/api/berth/v1/repositories/%.*s/tags/%.*s/history",
                            STR_ARG(t->call->name.asked), STR_ARG(t->tag));
    v2_link_next(res, path, page,
                 arena_printf(a, "%lld.%lld", (long long)last->from_us, (long long)last->id));
}

static enum err history_get(struct request *req, struct response *res)
{
    DB_SNAPSHOT struct db_snapshot snapshot = v2_snapshot(req);
    struct tag_call t;
    struct tag_lifetime position, *list;
    const struct tag_lifetime *last;
    size_t page, n;
    enum err e = snapshot.err;
    if (!e)
        e = enter(req, res, ACTION_PULL, &t);
    if (!e)
        e = v2_page_size(req, &page);
    if (!e)
        e = read_position(req, &position, &last);
    if (e)
        return e;
    /* One more than the page, to know whether a next one exists. */
    e = tag_log(t.call->conn, &t.repository, t.tag, last, page + 1, req->arena, &list, &n);
    if (e == ERR_TAG_UNKNOWN)
        return unknown_tag(req, &t);
    if (e)
        return e;
    if (n > page && page > 0)
        link_next(res, &t, page, &list[page - 1]);
    BUF_CLEANUP struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    struct json_writer w = {.out = &out};
    write_names(&w, &t);
    jw_key(&w, "history");
    jw_array(&w);
    for (size_t i = 0; i < n && i < page; i++) {
        jw_object(&w);
        write_lifetime(&w, req->arena, &list[i]);
        jw_end(&w);
    }
    jw_end(&w);
    if (out.full)
        return fail(req, ERR_LIMIT, "the page is too large; ask for fewer entries with n=");
    answer(res, &w);
    return OK;
}

/* {"at": TIME} or {"digest": DIGEST}, nothing else. The content type is asked for because a web
 * page of another site can have a browser send any other one, with the browser's credentials. */
static enum err read_restore(struct request *req, struct tag_restore *ret)
{
    static const char expected[] = "expected {\"at\": TIME} or {\"digest\": DIGEST}";
    str type, parameters, text, why;
    JSON_CLEANUP json_t *json = NULL;
    str_cut(request_header(req, STR("content-type")), ';', &type, &parameters);
    if (!str_eq_nocase(str_trim(type), STR("application/json")))
        return fail(req, ERR_CONTENT_TYPE, "send the body with Content-Type: application/json");
    if (json_read(req->arena, req->body, &json, &why))
        return fail(req, ERR_BAD_REQUEST, "the body is no JSON: %.*s; %s", STR_ARG(why), expected);
    if (!json_is_object(json) || json_object_size(json) != 1)
        return fail(req, ERR_BAD_REQUEST, "the body is not one object with one member; %s",
                    expected);
    if (json_member_str(json, "at", &text))
        return read_time(req, "at", text, &ret->at_us);
    if (!json_member_str(json, "digest", &text))
        return fail(req, ERR_BAD_REQUEST, "the body has another member; %s", expected);
    ret->by_digest = true;
    return v2_digest(req, text, &ret->digest);
}

static enum err explain(struct request *req, const struct tag_call *t, const struct tag_restore *r,
                        enum err e)
{
    if (e == ERR_TAG_UNKNOWN)
        return unknown_tag(req, t);
    if (e == ERR_TAG_ABSENT && !r->by_digest)
        return absent(req, t, r->at_us);
    str digest = digest_text(req->arena, &r->digest);
    if (e == ERR_TAG_ABSENT)
        return fail(req, e, "tag %.*s never pointed at %.*s, as far as its history goes back",
                    STR_ARG(t->tag), STR_ARG(digest));
    if (e == ERR_MANIFEST_DELETED)
        return fail(req, e,
                    "%.*s, which tag %.*s pointed at, was deleted from %.*s: push it again first",
                    STR_ARG(digest), STR_ARG(t->tag), STR_ARG(t->call->name.asked));
    return e;
}

static enum err restore_post(struct request *req, struct response *res)
{
    struct tag_call t;
    struct tag_restore r = {.arena = req->arena};
    enum err e = enter(req, res, ACTION_PUSH, &t);
    if (!e)
        e = read_restore(req, &r);
    if (e)
        return e;
    r.name = &t.call->name;
    r.tag = t.tag;
    r.maker = v2_maker(t.call);
    e = db_tx(t.call->app->db, tag_restore_tx, &r);
    if (e)
        return explain(req, &t, &r, e);
    BUF_CLEANUP struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    struct json_writer w = {.out = &out};
    write_names(&w, &t);
    jw_field(&w, "digest", digest_text(req->arena, &r.digest));
    jw_key(&w, "changed");
    jw_bool(&w, r.changed);
    answer(res, &w);
    return OK;
}

#define TAG_PATH "/api/berth/v1/repositories/{name...}/tags/{tag}"

const struct route berth_tag_routes[] = {
    {METHOD_GET, TAG_PATH "/history", history_get, BODY_DRAIN,
     .help = "What a tag was, newest first: n, last"},
    {METHOD_POST, TAG_PATH "/restore", restore_post, BODY_SMALL,
     .body_max_bytes = RESTORE_BYTES_MAX,
     .help = "Point a tag at what it was: {\"at\": TIME} or {\"digest\": DIGEST}"},
    {METHOD_GET, TAG_PATH, tag_get_handler, BODY_DRAIN, .help = "What a tag is, or was: at=TIME"},
    {0},
};

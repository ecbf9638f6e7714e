#include "registry/tag_history.h"

#include "base/test.h"
#include "registry/manifest.h"

#include <stdlib.h>

static struct arena arena;
static struct db *db;
static struct db_conn *conn;
static struct name name;
static struct repository repository;
static struct error why;

/* Without a database nothing can be tested: ends the program, which TAP counts as a failure. */
static void need(enum err e)
{
    if (e) {
        printf("Bail out! %s %.*s\n", err_name(e), STR_ARG(why.message));
        exit(1);
    }
}

static void start(void)
{
    char *dir = arena_cstr(&arena, arena_printf(&arena, "%s/XXXXXX", test_dir()));
    need(mkdtemp(dir) ? OK : ERR_IO);
    need(db_open(&db, str_from(dir), 1, &arena, &why));
    conn = db_reader(db, 0);
    need(name_parse(&arena, STR("team/app"), &name, &why));
}

static void end(void)
{
    db_close(db);
    arena_release(&arena);
}

static struct maker maker(int64_t now_us)
{
    return (struct maker){.principal = STR("ann"), .now_us = now_us, .may_make_projects = true};
}

/* An index without children needs no blobs; `which` tells them apart. */
static struct digest push(int which, const char *tag, const struct maker *by)
{
    struct manifest manifest;
    struct facts *facts = ARENA_NEW(&arena, struct facts);
    str tags[] = {str_from(tag)};
    struct manifest_put put = {
        .name = &name,
        .bytes = arena_printf(&arena,
                              "{\"schemaVersion\":2,\"mediaType\":\"application/"
                              "vnd.oci.image.index.v1+json\",\"manifests\":[],"
                              "\"annotations\":{\"which\":\"%d\"}}",
                              which),
        .manifest = &manifest,
        .facts = facts,
        .tags = tags,
        .tag_n = 1,
        .maker = *by,
    };
    digest_of(DIGEST_sha256, put.bytes, &put.digest);
    need(manifest_parse(&arena, put.bytes, str_make(NULL, 0), &manifest, &why));
    need(db_tx(db, manifest_put_tx, &put));
    need(repository_find(conn, STR("team/app"), &repository));
    return put.digest;
}

static struct digest push_at(int which, int64_t now_us)
{
    struct maker by = maker(now_us);
    return push(which, "prod", &by);
}

static void end_tag(const struct digest *digest, int64_t now_us)
{
    struct reference reference = {.is_digest = digest != NULL, .tag = STR("prod")};
    if (digest)
        reference.digest = *digest;
    struct manifest_delete delete = {&name, &reference, STR("bob"), now_us};
    need(db_tx(db, manifest_delete_tx, &delete));
}

static bool was(int64_t at_us, const struct digest *want)
{
    struct tag_lifetime lifetime;
    enum err e = tag_at(conn, &repository, STR("prod"), at_us, &arena, &lifetime);
    return want ? e == OK && digest_eq(&lifetime.digest, want) : e == ERR_TAG_ABSENT;
}

static enum err restore(int64_t at_us, const struct digest *digest, int64_t now_us, bool *changed)
{
    struct tag_restore r = {
        .name = &name,
        .tag = STR("prod"),
        .by_digest = digest,
        .at_us = at_us,
        .maker = maker(now_us),
        .arena = &arena,
    };
    if (digest)
        r.digest = *digest;
    enum err e = db_tx(db, tag_restore_tx, &r);
    *changed = r.changed;
    return e;
}

static void borders(void)
{
    start();
    struct digest one = push_at(1, 100), two = push_at(2, 200);
    end_tag(NULL, 300);
    struct digest three = push_at(3, 400);
    CHECK(was(0, NULL));
    CHECK(was(99, NULL));
    CHECK(was(100, &one));
    CHECK(was(199, &one));
    CHECK(was(200, &two));
    CHECK(was(299, &two));
    CHECK(was(300, NULL));
    CHECK(was(399, NULL));
    CHECK(was(400, &three));
    CHECK(was(INT64_MAX - 1, &three));
    CHECK(was(TAG_NOW, &three));
    end_tag(NULL, 500);
    CHECK(was(TAG_NOW, NULL));
    struct tag_lifetime lifetime;
    CHECK_INT(tag_at(conn, &repository, STR("pro"), 100, &arena, &lifetime), ERR_TAG_UNKNOWN);
    CHECK_INT(tag_at(conn, &repository, STR("pro"), TAG_NOW, &arena, &lifetime), ERR_TAG_UNKNOWN);
    end();
}

static void the_same_again_is_no_move(void)
{
    start();
    struct tag_lifetime *list;
    size_t n;
    struct digest one = push_at(1, 100);
    push_at(1, 200);
    CHECK_INT(tag_log(conn, &repository, STR("prod"), NULL, 10, &arena, &list, &n), OK);
    CHECK_INT(n, 1);
    CHECK_INT(list[0].from_us, 100);
    CHECK(was(TAG_NOW, &one));
    end();
}

static void a_clock_set_back(void)
{
    start();
    struct digest one = push_at(1, 100), two = push_at(2, 90), three = push_at(3, 150);
    CHECK(was(99, NULL));
    CHECK(was(100, &two)); /* the first one's lifetime is empty */
    CHECK(was(149, &two));
    CHECK(was(150, &three));
    end_tag(NULL, 120);
    CHECK(was(149, &two));
    CHECK(was(150, NULL));
    CHECK(was(TAG_NOW, NULL));
    push_at(1, 130);
    CHECK(was(149, &two));
    CHECK(was(150, &one));
    end();
}

static void log_is_paged_newest_first(void)
{
    start();
    enum { MOVES = 7 };
    struct digest digests[MOVES];
    for (int i = 0; i < MOVES; i++)
        digests[i] = push_at(i, i < 3 ? 100 : 100 + i); /* three begin alike */
    end_tag(&digests[5], 200);                          /* is not current: no lifetime ends */
    for (size_t page = 1; page <= MOVES + 1; page++) {
        struct tag_lifetime *list, last, *behind = NULL;
        size_t n, seen = 0;
        do {
            CHECK_INT(tag_log(conn, &repository, STR("prod"), behind, page, &arena, &list, &n), OK);
            for (size_t i = 0; i < n; i++) {
                size_t at = MOVES - 1 - seen++;
                CHECK(digest_eq(&list[i].digest, &digests[at]));
                CHECK_STR(list[i].from_by, "ann");
                CHECK(at == 5 ? !list[i].media_type.p
                              : str_eq(list[i].media_type,
                                       STR("application/vnd.oci.image.index.v1+json")));
                CHECK(at == MOVES - 1 ? list[i].until_us == TAG_NOW && !list[i].until_by.p
                                      : str_eq(list[i].until_by, STR("ann")));
            }
            if (n)
                last = list[n - 1];
            behind = &last;
        } while (n == page);
        CHECK_INT(seen, MOVES);
    }
    struct tag_lifetime *list;
    size_t n;
    CHECK_INT(tag_log(conn, &repository, STR("x"), NULL, 1, &arena, &list, &n), ERR_TAG_UNKNOWN);
    end();
}

static size_t lifetimes(int64_t *oldest_us)
{
    struct tag_lifetime *list;
    size_t n = 0;
    need(tag_log(conn, &repository, STR("prod"), NULL, 100, &arena, &list, &n));
    *oldest_us = list[n - 1].from_us;
    return n;
}

static void history_is_bounded(void)
{
    start();
    int64_t oldest_us;
    for (int i = 0; i < 30; i++)
        push_at(i, 100 + i);
    CHECK_INT(lifetimes(&oldest_us), 30); /* 0: all */
    struct maker by = maker(200);
    push(0, "other", &by);
    for (int i = 0; i < 2; i++) { /* lowered: forgotten a few at a time */
        by = maker(200 + i);
        by.tag_history_max = 5;
        push(30 + i, "prod", &by);
        CHECK_INT(lifetimes(&oldest_us), i == 0 ? 31 - 16 : 5);
    }
    CHECK_INT(oldest_us, 127);
    CHECK(was(126, NULL));
    struct tag_lifetime *list;
    size_t n;
    CHECK_INT(tag_log(conn, &repository, STR("other"), NULL, 9, &arena, &list, &n), OK);
    CHECK_INT(n, 1);
    by = maker(300);
    by.tag_history_max = 1;
    push(40, "prod", &by);
    CHECK_INT(lifetimes(&oldest_us), 1);
    CHECK_INT(oldest_us, 300);
    end();
}

static void restores(void)
{
    start();
    bool changed;
    struct digest one = push_at(1, 100), two = push_at(2, 200);
    CHECK_INT(restore(150, NULL, 300, &changed), OK);
    CHECK(changed);
    CHECK(was(299, &two));
    CHECK(was(300, &one));
    CHECK_INT(restore(0, &two, 400, &changed), OK);
    CHECK(changed);
    CHECK(was(400, &two));
    CHECK_INT(restore(0, &two, 450, &changed), OK);
    CHECK(!changed);
    CHECK_INT(restore(250, NULL, 460, &changed), OK);
    CHECK(!changed);
    end_tag(NULL, 500);
    CHECK_INT(restore(450, NULL, 600, &changed), OK);
    CHECK(changed);
    CHECK(was(550, NULL));
    CHECK(was(600, &two));
    int64_t oldest_us;
    CHECK_INT(lifetimes(&oldest_us), 5);
    end();
}

static void refuses(void)
{
    start();
    bool changed;
    struct name other = name;
    struct digest one = push_at(1, 100), two = push_at(2, 200), never;
    digest_of(DIGEST_sha256, STR("never"), &never);
    CHECK_INT(restore(99, NULL, 300, &changed), ERR_TAG_ABSENT);
    CHECK_INT(restore(0, &never, 300, &changed), ERR_TAG_ABSENT);
    end_tag(&one, 250);
    CHECK_INT(restore(150, NULL, 300, &changed), ERR_MANIFEST_DELETED);
    CHECK_INT(restore(0, &one, 300, &changed), ERR_MANIFEST_DELETED);
    CHECK(was(TAG_NOW, &two));
    push(1, "elsewhere", &(struct maker){.now_us = 260});
    CHECK_INT(restore(150, NULL, 300, &changed), OK); /* pushed again: it is there again */
    CHECK(was(TAG_NOW, &one));

    struct tag_restore r = {.name = &other, .tag = STR("pro"), .arena = &arena};
    CHECK_INT(db_tx(db, tag_restore_tx, &r), ERR_TAG_UNKNOWN);
    r.by_digest = true;
    CHECK_INT(db_tx(db, tag_restore_tx, &r), ERR_TAG_UNKNOWN);
    other.full = STR("team/none");
    CHECK_INT(db_tx(db, tag_restore_tx, &r), ERR_NAME_UNKNOWN);
    end();
}

TESTS({"borders", borders}, {"the same again is no move", the_same_again_is_no_move},
      {"a clock set back", a_clock_set_back},
      {"log is paged, newest first", log_is_paged_newest_first},
      {"history is bounded", history_is_bounded}, {"restores", restores}, {"refuses", refuses})

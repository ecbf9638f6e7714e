#include "jobs/gc_fixture.h"

static struct fixture f;
static const struct gc_ask due = {0}, now = {.now = true};

static const char app[] = "team/app", other[] = "team/other";

/* An image of two blobs made from its name. */
static struct digest push_image(const char *repository, const char *name, const char *tag,
                                int64_t age_us)
{
    struct digest refs[2], digest;
    uint64_t sizes[2];
    const char *parts[] = {"config", "layer"};
    for (size_t i = 0; i < 2; i++) {
        str bytes = arena_printf(&f.arena, "%s of %s", parts[i], name);
        refs[i] = push_blob(&f, repository, bytes, age_us);
        sizes[i] = bytes.n;
    }
    struct image image = {
        .repository = repository, .tag = tag, .refs = refs, .sizes = sizes, .ref_n = 2};
    CHECK_INT(put_image(&f, &image, age_us, &digest, NULL), OK);
    return digest;
}

static bool has_layer(const char *repository, const char *name)
{
    return has_blob(&f, repository, arena_printf(&f.arena, "layer of %s", name));
}

static struct digest push_index(const char *repository, const struct digest *children, size_t n,
                                const struct digest *subject, const char *tag, int64_t age_us)
{
    struct digest digest;
    uint64_t *sizes = ARENA_ARRAY(&f.arena, n, uint64_t);
    struct name name = fixture_name(&f, repository);
    for (size_t i = 0; i < n; i++) {
        struct reference reference = {.is_digest = true, .digest = children[i]};
        struct manifest_view view;
        CHECK_INT(manifest_get(f.conn, name.full, &reference, false, &f.arena, &view), OK);
        sizes[i] = view.size_bytes;
    }
    struct image image = {.repository = repository,
                          .tag = tag,
                          .refs = children,
                          .sizes = sizes,
                          .ref_n = n,
                          .index = true,
                          .subject = subject};
    CHECK_INT(put_image(&f, &image, age_us, &digest, NULL), OK);
    return digest;
}

static void collect_untagged(void)
{
    static const str all[] = {STR_INIT("*")};
    f.gc.untagged = all;
    f.gc.untagged_n = 1;
}

static void blobs_wait_for_the_delay(void)
{
    fixture_open(&f);
    push_blob(&f, app, STR("old"), 30 * HOUR_US);
    push_blob(&f, app, STR("young"), 23 * HOUR_US);
    push_blob(&f, app, STR("in the slack"), 25 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK);
    CHECK(!has_blob(&f, app, STR("old")));
    CHECK(has_blob(&f, app, STR("young")));
    CHECK(has_blob(&f, app, STR("in the slack")));
    CHECK_INT(f.report.links, 1);
    CHECK_INT(f.report.blobs, 1);
    CHECK_INT(f.report.blob_bytes, 3);
    CHECK_INT(f.report.files, 1);
    CHECK_INT(blob_files(&f), 2);
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.blobs, 2);
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

static void used_blobs_stay(void)
{
    fixture_open(&f);
    struct digest digest = push_image(app, "a", NULL, 100 * HOUR_US);
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.blobs + f.report.links + f.report.manifests + f.report.bodies, 0);
    CHECK(has_layer(app, "a"));
    CHECK(has_manifest(&f, app, &digest));
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.reviewed, 0); /* what is in use is out of the queue */
    fixture_close(&f);
}

static void deleting_starts_the_delay(void)
{
    fixture_open(&f);
    struct digest digest = push_image(app, "a", "v1", 100 * HOUR_US);
    push_image(other, "a", "v1", 100 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK);
    delete_manifest(&f, app, NULL, &digest, 1 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.links, 0);
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.links, 2);
    CHECK_INT(f.report.bodies, 0); /* the other repository has it */
    CHECK_INT(f.report.blobs, 0);
    CHECK(!has_layer(app, "a"));
    CHECK(has_layer(other, "a"));
    delete_manifest(&f, other, NULL, &digest, 30 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.links, 2);
    CHECK_INT(f.report.bodies, 1);
    CHECK_INT(f.report.blobs, 2);
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

static void deleting_a_blob_starts_the_delay(void)
{
    fixture_open(&f);
    struct digest digest = push_blob(&f, app, STR("x"), 100 * HOUR_US);
    push_blob(&f, other, STR("x"), 100 * HOUR_US);
    delete_blob(&f, app, &digest, 1 * HOUR_US);
    CHECK(!has_blob(&f, app, STR("x")));
    CHECK(has_blob(&f, other, STR("x")));
    delete_blob(&f, other, &digest, 1 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.blobs, 0);
    CHECK_INT(blob_files(&f), 1);
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.blobs, 1);
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

static void a_collected_blob_can_come_back(void)
{
    fixture_open(&f);
    push_blob(&f, app, STR("12345"), 30 * HOUR_US);
    push_blob(&f, other, STR("12345"), 30 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.links, 2);
    CHECK_INT(f.report.blobs, 1);
    push_blob(&f, app, STR("12345"), 0); /* a fresh row and file */
    CHECK(has_blob(&f, app, STR("12345")));
    CHECK(!has_blob(&f, other, STR("12345")));
    CHECK_INT(collect(&f, &due), OK);
    CHECK(has_blob(&f, app, STR("12345")));
    CHECK_INT(blob_files(&f), 1);
    fixture_close(&f);
}

static void asking_is_a_lease(void)
{
    fixture_open(&f);
    struct digest asked = push_blob(&f, app, STR("asked"), 30 * HOUR_US);
    struct digest mounted = push_blob(&f, app, STR("mounted"), 30 * HOUR_US);
    push_blob(&f, app, STR("pushed"), 30 * HOUR_US);
    CHECK_INT(head(&f, app, &asked), OK);
    CHECK_INT(mount(&f, app, other, &mounted), OK);
    push_blob(&f, app, STR("pushed"), 0);
    CHECK_INT(collect(&f, &due), OK);
    CHECK(has_blob(&f, app, STR("asked")));
    CHECK(has_blob(&f, app, STR("pushed")));
    CHECK(!has_blob(&f, app, STR("mounted"))); /* the source is not what was asked for */
    CHECK(has_blob(&f, other, STR("mounted")));
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(head(&f, app, &asked), ERR_BLOB_UNKNOWN);
    CHECK_INT(mount(&f, other, app, &mounted), ERR_BLOB_UNKNOWN);
    fixture_close(&f);
}

/* A thousand questions cost one write, and every answer holds for the whole delay. */
static void leases_are_rare_and_whole(void)
{
    const uint64_t delay_ms = 24 * 3600 * 1000;
    const int64_t delay_us = 24 * HOUR_US, minute_us = HOUR_US / 60;
    int64_t from = 1000 * HOUR_US, at = from;
    unsigned writes = 0;
    for (int i = 0; i < 24 * 60; i++) { /* a question every minute for a day */
        at += minute_us;
        if (review_must_lease(from, delay_ms, at)) {
            from = at;
            writes++;
        }
        CHECK(from > review_cutoff_us(delay_ms, at + delay_us)); /* the last moment of the lease */
    }
    CHECK(writes >= 14 && writes <= 16);
    CHECK(from <= review_cutoff_us(delay_ms, at + 2 * delay_us));
    CHECK(!review_must_lease(REVIEW_NEVER, delay_ms, at));
}

static void untagged_manifests_stay_by_default(void)
{
    fixture_open(&f);
    struct digest digest = push_image(app, "a", NULL, 100 * HOUR_US);
    static const str elsewhere[] = {STR_INIT("team/other"), STR_INIT("web/*")};
    f.gc.untagged = elsewhere;
    f.gc.untagged_n = 2;
    CHECK_INT(collect(&f, &now), OK);
    CHECK(has_manifest(&f, app, &digest));
    fixture_close(&f);
}

static void untagged_manifests_go_where_asked(void)
{
    fixture_open(&f);
    struct digest a = push_image(app, "a", "v1", 100 * HOUR_US);
    struct digest b = push_image(app, "b", NULL, 30 * HOUR_US);
    struct digest c = push_image(app, "c", NULL, 20 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK); /* by default nothing happens, and b is out of the queue */
    CHECK(has_manifest(&f, app, &b));
    collect_untagged();
    CHECK_INT(collect(&f, &due), OK);
    CHECK(has_manifest(&f, app, &b));
    CHECK_INT(collect(&f, &(struct gc_ask){.sweep = true}), OK); /* found, but only now */
    CHECK(has_manifest(&f, app, &b));
    CHECK_INT(collect(&f, &(struct gc_ask){.sweep = true, .now = true}), OK);
    CHECK(has_manifest(&f, app, &a));
    CHECK(!has_manifest(&f, app, &b));
    CHECK(!has_manifest(&f, app, &c));
    CHECK_INT(f.report.manifests, 2);
    CHECK_INT(f.report.bodies, 2);
    CHECK_INT(f.report.blobs, 4);
    CHECK(has_layer(app, "a"));
    CHECK_INT(blob_files(&f), 2);
    fixture_close(&f);
}

struct late_delete {
    struct digest digest;
    int64_t at_us; /* when it was asked for */
    bool done;
};

static void delete_at(const struct digest *digest, int64_t at_us)
{
    struct name name = fixture_name(&f, app);
    struct reference reference = {.is_digest = true, .digest = *digest};
    struct manifest_delete del = {
        .name = &name, .reference = &reference, .by = STR("ann"), .now_us = at_us};
    CHECK_INT(db_tx(f.registry.db, manifest_delete_tx, &del), OK);
}

static bool delete_at_last(void *arg, enum gc_point point)
{
    struct late_delete *late = arg;
    if (point == GC_LINKS_JUDGED && !late->done) {
        delete_at(&late->digest, late->at_us);
        late->done = true;
    }
    return true;
}

/* Two deletes of what uses the same blob: the one that was asked for first, or at the same time,
 * comes second, and while a run has just seen that it is still in use. */
static void uses_that_end_out_of_order(void)
{
    for (int64_t before_us = 0; before_us < 2000; before_us += 1000) {
        fixture_open(&f);
        struct digest refs[2] = {push_blob(&f, app, STR("{}"), 3 * HOUR_US),
                                 push_blob(&f, app, STR("layer"), 3 * HOUR_US)};
        const uint64_t sizes[] = {2, 5};
        struct image image = {.repository = app, .refs = refs, .sizes = sizes, .ref_n = 2};
        struct digest first;
        struct late_delete late = {.at_us = clock_wall_us() - HOUR_US};
        image.note = "first";
        CHECK_INT(put_image(&f, &image, 3 * HOUR_US, &first, NULL), OK);
        image.note = "second";
        CHECK_INT(put_image(&f, &image, 3 * HOUR_US, &late.digest, NULL), OK);
        delete_at(&first, late.at_us + before_us);
        CHECK_INT(gc_run_with(&f.gc, &now, delete_at_last, &late, &f.report), OK);
        CHECK(!has_manifest(&f, app, &late.digest));
        CHECK_INT(collect(&f, &now), OK);
        CHECK_INT(blob_files(&f), 0);
        fixture_close(&f);
    }
}

/* Each use that ends in a run moves the time of what was used; it goes in that run all the same. */
static void what_many_used_goes_in_one_run(void)
{
    fixture_open(&f);
    collect_untagged();
    const int64_t age = 2 * HOUR_US;
    struct digest refs[2] = {push_blob(&f, app, STR("{}"), age), push_blob(&f, app, STR("x"), age)};
    struct digest digest;
    const uint64_t sizes[] = {2, 1};
    struct image image = {.repository = app, .refs = refs, .sizes = sizes, .ref_n = 2};
    for (int i = 0; i < 20; i++) {
        image.note = arena_printf(&f.arena, "%d", i).p;
        CHECK_INT(put_image(&f, &image, age, &digest, NULL), OK);
    }
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.manifests, 20);
    CHECK_INT(f.report.links, 2);
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

static void moving_a_tag_starts_the_delay(void)
{
    fixture_open(&f);
    collect_untagged();
    struct digest a = push_image(app, "a", "v1", 100 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK);
    struct digest b = push_image(app, "b", "v1", 30 * HOUR_US); /* moves it from a */
    CHECK_INT(collect(&f, &due), OK);
    CHECK(!has_manifest(&f, app, &a));
    CHECK(has_manifest(&f, app, &b));
    delete_manifest(&f, app, "v1", NULL, 1 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK);
    CHECK(has_manifest(&f, app, &b));
    CHECK_INT(collect(&f, &now), OK);
    CHECK(!has_manifest(&f, app, &b));
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

static void asking_for_a_manifest_is_a_lease(void)
{
    fixture_open(&f);
    collect_untagged();
    struct digest a = push_image(app, "a", NULL, 30 * HOUR_US);
    struct digest b = push_image(app, "b", NULL, 30 * HOUR_US);
    CHECK_INT(head_manifest(&f, app, &a), OK);
    CHECK_INT(collect(&f, &due), OK);
    CHECK(has_manifest(&f, app, &a));
    CHECK(!has_manifest(&f, app, &b));
    CHECK_INT(head_manifest(&f, app, &b), ERR_MANIFEST_UNKNOWN);
    fixture_close(&f);
}

/* index -> index -> image <- signature <- signature of the signature; all live by one tag. */
static void liveness_is_reached_through_others(void)
{
    fixture_open(&f);
    collect_untagged();
    const int64_t age = 100 * HOUR_US;
    struct digest image = push_image(app, "a", NULL, age);
    struct digest inner = push_index(app, &image, 1, NULL, NULL, age);
    struct digest outer = push_index(app, &inner, 1, NULL, "v1", age);
    struct digest signature = push_index(app, &image, 0, &image, NULL, age);
    struct digest second = push_index(app, &image, 0, &signature, NULL, age);
    struct digest stray = push_index(app, &image, 1, &outer, NULL, age);
    CHECK_INT(collect(&f, &(struct gc_ask){.now = true, .sweep = true}), OK);
    CHECK_INT(f.report.manifests, 0);
    CHECK(has_manifest(&f, app, &stray)); /* it is about a live one */
    delete_manifest(&f, app, NULL, &stray, 0);
    delete_manifest(&f, app, "v1", NULL, 30 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK); /* the outer one only: what it named has been in use so far */
    CHECK_INT(f.report.manifests, 1);
    CHECK(!has_manifest(&f, app, &outer));
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.manifests, 4);
    CHECK(!has_manifest(&f, app, &inner) && !has_manifest(&f, app, &image));
    CHECK(!has_manifest(&f, app, &signature) && !has_manifest(&f, app, &second));
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

/* A nightly push of an index, a day after the one before: the old one waits for its delay, and its
 * image and the signatures of both wait with it, though nobody asked for those since. */
static void what_waits_keeps_what_it_leads_to(void)
{
    fixture_open(&f);
    collect_untagged();
    const int64_t before = 26 * HOUR_US, moved = 2 * HOUR_US;
    struct digest image = push_image(app, "a", NULL, before);
    struct digest index = push_index(app, &image, 1, NULL, "v1", before);
    struct digest of_image = push_index(app, &image, 0, &image, NULL, before);
    struct digest of_index = push_index(app, &index, 0, &index, NULL, before);
    struct digest stray = push_image(app, "b", NULL, before);
    struct digest next = push_index(app, &index, 0, NULL, "v1", moved);
    CHECK_INT(collect(&f, &(struct gc_ask){.sweep = true}), OK);
    CHECK_INT(f.report.manifests, 1);
    CHECK(!has_manifest(&f, app, &stray));
    CHECK(has_manifest(&f, app, &index) && has_manifest(&f, app, &image));
    CHECK(has_manifest(&f, app, &of_image) && has_manifest(&f, app, &of_index));
    CHECK(has_layer(app, "a"));
    CHECK_INT(collect(&f, &(struct gc_ask){.sweep = true}), OK);
    CHECK_INT(f.report.manifests, 0);
    CHECK_INT(collect(&f, &now), OK); /* when it goes it lets go of them, without a sweep */
    CHECK_INT(f.report.manifests, 4);
    CHECK(!has_manifest(&f, app, &index) && !has_manifest(&f, app, &image));
    CHECK(!has_manifest(&f, app, &of_image) && !has_manifest(&f, app, &of_index));
    CHECK(has_manifest(&f, app, &next));
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

/* An index about the image it names: each keeps the other, and nothing keeps both. */
static void circles_are_garbage(void)
{
    fixture_open(&f);
    collect_untagged();
    struct digest image = push_image(app, "a", NULL, 100 * HOUR_US);
    struct digest index = push_index(app, &image, 1, &image, NULL, 100 * HOUR_US);
    CHECK_INT(collect(&f, &due), OK); /* one, and what it used has been in use so far */
    CHECK_INT(f.report.manifests, 1);
    CHECK_INT(collect(&f, &now), OK);
    CHECK(!has_manifest(&f, app, &index) && !has_manifest(&f, app, &image));
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

static void links_of_other_repositories_do_not_count(void)
{
    fixture_open(&f);
    collect_untagged();
    const int64_t age = 100 * HOUR_US;
    struct digest image = push_image(app, "a", NULL, age);
    push_image(other, "a", NULL, age);
    push_index(other, &image, 1, NULL, "v1", age);
    CHECK_INT(collect(&f, &now), OK);
    CHECK(!has_manifest(&f, app, &image));
    CHECK(has_manifest(&f, other, &image));
    CHECK(!has_layer(app, "a"));
    CHECK(has_layer(other, "a"));
    fixture_close(&f);
}

static void abandoned_uploads_end(void)
{
    fixture_open(&f);
    char gone[UUID_LEN], held[UUID_LEN];
    UPLOAD_CLEANUP struct upload *u = NULL;
    upload_begin(&f, app, STR("abc"), gone);
    upload_begin(&f, app, STR("abc"), held);
    f.gc.uploads_expire_ms = 3600 * 1000;
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.uploads, 0);
    need(upload_checkout(f.registry.uploads, str_make(held, UUID_LEN), &u), "checkout");
    CHECK_INT(collect(&f, &(struct gc_ask){.now = true, .dry_run = true}), OK);
    CHECK_INT(upload_files(&f), 2);
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.uploads, 1);
    CHECK_INT(f.report.stray_uploads, 0);
    CHECK_INT(upload_files(&f), 1);
    CHECK_INT(atomic_load(&f.registry.uploads_n), 1);
    struct upload_row row;
    struct name name = fixture_name(&f, app);
    const struct upload_owner ann = {name.full, STR("ann")};
    CHECK_INT(upload_find(&f.registry, f.conn, str_make(gone, UUID_LEN), &ann, &row),
              ERR_BLOB_UPLOAD_UNKNOWN);
    CHECK_INT(upload_find(&f.registry, f.conn, str_make(held, UUID_LEN), &ann, &row), OK);
    upload_checkin(u, false);
    u = NULL;
    CHECK_INT(upload_end(&f, app, STR("abc"), held, 0), OK);
    fixture_close(&f);
}

/* More than one batch, one that somebody is at, and one that he was at just now. */
static void uploads_that_were_begun_end(void)
{
    fixture_open(&f);
    enum { MANY = 300 };
    char uuid[UUID_LEN], held[UUID_LEN], touched[UUID_LEN];
    UPLOAD_CLEANUP struct upload *u = NULL;
    struct upload_row row;
    struct name name = fixture_name(&f, app);
    const struct upload_owner ann = {name.full, STR("ann")};
    upload_start(&f, app, held);
    upload_start(&f, app, touched);
    for (int i = 0; i < MANY; i++)
        upload_start(&f, app, uuid);
    struct store_upload *broken; /* a body that broke off */
    need(store_upload_open(f.registry.store, str_make(uuid, UUID_LEN), 0, &broken), "open");
    store_upload_close(broken);
    f.gc.uploads_expire_ms = 3600 * 1000;
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.uploads + f.report.stray_uploads, 0);
    CHECK_INT(upload_files(&f), 1);
    need(upload_checkout(f.registry.uploads, str_make(held, UUID_LEN), &u), "checkout");
    CHECK_INT(collect(&f, &(struct gc_ask){.now = true, .dry_run = true}), OK);
    CHECK_INT(f.report.uploads, MANY + 2);
    upload_begun_touch(f.registry.begun, str_make(touched, UUID_LEN), clock_wall_us() + 3600000000);
    CHECK_INT(atomic_load(&f.registry.uploads_n), MANY + 2);
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.uploads, MANY);
    CHECK_INT(upload_files(&f), 0);
    CHECK_INT(atomic_load(&f.registry.uploads_n), 2);
    CHECK_INT(upload_find(&f.registry, f.conn, str_make(uuid, UUID_LEN), &ann, &row),
              ERR_BLOB_UPLOAD_UNKNOWN);
    CHECK_INT(upload_find(&f.registry, f.conn, str_make(held, UUID_LEN), &ann, &row), OK);
    CHECK_INT(upload_find(&f.registry, f.conn, str_make(touched, UUID_LEN), &ann, &row), OK);
    upload_checkin(u, false);
    u = NULL;
    fixture_close(&f);
}

static bool touch_it(void *uuid, enum gc_point point)
{
    if (point == GC_UPLOADS_LISTED)
        upload_begun_touch(f.registry.begun, str_make(uuid, UUID_LEN), clock_wall_us());
    return true;
}

/* An empty PATCH, between the list of what is abandoned and its end. */
static void uploads_that_were_touched_meanwhile_stay(void)
{
    fixture_open(&f);
    char uuid[UUID_LEN];
    upload_start(&f, app, uuid);
    CHECK_INT(gc_run_with(&f.gc, &now, touch_it, uuid, &f.report), OK);
    CHECK_INT(f.report.uploads, 0);
    CHECK(upload_begun_has(f.registry.begun, str_make(uuid, UUID_LEN)));
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.uploads, 1);
    fixture_close(&f);
}

/* As after a commit that seemed to fail: the row is there, and what was begun is still in memory.
 */
static void uploads_in_both_places_count_once(void)
{
    fixture_open(&f);
    struct upload_begun begun = {.algorithm = DIGEST_sha256, .principal = STR("ann")};
    begun.full_name = fixture_name(&f, app).full;
    upload_start(&f, app, begun.uuid);
    need(upload_keep_begun(&f.registry), "keep");
    upload_begun_add(f.registry.begun, &begun);
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.uploads, 1);
    CHECK_INT(atomic_load(&f.registry.uploads_n), 0);
    fixture_close(&f);
}

/* As at the end of the program. */
static void uploads_that_were_begun_are_kept(void)
{
    fixture_open(&f);
    enum { MANY = 1203 };
    static char uuids[MANY][UUID_LEN];
    struct upload_row row;
    struct name name = fixture_name(&f, app);
    const struct upload_owner ann = {name.full, STR("ann")}, bob = {name.full, STR("bob")};
    f.registry.uploads_max = MANY;
    for (int i = 0; i < MANY; i++)
        upload_start(&f, app, uuids[i]);
    CHECK_INT(upload_create(&f.registry, &ann, DIGEST_sha256, uuids[0]), ERR_TOO_MANY_REQUESTS);
    need(upload_keep_begun(&f.registry), "keep");
    for (int i = 0; i < MANY; i++) {
        str uuid = str_make(uuids[i], UUID_LEN);
        CHECK(!upload_begun_has(f.registry.begun, uuid));
        CHECK_INT(upload_find(&f.registry, f.conn, uuid, &ann, &row), OK);
        CHECK_INT(row.offset_bytes, 0);
        CHECK_INT(row.algorithm, DIGEST_sha256);
        CHECK_INT(upload_find(&f.registry, f.conn, uuid, &bob, &row), ERR_BLOB_UPLOAD_UNKNOWN);
    }
    CHECK_INT(upload_append(&f, app, STR("abc"), uuids[0]), OK);
    CHECK_INT(upload_end(&f, app, STR("abc"), uuids[0], 0), OK);
    CHECK_INT(atomic_load(&f.registry.uploads_n), MANY - 1);
    fixture_close(&f);
}

static void stray_uploads_are_swept(void)
{
    fixture_open(&f);
    char known[UUID_LEN], text[UUID_LEN];
    UPLOAD_CLEANUP struct upload *u = NULL;
    struct store_upload *stray;
    uint8_t id[16];
    upload_begin(&f, app, STR("abc"), known);
    for (int i = 0; i < 2; i++) {
        uuid_new(id);
        need(store_upload_open(f.registry.store, uuid_format(id, text), 0, &stray), "open");
        store_upload_close(stray);
    }
    need(upload_checkout(f.registry.uploads, str_make(text, UUID_LEN), &u), "checkout");
    f.gc.uploads_expire_ms = 3600 * 1000;
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.stray_uploads, 1); /* the other one is being written */
    CHECK_INT(upload_files(&f), 2);
    upload_checkin(u, false);
    u = NULL;
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(upload_files(&f), 1);
    fixture_close(&f);
}

static void history_is_trimmed(void)
{
    fixture_open(&f);
    struct digest digest;
    struct image image = {.repository = app, .tag = "v1", .index = true};
    for (int i = 0; i < 50; i++) {
        image.note = arena_printf(&f.arena, "%d", i).p;
        CHECK_INT(put_image(&f, &image, 0, &digest, NULL), OK);
    }
    image.tag = "v2";
    CHECK_INT(put_image(&f, &image, 0, &digest, NULL), OK);
    f.gc.tags_history_max = 7;
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.tag_lifetimes, 0);
    CHECK_INT(collect(&f, &(struct gc_ask){.sweep = true, .dry_run = true}), OK);
    CHECK_INT(f.report.tag_lifetimes, 43);
    CHECK_INT(collect(&f, &(struct gc_ask){.sweep = true}), OK);
    CHECK_INT(f.report.tag_lifetimes, 43);
    CHECK_INT(collect(&f, &(struct gc_ask){.sweep = true}), OK);
    CHECK_INT(f.report.tag_lifetimes, 0);
    fixture_close(&f);
}

static void dry_run_tells_and_leaves(void)
{
    fixture_open(&f);
    collect_untagged();
    const int64_t age = 30 * HOUR_US;
    push_blob(&f, app, STR("in two"), age);
    push_blob(&f, other, STR("in two"), age);
    push_blob(&f, app, STR("old here"), age);
    push_blob(&f, other, STR("old here"), 0); /* young there */
    struct digest untagged = push_image(app, "a", NULL, age);
    CHECK_INT(collect(&f, &(struct gc_ask){.dry_run = true}), OK);
    CHECK_INT(f.report.links, 3);
    CHECK_INT(f.report.blobs, 1);
    CHECK_INT(f.report.blob_bytes, 6);
    CHECK_INT(f.report.manifests, 1);
    CHECK_INT(f.report.files, 1);
    CHECK(has_manifest(&f, app, &untagged));
    CHECK(has_blob(&f, app, STR("in two")));
    CHECK_INT(blob_files(&f), 4);
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.files, 1);
    CHECK_INT(f.report.links, 3);
    CHECK_INT(f.report.blobs, 1);
    CHECK_INT(f.report.blob_bytes, 6);
    CHECK_INT(f.report.manifests, 1);
    fixture_close(&f);
}

static void a_backup_holds_files(void)
{
    fixture_open(&f);
    struct error why;
    int fd;
    push_blob(&f, app, STR("x"), 30 * HOUR_US);
    need(store_hold(f.dir, &f.arena, &fd, &why), "hold");
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.blobs, 1);
    CHECK_INT(f.report.files_left, 1);
    CHECK_INT(blob_files(&f), 1);
    CHECK_INT(collect(&f, &(struct gc_ask){.dry_run = true}), OK);
    CHECK_INT(f.report.files, 1);
    CHECK_INT(blob_files(&f), 1);
    close(fd);
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.files, 1);
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

static void more_than_a_chunk(void)
{
    fixture_open(&f);
    enum { N = 2500 };
    struct digest digest = push_blob(&f, "team/r", STR("x"), 30 * HOUR_US);
    for (int i = 0; i < N; i++) {
        struct name to = fixture_name(&f, arena_printf(&f.arena, "team/r%d", i).p);
        struct name from = fixture_name(&f, "team/r");
        struct maker maker = fixture_maker(30 * HOUR_US);
        CHECK_INT(blob_mount(&f.registry, &from, &to, &digest, &maker), OK);
    }
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.links, N + 1);
    CHECK_INT(f.report.blobs, 1);
    CHECK_INT(blob_files(&f), 0);
    fixture_close(&f);
}

/* As if each had just lost a user; 30 hours ago. */
static enum err review_all_links_tx(struct db_conn *conn, void *arg)
{
    enum err e = OK;
    for (int repository = 1; !e && repository <= 9; repository++)
        for (int blob = 1; !e && blob <= 9; blob++)
            e = db_exec(conn, Q_CHECK_REVIEW_LINK, DB_INT(clock_wall_us() - 30 * HOUR_US),
                        DB_INT(repository), DB_INT(blob));
    return e;
}

/* A base layer is used by so many manifests of other repositories that it is looked for among this
 * one's. */
static void a_base_layer_is_found_from_either_side(void)
{
    enum { N = 150 };
    static const char *const repositories[] = {app, other, "team/third"};
    struct digest refs[3][2], digest;
    str base = STR("base"), config = STR("{}");
    const uint64_t sizes[] = {config.n, base.n};
    fixture_open(&f);
    for (int i = 0; i < 3; i++) {
        refs[i][0] = push_blob(&f, repositories[i], config, 30 * HOUR_US);
        refs[i][1] = push_blob(&f, repositories[i], base, 30 * HOUR_US);
    }
    for (int i = 0; i < N + 2; i++) { /* in "third" the config alone is used */
        int r = i < N ? 1 : i == N ? 0 : 2;
        struct image image = {.repository = repositories[r],
                              .refs = refs[r],
                              .sizes = sizes,
                              .ref_n = r == 2 ? 1 : 2,
                              .note = arena_printf(&f.arena, "%d", i).p};
        CHECK_INT(put_image(&f, &image, 30 * HOUR_US, &digest, NULL), OK);
    }
    CHECK_INT(db_tx(f.registry.db, review_all_links_tx, NULL), OK);
    CHECK_INT(collect(&f, &due), OK);
    CHECK(has_blob(&f, app, base));
    CHECK(has_blob(&f, other, base));
    CHECK(!has_blob(&f, "team/third", base));
    CHECK(has_blob(&f, "team/third", config));
    CHECK_INT(f.report.links, 1);
    fixture_close(&f);
}

TESTS({"blobs wait for the delay", blobs_wait_for_the_delay}, {"used blobs stay", used_blobs_stay},
      {"deleting starts the delay", deleting_starts_the_delay},
      {"deleting a blob starts the delay", deleting_a_blob_starts_the_delay},
      {"a collected blob can come back", a_collected_blob_can_come_back},
      {"asking is a lease", asking_is_a_lease},
      {"leases are rare and whole", leases_are_rare_and_whole},
      {"untagged manifests stay by default", untagged_manifests_stay_by_default},
      {"untagged manifests go where asked", untagged_manifests_go_where_asked},
      {"uses that end out of order", uses_that_end_out_of_order},
      {"what many used goes in one run", what_many_used_goes_in_one_run},
      {"moving a tag starts the delay", moving_a_tag_starts_the_delay},
      {"asking for a manifest is a lease", asking_for_a_manifest_is_a_lease},
      {"liveness is reached through others", liveness_is_reached_through_others},
      {"what waits keeps what it leads to", what_waits_keeps_what_it_leads_to},
      {"circles are garbage", circles_are_garbage},
      {"links of other repositories do not count", links_of_other_repositories_do_not_count},
      {"abandoned uploads end", abandoned_uploads_end},
      {"uploads that were begun end", uploads_that_were_begun_end},
      {"uploads that were touched meanwhile stay", uploads_that_were_touched_meanwhile_stay},
      {"uploads in both places count once", uploads_in_both_places_count_once},
      {"uploads that were begun are kept", uploads_that_were_begun_are_kept},
      {"stray uploads are swept", stray_uploads_are_swept},
      {"history is trimmed", history_is_trimmed},
      {"dry run tells and leaves", dry_run_tells_and_leaves},
      {"a backup holds files", a_backup_holds_files}, {"more than a chunk", more_than_a_chunk},
      {"a base layer is found from either side", a_base_layer_is_found_from_either_side})

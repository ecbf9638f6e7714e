/* A push races collection and loses nothing: at every point of a run, a client does each thing he
 * could do just there with the very content that is being collected. What was acknowledged must be
 * whole after the run, after another one, and also when the run was killed at that point. What was
 * refused was refused in a way that makes a client push again. At the end nothing is left over. */
#include "db/db_driver.h"
#include "jobs/gc_fixture.h"

#include <pthread.h>
#include <sched.h>

static struct fixture f;
static const struct gc_ask due = {0}, now = {.now = true};
static const int64_t age = 30 * HOUR_US;

static const char app[] = "team/app", other[] = "team/other", third[] = "team/third";
#define X      STR("a layer that nobody uses")
#define Z      STR("a layer that is linked nowhere")
#define CONFIG STR("{}")
#define LAYER  STR("the layer of an image")
#define UPLOAD STR("an upload that was left alone")
#define USED   STR("the layer of an image that is in use")

/* What the world holds before the run, all of it due. */
static struct digest x, untagged, used;
static char upload[UUID_LEN];
static char begun[UUID_LEN]; /* nothing was added to this one */

static enum err put(const char *repository, str config, str layer, const char *tag, int64_t at,
                    struct digest *digest)
{
    struct digest refs[2];
    const uint64_t sizes[2] = {config.n, layer.n};
    digest_of(DIGEST_sha256, config, &refs[0]);
    digest_of(DIGEST_sha256, layer, &refs[1]);
    struct image image = {
        .repository = repository, .tag = tag, .refs = refs, .sizes = sizes, .ref_n = 2};
    return put_image(&f, &image, at, digest, NULL);
}

static void make_world(void)
{
    static const str covered[] = {STR_INIT("team/app")};
    struct digest z, gone;
    f.gc.untagged = covered;
    f.gc.untagged_n = 1;
    f.gc.uploads_expire_ms = 0;
    x = push_blob(&f, app, X, age);
    push_blob(&f, other, X, age);
    z = push_blob(&f, app, Z, age);
    delete_blob(&f, app, &z, age);
    push_blob(&f, app, CONFIG, age);
    push_blob(&f, app, LAYER, age);
    CHECK_INT(put(app, CONFIG, LAYER, NULL, age, &untagged), OK);
    struct image image = {.repository = other, .index = true};
    CHECK_INT(put_image(&f, &image, age, &gone, NULL), OK);
    delete_manifest(&f, other, NULL, &gone, age);
    push_blob(&f, other, CONFIG, age);
    push_blob(&f, other, USED, age);
    CHECK_INT(put(other, CONFIG, USED, "v1", age, &used), OK);
    upload_begin(&f, app, UPLOAD, upload);
    upload_start(&f, app, begun);
}

/* What a client does, and what he may count on once it was acknowledged. */

static enum err push_it(void)
{
    push_blob(&f, app, X, 0);
    return OK;
}
static enum err head_it(void)
{
    return head(&f, app, &x);
}
static void check_it(void)
{
    struct digest digest;
    CHECK(has_blob(&f, app, X));
    push_blob(&f, app, CONFIG, 0);
    CHECK_INT(put(app, CONFIG, X, "v9", 0, &digest), OK);
}

static enum err mount_it(void)
{
    return mount(&f, other, third, &x);
}
static void check_mounted(void)
{
    struct digest digest;
    CHECK(has_blob(&f, third, X));
    push_blob(&f, third, CONFIG, 0);
    CHECK_INT(put(third, CONFIG, X, "v9", 0, &digest), OK);
}

static enum err push_unlinked(void)
{
    push_blob(&f, app, Z, 0);
    return OK;
}
static void check_unlinked(void)
{
    CHECK(has_blob(&f, app, Z));
}

static enum err push_image(void)
{
    push_blob(&f, app, CONFIG, 0);
    push_blob(&f, app, LAYER, 0);
    return put(app, CONFIG, LAYER, NULL, 0, &untagged);
}
static enum err tag_image(void) /* as a client does who was told before that all parts are there */
{
    enum err e = put(app, CONFIG, LAYER, "v1", 0, &untagged);
    CHECK(e == OK || e == ERR_MANIFEST_BLOB_UNKNOWN);
    return e;
}
static enum err head_parts_and_put(void)
{
    struct digest config, layer;
    digest_of(DIGEST_sha256, CONFIG, &config);
    digest_of(DIGEST_sha256, LAYER, &layer);
    if (head(&f, app, &config))
        push_blob(&f, app, CONFIG, 0);
    if (head(&f, app, &layer))
        push_blob(&f, app, LAYER, 0);
    enum err e = put(app, CONFIG, LAYER, "v1", 0, &untagged);
    CHECK_INT(e, OK);
    return e;
}
static enum err head_image(void)
{
    return head_manifest(&f, app, &untagged);
}
static void check_image(void)
{
    CHECK(has_manifest(&f, app, &untagged));
    CHECK(has_blob(&f, app, CONFIG));
    CHECK(has_blob(&f, app, LAYER));
}

/* Of parts that lay there unused since long, without asking for them. */
static struct digest late;
static enum err put_of_old_parts(void)
{
    enum err e = put(app, X, X, "v9", 0, &late);
    CHECK(e == OK || e == ERR_MANIFEST_BLOB_UNKNOWN);
    return e;
}
static void check_late(void)
{
    CHECK(has_manifest(&f, app, &late));
    CHECK(has_blob(&f, app, X));
}

static enum err finish_upload(void)
{
    enum err e = upload_end(&f, app, UPLOAD, upload, 0);
    CHECK(e == OK || e == ERR_BLOB_UPLOAD_UNKNOWN || e == ERR_BLOB_UPLOAD_BUSY);
    return e;
}
static enum err go_on_with_upload(void)
{
    enum err e = upload_append(&f, app, UPLOAD, begun);
    CHECK(e == OK || e == ERR_BLOB_UPLOAD_UNKNOWN || e == ERR_BLOB_UPLOAD_BUSY);
    return e ? e : upload_end(&f, app, UPLOAD, begun, 0);
}
static void check_upload(void)
{
    CHECK(has_blob(&f, app, UPLOAD));
}

/* What was in use when it was judged may not be forgotten. */
static enum err delete_used(void)
{
    delete_manifest(&f, other, NULL, &used, 0);
    return OK;
}
static void check_gone(void)
{
    CHECK(!has_manifest(&f, other, &used));
}

static const struct act {
    const char *name;
    enum err (*run)(void);
    void (*check)(void);
} acts[] = {
    {"push a blob", push_it, check_it},
    {"HEAD a blob", head_it, check_it},
    {"mount a blob", mount_it, check_mounted},
    {"push a blob that is linked nowhere", push_unlinked, check_unlinked},
    {"push an image", push_image, check_image},
    {"tag an image", tag_image, check_image},
    {"HEAD what is needed, and put the image", head_parts_and_put, check_image},
    {"HEAD a manifest", head_image, check_image},
    {"put an image of old parts", put_of_old_parts, check_late},
    {"finish an upload", finish_upload, check_upload},
    {"go on with an upload", go_on_with_upload, check_upload},
    {"delete an image in use", delete_used, check_gone},
};
enum { ACT_COUNT = sizeof acts / sizeof *acts };

/* The visitor: acts once, when the run is for the n-th time at his point. */
struct visit {
    enum gc_point point;
    unsigned nth;
    const struct act *act;
    bool kill; /* the run ends there */
    unsigned seen;
    bool done;
    enum err answer;
};

static bool at_point(void *arg, enum gc_point point)
{
    struct visit *v = arg;
    if (v->done || point != v->point || v->seen++ < v->nth)
        return true;
    v->answer = v->act->run();
    v->done = true;
    return !v->kill;
}

static const char *const point_names[] = {
#define P(name, when) #name,
    GC_POINT_TABLE(P)
#undef P
};

/* Everything is deleted: nothing may be left. */
static void check_nothing_is_left(void)
{
    static const str all[] = {STR_INIT("*")};
    static const char *const repositories[] = {app, other, third};
    for (int i = 0; i < 3; i++) {
        const char *repository = repositories[i];
        struct name name = fixture_name(&f, repository);
        struct repository found;
        const char *tags[] = {"v1", "v9"};
        for (int t = 0; t < 2; t++) {
            struct digest digest;
            if (repository_find(f.conn, name.full, &found) == OK &&
                tag_get(f.conn, &found, str_from(tags[t]), &digest) == OK)
                delete_manifest(&f, repository, tags[t], NULL, 0);
        }
    }
    f.gc.untagged = all;
    f.gc.untagged_n = 1;
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.files_failed, 0);
    CHECK_INT(blob_files(&f), 0);
    CHECK_INT(upload_files(&f), 0);
    CHECK_INT(collect(&f, &now), OK);
    CHECK_INT(f.report.reviewed + f.report.files, 0);
}

static bool try_one(struct visit *v)
{
    make_world();
    enum err e = gc_run_with(&f.gc, &due, at_point, v, &f.report);
    CHECK_INT(e, v->kill && v->done ? ERR_SHUTTING_DOWN : OK);
    if (v->done && v->kill)
        CHECK_INT(collect(&f, &due), OK);
    if (v->done && v->answer == OK) {
        v->act->check();
        CHECK_INT(collect(&f, &due), OK);
        v->act->check();
    }
    check_nothing_is_left();
    arena_reset(&f.arena);
    return v->done;
}

static void nothing_is_lost(bool kill)
{
    fixture_open(&f);
    for (unsigned point = 0; point < GC_POINT_COUNT; point++) {
        for (size_t a = 0; a < ACT_COUNT; a++) {
            for (unsigned nth = 0; nth < (kill ? 1 : 2); nth++) {
                struct visit v = {
                    .point = (enum gc_point)point, .nth = nth, .act = &acts[a], .kill = kill};
                if (!try_one(&v) && nth == 0)
                    test_fail(__FILE__, __LINE__, "the run never came to %s", point_names[point]);
            }
        }
    }
    fixture_close(&f);
}

static void nothing_is_lost_to_a_run(void)
{
    nothing_is_lost(false);
}

static void nothing_is_lost_to_a_killed_run(void)
{
    nothing_is_lost(true);
}

/* Killed at each point without anybody doing anything: the next run finishes the work. */
static enum err do_nothing(void)
{
    return ERR_NOT_FOUND;
}

static void killed_runs_are_finished(void)
{
    static const struct act nothing = {"nothing", do_nothing, NULL};
    fixture_open(&f);
    for (unsigned point = 0; point < GC_POINT_COUNT; point++) {
        struct visit v = {.point = (enum gc_point)point, .act = &nothing, .kill = true};
        CHECK(try_one(&v));
    }
    fixture_close(&f);
}

/* The window inside of a push: it has seen that the content is stored, and not linked it yet. */

struct gate {
    pthread_mutex_t lock;
    atomic_bool reached;
};

static enum err gate_tx(struct db_conn *conn, void *arg)
{
    struct gate *g = arg;
    (void)conn;
    atomic_store(&g->reached, true);
    pthread_mutex_lock(&g->lock);
    pthread_mutex_unlock(&g->lock);
    return OK;
}

static void *gate_main(void *arg)
{
    CHECK_INT(db_tx(f.registry.db, gate_tx, arg), OK);
    return NULL;
}

static void *collect_main(void *arg)
{
    (void)arg;
    CHECK_INT(collect(&f, &due), OK);
    return NULL;
}

static void *push_main(void *arg)
{
    char *uuid = arg;
    CHECK_INT(upload_end(&f, app, Z, uuid, 0), OK);
    return NULL;
}

static void await_queued(uint64_t jobs)
{
    while (db_counters(f.registry.db).queued < jobs)
        sched_yield();
}

static void a_push_that_saw_a_blob_before_it_died(void)
{
    fixture_open(&f);
    char uuid[UUID_LEN];
    struct gate gate = {.reached = false};
    pthread_t threads[3];
    struct digest z = push_blob(&f, app, Z, age);
    delete_blob(&f, app, &z, age);
    upload_begin(&f, app, Z, uuid);
    f.gc.uploads_expire_ms = 3600 * 1000;
    pthread_mutex_init(&gate.lock, NULL);
    pthread_mutex_lock(&gate.lock);
    need(pthread_create(&threads[0], NULL, gate_main, &gate) ? ERR_OVERLOADED : OK, "thread");
    while (!atomic_load(&gate.reached))
        sched_yield();
    need(pthread_create(&threads[1], NULL, collect_main, NULL) ? ERR_OVERLOADED : OK, "thread");
    await_queued(1); /* the blob is judged; its death waits behind the gate */
    need(pthread_create(&threads[2], NULL, push_main, uuid) ? ERR_OVERLOADED : OK, "thread");
    await_queued(2); /* the push has seen it alive */
    pthread_mutex_unlock(&gate.lock);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&gate.lock);
    CHECK_INT(f.report.blobs, 1);
    CHECK(has_blob(&f, app, Z));
    CHECK_INT(blob_files(&f), 1);
    fixture_close(&f);
}

TESTS({"nothing is lost to a run", nothing_is_lost_to_a_run},
      {"nothing is lost to a killed run", nothing_is_lost_to_a_killed_run},
      {"killed runs are finished", killed_runs_are_finished},
      {"a push that saw a blob before it died", a_push_that_saw_a_blob_before_it_died})

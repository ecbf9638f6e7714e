#include "base/clock.h"
#include "base/test.h"
#include "jobs/no_sync.h"
#include "jobs/scrub.h"
#include "registry/blob.h"
#include "registry/damage.h"
#include "registry/registry.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOBS = 100 }; /* more than a chunk */

struct fixture {
    struct arena a;
    str dir;
    struct db *db;
    struct store *store;
    struct scrub *scrub;
    struct digest digests[BLOBS];
};

static void need(enum err e)
{
    if (e) {
        printf("Bail out! %s\n", err_name(e));
        exit(99);
    }
}

struct adopt {
    struct digest digest;
    str content, key;
};

static enum err adopt_tx(struct db_conn *conn, void *arg)
{
    struct adopt *adopt = arg;
    struct blob blob;
    bool adopted;
    return blob_adopt(conn, &adopt->digest, adopt->content.n, adopt->key, clock_wall_us(), &blob,
                      &adopted);
}

static void add_blob(struct fixture *f, str content, struct digest *digest)
{
    struct store_upload *u;
    uint8_t id[16];
    char uuid[UUID_LEN], key[STORE_KEY_LEN];
    uuid_new(id);
    str name = uuid_format(id, uuid);
    need(store_upload_open(f->store, name, 0, &u));
    need(store_upload_write(u, 0, content));
    need(store_upload_publish(u, content.n, key));
    store_upload_close(u);
    need(store_upload_discard(f->store, name));
    struct adopt adopt = {.content = content, .key = str_make(key, sizeof key)};
    digest_of(DIGEST_sha256, content, &adopt.digest);
    need(db_tx(f->db, adopt_tx, &adopt));
    *digest = adopt.digest;
}

static void open_fixture(struct fixture *f, const char *name, uint64_t rate)
{
    struct error why = {0};
    *f = (struct fixture){0};
    f->dir = arena_printf(&f->a, "%s/%s", test_dir(), name);
    need(store_open(&f->store, f->dir, &f->a, &why));
    need(db_open(&f->db, f->dir, 2, &f->a, &why));
    for (int i = 0; i < BLOBS; i++)
        add_blob(f, arena_printf(&f->a, "content %d", i), &f->digests[i]);
    f->scrub = scrub_new(&(struct scrub_config){.db = f->db,
                                                .reader = db_reader(f->db, 1),
                                                .store = f->store,
                                                .rate_bytes = rate,
                                                .interval_ms = 3600 * 1000});
}

static void close_fixture(struct fixture *f)
{
    scrub_free(f->scrub);
    db_close(f->db);
    store_close(f->store);
    arena_release(&f->a);
}

static struct blob find(struct fixture *f, int i)
{
    struct blob blob = {0};
    CHECK_INT(blob_find(db_reader(f->db, 0), &f->digests[i], &blob), OK);
    return blob;
}

static str path_of(struct fixture *f, int i, const char *folder)
{
    struct blob blob = find(f, i);
    bool blobs = strcmp(folder, "blobs") == 0;
    return arena_printf(&f->a, "%.*s/%s/%.*s%s%.*s", STR_ARG(f->dir), folder, blobs ? 2 : 0,
                        blob.store_key, blobs ? "/" : "", STORE_KEY_LEN, blob.store_key);
}

static void overwrite(struct fixture *f, int i)
{
    int fd = open(path_of(f, i, "blobs").p, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, "C", 1, 0) == 1);
    close(fd);
}

static uint64_t damaged(struct fixture *f)
{
    uint64_t n = 0;
    CHECK_INT(blob_damaged_count(db_reader(f->db, 0), &n), OK);
    return n;
}

static void finds_what_rotted(void)
{
    struct fixture f;
    open_fixture(&f, "rot", UINT64_C(1) << 40);
    CHECK_INT(scrub_pass(f.scrub), OK);
    CHECK_INT(damaged(&f), 0);
    struct scrub_status status = scrub_status(f.scrub);
    CHECK_INT(status.passes, 1);
    CHECK_INT(status.blobs, BLOBS);

    str was = path_of(&f, 90, "blobs");
    overwrite(&f, 90);
    CHECK_INT(truncate(path_of(&f, 3, "blobs").p, 2), 0);
    CHECK_INT(unlink(path_of(&f, 77, "blobs").p), 0);
    CHECK_INT(scrub_pass(f.scrub), OK);
    status = scrub_status(f.scrub);
    CHECK_INT(status.damaged, 3);
    CHECK_INT(damaged(&f), 3);
    CHECK(find(&f, 90).damaged && find(&f, 3).damaged && find(&f, 77).damaged);
    CHECK(!find(&f, 89).damaged);
    CHECK(access(was.p, F_OK) != 0);
    CHECK(access(path_of(&f, 90, "quarantine").p, F_OK) == 0);

    CHECK_INT(scrub_pass(f.scrub), OK); /* known ones are not counted again */
    CHECK_INT(scrub_status(f.scrub).damaged, 3);
    CHECK_INT(scrub_status(f.scrub).blobs, 3 * BLOBS - 3);
    close_fixture(&f);
}

/* The row that was read has another file by the time it is judged: not damaged. */
static void leaves_alone_what_was_replaced(void)
{
    struct fixture f;
    bool marked = true;
    open_fixture(&f, "replaced", UINT64_C(1) << 40);
    struct blob blob = find(&f, 5);
    CHECK_INT(
        blob_quarantine(f.db, f.store, blob.id, STR("00112233445566778899aabbccddeeff"), &marked),
        OK);
    CHECK(!marked);
    CHECK_INT(damaged(&f), 0);
    CHECK_INT(
        blob_quarantine(f.db, f.store, blob.id, str_make(blob.store_key, STORE_KEY_LEN), &marked),
        OK);
    CHECK(marked);
    CHECK_INT(damaged(&f), 1);
    close_fixture(&f);
}

static void *pass(void *arg)
{
    return (void *)(intptr_t)scrub_pass(arg);
}

/* A stop in the middle, and a new program that goes on where the old one was. */
static void goes_on_after_a_stop(void)
{
    struct fixture f;
    pthread_t thread;
    void *result;
    open_fixture(&f, "stop", 64 * 1024 * 10); /* ten small files a second */
    CHECK_INT(pthread_create(&thread, NULL, pass, f.scrub), 0);
    while (scrub_status(f.scrub).blobs < 2)
        sched_yield();
    scrub_stop(f.scrub);
    pthread_join(thread, &result);
    CHECK_INT((intptr_t)result, ERR_SHUTTING_DOWN);
    uint64_t before = scrub_status(f.scrub).blobs;
    CHECK(before < BLOBS);
    scrub_free(f.scrub);

    f.scrub = scrub_new(&(struct scrub_config){.db = f.db,
                                               .reader = db_reader(f.db, 1),
                                               .store = f.store,
                                               .rate_bytes = UINT64_C(1) << 40,
                                               .interval_ms = 3600 * 1000});
    CHECK_INT(scrub_pass(f.scrub), OK);
    CHECK_INT(before + scrub_status(f.scrub).blobs, BLOBS);
    close_fixture(&f);
}

/* The rate is a bound: so many small files cannot take less time. */
static void keeps_to_its_rate(void)
{
    struct fixture f;
    open_fixture(&f, "rate", UINT64_C(64) * 1024 * 1000); /* a thousand small files a second */
    uint64_t start = clock_mono_ms();
    CHECK_INT(scrub_pass(f.scrub), OK);
    CHECK(clock_mono_ms() - start >= (BLOBS - 1) * 1000 / 1000);
    close_fixture(&f);
}

static void runs_by_itself(void)
{
    struct fixture f;
    open_fixture(&f, "thread", UINT64_C(1) << 40);
    overwrite(&f, 9);
    CHECK_INT(scrub_start(f.scrub), OK);
    while (scrub_status(f.scrub).passes < 1)
        sched_yield();
    CHECK_INT(damaged(&f), 1);
    close_fixture(&f); /* while it waits for its next turn */
}

TESTS({"finds what rotted", finds_what_rotted},
      {"leaves alone what was replaced", leaves_alone_what_was_replaced},
      {"goes on after a stop", goes_on_after_a_stop}, {"keeps to its rate", keeps_to_its_rate},
      {"runs by itself", runs_by_itself})

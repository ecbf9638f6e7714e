/* A large registry collects to exactly what is referenced, in little memory, while a client pushes
 * and another one pulls. 1,000 manifests with 10,000 links here; GC_BULK_MANIFESTS=100000 in the
 * environment makes it the real size (a minute or two; a directory in TMPDIR of 1 GB). */
#include "jobs/gc_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    LAYERS = 10, /* of a manifest */
    SHARE = 10,  /* repositories that have the same layers, each with its own manifests */
    BATCH = 50,  /* manifests in one transaction */
    RSS_MAX_KB = 48 << 10,
    TIMES_MAX = 1 << 20,
};

static struct fixture f;
static unsigned manifests = 1000, repositories;
static const int64_t age = 100 * HOUR_US;
static const struct gc_ask due = {0};

/* Manifest number i is the n-th one of its repository. */
static unsigned repository_of(unsigned i)
{
    return i % repositories;
}
static unsigned nth(unsigned i)
{
    return i / repositories;
}

/* A third of the images is deleted everywhere, a third in every other repository. */
static bool is_deleted(unsigned i)
{
    return nth(i) % 3 == 0 || (nth(i) % 3 == 1 && repository_of(i) % 2 == 0);
}
static bool is_wanted_elsewhere(unsigned i)
{
    return nth(i) % 3 != 0;
}

static str layer(struct arena *a, unsigned i, unsigned j)
{
    return arena_printf(a, "layer %u.%u.%u", repository_of(i) / SHARE, nth(i), j);
}

static struct name name_of(struct arena *a, unsigned i)
{
    struct name name;
    struct error why;
    str text = arena_printf(a, "bulk/r%u", repository_of(i));
    need(name_parse(a, text, &name, &why), "name");
    return name;
}

/* The manifest and the digests of its layers. */
static str manifest_of(struct arena *a, unsigned i, struct digest refs[LAYERS])
{
    struct fixture text = {.arena = *a};
    uint64_t sizes[LAYERS];
    for (unsigned j = 0; j < LAYERS; j++) {
        str bytes = layer(&text.arena, i, j);
        digest_of(DIGEST_sha256, bytes, &refs[j]);
        sizes[j] = bytes.n;
    }
    struct image image = {.refs = refs,
                          .sizes = sizes,
                          .ref_n = LAYERS,
                          .note = arena_printf(&text.arena, "%u", i).p};
    str made = image_text(&text, &image);
    *a = text.arena;
    return made;
}

static enum err add_layer(struct db_conn *conn, struct arena *a, const struct maker *maker,
                          const struct repository *repository, const struct digest *digest,
                          uint64_t size_bytes)
{
    struct blob blob;
    uint8_t id[STORE_KEY_LEN / 2];
    char key[STORE_KEY_LEN + 1] = "";
    bool adopted;
    random_bytes(id, sizeof id);
    hex_encode(key, id, sizeof id);
    enum err e = blob_adopt(conn, digest, size_bytes, str_make(key, STORE_KEY_LEN), maker->now_us,
                            &blob, &adopted);
    if (!e && adopted) {
        str path = arena_printf(a, "%.*s/blobs/%.2s/%s", STR_ARG(f.dir), key, key);
        close(open(path.p, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
    return e ? e : blob_link(conn, repository, &blob, maker->now_us);
}

static enum err fill_tx(struct db_conn *conn, void *arg)
{
    static const struct facts none;
    unsigned from = *(unsigned *)arg;
    struct maker maker = fixture_maker(age);
    enum err e = OK;
    for (unsigned i = from; !e && i < from + BATCH && i < manifests; i++) {
        ARENA_CLEANUP struct arena a = {0};
        struct digest refs[LAYERS];
        struct manifest manifest;
        struct error why;
        struct repository repository;
        struct name name = name_of(&a, i);
        struct manifest_put put = {.name = &name,
                                   .manifest = &manifest,
                                   .bytes = manifest_of(&a, i, refs),
                                   .facts = &none,
                                   .missing = ARENA_ARRAY(&a, LAYERS, bool),
                                   .maker = maker};
        digest_of(DIGEST_sha256, put.bytes, &put.digest);
        e = manifest_parse(&a, put.bytes, str_make(NULL, 0), &manifest, &why);
        if (!e)
            e = repository_ensure(conn, &name, &maker, &repository);
        for (unsigned j = 0; !e && j < LAYERS; j++)
            e = add_layer(conn, &a, &maker, &repository, &refs[j], layer(&a, i, j).n);
        if (!e)
            e = manifest_put_tx(conn, &put);
    }
    return e;
}

static enum err delete_tx(struct db_conn *conn, void *arg)
{
    unsigned from = *(unsigned *)arg;
    enum err e = OK;
    for (unsigned i = from; !e && i < from + BATCH && i < manifests; i++) {
        ARENA_CLEANUP struct arena a = {0};
        struct digest refs[LAYERS];
        struct reference reference = {.is_digest = true};
        struct name name = name_of(&a, i);
        struct manifest_delete del = {.name = &name,
                                      .reference = &reference,
                                      .by = STR("ann"),
                                      .now_us = clock_wall_us() - age};
        if (!is_deleted(i))
            continue;
        digest_of(DIGEST_sha256, manifest_of(&a, i, refs), &reference.digest);
        e = manifest_delete_tx(conn, &del);
    }
    return e;
}

/* What a client does while collection runs. */
struct client {
    pthread_t thread;
    atomic_bool stop;
    struct db_conn *conn;
    unsigned n; /* times */
    uint32_t *us;
};

static void *pull_main(void *arg)
{
    struct client *c = arg;
    for (unsigned i = 0; !atomic_load(&c->stop) && c->n < TIMES_MAX; i = (i + 7919) % manifests) {
        ARENA_CLEANUP struct arena a = {0};
        struct digest digest;
        struct blob blob;
        struct name name = name_of(&a, i);
        struct reference reference = {.is_digest = true};
        struct manifest_view view;
        struct digest refs[LAYERS];
        if (is_deleted(i))
            continue;
        digest_of(DIGEST_sha256, manifest_of(&a, i, refs), &reference.digest);
        digest_of(DIGEST_sha256, layer(&a, i, i % LAYERS), &digest);
        uint64_t start_us = clock_mono_us();
        CHECK_INT(manifest_get(c->conn, name.full, &reference, true, &a, &view), OK);
        CHECK_INT(blob_find_linked(c->conn, name.full, &digest, &blob), OK);
        c->us[c->n++] = (uint32_t)(clock_mono_us() - start_us);
    }
    return NULL;
}

static void *push_main(void *arg)
{
    struct client *c = arg;
    for (; !atomic_load(&c->stop) && c->n < TIMES_MAX; c->n++) {
        struct digest refs[2], digest;
        str parts[2];
        uint64_t sizes[2];
        for (unsigned j = 0; j < 2; j++) {
            parts[j] = arena_printf(&f.arena, "pushed meanwhile %u.%u", c->n, j);
            refs[j] = push_blob(&f, "live/app", parts[j], 0);
            sizes[j] = parts[j].n;
        }
        struct image image = {
            .repository = "live/app", .tag = "v1", .refs = refs, .sizes = sizes, .ref_n = 2};
        CHECK_INT(put_image(&f, &image, 0, &digest, NULL), OK);
        arena_reset(&f.arena);
    }
    return NULL;
}

static void client_start(struct client *c, void *(*run)(void *), struct db_conn *conn)
{
    *c = (struct client){.conn = conn, .us = calloc(TIMES_MAX, sizeof *c->us)};
    need(!c->us || pthread_create(&c->thread, NULL, run, c) ? ERR_OVERLOADED : OK, "thread");
}

static int compare(const void *x, const void *y)
{
    const uint32_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static void client_end(struct client *c, const char *what)
{
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
    qsort(c->us, c->n, sizeof *c->us, compare);
    printf("# %s: %u", what, c->n);
    if (c->n && c->us[c->n - 1])
        printf(", p50 %u us, p99 %u us, most %u us", c->us[c->n / 2],
               c->us[(size_t)c->n * 99 / 100], c->us[c->n - 1]);
    printf("\n");
    free(c->us);
}

/* Highest resident memory since the last reset, kB. */
static long rss_peak(bool reset)
{
    char line[128];
    long kb = -1;
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file && reset)
        fputs("5", file);
    if (file)
        fclose(file);
    file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (str_starts(str_from(line), STR("VmHWM:")))
            kb = strtol(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return kb;
}

static void run_batches(db_tx_fn *fn, const char *what)
{
    uint64_t start_ms = clock_mono_ms();
    for (unsigned i = 0; i < manifests; i += BATCH)
        need(db_tx(f.registry.db, fn, &i), what);
    printf("# %s: %llu ms\n", what, (unsigned long long)(clock_mono_ms() - start_ms));
}

static void check_what_is_left(void)
{
    for (unsigned i = 0; i < manifests; i++) {
        ARENA_CLEANUP struct arena a = {0};
        struct digest refs[LAYERS];
        struct manifest_view view;
        struct blob blob;
        struct name name = name_of(&a, i);
        struct reference reference = {.is_digest = true};
        digest_of(DIGEST_sha256, manifest_of(&a, i, refs), &reference.digest);
        bool want = !is_deleted(i);
        CHECK_INT(manifest_get(f.conn, name.full, &reference, true, &a, &view),
                  want ? OK : ERR_MANIFEST_UNKNOWN);
        for (unsigned j = 0; j < LAYERS; j++) {
            CHECK_INT(blob_find_linked(f.conn, name.full, &refs[j], &blob),
                      want ? OK : ERR_BLOB_UNKNOWN);
            CHECK_INT(blob_find(f.conn, &refs[j], &blob),
                      is_wanted_elsewhere(i) ? OK : ERR_BLOB_UNKNOWN);
        }
    }
}

static void collects_to_what_is_referenced(void)
{
    const char *asked = getenv("GC_BULK_MANIFESTS");
    uint64_t n;
    struct client pull, push;
    if (asked && str_u64(str_from(asked), &n) && n <= 10000000)
        manifests = (unsigned)n;
    repositories = manifests / 1000 < SHARE ? SHARE : manifests / 1000 / SHARE * SHARE;
    fixture_open(&f);
    run_batches(fill_tx, "filled");
    CHECK_INT(collect(&f, &due), OK); /* the first review of everything: it is in use */
    printf("# first review: %llu rows, %llu ms\n", (unsigned long long)f.report.reviewed,
           (unsigned long long)f.report.elapsed_us / 1000);
    CHECK_INT(f.report.links + f.report.blobs + f.report.bodies, 0);
    run_batches(delete_tx, "deleted");

    unsigned gone = 0, dead = 0;
    for (unsigned i = 0; i < manifests; i++) {
        gone += is_deleted(i);
        dead += !is_wanted_elsewhere(i) && repository_of(i) % SHARE == 0;
    }
    unsigned before = blob_files(&f);
    f.gc.rate = asked ? 10000 : 0; /* as in a server */
    client_start(&pull, pull_main, db_reader(f.registry.db, 2));
    usleep(asked ? 5000000 : 1000);
    client_end(&pull, "pulls before");
    client_start(&pull, pull_main, db_reader(f.registry.db, 2));
    client_start(&push, push_main, NULL);
    rss_peak(true);
    CHECK_INT(collect(&f, &due), OK);
    long rss_kb = rss_peak(false);
    client_end(&pull, "pulls meanwhile");
    client_end(&push, "images pushed meanwhile");
    printf("# collected: %llu rows, %llu ms, at most %ld kB resident\n",
           (unsigned long long)f.report.reviewed, (unsigned long long)f.report.elapsed_us / 1000,
           rss_kb);
    CHECK_INT(f.report.links, (uint64_t)gone * LAYERS);
    CHECK_INT(f.report.bodies, gone);
    CHECK_INT(f.report.blobs, (uint64_t)dead * LAYERS);
    CHECK_INT(f.report.files, f.report.blobs);
    CHECK_INT(blob_files(&f), before - f.report.files + 2 * push.n);
#ifndef __SANITIZE_ADDRESS__
    CHECK(rss_kb > 0 && rss_kb < RSS_MAX_KB);
#endif
    check_what_is_left();
    CHECK_INT(collect(&f, &due), OK);
    CHECK_INT(f.report.reviewed, 0);
    fixture_close(&f);
}

TESTS({"collects to what is referenced", collects_to_what_is_referenced})

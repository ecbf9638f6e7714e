/* fill: makes a data directory with many rows. Everything goes through the verbs that pushes end
 * in, many of them to a transaction; so what it leaves is what as many pushes would have left, and
 * `berth fsck` finds nothing wrong with it. Filled again, a directory keeps what it has.
 *
 *   team-00042/service-7         one repository of ten in a private project: latest, and TAGS_EACH
 *                                tags r0, r1, ... of further manifests
 *   team-00042-open/service-8    one in a public project of its own
 *   scale/tags                   v000000000000, v000000000001, ...: each its own manifest
 *   scale/referrers              latest, and manifests about it, SIGNATURES of another type
 *   NAME                         a blob of zeros that takes no room
 *   bulk/r0, bulk/r1, ...        images for a collection (fill_images.h)
 */
#include "fill_images.h"

#include "base/clock.h"
#include "base/hex.h"
#include "cli/data_dir.h"
#include "registry/blob.h"
#include "registry/manifest.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage_text[] =
    "fill -d DIR [-r REPOSITORIES [-p PUBLIC] [-k TAGS_EACH]] [-t TAGS] [-f REFERRERS]\n"
    "     [-n NAME -z BYTES] [-i IMAGES]\n"
    "Fills the data directory of a server that is not running. Prints one line of JSON.\n";

/* Manifests in a transaction. More of them save no time: what does not fit the writer's page cache
 * is searched for pages to write, again and again. */
enum { BATCH = 200 };
enum { SIGNATURES = 50 };

#define IMAGE_TYPE MANIFEST_OCI_IMAGE
#define TAGS_NAME  STR("scale/tags")
#define REFS_NAME  STR("scale/referrers")

/* A blob that all manifests share. */
struct part {
    str media_type, bytes;
    struct digest digest;
    struct blob blob;
};

struct fill {
    uint64_t repositories, public_n, tags_each, tags, referrers, images, image_repositories;
    str zeros_name; /* repository of the blob of zeros */
    uint64_t zeros_bytes;
    str dir;
    struct db *db;
    struct store *store;
    struct arena *arena; /* until the end */
    struct arena batch;  /* of one transaction */
    struct error why;
    int64_t now_us;
    struct part config, layer, zeros;
    str image;
    struct digest image_digest;
};

/* --- blobs ----------------------------------------------------------------------------------- */

/* Makes an upload of which `bytes` were received, then stores it. With p == NULL they are zeros,
 * and the file is a hole, made behind the store's back. */
static enum err store_bytes(struct fill *f, str bytes, char key[STORE_KEY_LEN])
{
    uint8_t id[16];
    char text[UUID_LEN];
    struct store_upload *u = NULL;
    uuid_new(id);
    str uuid = uuid_format(id, text);
    enum err e = store_upload_open(f->store, uuid, 0, &u);
    if (!e && bytes.p)
        e = store_upload_write(u, 0, bytes);
    if (!e && !bytes.p) {
        store_upload_close(u);
        u = NULL;
        str path = arena_printf(f->arena, "%.*s/uploads/%.*s", STR_ARG(f->dir), STR_ARG(uuid));
        e = truncate(path.p, (off_t)bytes.n) == 0 ? OK : err_from_errno(errno);
        if (!e)
            e = store_upload_open(f->store, uuid, bytes.n, &u);
    }
    if (!e)
        e = store_upload_publish(u, bytes.n, key);
    store_upload_close(u);
    enum err discarded = store_upload_discard(f->store, uuid);
    return e ? e : discarded;
}

static void digest_zeros(uint64_t n, struct digest *ret)
{
    static const char zeros[1 << 20];
    HASHER_CLEANUP struct hasher *h = hasher_new(DIGEST_sha256);
    for (uint64_t part; n > 0; n -= part) {
        part = n < sizeof zeros ? n : sizeof zeros;
        hasher_update(h, zeros, part);
    }
    hasher_peek(h, ret);
}

struct adopt {
    struct part *part;
    str key;
    int64_t now_us;
};

static enum err adopt_tx(struct db_conn *conn, void *arg)
{
    struct adopt *a = arg;
    struct part *p = a->part;
    bool adopted;
    return blob_adopt(conn, &p->digest, p->bytes.n, a->key, a->now_us, &p->blob, &adopted);
}

static enum err part_ensure(struct fill *f, struct part *p)
{
    char key[STORE_KEY_LEN];
    if (p->bytes.p)
        digest_of(DIGEST_sha256, p->bytes, &p->digest);
    else
        digest_zeros(p->bytes.n, &p->digest);
    enum err e = blob_find(db_reader(f->db, 0), &p->digest, &p->blob);
    if (e != ERR_BLOB_UNKNOWN)
        return e;
    e = store_bytes(f, p->bytes, key);
    struct adopt adopt = {p, str_make(key, sizeof key), f->now_us};
    return e ? e : db_tx(f->db, adopt_tx, &adopt);
}

/* --- manifests ------------------------------------------------------------------------------- */

static str descriptor(struct arena *a, str media_type, const struct digest *digest, uint64_t size)
{
    return arena_printf(a, "{\"mediaType\":\"%.*s\",\"digest\":\"%.*s\",\"size\":%" PRIu64 "}",
                        STR_ARG(media_type), STR_ARG(digest_text(a, digest)), size);
}

/* `rest` are further members, each with a comma before it. */
static str manifest_text(const struct fill *f, struct arena *a, str rest)
{
    str config = descriptor(a, f->config.media_type, &f->config.digest, f->config.bytes.n);
    str layer = descriptor(a, f->layer.media_type, &f->layer.digest, f->layer.bytes.n);
    return arena_printf(a,
                        "{\"schemaVersion\":2,\"mediaType\":\"%.*s\",\"config\":%.*s,"
                        "\"layers\":[%.*s]%.*s}",
                        STR_ARG(manifest_type_text(IMAGE_TYPE)), STR_ARG(config), STR_ARG(layer),
                        STR_ARG(rest));
}

/* One push: the repository, its links to both blobs, the manifest, its tag (p == NULL: none). */
static enum err push(struct db_conn *conn, struct fill *f, str full_name, bool public, str bytes,
                     str tag)
{
    struct arena *a = &f->batch;
    struct name name;
    struct manifest manifest;
    struct repository repository;
    struct facts *facts = ARENA_NEW(a, struct facts);
    struct manifest_put put = {
        .name = &name,
        .manifest = &manifest,
        .bytes = bytes,
        .facts = facts,
        .tags = &tag,
        .tag_n = tag.p != NULL,
        .maker = {.principal = STR("bench"),
                  .now_us = f->now_us,
                  .new_projects_public = public,
                  .may_make_projects = true},
    };
    digest_of(DIGEST_sha256, bytes, &put.digest);
    enum err e = name_parse(a, full_name, &name, &f->why);
    if (!e)
        e = manifest_parse(a, bytes, manifest_type_text(IMAGE_TYPE), &manifest, &f->why);
    if (e)
        return e;
    facts_read(a, &manifest, bytes, f->config.bytes, facts);
    put.missing = ARENA_ARRAY(a, manifest.ref_n, bool);
    e = repository_ensure(conn, &name, &put.maker, &repository);
    if (!e)
        e = blob_link(conn, &repository, &f->config.blob, f->now_us);
    if (!e)
        e = blob_link(conn, &repository, &f->layer.blob, f->now_us);
    return e ? e : manifest_put_tx(conn, &put);
}

/* --- rows ------------------------------------------------------------------------------------ */

typedef enum err add_fn(struct db_conn *conn, struct fill *f, uint64_t i);

/* Whether `i` is one of `chosen` that are spread evenly among `n`. */
static bool is_chosen(uint64_t i, uint64_t chosen, uint64_t n)
{
    return (i + 1) * chosen / n > i * chosen / n;
}

static enum err add_repository(struct db_conn *conn, struct fill *f, uint64_t i)
{
    bool public = is_chosen(i, f->public_n, f->repositories);
    str name = arena_printf(&f->batch, "team-%05" PRIu64 "%s/service-%" PRIu64, i / 10,
                            public ? "-open" : "", i % 10);
    enum err e = push(conn, f, name, public, f->image, STR("latest"));
    for (uint64_t k = 0; !e && k < f->tags_each; k++) {
        str rest = arena_printf(&f->batch,
                                ",\"annotations\":{\"number\":\"%" PRIu64 "/%" PRIu64 "\"}", i, k);
        str tag = arena_printf(&f->batch, "r%" PRIu64, k);
        e = push(conn, f, name, public, manifest_text(f, &f->batch, rest), tag);
    }
    return e;
}

static enum err add_tag(struct db_conn *conn, struct fill *f, uint64_t i)
{
    str rest = arena_printf(
        &f->batch, ",\"annotations\":{\"org.opencontainers.image.revision\":\"%040" PRIx64 "\"}",
        i);
    str tag = arena_printf(&f->batch, "v%012" PRIu64, i);
    return push(conn, f, TAGS_NAME, false, manifest_text(f, &f->batch, rest), tag);
}

static enum err add_subject(struct db_conn *conn, struct fill *f, uint64_t i)
{
    return push(conn, f, REFS_NAME, false, f->image, STR("latest"));
}

static enum err add_referrer(struct db_conn *conn, struct fill *f, uint64_t i)
{
    str subject =
        descriptor(&f->batch, manifest_type_text(IMAGE_TYPE), &f->image_digest, f->image.n);
    str rest = arena_printf(&f->batch,
                            ",\"artifactType\":\"application/vnd.berth.bench.%s\",\"subject\":%.*s,"
                            "\"annotations\":{\"number\":\"%" PRIu64 "\"}",
                            is_chosen(i, SIGNATURES, f->referrers) ? "signature" : "sbom",
                            STR_ARG(subject), i);
    return push(conn, f, REFS_NAME, false, manifest_text(f, &f->batch, rest), (str){0});
}

static enum err add_zeros(struct db_conn *conn, struct fill *f, uint64_t i)
{
    struct name name;
    struct repository repository;
    struct maker maker = {
        .principal = STR("bench"), .now_us = f->now_us, .may_make_projects = true};
    enum err e = name_parse(&f->batch, f->zeros_name, &name, &f->why);
    if (!e)
        e = repository_ensure(conn, &name, &maker, &repository);
    return e ? e : blob_link(conn, &repository, &f->zeros.blob, f->now_us);
}

struct batch {
    struct fill *fill;
    add_fn *add;
    uint64_t from, to;
};

static enum err batch_tx(struct db_conn *conn, void *arg)
{
    struct batch *b = arg;
    enum err e = OK;
    arena_reset(&b->fill->batch);
    for (uint64_t i = b->from; !e && i < b->to; i++)
        e = b->add(conn, b->fill, i);
    return e;
}

/* Of n items, each of so many manifests. */
static enum err add_all(struct fill *f, add_fn *add, uint64_t n, uint64_t manifests)
{
    enum err e = OK;
    uint64_t step = manifests < BATCH ? BATCH / manifests : 1;
    for (uint64_t i = 0; !e && i < n; i += step) {
        struct batch batch = {f, add, i, i + step < n ? i + step : n};
        e = db_tx(f->db, batch_tx, &batch);
    }
    return e;
}

/* --- the program ----------------------------------------------------------------------------- */

static enum err make_image(struct fill *f)
{
    enum { LAYER_BYTES = 4096 };
    char *layer = arena_alloc(f->arena, LAYER_BYTES);
    memset(layer, 'b', LAYER_BYTES);
    f->config = (struct part){
        .media_type = STR("application/vnd.oci.image.config.v1+json"),
        .bytes = STR("{\"architecture\":\"amd64\",\"os\":\"linux\","
                     "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}"),
    };
    f->layer = (struct part){
        .media_type = STR("application/vnd.oci.image.layer.v1.tar"),
        .bytes = str_make(layer, LAYER_BYTES),
    };
    enum err e = part_ensure(f, &f->config);
    if (!e)
        e = part_ensure(f, &f->layer);
    f->image = manifest_text(f, f->arena, STR(""));
    digest_of(DIGEST_sha256, f->image, &f->image_digest);
    return e;
}

static enum err fill_rows(struct fill *f)
{
    bool any = f->repositories || f->tags || f->referrers;
    enum err e = any ? make_image(f) : OK; /* blobs that nobody links would be garbage */
    if (!e)
        e = add_all(f, add_repository, f->repositories, 1 + f->tags_each);
    if (!e)
        e = add_all(f, add_tag, f->tags, 1);
    if (!e)
        e = add_all(f, add_subject, f->referrers > 0, 1);
    if (!e)
        e = add_all(f, add_referrer, f->referrers, 1);
    if (!e && f->zeros_bytes > 0) {
        f->zeros.bytes = (str){NULL, f->zeros_bytes};
        e = part_ensure(f, &f->zeros);
        if (!e)
            e = add_all(f, add_zeros, 1, 1);
    }
    if (!e && f->images)
        e = fill_images(f->db, f->dir, f->images, f->now_us, &f->image_repositories, &f->why);
    return e;
}

static enum err fill_dir(struct fill *f, str dir)
{
    int lock_fd = -1;
    f->dir = dir;
    f->now_us = clock_wall_us();
    enum err e = data_dir_take(dir, f->arena, &lock_fd, &f->why);
    if (!e)
        e = db_open(&f->db, dir, 1, f->arena, &f->why);
    if (!e)
        e = db_tx(f->db, project_ensure_library, &f->now_us);
    if (!e)
        e = store_open(&f->store, dir, f->arena, &f->why);
    if (!e)
        e = fill_rows(f);
    store_close(f->store);
    if (f->db)
        db_close(f->db);
    if (lock_fd >= 0)
        close(lock_fd);
    return e;
}

static bool read_count(const char *text, uint64_t *ret)
{
    return str_u64(str_from(text), ret) && *ret <= (1ull << 40);
}

static bool read_options(struct fill *f, int argc, char **argv, str *dir)
{
    bool ok = true;
    for (int o; (o = getopt(argc, argv, "d:r:p:k:t:f:n:z:i:")) != -1;)
        switch (o) {
        case 'd':
            *dir = str_from(optarg);
            break;
        case 'r':
            ok = ok && read_count(optarg, &f->repositories);
            break;
        case 'p':
            ok = ok && read_count(optarg, &f->public_n);
            break;
        case 'k':
            ok = ok && read_count(optarg, &f->tags_each);
            break;
        case 't':
            ok = ok && read_count(optarg, &f->tags);
            break;
        case 'n':
            f->zeros_name = str_from(optarg);
            break;
        case 'z':
            ok = ok && read_count(optarg, &f->zeros_bytes);
            break;
        case 'i':
            ok = ok && read_count(optarg, &f->images);
            break;
        case 'f':
            ok = ok && read_count(optarg, &f->referrers);
            break;
        default:
            ok = false;
        }
    return ok && dir->n && optind == argc && f->public_n <= f->repositories &&
           (f->zeros_bytes > 0) == (f->zeros_name.n > 0);
}

int main(int argc, char **argv)
{
    ARENA_CLEANUP struct arena arena = {0};
    struct fill f = {.arena = &arena};
    str dir = {0};
    if (!read_options(&f, argc, argv, &dir)) {
        fputs(usage_text, stderr);
        return 2;
    }
    uint64_t begun_ms = clock_mono_ms();
    enum err e = fill_dir(&f, dir);
    if (e) {
        str text = f.why.message.n ? f.why.message : str_from(err_text(e));
        fprintf(stderr, "fill: %.*s\n", STR_ARG(text));
    } else {
        str subject = f.image.n ? digest_text(&arena, &f.image_digest) : STR("");
        printf("{\"seconds\": %.3f, \"subject\": \"%.*s\", \"image_repositories\": %" PRIu64 "}\n",
               (double)(clock_mono_ms() - begun_ms) / 1e3, STR_ARG(subject), f.image_repositories);
    }
    arena_release(&f.batch);
    return e ? 1 : 0;
}

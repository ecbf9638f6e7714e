/* For the tests of collection: a registry on a real database and store, and what clients do to it.
 * Ages are how long ago something is done; `need` ends the program when the ground is not there. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/test.h"
#include "blob/store.h"
#include "jobs/gc_private.h"
#include "jobs/no_sync.h"
#include "registry/manifest.h"
#include "registry/review.h"
#include "registry/tag.h"
#include "registry/upload.h"
#include "registry/upload_begun.h"

#include <stdlib.h>
#include <unistd.h>

#define HOUR_US (3600 * INT64_C(1000000))

struct fixture {
    struct arena arena;
    struct registry registry;
    str dir;
    struct db_conn *conn; /* clients' reader */
    struct gc gc;
    struct gc_report report; /* of the last run */
};

static inline void need(enum err e, const char *what)
{
    if (e) {
        printf("Bail out! %s: %s\n", what, err_name(e));
        exit(1);
    }
}

static inline void fixture_open(struct fixture *f)
{
    struct error why;
    *f = (struct fixture){0};
    char *dir = arena_cstr(&f->arena, arena_printf(&f->arena, "%s/XXXXXX", test_dir()));
    need(mkdtemp(dir) ? OK : ERR_IO, "directory");
    f->dir = str_from(dir);
    need(db_open(&f->registry.db, str_from(dir), 3, &f->arena, &why), "database");
    need(store_open(&f->registry.store, str_from(dir), &f->arena, &why), "store");
    f->registry.uploads = upload_table_new(f->registry.store, 8);
    f->registry.begun = upload_begun_table_new();
    f->registry.uploads_max = 1000;
    f->registry.review_delay_ms = 24 * 3600 * 1000;
    f->conn = db_reader(f->registry.db, 0);
    f->gc = (struct gc){.registry = &f->registry,
                        .reader = db_reader(f->registry.db, 1),
                        .uploads_expire_ms = 24 * 3600 * 1000};
}

static inline void fixture_close(struct fixture *f)
{
    upload_table_free(f->registry.uploads);
    upload_begun_table_free(f->registry.begun);
    store_close(f->registry.store);
    db_close(f->registry.db);
    arena_release(&f->arena);
}

static inline struct name fixture_name(struct fixture *f, const char *text)
{
    struct name name;
    struct error why;
    need(name_parse(&f->arena, str_from(text), &name, &why), text);
    return name;
}

static inline struct maker fixture_maker(int64_t age_us)
{
    return (struct maker){
        .principal = STR("ann"), .now_us = clock_wall_us() - age_us, .may_make_projects = true};
}

/* POST. */
static inline void upload_start(struct fixture *f, const char *repository, char uuid[UUID_LEN])
{
    struct name name = fixture_name(f, repository);
    const struct upload_owner ann = {name.full, STR("ann")};
    need(upload_create(&f->registry, &ann, DIGEST_sha256, uuid), "upload");
}

/* The first PATCH. */
static inline enum err upload_append(struct fixture *f, const char *repository, str bytes,
                                     const char text[UUID_LEN])
{
    UPLOAD_CLEANUP struct upload *u = NULL;
    struct upload_row row;
    struct name name = fixture_name(f, repository);
    const struct upload_owner ann = {name.full, STR("ann")};
    str uuid = str_make(text, UUID_LEN);
    enum err e = upload_checkout(f->registry.uploads, uuid, &u);
    if (!e)
        e = upload_find(&f->registry, f->conn, uuid, &ann, &row);
    if (e)
        return e;
    CHECK_INT(row.offset_bytes, 0);
    need(upload_resume(u, 0, row.algorithm), "resume");
    need(store_upload_write(u->file, 0, bytes), "write");
    need(upload_sync(u, bytes.n), "sync");
    need(upload_advance(&f->registry, uuid, &ann, bytes.n), "advance");
    return OK;
}

/* Both: an upload with these bytes, acknowledged. */
static inline void upload_begin(struct fixture *f, const char *repository, str bytes,
                                char uuid[UUID_LEN])
{
    upload_start(f, repository, uuid);
    need(upload_append(f, repository, bytes, uuid), "append");
}

/* PUT. */
static inline enum err upload_end(struct fixture *f, const char *repository, str bytes,
                                  const char uuid[UUID_LEN], int64_t age_us)
{
    UPLOAD_CLEANUP struct upload *u = NULL;
    struct name name = fixture_name(f, repository);
    struct upload_commit commit = {
        .name = &name, .size_bytes = bytes.n, .maker = fixture_maker(age_us)};
    digest_of(DIGEST_sha256, bytes, &commit.digest);
    enum err e = upload_checkout(f->registry.uploads, str_make(uuid, UUID_LEN), &u);
    if (!e)
        e = upload_resume(u, bytes.n, DIGEST_sha256);
    return e ? e : upload_finish(&f->registry, f->conn, u, &commit);
}

static inline struct digest push_blob(struct fixture *f, const char *repository, str bytes,
                                      int64_t age_us)
{
    char uuid[UUID_LEN];
    struct digest digest;
    upload_begin(f, repository, bytes, uuid);
    CHECK_INT(upload_end(f, repository, bytes, uuid, age_us), OK);
    digest_of(DIGEST_sha256, bytes, &digest);
    return digest;
}

static inline enum err mount(struct fixture *f, const char *from, const char *to,
                             const struct digest *digest)
{
    struct name source = fixture_name(f, from), target = fixture_name(f, to);
    struct maker maker = fixture_maker(0);
    return blob_mount(&f->registry, &source, &target, digest, &maker);
}

/* HEAD of a blob by who may push: what api/v2_blob.c does. */
static inline enum err head(struct fixture *f, const char *repository, const struct digest *digest)
{
    struct name name = fixture_name(f, repository);
    struct blob blob;
    enum err e = blob_find_linked(f->conn, name.full, digest, &blob);
    if (!e && review_must_lease(blob.review_from, f->registry.review_delay_ms, clock_wall_us()))
        e = blob_lease(&f->registry, name.full, digest);
    return e;
}

/* The same of a manifest, in a repository that gc.untagged covers. */
static inline enum err head_manifest(struct fixture *f, const char *repository,
                                     const struct digest *digest)
{
    struct name name = fixture_name(f, repository);
    struct reference reference = {.is_digest = true, .digest = *digest};
    struct manifest_view view;
    enum err e = manifest_get(f->conn, name.full, &reference, false, &f->arena, &view);
    if (!e && review_must_lease(view.review_from, f->registry.review_delay_ms, clock_wall_us()))
        e = manifest_lease(&f->registry, name.full, digest);
    return e;
}

/* What a manifest is made of; digests as text. */
struct image {
    const char *repository;
    const char *tag;           /* NULL: pushed by digest */
    const struct digest *refs; /* config and layers, or children of an index */
    const uint64_t *sizes;
    size_t ref_n;
    bool index;
    const struct digest *subject;
    const char *note; /* tells manifests apart that are the same otherwise */
};

static inline void write_descriptor(struct fixture *f, struct buf *out, const char *type,
                                    const struct digest *digest, uint64_t size_bytes)
{
    buf_printf(out, "{\"mediaType\":\"%s\",\"digest\":\"%.*s\",\"size\":%llu}", type,
               STR_ARG(digest_text(&f->arena, digest)), (unsigned long long)size_bytes);
}

static inline str image_text(struct fixture *f, const struct image *image)
{
    BUF_CLEANUP struct buf out = BUF_INIT(1 << 20);
    const char *kind = image->index ? "index" : "manifest";
    buf_printf(&out,
               "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.%s.v1+json\","
               "\"annotations\":{\"note\":\"%s\"}",
               kind, image->note ? image->note : "");
    size_t i = 0;
    if (!image->index) {
        buf_add(&out, STR(",\"config\":"));
        write_descriptor(f, &out, "application/vnd.oci.image.config.v1+json", &image->refs[0],
                         image->sizes[0]);
        i = 1;
    }
    buf_printf(&out, ",\"%s\":[", image->index ? "manifests" : "layers");
    for (size_t first = i; i < image->ref_n; i++) {
        if (i > first)
            buf_byte(&out, ',');
        write_descriptor(f, &out,
                         image->index ? "application/vnd.oci.image.manifest.v1+json"
                                      : "application/vnd.oci.image.layer.v1.tar",
                         &image->refs[i], image->sizes[i]);
    }
    buf_byte(&out, ']');
    if (image->subject) {
        buf_add(&out, STR(",\"subject\":"));
        write_descriptor(f, &out, "application/vnd.oci.image.manifest.v1+json", image->subject, 9);
    }
    buf_byte(&out, '}');
    return arena_str(&f->arena, buf_str(&out));
}

/* PUT of a manifest. *size_bytes (may be NULL) for who names it. */
static inline enum err put_image(struct fixture *f, const struct image *image, int64_t age_us,
                                 struct digest *digest, uint64_t *size_bytes)
{
    static const struct facts none;
    struct name name = fixture_name(f, image->repository);
    struct manifest manifest;
    struct error why = {0};
    str tag = str_from(image->tag);
    struct manifest_put put = {
        .name = &name,
        .manifest = &manifest,
        .bytes = image_text(f, image),
        .facts = &none,
        .tags = &tag,
        .tag_n = image->tag ? 1 : 0,
        .maker = fixture_maker(age_us),
    };
    need(manifest_parse(&f->arena, put.bytes, str_make(NULL, 0), &manifest, &why), "manifest");
    digest_of(DIGEST_sha256, put.bytes, &put.digest);
    put.missing = ARENA_ARRAY(&f->arena, manifest.ref_n, bool);
    *digest = put.digest;
    if (size_bytes)
        *size_bytes = put.bytes.n;
    return db_tx(f->registry.db, manifest_put_tx, &put);
}

/* DELETE of a manifest, or, without a digest, of a tag. */
static inline void delete_manifest(struct fixture *f, const char *repository, const char *tag,
                                   const struct digest *digest, int64_t age_us)
{
    struct name name = fixture_name(f, repository);
    struct reference reference = {.is_digest = digest != NULL, .tag = str_from(tag)};
    if (digest)
        reference.digest = *digest;
    struct manifest_delete del = {.name = &name,
                                  .reference = &reference,
                                  .by = STR("ann"),
                                  .now_us = clock_wall_us() - age_us};
    CHECK_INT(db_tx(f->registry.db, manifest_delete_tx, &del), OK);
}

/* DELETE of a blob. */
struct unlinking {
    const struct name *name;
    const struct digest *digest;
    int64_t at_us;
};

static inline enum err unlinking_tx(struct db_conn *conn, void *arg)
{
    const struct unlinking *u = arg;
    struct repository repository;
    enum err e = repository_find(conn, u->name->full, &repository);
    return e ? e : blob_unlink(conn, &repository, u->digest, u->at_us);
}

static inline void delete_blob(struct fixture *f, const char *repository,
                               const struct digest *digest, int64_t age_us)
{
    struct name name = fixture_name(f, repository);
    struct unlinking u = {&name, digest, clock_wall_us() - age_us};
    CHECK_INT(db_tx(f->registry.db, unlinking_tx, &u), OK);
}

static inline bool has_manifest(struct fixture *f, const char *repository,
                                const struct digest *digest)
{
    struct name name = fixture_name(f, repository);
    struct reference reference = {.is_digest = true, .digest = *digest};
    struct manifest_view view;
    return manifest_get(f->conn, name.full, &reference, true, &f->arena, &view) == OK;
}

/* Whether a pull of the blob from the repository gets these bytes. */
static inline bool has_blob(struct fixture *f, const char *repository, str bytes)
{
    struct name name = fixture_name(f, repository);
    struct digest digest;
    struct blob blob;
    struct file *file;
    digest_of(DIGEST_sha256, bytes, &digest);
    if (blob_find_linked(f->conn, name.full, &digest, &blob) ||
        store_blob_open(f->registry.store, str_make(blob.store_key, STORE_KEY_LEN), blob.size_bytes,
                        &file))
        return false;
    char *read = arena_alloc(&f->arena, bytes.n + 1);
    ssize_t n = pread(file->fd, read, bytes.n + 1, 0);
    file_unref(file);
    return n >= 0 && str_eq(str_make(read, (size_t)n), bytes);
}

static inline enum err count_entry(void *arg, const struct store_entry *entry)
{
    (void)entry;
    ++*(unsigned *)arg;
    return OK;
}

static inline unsigned blob_files(struct fixture *f)
{
    unsigned n = 0;
    for (unsigned i = 0; i < STORE_SHARDS; i++)
        CHECK_INT(store_list_blobs(f->registry.store, i, count_entry, &n), OK);
    return n;
}

static inline unsigned upload_files(struct fixture *f)
{
    unsigned n = 0;
    CHECK_INT(store_list_uploads(f->registry.store, count_entry, &n), OK);
    return n;
}

static inline enum err collect(struct fixture *f, const struct gc_ask *ask)
{
    return gc_run(&f->gc, ask, &f->report);
}

#include "fill_images.h"

#include "base/clock.h"
#include "base/hex.h"
#include "registry/blob.h"
#include "registry/manifest.h"

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

enum { BATCH = 20 };

struct images {
    struct arena arena; /* of one transaction */
    str dir;
    uint64_t n, repositories, from;
    int64_t now_us;
    struct error *why;
};

/* A blob of this text in the repository. Its file is made behind the store's back, and not synced.
 */
static enum err add_blob(struct db_conn *conn, struct images *m,
                         const struct repository *repository, str text, struct digest *digest)
{
    struct blob blob;
    uint8_t id[STORE_KEY_LEN / 2];
    char key[STORE_KEY_LEN + 1] = "";
    bool adopted;
    digest_of(DIGEST_sha256, text, digest);
    random_bytes(id, sizeof id);
    hex_encode(key, id, sizeof id);
    enum err e =
        blob_adopt(conn, digest, text.n, str_make(key, STORE_KEY_LEN), m->now_us, &blob, &adopted);
    if (!e && adopted) {
        str path = arena_printf(&m->arena, "%.*s/blobs/%.2s/%s", STR_ARG(m->dir), key, key);
        int fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        bool written = fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n;
        if (fd >= 0)
            close(fd);
        e = written ? OK : ERR_IO;
    }
    return e ? e : blob_link(conn, repository, &blob, m->now_us);
}

static str descriptor(struct arena *a, const char *type, const struct digest *digest, uint64_t size)
{
    return arena_printf(a,
                        "{\"mediaType\":\"application/vnd.oci.image.%s\",\"digest\":\"%.*s\","
                        "\"size\":%" PRIu64 "}",
                        type, STR_ARG(digest_text(a, digest)), size);
}

/* Image number i, with its blobs; the text of its manifest. */
static enum err add_parts(struct db_conn *conn, struct images *m, uint64_t i,
                          const struct repository *repository, str *ret)
{
    struct arena *a = &m->arena;
    struct digest digest;
    str config = STR("{}"), layers = STR("");
    enum err e = add_blob(conn, m, repository, config, &digest);
    str first = descriptor(a, "config.v1+json", &digest, config.n);
    for (int j = 0; !e && j < IMAGE_LAYERS; j++) {
        str text = arena_printf(a, "layer %" PRIu64 ".%" PRIu64 ".%d",
                                i % m->repositories / IMAGE_SHARE, i / m->repositories, j);
        e = add_blob(conn, m, repository, text, &digest);
        layers = arena_printf(a, "%.*s%s%.*s", STR_ARG(layers), j ? "," : "",
                              STR_ARG(descriptor(a, "layer.v1.tar", &digest, text.n)));
    }
    *ret = arena_printf(
        a,
        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest."
        "v1+json\",\"config\":%.*s,\"layers\":[%.*s],\"annotations\":{\"number\":\"%" PRIu64 "\"}}",
        STR_ARG(first), STR_ARG(layers), i);
    return e;
}

static enum err add_image(struct db_conn *conn, struct images *m, uint64_t i)
{
    struct facts *facts = ARENA_NEW(&m->arena, struct facts);
    struct arena *a = &m->arena;
    uint64_t repository = i % m->repositories, nth = i / m->repositories;
    bool tagged = nth % 3 == 2 || (nth % 3 == 1 && repository % 2 == 1);
    str tag = arena_printf(a, "v%" PRIu64, nth);
    struct name name;
    struct manifest manifest;
    struct repository row;
    struct manifest_put put = {
        .name = &name,
        .manifest = &manifest,
        .facts = facts,
        .tags = &tag,
        .tag_n = tagged,
        .missing = ARENA_ARRAY(a, 1 + IMAGE_LAYERS, bool),
        .maker = {.principal = STR("bench"), .now_us = m->now_us, .may_make_projects = true}};
    enum err e = name_parse(a, arena_printf(a, "bulk/r%" PRIu64, repository), &name, m->why);
    if (!e)
        e = repository_ensure(conn, &name, &put.maker, &row);
    if (!e)
        e = add_parts(conn, m, i, &row, &put.bytes);
    if (!e)
        e = manifest_parse(a, put.bytes, (str){0}, &manifest, m->why);
    if (e)
        return e;
    facts_read(a, &manifest, put.bytes, STR("{}"), facts);
    digest_of(DIGEST_sha256, put.bytes, &put.digest);
    return manifest_put_tx(conn, &put);
}

static enum err batch_tx(struct db_conn *conn, void *arg)
{
    struct images *m = arg;
    enum err e = OK;
    arena_reset(&m->arena);
    for (uint64_t i = m->from; !e && i < m->n && i < m->from + BATCH; i++)
        e = add_image(conn, m, i);
    return e;
}

enum err fill_images(struct db *db, str dir, uint64_t n, int64_t now_us, uint64_t *repositories,
                     struct error *why)
{
    uint64_t tens = n / 1000 / IMAGE_SHARE;
    struct images m = {.dir = dir,
                       .n = n,
                       .repositories = (tens ? tens : 1) * IMAGE_SHARE,
                       .now_us = now_us,
                       .why = why};
    enum err e = OK;
    for (; !e && m.from < n; m.from += BATCH)
        e = db_tx(db, batch_tx, &m);
    *repositories = m.repositories;
    arena_release(&m.arena);
    return e;
}

#include "blob/upload_state.h"

#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>

enum { REHASH_STEP_BYTES = 256 << 10 };

struct upload_table {
    struct store *store;
    unsigned idle_max;
    pthread_mutex_t lock;           /* guards all below, and the fields of uploads that say so */
    struct map uploads;             /* by uuid: held ones and idle ones */
    struct upload *newest, *oldest; /* idle */
    unsigned idle_n;
};

struct upload_table *upload_table_new(struct store *s, unsigned idle_max)
{
    struct upload_table *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->store = s;
    t->idle_max = idle_max;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void idle_add(struct upload_table *t, struct upload *u)
{
    u->newer = NULL;
    u->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = u;
    t->newest = u;
    t->idle_n++;
}

static void idle_remove(struct upload_table *t, struct upload *u)
{
    *(u->newer ? &u->newer->older : &t->newest) = u->older;
    *(u->older ? &u->older->newer : &t->oldest) = u->newer;
    u->newer = u->older = NULL;
    t->idle_n--;
}

static void hasher_drop(struct upload *u)
{
    hasher_free(u->hasher);
    u->hasher = NULL;
    u->hashed = 0;
}

static void file_drop(struct upload *u)
{
    store_upload_close(u->file);
    u->file = NULL;
}

static void upload_free(struct upload *u)
{
    if (!u)
        return;
    hasher_drop(u);
    file_drop(u);
    free(u);
}

void upload_table_free(struct upload_table *t)
{
    if (!t)
        return;
    while (t->oldest) {
        struct upload *u = t->oldest;
        idle_remove(t, u);
        upload_free(u);
    }
    map_release(&t->uploads);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

enum err upload_checkout(struct upload_table *t, str uuid, struct upload **ret)
{
    uint8_t id[16];
    if (!uuid_parse(uuid, id))
        return ERR_BLOB_UPLOAD_UNKNOWN;
    enum err e = OK;
    pthread_mutex_lock(&t->lock);
    struct upload *u = map_get(&t->uploads, uuid);
    if (u && u->held) {
        e = ERR_BLOB_UPLOAD_BUSY;
    } else if (u) {
        idle_remove(t, u);
    } else {
        u = calloc(1, sizeof *u);
        if (!u)
            abort();
        u->table = t;
        memcpy(u->uuid, uuid.p, UUID_LEN);
        map_set(&t->uploads, uuid, u);
    }
    if (!e) {
        u->held = true;
        *ret = u;
    }
    pthread_mutex_unlock(&t->lock);
    return e;
}

void upload_checkin(struct upload *u, bool keep)
{
    if (!u)
        return;
    struct upload_table *t = u->table;
    struct upload *gone = u;
    keep = keep && u->file && !u->broken;
    /* Files are closed outside the lock (close may block), but before the uuid is free again, so
     * that the next holder is alone with the file. Only idle ones, fully synced, may overlap. What
     * was not acknowledged is no use to anybody, and might be what fills the disk. */
    if (!keep) {
        store_upload_close_at(u->file, u->offset);
        u->file = NULL;
    }
    pthread_mutex_lock(&t->lock);
    u->held = false;
    if (keep) {
        idle_add(t, u);
        gone = t->idle_n > t->idle_max ? t->oldest : NULL;
        if (gone)
            idle_remove(t, gone);
    }
    if (gone)
        map_remove(&t->uploads, str_make(gone->uuid, UUID_LEN));
    pthread_mutex_unlock(&t->lock);
    upload_free(gone);
}

/* Remembers that a call on the file failed. */
static enum err noted(struct upload *u, enum err e)
{
    if (e)
        u->broken = true;
    return e;
}

enum err upload_resume(struct upload *u, uint64_t offset, enum digest_algorithm alg)
{
    /* More than `offset` was written but not acknowledged: opening cuts it. */
    if (u->file && store_upload_size(u->file) != offset)
        file_drop(u);
    if (!u->file) {
        str uuid = str_make(u->uuid, UUID_LEN);
        enum err e = store_upload_open(u->table->store, uuid, offset, &u->file);
        if (e)
            return e == ERR_NOT_FOUND ? ERR_BLOB_UPLOAD_UNKNOWN : e;
    }
    u->offset = offset;
    if (u->hasher && (u->hashed > offset || hasher_algorithm(u->hasher) != alg))
        hasher_drop(u);
    if (!u->hasher)
        u->hasher = hasher_new(alg);
    enum err e = upload_rehash(u->file, u->hasher, u->hashed, offset);
    if (e) {
        hasher_drop(u);
        return noted(u, e);
    }
    u->hashed = offset;
    return OK;
}

enum err upload_sync(struct upload *u, uint64_t size_bytes)
{
    enum err e = store_upload_sync(u->file, size_bytes);
    if (!e)
        u->offset = size_bytes;
    return noted(u, e);
}

enum err upload_digest(struct upload *u, uint64_t size_bytes, enum digest_algorithm alg,
                       struct digest *ret)
{
    if (u->hasher && u->hashed == size_bytes && hasher_algorithm(u->hasher) == alg) {
        hasher_peek(u->hasher, ret);
        return OK;
    }
    HASHER_CLEANUP struct hasher *h = hasher_new(alg);
    enum err e = upload_rehash(u->file, h, 0, size_bytes);
    if (!e)
        hasher_peek(h, ret);
    return noted(u, e);
}

enum err upload_publish(struct upload *u, uint64_t size_bytes, char key[STORE_KEY_LEN])
{
    return noted(u, store_upload_publish(u->file, size_bytes, key));
}

enum err upload_discard(struct upload *u)
{
    file_drop(u);
    return store_upload_discard(u->table->store, str_make(u->uuid, UUID_LEN));
}

enum err upload_rehash(struct store_upload *file, struct hasher *h, uint64_t from, uint64_t to)
{
    if (from == to)
        return OK;
    ARENA_CLEANUP struct arena a = {0};
    char *bytes = arena_alloc(&a, REHASH_STEP_BYTES);
    while (from < to) {
        size_t got, n = to - from < REHASH_STEP_BYTES ? (size_t)(to - from) : REHASH_STEP_BYTES;
        enum err e = store_upload_read(file, from, bytes, n, &got);
        if (e)
            return e;
        if (got < n)
            return ERR_IO;
        hasher_update(h, bytes, n);
        from += n;
    }
    return OK;
}

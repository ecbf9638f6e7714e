/* Blobs' files kept open for who serves them, found by store key. Keys are never used again, and
 * whether somebody may have a blob is decided before, by the row that names the key: so a file that
 * is kept too long is never served wrongly, it only keeps its space. */
#include "base/clock.h"
#include "blob/store_file.h"

#include <errno.h>
#include <sys/stat.h>

enum {
    KEPT_SHARDS = 4,
    KEPT_COST = 1024, /* bytes an entry may count for in the cache; more than it does */
};

void store_keep_open(struct store *s, size_t files_max)
{
    if (!files_max)
        return;
    s->kept = cache_new(CACHE_FILES, (files_max + KEPT_SHARDS) * KEPT_COST, KEPT_SHARDS);
    cache_limit_entries(s->kept, files_max);
}

void store_close_kept(struct store *s)
{
    if (s->kept)
        cache_expire(s->kept, clock_mono_ms());
}

void store_kept_forget(struct store *s, str key)
{
    if (s->kept)
        cache_remove(s->kept, key);
}

bool store_shed_files(struct store *s, int errnum)
{
    if (!s->kept || (errnum != EMFILE && errnum != ENFILE))
        return false;
    cache_expire(s->kept, CACHE_FOREVER);
    return true;
}

static void let_go(void *bytes)
{
    file_unref(*(struct file **)bytes);
}

static bool is_unlinked(const struct file *f)
{
    struct stat st;
    return fstat(f->fd, &st) != 0 || st.st_nlink == 0;
}

/* Who unlinks comes after the file was looked at and finds the entry, or before and is seen. */
static void keep(struct store *s, str key, struct file *f)
{
    struct cache_value *v = cache_value_new(sizeof f, clock_mono_ms() + STORE_KEPT_MS);
    if (!v)
        return;
    file_ref(f);
    memcpy(v->bytes, &f, sizeof f);
    v->end = let_go;
    cache_put(s->kept, key, v);
    if (is_unlinked(f))
        cache_remove(s->kept, key);
}

enum err store_blob_open_kept(struct store *s, str key, uint64_t size_bytes, struct file **ret)
{
    struct file *f = store_blob_find_kept(s, key, size_bytes);
    if (!f) {
        enum err e = store_blob_open(s, key, size_bytes, &f);
        if (e)
            return e;
        if (s->kept)
            keep(s, key, f);
    }
    *ret = f;
    return OK;
}

struct file *store_blob_find_kept(struct store *s, str key, uint64_t size_bytes)
{
    CACHE_VALUE struct cache_value *v = s->kept ? cache_get(s->kept, key, clock_mono_ms()) : NULL;
    struct file *f = v ? *(struct file **)v->bytes : NULL;
    return f && f->size_bytes == size_bytes ? file_ref(f) : NULL;
}

#include "registry/content.h"

#include "base/cache.h"
#include "base/clock.h"

static str key_of(const struct blob *blob)
{
    return str_make(blob->store_key, STORE_KEY_LEN);
}

/* A value without bytes says that the file was there. */
static struct cache_value *find(const struct registry *registry, const struct blob *blob)
{
    return registry->content ? cache_get(registry->content, key_of(blob), clock_mono_ms()) : NULL;
}

static void keep(struct registry *registry, const struct blob *blob, str bytes, uint64_t until)
{
    struct cache_value *v = registry->content ? cache_value_new(bytes.n, until) : NULL;
    if (!v)
        return;
    if (bytes.n)
        memcpy(v->bytes, bytes.p, bytes.n);
    cache_put(registry->content, key_of(blob), v);
}

enum err content_load(struct registry *registry, const struct db_conn *conn,
                      const struct blob *blob, struct arena *a, str *ret)
{
    CACHE_VALUE struct cache_value *known = find(registry, blob);
    if (known && known->n == blob->size_bytes) {
        *ret = arena_str(a, str_make(known->bytes, known->n));
        return OK;
    }
    if (!db_may_block(conn))
        return ERR_WOULD_BLOCK;
    enum err e = blob_load(registry->store, blob, a, ret);
    if (!e)
        keep(registry, blob, *ret, CACHE_FOREVER);
    return e;
}

enum err content_check(struct registry *registry, const struct db_conn *conn,
                       const struct blob *blob)
{
    CACHE_VALUE struct cache_value *known = find(registry, blob);
    if (known)
        return OK;
    if (!db_may_block(conn))
        return ERR_WOULD_BLOCK;
    struct file *file = NULL;
    enum err e = blob_open(registry->store, blob, &file);
    file_unref(file);
    if (!e)
        keep(registry, blob, STR(""), clock_mono_ms() + CONTENT_TRUST_MS);
    return e;
}

/* What is known of the disk below the file store: whether changes to it succeed. That a file cannot
 * be read is told of and counted, but is no condition: the others are served. */
#include "base/metrics.h"
#include "blob/store_file.h"

#include <stdio.h>

enum err store_failed(struct store *s, const char *what, int errnum)
{
    char text[64];
    enum err e = err_from_errno(errnum);
    pthread_mutex_lock(&s->lock);
    s->condition = e;
    metric_set_at(METRIC_UNREADY, UNREADY_STORE, 1);
    snprintf(s->failure, sizeof s->failure, "%s: %s", what, strerror_r(errnum, text, sizeof text));
    pthread_mutex_unlock(&s->lock);
    return e;
}

enum err store_directory_failed(struct store *s, const struct directory *d, enum err e)
{
    pthread_mutex_lock(&s->lock);
    s->condition = e;
    metric_set_at(METRIC_UNREADY, UNREADY_STORE, 1);
    snprintf(s->failure, sizeof s->failure, "%s: %s", d->name,
             e == ERR_MOVED        ? "is not the directory any more that the server has open"
             : e == ERR_PERMISSION ? "cannot be reached"
                                   : "fsync failed, now or a moment ago");
    pthread_mutex_unlock(&s->lock);
    return e;
}

enum err store_read_failed(struct store *s, const char *what, str key, int errnum)
{
    char text[64];
    enum err e = err_from_errno(errnum);
    if (e == ERR_NOT_FOUND || e == ERR_NO_FILES)
        return e;
    metric_add(METRIC_STORE_READ_FAILURES, 1);
    pthread_mutex_lock(&s->lock);
    snprintf(s->read_failure, sizeof s->read_failure, "%s blobs/%.2s/%.*s: %s", what, key.p,
             STR_ARG(key), strerror_r(errnum, text, sizeof text));
    pthread_mutex_unlock(&s->lock);
    return e;
}

void store_works(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    s->condition = OK;
    metric_set_at(METRIC_UNREADY, UNREADY_STORE, 0);
    pthread_mutex_unlock(&s->lock);
}

enum err store_condition(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    enum err e = s->condition;
    pthread_mutex_unlock(&s->lock);
    return e;
}

static enum err check_places(struct store *s)
{
    for (unsigned i = 0; i < s->shard_n; i++) {
        enum err e = directory_check(&s->shards[i]);
        if (e)
            return store_directory_failed(s, &s->shards[i], e);
    }
    return OK;
}

enum err store_probe(struct store *s)
{
    struct store_upload *u;
    uint8_t id[16];
    char text[UUID_LEN];
    uuid_new(id);
    str uuid = uuid_format(id, text);
    enum err e = store_upload_open(s, uuid, 0, &u);
    if (!e) {
        e = store_upload_write(u, 0, STR("probe"));
        if (!e)
            e = store_upload_sync(u, store_upload_size(u));
        store_upload_close(u);
        enum err discarded = store_upload_discard(s, uuid);
        e = e ? e : discarded;
    }
    return e ? e : check_places(s);
}

static str locked_text(struct store *s, const char *text, struct arena *a)
{
    pthread_mutex_lock(&s->lock);
    str copy = arena_str(a, str_from(text));
    pthread_mutex_unlock(&s->lock);
    return copy;
}

str store_error_text(struct store *s, struct arena *a)
{
    return locked_text(s, s->failure, a);
}

str store_read_error_text(struct store *s, struct arena *a)
{
    return locked_text(s, s->read_failure, a);
}

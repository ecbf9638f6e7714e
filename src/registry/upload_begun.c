#include "registry/upload_begun.h"

#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>

struct entry {
    struct upload_begun what; /* its texts are in `text` */
    struct entry *newer, *older;
    char text[];
};

struct upload_begun_table {
    pthread_mutex_t lock;          /* guards all below */
    struct map entries;            /* by uuid */
    struct entry *newest, *oldest; /* by time of the last touch */
};

struct upload_begun_table *upload_begun_table_new(void)
{
    struct upload_begun_table *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void list_add(struct upload_begun_table *t, struct entry *e)
{
    e->newer = NULL;
    e->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = e;
    t->newest = e;
}

static void list_remove(struct upload_begun_table *t, struct entry *e)
{
    *(e->newer ? &e->newer->older : &t->newest) = e->older;
    *(e->older ? &e->older->newer : &t->oldest) = e->newer;
}

static str uuid_of(const struct entry *e)
{
    return str_make(e->what.uuid, UUID_LEN);
}

void upload_begun_table_free(struct upload_begun_table *t)
{
    if (!t)
        return;
    for (struct entry *e = t->oldest, *newer; e; e = newer) {
        newer = e->newer;
        free(e);
    }
    map_release(&t->entries);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* Copies the text to *end. */
static void keep_text(str *s, char **end)
{
    if (s->n) /* nobody has no name */
        memcpy(*end, s->p, s->n);
    s->p = *end;
    *end += s->n;
}

static struct entry *entry_new(const struct upload_begun *what)
{
    struct entry *e = malloc(sizeof *e + what->full_name.n + what->principal.n);
    if (!e)
        abort();
    e->what = *what;
    char *end = e->text;
    keep_text(&e->what.full_name, &end);
    keep_text(&e->what.principal, &end);
    return e;
}

void upload_begun_add(struct upload_begun_table *t, const struct upload_begun *what)
{
    struct entry *e = entry_new(what);
    pthread_mutex_lock(&t->lock);
    map_set(&t->entries, uuid_of(e), e);
    list_add(t, e);
    pthread_mutex_unlock(&t->lock);
}

bool upload_begun_has(struct upload_begun_table *t, str uuid)
{
    pthread_mutex_lock(&t->lock);
    bool has = map_get(&t->entries, uuid) != NULL;
    pthread_mutex_unlock(&t->lock);
    return has;
}

bool upload_begun_find(struct upload_begun_table *t, str uuid, str full_name, str principal,
                       struct upload_begun *ret)
{
    pthread_mutex_lock(&t->lock);
    const struct entry *e = map_get(&t->entries, uuid);
    bool found = e && str_eq(e->what.full_name, full_name) && str_eq(e->what.principal, principal);
    if (found) {
        *ret = e->what;
        ret->full_name = full_name;
        ret->principal = principal;
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

void upload_begun_touch(struct upload_begun_table *t, str uuid, int64_t now_us)
{
    pthread_mutex_lock(&t->lock);
    struct entry *e = map_get(&t->entries, uuid);
    if (e) {
        e->what.touched_us = now_us;
        list_remove(t, e);
        list_add(t, e);
    }
    pthread_mutex_unlock(&t->lock);
}

bool upload_begun_expire(struct upload_begun_table *t, str uuid, int64_t until_us)
{
    pthread_mutex_lock(&t->lock);
    struct entry *e = map_get(&t->entries, uuid);
    if (e && e->what.touched_us > until_us)
        e = NULL;
    if (e) {
        map_remove(&t->entries, uuid);
        list_remove(t, e);
    }
    pthread_mutex_unlock(&t->lock);
    free(e);
    return e != NULL;
}

bool upload_begun_remove(struct upload_begun_table *t, str uuid)
{
    return upload_begun_expire(t, uuid, INT64_MAX);
}

size_t upload_begun_idle(struct upload_begun_table *t, int64_t until_us, size_t skip,
                         char (*uuids)[UUID_LEN], size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&t->lock);
    const struct entry *e = t->oldest;
    for (; e && e->what.touched_us <= until_us && n < max; e = e->newer) {
        if (skip)
            skip--;
        else
            memcpy(uuids[n++], e->what.uuid, UUID_LEN);
    }
    pthread_mutex_unlock(&t->lock);
    return n;
}

bool upload_begun_take(struct upload_begun_table *t, struct arena *a, struct upload_begun *ret)
{
    pthread_mutex_lock(&t->lock);
    struct entry *e = t->oldest;
    if (e) {
        map_remove(&t->entries, uuid_of(e));
        list_remove(t, e);
    }
    pthread_mutex_unlock(&t->lock);
    if (!e)
        return false;
    *ret = e->what;
    ret->full_name = arena_str(a, e->what.full_name);
    ret->principal = arena_str(a, e->what.principal);
    free(e);
    return true;
}

#include "db/db_hot.h"

#include <stdlib.h>

struct db_hot *db_hot_new(size_t bytes_max, unsigned shard_n, const atomic_uint *changes)
{
    struct db_hot *hot = calloc(1, sizeof *hot);
    if (!hot)
        abort();
    hot->rows = cache_new(CACHE_ROWS, bytes_max, shard_n);
    hot->changes = changes;
    pthread_mutex_init(&hot->commit, NULL);
    atomic_store(&hot->known, atomic_load(changes));
    return hot;
}

void db_hot_free(struct db_hot *hot)
{
    if (!hot)
        return;
    cache_free(hot->rows);
    pthread_mutex_destroy(&hot->commit);
    free(hot);
}

/* Things. */

static uint16_t slot_of(enum db_thing thing, int64_t id)
{
    uint64_t z = ((uint64_t)id * DB_THING_COUNT + thing) * 0x9e3779b97f4a7c15;
    return (uint16_t)((z >> 32) % HOT_SLOTS);
}

void db_hot_touch(struct db_touches *t, const struct db_statement *s, const struct db_value *values)
{
    if (s->use != DB_USE_WRITES || s->touches.thing == DB_THING_NOTHING)
        return;
    t->any = true;
    if (s->touches.thing == DB_THING_ALL) {
        t->all = true;
        return;
    }
    uint16_t slot = slot_of(s->touches.thing, values[s->touches.at - 1].i);
    t->slots[slot / 64] |= UINT64_C(1) << slot % 64;
}

/* Time. */

static bool strangers_wrote(const struct db_hot *hot)
{
    return atomic_load(hot->changes) != atomic_load(&hot->known);
}

void db_hot_begin_commit(struct db_hot *hot, struct db_touches *t)
{
    pthread_mutex_lock(&hot->commit);
    uint64_t n = atomic_load(&hot->now) + 1;
    if (t->all || strangers_wrote(hot))
        atomic_store(&hot->touched_all, n);
    atomic_store(&hot->known, atomic_load(hot->changes));
    for (unsigned i = 0; t->any && i < HOT_SLOTS / 64; i++) {
        for (uint64_t left = t->slots[i]; left; left &= left - 1)
            atomic_store(&hot->touched[i * 64 + (unsigned)__builtin_ctzll(left)], n);
        t->slots[i] = 0;
    }
    t->any = t->all = false;
}

void db_hot_end_commit(struct db_hot *hot, unsigned changes_made)
{
    atomic_fetch_add(&hot->now, 1);
    atomic_fetch_add(&hot->known, changes_made);
    pthread_mutex_unlock(&hot->commit);
}

/* When a commit is under way, it will settle this itself. */
static void settle(struct db_hot *hot)
{
    if (pthread_mutex_trylock(&hot->commit))
        return;
    unsigned changes = atomic_load(hot->changes);
    if (changes != atomic_load(&hot->known)) {
        atomic_store(&hot->touched_all, atomic_load(&hot->now) + 1);
        atomic_fetch_add(&hot->now, 1);
        atomic_store(&hot->known, changes);
    }
    pthread_mutex_unlock(&hot->commit);
}

uint64_t db_hot_stamp(struct db_hot *hot)
{
    if (strangers_wrote(hot))
        settle(hot);
    return atomic_load(&hot->now);
}

uint64_t db_hot_now(const struct db_hot *hot)
{
    return atomic_load(&hot->now);
}

/* Strangers first: who settles what they did touches everything before that is no longer seen. */
static bool usable(const struct db_hot *hot, const struct db_rows *rows)
{
    bool fresh = !strangers_wrote(hot) && atomic_load(&hot->touched_all) <= rows->stamp;
    for (unsigned i = 0; fresh && i < rows->slot_n; i++)
        fresh = atomic_load(&hot->touched[rows->slots[i]]) <= rows->stamp;
    return fresh;
}

/* Keys: the statement, and each value behind its type; text behind its length. */

struct key {
    size_t n;
    bool full;
    char bytes[HOT_KEY_MAX];
};

static void key_add(struct key *key, const void *p, size_t n)
{
    if (n > HOT_KEY_MAX - key->n)
        key->full = true;
    if (key->full || n == 0)
        return;
    memcpy(key->bytes + key->n, p, n);
    key->n += n;
}

static bool key_make(struct key *key, enum query q, const struct db_value *values, size_t n)
{
    uint16_t query = (uint16_t)q;
    key->n = 0;
    key->full = false;
    key_add(key, &query, sizeof query);
    for (size_t i = 0; i < n; i++) {
        const struct db_value *v = &values[i];
        char type = (char)v->type;
        bool text = v->type == DB_VALUE_TEXT || v->type == DB_VALUE_BYTES;
        uint64_t number = text ? v->s.n : (uint64_t)v->i;
        key_add(key, &type, 1);
        key_add(key, &number, sizeof number);
        if (text)
            key_add(key, v->s.p, v->s.n);
    }
    return !key->full;
}

struct cache_value *db_hot_find(struct db_hot *hot, const struct db_conn *conn, enum query q,
                                const struct db_value *values, size_t n, uint64_t now)
{
    struct key key;
    if (conn->setup->statements[q].use != DB_USE_HOT || !key_make(&key, q, values, n))
        return NULL;
    struct cache_value *v = cache_get(hot->rows, str_make(key.bytes, key.n), 0);
    if (!v)
        return NULL;
    bool fresh = usable(hot, db_rows(v));
    if (fresh && db_hot_now(hot) == now)
        return v;
    if (!fresh)
        metric_add_at(METRIC_CACHE_STALE, CACHE_ROWS, 1);
    cache_value_unref(v);
    return NULL;
}

/* Filling. */

struct table {
    struct db_cell *cells;
    size_t cell_n, cell_cap;
    char *bytes;
    size_t byte_n, byte_cap;
    uint32_t column_n, row_n;
};

static void table_release(struct table *t)
{
    free(t->cells);
    free(t->bytes);
}

/* Room for `more` of elements of `size` behind the n there are. */
static bool reserve(void **p, size_t *cap, size_t n, size_t more, size_t size)
{
    if (*cap - n >= more)
        return true;
    size_t wanted = 2 * *cap > n + more ? 2 * *cap : n + more;
    void *grown = wanted * size <= HOT_ROWS_BYTES_MAX ? realloc(*p, wanted * size) : NULL;
    if (!grown)
        return false;
    *p = grown;
    *cap = wanted;
    return true;
}

static bool add_cell(struct table *t, const struct db_driver *driver, const struct db_stmt *s,
                     int column)
{
    struct db_cell cell = {.type = (uint8_t)driver->column_type(s, column)};
    str bytes = {0};
    if (cell.type == DB_VALUE_INT)
        cell.i = driver->column_int(s, column);
    else if (cell.type != DB_VALUE_NULL)
        bytes = driver->column_bytes(s, column);
    if (bytes.n > HOT_ROWS_BYTES_MAX ||
        !reserve((void **)&t->bytes, &t->byte_cap, t->byte_n, bytes.n, 1))
        return false;
    cell.offset = (uint32_t)t->byte_n;
    cell.n = (uint32_t)bytes.n;
    if (bytes.n)
        memcpy(t->bytes + t->byte_n, bytes.p, bytes.n);
    t->byte_n += bytes.n;
    t->cells[t->cell_n++] = cell;
    return true;
}

static bool add_row(struct table *t, const struct db_driver *driver, const struct db_stmt *s)
{
    t->column_n = driver->column_n(s);
    t->row_n++;
    bool room = reserve((void **)&t->cells, &t->cell_cap, t->cell_n, t->column_n, sizeof *t->cells);
    for (uint32_t i = 0; room && i < t->column_n; i++)
        room = add_cell(t, driver, s, (int)i);
    return room;
}

/* *fits false: too much, or no memory. */
static enum err read_all(struct db_conn *conn, enum query q, const struct db_value *values,
                         size_t n, struct table *t, bool *fits)
{
    const struct db_driver *driver = conn->setup->driver;
    struct db_stmt *s = NULL;
    enum err e = driver->start(conn, q, values, n, &s);
    if (e)
        return e;
    bool row = true;
    *fits = true;
    while (!e && row && *fits) {
        e = driver->step(conn, s, &row);
        if (!e && row)
            *fits = add_row(t, driver, s);
    }
    driver->reset(s);
    return e;
}

/* False: what the answer depends on is in a row, and there is not exactly one. */
static bool set_slots(struct db_rows *rows, const struct db_statement *s,
                      const struct db_value *values)
{
    for (unsigned i = 0; i < DB_DEPENDS_MAX && s->depends[i].thing != DB_THING_NOTHING; i++) {
        const struct db_depends *d = &s->depends[i];
        if (d->column && rows->row_n != 1)
            return false;
        int64_t id = d->column ? rows->cells[d->at].i : values[d->at - 1].i;
        rows->slots[rows->slot_n++] = slot_of(d->thing, id);
    }
    return true;
}

enum err db_hot_fill(struct db_conn *conn, enum query q, const struct db_value *values, size_t n,
                     struct cache_value **ret)
{
    struct table t = {0};
    struct key key;
    bool fits;
    enum err e = read_all(conn, q, values, n, &t, &fits);
    size_t cells_bytes = t.cell_n * sizeof *t.cells, head = sizeof(struct db_rows) + cells_bytes;
    struct cache_value *v = e || !fits ? NULL : cache_value_new(head + t.byte_n, CACHE_FOREVER);
    if (v) {
        struct db_rows *rows = (struct db_rows *)v->bytes;
        rows->stamp = conn->stamp;
        rows->row_n = t.row_n;
        rows->column_n = t.column_n;
        for (size_t i = 0; i < t.cell_n; i++) {
            rows->cells[i] = t.cells[i];
            rows->cells[i].offset += (uint32_t)head;
        }
        if (t.byte_n)
            memcpy(v->bytes + head, t.bytes, t.byte_n);
        bool complete = set_slots(rows, &conn->setup->statements[q], values);
        /* A fill that came too late would only take room. */
        if (complete && key_make(&key, q, values, n) && usable(conn->hot, rows)) {
            atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
            cache_put(conn->hot->rows, str_make(key.bytes, key.n), v);
        }
    }
    table_release(&t);
    if (!e)
        *ret = v;
    return e;
}

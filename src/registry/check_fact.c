/* What is noted as facts about a manifest against what it and its config say. A body may have been
 * pushed before its config was at hand, so readings with and without it are right; without the
 * config now, what was read out of it cannot be judged. */
#include "registry/blob.h"
#include "registry/check_private.h"
#include "registry/fact.h"

#include <stdlib.h>
#include <unistd.h>

static int fact_cmp(const void *x, const void *y)
{
    const struct fact *a = x, *b = y;
    int d = str_cmp(a->key, b->key);
    return d ? d : str_cmp(a->value, b->value);
}

/* As the table has them: sorted, each once. */
static void facts_settle(struct facts *f)
{
    size_t n = 0;
    qsort(f->items, f->n, sizeof *f->items, fact_cmp);
    for (size_t i = 0; i < f->n; i++)
        if (!n || fact_cmp(&f->items[n - 1], &f->items[i]) != 0)
            f->items[n++] = f->items[i];
    f->n = n;
}

static bool facts_eq(const struct facts *x, const struct facts *y)
{
    bool same = x->n == y->n;
    for (size_t i = 0; same && i < x->n; i++)
        same = fact_cmp(&x->items[i], &y->items[i]) == 0;
    return same;
}

static bool is_of_config(const struct fact *f)
{
    return str_starts(f->key, STR("label.")) || str_eq(f->key, STR("platform")) ||
           str_eq(f->key, STR("created"));
}

/* Adds to `to` what `from` has out of a config. */
static void facts_keep_config(struct facts *to, const struct facts *from)
{
    for (size_t i = 0; i < from->n && to->n < FACTS_MAX; i++)
        if (is_of_config(&from->items[i]))
            to->items[to->n++] = from->items[i];
    facts_settle(to);
}

static enum err stored_facts(struct check_body *b, struct facts *ret, bool *too_many)
{
    DB_CURSOR struct db_cursor c = db_query(check_conn(b->check), Q_CHECK_FACTS, DB_INT(b->id));
    *too_many = false;
    ret->n = 0;
    while (db_next(&c)) {
        if (ret->n == FACTS_MAX) {
            *too_many = true;
            return OK;
        }
        ret->items[ret->n++] = (struct fact){db_copy(&c, 0, b->arena), db_copy(&c, 1, b->arena)};
    }
    facts_settle(ret); /* the engine's order is that of bytes, but who promises */
    return c.err;
}

static enum err find_config(struct check_body *b, struct blob *ret)
{
    if (manifest_type_is_index(b->manifest.type) || !b->manifest.ref_n)
        return ERR_BLOB_UNKNOWN;
    return blob_find(check_conn(b->check), &b->manifest.refs[0].digest, ret);
}

/* p == NULL when it is not there, not whole or not small. */
static enum err read_config(struct check_body *b, str *ret)
{
    struct blob blob;
    struct file *f;
    struct digest digest;
    *ret = (str){0};
    enum err e = find_config(b, &blob);
    if (e)
        return e == ERR_BLOB_UNKNOWN ? OK : e;
    if (blob.damaged || blob.size_bytes > FACT_CONFIG_BYTES_MAX ||
        store_blob_open(b->check->store, str_make(blob.store_key, STORE_KEY_LEN), blob.size_bytes,
                        &f))
        return OK;
    char *text = arena_alloc(b->arena, blob.size_bytes);
    ssize_t n = pread(f->fd, text, blob.size_bytes, 0);
    file_unref(f);
    if (n != (ssize_t)blob.size_bytes)
        return OK;
    const struct digest *want = &b->manifest.refs[0].digest;
    digest_of(digest_algorithm(want), str_make(text, (size_t)n), &digest);
    if (digest_eq(&digest, want))
        *ret = str_make(text, (size_t)n);
    return OK;
}

struct rewrite_facts {
    int64_t body;
    const struct facts *facts;
};

static enum err rewrite_facts_tx(struct db_conn *conn, void *arg)
{
    const struct rewrite_facts *r = arg;
    enum err e = db_exec(conn, Q_CHECK_FACTS_DELETE, DB_INT(r->body));
    return e ? e : facts_insert(conn, r->body, r->facts);
}

enum err check_facts(struct check_body *b)
{
    struct check *c = b->check;
    struct facts *stored = ARENA_NEW(b->arena, struct facts);
    struct facts *bare = ARENA_NEW(b->arena, struct facts);
    struct facts *whole = ARENA_NEW(b->arena, struct facts);
    bool too_many;
    str config;
    enum err e = stored_facts(b, stored, &too_many);
    if (!e)
        e = read_config(b, &config);
    if (e)
        return e;
    facts_read(b->arena, &b->manifest, b->bytes, (str){0}, bare);
    facts_settle(bare);
    facts_read(b->arena, &b->manifest, b->bytes, config, whole);
    facts_settle(whole);
    if (!config.p && !manifest_type_is_index(b->manifest.type))
        facts_keep_config(whole, stored);
    if (!too_many && (facts_eq(stored, whole) || facts_eq(stored, bare)))
        return OK;
    struct rewrite_facts rewrite = {b->id, whole};
    e = c->repair ? db_tx(c->db, rewrite_facts_tx, &rewrite) : OK;
    if (!e)
        check_found(c, FINDING_MANIFEST_FACTS, check_repaired(c), check_manifest_where(b),
                    "%zu noted, %zu read", stored->n, whole->n);
    return e;
}

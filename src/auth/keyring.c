#include "auth/keyring.h"

#include "base/buf.h"
#include "base/clock.h"
#include "json/write.h"

struct load {
    struct arena *arena;
    str pems[KEYRING_MAX];
    size_t n;
};

static enum err load_pems(struct db_conn *conn, void *arg)
{
    struct load *load = arg;
    load->n = 0;
    DB_CURSOR struct db_cursor c = db_query(conn, Q_SIGNING_KEYS, DB_INT(KEYRING_MAX));
    while (load->n < KEYRING_MAX && db_next(&c))
        load->pems[load->n++] = db_copy(&c, 0, load->arena);
    return c.err;
}

struct first {
    str id, pem;
    int64_t now_us;
};

/* Another process may have been faster; its key then is the first one. */
static enum err store_first(struct db_conn *conn, void *arg)
{
    const struct first *first = arg;
    return db_exec(conn, Q_SIGNING_KEY_ADD_FIRST, DB_TEXT(first->id), DB_TEXT(first->pem),
                   DB_INT(first->now_us));
}

static enum err create_first(struct db *db, struct arena *a)
{
    struct jws_key *key;
    struct first first = {.now_us = clock_wall_us()};
    enum err e = jws_key_generate(&key);
    if (e)
        return e;
    first.id = arena_str(a, jws_key_id(key));
    e = jws_key_to_pem(key, a, &first.pem);
    jws_key_free(key);
    return e ? e : db_tx(db, store_first, &first);
}

enum err keyring_load(struct db *db, struct keyring *ret)
{
    ARENA_CLEANUP struct arena a = {0};
    struct load load = {.arena = &a};
    enum err e = db_tx(db, load_pems, &load);
    if (!e && load.n == 0) {
        e = create_first(db, &a);
        if (!e)
            e = db_tx(db, load_pems, &load);
    }
    if (e)
        return e;
    struct keyring k = {0};
    for (; k.n < load.n; k.n++) {
        if (jws_key_from_pem(load.pems[k.n], &k.keys[k.n])) {
            keyring_release(&k);
            return ERR_DB_CORRUPT;
        }
    }
    *ret = k;
    return OK;
}

void keyring_release(struct keyring *k)
{
    for (size_t i = 0; i < k->n; i++)
        jws_key_free(k->keys[i]);
    *k = (struct keyring){0};
}

const struct jws_key *keyring_find(const struct keyring *k, str id)
{
    for (size_t i = 0; i < k->n; i++)
        if (str_eq(jws_key_id(k->keys[i]), id))
            return k->keys[i];
    return NULL;
}

str keyring_jwks(const struct keyring *k, struct arena *a)
{
    BUF_CLEANUP struct buf out = BUF_INIT(8 * 1024);
    struct json_writer w = {.out = &out};
    jw_object(&w);
    jw_key(&w, "keys");
    jw_array(&w);
    for (size_t i = 0; i < k->n; i++)
        jw_raw(&w, jws_key_jwk(k->keys[i], a));
    jw_end(&w);
    jw_end(&w);
    return arena_str(a, buf_str(&out));
}

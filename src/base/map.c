#include "base/map.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>

struct map_entry {
    struct map_entry *next;
    uint64_t hash;
    void *value;
    size_t key_n;
    char key[];
};

static pthread_once_t secret_once = PTHREAD_ONCE_INIT;
static uint64_t secret[2];

static void secret_draw(void)
{
    random_bytes(secret, sizeof secret);
}

static inline uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

#define SIPROUND                                             \
    do {                                                     \
        v0 += v1, v1 = rotl(v1, 13) ^ v0, v0 = rotl(v0, 32); \
        v2 += v3, v3 = rotl(v3, 16) ^ v2;                    \
        v0 += v3, v3 = rotl(v3, 21) ^ v0;                    \
        v2 += v1, v1 = rotl(v1, 17) ^ v2, v2 = rotl(v2, 32); \
    } while (0)

uint64_t siphash(str s)
{
    pthread_once(&secret_once, secret_draw);
    uint64_t v0 = secret[0] ^ 0x736f6d6570736575u, v1 = secret[1] ^ 0x646f72616e646f6du;
    uint64_t v2 = secret[0] ^ 0x6c7967656e657261u, v3 = secret[1] ^ 0x7465646279746573u;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t m;
        memcpy(&m, s.p + i, 8);
        v3 ^= m;
        SIPROUND;
        v0 ^= m;
    }
    uint64_t last = (uint64_t)s.n << 56;
    for (unsigned shift = 0; i < s.n; i++, shift += 8)
        last |= (uint64_t)(unsigned char)s.p[i] << shift;
    v3 ^= last;
    SIPROUND;
    v0 ^= last;
    v2 ^= 0xff;
    SIPROUND;
    SIPROUND;
    SIPROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

void map_release(struct map *m)
{
    for (size_t i = 0; i < m->slot_n; i++) {
        for (struct map_entry *e = m->slots[i]; e;) {
            struct map_entry *next = e->next;
            free(e);
            e = next;
        }
    }
    free(m->slots);
    *m = (struct map){0};
}

/* Where the entry is linked, or the end of its chain. The map must have slots. */
static struct map_entry **find(const struct map *m, str key, uint64_t hash)
{
    struct map_entry **link = &m->slots[hash & (m->slot_n - 1)];
    while (*link && !((*link)->hash == hash && str_eq(str_make((*link)->key, (*link)->key_n), key)))
        link = &(*link)->next;
    return link;
}

static void grow(struct map *m)
{
    size_t slot_n = m->slot_n ? m->slot_n * 2 : 16;
    struct map_entry **slots = calloc(slot_n, sizeof(struct map_entry *));
    if (!slots)
        abort();
    for (size_t i = 0; i < m->slot_n; i++) {
        for (struct map_entry *e = m->slots[i]; e;) {
            struct map_entry *next = e->next;
            e->next = slots[e->hash & (slot_n - 1)];
            slots[e->hash & (slot_n - 1)] = e;
            e = next;
        }
    }
    free(m->slots);
    m->slots = slots;
    m->slot_n = slot_n;
}

void *map_get(const struct map *m, str key)
{
    if (!m->n)
        return NULL;
    struct map_entry *e = *find(m, key, siphash(key));
    return e ? e->value : NULL;
}

void *map_set(struct map *m, str key, void *value)
{
    if (m->n >= m->slot_n)
        grow(m);
    uint64_t hash = siphash(key);
    struct map_entry **link = find(m, key, hash);
    if (*link) {
        void *before = (*link)->value;
        (*link)->value = value;
        return before;
    }
    struct map_entry *e = malloc(sizeof *e + key.n);
    if (!e)
        abort();
    *e = (struct map_entry){.hash = hash, .value = value, .key_n = key.n};
    if (key.n)
        memcpy(e->key, key.p, key.n);
    *link = e;
    m->n++;
    return NULL;
}

void *map_remove(struct map *m, str key)
{
    if (!m->n)
        return NULL;
    struct map_entry **link = find(m, key, siphash(key));
    struct map_entry *e = *link;
    if (!e)
        return NULL;
    void *value = e->value;
    *link = e->next;
    free(e);
    m->n--;
    return value;
}

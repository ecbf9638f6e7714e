/* A hash table of buckets of WAYS entries. An address whose bucket is full takes the place of the
 * one that has no connection and asked least lately. The rate is kept as the time at which the
 * address has paid for its requests (GCRA): one number, no refilling. */
#include "http/clients.h"

#include "base/map.h"
#include "base/metrics.h"

#include <pthread.h>
#include <stdlib.h>

enum { WAYS = 8, LOCKS = 64 };

struct client {
    uint8_t key[9]; /* family and address or network; the family is 0 in an empty entry */
    unsigned connections;
    uint64_t paid_us; /* when all its requests have been paid for */
};

_Static_assert(sizeof(struct client) <= 32, "what limits.addresses says");

struct clients {
    struct clients_config config;
    uint64_t cost_us;             /* of one request */
    size_t bucket_n;              /* a power of two */
    pthread_mutex_t locks[LOCKS]; /* each guards the buckets of that remainder */
    struct client *table;
};

struct clients *clients_new(const struct clients_config *config)
{
    struct clients *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->config = *config;
    c->cost_us = config->requests_rate_max ? 1000000 / config->requests_rate_max : 0;
    for (c->bucket_n = 1; c->bucket_n * WAYS < config->addresses_max;)
        c->bucket_n *= 2;
    c->table = calloc(c->bucket_n * WAYS, sizeof *c->table);
    if (!c->table)
        abort();
    for (unsigned i = 0; i < LOCKS; i++)
        pthread_mutex_init(&c->locks[i], NULL);
    return c;
}

void clients_free(struct clients *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&c->locks[i]);
    free(c->table);
    free(c);
}

struct slot {
    struct client *client; /* NULL: no place */
    pthread_mutex_t *lock; /* held */
};

static void give_back(struct slot *s)
{
    pthread_mutex_unlock(s->lock);
}
#define SLOT_CLEANUP __attribute__((cleanup(give_back)))

/* The entry of the address; a fresh one when it has none. */
static struct slot take(struct clients *c, const struct address *a)
{
    uint8_t key[sizeof c->table->key] = {(uint8_t)a->family};
    memcpy(key + 1, a->ip, a->family == AF_INET ? 4 : 8);
    size_t bucket = siphash(str_make(key, sizeof key)) & (c->bucket_n - 1);
    struct client *first = c->table + bucket * WAYS, *victim = NULL;
    struct slot slot = {.lock = &c->locks[bucket % LOCKS]};
    pthread_mutex_lock(slot.lock);
    for (struct client *at = first; at < first + WAYS; at++) {
        if (memcmp(at->key, key, sizeof key) == 0) {
            slot.client = at;
            return slot;
        }
        if (at->connections == 0 && (!victim || at->paid_us < victim->paid_us))
            victim = at;
    }
    if (victim) {
        *victim = (struct client){.connections = 0};
        memcpy(victim->key, key, sizeof key);
        slot.client = victim;
    } else {
        metric_limit(LIMIT_ADDRESSES);
    }
    return slot;
}

enum client_verdict clients_connect(struct clients *c, const struct address *a)
{
    if (!c->config.connections_max)
        return CLIENT_UNCOUNTED;
    SLOT_CLEANUP struct slot slot = take(c, a);
    if (!slot.client)
        return CLIENT_UNCOUNTED;
    if (slot.client->connections >= c->config.connections_max)
        return CLIENT_REFUSED;
    slot.client->connections++;
    return CLIENT_COUNTED;
}

void clients_disconnect(struct clients *c, const struct address *a)
{
    SLOT_CLEANUP struct slot slot = take(c, a);
    if (slot.client && slot.client->connections > 0)
        slot.client->connections--;
}

uint64_t clients_request(struct clients *c, const struct address *a, uint64_t now_us)
{
    if (!c->cost_us)
        return 0;
    SLOT_CLEANUP struct slot slot = take(c, a);
    if (!slot.client)
        return 0;
    uint64_t paid = slot.client->paid_us > now_us ? slot.client->paid_us : now_us;
    uint64_t ahead = c->cost_us * (c->config.requests_burst - 1);
    if (paid > now_us + ahead)
        return paid - now_us - ahead;
    slot.client->paid_us = paid + c->cost_us;
    return 0;
}

#include "base/cache.h"
#include "base/test.h"

#include <pthread.h>
#include <stdio.h>

static void put(struct cache *c, const char *key, uint64_t until, str value)
{
    struct cache_value *v = cache_value_new(value.n, until);
    if (value.n)
        memcpy(v->bytes, value.p, value.n);
    cache_put(c, str_from(key), v);
}

static bool holds(struct cache *c, const char *key, uint64_t now, str value)
{
    CACHE_VALUE struct cache_value *v = cache_get(c, str_from(key), now);
    return v && str_eq(str_make(v->bytes, v->n), value);
}

static bool has(struct cache *c, const char *key)
{
    CACHE_VALUE struct cache_value *v = cache_get(c, str_from(key), 0);
    return v;
}

static void keeps_until_expiry(void)
{
    struct cache *c = cache_new(CACHE_TOKENS, 65536, 4);
    put(c, "a", 100, STR("one"));
    put(c, "b", CACHE_FOREVER, STR(""));
    CHECK(holds(c, "a", 99, STR("one")));
    CHECK(holds(c, "b", UINT64_MAX - 1, STR("")));
    CHECK(!has(c, "c"));
    CHECK(!holds(c, "a", 100, STR("one")));
    CHECK(!holds(c, "a", 99, STR("one")));
    CHECK_INT(cache_count(c), 1);
    cache_free(c);
}

static void replaces_and_leaves_readers_theirs(void)
{
    struct cache *c = cache_new(CACHE_TOKENS, 65536, 1);
    put(c, "a", 10, STR("one"));
    struct cache_value *mine = cache_get(c, STR("a"), 0);
    put(c, "a", 20, STR("uno"));
    CHECK(holds(c, "a", 15, STR("uno")));
    CHECK_INT(cache_count(c), 1);
    CHECK_STR(str_make(mine->bytes, mine->n), "one");
    cache_free(c);
    CHECK_STR(str_make(mine->bytes, mine->n), "one");
    cache_value_unref(mine);
}

static void stays_below_its_bound(void)
{
    static const char big[1000];
    str value = str_make(big, sizeof big);
    int64_t before = metric_value_at(METRIC_CACHE_BYTES, CACHE_TOKENS);
    struct cache *c = cache_new(CACHE_TOKENS, 8192, 1);
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        put(c, key, CACHE_FOREVER, value);
        CHECK(has(c, "0")); /* recently used: stays */
    }
    CHECK(cache_count(c) >= 4 && cache_count(c) <= 8);
    int64_t bytes = metric_value_at(METRIC_CACHE_BYTES, CACHE_TOKENS) - before;
    CHECK(bytes > 4000 && bytes <= 8192);
    CHECK(!has(c, "100"));
    put(c, "huge", CACHE_FOREVER, str_make(big, sizeof big));
    CHECK(has(c, "huge"));
    cache_put(c, STR("huge"), cache_value_new(4000, CACHE_FOREVER));
    CHECK(has(c, "199"));
    cache_free(c);
    CHECK_INT(metric_value_at(METRIC_CACHE_BYTES, CACHE_TOKENS), before);
}

static void stays_below_a_number_of_entries(void)
{
    struct cache *c = cache_new(CACHE_TOKENS, 65536, 4);
    cache_limit_entries(c, 8);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        put(c, key, CACHE_FOREVER, STR("x"));
        CHECK(has(c, key));
    }
    CHECK(cache_count(c) > 1 && cache_count(c) <= 8);
    cache_free(c);
}

static unsigned ended;
static struct cache *asked_at_ends;

static void end_one(void *bytes)
{
    if (asked_at_ends) /* would wait for ever if an end were called under the lock */
        cache_count(asked_at_ends);
    ended += (unsigned char)*(char *)bytes;
}

static void put_ending(struct cache *c, const char *key, uint64_t until)
{
    struct cache_value *v = cache_value_new(1, until);
    v->bytes[0] = 1;
    v->end = end_one;
    cache_put(c, str_from(key), v);
}

static void ends_what_is_removed_or_over(void)
{
    struct cache *c = cache_new(CACHE_TOKENS, 65536, 2);
    ended = 0;
    asked_at_ends = c;
    put_ending(c, "a", 10);
    put_ending(c, "b", 20);
    put_ending(c, "c", 30);
    put_ending(c, "d", CACHE_FOREVER);
    struct cache_value *mine = cache_get(c, STR("d"), 0);
    cache_remove(c, STR("none"));
    cache_expire(c, 9);
    CHECK_INT(cache_count(c), 4);
    cache_expire(c, 20);
    CHECK_INT(ended, 2);
    CHECK(!has(c, "a") && !has(c, "b") && has(c, "c"));
    cache_remove(c, STR("c"));
    CHECK_INT(ended, 3);
    CHECK(!has(c, "c"));
    cache_expire(c, CACHE_FOREVER);
    CHECK_INT(cache_count(c), 0);
    CHECK_INT(ended, 3); /* somebody has it still */
    cache_value_unref(mine);
    CHECK_INT(ended, 4);
    put_ending(c, "e", 10);
    CHECK(!cache_get(c, STR("e"), 10));
    CHECK_INT(ended, 5);
    put_ending(c, "f", 10);
    put_ending(c, "f", 10);
    CHECK_INT(ended, 6);
    cache_limit_entries(c, 2);
    for (char key[] = "g"; key[0] <= 'z'; key[0]++)
        put_ending(c, key, CACHE_FOREVER);
    CHECK_INT(ended, 6 + 21 - cache_count(c));
    asked_at_ends = NULL;
    cache_free(c);
    CHECK_INT(ended, 6 + 21);
}

static void counts(void)
{
    int64_t hits = metric_value_at(METRIC_CACHE_HITS, CACHE_ROWS);
    int64_t misses = metric_value_at(METRIC_CACHE_MISSES, CACHE_ROWS);
    struct cache *c = cache_new(CACHE_ROWS, 65536, 2);
    put(c, "a", CACHE_FOREVER, STR("x"));
    CHECK(has(c, "a") && has(c, "a") && !has(c, "b"));
    CHECK_INT(metric_value_at(METRIC_CACHE_HITS, CACHE_ROWS) - hits, 2);
    CHECK_INT(metric_value_at(METRIC_CACHE_MISSES, CACHE_ROWS) - misses, 1);
    cache_free(c);
}

enum { THREADS = 4, ROUNDS = 20000, KEYS = 64 };

/* Each value is its key over and over, so that a torn or foreign one shows. */
static void *hammer(void *arg)
{
    struct cache *c = arg;
    uintptr_t wrong = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char key = (char)('0' + i * 7 % KEYS);
        str k = str_make(&key, 1);
        CACHE_VALUE struct cache_value *v = cache_get(c, k, 0);
        for (size_t j = 0; v && j < v->n; j++)
            wrong += v->bytes[j] != key;
        if (v)
            continue;
        struct cache_value *fresh = cache_value_new(100 + i % 50, CACHE_FOREVER);
        memset(fresh->bytes, key, fresh->n);
        cache_put(c, k, fresh);
    }
    return (void *)wrong;
}

static void serves_many_threads(void)
{
    struct cache *c = cache_new(CACHE_ROWS, 8192, 2); /* room for half of the keys */
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, hammer, c), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        CHECK(!wrong);
    }
    CHECK(cache_count(c) > 4);
    cache_free(c);
}

TESTS({"keeps_until_expiry", keeps_until_expiry},
      {"replaces_and_leaves_readers_theirs", replaces_and_leaves_readers_theirs},
      {"stays_below_its_bound", stays_below_its_bound},
      {"stays_below_a_number_of_entries", stays_below_a_number_of_entries},
      {"ends_what_is_removed_or_over", ends_what_is_removed_or_over}, {"counts", counts},
      {"serves_many_threads", serves_many_threads});

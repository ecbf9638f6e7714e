#include "auth/cache.h"
#include "base/test.h"

#include <string.h>

static void copy(void *to, const void *value, size_t n)
{
    if (n)
        memcpy(to, value, n);
}

static const uint8_t *key(uint8_t n)
{
    static uint8_t k[CACHE_KEY_BYTES];
    k[7] = n;
    return k;
}

static void keeps_until_expiry(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct cache *c = cache_new(4096, copy);
    cache_put(c, key(1), 100, "one", 4);
    cache_put(c, key(2), 100, NULL, 0);
    const char *one = cache_get(c, key(1), 99, &a);
    CHECK(one && strcmp(one, "one") == 0);
    CHECK(cache_get(c, key(2), 99, &a) != NULL);
    CHECK(cache_get(c, key(3), 99, &a) == NULL);
    CHECK(cache_get(c, key(1), 100, &a) == NULL);
    CHECK(cache_get(c, key(1), 99, &a) == NULL);
    CHECK_INT(cache_count(c), 1);
    cache_free(c);
}

static void replaces(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct cache *c = cache_new(4096, copy);
    cache_put(c, key(1), 10, "one", 4);
    cache_put(c, key(1), 20, "uno", 4);
    const char *one = cache_get(c, key(1), 15, &a);
    CHECK(one && strcmp(one, "uno") == 0);
    CHECK_INT(cache_count(c), 1);
    cache_free(c);
}

static void stays_below_its_bound(void)
{
    ARENA_CLEANUP struct arena a = {0};
    static const char big[1000];
    struct cache *c = cache_new(4096, copy);
    for (uint8_t i = 0; i < 200; i++) {
        cache_put(c, key(i), 10, big, sizeof big);
        CHECK(cache_get(c, key(0), 1, &a) != NULL); /* recently used: stays */
    }
    CHECK(cache_count(c) >= 2 && cache_count(c) <= 4);
    CHECK(cache_get(c, key(199), 1, &a) != NULL);
    CHECK(cache_get(c, key(100), 1, &a) == NULL);
    cache_put(c, key(201), 10, big, 5000);
    CHECK(cache_get(c, key(201), 1, &a) == NULL);
    CHECK(cache_get(c, key(199), 1, &a) != NULL);
    cache_free(c);
}

TESTS({"keeps_until_expiry", keeps_until_expiry}, {"replaces", replaces},
      {"stays_below_its_bound", stays_below_its_bound});

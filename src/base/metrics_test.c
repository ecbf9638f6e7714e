#include "base/metrics.h"
#include "base/test.h"

#include <pthread.h>

enum { THREADS = 8, ADDS = 20000 };

static void *add_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < ADDS; i++) {
        metric_add(METRIC_CONNECTIONS, 1);
        metric_limit(LIMIT_QUEUE);
    }
    return NULL;
}

/* Twice, so that the second threads take over what the first ones left. */
static void no_addition_is_lost(void)
{
    int64_t before = metric_value_at(METRIC_CONNECTIONS, 0);
    int64_t queue = metric_value_at(METRIC_LIMIT_HITS, LIMIT_QUEUE);
    int64_t other = metric_value_at(METRIC_LIMIT_HITS, LIMIT_CONNECTIONS);
    for (int round = 0; round < 2; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            CHECK_INT(pthread_create(&threads[i], NULL, add_many, NULL), 0);
        CHECK(metric_value_at(METRIC_CONNECTIONS, 0) >= before);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    CHECK_INT(metric_value_at(METRIC_CONNECTIONS, 0) - before, 2 * THREADS * ADDS);
    CHECK_INT(metric_value_at(METRIC_LIMIT_HITS, LIMIT_QUEUE) - queue, 2 * THREADS * ADDS);
    CHECK_INT(metric_value_at(METRIC_LIMIT_HITS, LIMIT_CONNECTIONS) - other, 0);
}

TESTS({"no addition is lost", no_addition_is_lost})

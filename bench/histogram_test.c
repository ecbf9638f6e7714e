#include "histogram.h"

#include "base/test.h"

static void empty_is_zero(void)
{
    static struct histogram h;
    CHECK_INT(histogram_quantile(&h, 0.5), 0);
    CHECK_INT(histogram_quantile(&h, 1.0), 0);
}

static void small_values_are_exact(void)
{
    static struct histogram h;
    for (uint64_t v = 1; v <= 100; v++)
        histogram_add(&h, v);
    CHECK_INT(histogram_quantile(&h, 0.50), 50);
    CHECK_INT(histogram_quantile(&h, 0.99), 99);
    CHECK_INT(histogram_quantile(&h, 1.00), 100);
}

static void large_values_are_close(void)
{
    for (uint64_t v = 1; v < UINT64_MAX / 3; v = v * 3 + 1) {
        struct histogram h = {0};
        histogram_add(&h, v);
        histogram_add(&h, UINT64_MAX);
        uint64_t got = histogram_quantile(&h, 0.5);
        CHECK(got >= v);
        CHECK(got - v <= v / 60);
    }
}

static void neighbours_stay_ordered(void)
{
    uint64_t last = 0;
    for (uint64_t v = 0; v < 5000; v++) {
        struct histogram h = {0};
        histogram_add(&h, v);
        histogram_add(&h, UINT64_MAX);
        uint64_t got = histogram_quantile(&h, 0.5);
        CHECK(got >= last);
        last = got;
    }
}

TESTS({"empty is zero", empty_is_zero}, {"small values are exact", small_values_are_exact},
      {"large values are close", large_values_are_close},
      {"neighbours stay ordered", neighbours_stay_ordered})

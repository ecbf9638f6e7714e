#include "base/arena.h"
#include "base/test.h"

static void allocates_zeroed_and_aligned(void)
{
    ARENA_CLEANUP struct arena a = {0};
    for (size_t n = 1; n < 3000; n += 7) {
        char *p = arena_alloc(&a, n);
        CHECK((uintptr_t)p % _Alignof(max_align_t) == 0);
        for (size_t i = 0; i < n; i++)
            CHECK(p[i] == 0);
        memset(p, 0xff, n);
    }
    CHECK(a.total_bytes >= 3000 * 3000 / 14);
}

static void reset_keeps_one_block(void)
{
    ARENA_CLEANUP struct arena a = {0};
    void *first = arena_alloc(&a, 100);
    for (int i = 0; i < 100; i++)
        arena_alloc(&a, 1000);
    arena_reset(&a);
    CHECK_INT(a.total_bytes, 4096);
    CHECK(arena_alloc(&a, 100) == first);
}

static void large_allocations(void)
{
    ARENA_CLEANUP struct arena a = {0};
    char *p = arena_alloc(&a, 1 << 20);
    memset(p, 1, 1 << 20);
    CHECK(arena_alloc(&a, 10) != NULL);
}

static void texts(void)
{
    ARENA_CLEANUP struct arena a = {0};
    CHECK_STR(arena_printf(&a, "%d-%s", 5, "x"), "5-x");
    CHECK_STR(arena_str(&a, STR("abc")), "abc");
    CHECK_INT(strlen(arena_cstr(&a, STR("abc"))), 3);
    CHECK_INT(arena_str(&a, str_make(NULL, 0)).n, 0);
}

TESTS({"allocates zeroed and aligned", allocates_zeroed_and_aligned},
      {"reset keeps one block", reset_keeps_one_block}, {"large allocations", large_allocations},
      {"texts", texts})

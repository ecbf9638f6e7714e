#include "base/memory.h"

#include "base/test.h"

#include <string.h>
#include <sys/mman.h>

enum { MIB = 1 << 20 };

static void sees_what_is_held(void)
{
    size_t before = memory_private_bytes();
    CHECK(before > 0);
    char *p = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    /* Promised is not held. */
    CHECK(memory_private_bytes() < before + 16 * MIB);
    memset(p, 1, 32 * MIB);
    CHECK(memory_private_bytes() >= before + 24 * MIB);
    munmap(p, 32 * MIB);
    CHECK(memory_private_bytes() < before + 16 * MIB);
}

static void tells_much_from_little(void)
{
    CHECK(memory_is_idle(40 * MIB, 10 * MIB));
    CHECK(memory_is_idle(14 * MIB, 10 * MIB));
    CHECK(!memory_is_idle(13 * MIB, 10 * MIB));
    CHECK(!memory_is_idle(10 * MIB, 10 * MIB));
    /* What is in use may be swapped out. */
    CHECK(!memory_is_idle(5 * MIB, 10 * MIB));
    memory_give_back();
}

TESTS({"sees what is held", sees_what_is_held}, {"tells much from little", tells_much_from_little})

#include "base/cpus.h"
#include "base/test.h"

#include <sched.h>

static void affinity_counts(void)
{
    cpu_set_t before, one;
    CHECK_INT(sched_getaffinity(0, sizeof before, &before), 0);
    CHECK_INT(cpus_usable(), CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    CHECK_INT(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_INT(cpus_usable(), 1);
    CHECK_INT(sched_setaffinity(0, sizeof before, &before), 0);
}

TESTS({"only CPUs of the affinity mask count", affinity_counts})

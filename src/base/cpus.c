#include "base/cpus.h"

#include <sched.h>
#include <unistd.h>

unsigned cpus_usable(void)
{
    cpu_set_t mask;
    /* A machine with more CPUs than the mask has bits: then all that are online. */
    long n = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask)
                                                           : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}

/* How much of the machine is ours. */
#pragma once

/* CPUs this process may run on (its affinity mask, as taskset and cpusets set it), at least 1. Any
 * thread. */
unsigned cpus_usable(void);

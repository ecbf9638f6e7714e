#include "base/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

/* Below this the pages would be asked for again at once: it is what a busy server's threads
 * allocate and free in passing. */
enum { IDLE_BYTES_MIN = 4 << 20 };

size_t memory_private_bytes(void)
{
    char text[128], *at = text;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    /* Pages: in all, resident, of these shared. */
    (void)strtoul(at, &at, 10);
    size_t resident = strtoul(at, &at, 10), shared = strtoul(at, &at, 10);
    if (resident < shared)
        return 0;
    return (resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
}

bool memory_is_idle(size_t private_bytes, size_t used_bytes)
{
    return private_bytes > used_bytes && private_bytes - used_bytes >= IDLE_BYTES_MIN;
}

void memory_give_back(void)
{
    struct mallinfo2 heap = mallinfo2();
    if (memory_is_idle(memory_private_bytes(), heap.uordblks + heap.hblkhd))
        malloc_trim(0);
}

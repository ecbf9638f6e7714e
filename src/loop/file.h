/* A shared read-only file descriptor with a reference count, and whether its bytes are in memory.
 * Any thread, unless said otherwise. */
#pragma once

#include "base/err.h"

#include <stdatomic.h>

struct file {
    int fd;
    uint64_t size_bytes;
    atomic_uint refs;
    /* loop/ only */
    atomic_uint cache;       /* enum file_cache: what the file system can tell */
    atomic_ullong probed_ms; /* when all of a small file was last seen in memory */
};

/* Takes over `fd`; one reference. */
struct file *file_new(int fd, uint64_t size_bytes);
struct file *file_ref(struct file *f);
/* NULL-safe; closes at the last reference. */
void file_unref(struct file *f);

/* Never blocks. True when reading [offset, offset + n) will most likely not wait for a disk: a few
 * pages of it are in the page cache (preadv2 with RWF_NOWAIT), or the file lives in memory. A file
 * of at most FILE_SMALL_BYTES that was found there is believed to stay for FILE_TRUST_MS, so that
 * hot small files cost no system call here. `now_ms` is the monotonic clock. False when the file
 * system cannot tell. */
enum { FILE_SMALL_BYTES = 64 * 1024, FILE_TRUST_MS = 1000 };
bool file_is_resident(struct file *f, uint64_t offset, uint64_t n, uint64_t now_ms);
/* Worker; blocks. Reads [offset, offset + n) into the page cache and asks the kernel to go on with
 * the next MiBs. False when they cannot all be read. */
NODISCARD bool file_read_ahead(struct file *f, uint64_t offset, uint64_t n);

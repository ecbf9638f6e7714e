#include "loop/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

enum file_cache {
    CACHE_PROBE,   /* RWF_NOWAIT tells; also where every file starts */
    CACHE_ALWAYS,  /* tmpfs: the file is memory */
    CACHE_UNKNOWN, /* RWF_NOWAIT is not supported: assume a disk */
};

enum {
    PROBES = 4,     /* offsets looked at in one slice */
    PROBES_FEW = 2, /* ... that is at most as long as what the kernel reads ahead */
    FEW_BYTES = 128 * 1024,
    READ_BYTES = 64 * 1024,        /* one read of a worker, on its stack */
    AHEAD_BYTES = 4 * 1024 * 1024, /* what the kernel is asked to read on its own */
};

struct file *file_new(int fd, uint64_t size_bytes)
{
    struct file *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    f->fd = fd;
    f->size_bytes = size_bytes;
    atomic_init(&f->refs, 1);
    return f;
}

struct file *file_ref(struct file *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void file_unref(struct file *f)
{
    if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1)
        return;
    close(f->fd);
    free(f);
}

static enum file_cache cache_without_probe(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
        return CACHE_ALWAYS;
    return CACHE_UNKNOWN;
}

static bool byte_is_resident(struct file *f, uint64_t offset)
{
    char byte;
    const struct iovec v = {&byte, 1};
    ssize_t n;
    do {
        n = preadv2(f->fd, &v, 1, (off_t)offset, RWF_NOWAIT);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) /* 0: the file is shorter than planned, which needs no disk to find out */
        return true;
    if (errno == EAGAIN)
        return false;
    unsigned cache = cache_without_probe(f->fd);
    atomic_store_explicit(&f->cache, cache, memory_order_relaxed);
    return cache == CACHE_ALWAYS;
}

bool file_is_resident(struct file *f, uint64_t offset, uint64_t n, uint64_t now_ms)
{
    unsigned cache = atomic_load_explicit(&f->cache, memory_order_relaxed);
    if (cache != CACHE_PROBE || n == 0)
        return cache != CACHE_UNKNOWN;
    bool small = f->size_bytes <= FILE_SMALL_BYTES;
    uint64_t probed_ms = atomic_load_explicit(&f->probed_ms, memory_order_relaxed);
    if (small && probed_ms && now_ms - probed_ms < FILE_TRUST_MS)
        return true;
    if (small) { /* all of it, so that the verdict holds for every range */
        offset = 0;
        n = f->size_bytes;
    }
    uint64_t last = 0;
    unsigned probes = n <= FEW_BYTES ? PROBES_FEW : PROBES;
    for (unsigned i = 0; i < probes; i++) {
        uint64_t at = (offset + (n - 1) * i / (probes - 1)) & ~4095ull;
        if (i > 0 && at == last)
            continue;
        if (!byte_is_resident(f, at))
            return false;
        last = at;
    }
    if (small)
        atomic_store_explicit(&f->probed_ms, now_ms, memory_order_relaxed);
    return true;
}

bool file_read_ahead(struct file *f, uint64_t offset, uint64_t n)
{
    char scratch[READ_BYTES];
    if (n >= FILE_SMALL_BYTES)
        (void)posix_fadvise(f->fd, (off_t)offset, AHEAD_BYTES, POSIX_FADV_WILLNEED);
    while (n > 0) {
        size_t want = n < sizeof scratch ? (size_t)n : sizeof scratch;
        ssize_t got = pread(f->fd, scratch, want, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

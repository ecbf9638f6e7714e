/* Makes chosen calls of the recorded program fail, or kills it there.
 *
 * What to do stands in a page of memory shared with the test (BERTH_FAULT_CONTROL names its file),
 * which arms it between two requests: from then on calls of the given kinds on paths that contain
 * the pattern are counted, and the n-th, or every one from the n-th on, fails with the given errno
 * without having been made. Errno 0 kills the program instead: before the call, or right after it.
 * test/lib/faults.py writes the page. */
#pragma once

#include <signal.h>

enum fault_kind {
    FAULT_WRITE = 1, /* write, pwrite, ftruncate, fallocate */
    FAULT_SYNC = 2,  /* fsync, fdatasync, sync_file_range */
    FAULT_NAME = 4,  /* link, unlink, rename, mkdir, rmdir, open of a new file */
    FAULT_OPEN = 8,  /* open of a file that exists, for writing */
    FAULT_READ = 16, /* read, pread */
    FAULT_LOOK = 32, /* open of a file that exists, for reading */
};

struct fault_control {
    uint32_t armed, kinds, first, always, after;
    int32_t error; /* errno; 0: kill */
    uint32_t seen, hits;
    char pattern[64]; /* part of the path below the root, or its end with "$"; empty: all */
    char where[256];  /* path of the last hit */
};

static struct fault_control *fault_page;

static void fault_start(void)
{
    const char *path = getenv("BERTH_FAULT_CONTROL");
    if (!path)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    void *p =
        (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)0);
    if (fd < 0 || p == MAP_FAILED)
        abort();
    syscall(SYS_close, fd);
    fault_page = p;
}

/* Whether a call of this kind is of interest now; asked first, as paths are dear. */
static bool fault_wanted(enum fault_kind kind)
{
    return fault_page && __atomic_load_n(&fault_page->armed, __ATOMIC_ACQUIRE) &&
           fault_page->kinds & kind;
}

static void fault_kill(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

static bool fault_matches(const char *path, const char *pattern)
{
    size_t n = strlen(pattern), path_n = strlen(path);
    if (!n || pattern[n - 1] != '$')
        return strstr(path, pattern) != NULL;
    return path_n >= n - 1 && strncmp(path + path_n - (n - 1), pattern, n - 1) == 0;
}

/* True: the call is to return -1, errno is set. Under the recorder's lock. */
static bool fault_hits(const char *path)
{
    struct fault_control *c = fault_page;
    if (!path || !fault_matches(path, c->pattern))
        return false;
    uint32_t n = ++c->seen;
    if (c->always ? n < c->first : n != c->first)
        return false;
    c->hits++;
    snprintf(c->where, sizeof c->where, "%s", path);
    if (c->error == 0 && !c->after)
        fault_kill();
    errno = c->error;
    return c->error != 0;
}

/* After a call that fault_hits let through. */
static void fault_after(enum fault_kind kind)
{
    if (fault_wanted(kind) && fault_page->error == 0 && fault_page->hits)
        fault_kill();
}

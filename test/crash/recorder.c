/* What a program asks the disk for, as a log that a test can replay: LD_PRELOAD library.
 *
 * Every call that changes a file or a directory below BERTH_RECORD_ROOT is executed and then
 * appended to BERTH_RECORD_LOG; a send on a socket is appended before it is executed. One lock is
 * held across the call and its record, so the log's order is the order of the calls: what stands
 * before a send had been done when the answer left. Files are told apart by an identity drawn when
 * they are created (inode numbers are reused); a descriptor finds it through device and inode.
 *
 * Record: struct head, then `path_n` bytes of path, `path2_n` of the second path, `data_n` of data.
 * What it cannot record (a shared writable mapping of a file other than SQLite's -shm) is itself a
 * record, which fails the test. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault.h"

enum kind {
    CREATE = 1, /* path: a new file */
    WRITE,      /* offset, data */
    TRUNCATE,   /* offset: the new size */
    RENAME,     /* path, path2 */
    EXCHANGE,   /* path, path2 */
    LINK,       /* path2 is another name of the file */
    UNLINK,     /* path */
    MKDIR,      /* path */
    RMDIR,      /* path */
    SYNC,       /* the file, or with path: the directory */
    SEND,       /* data: the first bytes */
    OPEN,       /* path: an existing file */
    SYNC_ALL,
    UNKNOWN,     /* path: why */
    SYNC_FAILED, /* as SYNC, but it failed: what was not durable before never will be */
};

struct head {
    uint32_t kind, path_n, path2_n, pad;
    uint64_t file, offset, data_n;
};

enum { FILES_MAX = 65536, SEND_MAX = 2048 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char root[PATH_MAX];
static size_t root_n;
/* Identities by inode; a new file with a reused number gets a new one. */
static struct {
    uint64_t dev, ino, file;
} files[FILES_MAX];
static size_t files_n;
static uint64_t last_file;

static void __attribute__((constructor)) start(void)
{
    const char *path = getenv("BERTH_RECORD_LOG"), *below = getenv("BERTH_RECORD_ROOT");
    if (!below || !realpath(below, root))
        return;
    root_n = strlen(root);
    fault_start();
    if (!path)
        return;
    int fd =
        (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    last_file = (uint64_t)getpid() << 32; /* the log may go on in the next process */
    syscall(SYS_close, fd);
}

static void append(enum kind kind, uint64_t file, uint64_t offset, const char *path,
                   const char *path2, const void *data, size_t n)
{
    struct head h = {.kind = kind,
                     .path_n = path ? (uint32_t)strlen(path) : 0,
                     .path2_n = path2 ? (uint32_t)strlen(path2) : 0,
                     .file = file,
                     .offset = offset,
                     .data_n = n};
    struct iovec parts[] = {
        {&h, sizeof h}, {(void *)path, h.path_n}, {(void *)path2, h.path2_n}, {(void *)data, n}};
    size_t want = sizeof h + h.path_n + h.path2_n + n;
    if (syscall(SYS_writev, log_fd, parts, 4) != (long)want)
        abort();
}

/* The path below the root, or NULL. `out` holds PATH_MAX bytes. */
static const char *below(int dir, const char *path, char *out)
{
    char folder[PATH_MAX], link[64], joined[2 * PATH_MAX];
    if (!root_n)
        return NULL;
    if (path[0] == '/') {
        snprintf(joined, sizeof joined, "%s", path);
    } else {
        if (dir == AT_FDCWD) {
            if (!getcwd(folder, sizeof folder))
                return NULL;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t n = readlink(link, folder, sizeof folder - 1);
            if (n < 0)
                return NULL;
            folder[n] = '\0';
        }
        snprintf(joined, sizeof joined, *path ? "%s/%s" : "%s", folder, path);
    }
    /* The folder part is resolved, the last component kept: it may not exist, or no longer. */
    char *slash = strrchr(joined, '/');
    while (slash > joined && !slash[1]) {
        *slash = '\0';
        slash = strrchr(joined, '/');
    }
    char *name = slash + 1;
    *slash = '\0';
    if (!realpath(*joined ? joined : "/", folder))
        return NULL;
    if (snprintf(out, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return NULL;
    if (strncmp(out, root, root_n) || (out[root_n] != '/' && out[root_n]))
        return NULL;
    return out[root_n] ? out + root_n + 1 : ".";
}

static const char *fd_path(int fd, char *out)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return NULL;
    path[n] = '\0';
    return below(AT_FDCWD, path, out);
}

static uint64_t file_of(const struct stat *st)
{
    for (size_t i = files_n; i-- > 0;)
        if (files[i].ino == st->st_ino && files[i].dev == st->st_dev)
            return files[i].file;
    return 0;
}

static uint64_t file_new(const struct stat *st)
{
    if (files_n == FILES_MAX)
        abort();
    files[files_n].dev = st->st_dev;
    files[files_n].ino = st->st_ino;
    files[files_n].file = ++last_file;
    files_n++;
    return last_file;
}

/* The regular file behind a descriptor, 0 when it is not one of ours. */
static uint64_t fd_file(int fd)
{
    struct stat st;
    if (log_fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
        return 0;
    return file_of(&st);
}

#define LOCKED(...)                  \
    do {                             \
        int saved_;                  \
        pthread_mutex_lock(&lock);   \
        __VA_ARGS__                  \
        saved_ = errno;              \
        pthread_mutex_unlock(&lock); \
        errno = saved_;              \
    } while (0)

/* Whether the call is to fail. */
static bool fd_fault(enum fault_kind kind, int fd)
{
    char full[PATH_MAX];
    return fault_wanted(kind) && fault_hits(fd_path(fd, full));
}

static bool path_fault(enum fault_kind kind, int dir, const char *path)
{
    char full[PATH_MAX];
    return fault_wanted(kind) && fault_hits(below(dir, path, full));
}

/* ---- opening */

static int open_any(int dir, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    struct stat st;
    int fd = -1;
    LOCKED({
        const char *p = below(dir, path, full);
        bool existed = !p || !fstatat(dir, path, &st, 0);
        bool makes = !existed && flags & O_CREAT;
        bool changes = makes || (flags & O_ACCMODE) != O_RDONLY;
        enum fault_kind kind = makes ? FAULT_NAME : changes ? FAULT_OPEN : FAULT_LOOK;
        if (!fault_wanted(kind) || !fault_hits(p))
            fd = (int)syscall(SYS_openat, dir, path, flags, mode);
        if (makes)
            fault_after(kind);
        if (log_fd >= 0 && p && fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
            if (!existed || (flags & O_TMPFILE) == O_TMPFILE)
                append(CREATE, file_new(&st), 0, (flags & O_TMPFILE) == O_TMPFILE ? NULL : p, NULL,
                       NULL, 0);
            else if (!file_of(&st))
                append(OPEN, file_new(&st), (uint64_t)st.st_size, p, NULL, NULL, 0);
            if (existed && flags & O_TRUNC)
                append(TRUNCATE, file_of(&st), 0, NULL, NULL, NULL, 0);
        }
    });
    return fd;
}

static mode_t mode_of(int flags, va_list *list)
{
    return flags & (O_CREAT | __O_TMPFILE) ? (mode_t)va_arg(*list, int) : 0;
}

#define OPENER(name, dir_parameter, dir)                     \
    int name(dir_parameter const char *path, int flags, ...) \
    {                                                        \
        va_list list;                                        \
        va_start(list, flags);                               \
        mode_t mode = mode_of(flags, &list);                 \
        va_end(list);                                        \
        return open_any(dir, path, flags, mode);             \
    }
#define NOTHING
OPENER(open, NOTHING, AT_FDCWD)
OPENER(open64, NOTHING, AT_FDCWD)
#define AT int at,
OPENER(openat, AT, at)
OPENER(openat64, AT, at)

int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

/* ---- data */

static void wrote(int fd, off_t offset, const struct iovec *parts, int count, ssize_t n)
{
    uint64_t file = n > 0 ? fd_file(fd) : 0;
    if (!file)
        return;
    for (int i = 0; i < count && n > 0; i++) {
        size_t len = (size_t)n < parts[i].iov_len ? (size_t)n : parts[i].iov_len;
        append(WRITE, file, (uint64_t)offset, NULL, NULL, parts[i].iov_base, len);
        offset += (off_t)len;
        n -= (ssize_t)len;
    }
}

static bool is_socket(int fd)
{
    struct stat st;
    return log_fd >= 0 && !fstat(fd, &st) && S_ISSOCK(st.st_mode);
}

static void sending(int fd, const struct iovec *parts, size_t count)
{
    char data[SEND_MAX];
    size_t n = 0;
    if (!is_socket(fd))
        return;
    for (size_t i = 0; i < count && n < sizeof data; i++) {
        size_t len = parts[i].iov_len < sizeof data - n ? parts[i].iov_len : sizeof data - n;
        memcpy(data + n, parts[i].iov_base, len);
        n += len;
    }
    append(SEND, 0, 0, NULL, NULL, data, n);
}

/* Sockets may block or be long: their call is made without the lock. */
static ssize_t write_any(int fd, const struct iovec *parts, int count)
{
    ssize_t n = 0;
    bool to_socket;
    LOCKED({
        sending(fd, parts, (size_t)count);
        to_socket = is_socket(fd);
        if (!to_socket && fd_fault(FAULT_WRITE, fd)) {
            pthread_mutex_unlock(&lock);
            return -1;
        }
        if (!to_socket && fd_file(fd)) {
            off_t offset = lseek(fd, 0, SEEK_CUR);
            if (fcntl(fd, F_GETFL) & O_APPEND)
                offset = lseek(fd, 0, SEEK_END);
            n = syscall(SYS_writev, fd, parts, count);
            wrote(fd, offset, parts, count, n);
            pthread_mutex_unlock(&lock);
            return n;
        }
    });
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t write(int fd, const void *p, size_t n)
{
    struct iovec part = {(void *)p, n};
    if (!root_n)
        return syscall(SYS_write, fd, p, n);
    return write_any(fd, &part, 1);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return root_n ? write_any(fd, parts, count) : syscall(SYS_writev, fd, parts, count);
}

#define PWRITER(name)                                                                        \
    ssize_t name(int fd, const void *p, size_t n, off_t offset)                              \
    {                                                                                        \
        struct iovec part = {(void *)p, n};                                                  \
        ssize_t done = 0;                                                                    \
        LOCKED({                                                                             \
            done = fd_fault(FAULT_WRITE, fd) ? -1 : syscall(SYS_pwrite64, fd, p, n, offset); \
            wrote(fd, offset, &part, 1, done);                                               \
            fault_after(FAULT_WRITE);                                                        \
        });                                                                                  \
        return done;                                                                         \
    }
PWRITER(pwrite)
PWRITER(pwrite64)

#define PWRITEVER(name)                                                                           \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset)                      \
    {                                                                                             \
        ssize_t done = 0;                                                                         \
        LOCKED({                                                                                  \
            done = fd_fault(FAULT_WRITE, fd) ? -1                                                 \
                                             : syscall(SYS_pwritev, fd, parts, count, offset, 0); \
            wrote(fd, offset, parts, count, done);                                                \
        });                                                                                       \
        return done;                                                                              \
    }
PWRITEVER(pwritev)
PWRITEVER(pwritev64)

#define TRUNCATER(name)                                                                    \
    int name(int fd, off_t size)                                                           \
    {                                                                                      \
        int done = 0;                                                                      \
        LOCKED({                                                                           \
            done = fd_fault(FAULT_WRITE, fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size); \
            uint64_t file = done ? 0 : fd_file(fd);                                        \
            if (file)                                                                      \
                append(TRUNCATE, file, (uint64_t)size, NULL, NULL, NULL, 0);               \
        });                                                                                \
        return done;                                                                       \
    }
TRUNCATER(ftruncate)
TRUNCATER(ftruncate64)

/* Space without content: zeros behind the end at most. */
#define ALLOCATER(name)                                                                            \
    int name(int fd, int mode, off_t offset, off_t n)                                              \
    {                                                                                              \
        int done = 0;                                                                              \
        LOCKED({                                                                                   \
            struct stat before;                                                                    \
            fstat(fd, &before);                                                                    \
            done =                                                                                 \
                fd_fault(FAULT_WRITE, fd) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, n); \
            uint64_t file = done ? 0 : fd_file(fd);                                                \
            if (file && mode == 0 && offset + n > before.st_size)                                  \
                append(TRUNCATE, file, (uint64_t)(offset + n), NULL, NULL, NULL, 0);               \
            else if (file && mode != FALLOC_FL_KEEP_SIZE && mode != 0)                             \
                append(UNKNOWN, 0, 0, "fallocate", NULL, NULL, 0);                                 \
        });                                                                                        \
        return done;                                                                               \
    }
ALLOCATER(fallocate)
ALLOCATER(fallocate64)

#define PREADER(name)                                                        \
    ssize_t name(int fd, void *p, size_t n, off_t offset)                    \
    {                                                                        \
        bool fails = false;                                                  \
        if (fault_wanted(FAULT_READ))                                        \
            LOCKED({ fails = fd_fault(FAULT_READ, fd); });                   \
        return fails ? -1 : (ssize_t)syscall(SYS_pread64, fd, p, n, offset); \
    }
PREADER(pread)
PREADER(pread64)

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
    LOCKED({
        if (fd_file(out))
            append(UNKNOWN, 0, 0, "copy_file_range", NULL, NULL, 0);
    });
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, n, flags);
}

#define MAPPER(name)                                                                   \
    void *name(void *at, size_t n, int protection, int flags, int fd, off_t offset)    \
    {                                                                                  \
        if (log_fd >= 0 && fd >= 0 && flags & MAP_SHARED && protection & PROT_WRITE) { \
            char full[PATH_MAX];                                                       \
            const char *p = fd_path(fd, full);                                         \
            size_t len = p ? strlen(p) : 0;                                            \
            if (p && (len < 4 || strcmp(p + len - 4, "-shm")))                         \
                LOCKED({ append(UNKNOWN, 0, 0, p, NULL, NULL, 0); });                  \
        }                                                                              \
        return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);        \
    }
MAPPER(mmap)
MAPPER(mmap64)

/* ---- durability. sync_file_range only starts writeback: it is none. */

static int sync_any(int fd, long call)
{
    char full[PATH_MAX];
    int done = 0;
    LOCKED({
        struct stat st;
        done = fd_fault(FAULT_SYNC, fd) ? -1 : (int)syscall(call, fd);
        int error = errno;
        enum kind kind = done ? SYNC_FAILED : SYNC;
        if (log_fd >= 0 && !fstat(fd, &st)) {
            const char *p = fd_path(fd, full);
            if (S_ISDIR(st.st_mode) && p)
                append(kind, 0, 0, p, NULL, NULL, 0);
            else if (S_ISREG(st.st_mode) && file_of(&st))
                append(kind, file_of(&st), 0, NULL, NULL, NULL, 0);
        }
        fault_after(FAULT_SYNC);
        errno = error;
    });
    return done;
}

int fsync(int fd)
{
    return sync_any(fd, SYS_fsync);
}
int fdatasync(int fd)
{
    return sync_any(fd, SYS_fdatasync);
}
int sync_file_range(int fd, off64_t offset, off64_t n, unsigned flags)
{
    int done = 0;
    LOCKED({
        done =
            fd_fault(FAULT_SYNC, fd) ? -1 : (int)syscall(SYS_sync_file_range, fd, offset, n, flags);
    });
    return done;
}
int syncfs(int fd)
{
    int done = 0;
    LOCKED({
        done = (int)syscall(SYS_syncfs, fd);
        if (log_fd >= 0)
            append(SYNC_ALL, 0, 0, NULL, NULL, NULL, 0);
    });
    return done;
}

/* ---- names */

static void record2(enum kind kind, int done, const char *one, const char *two)
{
    if (done || log_fd < 0)
        return;
    if (one && two)
        append(kind, 0, 0, one, two, NULL, 0);
    else if (one || two)
        append(UNKNOWN, 0, 0, "rename or link across the root", NULL, NULL, 0);
}

static int rename_any(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    int done = 0;
    LOCKED({
        const char *one = below(from_dir, from, a), *two = below(to_dir, to, b);
        done = path_fault(FAULT_NAME, to_dir, to)
                   ? -1
                   : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
        record2(flags & RENAME_EXCHANGE ? EXCHANGE : RENAME, done, one, two);
        fault_after(FAULT_NAME);
    });
    return done;
}
int rename(const char *from, const char *to)
{
    return rename_any(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return rename_any(from_dir, from, to_dir, to, 0);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return rename_any(from_dir, from, to_dir, to, flags);
}

static int link_any(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    char b[PATH_MAX];
    int done = 0;
    LOCKED({
        struct stat st;
        const char *two = below(to_dir, to, b);
        done = path_fault(FAULT_NAME, to_dir, to)
                   ? -1
                   : (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
        fault_after(FAULT_NAME);
        if (log_fd >= 0 && !done && two && !fstatat(to_dir, to, &st, AT_SYMLINK_NOFOLLOW)) {
            if (file_of(&st))
                append(LINK, file_of(&st), 0, NULL, two, NULL, 0);
            else
                append(UNKNOWN, 0, 0, "link of an unknown file", NULL, NULL, 0);
        }
    });
    return done;
}
int link(const char *from, const char *to)
{
    return link_any(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    return link_any(from_dir, from, to_dir, to, flags);
}

static int unlink_any(int dir, const char *path, int flags)
{
    char a[PATH_MAX];
    int done = 0;
    LOCKED({
        const char *one = below(dir, path, a);
        done =
            path_fault(FAULT_NAME, dir, path) ? -1 : (int)syscall(SYS_unlinkat, dir, path, flags);
        if (log_fd >= 0 && !done && one)
            append(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, 0, one, NULL, NULL, 0);
        fault_after(FAULT_NAME);
    });
    return done;
}
int unlink(const char *path)
{
    return unlink_any(AT_FDCWD, path, 0);
}
int unlinkat(int dir, const char *path, int flags)
{
    return unlink_any(dir, path, flags);
}
int rmdir(const char *path)
{
    return unlink_any(AT_FDCWD, path, AT_REMOVEDIR);
}

static int mkdir_any(int dir, const char *path, mode_t mode)
{
    char a[PATH_MAX];
    int done = 0;
    LOCKED({
        const char *one = below(dir, path, a);
        done = path_fault(FAULT_NAME, dir, path) ? -1 : (int)syscall(SYS_mkdirat, dir, path, mode);
        if (log_fd >= 0 && !done && one)
            append(MKDIR, 0, 0, one, NULL, NULL, 0);
        fault_after(FAULT_NAME);
    });
    return done;
}
int mkdir(const char *path, mode_t mode)
{
    return mkdir_any(AT_FDCWD, path, mode);
}
int mkdirat(int dir, const char *path, mode_t mode)
{
    return mkdir_any(dir, path, mode);
}

/* ---- answers leaving */

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    struct iovec part = {(void *)p, n};
    LOCKED({ sending(fd, &part, 1); });
    return syscall(SYS_sendto, fd, p, n, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    LOCKED({ sending(fd, message->msg_iov, message->msg_iovlen); });
    return syscall(SYS_sendmsg, fd, message, flags);
}

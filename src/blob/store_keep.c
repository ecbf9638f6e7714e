/* Upkeep of the file store: what is there, what is rotten, who may unlink. */
#include "blob/store_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err size_of(int dir_fd, const char *name, uint64_t *size_bytes)
{
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return ERR_NOT_FOUND;
    *size_bytes = (uint64_t)st.st_size;
    return OK;
}

enum err store_blob_stat(struct store *s, str key, uint64_t *size_bytes)
{
    char name[STORE_KEY_LEN + 1];
    unsigned shard;
    if (!store_key_name(key, name, &shard))
        return ERR_NOT_FOUND;
    return size_of(s->shards[shard].fd, name, size_bytes);
}

enum err store_upload_stat(struct store *s, str uuid, uint64_t *size_bytes)
{
    char name[UUID_LEN + 1];
    if (!store_upload_name(uuid, name))
        return ERR_NOT_FOUND;
    return size_of(s->uploads.fd, name, size_bytes);
}

/* What root makes on behalf of the server belongs to whom the directory belongs. */
static enum err own_like(int dir_fd, int fd)
{
    struct stat dir, st;
    if (fstat(dir_fd, &dir) != 0 || fstat(fd, &st) != 0)
        return err_from_errno(errno);
    if (geteuid() != 0 || (st.st_uid == dir.st_uid && st.st_gid == dir.st_gid))
        return OK;
    return fchown(fd, dir.st_uid, dir.st_gid) ? err_from_errno(errno) : OK;
}

/* DIR/quarantine, made durably on first use. */
static enum err open_quarantine(struct store *s, int *ret)
{
    if (mkdirat(s->dir_fd, "quarantine", 0700) != 0 && errno != EEXIST)
        return err_from_errno(errno);
    FD_CLEANUP int parent = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || s->sys->fsync(parent) != 0)
        return err_from_errno(errno);
    FD_CLEANUP int fd = openat(s->dir_fd, "quarantine", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    enum err e = own_like(parent, fd);
    if (!e)
        *ret = fd_take(&fd);
    return e;
}

enum err store_blob_quarantine(struct store *s, str key)
{
    char name[STORE_KEY_LEN + 1];
    unsigned shard;
    FD_CLEANUP int to = -1;
    if (!store_key_name(key, name, &shard))
        return ERR_NOT_FOUND;
    enum err e = open_quarantine(s, &to);
    if (e)
        return e;
    struct directory *from = &s->shards[shard];
    unsigned failures = directory_failures(from);
    if (s->sys->renameat(from->fd, name, to, name) != 0)
        return errno == ENOENT ? OK : err_from_errno(errno);
    store_kept_forget(s, key);
    if (s->sys->fsync(to) != 0)
        return err_from_errno(errno);
    e = directory_sync(from, s->sys, failures);
    return e ? store_directory_failed(s, from, e) : OK;
}

enum err store_quarantine_write(struct store *s, const char *name, str bytes)
{
    FD_CLEANUP int dir = -1;
    enum err e = open_quarantine(s, &dir);
    if (e)
        return e;
    FD_CLEANUP int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_from_errno(errno);
    for (size_t at = 0; at < bytes.n;) {
        ssize_t n = s->sys->pwrite(fd, bytes.p + at, bytes.n - at, (off_t)at);
        if (n < 0 && errno != EINTR)
            return err_from_errno(errno);
        at += n > 0 ? (size_t)n : 0;
    }
    return s->sys->fsync(fd) || s->sys->fsync(dir) ? err_from_errno(errno) : OK;
}

/* Listings. */

typedef bool proper_fn(str name, unsigned shard);

static bool blob_is_proper(str name, unsigned shard)
{
    char zeroed[STORE_KEY_LEN + 1];
    unsigned own;
    return store_key_name(name, zeroed, &own) && own == shard;
}

static bool upload_is_proper(str name, unsigned shard)
{
    char zeroed[UUID_LEN + 1];
    return store_upload_name(name, zeroed);
}

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

static enum err list_one(int fd, str name, unsigned shard, proper_fn *proper, store_list_fn *fn,
                         void *arg)
{
    struct stat st;
    if (fstatat(fd, name.p, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? OK : err_from_errno(errno); /* gone meanwhile */
    struct store_entry entry = {
        .name = name,
        .is_proper = S_ISREG(st.st_mode) && proper(name, shard),
        .size_bytes = (uint64_t)st.st_size,
        .changed_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000,
    };
    return fn(arg, &entry);
}

static enum err list(int dir_fd, unsigned shard, proper_fn *proper, store_list_fn *fn, void *arg)
{
    FD_CLEANUP int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    __attribute__((cleanup(close_dir))) DIR *d = fdopendir(fd);
    if (!d)
        return err_from_errno(errno);
    fd_take(&fd);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(d);
        if (!entry)
            return errno ? err_from_errno(errno) : OK;
        str name = str_from(entry->d_name);
        if (str_eq(name, STR(".")) || str_eq(name, STR("..")))
            continue;
        enum err e = list_one(dir_fd, name, shard, proper, fn, arg);
        if (e)
            return e;
    }
}

enum err store_list_blobs(struct store *s, unsigned shard, store_list_fn *fn, void *arg)
{
    return list(s->shards[shard].fd, shard, blob_is_proper, fn, arg);
}

enum err store_list_uploads(struct store *s, store_list_fn *fn, void *arg)
{
    return list(s->uploads.fd, 0, upload_is_proper, fn, arg);
}

static bool is_proper_here(str name, unsigned shard)
{
    return true;
}

enum err store_list_dir(struct store *s, store_list_fn *fn, void *arg)
{
    return list(s->dir_fd, 0, is_proper_here, fn, arg);
}

enum err store_dir_unlink(struct store *s, str name)
{
    ARENA_CLEANUP struct arena a = {0};
    if (!name.n || str_find(name, '/') < name.n)
        return ERR_NOT_FOUND;
    if (unlinkat(s->dir_fd, arena_cstr(&a, name), 0) != 0 && errno != ENOENT)
        return err_from_errno(errno);
    return OK;
}

/* The hold. */

static enum err lock_hold(int dir_fd, int operation, int *ret)
{
    FD_CLEANUP int fd = openat(dir_fd, "hold", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_from_errno(errno);
    enum err e = own_like(dir_fd, fd);
    if (e)
        return e;
    while (flock(fd, operation) != 0) {
        if (errno == EWOULDBLOCK)
            return ERR_BUSY;
        if (errno != EINTR)
            return err_from_errno(errno);
    }
    *ret = fd_take(&fd);
    return OK;
}

enum err store_hold(str dir, struct arena *a, int *fd, struct error *why)
{
    FD_CLEANUP int dir_fd = open(arena_cstr(a, dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
    enum err e = dir_fd < 0 ? err_from_errno(errno) : lock_hold(dir_fd, LOCK_SH, fd);
    return e ? error_set(a, why, e, "cannot lock %.*s/hold: %s", STR_ARG(dir), err_text(e)) : OK;
}

enum err store_hold_exclude(struct store *s, int *fd)
{
    return lock_hold(s->dir_fd, LOCK_EX | LOCK_NB, fd);
}

#include "cli/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20, NAME_BYTES = 256 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define FD_CLEANUP __attribute__((cleanup(close_fd)))

static enum err read_piece(int fd, uint64_t at, char *p, size_t n)
{
    while (n) {
        ssize_t r = pread(fd, p, n, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? err_from_errno(errno) : ERR_SIZE_INVALID;
        p += r;
        at += (uint64_t)r;
        n -= (size_t)r;
    }
    return OK;
}

static enum err write_piece(int fd, uint64_t at, const char *p, size_t n)
{
    while (n) {
        ssize_t r = pwrite(fd, p, n, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? err_from_errno(errno) : ERR_IO;
        p += r;
        at += (uint64_t)r;
        n -= (size_t)r;
    }
    return OK;
}

/* Reads all of it, writes it when `to` is a descriptor, and compares. */
static enum err pass_bytes(int from, int to, uint64_t size_bytes, const struct digest *digest)
{
    ARENA_CLEANUP struct arena a = {0};
    HASHER_CLEANUP struct hasher *h = hasher_new(digest_algorithm(digest));
    char *piece = arena_alloc(&a, size_bytes < PIECE_BYTES ? size_bytes : PIECE_BYTES);
    for (uint64_t at = 0; at < size_bytes;) {
        uint64_t left = size_bytes - at;
        size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        enum err e = read_piece(from, at, piece, n);
        if (!e && to >= 0)
            e = write_piece(to, at, piece, n);
        if (e)
            return e;
        hasher_update(h, piece, n);
        at += n;
    }
    struct digest got;
    hasher_peek(h, &got);
    return digest_eq(&got, digest) ? OK : ERR_DIGEST_INVALID;
}

static enum err fill(struct copy *c, int from, int to, uint64_t size_bytes,
                     const struct digest *digest, enum copy_how *how)
{
    enum err e = OK;
    if (c->clones && ioctl(to, FICLONE, from) == 0) {
        *how = COPY_CLONED;
        if (c->verify)
            e = pass_bytes(to, -1, size_bytes, digest);
    } else {
        *how = COPY_WRITTEN;
        e = pass_bytes(from, to, size_bytes, digest);
    }
    return !e && fsync(to) ? err_from_errno(errno) : e;
}

/* Under another name until it is whole and synced. */
static enum err make_file(struct copy *c, int from, int to_dir, const char *name,
                          uint64_t size_bytes, const struct digest *digest, enum copy_how *how)
{
    char temporary[NAME_BYTES];
    if (snprintf(temporary, sizeof temporary, "%s.new", name) >= (int)sizeof temporary)
        return ERR_LIMIT;
    FD_CLEANUP int to = openat(to_dir, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0)
        return err_from_errno(errno);
    enum err e = fill(c, from, to, size_bytes, digest, how);
    if (!e && renameat(to_dir, temporary, to_dir, name) != 0)
        e = err_from_errno(errno);
    if (e)
        unlinkat(to_dir, temporary, 0);
    return e;
}

static bool is_there(int dir, const char *name, uint64_t size_bytes)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == size_bytes)
        return true;
    unlinkat(dir, name, 0);
    return false;
}

enum err copy_file(struct copy *c, int from_dir, int to_dir, const char *name, uint64_t size_bytes,
                   const struct digest *digest)
{
    enum copy_how how = COPY_KEPT;
    enum err e = OK;
    if (!is_there(to_dir, name, size_bytes)) {
        FD_CLEANUP int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;
        if (from < 0 || fstat(from, &st) != 0)
            return err_from_errno(errno);
        if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size_bytes)
            return ERR_SIZE_INVALID;
        how = COPY_LINKED;
        if (!c->links || linkat(from_dir, name, to_dir, name, 0) != 0)
            e = make_file(c, from, to_dir, name, size_bytes, digest, &how);
    }
    if (!e) {
        c->files[how]++;
        c->bytes[how] += size_bytes;
    }
    return e;
}

#include "cli/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define FD_CLEANUP __attribute__((cleanup(close_fd)))

static enum err failed(struct arena *a, struct error *why, const char *what, const char *path)
{
    int errnum = errno;
    return error_set(a, why, err_from_errno(errnum), "cannot %s %s: %s", what, path,
                     strerror(errnum));
}

static enum err sync_dir(struct arena *a, const char *path, struct error *why)
{
    FD_CLEANUP int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) ? failed(a, why, "sync directory", path) : OK;
}

/* mkdir -p; an entry is durable once its parent was synced. */
enum err data_dir_make(str dir, struct arena *a, struct error *why)
{
    char *path = arena_cstr(a, dir);
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != 0)
            continue;
        char end = *p;
        *p = 0;
        bool made = mkdir(path, 0700) == 0;
        if (!made && errno != EEXIST)
            return failed(a, why, "make directory", path);
        if (made) {
            size_t slash = str_rfind(str_from(path), '/');
            str parent = slash == strlen(path) ? STR(".") : str_make(path, slash ? slash : 1);
            enum err e = sync_dir(a, arena_cstr(a, parent), why);
            if (e)
                return e;
        }
        *p = end;
        if (!end)
            return OK;
    }
}

enum err data_dir_take(str dir, struct arena *a, int *lock_fd, struct error *why)
{
    enum err e = data_dir_make(dir, a, why);
    if (e)
        return e;
    str path = arena_printf(a, "%.*s/lock", STR_ARG(dir));
    FD_CLEANUP int fd = open(path.p, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(a, why, "open", path.p);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return error_set(a, why, ERR_BUSY,
                         "another berth process is using %.*s; stop it, or give this one its own "
                         "directory with --data",
                         STR_ARG(dir));
    *lock_fd = fd;
    fd = -1;
    return OK;
}

enum err data_dir_check_whole(str dir, struct arena *a, struct error *why)
{
    struct stat st;
    str path = arena_printf(a, "%.*s/" DATA_DIR_RESTORING, STR_ARG(dir));
    if (stat(path.p, &st) != 0)
        return OK;
    return error_set(a, why, ERR_CONFIG,
                     "a restore into %.*s was interrupted: repeat it, or remove the directory",
                     STR_ARG(dir));
}

enum err data_dir_write_secret(str dir, const char *name, str content, struct arena *a,
                               struct error *why)
{
    str path = arena_printf(a, "%.*s/%s", STR_ARG(dir), name);
    str temporary = arena_printf(a, "%.*s.new", STR_ARG(path));
    FD_CLEANUP int fd = open(temporary.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(a, why, "create", temporary.p);
    if (write(fd, content.p, content.n) != (ssize_t)content.n || fsync(fd) ||
        rename(temporary.p, path.p))
        return failed(a, why, "write", path.p);
    return sync_dir(a, arena_cstr(a, dir), why);
}

enum err data_dir_read_secret(str dir, const char *name, size_t bytes_max, struct arena *a,
                              str *ret, struct error *why)
{
    str path = arena_printf(a, "%.*s/%s", STR_ARG(dir), name);
    FD_CLEANUP int fd = open(path.p, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : failed(a, why, "read", path.p);
    size_t room = bytes_max + sizeof "\r\n";
    char *p = arena_alloc(a, room);
    ssize_t n = read(fd, p, room);
    if (n < 0)
        return failed(a, why, "read", path.p);
    str content = str_make(p, (size_t)n);
    if (str_ends(content, STR("\n")))
        content.n--;
    if (str_ends(content, STR("\r")))
        content.n--;
    if ((size_t)n == room || content.n > bytes_max)
        return error_set(a, why, ERR_LIMIT, "%s holds more than %zu bytes", path.p, bytes_max);
    *ret = content;
    return OK;
}

enum err data_dir_remove_secret(str dir, const char *name, struct arena *a, struct error *why)
{
    str path = arena_printf(a, "%.*s/%s", STR_ARG(dir), name);
    if (unlink(path.p))
        return errno == ENOENT ? OK : failed(a, why, "remove", path.p);
    return sync_dir(a, arena_cstr(a, dir), why);
}

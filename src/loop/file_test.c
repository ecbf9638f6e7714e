#include "base/test.h"
#include "loop/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct file *make(const char *dir, size_t n)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/file", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    char *bytes = calloc(1, n + 1);
    CHECK_INT(write(fd, bytes, n), n);
    free(bytes);
    unlink(path);
    return file_new(fd, n);
}

static void closes_at_the_last_reference(void)
{
    struct file *f = make(test_dir(), 10);
    int fd = f->fd;
    CHECK(file_ref(f) == f);
    file_unref(f);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    file_unref(f);
    CHECK_INT(fcntl(fd, F_GETFD), -1);
    file_unref(NULL);
}

static void written_pages_are_resident(void)
{
    struct file *f = make(test_dir(), 1 << 20);
    bool known = file_is_resident(f, 0, 1 << 20, 1);
    /* A file system without RWF_NOWAIT says no at all times; all others have what was written. */
    if (known)
        CHECK(file_is_resident(f, 4096, 1, 1));
    CHECK(file_read_ahead(f, 0, 1 << 20));
    CHECK(!file_read_ahead(f, 0, (1 << 20) + 1)); /* that much is not there */
    CHECK_INT(file_is_resident(f, 0, 1 << 20, 1), known);
    CHECK(file_is_resident(f, 0, 0, 1) == known);
    file_unref(f);
}

static void memory_is_always_resident(void)
{
    struct file *f = make("/dev/shm", 1 << 20);
    CHECK(file_is_resident(f, 0, 1 << 20, 1));
    file_unref(f);
}

/* Drops the pages and asks. The kernel starts reading when it is asked, so that a fast disk may
 * have brought the pages back before it answers: one honest no of many is what can be had. */
static bool dropped_pages_are_missed(struct file *f)
{
    for (unsigned tries = 0; tries < 100; tries++) {
        CHECK_INT(fsync(f->fd), 0);
        CHECK_INT(posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        if (!file_is_resident(f, 0, f->size_bytes, 1))
            return true;
    }
    return false;
}

/* After the pages were dropped the probe must say so, and reading ahead must bring them back. */
static void dropped_pages_are_not_resident(void)
{
    struct file *f = make(test_dir(), 1 << 20);
    if (file_is_resident(f, 0, 1 << 20, 1)) {
        CHECK(dropped_pages_are_missed(f));
        CHECK(file_read_ahead(f, 0, 1 << 20));
        CHECK(file_is_resident(f, 0, 1 << 20, 1));
    }
    file_unref(f);
}

/* A pipe in the file's place tells whether anybody asked: it has no pages at all. */
static void small_files_are_trusted_for_a_while(void)
{
    struct file *f = make(test_dir(), 10000);
    if (file_is_resident(f, 0, 10, 5000)) {
        int ends[2];
        CHECK_INT(pipe(ends), 0);
        CHECK_INT(dup2(ends[0], f->fd), f->fd);
        close(ends[0]);
        close(ends[1]);
        CHECK(file_is_resident(f, 9000, 10, 5000 + FILE_TRUST_MS - 1));
        CHECK(!file_is_resident(f, 9000, 10, 5000 + FILE_TRUST_MS));
    }
    file_unref(f);
}

TESTS({"closes at the last reference", closes_at_the_last_reference},
      {"written pages are resident", written_pages_are_resident},
      {"memory is always resident", memory_is_always_resident},
      {"dropped pages are not resident", dropped_pages_are_not_resident},
      {"small files are trusted for a while", small_files_are_trusted_for_a_while});

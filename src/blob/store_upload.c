/* Uploads of the file store. */
#include "base/clock.h"
#include "base/metrics.h"
#include "blob/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct store_upload {
    struct store *store;
    int fd;
    uint64_t size_bytes;
    uint64_t flushed;         /* writeback was started for what is before */
    uint64_t expected;        /* where the file will end; 0: not known */
    uint64_t allocated;       /* blocks were asked for up to here, or may be there */
    bool dirty;               /* bytes or size changed since the last fdatasync */
    bool entry_durable;       /* uploads/ was synced since the file was created */
    unsigned entry_failures;  /* of uploads/, before the file was created */
    _Atomic(enum err) poison; /* atomic: readers may be on other threads */
    char name[UUID_LEN + 1];
};

bool store_upload_name(str uuid, char name[UUID_LEN + 1])
{
    uint8_t id[16];
    if (!uuid_parse(uuid, id))
        return false;
    memcpy(name, uuid.p, UUID_LEN);
    name[UUID_LEN] = 0;
    return true;
}

/* The file is removed so that no later open resumes it. */
static enum err poison(struct store_upload *u, enum err e)
{
    unlinkat(u->store->uploads.fd, u->name, 0);
    atomic_store(&u->poison, e);
    return e;
}

static enum err cut(struct store_upload *u, uint64_t size_bytes)
{
    if (u->size_bytes == size_bytes && u->allocated <= size_bytes)
        return OK;
    if (u->size_bytes < size_bytes)
        return ERR_SIZE_INVALID;
    if (u->store->sys->ftruncate(u->fd, (off_t)size_bytes) != 0)
        return store_failed(u->store, "ftruncate", errno);
    u->size_bytes = u->allocated = size_bytes;
    u->dirty = true;
    return OK;
}

/* Takes the file that is there to the offset that was acknowledged. */
static enum err resume(struct store_upload *u, uint64_t offset)
{
    struct stat st;
    if (fstat(u->fd, &st) != 0)
        return err_from_errno(errno);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < offset)
        return ERR_NOT_FOUND;
    u->size_bytes = (uint64_t)st.st_size;
    if ((uint64_t)st.st_blocks * 512 >= u->size_bytes + WRITEBACK_STEP_BYTES)
        u->allocated = (uint64_t)st.st_blocks * 512; /* what an earlier process asked for */
    u->flushed = offset;
    u->entry_durable = true; /* or the offset would not have been acknowledged */
    return cut(u, offset);
}

static int open_file(struct store *s, const char *name, bool create)
{
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT | O_EXCL : 0);
    int fd = openat(s->uploads.fd, name, flags, 0600);
    if (fd < 0 && store_shed_files(s, errno))
        fd = openat(s->uploads.fd, name, flags, 0600);
    /* Made anew, not emptied: a commit of unknown outcome may have made a blob of the old one. */
    if (fd < 0 && create && errno == EEXIST && unlinkat(s->uploads.fd, name, 0) == 0)
        fd = openat(s->uploads.fd, name, flags, 0600);
    return fd;
}

enum err store_upload_open(struct store *s, str uuid, uint64_t offset, struct store_upload **ret)
{
    struct store_upload *u = calloc(1, sizeof *u);
    if (!u)
        abort();
    u->store = s;
    u->fd = -1;
    enum err e = ERR_NOT_FOUND;
    if (store_upload_name(uuid, u->name)) {
        bool create = offset == 0;
        u->entry_failures = directory_failures(&s->uploads);
        u->fd = open_file(s, u->name, create);
        u->dirty = create;
        if (u->fd >= 0)
            e = create ? OK : resume(u, offset);
        else if (!create || err_from_errno(errno) == ERR_NO_FILES)
            e = err_from_errno(errno);
        else if (errno == ENOENT) /* no file can be made in a directory that was removed */
            e = store_directory_failed(s, &s->uploads, ERR_MOVED);
        else
            e = store_failed(s, "open of an upload", errno);
    }
    if (e) {
        store_upload_close(u);
        return e;
    }
    *ret = u;
    return OK;
}

void store_upload_close(struct store_upload *u)
{
    if (!u)
        return;
    if (u->fd >= 0)
        close(u->fd);
    free(u);
}

void store_upload_close_at(struct store_upload *u, uint64_t size_bytes)
{
    enum err e = u ? cut(u, size_bytes) : OK;
    (void)e; /* told to the store; who resumes cuts again */
    store_upload_close(u);
}

void store_upload_expect(struct store_upload *u, uint64_t size_bytes)
{
    u->expected = size_bytes;
}

uint64_t store_upload_size(const struct store_upload *u)
{
    return u->size_bytes;
}

/* Asks for the blocks of what comes next: finding them a page at a time costs the writer more. They
 * lie behind the end of the file until they are written. Not where all workers together would take
 * the reserve. Who was refused does not ask again: writing will tell. */
static void allocate_ahead(struct store_upload *u)
{
    uint64_t from = u->allocated > u->size_bytes ? u->allocated : u->size_bytes;
    if (from >= u->size_bytes + WRITEBACK_STEP_BYTES || from + WRITEBACK_STEP_BYTES > u->expected)
        return;
    const struct store_space space = store_space(u->store);
    if (space.reserve_bytes && space.free_bytes < space.reserve_bytes + ALLOCATE_SPARE_BYTES)
        return;
    uint64_t left = u->expected - from, n = left < ALLOCATE_BYTES ? left : ALLOCATE_BYTES;
    if (u->store->sys->allocate(u->fd, (off_t)from, (off_t)n) == 0)
        u->allocated = from + n;
    else
        u->expected = 0;
}

/* Starts writeback of whole steps, and waits for the one two behind. An error told here will not
 * be told again by fdatasync, so it is as final as one of fdatasync. A kernel or file system that
 * has no such call leaves all the work to fdatasync. */
static enum err write_back(struct store_upload *u)
{
    const struct store_sys *sys = u->store->sys;
    uint64_t step = WRITEBACK_STEP_BYTES, end = u->size_bytes / step * step;
    if (end <= u->flushed)
        return OK;
    enum err e = store_check_reserve(u->store);
    if (e)
        return e;
    allocate_ahead(u);
    int r = sys->sync_file_range(u->fd, (off_t)u->flushed, (off_t)(end - u->flushed),
                                 SYNC_FILE_RANGE_WRITE);
    if (r == 0 && end >= 3 * step)
        r = sys->sync_file_range(u->fd, (off_t)(end - 3 * step), (off_t)step,
                                 SYNC_FILE_RANGE_WAIT_BEFORE);
    u->flushed = end;
    if (r != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT))
        return poison(u, store_failed(u->store, "sync_file_range", errno));
    return OK;
}

enum err store_upload_write(struct store_upload *u, uint64_t offset, str bytes)
{
    enum err e = atomic_load(&u->poison);
    if (e)
        return e;
    if (offset > u->size_bytes)
        return ERR_SIZE_INVALID;
    while (bytes.n) {
        u->dirty = true;
        size_t piece = bytes.n < WRITE_PIECE_BYTES ? bytes.n : WRITE_PIECE_BYTES;
        ssize_t n = u->store->sys->pwrite(u->fd, bytes.p, piece, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return store_failed(u->store, "write", n < 0 ? errno : EIO);
        bytes = str_skip(bytes, (size_t)n);
        offset += (uint64_t)n;
        if (offset > u->size_bytes)
            u->size_bytes = offset;
    }
    return write_back(u);
}

enum err store_upload_read(struct store_upload *u, uint64_t offset, void *p, size_t n, size_t *got)
{
    enum err e = atomic_load(&u->poison);
    if (e)
        return e;
    size_t done = 0;
    while (done < n) {
        ssize_t r = pread(u->fd, (char *)p + done, n - done, (off_t)(offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_from_errno(errno);
        if (r == 0)
            break;
        done += (size_t)r;
    }
    *got = done;
    return OK;
}

/* Exactly the first `size_bytes`, on the disk. */
static enum err sync_content(struct store_upload *u, uint64_t size_bytes)
{
    enum err e = atomic_load(&u->poison);
    if (e)
        return e;
    if ((e = cut(u, size_bytes)))
        return e;
    if (!u->dirty)
        return OK;
    uint64_t begin_us = clock_mono_us();
    if (u->store->sys->fdatasync(u->fd) != 0) {
        e = poison(u, store_failed(u->store, "fdatasync", errno));
        metric_add_at(METRIC_STORE_FAILURES, SYNC_FILE, 1);
        return e;
    }
    metric_observe_at(METRIC_SYNC_TIME, SYNC_FILE, clock_mono_us() - begin_us);
    u->dirty = false;
    return OK;
}

enum err store_upload_sync(struct store_upload *u, uint64_t size_bytes)
{
    enum err e = sync_content(u, size_bytes);
    if (e || u->entry_durable)
        return e;
    struct directory *uploads = &u->store->uploads;
    if ((e = directory_sync(uploads, u->store->sys, u->entry_failures)))
        return poison(u, store_directory_failed(u->store, uploads, e));
    u->entry_durable = true;
    store_works(u->store);
    return OK;
}

/* Those who publish at the same time meet in one directory and so share its fsync. It is another
 * one after every SHARD_TURN of them, so that all fill alike. */
static uint8_t shard_of_the_moment(struct store *s)
{
    enum { SHARD_TURN = 256 };
    return (uint8_t)(s->shard_first + atomic_fetch_add(&s->published, 1) / SHARD_TURN);
}

enum err store_upload_publish(struct store_upload *u, uint64_t size_bytes, char key[STORE_KEY_LEN])
{
    struct store *s = u->store;
    enum err e = sync_content(u, size_bytes);
    if (e)
        return e;

    uint8_t fresh[STORE_KEY_LEN / 2];
    char name[STORE_KEY_LEN + 1];
    random_bytes(fresh, sizeof fresh);
    fresh[0] = shard_of_the_moment(s);
    hex_encode(name, fresh, sizeof fresh);
    name[STORE_KEY_LEN] = 0;
    struct directory *shard = &s->shards[fresh[0]];
    unsigned failures = directory_failures(shard);
    if (s->sys->linkat(s->uploads.fd, u->name, shard->fd, name, 0) != 0)
        return errno == ENOENT ? store_directory_failed(s, shard, ERR_MOVED)
                               : store_failed(s, "link", errno);
    if ((e = directory_sync(shard, s->sys, failures))) {
        unlinkat(shard->fd, name, 0);
        return poison(u, store_directory_failed(s, shard, e));
    }
    store_works(s);
    metric_add(METRIC_BLOBS_STORED, 1);
    metric_add(METRIC_BLOB_BYTES_STORED, size_bytes);
    memcpy(key, name, STORE_KEY_LEN);
    return OK;
}

enum err store_upload_discard(struct store *s, str uuid)
{
    char name[UUID_LEN + 1];
    if (!store_upload_name(uuid, name))
        return ERR_NOT_FOUND;
    if (unlinkat(s->uploads.fd, name, 0) != 0 && errno != ENOENT)
        return store_failed(s, "unlink", errno);
    return OK;
}

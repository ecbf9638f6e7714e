/* Inside of the file store; for blob/store_*.c and their tests only.
 *
 * What makes a publication durable, in order: the file's bytes and size (fdatasync), its new name
 * (link, then fsync of blobs/xx). The old name in uploads/ goes when the database knows the new
 * one; that directory is not synced then, as a leftover name leads to bytes nobody asks for. */
#pragma once

#include "base/cache.h"
#include "base/hex.h"
#include "blob/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

enum {
    SHARD_COUNT = STORE_SHARDS,
    /* Measured on ext4, 512 MiB in 256 KiB writes, four runs each on a shared machine. The final
     * fdatasync takes 180 to 250 ms without early writeback; with it 2 to 60 ms, as the disk kept
     * up or not, for steps of 4, 8 and 16 MiB alike. Waiting, at each step, for the step two behind
     * makes that 2 to 4 ms with steps of 4 or 8 MiB (16: 7 to 9 ms) and bounds the dirty pages of a
     * stream to three steps, at 1.8 to 2.5 GB/s in all: above the rate of one core's SHA-256 (1.7
     * GB/s). 8 needs half the calls of 4. */
    WRITEBACK_STEP_BYTES = 8 << 20,
    /* What one call writes becomes one folio of the page cache where the file system has large
     * ones. For longer writes the kernel takes blocks of memory that a virtual machine may have
     * given back to its host, and fetching them costs ten times the copy: 1.7 to 2.1 ms/MB for 1
     * MiB writes of 1 GiB after 5 s of rest, 0.6 for 512 KiB, 0.25 for 256 and 0.28 for 64. Where
     * memory stays, 1 MiB takes 0.21 and 256 KiB 0.25. */
    WRITE_PIECE_BYTES = 256 << 10,
    /* How much is asked for at once of a file whose length is known, and so the most that a client
     * who leaves takes from the disk beside what it sent. */
    ALLOCATE_BYTES = 32 << 20,
    ALLOCATE_SPARE_BYTES = 1 << 30, /* that must be left above the reserve: all workers' requests */
};

/* The system calls whose failure the store must survive. Tests put their own in front. */
struct store_sys {
    ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t offset);
    int (*sync_file_range)(int fd, off_t offset, off_t n, unsigned flags);
    int (*allocate)(int fd, off_t offset, off_t n); /* the file's size stays */
    int (*ftruncate)(int fd, off_t n);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*linkat)(int from_dir, const char *from, int to_dir, const char *to, int flags);
    int (*renameat)(int from_dir, const char *from, int to_dir, const char *to);
};
extern const struct store_sys store_sys_kernel;

/* A directory whose entries are made durable together: one caller at a time runs fsync, for itself
 * and for all who asked before it started; the others wait for a run that started after they asked.
 *
 * A failed fsync of a directory may have dropped any entry that was not durable yet, and the kernel
 * tells only the first who asks. So `failures` is read before an entry is made, and a change until
 * that entry's own fsync counts as its failure too. */
struct directory {
    int fd;
    int parent_fd; /* where `name` must lead to it; -1: not looked at */
    char name[sizeof "blobs/xx"];
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t ran;
    bool running;
    uint64_t asked;  /* tickets given */
    uint64_t synced; /* tickets answered */
    unsigned failures;
};
void directory_init(struct directory *d, int fd, int parent_fd, const char *name);
/* Closes the descriptor. */
void directory_release(struct directory *d);
unsigned directory_failures(struct directory *d);
/* ERR_MOVED when its name leads elsewhere: what is put there would not be found at the next start.
 * ERR_PERMISSION when that cannot be seen. */
NODISCARD enum err directory_check(const struct directory *d);
/* Blocks until the entries made before the call are durable. ERR_IO when that cannot be said,
 * or what directory_check says. */
NODISCARD enum err directory_sync(struct directory *d, const struct store_sys *sys,
                                  unsigned failures_before);

struct store {
    const struct store_sys *sys;
    int dir_fd; /* for paths only */
    uint64_t reserve_bytes;
    struct directory uploads;
    struct directory shards[SHARD_COUNT];
    unsigned shard_n;    /* initialised */
    uint8_t shard_first; /* of this process: where the first blob goes */
    atomic_uint published;
    struct cache *kept;   /* open files of blobs by key; NULL: none are kept */
    pthread_mutex_t lock; /* guards what follows */
    enum err condition;   /* store_condition */
    char failure[128], read_failure[128];
};

/* Notes that `what` failed with this errno, for store_condition and the log; returns its code. */
enum err store_failed(struct store *s, const char *what, int errnum);
/* The same for directory_sync. Returns e. */
enum err store_directory_failed(struct store *s, const struct directory *d, enum err e);
/* Notes that a blob's file is there and cannot be read, for the log; returns the code. One that is
 * missing, or descriptors that are, are not the disk's failure. */
enum err store_read_failed(struct store *s, const char *what, str key, int errnum);
/* Notes that something was made durable. */
void store_works(struct store *s);

/* store_kept.c: nobody is given the open file of this key any more. */
void store_kept_forget(struct store *s, str key);
/* An open failed with errnum. True when it was for want of descriptors, and those of the files that
 * are kept are free now: worth another try. */
bool store_shed_files(struct store *s, int errnum);

/* store_open with other system calls. */
NODISCARD enum err store_open_with(struct store **ret, str dir, const struct store_sys *sys,
                                   struct arena *a, struct error *why);

/* Writes the NUL-terminated file name; false when `key` is not a store key. */
NODISCARD bool store_key_name(str key, char name[STORE_KEY_LEN + 1], unsigned *shard);
/* The same for an upload. */
NODISCARD bool store_upload_name(str uuid, char name[UUID_LEN + 1]);

static inline void fd_cleanup(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define FD_CLEANUP __attribute__((cleanup(fd_cleanup)))

static inline int fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

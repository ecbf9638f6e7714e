/* The blob store: content-addressed bytes under unique keys. Knows nothing of repositories.
 *
 * Files: DIR/blobs/xx/<store_key> for blobs, DIR/uploads/<uuid> for uploads in progress,
 * DIR/quarantine/<store_key> for blobs that were found rotten, DIR/hold (see store_hold). A store
 * key is 32 hexadecimal digits, drawn fresh for each publication and never reused, so unlinking a
 * dead blob can never hit a new one; `xx` is its first two digits. A blob exists when the database
 * says so: a file without a row is a stray, harmless and swept by fsck.
 *
 * Every call may block; call from workers. Calls on different handles are independent. A store key
 * or uuid that is not of its exact form names nothing: ERR_NOT_FOUND, and no path is built.
 *
 * A failed fsync is final (the kernel tells of lost pages once, and then calls them clean): the
 * upload is poisoned, its file is removed, every later call on it returns the same error, and its
 * content must be uploaded again. */
#pragma once

#include "base/err.h"
#include "loop/file.h"

enum { STORE_KEY_LEN = 32 };

struct store;

/* An upload's bytes while they are being received. One writer at a time. */
struct store_upload;

/* Opens or creates the store below `dir` (fsyncing what it creates). Keeps some 260 descriptors
 * open: every directory, so that an upload pays for none. */
NODISCARD enum err store_open(struct store **ret, str dir, struct arena *a, struct error *why);
/* NULL-safe. No upload may be open. */
void store_close(struct store *s);

/* Content is refused while the file system has less than this free, so that deletes and commits
 * always have room. 0 (at first): never. Before other threads use the store. */
void store_set_reserve(struct store *s, uint64_t reserve_bytes);
/* ERR_NO_SPACE below the reserve. Asked before content is taken; long uploads ask again as they
 * grow. */
NODISCARD enum err store_check_reserve(struct store *s);

/* Files that were opened to be served are kept open for STORE_KEPT_MS, then opened anew: a file
 * that somebody else removed or cut is noticed that late, and its space is free that late. One that
 * this store unlinks or moves away is let go of at once. At most files_max at a time, fewer while
 * the process is short of descriptors. 0 (at first): none. Before other threads use the store. */
enum { STORE_KEPT_MS = 10000 };
void store_keep_open(struct store *s, size_t files_max);
/* Closes those whose time is over; somebody must call it now and then. */
void store_close_kept(struct store *s);

/* The file system the store is on; zeroes when it does not say. Any thread. */
struct store_space {
    uint64_t size_bytes, free_bytes, reserve_bytes;
};
struct store_space store_space(const struct store *s);

/* OK, or why the last change to the store failed: nothing was made durable since. Any thread. */
enum err store_condition(struct store *s);
/* Tries to make a file durable and removes it again; the outcome is the condition, too. */
NODISCARD enum err store_probe(struct store *s);
/* What failed last, for the log: "fdatasync: Input/output error". Empty: nothing so far. */
str store_error_text(struct store *s, struct arena *a);
/* The same of blobs that could not be read: "open blobs/3f/3f...: Input/output error". */
str store_read_error_text(struct store *s, struct arena *a);

/* Opens the upload file `uuid`, creating it when `offset` is 0, and cuts it to `offset` bytes: what
 * lies behind was never acknowledged. ERR_NOT_FOUND when it is missing or shorter than offset. */
NODISCARD enum err store_upload_open(struct store *s, str uuid, uint64_t offset,
                                     struct store_upload **ret);
/* Closes without losing anything that was synced. NULL-safe. */
void store_upload_close(struct store_upload *u);
/* Closes, and gives back at once what the disk holds beyond the first `size_bytes`. NULL-safe. */
void store_upload_close_at(struct store_upload *u, uint64_t size_bytes);
/* Says how long the file will be, if all goes well: its blocks are then found in larger steps. At
 * most one step is taken in advance, and given back by the next sync or publish. */
void store_upload_expect(struct store_upload *u, uint64_t size_bytes);
/* Bytes in the file: the offset it was opened at and what was written since. */
uint64_t store_upload_size(const struct store_upload *u);
/* Writes at `offset`, at most store_upload_size. Starts writeback every few MiB so that the final
 * sync is short. After an error the bytes behind `offset` are undefined, those before are not. */
NODISCARD enum err store_upload_write(struct store_upload *u, uint64_t offset, str bytes);
/* Reads back (for hashing again after a restart, or with another algorithm). *got < n only at the
 * end of the file. Any number of threads. */
NODISCARD enum err store_upload_read(struct store_upload *u, uint64_t offset, void *p, size_t n,
                                     size_t *got);
/* Makes the first `size_bytes` durable: cuts, fdatasync, and the directory entry the first time.
 * ERR_SIZE_INVALID, and nothing done, when the file is shorter. */
NODISCARD enum err store_upload_sync(struct store_upload *u, uint64_t size_bytes);
/* Makes the bytes durable and gives them a second name, a fresh store key: cuts, fdatasync, link,
 * fsync of the directory. The upload keeps its own name, so that until the row that names the key
 * is committed a crash costs nothing of what was acknowledged; then it is to be discarded, and must
 * not be written to any more. ERR_SIZE_INVALID as above. */
NODISCARD enum err store_upload_publish(struct store_upload *u, uint64_t size_bytes,
                                        char key[STORE_KEY_LEN]);
/* Removes the upload's file, open or not. Missing is fine. */
NODISCARD enum err store_upload_discard(struct store *s, str uuid);

/* Size of an upload's file. ERR_NOT_FOUND when it is missing. */
NODISCARD enum err store_upload_stat(struct store *s, str uuid, uint64_t *size_bytes);

/* Opens a blob for reading, and reads its first byte. ERR_NOT_FOUND when there is no such file,
 * ERR_SIZE_INVALID when its size is not size_bytes; ERR_IO and others when it cannot be read, which
 * is counted. */
NODISCARD enum err store_blob_open(struct store *s, str key, uint64_t size_bytes,
                                   struct file **ret);
/* The same for who serves it: the file is kept open for the next who ask. */
NODISCARD enum err store_blob_open_kept(struct store *s, str key, uint64_t size_bytes,
                                        struct file **ret);
/* A reference to the file if it is kept open, else NULL. Never blocks: any thread. */
struct file *store_blob_find_kept(struct store *s, str key, uint64_t size_bytes);
/* Reads a whole small blob into `p`, which has room for size_bytes + 1. Errors as above. */
NODISCARD enum err store_blob_read(struct store *s, str key, uint64_t size_bytes, void *p);
/* Removes a blob's file. Missing is fine. */
NODISCARD enum err store_blob_unlink(struct store *s, str key);
/* Makes the removals so far from a directory of blobs (the first two digits of a key) durable. */
NODISCARD enum err store_shard_sync(struct store *s, unsigned shard);
/* Size of a blob's file, whatever it should be. ERR_NOT_FOUND when it is missing. */
NODISCARD enum err store_blob_stat(struct store *s, str key, uint64_t *size_bytes);
/* Moves a blob's file to DIR/quarantine, durably, for a person to look at. Missing is fine. */
NODISCARD enum err store_blob_quarantine(struct store *s, str key);

/* Files of the store, in no order, for who compares them with the database. */
struct store_entry {
    str name;       /* as it is, perhaps no key or uuid */
    bool is_proper; /* a regular file under a name of the right form, in the right place */
    uint64_t size_bytes;
    int64_t changed_us; /* last modification */
};
/* An error of fn ends the listing and is returned. fn may remove the entry. */
typedef enum err store_list_fn(void *arg, const struct store_entry *entry);
enum { STORE_SHARDS = 256 };
/* Those of DIR/blobs/xx; shard below STORE_SHARDS. */
NODISCARD enum err store_list_blobs(struct store *s, unsigned shard, store_list_fn *fn, void *arg);
NODISCARD enum err store_list_uploads(struct store *s, store_list_fn *fn, void *arg);
/* Those of DIR itself, directories too; proper are regular files. */
NODISCARD enum err store_list_dir(struct store *s, store_list_fn *fn, void *arg);
/* Removes a regular file of DIR itself. */
NODISCARD enum err store_dir_unlink(struct store *s, str name);
/* Writes a file of this name to DIR/quarantine, durably. */
NODISCARD enum err store_quarantine_write(struct store *s, const char *name, str bytes);

/* The hold. Who reads blob files by a snapshot of the database (a backup) holds them: he takes the
 * hold, then the snapshot, and until he closes *fd no file that the snapshot names is unlinked. Who
 * unlinks files of blobs that have a row takes the other side first, for one batch at a time, and
 * comes back later when that is ERR_BUSY. Both sides are locks of the kernel on DIR/hold: they work
 * between processes and end with them. */
/* Waits for a batch that is under way. `dir` is the store's; no store need be open. */
NODISCARD enum err store_hold(str dir, struct arena *a, int *fd, struct error *why);
/* ERR_BUSY while anybody holds. */
NODISCARD enum err store_hold_exclude(struct store *s, int *fd);

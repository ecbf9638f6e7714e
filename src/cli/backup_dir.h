/* A backup: what "berth backup" writes and "berth restore" reads.
 *
 *     backup.json          written last, by rename: names the database that counts
 *     database-ID/berth.db snapshot of the database
 *     blobs/xx/KEY         files of the blobs it names, as in a data directory
 *     backup.lock          held while a backup is being made
 *
 * Between two backups there are files of both; only backup.json says which one is complete, and it
 * is replaced when all it needs is on the disk. Blocks. */
#pragma once

#include "cli/copy.h"
#include "db/db.h"

enum { BACKUP_FORMAT = 1 };

struct backup_mark {
    str database; /* folder's name */
    str digest;   /* of its berth.db, text */
    str created;  /* RFC 3339 */
    uint64_t blobs, bytes;
};

/* ERR_NOT_FOUND when there is no complete backup. */
NODISCARD enum err backup_mark_read(str dir, struct arena *a, struct backup_mark *ret,
                                    struct error *why);
/* Durable and all at once. */
NODISCARD enum err backup_mark_write(str dir, const struct backup_mark *mark, struct arena *a,
                                     struct error *why);

/* Digest of a file's bytes. */
NODISCARD enum err backup_hash(str path, struct arena *a, struct digest *ret, struct error *why);
NODISCARD enum err backup_sync_dir(str path, struct arena *a, struct error *why);
/* Makes one directory, 0700; an existing one is fine. */
NODISCARD enum err backup_make_dir(str path, struct arena *a, struct error *why);
/* Error with errno and a path. */
enum err backup_fail(struct arena *a, struct error *why, const char *verb, str path);

/* Every blob the database names, copied from the folder `from` to `to` (both hold xx/KEY; those of
 * `to` are made). What is missing or wrong is told to `lost` and passed over, unless nobody links
 * it; other errors end the work. Directories are synced. */
struct backup_blobs {
    struct db_conn *conn;
    str from, to;
    struct copy copy;
    void (*lost)(void *arg, str blob, str file, enum err why);
    void *arg;
    uint64_t blobs, bytes, lost_n; /* results */
};
NODISCARD enum err backup_copy_blobs(struct backup_blobs *b, struct arena *a, struct error *why);

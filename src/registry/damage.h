/* Damaged blobs: finding them and taking them out of service. Blocks. */
#pragma once

#include "registry/blob.h"

/* Called before each piece that is read, with its size and that of the blob; anything but OK ends
 * the reading and is returned. */
typedef enum err blob_pace_fn(void *arg, uint64_t bytes);

/* Reads a blob's file and compares it with size and digest, a MiB at a time, without pushing other
 * files out of the page cache. What seems wrong is read once more from the disk.
 * ERR_NOT_FOUND: no file; ERR_SIZE_INVALID: another size; ERR_DIGEST_INVALID: other bytes; ERR_IO:
 * unreadable. Other errors say nothing about the blob. `pace` may be NULL. */
NODISCARD enum err blob_verify(struct store *store, str key, uint64_t size_bytes,
                               const struct digest *digest, blob_pace_fn *pace, void *arg);
/* Whether an error of blob_verify condemns the blob. */
bool blob_verify_condemns(enum err e);

/* Marks the blob, if it still has this file, and moves the file to quarantine. From then on reads
 * and mounts answer as if it was not there, and a push of the content repairs it. *marked false:
 * the row is gone or has another file by now, or is marked already. true with an error: marked, but
 * the file could not be moved. */
NODISCARD enum err blob_quarantine(struct db *db, struct store *store, int64_t blob, str key,
                                   bool *marked);

/* How many blobs are marked; also to be seen as a metric from then on. */
NODISCARD enum err blob_damaged_count(struct db_conn *conn, uint64_t *ret);

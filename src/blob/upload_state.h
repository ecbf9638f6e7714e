/* Live uploads: what stays in memory between the requests of one upload (PATCH, PATCH, ..., PUT).
 *
 * An upload's truth is its database row (the acknowledged offset) and its file. This table adds
 * two things: exclusivity, one request at a time per upload; and, as a cache of bounded size, the
 * open file and the running hash, so that the next request goes on where the last one stopped. An
 * upload that fell out of the cache, or was left by an earlier process, is opened and hashed again
 * by upload_resume; nothing acknowledged is ever lost.
 *
 * A request goes
 *
 *     UPLOAD_CLEANUP struct upload *u = NULL;
 *     if ((e = upload_checkout(table, uuid, &u)))              busy: another request holds it
 *         return e;
 *     read the row                                             only now: it cannot move any more
 *     if ((e = upload_resume(u, row.offset, row.algorithm)))   file and hash stand at the offset
 *         return e;
 *     upload_sink_new(..., u, ...)                             blob/upload_sink.h
 *
 * and at the end of the body, when `total` bytes are there, either
 *
 *     upload_sync(u, total); update the row; upload_checkin(u, true);
 *
 * or, to finish,
 *
 *     upload_digest(u, total, algorithm, &d); compare; upload_publish(u, total, key);
 *     insert blob and link, delete the row; upload_discard(u); upload_checkin(u, false);
 *
 * The table's functions may be called from any thread. A checked-out upload belongs to one request,
 * and to one thread at a time; its sink works on its behalf. */
#pragma once

#include "base/hex.h"
#include "blob/digest.h"
#include "blob/store.h"

struct upload_table;

struct upload {
    struct store_upload *file; /* NULL before upload_resume and after upload_discard */
    struct hasher *hasher;     /* likewise NULL before upload_resume */
    uint64_t offset;           /* bytes known durable: resumed at, or synced since */
    uint64_t hashed;           /* bytes the hasher has seen */
    /* upload_state.c only */
    struct upload_table *table;
    struct upload *newer, *older; /* the idle ones, by time of checkin; the table's lock */
    bool held;                    /* by a request; the table's lock */
    bool broken;                  /* a call on the file failed: not kept; the holder's */
    char uuid[UUID_LEN];
};

/* At most `idle_max` uploads are kept between requests; the longest unused is dropped first. */
struct upload_table *upload_table_new(struct store *s, unsigned idle_max);
/* NULL-safe. No upload may be checked out. */
void upload_table_free(struct upload_table *t);

/* ERR_BLOB_UPLOAD_BUSY when another request holds the upload; ERR_BLOB_UPLOAD_UNKNOWN when `uuid`
 * is not one. Knows nothing of rows and files: any uuid can be checked out. */
NODISCARD enum err upload_checkout(struct upload_table *t, str uuid, struct upload **ret);
/* Gives the upload back. With `keep`, and unless a call on it failed, its file and hash stay in
 * memory for the next request. Else the disk gets back what lies behind `offset`. NULL-safe. */
void upload_checkin(struct upload *u, bool keep);

/* Takes file and hash to `offset`, as acknowledged in the row; reads the file only as far as the
 * running hash does not reach. ERR_BLOB_UPLOAD_UNKNOWN when the file is gone or too short: the
 * upload has to start again. `alg` is a known algorithm. */
NODISCARD enum err upload_resume(struct upload *u, uint64_t offset, enum digest_algorithm alg);
/* Makes the first `size_bytes` durable: they may be acknowledged. */
NODISCARD enum err upload_sync(struct upload *u, uint64_t size_bytes);
/* Digest of the first `size_bytes`: from the running hash when it stands there and is of `alg`,
 * else by reading the file. */
NODISCARD enum err upload_digest(struct upload *u, uint64_t size_bytes, enum digest_algorithm alg,
                                 struct digest *ret);
/* store_upload_publish. When the row that names the key is committed: discard and check in. */
NODISCARD enum err upload_publish(struct upload *u, uint64_t size_bytes, char key[STORE_KEY_LEN]);
/* Removes the file of a cancelled or expired upload. Check it in afterwards. */
NODISCARD enum err upload_discard(struct upload *u);

/* Feeds bytes from..to of the file to the hasher, 256 KiB at a time. ERR_IO when the file ends
 * before `to`; the hasher is then of no more use. */
NODISCARD enum err upload_rehash(struct store_upload *file, struct hasher *h, uint64_t from,
                                 uint64_t to);

static inline void upload_cleanup(struct upload **u)
{
    upload_checkin(*u, false);
}
/* For the way out by an error; set the variable to NULL when the upload was handed on. */
#define UPLOAD_CLEANUP __attribute__((cleanup(upload_cleanup)))

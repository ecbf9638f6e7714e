/* Blobs as a registry sees them: rows that say which bytes exist, and links that say in which
 * repository they may be read. The bytes themselves are blob/store.h's. */
#pragma once

#include "blob/store.h"
#include "registry/repository.h"

struct blob {
    int64_t id;
    uint64_t size_bytes;
    char store_key[STORE_KEY_LEN];
    bool damaged;        /* only blob_find finds such: the content must be pushed again */
    int64_t review_from; /* of the link it was found by (registry/review.h) */
};

/* The blob as linked in that repository. ERR_BLOB_UNKNOWN when the repository, the blob or the link
 * is missing: all look alike from outside. */
NODISCARD enum err blob_find_linked(struct db_conn *conn, str full_name,
                                    const struct digest *digest, struct blob *ret);

/* The blob anywhere. For deduplication only: existence must not leak from here. */
NODISCARD enum err blob_find(struct db_conn *conn, const struct digest *digest, struct blob *ret);

/* Opens the bytes. ERR_BLOB_UNKNOWN when the file is gone or cut: that looks like a blob that was
 * never pushed, so that the next push repairs it. ERR_BLOB_UNREADABLE when it is there and the disk
 * does not give it, now at least: whoever was told that there is none would believe it. */
NODISCARD enum err blob_open(struct store *store, const struct blob *blob, struct file **ret);

/* The same for who serves it: ERR_WOULD_BLOCK on a reactor when the file is not open already. */
NODISCARD enum err blob_serve(struct store *store, const struct db_conn *conn,
                              const struct blob *blob, struct file **ret);

/* Reads all bytes of a small blob into the arena. Errors as above. */
NODISCARD enum err blob_load(struct store *store, const struct blob *blob, struct arena *a,
                             str *ret);

/* Writer: links a blob into a repository and moves the totals. Linking twice is fine. */
NODISCARD enum err blob_link(struct db_conn *conn, const struct repository *repository,
                             const struct blob *blob, int64_t now_us);

/* Writer: makes the row for bytes published under `store_key`. When the digest has a row already,
 * that one is returned (*adopted false) and the caller unlinks its own file afterwards. */
NODISCARD enum err blob_adopt(struct db_conn *conn, const struct digest *digest,
                              uint64_t size_bytes, str store_key, int64_t now_us, struct blob *ret,
                              bool *adopted);

/* Writer: removes the link. ERR_BLOB_IN_USE while a manifest of the repository names the blob. */
NODISCARD enum err blob_unlink(struct db_conn *conn, const struct repository *repository,
                               const struct digest *digest, int64_t now_us);

/* Writer: what follows when a link has been removed: the totals move, and a blob that is linked
 * nowhere any more is reviewed. Of `blob`, id and size_bytes count. */
NODISCARD enum err blob_unlinked(struct db_conn *conn, const struct repository *repository,
                                 const struct blob *blob, int64_t review_from);

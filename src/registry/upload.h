/* Blob uploads and how they end: as a blob linked in a repository. The bytes in motion are
 * blob/upload_state.h's; here are the rows. */
#pragma once

#include "base/hex.h"
#include "registry/blob.h"
#include "registry/registry.h"

struct upload_row {
    enum digest_algorithm algorithm; /* computed while receiving */
    uint64_t offset_bytes;           /* acknowledged */
};

/* Who may go on with an upload, and where. */
struct upload_owner {
    str full_name, principal;
};

/* The upload, if it is this owner's. ERR_BLOB_UPLOAD_UNKNOWN otherwise. Not to be called in a
 * snapshot (db.h): one that got its row meanwhile would be missed. */
NODISCARD enum err upload_find(struct registry *registry, struct db_conn *conn, str uuid,
                               const struct upload_owner *owner, struct upload_row *ret);

/* Begins an upload and draws its uuid. Nothing is written down yet (registry/upload_begun.h), and
 * nothing blocks. ERR_TOO_MANY_REQUESTS when uploads_max are open. */
NODISCARD enum err upload_create(struct registry *registry, const struct upload_owner *owner,
                                 enum digest_algorithm algorithm, char uuid[UUID_LEN]);

/* Records a new acknowledged offset; the bytes were synced. Makes the row when there was nothing
 * before. The upload is checked out. Blocks until durable. */
NODISCARD enum err upload_advance(struct registry *registry, str uuid,
                                  const struct upload_owner *owner, uint64_t offset_bytes);

/* Ends the upload without a result. Missing is fine. It is checked out. Blocks until durable. */
NODISCARD enum err upload_delete(struct registry *registry, str uuid);

/* Writes down the uploads that were begun, so that they are there after a restart. At the end of
 * the program, when no requests run any more. */
NODISCARD enum err upload_keep_begun(struct registry *registry);

/* The end of an upload: `size_bytes` received and hashed to `digest`. */
struct upload_commit {
    const struct name *name;
    struct digest digest;
    uint64_t size_bytes;
    struct maker maker;
};
/* This is where a blob becomes durable: bytes synced, linked into place, directory synced; then
 * row, link and the upload's end in one transaction. Content that is stored already is linked, and
 * the received file removed; content whose stored file is gone or damaged is replaced. Blocks. On
 * success the upload is over; check it in. */
NODISCARD enum err upload_finish(struct registry *registry, struct db_conn *conn,
                                 struct upload *upload, const struct upload_commit *commit);

/* Links a blob of another repository, which the principal may pull. ERR_BLOB_UNKNOWN when it is
 * not linked there. Blocks until durable. */
NODISCARD enum err blob_mount(struct registry *registry, const struct name *from,
                              const struct name *to, const struct digest *digest,
                              const struct maker *maker);

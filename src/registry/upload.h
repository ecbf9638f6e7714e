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

/* The upload, if it is this principal's in this repository. ERR_BLOB_UPLOAD_UNKNOWN otherwise. */
NODISCARD enum err upload_find(struct db_conn *conn, str uuid, str full_name, str principal,
                               struct upload_row *ret);

/* Makes the row of a new upload and draws its uuid. ERR_TOO_MANY_REQUESTS when uploads_max are
 * open. Blocks until durable. */
NODISCARD enum err upload_create(struct registry *registry, str full_name, str principal,
                                 enum digest_algorithm algorithm, char uuid[UUID_LEN]);

/* Records a new acknowledged offset; the bytes were synced. Blocks until durable. */
NODISCARD enum err upload_advance(struct registry *registry, str uuid, uint64_t offset_bytes);

/* Removes the row. Missing is fine. Blocks until durable. */
NODISCARD enum err upload_delete(struct registry *registry, str uuid);

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

/* The sink of a blob upload: writes and hashes a request's body as it arrives.
 *
 * Writing goes on one strand, in the order of arrival; hashing follows on a second one, so that a
 * fast stream keeps two workers busy. Each buffer's hashing is queued as its writing begins, so the
 * hash sees the bytes in order and is never ahead by more than one buffer. A small buffer with
 * nothing queued before it is hashed right after it was written, which saves a hand-over.
 *
 * The first error (write failed, no space, too many bytes) is remembered; later buffers are dropped
 * and `abort` is told. */
#pragma once

#include "blob/upload_state.h"
#include "http/body.h"

/* Both run on a worker and take the upload over: whatever happens, they check it in.
 * `total_bytes` is the blob's size so far: the upload's offset and what was written of this body.
 *
 * finish: the body arrived whole and was written and hashed.
 * abort: it was not; the first `total_bytes` are good and may be kept. `why` is the sink's own
 * error, ERR_SIZE_INVALID for a body of another length than announced, or ERR_CLOSED when the
 * sender is to blame. `res` may be NULL. */
typedef enum err upload_finish_fn(void *arg, struct request *req, struct response *res,
                                  uint64_t total_bytes);
typedef enum err upload_abort_fn(void *arg, struct request *req, struct response *res,
                                 uint64_t total_bytes, enum err why);

struct upload_sink_options {
    struct pool *pool;
    struct upload *upload; /* resumed: the body is written at its offset */
    bool no_hash;          /* leave the hasher alone (the digest is taken from the file later) */
    uint64_t size_max;     /* of the whole blob, in bytes */
    uint64_t body_bytes;   /* expected length of this body, or BODY_UNKNOWN */
    upload_finish_fn *finish;
    upload_abort_fn *abort;
    void *arg;
};

/* For response.sink. From success on, the upload belongs to the sink until finish or abort is
 * called. ERR_BODY_TOO_LARGE when offset and body_bytes are over size_max. */
NODISCARD enum err upload_sink_new(const struct upload_sink_options *options, struct sink **ret);

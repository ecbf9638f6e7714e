/* Review and lease: how long content that nothing uses is kept for those who may be about to use
 * it.
 *
 * A row's review_from is the last time somebody showed that he may want it; collection may remove
 * it review_delay_ms later. Who asks whether content is there, and may push, will count on the
 * answer: HEAD 200 now, and a manifest that names it minutes later. So such an answer is a lease.
 *
 * A lease is recorded only when the last sign is older than a sixteenth of the delay, and
 * collection waits for that much longer: an asker has the whole delay from every answer, and a blob
 * that is asked for a thousand times a second costs one small transaction in ninety minutes. What
 * is in use has no review_from, and costs none: its review begins when the use ends.
 *
 *   no record: collection waits until review_from + slack + delay > answer + delay
 *   a record:  review_from is the answer's time, before the answer is given */
#pragma once

#include "registry/blob.h"
#include "registry/registry.h"

enum { REVIEW_NEVER = 0 }; /* in use: not under review */

static inline int64_t review_slack_us(uint64_t delay_ms)
{
    return (int64_t)delay_ms * 1000 / 16;
}

/* Rows whose review_from is at most this may be collected. */
static inline int64_t review_cutoff_us(uint64_t delay_ms, int64_t now_us)
{
    return now_us - (int64_t)delay_ms * 1000 - review_slack_us(delay_ms);
}

/* Whether an answer of now, about a row found with this review_from, must be recorded. */
static inline bool review_must_lease(int64_t review_from, uint64_t delay_ms, int64_t now_us)
{
    return review_from != REVIEW_NEVER && review_from <= now_us - review_slack_us(delay_ms);
}

/* Records that the blob of this repository was answered for. Blocks until durable; then it may be.
 * ERR_BLOB_UNKNOWN when it was collected meanwhile. */
NODISCARD enum err blob_lease(struct registry *registry, str full_name,
                              const struct digest *digest);
/* The same for a manifest. ERR_MANIFEST_UNKNOWN. */
NODISCARD enum err manifest_lease(struct registry *registry, str full_name,
                                  const struct digest *digest);

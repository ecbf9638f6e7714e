/* Tags: named pointers to digests, kept as lifetime rows, so that what a tag was is never lost by
 * what it becomes. */
#pragma once

#include "registry/repository.h"

/* What the tag points at now. ERR_MANIFEST_UNKNOWN when there is none. */
NODISCARD enum err tag_get(struct db_conn *conn, const struct repository *repository, str name,
                           struct digest *ret);

/* Writer: points the tag at the digest from now on. The lifetime that ends is closed; pointing it
 * where it points already changes nothing. Lifetimes of a tag follow each other: when the clock was
 * set back, one begins when the one before it ended. The oldest beyond maker->tag_history_max are
 * forgotten. */
NODISCARD enum err tag_set(struct db_conn *conn, const struct repository *repository, str name,
                           const struct digest *digest, const struct maker *maker);

/* Writer: ends the tag's lifetime; its manifest stays. ERR_MANIFEST_UNKNOWN when there is none. */
NODISCARD enum err tag_end(struct db_conn *conn, const struct repository *repository, str name,
                           str by, int64_t now_us);

/* Writer: ends every tag that points at the digest now. */
NODISCARD enum err tag_end_by_digest(struct db_conn *conn, const struct repository *repository,
                                     const struct digest *digest, str by, int64_t now_us);

/* Up to `limit` tag names in byte order, after `last` (exclusive, need not exist). Strings in the
 * arena. *n is limit when there may be more. */
NODISCARD enum err tag_list(struct db_conn *conn, const struct repository *repository, str last,
                            size_t limit, struct arena *a, str **names, size_t *n);

enum { TAG_NEAR_MAX = 3 };
/* The up to TAG_NEAR_MAX existing tags most like `name`, for a message to who may see them. Looks
 * at a bounded number of tags. */
NODISCARD enum err tag_near(struct db_conn *conn, const struct repository *repository, str name,
                            struct arena *a, str near[TAG_NEAR_MAX], size_t *n);

/* Referrers: which manifests of a repository are about a digest (OCI distribution specification,
 * "Listing Referrers"). Kept beside the manifests, whether their subject exists or not. */
#pragma once

#include "registry/manifest_parse.h"
#include "registry/repository.h"
#include "json/write.h"

/* Writer: for a manifest with a subject that was linked. Doing it twice is fine. */
NODISCARD enum err referrer_add(struct db_conn *conn, const struct repository *repository,
                                const struct manifest *manifest, const struct digest *digest,
                                int64_t body);
/* Writer: for a manifest that was unlinked. */
NODISCARD enum err referrer_remove(struct db_conn *conn, const struct repository *repository,
                                   const struct digest *digest, int64_t body);

/* One page: at most `limit` descriptors, behind `last` in the order of digests. */
struct referrer_page {
    const struct digest *subject;
    str artifact_type;  /* p == NULL: all */
    struct digest last; /* n == 0: from the beginning */
    size_t limit;
    size_t bytes_max; /* of the text; a page ends early rather than grow past it */
};

/* Writes the descriptors as elements of the open array; *more tells whether others follow, and
 * page->last is the last one written. */
NODISCARD enum err referrer_list(struct db_conn *conn, const struct repository *repository,
                                 struct referrer_page *page, struct arena *a, struct json_writer *w,
                                 bool *more);

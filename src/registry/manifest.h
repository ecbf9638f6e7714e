/* Manifests: stored byte for byte, one body per digest, linked into repositories. */
#pragma once

#include "registry/fact.h"
#include "registry/manifest_parse.h"
#include "registry/repository.h"

struct manifest_view {
    struct digest digest; /* as asked for, or as the tag was made with */
    str media_type;
    uint64_t size_bytes;
    str bytes;           /* p == NULL when not asked for */
    int64_t review_from; /* found by digest: as in registry/review.h */
    int64_t body;
};

/* The manifest a reference names in that repository; strings in the arena. ERR_MANIFEST_UNKNOWN
 * when repository, tag, manifest or link is missing. */
NODISCARD enum err manifest_get(struct db_conn *conn, str full_name,
                                const struct reference *reference, bool with_bytes, struct arena *a,
                                struct manifest_view *ret);

/* Asked inside the transaction. `current` is what the tag (or, without a tag, the digest itself)
 * names now, NULL when that is nothing. False: ERR_PRECONDITION_FAILED. */
typedef bool manifest_condition_fn(void *arg, const struct digest *current);

/* One manifest to store. */
struct manifest_put {
    const struct name *name;
    const struct manifest *manifest;
    struct digest digest;
    str bytes;
    const struct facts *facts;
    bool sparse;     /* references may be missing */
    const str *tags; /* all are pointed at it, or none */
    size_t tag_n;
    struct maker maker;
    manifest_condition_fn *condition; /* NULL: none. Only with at most one tag */
    void *condition_arg;
    /* Result of a refusal: which of manifest->refs are missing, one flag each. The caller makes the
     * array; what is in it counts only after ERR_MANIFEST_BLOB_UNKNOWN. */
    bool *missing;
    /* Result of a refusal: index of a reference whose size is not the content's, or -1. */
    int64_t wrong_size;
};

/* db_tx_fn; arg is a struct manifest_put. Checks every reference against what is linked in this
 * repository, then stores body and link and moves the tag: all or nothing.
 * ERR_MANIFEST_BLOB_UNKNOWN, ERR_MANIFEST_INVALID (wrong_size), ERR_PRECONDITION_FAILED. */
NODISCARD enum err manifest_put_tx(struct db_conn *conn, void *arg);

/* One manifest or tag to delete. */
struct manifest_delete {
    const struct name *name;
    const struct reference *reference;
    str by;
    int64_t now_us;
    manifest_condition_fn *condition; /* NULL: none. Not asked about what does not exist */
    void *condition_arg;
};

/* db_tx_fn; arg is a struct manifest_delete. A tag: only the pointer goes. A digest: the link and
 * every tag that points at it. ERR_NAME_UNKNOWN, ERR_MANIFEST_UNKNOWN, ERR_PRECONDITION_FAILED. */
NODISCARD enum err manifest_delete_tx(struct db_conn *conn, void *arg);

/* A manifest whose link was removed. */
struct manifest_gone {
    struct digest digest;
    int64_t body;
    uint64_t size_bytes;
    str by;
    int64_t now_us;
    int64_t review_from; /* for what it named */
};

/* Writer: what follows when a link has been removed: its tags end, its entry among the referrers
 * goes, the totals move, and all that it kept alive is reviewed. */
NODISCARD enum err manifest_unlinked(struct db_conn *conn, const struct repository *repository,
                                     const struct manifest_gone *gone);

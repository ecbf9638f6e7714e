/* Garbage collection: removes what nothing uses any more, while pushes and pulls go on
 * (docs/gc.md).
 *
 * What may have become garbage is marked when it happens (registry/review.h); a run looks at what
 * is due and at nothing else, a chunk at a time. Each chunk is judged by reads, and what is to go
 * is judged again inside the transaction that removes it, so no push is overtaken. A run may be
 * killed at any point: the next one goes on there. */
#pragma once

#include "registry/registry.h"

/* X(name, noun in the log and in JSON, help) */
#define GC_REPORT_TABLE(X)                                               \
    X(blobs, "blobs removed")                                            \
    X(blob_bytes, "their bytes")                                         \
    X(links, "links of blobs that no manifest of the repository uses")   \
    X(manifests, "manifests without a tag, where gc.untagged says so")   \
    X(bodies, "texts of manifests that no repository has any more")      \
    X(uploads, "uploads that were abandoned")                            \
    X(stray_uploads, "files of uploads that nobody knows")               \
    X(tag_lifetimes, "entries of tags' histories beyond tags.history")   \
    X(files, "files of removed blobs unlinked")                          \
    X(files_left, "such files that stay for now: a backup is under way") \
    X(files_failed, "such files that could not be unlinked")             \
    X(reviewed, "rows looked at")                                        \
    X(elapsed_us, "duration")

struct gc_report {
#define X(name, help) uint64_t name;
    GC_REPORT_TABLE(X)
#undef X
};

/* What runs work with. */
struct gc {
    struct registry *registry; /* `uploads` may be NULL: no server runs */
    struct db_conn *reader;    /* the running thread's */
    uint64_t uploads_expire_ms;
    uint64_t tags_history_max; /* 0: no bound */
    const str *untagged;       /* patterns of gc.untagged */
    size_t untagged_n;
    uint64_t rate;           /* rows and files a second; 0: no bound */
    const atomic_bool *stop; /* true: end soon; NULL: never */
};

struct gc_ask {
    bool now;     /* all that is under review is due */
    bool dry_run; /* only report: what is due now. What removing manifests would free in turn is
                     not in it. */
    bool sweep;   /* also look for what an option that was changed has made garbage */
};

/* One run. Blocks, as long as it takes; one at a time per database. On failure, too, *report tells
 * what was done. ERR_SHUTTING_DOWN when stopped. */
NODISCARD enum err gc_run(const struct gc *gc, const struct gc_ask *ask, struct gc_report *report);
/* Sets the metrics that tell how much is under review or damaged. The reader's thread. */
NODISCARD enum err gc_count(const struct gc *gc);

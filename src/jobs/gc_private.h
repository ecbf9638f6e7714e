/* Inside of collection, for jobs/gc_*.c and their tests. */
#pragma once

#include "jobs/gc.h"

/* Where a run can be stopped by a test, which then does what a client might do just there.
 * X(name, when) */
#define GC_POINT_TABLE(X)                                                         \
    X(START, "nothing was done yet")                                              \
    X(UPLOADS_LISTED, "uploads were found to be abandoned")                       \
    X(UPLOAD_HELD, "one was taken, its row is there")                             \
    X(UPLOAD_EXPIRED, "its row is gone, its file is there")                       \
    X(MANIFESTS_JUDGED, "manifests were found to be garbage")                     \
    X(MANIFESTS_REMOVED, "their links are gone")                                  \
    X(LINKS_JUDGED, "links were found to be garbage")                             \
    X(LINKS_REMOVED, "they are gone")                                             \
    X(BODIES_JUDGED, "bodies were found to be garbage")                           \
    X(BODIES_REMOVED, "they are gone")                                            \
    X(BLOBS_JUDGED, "blobs were found to be garbage")                             \
    X(BLOBS_REMOVED, "they are dead: their rows are gone, their files are there") \
    X(FILES_LISTED, "the files of dead blobs are about to be unlinked")           \
    X(FILES_UNLINKED, "they are gone, what told of them is there")                \
    X(FILES_DROPPED, "that is gone, too")

enum gc_point {
#define X(name, when) GC_##name,
    GC_POINT_TABLE(X)
#undef X
        GC_POINT_COUNT
};

/* Called on the running thread, outside of any transaction. False: the run ends there, as if the
 * process had been killed. */
typedef bool gc_point_fn(void *arg, enum gc_point point);

enum { GC_CHUNK_ROWS = 1000, GC_CHUNK_US = 5000, GC_JUDGE_US = 100000 };

/* A row under review: which, and its review_from when it was read. */
struct gc_due {
    int64_t a, b;
    int64_t review_from;
    bool live; /* verdict */
};

struct gc_run {
    const struct gc *gc;
    const struct gc_ask *ask;
    struct gc_report *report;
    gc_point_fn *point; /* NULL: none */
    void *point_arg;
    int64_t now_us;      /* when it began */
    int64_t cutoff_us;   /* due: what is under review since then, or longer */
    int64_t requeued_us; /* review_from of what becomes unused by this run */
    struct gc_due due[GC_CHUNK_ROWS];
};

/* gc_run with points. */
NODISCARD enum err gc_run_with(const struct gc *gc, const struct gc_ask *ask, gc_point_fn *point,
                               void *point_arg, struct gc_report *report);

/* ERR_SHUTTING_DOWN when the run shall end; tests act here. */
NODISCARD enum err gc_at(struct gc_run *run, enum gc_point point);
/* Sleeps so that `handled` rows since `start_us` (monotonic) stay within the rate. */
NODISCARD enum err gc_pace(struct gc_run *run, uint64_t start_us, uint64_t handled);

/* Manifests, links, bodies and blobs that are due. */
NODISCARD enum err gc_collect_due(struct gc_run *run);
/* Files of dead blobs. */
NODISCARD enum err gc_unlink_dead(struct gc_run *run);
NODISCARD enum err gc_expire_uploads(struct gc_run *run);
/* Manifests without a tag where gc.untagged covers them, that are not under review. */
NODISCARD enum err gc_sweep_untagged(struct gc_run *run);
/* Entries beyond tags.history. */
NODISCARD enum err gc_sweep_history(struct gc_run *run);

/* Whether gc.untagged covers the repository. */
bool gc_covers(const struct gc *gc, str full_name);
/* Whether a tag leads to the manifest: directly, or to an index that names it, or to its subject,
 * or through several of those; or one of those is under review since later than cutoff_us, so that
 * it stays itself. Looks at a bounded number of manifests; when that is not enough, it is live. */
NODISCARD enum err gc_manifest_live(struct db_conn *conn, int64_t repository, int64_t body,
                                    int64_t cutoff_us, bool *live);

/* Inside of the consistency checks: check.c runs the parts, each part is one file of them. */
#pragma once

#include "registry/check.h"
#include "registry/manifest_parse.h"

enum { CHECK_CHUNK = 256 }; /* rows read at a time */

static inline struct db_conn *check_conn(struct check *c)
{
    return db_reader(c->db, 0);
}

/* Counts and reports. `where` and the formatted detail live until report returns. */
void check_found(struct check *c, enum finding_kind kind, enum finding_outcome outcome, str where,
                 const char *fmt, ...) PRINTF(5, 6);
/* The outcome of something that --repair repairs. */
static inline enum finding_outcome check_repaired(const struct check *c)
{
    return c->repair ? FINDING_REPAIRED : FINDING_LEFT;
}
static inline enum finding_outcome check_contained(const struct check *c)
{
    return c->repair ? FINDING_CONTAINED : FINDING_LEFT;
}
void check_progress(struct check *c, const char *phase, uint64_t done, uint64_t total);

/* One statement in a transaction of its own. */
NODISCARD enum err check_exec_values(struct check *c, enum query q, int64_t *changes,
                                     const struct db_value *values, size_t n);
#define check_exec(c, q, ...)                                                 \
    check_exec_values((c), (q), NULL, (const struct db_value[]){__VA_ARGS__}, \
                      sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value))

/* First two columns of a statement with one row and no parameters. */
NODISCARD enum err check_count(struct check *c, enum query q, uint64_t *first, uint64_t *second);

NODISCARD enum err check_blobs(struct check *c);
NODISCARD enum err check_files(struct check *c);
NODISCARD enum err check_uploads(struct check *c);
NODISCARD enum err check_manifests(struct check *c);
NODISCARD enum err check_referrers(struct check *c);
NODISCARD enum err check_tags(struct check *c);
NODISCARD enum err check_project_blobs(struct check *c);
NODISCARD enum err check_totals(struct check *c);
NODISCARD enum err check_forgotten(struct check *c);

/* One body and what parsing it gave. */
struct check_body {
    struct check *check;
    struct arena *arena;
    int64_t id;
    struct digest digest;
    str media_type, artifact_type, subject, annotations; /* as noted; p == NULL: not */
    uint64_t size_bytes;
    str bytes;
    struct manifest manifest;
};

str check_manifest_where(const struct check_body *b);
NODISCARD enum err check_facts(struct check_body *b);

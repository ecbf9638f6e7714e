/* Consistency: whether database, blob store and manifests agree. For "berth fsck".
 *
 * The caller has the store to himself (DIR/lock). Memory is bounded: rows are read in chunks by
 * key, and each finding is told as it is found. A repair is one transaction each; none removes
 * content that a repository links. Blocks, long. */
#pragma once

#include "blob/store.h"
#include "db/db.h"

enum finding_kind {
#define FINDING(name, word, severity, meaning, repair) FINDING_##name,
#include "registry/check.def"
#undef FINDING
    FINDING_KINDS
};

enum finding_severity { FINDING_NOTE, FINDING_ERROR };

const char *finding_word(enum finding_kind k);
enum finding_severity finding_severity(enum finding_kind k);
/* What it means, a clause without a full stop. */
const char *finding_meaning(enum finding_kind k);
/* What --repair does about it; "" when nothing. */
const char *finding_repair(enum finding_kind k);

/* What a run did about a finding. Contained: it can do no more harm, but content is still missing.
 */
enum finding_outcome { FINDING_LEFT, FINDING_CONTAINED, FINDING_REPAIRED };

struct finding {
    enum finding_kind kind;
    enum finding_outcome outcome;
    str where;  /* "blob sha256:...", "team/app:1.0", a path below DIR */
    str detail; /* numbers and names; may be empty */
};

struct check {
    struct db *db; /* reader 0 is used */
    struct store *store;
    bool quick;        /* sizes of blobs, not their bytes */
    bool repair;       /* what can be */
    const str *sparse; /* patterns (name_matches) of repositories that may lack content */
    size_t sparse_n;
    void (*report)(void *arg, const struct finding *f);
    /* Now and then, with a phase's name and how far it is; `total` 0: unknown. NULL: not wanted. */
    void (*progress)(void *arg, const char *phase, uint64_t done, uint64_t total);
    void *arg;
    /* Results. */
    uint64_t blobs, blob_bytes, manifests, tags, repositories, uploads;
    uint64_t errors, notes; /* those not repaired */
    uint64_t repaired;
    bool cut_short; /* the database is damaged: nothing but its file was checked */
};

/* ERR_DB..., ERR_IO: it could not be checked to the end; `why` tells more. Findings are no error.
 */
NODISCARD enum err check_run(struct check *c, struct arena *a, struct error *why);

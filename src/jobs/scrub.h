/* The scrub: reads every blob again, slowly, and compares it with its digest. A blob that rotted is
 * taken out of service and logged as an error (registry/damage.h), so that a bad copy is never
 * served for long, and the next push of the content repairs it.
 *
 * A pass goes over all blobs in the order of their rows. How far it has come is a row of the
 * database, so a restart goes on there. */
#pragma once

#include "blob/store.h"
#include "db/db.h"

struct scrub;

struct scrub_config {
    struct db *db;
    struct db_conn *reader; /* the pass's own from now on */
    struct store *store;
    uint64_t rate_bytes;  /* read in a second at most, files under 64 KiB counting so much; not 0 */
    uint64_t interval_ms; /* from one pass's beginning to the next's */
};

/* Blocks nothing, starts nothing. */
struct scrub *scrub_new(const struct scrub_config *config);
/* Goes on with the pass under way, or begins one, and returns at its end: OK, or
 * ERR_SHUTTING_DOWN after scrub_stop, or why the database or the store failed. One thread at a
 * time. */
NODISCARD enum err scrub_pass(struct scrub *s);
/* Starts a thread that makes a pass each interval. */
NODISCARD enum err scrub_start(struct scrub *s);
/* Ends the pass soon; the thread, too. Any thread, NULL-safe. */
void scrub_stop(struct scrub *s);
/* scrub_stop, waits for the thread. NULL-safe. */
void scrub_free(struct scrub *s);

/* Since the program started. */
struct scrub_status {
    uint64_t passes;       /* finished */
    uint64_t blobs, bytes; /* read */
    uint64_t damaged;      /* found */
    uint64_t unreadable;   /* passed over: their files may not be read */
    uint64_t failures;     /* passes that could not go on for a while */
};
/* Any thread. */
struct scrub_status scrub_status(struct scrub *s);

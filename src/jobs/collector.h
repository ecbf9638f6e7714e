/* The collector: the thread that runs collection in the background, one run at a time, every so
 * often and when asked. It logs a line for each run that was asked for or did something. */
#pragma once

#include "jobs/gc.h"

struct collector;

/* Starts the thread. `gc` is copied, its reader is the thread's from now on, its `stop` is not
 * looked at. `wait_ms` lies between two runs that nobody asked for. */
NODISCARD enum err collector_new(struct collector **ret, const struct gc *gc, uint64_t wait_ms);
/* Ends the run that is under way, soon, and all waiting. Any thread, NULL-safe. */
void collector_stop(struct collector *c);
/* The same, and the thread. Nobody may wait or ask any more. NULL-safe. */
void collector_free(struct collector *c);

/* A run that was asked for. */
struct collection {
    uint64_t id;
    bool finished;
    enum err err; /* of a finished one */
    struct gc_report report;
};

enum { COLLECTIONS_KEPT = 16 };

/* Asks for a run and returns its number. Any thread; does not wait. ERR_OVERLOADED when so many are
 * waiting that their reports could not be kept. */
NODISCARD enum err collector_ask(struct collector *c, const struct gc_ask *ask, uint64_t *id);
/* Waits, at most so long, until the run is finished, and tells. ERR_NOT_FOUND when it is none of
 * the last COLLECTIONS_KEPT; ERR_SHUTTING_DOWN. Any thread. */
NODISCARD enum err collector_wait(struct collector *c, uint64_t id, uint64_t wait_ms,
                                  struct collection *ret);

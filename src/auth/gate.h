/* A counting gate: so many inside at a time, so many waiting, the rest refused. Any thread. */
#pragma once

#include "base/err.h"

#include <pthread.h>

struct gate {
    pthread_mutex_t lock; /* guards the counts */
    pthread_cond_t left;
    unsigned inside, inside_max;
    unsigned waiting, waiting_max;
};

void gate_init(struct gate *g, unsigned inside_max, unsigned waiting_max);
void gate_release(struct gate *g);

/* Blocks until there is room. ERR_TOO_MANY_REQUESTS at once when too many wait already. */
NODISCARD enum err gate_enter(struct gate *g);
void gate_leave(struct gate *g);
/* How many wait now. */
unsigned gate_waiting(struct gate *g);

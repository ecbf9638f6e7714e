#include "auth/gate.h"
#include "base/test.h"

#include <sched.h>
#include <stdatomic.h>

enum { INSIDE = 2, WAITING = 3 };

static struct gate gate;
static atomic_uint inside, most, passed;

static void *pass(void *arg)
{
    (void)arg;
    if (gate_enter(&gate))
        return NULL;
    unsigned now = atomic_fetch_add(&inside, 1) + 1, seen = atomic_load(&most);
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
        ;
    sched_yield();
    atomic_fetch_sub(&inside, 1);
    atomic_fetch_add(&passed, 1);
    gate_leave(&gate);
    return NULL;
}

static void bounds_those_inside_and_those_waiting(void)
{
    pthread_t threads[WAITING];
    gate_init(&gate, INSIDE, WAITING);
    for (int i = 0; i < INSIDE; i++)
        CHECK_INT(gate_enter(&gate), OK);
    for (int i = 0; i < WAITING; i++)
        CHECK(pthread_create(&threads[i], NULL, pass, NULL) == 0);
    while (gate_waiting(&gate) < WAITING)
        sched_yield();
    CHECK_INT(gate_enter(&gate), ERR_TOO_MANY_REQUESTS);
    CHECK_INT(atomic_load(&passed), 0);
    for (int i = 0; i < INSIDE; i++)
        gate_leave(&gate);
    for (int i = 0; i < WAITING; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(atomic_load(&passed), WAITING);
    CHECK(atomic_load(&most) <= INSIDE);
    CHECK_INT(gate_waiting(&gate), 0);
    CHECK_INT(gate_enter(&gate), OK);
    gate_leave(&gate);
    gate_release(&gate);
}

TESTS({"bounds_those_inside_and_those_waiting", bounds_those_inside_and_those_waiting});

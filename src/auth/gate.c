#include "auth/gate.h"

void gate_init(struct gate *g, unsigned inside_max, unsigned waiting_max)
{
    *g = (struct gate){.inside_max = inside_max, .waiting_max = waiting_max};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->left, NULL);
}

void gate_release(struct gate *g)
{
    pthread_cond_destroy(&g->left);
    pthread_mutex_destroy(&g->lock);
}

enum err gate_enter(struct gate *g)
{
    enum err e = OK;
    pthread_mutex_lock(&g->lock);
    if (g->inside >= g->inside_max && g->waiting >= g->waiting_max) {
        e = ERR_TOO_MANY_REQUESTS;
    } else {
        g->waiting++;
        while (g->inside >= g->inside_max)
            pthread_cond_wait(&g->left, &g->lock);
        g->waiting--;
        g->inside++;
    }
    pthread_mutex_unlock(&g->lock);
    return e;
}

void gate_leave(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->inside--;
    pthread_cond_signal(&g->left);
    pthread_mutex_unlock(&g->lock);
}

unsigned gate_waiting(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    unsigned n = g->waiting;
    pthread_mutex_unlock(&g->lock);
    return n;
}

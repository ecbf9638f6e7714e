#include "base/test.h"
#include "loop/pool.h"

#include <semaphore.h>
#include <stdlib.h>

#define OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

enum { JOBS = 50000, SUBMITTERS = 3 };

struct counted {
    struct job job;
    atomic_int *ran;
};

static void counted_run(struct job *j, int worker)
{
    struct counted *c = OF(j, struct counted, job);
    CHECK(worker >= 0 && worker < 4);
    atomic_fetch_add(c->ran, 1);
    free(c); /* a job may free itself */
}

struct submitter {
    struct pool *pool;
    atomic_int *ran;
};

static void *submit_main(void *arg)
{
    struct submitter *s = arg;
    for (int i = 0; i < JOBS; i++) {
        struct counted *c = calloc(1, sizeof *c);
        *c = (struct counted){.job.run = counted_run, .ran = s->ran};
        pool_submit_always(s->pool, &c->job);
    }
    return NULL;
}

static void runs_every_job_once(void)
{
    struct pool *p;
    atomic_int ran = 0;
    pthread_t threads[SUBMITTERS];
    CHECK_INT(pool_new(&p, 4, 10), OK);
    CHECK_INT(pool_threads(p), 4);
    struct submitter s = {p, &ran};
    for (int i = 0; i < SUBMITTERS; i++)
        pthread_create(&threads[i], NULL, submit_main, &s);
    for (int i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    pool_free(p); /* runs what is queued */
    CHECK_INT(ran, JOBS * SUBMITTERS);
}

struct blocker {
    struct job job;
    sem_t *started, *go, *ended;
};

static void blocker_run(struct job *j, int worker)
{
    struct blocker *b = OF(j, struct blocker, job);
    sem_post(b->started);
    sem_wait(b->go);
    sem_post(b->ended);
}

/* All workers block at once: none may be left asleep while jobs wait. */
static void blocking_jobs_get_a_worker_each(void)
{
    enum { N = 8, ROUNDS = 500 };
    struct pool *p;
    sem_t started, go, ended;
    struct blocker blockers[N];
    sem_init(&started, 0, 0);
    sem_init(&go, 0, 0);
    sem_init(&ended, 0, 0);
    CHECK_INT(pool_new(&p, N, N), OK);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++) {
            blockers[i] = (struct blocker){{.run = blocker_run}, &started, &go, &ended};
            CHECK_INT(pool_submit(p, &blockers[i].job), OK);
        }
        for (int i = 0; i < N; i++)
            sem_wait(&started); /* hangs if fewer than N run at the same time */
        for (int i = 0; i < N; i++)
            sem_post(&go);
        for (int i = 0; i < N; i++)
            sem_wait(&ended);
    }
    pool_free(p);
    sem_destroy(&started);
    sem_destroy(&go);
    sem_destroy(&ended);
}

static void full_queue_refuses(void)
{
    struct pool *p;
    sem_t started, go, ended;
    atomic_int ran = 0;
    sem_init(&started, 0, 0);
    sem_init(&go, 0, 0);
    sem_init(&ended, 0, 0);
    CHECK_INT(pool_new(&p, 1, 2), OK);
    struct blocker b = {{.run = blocker_run}, &started, &go, &ended};
    CHECK_INT(pool_submit(p, &b.job), OK);
    sem_wait(&started); /* the only worker is busy, the queue empty */
    struct counted *c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = calloc(1, sizeof *c[i]);
        *c[i] = (struct counted){.job.run = counted_run, .ran = &ran};
    }
    CHECK_INT(pool_submit(p, &c[0]->job), OK);
    CHECK_INT(pool_submit(p, &c[1]->job), OK);
    CHECK_INT(pool_submit(p, &c[2]->job), ERR_OVERLOADED);
    pool_submit_always(p, &c[3]->job);
    sem_post(&go);
    pool_free(p);
    CHECK_INT(ran, 3);
    free(c[2]);
    sem_destroy(&started);
    sem_destroy(&go);
    sem_destroy(&ended);
}

/* Strands. */

enum { STRANDS = 3, TASKS = 20000 };

struct serial;
struct step {
    struct task task;
    struct serial *owner;
    int number;
};

struct serial {
    struct strand strand;
    int next; /* not atomic: the strand is what serialises */
    bool in_order;
    sem_t *done;
    struct step steps[TASKS];
};

static void step_run(struct task *t)
{
    struct step *s = OF(t, struct step, task);
    s->owner->in_order = s->owner->in_order && s->number == s->owner->next;
    if (++s->owner->next == TASKS)
        sem_post(s->owner->done);
}

static void strands_are_serial(void)
{
    static struct serial serials[STRANDS];
    struct pool *p;
    sem_t done;
    sem_init(&done, 0, 0);
    CHECK_INT(pool_new(&p, 4, 0), OK);
    for (int i = 0; i < STRANDS; i++) {
        serials[i].in_order = true;
        serials[i].done = &done;
        strand_init(&serials[i].strand, p);
    }
    for (int n = 0; n < TASKS; n++) {
        for (int i = 0; i < STRANDS; i++) {
            struct step *s = &serials[i].steps[n];
            *s = (struct step){.task.run = step_run, .owner = &serials[i], .number = n};
            strand_post(&serials[i].strand, &s->task);
        }
    }
    for (int i = 0; i < STRANDS; i++)
        sem_wait(&done);
    for (int i = 0; i < STRANDS; i++) {
        strand_release(&serials[i].strand); /* its last task may still be returning */
        CHECK_INT(serials[i].next, TASKS);
        CHECK(serials[i].in_order);
    }
    pool_free(p);
    sem_destroy(&done);
}

/* What an upload does: the last task hands over to a job that releases and frees the strand. */
struct ender {
    struct strand strand;
    struct task task;
    struct job end;
    struct pool *pool;
    sem_t *done;
};

static void ender_end(struct job *j, int worker)
{
    struct ender *e = OF(j, struct ender, end);
    sem_t *done = e->done;
    strand_release(&e->strand);
    free(e);
    sem_post(done);
}

static void ender_task(struct task *t)
{
    struct ender *e = OF(t, struct ender, task);
    pool_submit_always(e->pool, &e->end);
}

static void strand_is_released_from_another_worker(void)
{
    struct pool *p;
    sem_t done;
    sem_init(&done, 0, 0);
    CHECK_INT(pool_new(&p, 4, 0), OK);
    for (int i = 0; i < 5000; i++) {
        struct ender *e = calloc(1, sizeof *e);
        strand_init(&e->strand, p);
        e->task.run = ender_task;
        e->end.run = ender_end;
        e->pool = p;
        e->done = &done;
        strand_post(&e->strand, &e->task);
    }
    for (int i = 0; i < 5000; i++)
        sem_wait(&done);
    pool_free(p);
    sem_destroy(&done);
}

TESTS({"runs every job once", runs_every_job_once},
      {"blocking jobs get a worker each", blocking_jobs_get_a_worker_each},
      {"a full queue refuses", full_queue_refuses}, {"strands are serial", strands_are_serial},
      {"a strand is released from another worker", strand_is_released_from_another_worker});

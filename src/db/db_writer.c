/* Group commit.
 *
 * The cost of a durable transaction is its fsync, so the writer shares one between all jobs that
 * are there: it takes jobs until the queue is empty, and while it commits the next ones gather. No
 * delay is ever added to wait for company.
 *
 * A job that fails is undone by its savepoint. A transaction that fails as a whole, because the
 * engine gave it up in the middle of a job or refused the commit, takes the verdicts of all its
 * jobs with it (also failures: they were reached by looking at changes that never came to be), and
 * the jobs are run again one by one, so that only the culprit fails. The exception is a commit
 * that failed in the disk or on a damaged file: after a failed fsync nobody knows what is stored,
 * and doing it again would turn that into an acknowledgement. All jobs then fail.
 *
 * Once damage was met, in reading or writing, no transaction is begun any more. */
#include "db/db_writer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "db/db_hot.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>

/* Bounds how long the first job of a group waits for the last. */
enum { GROUP_MAX = 128 };

/* Lives on the stack of the thread that waits for it. */
struct db_job {
    struct db_job *next;
    db_tx_fn *fn;
    void *arg;
    enum err err;
    sem_t done;
};

struct group {
    struct db_job *head, **tail;
    unsigned n;
};

static struct db_job *pop(struct db_writer *w)
{
    pthread_mutex_lock(&w->lock);
    struct db_job *job = w->head;
    if (job) {
        w->head = job->next;
        if (!w->head)
            w->tail = &w->head;
        w->counters.queued--;
        job->next = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    return job;
}

/* Not the job's own verdict, but what keeps any job from being done. */
static bool is_trouble(enum err e)
{
    return e == ERR_IO || e == ERR_NO_SPACE || e == ERR_NO_FILES || e == ERR_PERMISSION ||
           e == ERR_MOVED || e == ERR_BUSY || e == ERR_OVERLOADED || e == ERR_DB ||
           e == ERR_DB_CORRUPT;
}

static enum err begin(struct db_conn *conn)
{
    if (atomic_load(conn->damaged))
        return db_conn_fail(conn, ERR_DB_CORRUPT,
                            "damage was met before: nothing is written until the next start");
    return conn->setup->driver->begin(conn);
}

/* Sets job->err to the job's own verdict. Fails only when the transaction is lost. */
static enum err run_job(struct db_conn *conn, struct db_job *job)
{
    const struct db_driver *driver = conn->setup->driver;
    enum err e = driver->savepoint(conn);
    if (e)
        return e;
    job->err = job->fn(conn, job->arg);
    assert(conn->cursors_n == 0);
    if (!driver->in_transaction(conn))
        return job->err ? job->err : ERR_DB;
    return job->err ? driver->savepoint_undo(conn) : driver->savepoint_keep(conn);
}

/* Nobody is given anything old that this commit changes, from before it on (db_hot.h). */
static enum err commit(struct db_conn *conn)
{
    if (!conn->hot)
        return conn->setup->driver->commit(conn);
    unsigned made = conn->changes_made;
    db_hot_begin_commit(conn->hot, conn->touches);
    enum err e = conn->setup->driver->commit(conn);
    db_hot_end_commit(conn->hot, conn->changes_made - made);
    return e;
}

static enum err run_alone(struct db_conn *conn, struct db_job *job)
{
    const struct db_driver *driver = conn->setup->driver;
    enum err e = begin(conn);
    if (!e)
        e = run_job(conn, job);
    if (!e)
        e = commit(conn);
    if (e)
        driver->rollback(conn);
    return e ? e : job->err;
}

static void set_trouble(struct db_writer *w, enum err e)
{
    w->trouble = e;
    metric_set_at(METRIC_UNREADY, UNREADY_DATABASE, e || atomic_load(w->conn->damaged));
}

/* What the group tells of the database: the last trouble, or that there is none; nothing when it
 * changed nothing. */
static void note_trouble(struct db_writer *w, const struct group *group)
{
    enum err trouble = OK;
    for (const struct db_job *job = group->head; job; job = job->next)
        trouble = is_trouble(job->err) ? job->err : trouble;
    if (trouble || w->conn->wrote)
        set_trouble(w, trouble);
}

static void finish(struct db_writer *w, struct group *group, struct db_counters done)
{
    metric_observe(METRIC_DB_COMMIT_JOBS, group->n);
    pthread_mutex_lock(&w->lock);
    w->counters.commits += done.commits;
    w->counters.retries += done.retries;
    w->counters.jobs += group->n;
    note_trouble(w, group);
    memcpy(w->error, w->conn->error, sizeof w->error);
    pthread_mutex_unlock(&w->lock);
    for (struct db_job *job = group->head, *next; job; job = next) {
        next = job->next; /* the post gives the job back to its owner's stack */
        sem_post(&job->done);
    }
}

/* Another commit in the place of one that failed, if there can be one: what the log may still hold
 * of the failed one cannot come back then, after a kill, when its jobs were taken for undone. */
static void settle(struct db_conn *conn)
{
    char error[DB_ERROR_MAX];
    memcpy(error, conn->error, sizeof error);
    if (conn->setup->driver->probe(conn))
        memcpy(conn->error, error, sizeof error); /* the first failure tells more */
}

static void count_group(enum err e, const struct db_counters *done)
{
    if (e)
        metric_add(METRIC_DB_FAILURES, 1);
    metric_add(METRIC_DB_COMMITS, done->commits);
    metric_add(METRIC_DB_RETRIES, done->retries);
}

static void run_group(struct db_writer *w)
{
    struct db_conn *conn = w->conn;
    const struct db_driver *driver = conn->setup->driver;
    struct group group = {.tail = &group.head};
    struct db_counters done = {0};

    conn->wrote = false;
    enum err e = begin(conn);
    bool retry = !e;
    for (struct db_job *job = pop(w); job; job = group.n < GROUP_MAX ? pop(w) : NULL) {
        *group.tail = job;
        group.tail = &job->next;
        group.n++;
        if (!e)
            e = run_job(conn, job);
    }
    if (!e) {
        uint64_t begin_us = clock_mono_us();
        e = commit(conn);
        metric_observe(METRIC_DB_COMMIT_TIME, clock_mono_us() - begin_us);
        retry = e != ERR_IO && e != ERR_DB_CORRUPT;
    }
    if (!e) {
        done.commits = 1;
    } else {
        driver->rollback(conn);
        if (e == ERR_IO)
            settle(conn);
        /* The engine's word is about the job that ran when it failed: alone, that job fails with
         * it again. With no other jobs there is no one to run again for. */
        retry = retry && group.n > 1;
        for (struct db_job *job = group.head; job; job = job->next) {
            job->err = retry ? run_alone(conn, job) : e;
            done.retries += retry;
            done.commits += retry && !job->err;
        }
    }
    count_group(e, &done);
    finish(w, &group, done);
}

/* True: jobs wait. False: none came for idle_ms (only when asked by `upkeep`) or the end. */
static bool wait_for_jobs(struct db_writer *w, bool upkeep, bool *stop)
{
    uint64_t due_ms = clock_mono_ms() + w->conn->setup->idle_ms;
    struct timespec due = {.tv_sec = (time_t)(due_ms / 1000),
                           .tv_nsec = (long)(due_ms % 1000) * 1000000};
    int rc = 0;
    pthread_mutex_lock(&w->lock);
    while (!w->head && !w->stopping && rc != ETIMEDOUT) {
        w->sleeping = true;
        rc = upkeep ? pthread_cond_timedwait(&w->wake, &w->lock, &due)
                    : pthread_cond_wait(&w->wake, &w->lock);
        w->sleeping = false;
    }
    bool jobs = w->head != NULL;
    *stop = !jobs && w->stopping;
    pthread_mutex_unlock(&w->lock);
    return jobs;
}

/* True: call again when idle. Told once, though tried every second. */
static bool maintain(struct db_writer *w, bool idle)
{
    bool again;
    enum err e = w->conn->setup->driver->maintain(w->conn, idle, &again);
    if (e == w->upkeep) /* no other thread writes it */
        return again;
    if (e)
        LOG(WARN, "checkpoint_fails", log_err(e), log_cstr("database", w->conn->error),
            log_cstr("effect", "the database's log grows, and nothing may be written after the "
                               "next start"));
    else
        LOG(INFO, "checkpoint_done_again");
    pthread_mutex_lock(&w->lock);
    w->upkeep = e;
    memcpy(w->error, w->conn->error, sizeof w->error);
    pthread_mutex_unlock(&w->lock);
    return again;
}

/* True: call again when idle. Where upkeep begins to fail, perhaps writing does as well: after the
 * start nobody may have tried yet. */
static bool idle(struct db_writer *w)
{
    const struct db_driver *driver = w->conn->setup->driver;
    enum err upkeep = w->upkeep;
    bool again = maintain(w, true);
    enum err trouble = w->trouble; /* no other thread writes it */
    if (atomic_load(w->conn->damaged))
        trouble = ERR_DB_CORRUPT;
    else if (trouble || (w->upkeep && !upkeep))
        trouble = driver->probe(w->conn);
    pthread_mutex_lock(&w->lock);
    w->counters.upkeep++;
    set_trouble(w, trouble);
    memcpy(w->error, w->conn->error, sizeof w->error);
    pthread_mutex_unlock(&w->lock);
    return again || trouble;
}

static void *writer_main(void *arg)
{
    struct db_writer *w = arg;
    bool upkeep = true, stop = false;
    while (!stop) {
        if (wait_for_jobs(w, upkeep, &stop)) {
            run_group(w);
            upkeep = maintain(w, false) || w->trouble;
        } else if (!stop) {
            upkeep = idle(w);
        }
    }
    return NULL;
}

enum err db_writer_start(struct db_writer *w, struct db_conn *conn)
{
    *w = (struct db_writer){.conn = conn};
    w->tail = &w->head;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &clock);
    pthread_condattr_destroy(&clock);

    /* Signals are for the main thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        return ERR_OVERLOADED;
    }
    pthread_setname_np(w->thread, "db-writer");
    return OK;
}

void db_writer_stop(struct db_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
}

enum err db_writer_run(struct db_writer *w, db_tx_fn *fn, void *arg)
{
    assert(!pthread_equal(pthread_self(), w->thread));
    struct db_job job = {.fn = fn, .arg = arg};
    sem_init(&job.done, 0, 0);

    pthread_mutex_lock(&w->lock);
    bool refused = w->stopping;
    if (!refused) {
        *w->tail = &job;
        w->tail = &job.next;
        w->counters.queued++;
        if (w->sleeping)
            pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);

    if (refused)
        job.err = ERR_SHUTTING_DOWN;
    else
        while (sem_wait(&job.done) && errno == EINTR)
            ;
    sem_destroy(&job.done);
    return job.err;
}

/* Private to db/: the writer thread. Jobs queue; the writer runs them in one transaction, each in
 * its own savepoint, commits once for all, and only then wakes who waits. What queues while it
 * commits is the next group. */
#pragma once

#include "db/db_driver.h"

#include <pthread.h>

struct db_job;

struct db_writer {
    struct db_conn *conn; /* the thread's own once it runs */
    pthread_t thread;
    pthread_cond_t wake;
    pthread_mutex_t lock; /* guards what follows */
    struct db_job *head, **tail;
    bool sleeping, stopping;
    struct db_counters counters;
    enum err trouble; /* db_condition.writing */
    enum err upkeep;  /* db_condition.upkeep */
    char error[DB_ERROR_MAX];
};

/* Takes over the connected `conn`. */
NODISCARD enum err db_writer_start(struct db_writer *w, struct db_conn *conn);
/* Finishes what is queued and joins; the connection is the caller's again. */
void db_writer_stop(struct db_writer *w);
/* db_tx. */
NODISCARD enum err db_writer_run(struct db_writer *w, db_tx_fn *fn, void *arg);

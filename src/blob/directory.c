#include "base/clock.h"
#include "base/metrics.h"
#include "blob/store_file.h"

#include <unistd.h>

void directory_init(struct directory *d, int fd)
{
    *d = (struct directory){.fd = fd};
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->ran, NULL);
}

void directory_release(struct directory *d)
{
    close(d->fd);
    pthread_cond_destroy(&d->ran);
    pthread_mutex_destroy(&d->lock);
}

unsigned directory_failures(struct directory *d)
{
    pthread_mutex_lock(&d->lock);
    unsigned failures = d->failures;
    pthread_mutex_unlock(&d->lock);
    return failures;
}

enum err directory_sync(struct directory *d, const struct store_sys *sys, unsigned failures_before)
{
    pthread_mutex_lock(&d->lock);
    uint64_t ticket = ++d->asked;
    while (d->synced < ticket) {
        if (d->running) {
            pthread_cond_wait(&d->ran, &d->lock);
            continue;
        }
        uint64_t batch = d->asked;
        d->running = true;
        pthread_mutex_unlock(&d->lock);
        uint64_t begin_us = clock_mono_us();
        bool failed = sys->fsync(d->fd) != 0;
        if (failed) {
            metric_add_at(METRIC_STORE_FAILURES, SYNC_DIRECTORY, 1);
            metric_set_at(METRIC_UNREADY, UNREADY_STORE, 1);
        } else {
            metric_observe_at(METRIC_SYNC_TIME, SYNC_DIRECTORY, clock_mono_us() - begin_us);
        }
        pthread_mutex_lock(&d->lock);
        d->running = false;
        d->failures += failed;
        d->synced = batch;
        pthread_cond_broadcast(&d->ran);
    }
    enum err e = d->failures == failures_before ? OK : ERR_IO;
    pthread_mutex_unlock(&d->lock);
    return e;
}

#include "base/clock.h"
#include "base/metrics.h"
#include "blob/store_file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void directory_init(struct directory *d, int fd, int parent_fd, const char *name)
{
    *d = (struct directory){.fd = fd, .parent_fd = parent_fd};
    snprintf(d->name, sizeof d->name, "%s", name);
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

enum err directory_check(const struct directory *d)
{
    struct stat here, there;
    if (d->parent_fd < 0)
        return OK;
    if (fstat(d->fd, &here) != 0 || fstatat(d->parent_fd, d->name, &there, 0) != 0)
        return errno == EACCES ? ERR_PERMISSION : ERR_MOVED;
    return here.st_ino == there.st_ino && here.st_dev == there.st_dev ? OK : ERR_MOVED;
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
        if (failed)
            metric_add_at(METRIC_STORE_FAILURES, SYNC_DIRECTORY, 1);
        else
            metric_observe_at(METRIC_SYNC_TIME, SYNC_DIRECTORY, clock_mono_us() - begin_us);
        pthread_mutex_lock(&d->lock);
        d->running = false;
        d->failures += failed;
        d->synced = batch;
        pthread_cond_broadcast(&d->ran);
    }
    enum err e = d->failures == failures_before ? OK : ERR_IO;
    pthread_mutex_unlock(&d->lock);
    return e ? e : directory_check(d);
}

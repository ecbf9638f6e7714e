#include "base/test.h"
#include "blob/store_file.h"

#include <fcntl.h>
#include <sched.h>

/* An fsync that waits to be let through, and says how it ends. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned syncs, let_through;
static bool next_fails;

static int gated_sync(int fd)
{
    (void)fd;
    pthread_mutex_lock(&lock);
    unsigned turn = ++syncs;
    while (let_through < turn)
        pthread_cond_wait(&changed, &lock);
    int r = next_fails ? -1 : 0;
    next_fails = false;
    pthread_mutex_unlock(&lock);
    return r;
}

static const struct store_sys gated = {.fsync = gated_sync};

struct caller {
    pthread_t thread;
    struct directory *d;
    enum err result;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    c->result = directory_sync(c->d, &gated, 0);
    return NULL;
}

static void start(struct caller *c, struct directory *d, uint64_t asked)
{
    c->d = d;
    pthread_create(&c->thread, NULL, call, c);
    for (bool there = false; !there; sched_yield()) {
        pthread_mutex_lock(&d->lock);
        there = d->asked == asked && d->running;
        pthread_mutex_unlock(&d->lock);
    }
}

static void let(unsigned n)
{
    pthread_mutex_lock(&lock);
    let_through = n;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* One caller is inside fsync while four more ask: a second fsync answers all four. */
static void run_five(struct directory *d, struct caller callers[5], bool first_fails)
{
    directory_init(d, open("/", O_PATH | O_CLOEXEC), -1, "");
    syncs = let_through = 0;
    next_fails = first_fails;
    for (unsigned i = 0; i < 5; i++)
        start(&callers[i], d, i + 1);
    let(1);
    let(2);
    for (unsigned i = 0; i < 5; i++)
        pthread_join(callers[i].thread, NULL);
    CHECK_INT(syncs, 2);
}

static void shares(void)
{
    struct directory d;
    struct caller callers[5];
    run_five(&d, callers, false);
    for (unsigned i = 0; i < 5; i++)
        CHECK_INT(callers[i].result, OK);
    directory_release(&d);
}

static void shares_failure(void)
{
    struct directory d;
    struct caller callers[5];
    run_five(&d, callers, true);
    for (unsigned i = 0; i < 5; i++)
        CHECK_INT(callers[i].result, ERR_IO);
    CHECK_INT(directory_failures(&d), 1);
    let(3);
    CHECK_INT(directory_sync(&d, &gated, directory_failures(&d)), OK);
    directory_release(&d);
}

TESTS({"shares", shares}, {"shares failure", shares_failure})

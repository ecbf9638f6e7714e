#include "base/test.h"
#include "http/iobuf.h"

#define OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

static struct reactor *new_reactor(void)
{
    struct reactor *r = NULL;
    CHECK_INT(reactor_new(&r, 0), OK);
    return r;
}

struct stopper {
    struct task task;
    struct reactor *r;
};

static void stop(struct task *t)
{
    reactor_stop(OF(t, struct stopper, task)->r);
}

/* Runs what was posted to the reactor so far; it does not run again. */
static void run_once(struct reactor *r)
{
    struct stopper s = {.task.run = stop, .r = r};
    reactor_post(r, &s.task);
    reactor_run(r);
}

/* Budget. */

enum { WAITERS = 3 };

struct waiter {
    struct budget_wait wait;
    int order;
    int *next;
};

static void on_granted(struct task *t)
{
    struct waiter *w = OF(t, struct waiter, wait.granted);
    w->order = (*w->next)++;
}

static void stream_budget_is_first_come_first_served(void)
{
    struct budget b;
    struct reactor *r = new_reactor();
    struct waiter w[WAITERS];
    int next = 0;
    budget_init(&b, 400); /* 300 for streams */
    for (int i = 0; i < WAITERS; i++)
        w[i] = (struct waiter){
            {.bytes = i == 1 ? 250 : 100, .reactor = r, .granted.run = on_granted}, -1, &next};
    CHECK(budget_take(&b, &w[0].wait));
    CHECK(!budget_take(&b, &w[1].wait));
    CHECK(!budget_take(&b, &w[2].wait)); /* it would fit, but does not pass who was there before */
    budget_give(&b, 100);
    run_once(r);
    CHECK_INT(w[1].order, 0);
    CHECK_INT(w[2].order, -1);
    reactor_free(r);
    w[2].wait.reactor = r = new_reactor();
    budget_give(&b, 250);
    run_once(r);
    reactor_free(r);
    CHECK_INT(w[2].order, 1);
    budget_give(&b, 100);
    CHECK_INT(b.stream_bytes, 0);
    budget_release(&b);
}

static void small_bodies_have_a_share(void)
{
    struct budget b;
    budget_init(&b, 400); /* 100 for small ones */
    CHECK(budget_take_small(&b, 0, 60));
    CHECK(budget_take_small(&b, 0, 60)); /* begins below the share */
    CHECK(!budget_take_small(&b, 0, 1));
    CHECK(budget_take_small(&b, 60, 500)); /* the others hold less than the share */
    CHECK(!budget_take_small(&b, 60, 1));  /* the other one: not any more */
    budget_give_small(&b, 560);
    CHECK(budget_take_small(&b, 60, 1));
    budget_give_small(&b, 61);
    CHECK_INT(b.small_bytes, 0);
    budget_release(&b);
}

/* Buffers. */

static int homes;
static void on_home(struct iobuf *b)
{
    homes++;
    CHECK_INT(iobuf_put(b->pool, b), iobuf_class_charge(iobuf_class(b->cap)));
}

static void classes(void)
{
    CHECK_INT(iobuf_class(0), 0);
    CHECK_INT(iobuf_class(4096), 0);
    CHECK_INT(iobuf_class(4097), 1);
    CHECK_INT(iobuf_class(262144), 3);
    CHECK_INT(iobuf_class(UINT64_MAX), IOBUF_CLASSES - 1);
    CHECK_INT(iobuf_class_capacity(IOBUF_CLASSES - 1), 1048576);
    for (unsigned i = 0; i < IOBUF_CLASSES; i++)
        CHECK_INT(iobuf_class(iobuf_class_capacity(i)), i);
}

static void the_last_reference_sends_home(void)
{
    struct reactor *r = new_reactor();
    struct iobuf_pool p;
    homes = 0;
    iobuf_pool_init(&p, r, on_home);
    struct iobuf *b = iobuf_get(&p, 1);
    CHECK_INT(b->cap, 16384);
    memset(b->p, 'x', b->cap);
    iobuf_ref(b);
    iobuf_unref(b);
    CHECK_INT(p.free_bytes, 0);
    iobuf_unref(b);
    run_once(r);
    CHECK_INT(homes, 1);
    CHECK(iobuf_get(&p, 1) == b); /* used again */
    CHECK_INT(b->n, 0);
    (void)iobuf_put(&p, b);
    iobuf_pool_release(&p);
    CHECK_INT(p.free_bytes, 0);
    reactor_free(r);
}

static void free_buffers_are_bounded_and_trimmed(void)
{
    enum { N = 20 };
    struct reactor *r = new_reactor();
    struct iobuf_pool p;
    struct iobuf *b[N];
    iobuf_pool_init(&p, r, on_home);
    for (int i = 0; i < N; i++)
        b[i] = iobuf_get(&p, 4);
    for (int i = 0; i < N; i++)
        (void)iobuf_put(&p, b[i]);
    CHECK(p.free_n[4] > 0 && p.free_n[4] < 9);
    p.trim.on_expire(&p.trim); /* as the timer would */
    CHECK(p.free_n[4] > 0);    /* all were in use a moment ago */
    struct iobuf *used = iobuf_get(&p, 4);
    (void)iobuf_put(&p, used);
    p.trim.on_expire(&p.trim);
    CHECK_INT(p.free_n[4], 1); /* one was needed in between */
    p.trim.on_expire(&p.trim);
    CHECK_INT(p.free_bytes, 0);
    iobuf_pool_release(&p);
    reactor_free(r);
}

TESTS({"stream budget is first come, first served", stream_budget_is_first_come_first_served},
      {"small bodies have a share", small_bodies_have_a_share}, {"classes", classes},
      {"the last reference sends home", the_last_reference_sends_home},
      {"free buffers are bounded and trimmed", free_buffers_are_bounded_and_trimmed});

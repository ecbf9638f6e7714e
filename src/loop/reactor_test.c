#include "base/clock.h"
#include "base/test.h"
#include "loop/reactor.h"

#include <pthread.h>
#include <unistd.h>

#define OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

enum { POSTERS = 4, POSTS = 20000 };

static struct reactor *new_reactor(void)
{
    struct reactor *r = NULL;
    CHECK_INT(reactor_new(&r, 7), OK);
    CHECK_INT(reactor_index(r), 7);
    return r;
}

struct stopper {
    struct task task;
    struct reactor *r;
};

static void stop_run(struct task *t)
{
    reactor_stop(OF(t, struct stopper, task)->r);
}

/* Mailbox. */

struct message {
    struct task task;
    struct poster *poster;
    int number;
};

struct poster {
    struct reactor *r;
    int seen;
    bool in_order;
    bool on_reactor;
    struct message messages[POSTS];
};

static void message_run(struct task *t)
{
    struct message *m = OF(t, struct message, task);
    struct poster *p = m->poster;
    p->in_order = p->in_order && m->number == p->seen;
    p->on_reactor = p->on_reactor && reactor_is_current(p->r);
    p->seen++;
}

static void *poster_main(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < POSTS; i++) {
        p->messages[i] = (struct message){.task.run = message_run, .poster = p, .number = i};
        reactor_post(p->r, &p->messages[i].task);
    }
    return NULL;
}

static void *reactor_main(void *arg)
{
    reactor_run(arg);
    return NULL;
}

static void posts_keep_order(void)
{
    static struct poster posters[POSTERS];
    pthread_t threads[POSTERS], loop;
    struct reactor *r = new_reactor();
    pthread_create(&loop, NULL, reactor_main, r);
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.r = r, .in_order = true, .on_reactor = true};
        pthread_create(&threads[i], NULL, poster_main, &posters[i]);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    CHECK(!reactor_is_current(r));
    struct stopper last = {.task.run = stop_run, .r = r};
    reactor_post(r, &last.task);
    pthread_join(loop, NULL);
    for (int i = 0; i < POSTERS; i++) {
        CHECK_INT(posters[i].seen, POSTS);
        CHECK(posters[i].in_order);
        CHECK(posters[i].on_reactor);
    }
    reactor_free(r);
}

/* Each message is sent only when the one before has run, so the reactor sleeps in between: a lost
 * wake-up hangs here. */
struct ball {
    struct task task;
    struct ball *other;
    struct reactor *r;
    int left;
};

static void ball_run(struct task *t)
{
    struct ball *b = OF(t, struct ball, task), *other = b->other;
    if (b->left-- == 0) {
        reactor_stop(other->r);
        reactor_stop(b->r);
        return;
    }
    reactor_post(other->r, &other->task);
}

static void wakeups_are_not_lost(void)
{
    struct reactor *a = new_reactor(), *b = new_reactor();
    struct ball ping = {.task.run = ball_run, .r = a, .left = 10000};
    struct ball pong = {.task.run = ball_run, .r = b, .left = 10000, .other = &ping};
    ping.other = &pong;
    pthread_t ta, tb;
    pthread_create(&ta, NULL, reactor_main, a);
    pthread_create(&tb, NULL, reactor_main, b);
    reactor_post(a, &ping.task);
    pthread_join(ta, NULL);
    pthread_join(tb, NULL);
    CHECK_INT(ping.left, -1);
    reactor_free(a);
    reactor_free(b);
}

/* A task that posts itself must not starve timers. */
struct selfish {
    struct task task;
    struct timer timer;
    struct reactor *r;
    int runs;
};

static void selfish_run(struct task *t)
{
    struct selfish *s = OF(t, struct selfish, task);
    s->runs++;
    reactor_post(s->r, &s->task);
}

static void selfish_expire(struct timer *t)
{
    reactor_stop(OF(t, struct selfish, timer)->r);
}

static void reposting_does_not_starve_timers(void)
{
    struct reactor *r = new_reactor();
    struct selfish s = {.task.run = selfish_run, .timer.on_expire = selfish_expire, .r = r};
    reactor_timer_set(r, &s.timer, 20);
    reactor_post(r, &s.task);
    reactor_run(r);
    CHECK(s.runs > 1);
    reactor_free(r);
}

static void stop_before_run(void)
{
    struct reactor *r = new_reactor();
    reactor_stop(r);
    reactor_run(r);
    reactor_free(r);
}

/* Timers. */

enum { TIMERS = 5 };

struct alarm {
    struct timer timer;
    struct alarms *all;
    uint64_t fired_ms;
    int order;
};

struct alarms {
    struct reactor *r;
    struct alarm items[TIMERS];
    int fired;
};

static void alarm_expire(struct timer *t)
{
    struct alarm *a = OF(t, struct alarm, timer);
    a->fired_ms = clock_mono_ms();
    a->order = a->all->fired++;
    if (a == &a->all->items[0]) { /* both are due in the same turn or later */
        reactor_timer_cancel(a->all->r, &a->all->items[1].timer);
        reactor_timer_set(a->all->r, &a->all->items[2].timer, 100);
    }
    if (a == &a->all->items[2])
        reactor_stop(a->all->r);
}

static void timers_fire_move_and_cancel(void)
{
    struct alarms all = {.r = new_reactor()};
    for (int i = 0; i < TIMERS; i++)
        all.items[i] = (struct alarm){.timer.on_expire = alarm_expire, .all = &all, .order = -1};
    uint64_t start = clock_mono_ms();
    reactor_timer_set(all.r, &all.items[0].timer, 40);
    reactor_timer_set(all.r, &all.items[1].timer, 80);
    reactor_timer_set(all.r, &all.items[2].timer, 1);
    reactor_timer_set(all.r, &all.items[2].timer, 100000); /* moved away */
    reactor_timer_set(all.r, &all.items[3].timer, 0);
    reactor_timer_set(all.r, &all.items[4].timer, 60);
    reactor_timer_cancel(all.r, &all.items[4].timer);
    reactor_timer_cancel(all.r, &all.items[4].timer);
    reactor_run(all.r);
    CHECK_INT(all.items[3].order, 0);
    CHECK_INT(all.items[0].order, 1);
    CHECK_INT(all.items[1].order, -1);
    CHECK_INT(all.items[2].order, 2);
    CHECK_INT(all.items[4].order, -1);
    CHECK(all.items[0].fired_ms >= start + 40);
    CHECK(all.items[2].fired_ms >= all.items[0].fired_ms + 90);
    CHECK(!all.items[0].timer.link);
    reactor_free(all.r);
}

/* Two timers in one slot, one revolution (8192 ms) apart: the near one must not take the far one
 * with it. The far one is not waited for. */
static void far_timer_stays(void)
{
    struct alarms all = {.r = new_reactor()};
    for (int i = 0; i < TIMERS; i++)
        all.items[i] = (struct alarm){.timer.on_expire = alarm_expire, .all = &all, .order = -1};
    reactor_timer_set(all.r, &all.items[2].timer, 48);
    reactor_timer_set(all.r, &all.items[3].timer, 48 + 8192);
    reactor_timer_set(all.r, &all.items[4].timer, 48 + 3 * 8192);
    reactor_run(all.r);
    CHECK_INT(all.items[2].order, 0);
    CHECK_INT(all.fired, 1);
    CHECK(all.items[3].timer.link != NULL);
    CHECK(all.items[4].timer.link != NULL);
    reactor_free(all.r);
}

/* Descriptors. */

struct pair {
    struct watch watch[2];
    struct reactor *r;
    int ready;
    uint32_t events;
};

static struct pair *the_pair(struct watch *w, int i)
{
    return OF(w - i, struct pair, watch);
}

static void take_other_away(struct pair *p, int me)
{
    p->ready++;
    reactor_unwatch(p->r, &p->watch[1 - me]);
    reactor_unwatch(p->r, &p->watch[me]);
    reactor_stop(p->r);
}

static void first_ready(struct watch *w, uint32_t events)
{
    take_other_away(the_pair(w, 0), 0);
}

static void second_ready(struct watch *w, uint32_t events)
{
    take_other_away(the_pair(w, 1), 1);
}

static void removed_watch_is_not_called(void)
{
    int pipes[2][2];
    struct pair p = {.r = new_reactor()};
    for (int i = 0; i < 2; i++) {
        CHECK_INT(pipe(pipes[i]), 0);
        CHECK_INT(write(pipes[i][1], "x", 1), 1);
        p.watch[i] = (struct watch){.fd = pipes[i][0], .on_ready = i ? second_ready : first_ready};
        CHECK_INT(reactor_watch(p.r, &p.watch[i], EPOLLIN), OK);
    }
    reactor_run(p.r); /* both are ready in the same turn */
    CHECK_INT(p.ready, 1);
    for (int i = 0; i < 4; i++)
        close(pipes[i / 2][i % 2]);
    reactor_free(p.r);
}

static void note_events(struct watch *w, uint32_t events)
{
    struct pair *p = the_pair(w, 0);
    p->events = events;
    if (++p->ready == 2) {
        reactor_stop(p->r);
        return;
    }
    CHECK_INT(events, EPOLLOUT);
    CHECK_INT(reactor_watch(p->r, w, 0), OK);
    CHECK_INT(w->events, 0);
    CHECK_INT(reactor_watch(p->r, w, 0), OK);
    CHECK_INT(reactor_watch(p->r, w, EPOLLOUT), OK);
}

static void interest_changes(void)
{
    int fds[2];
    struct pair p = {.r = new_reactor()};
    CHECK_INT(pipe(fds), 0);
    p.watch[0] = (struct watch){.fd = fds[1], .on_ready = note_events};
    CHECK_INT(reactor_watch(p.r, &p.watch[0], EPOLLIN), OK);
    CHECK_INT(reactor_watch(p.r, &p.watch[0], EPOLLOUT), OK);
    CHECK_INT(p.watch[0].events, EPOLLOUT);
    reactor_run(p.r);
    CHECK_INT(p.ready, 2);
    struct watch bad = {.fd = -1};
    CHECK(reactor_watch(p.r, &bad, EPOLLIN) != OK);
    CHECK_INT(bad.events, 0);
    close(fds[0]);
    close(fds[1]);
    reactor_free(p.r);
}

TESTS({"posts keep order", posts_keep_order}, {"wake-ups are not lost", wakeups_are_not_lost},
      {"reposting does not starve timers", reposting_does_not_starve_timers},
      {"stop before run", stop_before_run},
      {"timers fire, move and cancel", timers_fire_move_and_cancel},
      {"a far timer stays", far_timer_stays},
      {"a removed watch is not called", removed_watch_is_not_called},
      {"interest changes", interest_changes});

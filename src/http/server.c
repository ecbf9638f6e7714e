/* Listeners, reactors, and which connection goes where.
 *
 * Every reactor watches every listening socket (EPOLLEXCLUSIVE); whichever wakes accepts, and hands
 * the connection to the reactor with the fewest bytes in flight. */
#include "http/h2.h"

#include "net/unix_socket.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCEPT_BATCH = 16,   /* before other descriptors have their turn */
    ACCEPT_FULL_MS = 20, /* until the limit on connections is looked at again */
    ACCEPT_NO_FILES_MS = 100,
};

/* Where connections come in. */
struct door {
    struct listener listener;
    bool admin; /* the admin socket */
    str text;   /* for people */
};

/* One reactor's watch on one door. */
struct acceptor {
    struct watch watch;
    struct shard *shard;
    struct door *door;
};

/* Accepting. */

static struct shard *least_loaded(struct http_server *s)
{
    struct shard *best = &s->shards[0];
    unsigned long long best_bytes = ~0ull;
    unsigned best_connections = 0;
    for (unsigned i = 0; i < s->shard_n; i++) {
        struct shard *shard = &s->shards[i];
        unsigned long long bytes =
            atomic_load_explicit(&shard->in_flight_bytes, memory_order_relaxed);
        unsigned connections = atomic_load_explicit(&shard->connections, memory_order_relaxed);
        if (bytes < best_bytes || (bytes == best_bytes && connections < best_connections)) {
            best = shard;
            best_bytes = bytes;
            best_connections = connections;
        }
    }
    return best;
}

static void adopt_here(struct task *t)
{
    struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, task));
    conn_adopt(c->shard, c);
}

/* A connection to a wildcard address arrived at one that only its socket knows. */
static str local_text(const struct listener *l, int fd, char out[ADDRESS_LEN_MAX])
{
    struct sockaddr_storage sa = {0};
    socklen_t n = sizeof sa;
    struct address local;
    if (l->address.family == AF_UNSPEC)
        return STR("localhost");
    if (!address_is_any(&l->address) || getsockname(fd, (struct sockaddr *)&sa, &n) < 0)
        return address_text(&l->address, out);
    address_from_sockaddr(&local, &sa);
    return address_text(&local, out);
}

/* The socket's mode keeps others out; this holds whatever became of the mode. */
static bool may_administrate(int fd, uint32_t *uid)
{
    return unix_peer_uid(fd, uid) && (*uid == 0 || *uid == geteuid());
}

bool server_counts(const struct http_server *s, const struct address *a)
{
    static const struct cidr loopback[] = {
        {.base = {.family = AF_INET, .ip = {127}}, .bits = 8},
        {.base = {.family = AF_INET6, .ip = {[15] = 1}}, .bits = 128},
    };
    return s->clients && a->family != AF_UNSPEC && !cidr_match_any(loopback, 2, a) &&
           !cidr_match_any(s->trusted, s->trusted_n, a);
}

enum client_verdict server_admit(struct http_server *s, const struct address *peer)
{
    if (!server_counts(s, peer))
        return CLIENT_UNCOUNTED;
    enum client_verdict verdict = clients_connect(s->clients, peer);
    if (verdict == CLIENT_REFUSED)
        metric_limit(LIMIT_CONNECTIONS_PER_ADDRESS);
    return verdict;
}

/* Whether this peer may come in; *uid tells who comes over the admin socket. */
static enum client_verdict may_enter(struct http_server *s, const struct door *door, int fd,
                                     const struct address *peer, uint32_t *uid)
{
    if (door->admin)
        return may_administrate(fd, uid) ? CLIENT_UNCOUNTED : CLIENT_REFUSED;
    if (!door->listener.proxy)
        return server_admit(s, peer);
    /* A PROXY header of anybody else could name any client. */
    if (peer->family == AF_UNSPEC || cidr_match_any(s->trusted, s->trusted_n, peer))
        return CLIENT_UNCOUNTED;
    metric_add(METRIC_PROXY_REFUSED, 1);
    return CLIENT_REFUSED;
}

static void place(struct acceptor *a, int fd, const struct address *peer)
{
    char text[ADDRESS_LEN_MAX];
    uint32_t uid = 0;
    const struct listener *l = &a->door->listener;
    struct shard *here = a->shard, *target = least_loaded(here->server);
    enum client_verdict verdict = may_enter(here->server, a->door, fd, peer, &uid);
    if (verdict == CLIENT_REFUSED) {
        close(fd);
        atomic_fetch_sub(&here->server->connections, 1);
        return;
    }
    struct tls *tls = l->tls ? here->server->config.tls : NULL;
    struct conn *c = conn_new(fd, l, tls, peer, local_text(l, fd, text));
    c->admin = a->door->admin;
    c->admin_uid = uid;
    c->counted = verdict == CLIENT_COUNTED;
    metric_add(METRIC_CONNECTIONS, 1);
    atomic_fetch_add_explicit(&target->connections, 1, memory_order_relaxed);
    if (target == here) {
        conn_adopt(here, c);
        return;
    }
    c->shard = target;
    c->task.run = adopt_here;
    reactor_post(target->reactor, &c->task);
}

static void stop_accepting(struct shard *s)
{
    for (size_t i = 0; i < s->server->door_n; i++)
        reactor_unwatch(s->reactor, &s->acceptors[i].watch);
}

static void start_accepting(struct shard *s)
{
    for (size_t i = 0; i < s->server->door_n; i++)
        if (reactor_watch(s->reactor, &s->acceptors[i].watch, EPOLLIN | EPOLLEXCLUSIVE))
            reactor_timer_set(s->reactor, &s->accept_again, ACCEPT_NO_FILES_MS);
}

static void accept_again(struct timer *t)
{
    start_accepting((struct shard *)((char *)t - offsetof(struct shard, accept_again)));
}

/* Connections that cannot be taken now stay in the kernel's queue. */
static void pause_accepting(struct shard *s, uint64_t ms, enum limit why)
{
    metric_limit(why);
    stop_accepting(s);
    reactor_timer_set(s->reactor, &s->accept_again, ms);
}

static void on_acceptable(struct watch *w, uint32_t events)
{
    struct acceptor *a = (struct acceptor *)((char *)w - offsetof(struct acceptor, watch));
    struct http_server *s = a->shard->server;
    (void)events;
    for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
        /* The place is taken first, so that reactors together do not pass the limit. */
        if (atomic_fetch_add(&s->connections, 1) >= s->config.limits.connections_max) {
            atomic_fetch_sub(&s->connections, 1);
            pause_accepting(a->shard, ACCEPT_FULL_MS, LIMIT_CONNECTIONS);
            return;
        }
        int fd;
        struct address peer;
        enum err e = listener_accept(w->fd, &fd, &peer);
        if (!e) {
            place(a, fd, &peer);
            continue;
        }
        atomic_fetch_sub(&s->connections, 1);
        if (e == ERR_NO_FILES)
            pause_accepting(a->shard, ACCEPT_NO_FILES_MS, LIMIT_OPEN_FILES);
        if (e != ERR_CLOSED)
            return;
    }
}

/* Reactors. */

static void tell_changed(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void drain_shard(struct task *t)
{
    struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, drain));
    s->draining = true;
    reactor_timer_cancel(s->reactor, &s->accept_again);
    stop_accepting(s);
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        conn_drain(c);
    }
    pthread_mutex_lock(&s->server->lock);
    s->server->drained_n++;
    pthread_mutex_unlock(&s->server->lock);
    tell_changed(s->server);
}

static void kill_shard(struct task *t)
{
    struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, kill));
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        conn_kill(c);
    }
}

static void alive_shard(struct task *t)
{
    struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, alive));
    atomic_store(&s->asked, false);
}

static void *shard_main(void *arg)
{
    struct shard *s = arg;
    start_accepting(s);
    reactor_run(s->reactor);
    return NULL;
}

static enum err shard_init(struct shard *s, struct http_server *server, unsigned index)
{
    *s = (struct shard){.server = server,
                        .date_second = -1,
                        .accept_again.on_expire = accept_again,
                        .drain.run = drain_shard,
                        .kill.run = kill_shard,
                        .alive.run = alive_shard};
    enum err e = reactor_new(&s->reactor, index);
    if (e)
        return e;
    iobuf_pool_init(&s->iobufs, s->reactor, exchange_iobuf_home);
    random_bytes(&s->id_state, sizeof s->id_state);
    s->scratch = malloc(SCRATCH_BYTES);
    s->acceptors = calloc(server->door_n, sizeof *s->acceptors);
    s->tls_scratch = server->config.tls ? malloc(TRANSPORT_SCRATCH_BYTES) : NULL;
    if (!s->scratch || (server->config.tls && !s->tls_scratch) ||
        (!s->acceptors && server->door_n > 0))
        abort();
    for (size_t i = 0; i < server->door_n; i++)
        s->acceptors[i] = (struct acceptor){
            .watch = {.fd = server->doors[i].listener.fd, .on_ready = on_acceptable},
            .shard = s,
            .door = &server->doors[i]};
    return OK;
}

static void shard_release(struct shard *s)
{
    if (!s->reactor)
        return;
    iobuf_pool_release(&s->iobufs);
    for (struct exchange *x; (x = s->free_exchanges);) {
        s->free_exchanges = x->next_free;
        arena_release(&x->arena);
        free(x);
    }
    free(s->acceptors);
    free(s->scratch);
    free(s->tls_scratch);
    h2_shared_free(s->h2);
    reactor_free(s->reactor);
}

/* The server. */

/* Server-long text. */
static str keep(struct http_server *s, str text)
{
    return arena_str(&s->arena, text);
}

static enum err open_admin_socket(struct http_server *s, str path, struct arena *a,
                                  struct error *why)
{
    int fd;
    enum err e = unix_listen(path, 0600, &fd, a, why);
    if (e) {
        why->message = arena_printf(a, "%.*s; choose another admin.socket", STR_ARG(why->message));
        return e;
    }
    s->doors[s->door_n++] =
        (struct door){.listener = {.fd = fd, .path = keep(s, path)}, .admin = true};
    return OK;
}

static void take_listeners(struct http_server *s, const struct http_config *config)
{
    s->doors = ARENA_ARRAY(&s->arena, config->listener_n + 1, struct door);
    for (size_t i = 0; i < config->listener_n; i++) {
        struct door *door = &s->doors[s->door_n++];
        door->listener = config->listeners[i];
        door->listener.path = keep(s, door->listener.path);
        door->text = listener_text(&door->listener, &s->arena);
    }
}

static enum err parse_proxies(struct http_server *s, const struct http_config *config,
                              struct arena *a, struct error *why)
{
    s->trusted = calloc(config->trusted_proxy_n, sizeof *s->trusted);
    if (!s->trusted && config->trusted_proxy_n > 0)
        abort();
    for (size_t i = 0; i < config->trusted_proxy_n; i++) {
        if (!cidr_parse(config->trusted_proxies[i], &s->trusted[i]))
            return error_set(a, why, ERR_CONFIG,
                             "\"%.*s\" is not an address or a block such as 10.0.0.0/8",
                             STR_ARG(config->trusted_proxies[i]));
        s->trusted_n++;
    }
    return OK;
}

static void make_clients(struct http_server *s)
{
    const struct http_limits *limits = &s->config.limits;
    const struct clients_config config = {
        .addresses_max = limits->addresses_max,
        .connections_max = limits->address_connections_max,
        .requests_rate_max = limits->address_requests_rate_max,
        .requests_burst = limits->address_requests_burst,
    };
    if (config.connections_max || config.requests_rate_max)
        s->clients = clients_new(&config);
}

static enum err make_shards(struct http_server *s, unsigned n, struct arena *a, struct error *why)
{
    s->shards = calloc(n, sizeof *s->shards);
    if (!s->shards)
        abort();
    s->shard_n = n;
    for (unsigned i = 0; i < n; i++) {
        enum err e = shard_init(&s->shards[i], s, i);
        if (e)
            return error_set(a, why, e, "reactor %u could not be made: %s", i, err_text(e));
    }
    return OK;
}

enum err http_server_new(struct http_server **ret, const struct http_config *config,
                         struct arena *a, struct error *why)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->config = *config;
    s->config.listeners = NULL;
    s->config.trusted_proxies = NULL;
    budget_init(&s->budget, config->limits.receive_memory_bytes);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    enum err e = OK;
    take_listeners(s, config);
    make_clients(s);
    if ((e = parse_proxies(s, config, a, why)) ||
        (config->admin_socket.n && (e = open_admin_socket(s, config->admin_socket, a, why))) ||
        (e = make_shards(s, config->reactors_n ? config->reactors_n : 1, a, why))) {
        http_server_free(s);
        return e;
    }
    *ret = s;
    return OK;
}

static void stop_shards(struct http_server *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        reactor_stop(s->shards[i].reactor);
    for (unsigned i = 0; i < n; i++)
        pthread_join(s->shards[i].thread, NULL);
}

/* Reactors block all signals: they are the main thread's, and SIGPIPE is nobody's. */
enum err http_server_start(struct http_server *s)
{
    sigset_t all, before;
    int errnum = 0;
    unsigned n = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; n < s->shard_n && !errnum; n++) {
        struct shard *shard = &s->shards[n];
        char name[24];
        errnum = pthread_create(&shard->thread, NULL, shard_main, shard);
        if (errnum)
            break;
        snprintf(name, sizeof name, "reactor %u", n);
        (void)pthread_setname_np(shard->thread, name);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errnum) {
        stop_shards(s, n);
        return err_from_errno(errnum);
    }
    s->running = true;
    return OK;
}

str http_server_address(const struct http_server *s, size_t n)
{
    return n < s->door_n ? s->doors[n].text : (str){0};
}

static bool drained(struct http_server *s)
{
    return s->drained_n == s->shard_n && atomic_load(&s->connections) == 0;
}

static void wait_until_drained(struct http_server *s, const struct timespec *until)
{
    pthread_mutex_lock(&s->lock);
    int late = 0;
    while (!drained(s) && late != ETIMEDOUT)
        late = until ? pthread_cond_timedwait(&s->changed, &s->lock, until)
                     : pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* The shards' part of this takes one turn of each; no transfer is waited for. */
static void wait_until_none_accepts(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->drained_n < s->shard_n)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void close_listeners(struct http_server *s)
{
    for (size_t i = 0; i < s->door_n; i++) {
        struct listener *l = &s->doors[i].listener;
        if (l->fd < 0)
            continue;
        if (l->path.n && !l->inherited)
            unix_unlink(l->path);
        close(l->fd);
        l->fd = -1;
    }
}

void http_server_drain(struct http_server *s, uint64_t grace_ms)
{
    if (!s->running)
        return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(grace_ms / 1000);
    until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    for (unsigned i = 0; i < s->shard_n; i++)
        reactor_post(s->shards[i].reactor, &s->shards[i].drain);
    /* Closed now, or the kernel would go on taking connections that nobody serves. */
    wait_until_none_accepts(s);
    close_listeners(s);
    wait_until_drained(s, &until);
    for (unsigned i = 0; i < s->shard_n; i++)
        reactor_post(s->shards[i].reactor, &s->shards[i].kill);
    wait_until_drained(s, NULL);
    stop_shards(s, s->shard_n);
    s->running = false;
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_drain(s, 0);
    close_listeners(s);
    for (unsigned i = 0; i < s->shard_n; i++)
        shard_release(&s->shards[i]);
    free(s->shards);
    clients_free(s->clients);
    arena_release(&s->arena);
    free(s->trusted);
    budget_release(&s->budget);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

bool http_server_alive(struct http_server *s)
{
    bool alive = true;
    for (unsigned i = 0; i < s->shard_n; i++) {
        struct shard *shard = &s->shards[i];
        if (atomic_exchange(&shard->asked, true))
            alive = false;
        else
            reactor_post(shard->reactor, &shard->alive);
    }
    return alive;
}

unsigned http_server_connections(const struct http_server *s)
{
    return atomic_load_explicit(&s->connections, memory_order_relaxed);
}

void http_server_memory(struct http_server *s, uint64_t *used_bytes, uint64_t *max_bytes)
{
    *max_bytes = s->config.limits.receive_memory_bytes;
    *used_bytes = budget_used(&s->budget);
}

bool http_server_reactor(const struct http_server *s, unsigned n, unsigned *connections,
                         uint64_t *in_flight_bytes)
{
    if (n >= s->shard_n)
        return false;
    *connections = atomic_load_explicit(&s->shards[n].connections, memory_order_relaxed);
    *in_flight_bytes = atomic_load_explicit(&s->shards[n].in_flight_bytes, memory_order_relaxed);
    return true;
}

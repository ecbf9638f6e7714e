/* berth serve: builds the program's parts in dependency order, runs until a signal, takes them down
 * in reverse. */
#include "api/metrics.h"
#include "base/clock.h"
#include "base/cpus.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "cli/app.h"
#include "cli/first_start.h"
#include "cli/notify.h"
#include "cli/options.h"
#include "cli/reload.h"
#include "cli/serve_metrics.h"
#include "cli/serve_rights.h"
#include "cli/serve_tls.h"
#include "cli/sockets.h"
#include "cli/welcome.h"
#include "http/server.h"
#include "registry/upload.h"
#include "registry/upload_begun.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    UPLOADS_IDLE_MAX = 256,
    SIGNS_PER_WATCHDOG = 3, /* one that is lost or late does no harm */
    MEMORY_MS = 10 * 1000,  /* between two times unused memory is given back */
};

struct serving {
    struct arena arena;
    struct conf conf;
    struct error why;
    struct sockets sockets; /* the descriptors are the server's once there is one */
    int lock_fd;
    struct app app;
    struct http_server *server;
    struct serve_metrics metrics;
    struct serve_tls tls;
    struct reload reload;
    struct notify notify;
    str status; /* one line for the service manager */
    struct confinement confinement;
    str generated_password;
};

/* Each connection is a descriptor, and so is each file being sent. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit))
            LOG(WARN, "file_limit_not_raised", log_int("limit", (int64_t)limit.rlim_cur));
    }
}

static enum err count_uploads(struct serving *s)
{
    DB_CURSOR struct db_cursor c = db_query(db_reader(s->app.db, 0), Q_UPLOAD_COUNT);
    if (!db_next(&c))
        return c.err ? c.err : ERR_DB;
    atomic_store(&s->app.registry.uploads_n, (uint64_t)db_int(&c, 0));
    return OK;
}

static struct http_limits limits(const struct conf *conf)
{
    return (struct http_limits){
        .connections_max = (unsigned)conf->limits_connections,
        .address_connections_max = (unsigned)conf->limits_connections_per_address,
        .address_requests_rate_max = (unsigned)conf->limits_requests_per_address,
        .address_requests_burst = (unsigned)conf->limits_requests_burst,
        .addresses_max = conf->limits_addresses,
        .head_bytes_max = conf->limits_head_bytes,
        .head_fields_max = (unsigned)conf->limits_head_fields,
        .target_bytes_max = conf->limits_target_bytes,
        .body_bytes_max = conf->limits_manifest_bytes,
        .receive_memory_bytes = conf->limits_receive_memory_bytes,
        .upload_window_bytes = conf->limits_upload_window_bytes,
        .ranges_max = (unsigned)conf->limits_ranges,
        .handshake_ms = conf->timeouts_handshake_ms,
        .head_ms = conf->timeouts_head_ms,
        .idle_ms = conf->timeouts_idle_ms,
        .body_ms = conf->timeouts_body_ms,
        .body_bytes_per_second_min = conf->limits_body_rate_bytes,
        .send_ms = conf->timeouts_send_ms,
        .drain_ms = conf->timeouts_drain_ms,
    };
}

static struct http2_limits http2(const struct conf *conf)
{
    return (struct http2_limits){
        .cleartext = conf->http2_cleartext,
        .streams_max = (unsigned)conf->http2_streams,
        .window_bytes = conf->http2_window_bytes,
        .resets_max = (unsigned)conf->http2_resets,
        .control_frames_max = (unsigned)conf->http2_control_frames,
        .continuations_max = (unsigned)conf->http2_continuations,
        .queue_max = (unsigned)conf->http2_queue,
    };
}

/* As many as the option may ask for at most, and as metrics have room for. */
static unsigned reactors_n(const struct conf *conf)
{
    unsigned n = conf->threads_reactors ? (unsigned)conf->threads_reactors : cpus_usable();
    return n < METRIC_REACTORS_MAX ? n : METRIC_REACTORS_MAX;
}

static enum err open_server(struct serving *s)
{
    const struct conf *conf = &s->conf;
    enum err e = pool_new(&s->app.registry.pool, app_workers_n(conf), (unsigned)conf->limits_queue);
    if (e)
        return e;
    const struct http_config config = {
        .listeners = s->sockets.list,
        .listener_n = s->sockets.n,
        .admin_socket = app_admin_socket(conf, &s->arena),
        .tls = s->tls.tls,
        .reactors_n = reactors_n(conf),
        .limits = limits(conf),
        .http2 = http2(conf),
        .trusted_proxies = conf->server_trusted_proxies.items,
        .trusted_proxy_n = conf->server_trusted_proxies.n,
        .router = {api_routes, api_route_tables_n},
        .pool = s->app.registry.pool,
        .app = &s->app,
        .render_error = api_render_error,
        .on_done = api_on_done,
        .on_refused = api_on_refused,
    };
    api_metrics_init(&s->arena, config.reactors_n);
    e = http_server_new(&s->server, &config, &s->arena, &s->why);
    s->sockets.taken = true;
    s->app.server = s->server;
    if (!e)
        e = http_server_start(s->server);
    return e ? e : serve_metrics_start(&s->metrics, &config, &s->arena, &s->why);
}

/* Behind the workers' readers there is one for the collector. */
static enum err open_collector(struct serving *s)
{
    const struct gc gc = app_gc(&s->app, db_reader(s->app.db, (int)app_workers_n(&s->conf)));
    return collector_new(&s->app.collector, &gc, s->conf.gc_interval_ms);
}

/* The reader behind the collector's is the scrub's. */
static enum err open_scrub(struct serving *s)
{
    const struct conf *conf = &s->conf;
    if (!conf->scrub_rate_bytes)
        return OK;
    const struct scrub_config config = {
        .db = s->app.db,
        .reader = db_reader(s->app.db, (int)app_workers_n(conf) + 1),
        .store = s->app.registry.store,
        .rate_bytes = conf->scrub_rate_bytes,
        .interval_ms = conf->scrub_interval_ms,
    };
    s->app.scrub = scrub_new(&config);
    return scrub_start(s->app.scrub);
}

static enum err open_all(struct serving *s)
{
    enum err e =
        app_open(&s->app, &s->conf, app_workers_n(&s->conf) + 2, &s->lock_fd, &s->arena, &s->why);
    if (!e)
        e = first_start(&s->app, isatty(STDOUT_FILENO), &s->arena, &s->generated_password, &s->why);
    if (!e)
        e = count_uploads(s);
    if (!e) {
        s->app.registry.uploads = upload_table_new(s->app.registry.store, UPLOADS_IDLE_MAX);
        s->app.registry.begun = upload_begun_table_new();
    }
    if (!e)
        e = open_collector(s);
    if (!e)
        e = open_scrub(s);
    if (!e && s->conf.tls_self_signed)
        e = serve_tls_open(&s->tls, &s->conf, &s->arena, &s->why);
    return e ? e : open_server(s);
}

static void keep_uploads(struct registry *registry)
{
    enum err e = registry->begun ? upload_keep_begun(registry) : OK;
    if (e)
        LOG(WARN, "uploads_forgotten", log_err(e));
}

static void close_all(struct serving *s)
{
    collector_stop(s->app.collector);
    scrub_stop(s->app.scrub);
    serve_metrics_close(&s->metrics); /* first: it looks at the other */
    http_server_free(s->server);
    sockets_close(&s->sockets);
    serve_tls_close(&s->tls);
    reload_release(&s->reload);
    if (s->app.registry.pool)
        pool_free(s->app.registry.pool);
    collector_free(s->app.collector);
    scrub_free(s->app.scrub);
    keep_uploads(&s->app.registry);
    upload_table_free(s->app.registry.uploads);
    upload_begun_table_free(s->app.registry.begun);
    app_close(&s->app, &s->lock_fd);
    log_thread_stop();
}

/* What was not shown stays in its file. */
static void forget_password(struct serving *s, bool shown)
{
    struct error why = {0};
    explicit_bzero((char *)s->generated_password.p, s->generated_password.n);
    if (shown && first_start_shown(s->conf.data, &s->arena, &why))
        LOG(WARN, "admin_password_kept", log_str("reason", why.message));
}

static void tell_ready(struct serving *s)
{
    if (s->generated_password.p && !isatty(STDOUT_FILENO))
        LOG(INFO, "admin_password_written",
            log_str("file",
                    arena_printf(&s->arena, "%.*s/" FIRST_START_PASSWORD, STR_ARG(s->conf.data))));
    serve_metrics_tell(&s->metrics, &s->arena);
    for (size_t i = 0; i < s->sockets.n; i++) {
        const struct listener *l = &s->sockets.list[i];
        LOG(INFO, "ready", log_cstr("scheme", l->tls ? "https" : "http"),
            log_str("address", listener_text(l, &s->arena)),
            log_cstr("proxy_protocol", l->proxy ? "required" : ""), log_str("data", s->conf.data),
            log_cstr("version", BERTH_VERSION));
    }
    const struct listener *shown = sockets_first(&s->sockets);
    struct welcome welcome = {
        .address = listener_text(shown, &s->arena),
        .url = s->conf.server_url,
        .data = s->conf.data,
        .secure = shown->tls,
        .self_signed = s->conf.tls_self_signed ? s->tls.config.cert : (str){0},
        .password = s->generated_password,
        .open_to_all = s->conf.auth_anonymous == AUTH_ANONYMOUS_PUSH,
    };
    bool printed = welcome_print(&welcome, &s->arena);
    if (s->generated_password.p)
        forget_password(s, printed && isatty(STDOUT_FILENO));
    serve_tls_warn(&s->tls);
    s->status = arena_printf(&s->arena, "Serving on %.*s", STR_ARG(welcome.address));
    notify_ready(&s->notify, s->status);
}

static void reload(struct serving *s)
{
    notify_reloading(&s->notify);
    reload_run(&s->reload);
    notify_ready(&s->notify, s->status);
}

/* What is due every so often while the server runs. */
struct chore {
    uint64_t every_ms; /* 0: never */
    uint64_t due_ms;
};

static bool chore_due(struct chore *c, uint64_t now_ms)
{
    if (!c->every_ms || now_ms < c->due_ms)
        return false;
    c->due_ms = now_ms + c->every_ms;
    return true;
}

static uint64_t chore_wait(const struct chore *c, uint64_t now_ms, uint64_t most_ms)
{
    uint64_t wait_ms = c->due_ms > now_ms ? c->due_ms - now_ms : 0;
    return c->every_ms && wait_ms < most_ms ? wait_ms : most_ms;
}

/* SIGTERM or SIGINT end the wait, SIGHUP asks for a reload. Certificates, memory and open files are
 * looked after in the meantime, and the service manager gets its signs of life as long as all
 * reactors give theirs. */
static void wait_for_end(struct serving *s, const sigset_t *signals)
{
    struct chore tls = {.every_ms = s->tls.tls ? SERVE_TLS_TICK_S * 1000 : 0},
                 memory = {.every_ms = MEMORY_MS},
                 watchdog = {.every_ms = s->notify.watchdog_ms / SIGNS_PER_WATCHDOG};
    for (;;) {
        uint64_t now_ms = clock_mono_ms();
        if (chore_due(&tls, now_ms))
            serve_tls_tick(&s->tls);
        if (chore_due(&memory, now_ms)) {
            store_close_kept(s->app.registry.store);
            memory_give_back();
        }
        if (chore_due(&watchdog, now_ms) && http_server_alive(s->server))
            notify_alive(&s->notify);
        uint64_t wait_ms = chore_wait(&tls, now_ms, chore_wait(&watchdog, now_ms, MEMORY_MS));
        const struct timespec wait = {.tv_sec = (time_t)(wait_ms / 1000),
                                      .tv_nsec = (long)(wait_ms % 1000) * 1000000};
        int number = sigtimedwait(signals, NULL, &wait);
        if (number == SIGTERM || number == SIGINT)
            return;
        if (number == SIGHUP)
            reload(s);
    }
}

/* What needs the rights the process was started with, and must be done by its only thread. */
static enum err prepare(struct serving *s)
{
    const struct conf *conf = &s->conf;
    struct identity id;
    if (!notify_open(&s->notify))
        LOG(WARN, "service_manager_not_reached", log_cstr("variable", "NOTIFY_SOCKET"));
    enum err e = identity_find(conf->user, &id, &s->arena, &s->why);
    if (!e)
        e = sockets_open(&s->sockets, conf, serve_tls_wanted(conf), &s->arena, &s->why);
    if (!e)
        e = serve_metrics_open(&s->metrics, conf, &s->arena, &s->why);
    /* A self-signed certificate is kept with the data. */
    if (!e && !conf->tls_self_signed)
        e = serve_tls_open(&s->tls, conf, &s->arena, &s->why);
    if (e)
        return e;
    const struct sockets all = sockets_both(&s->sockets, &s->metrics.sockets, &s->arena);
    return serve_rights_give_up(&s->confinement, &id, conf, cli_config_file(s->reload.flags), &all,
                                &s->arena, &s->why);
}

static int run(struct serving *s)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    log_init(STDERR_FILENO, (enum log_format)s->conf.log_format, (enum log_level)s->conf.log_level);
    raise_file_limit();

    enum err e = prepare(s);
    if (!e)
        e = log_thread_start();
    if (!e)
        e = open_all(s);
    if (!e) {
        tell_ready(s);
        wait_for_end(s, &signals);
        metric_set_at(METRIC_UNREADY, UNREADY_STOPPING, 1);
        notify_stopping(&s->notify, STR("Finishing what runs"));
        LOG(INFO, "stopping", log_int("grace_ms", (int64_t)s->conf.shutdown_grace_ms));
        collector_stop(s->app.collector);
        scrub_stop(s->app.scrub);
        http_server_drain(s->server, s->conf.shutdown_grace_ms);
    }
    close_all(s);
    notify_close(&s->notify);
    const char *advice = e == ERR_DB_CORRUPT ? "; \"berth fsck\" tells what is left, \"berth "
                                               "restore\" brings a backup back"
                                             : "";
    if (e)
        fprintf(stderr, "berth: %.*s%s\n",
                STR_ARG(s->why.message.n ? s->why.message : str_from(err_text(e))), advice);
    else
        LOG(INFO, "stopped");
    return e ? 1 : 0;
}

int cmd_serve(int argc, char **argv)
{
    struct serving s = {.lock_fd = -1, .notify = {.fd = -1}};
    struct flags flags;
    int status = 0;
    s.reload = (struct reload){.flags = &flags,
                               .started = &s.conf,
                               .app = &s.app,
                               .tls = &s.tls,
                               .confinement = &s.confinement};
    if (cli_parse(argv[0], conf_flags, argc, argv, &s.arena, &flags, &status) &&
        cli_load(argv[0], &flags, 0, &s.arena, &s.conf, &status))
        status = run(&s);
    arena_release(&s.arena);
    return status;
}

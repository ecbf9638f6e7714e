#include "cli/app.h"

#include "base/cpus.h"
#include "base/log.h"
#include "cli/data_dir.h"

#include <sys/resource.h>
#include <unistd.h>

enum {
    WORKERS_MIN = 32, /* also on few CPUs: those that wait for the disk share its commits */
    CONTENT_SHARDS = 16,
    FILES_KEPT_MAX = 1024,
    FILES_KEPT_PART = 16, /* of the descriptors there are: the others are connections' */
};

unsigned app_workers_n(const struct conf *conf)
{
    unsigned automatic = 4 * cpus_usable();
    if (automatic < WORKERS_MIN)
        automatic = WORKERS_MIN;
    return conf->threads_workers ? (unsigned)conf->threads_workers : automatic;
}

static size_t files_kept(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t part = limit.rlim_cur / FILES_KEPT_PART;
    return part < FILES_KEPT_MAX ? part : FILES_KEPT_MAX;
}

static enum err open_auth(struct app *app)
{
    const struct conf *conf = app->conf;
    const struct auth_config config = {
        .anonymous = (enum auth_anonymous)conf->auth_anonymous,
        .token_lifetime_ms = conf->auth_token_lifetime_ms,
        .bcrypt_cost = (unsigned)conf->auth_bcrypt_cost,
        .password_checks_max = (unsigned)conf->auth_password_checks,
        .password_queue_max = conf->auth_password_queue ? (unsigned)conf->auth_password_queue
                                                        : app_workers_n(conf) / 2,
        .password_cache_ms = conf->auth_password_cache_ms,
        .create_on_push = conf->projects_create_on_push,
        .refresh_lifetime_ms = conf->auth_refresh_lifetime_ms,
        .refresh_tokens_max = (unsigned)conf->auth_refresh_tokens,
    };
    return auth_new(&app->auth, app->db, &config);
}

enum err app_open(struct app *app, const struct conf *conf, unsigned readers_n, int *lock_fd,
                  struct arena *a, struct error *why)
{
    struct registry *registry = &app->registry;
    app->conf = conf;
    app->log_access = conf->log_access;
    enum err e = data_dir_take(conf->data, a, lock_fd, why);
    if (!e)
        e = data_dir_check_whole(conf->data, a, why);
    if (!e)
        e = db_open(&app->db, conf->data, readers_n, a, why);
    if (!e)
        e = store_open(&registry->store, conf->data, a, why);
    if (!e)
        e = db_remember(app->db, conf->cache_memory_bytes / 2);
    if (!e && conf->cache_memory_bytes)
        registry->content = cache_new(CACHE_CONTENT, conf->cache_memory_bytes / 2, CONTENT_SHARDS);
    if (!e && conf->cache_memory_bytes)
        store_keep_open(registry->store, files_kept());
    if (!e)
        store_set_reserve(registry->store, conf->storage_reserve_bytes);
    registry->db = app->db;
    registry->new_projects_public = conf->auth_anonymous != AUTH_ANONYMOUS_NONE;
    registry->blob_bytes_max = conf->limits_blob_bytes;
    registry->uploads_max = conf->limits_uploads;
    registry->review_delay_ms = conf->gc_review_delay_ms;
    return e ? e : open_auth(app);
}

void app_close(struct app *app, int *lock_fd)
{
    auth_free(app->auth);
    store_close(app->registry.store);
    cache_free(app->registry.content);
    enum err e = db_close(app->db);
    if (e)
        LOG(WARN, "checkpoint_left", log_err(e),
            log_cstr("effect", "berth.db-wal holds what is not in berth.db: keep both"));
    if (*lock_fd >= 0)
        close(*lock_fd);
    *lock_fd = -1;
}

str app_admin_socket(const struct conf *conf, struct arena *a)
{
    str path = conf->admin_socket;
    if (str_eq(path, STR("none")))
        return (str){0};
    if (str_starts(path, STR("/")))
        return path;
    return arena_printf(a, "%.*s/%.*s", STR_ARG(conf->data), STR_ARG(path));
}

/* Health: /healthz (the process answers) and /readyz (it can serve).
 *
 * What makes the registry unready is noted, as a metric, by whoever notices: a write that failed,
 * the wish to stop. While writing is said to fail, /readyz tries it, as perhaps nobody else does:
 * then no client comes who would. */
#include "api/app.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/metrics.h"
#include "registry/damage.h"

static enum err healthz(struct request *req, struct response *res)
{
    (void)req;
    response_json(res, 200, STR("{\"status\":\"ok\"}"));
    return OK;
}

static bool unready(enum unready reason)
{
    return metric_value_at(METRIC_UNREADY, reason) != 0;
}

static enum err write_row(struct db_conn *conn, void *arg)
{
    (void)arg;
    int64_t now_us = clock_wall_us();
    return db_exec(conn, Q_PASS_SET, DB_TEXT(STR("readyz")), DB_INT(now_us), DB_INT(0),
                   DB_INT(now_us));
}

static enum err write_file(struct store *store)
{
    uint8_t id[16];
    char uuid[UUID_LEN];
    struct store_upload *u;
    uuid_new(id);
    str name = uuid_format(id, uuid);
    enum err e = store_upload_open(store, name, 0, &u);
    if (e)
        return e;
    e = store_upload_write(u, 0, STR("probe"));
    if (!e)
        e = store_upload_sync(u, sizeof "probe" - 1);
    store_upload_close(u);
    enum err swept = store_upload_discard(store, name);
    return e ? e : swept;
}

/* One at a time: a disk may hang. What succeeds is noted where it is done. */
static void probe(struct app *app)
{
    if (atomic_exchange(&app->probing, true))
        return;
    if (unready(UNREADY_DATABASE) && db_tx(app->db, write_row, NULL))
        metric_set_at(METRIC_UNREADY, UNREADY_DATABASE, 1);
    if (unready(UNREADY_STORE) && write_file(app->registry.store))
        metric_set_at(METRIC_UNREADY, UNREADY_STORE, 1);
    atomic_store(&app->probing, false);
}

static enum err check_unready(struct request *req)
{
    if (unready(UNREADY_STOPPING))
        return fail(req, ERR_SHUTTING_DOWN, "the server is stopping");
    if (unready(UNREADY_DATABASE) || unready(UNREADY_STORE))
        probe(req->app);
    if (unready(UNREADY_DATABASE))
        return fail(req, ERR_BUSY, "the database cannot be written");
    if (unready(UNREADY_STORE))
        return fail(req, ERR_BUSY, "blobs cannot be written");
    return OK;
}

static enum err readyz(struct request *req, struct response *res)
{
    struct app *app = req->app;
    struct db_conn *conn = db_reader(app->db, req->worker);
    if (!conn)
        return ERR_WOULD_BLOCK;
    enum err e = check_unready(req);
    if (e)
        return e;
    DB_CURSOR struct db_cursor c = db_query(conn, Q_PROJECT_FIND, DB_TEXT(STR("library")));
    if (!db_next(&c))
        return fail(req, ERR_BUSY, "the database does not answer: %s", err_text(c.err));
    db_cursor_end(&c);
    /* Content that is lost does not make the registry unready: all the other is served. */
    uint64_t damaged;
    e = blob_damaged_count(conn, &damaged);
    if (e)
        return fail(req, ERR_BUSY, "the database does not answer: %s", err_text(e));
    response_json(res, 200,
                  arena_printf(req->arena,
                               "{\"status\":\"ready\",\"version\":\"" BERTH_VERSION
                               "\",\"schema\":%u,\"damaged_blobs\":%llu}",
                               db_schema(), (unsigned long long)damaged));
    return OK;
}

const struct route health_routes[] = {
    {METHOD_GET, "/healthz", healthz, BODY_DRAIN, .quick = true, .help = "The process answers"},
    {METHOD_GET, "/readyz", readyz, BODY_DRAIN, .help = "The registry can serve"},
    {0},
};

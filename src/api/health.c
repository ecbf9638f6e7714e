/* Health: /healthz (the process answers) and /readyz (it can serve).
 *
 * What makes the registry unready is noted by whoever notices: a write that failed, damage, the
 * wish to stop. While files cannot be written, /readyz tries it, as perhaps nobody else does: then
 * no client comes who would. The database's writer tries by itself. */
#include "api/app.h"
#include "api/routes.h"
#include "base/metrics.h"
#include "registry/damage.h"

static enum err healthz(struct request *req, struct response *res)
{
    (void)req;
    response_json(res, 200, STR("{\"status\":\"ok\"}"));
    return OK;
}

/* One at a time: a disk may hang. */
static enum err store_trouble(struct app *app)
{
    struct store *store = app->registry.store;
    if (store_condition(store) && !atomic_exchange(&app->probing, true)) {
        enum err e = store_probe(store); /* noted in the condition */
        (void)e;
        atomic_store(&app->probing, false);
    }
    return store_condition(store);
}

static enum err check_unready(struct request *req)
{
    struct app *app = req->app;
    if (metric_value_at(METRIC_UNREADY, UNREADY_STOPPING))
        return fail(req, ERR_SHUTTING_DOWN, "the server is stopping");
    struct db_condition database = db_condition(app->db);
    if (database.damaged)
        return fail(
            req, ERR_BUSY,
            "the database is damaged, and nothing is written to it any more: see berth fsck "
            "and berth restore");
    if (database.writing)
        return fail(req, ERR_BUSY, "the database cannot be written: %s",
                    err_text(database.writing));
    enum err e = store_trouble(app);
    return e ? fail(req, ERR_BUSY, "blobs cannot be written: %s", err_text(e)) : OK;
}

static enum err readyz(struct request *req, struct response *res)
{
    struct app *app = req->app;
    struct db_conn *conn = db_reader(app->db, req->worker);
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
    /* Nor does a log that cannot be emptied: what it takes is durable. */
    enum err upkeep = db_condition(app->db).upkeep;
    response_json(res, 200,
                  arena_printf(req->arena,
                               "{\"status\":\"ready\",\"version\":\"" BERTH_VERSION
                               "\",\"schema\":%u,\"damaged_blobs\":%llu,\"checkpoint\":\"%s\"}",
                               db_schema(), (unsigned long long)damaged, upkeep ? "fails" : "ok"));
    return OK;
}

const struct route health_routes[] = {
    {METHOD_GET, "/healthz", healthz, BODY_DRAIN, .quick = true, .help = "The process answers"},
    {METHOD_GET, "/readyz", readyz, BODY_DRAIN, .help = "The registry can serve"},
    {0},
};

/* Health: /healthz (the process answers) and /readyz (it can serve: database and store answer). */
#include "api/app.h"
#include "api/routes.h"
#include "registry/damage.h"

static enum err healthz(struct request *req, struct response *res)
{
    (void)req;
    response_json(res, 200, STR("{\"status\":\"ok\"}"));
    return OK;
}

static enum err readyz(struct request *req, struct response *res)
{
    struct app *app = req->app;
    struct db_conn *conn = db_reader(app->db, req->worker);
    if (!conn)
        return ERR_WOULD_BLOCK;
    DB_CURSOR struct db_cursor c = db_query(conn, Q_PROJECT_FIND, DB_TEXT(STR("library")));
    if (!db_next(&c))
        return fail(req, ERR_BUSY, "the database does not answer: %s", err_text(c.err));
    db_cursor_end(&c);
    /* Content that is lost does not make the registry unready: all the other is served. */
    uint64_t damaged;
    enum err e = blob_damaged_count(conn, &damaged);
    if (e)
        return fail(req, ERR_BUSY, "the database does not answer: %s", err_text(e));
    response_json(res, 200,
                  arena_printf(req->arena,
                               "{\"status\":\"ready\",\"version\":\"" BERTH_VERSION
                               "\",\"damaged_blobs\":%llu}",
                               (unsigned long long)damaged));
    return OK;
}

const struct route health_routes[] = {
    {METHOD_GET, "/healthz", healthz, BODY_DRAIN, .quick = true, .help = "The process answers"},
    {METHOD_GET, "/readyz", readyz, BODY_DRAIN, .help = "The registry can serve"},
    {0},
};

/* Health: /healthz (the process answers) and /readyz (it can serve: database and store answer). */
#include "api/app.h"
#include "api/routes.h"

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
    response_json(res, 200, STR("{\"status\":\"ready\",\"version\":\"" BERTH_VERSION "\"}"));
    return OK;
}

const struct route health_routes[] = {
    {METHOD_GET, "/healthz", healthz, BODY_DRAIN, .quick = true, .help = "The process answers"},
    {METHOD_GET, "/readyz", readyz, BODY_DRAIN, .help = "The registry can serve"},
    {0},
};

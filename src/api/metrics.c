/* /metrics: on the addresses of metrics.listen for whoever can connect, elsewhere for metrics.token
 * and for administrators. */
#include "api/metrics.h"

#include "api/routes.h"
#include "api/v2.h"
#include "base/clock.h"
#include "base/metrics.h"

#include <stdlib.h>

enum {
    TEXT_BYTES_MAX = 8 << 20,
    LABEL_BYTES_MAX = 1024,
    TABLES_MAX = 64,
    UNMATCHED_N = METHOD_COUNT + 1, /* labels for what has no route; the last: nor a method */
};

/* Routes. */

/* A table and the labels of its rows: row i has labels[i], and the next one for HEAD. */
static struct {
    const struct route *rows;
    size_t n;
    const unsigned *labels;
} tables[TABLES_MAX];
static size_t table_n;

struct naming {
    struct arena *arena;
    str *texts;
    unsigned n;
};

static unsigned name_series(struct naming *names, str method, const char *pattern)
{
    char bytes[LABEL_BYTES_MAX];
    struct buf text = {.p = bytes, .cap = sizeof bytes, .limit = sizeof bytes};
    metric_label(&text, "method", method);
    metric_label(&text, "route", str_from(pattern));
    if (names->n == METRIC_ROUTES_MAX || text.full)
        abort();
    names->texts[names->n] = arena_str(names->arena, buf_str(&text));
    return names->n++;
}

/* The same route in two tables has one series. */
static bool find_label(const struct route *row, unsigned *ret)
{
    for (size_t t = 0; t < table_n; t++)
        for (size_t i = 0; i < tables[t].n; i++)
            if (tables[t].rows[i].method == row->method &&
                strcmp(tables[t].rows[i].pattern, row->pattern) == 0) {
                *ret = tables[t].labels[i];
                return true;
            }
    return false;
}

static void name_table(struct naming *names, const struct route *rows)
{
    size_t n = 0;
    while (rows[n].pattern)
        n++;
    unsigned *labels = ARENA_ARRAY(names->arena, n + 1, unsigned);
    for (size_t i = 0; i < n; i++) {
        if (find_label(&rows[i], &labels[i]))
            continue;
        labels[i] = name_series(names, method_name(rows[i].method), rows[i].pattern);
        if (rows[i].method == METHOD_GET)
            (void)name_series(names, STR("HEAD"), rows[i].pattern);
    }
    if (table_n == TABLES_MAX)
        abort();
    tables[table_n].rows = rows;
    tables[table_n].n = n;
    tables[table_n++].labels = labels;
}

void api_metrics_init(struct arena *a, unsigned reactors_n)
{
    struct naming names = {.arena = a, .texts = ARENA_ARRAY(a, METRIC_ROUTES_MAX, str)};
    table_n = 0;
    for (unsigned m = 0; m < METHOD_COUNT; m++)
        (void)name_series(&names, method_name((enum method)m), "none");
    (void)name_series(&names, STR("none"), "none");
    for (size_t i = 0; i < api_route_tables_n; i++)
        name_table(&names, api_routes[i]);
    for (size_t i = 0; i < api_metrics_route_tables_n; i++)
        name_table(&names, api_metrics_routes[i]);
    metric_set_labels(METRIC_SET_ROUTE, names.texts, names.n);

    str *reactors = ARENA_ARRAY(a, reactors_n, str), *build = ARENA_NEW(a, str);
    for (unsigned i = 0; i < reactors_n; i++)
        reactors[i] = arena_printf(a, "reactor=\"%u\"", i);
    metric_set_labels(METRIC_SET_REACTOR, reactors, reactors_n);
    *build = arena_printf(a, "version=\"" BERTH_VERSION "\",schema=\"%u\"", db_schema());
    metric_set_labels(METRIC_SET_BUILD, build, 1);
    metric_set(METRIC_BUILD, 1);
    metric_set(METRIC_START_TIME, clock_wall_us());
}

static unsigned route_label(const struct request *req)
{
    for (size_t t = 0; req->route && t < table_n; t++) {
        size_t i = (size_t)(req->route - tables[t].rows);
        if (req->route >= tables[t].rows && i < tables[t].n)
            return tables[t].labels[i] +
                   (req->method == METHOD_HEAD && req->route->method == METHOD_GET);
    }
    return req->path.n ? req->method : METHOD_COUNT;
}

void api_metrics_count(const struct request *req, const struct http_done *done)
{
    unsigned label = route_label(req);
    metric_add_at(METRIC_REQUESTS, label * METRIC_CODE_COUNT + metric_code(done->status), 1);
    metric_observe_at(METRIC_REQUEST_TIME, label, done->elapsed_us);
    if (done->by_worker)
        metric_observe_at(METRIC_HANDLER_TIME, label, done->worker_us);
    if (done->body_in_bytes)
        metric_add(METRIC_RECEIVED_BYTES, done->body_in_bytes);
    if (done->body_out_bytes)
        metric_add(METRIC_SENT_BYTES, done->body_out_bytes);
}

/* The answer. */

/* RFC 9110 12.4.2: thousandths; what is malformed weighs nothing. */
static unsigned weight(str text)
{
    static const unsigned scale[] = {1000, 100, 10, 1};
    if (text.n == 0 || (text.p[0] != '0' && text.p[0] != '1') || text.n > 5 ||
        (text.n > 1 && text.p[1] != '.'))
        return 0;
    unsigned thousandths = text.p[0] == '1' ? 1000 : 0;
    for (size_t i = 2; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return 0;
        thousandths += (unsigned)(text.p[i] - '0') * scale[i - 1];
    }
    return thousandths > 1000 ? 0 : thousandths;
}

/* Weight of one media range, and whether its version is one that is written here. */
static unsigned range_weight(str parameters, bool *version_fits)
{
    str part, name, value;
    unsigned q = 1000;
    *version_fits = true;
    while (str_next(&parameters, ';', &part)) {
        str_cut(str_trim(part), '=', &name, &value);
        if (str_eq_nocase(name, STR("q")))
            q = weight(value);
        if (str_eq_nocase(name, STR("version")))
            *version_fits = str_eq(value, STR("1.0.0")) || str_eq(value, STR("\"1.0.0\""));
    }
    return q;
}

bool metrics_accept_open(str accept)
{
    str part, type, parameters;
    unsigned open = 0, text = 0;
    while (str_next(&accept, ',', &part)) {
        bool version_fits;
        str_cut(str_trim(part), ';', &type, &parameters);
        unsigned q = range_weight(parameters, &version_fits);
        type = str_trim(type);
        if (str_eq_nocase(type, STR("application/openmetrics-text")) && version_fits && q > open)
            open = q;
        if (str_eq_nocase(type, STR("text/plain")) && q > text)
            text = q;
    }
    return open > 0 && open >= text;
}

static enum err answer(struct request *req, struct response *res)
{
    BUF_CLEANUP struct buf out = BUF_INIT(TEXT_BYTES_MAX);
    bool open = metrics_accept_open(request_header(req, STR("accept")));
    enum metrics_format format = open ? METRICS_OPENMETRICS : METRICS_PROMETHEUS;
    api_metrics_collect(req->app);
    metrics_write(&out, format);
    if (out.full)
        return fail(req, ERR_INTERNAL, "the metrics are larger than %d bytes", TEXT_BYTES_MAX);
    res->status = 200;
    response_header(res, "Content-Type", str_from(metrics_content_type(format)));
    response_header(res, "Cache-Control", STR("no-store"));
    response_header(res, "Vary", STR("Accept"));
    response_memory(res, arena_str(req->arena, buf_str(&out)));
    return OK;
}

static bool has_token(const struct request *req)
{
    const struct app *app = req->app;
    str sent = request_header(req, STR("authorization")), scheme = str_first(sent, 7);
    return app->conf->metrics_token.n && str_eq_nocase(scheme, STR("Bearer ")) &&
           str_eq_secret(str_trim(str_skip(sent, scheme.n)), app->conf->metrics_token);
}

static enum err get(struct request *req, struct response *res)
{
    struct v2_call *call;
    if (has_token(req)) {
        req->log_principal = STR("metrics.token");
        return answer(req, res);
    }
    enum err e = api_enter_admin(req, res, &call);
    return e ? e : answer(req, res);
}

const struct route metrics_routes[] = {
    {METHOD_GET, "/metrics", get, BODY_DRAIN,
     .help = "Metrics, for metrics.token and administrators (OpenMetrics 1.0.0)"},
    {0},
};

/* On an address of its own, whose reactor has nothing else to do. */
static const struct route open_routes[] = {
    {METHOD_GET, "/metrics", answer, BODY_DRAIN, .quick = true, .help = "Metrics"},
    {0},
};

const struct route *const api_metrics_routes[] = {open_routes, health_routes};
const size_t api_metrics_route_tables_n = sizeof api_metrics_routes / sizeof *api_metrics_routes;

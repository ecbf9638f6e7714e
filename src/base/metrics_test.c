#include "base/metrics_private.h"
#include "base/test.h"

#include <pthread.h>

enum { THREADS = 8, ADDS = 20000 };

static pthread_barrier_t all_there, all_done;

static void *add_many(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < ADDS; i++) {
        metric_add(METRIC_CONNECTIONS, 1);
        metric_limit(LIMIT_QUEUE);
    }
    pthread_barrier_wait(&all_done);
    return NULL;
}

/* Twice: the second threads take over what the first ones left. */
static void each_thread_counts_for_itself(void)
{
    int64_t before = metric_value_at(METRIC_CONNECTIONS, 0);
    int64_t queue = metric_value_at(METRIC_LIMIT_HITS, LIMIT_QUEUE);
    int64_t other = metric_value_at(METRIC_LIMIT_HITS, LIMIT_CONNECTIONS);
    unsigned shards = metric_shards();
    pthread_barrier_init(&all_there, NULL, THREADS);
    pthread_barrier_init(&all_done, NULL, THREADS);
    for (int round = 0; round < 2; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            CHECK_INT(pthread_create(&threads[i], NULL, add_many, NULL), 0);
        CHECK(metric_value_at(METRIC_CONNECTIONS, 0) >= before);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        CHECK_INT(metric_shards() - shards, THREADS);
    }
    pthread_barrier_destroy(&all_there);
    pthread_barrier_destroy(&all_done);
    CHECK_INT(metric_value_at(METRIC_CONNECTIONS, 0) - before, 2 * THREADS * ADDS);
    CHECK_INT(metric_value_at(METRIC_LIMIT_HITS, LIMIT_QUEUE) - queue, 2 * THREADS * ADDS);
    CHECK_INT(metric_value_at(METRIC_LIMIT_HITS, LIMIT_CONNECTIONS) - other, 0);
}

static bool has(const struct buf *out, const char *text)
{
    if (str_contains(buf_str(out), str_from(text)))
        return true;
    test_fail(__FILE__, __LINE__, "there is no \"%s\"", text);
    return false;
}

static void text_of_a_counter_and_a_gauge(void)
{
    static const str reactors[] = {STR_INIT("reactor=\"0\""), STR_INIT("reactor=\"1\"")};
    BUF_CLEANUP struct buf out = BUF_INIT(1 << 20);
    metric_set_labels(METRIC_SET_REACTOR, reactors, 2);
    metric_set_at(METRIC_REACTOR_BYTES, 1, 5000);
    metric_add(METRIC_SENT_BYTES, UINT64_C(1) << 40);
    metric_move(METRIC_UPLOADS, 3);
    metric_move(METRIC_UPLOADS, -1);
    metric_set(METRIC_START_TIME, INT64_C(1700000000250000));
    metrics_write(&out, METRICS_OPENMETRICS);
    CHECK(!out.full);
    has(&out, "# TYPE berth_http_sent_bytes counter\n# UNIT berth_http_sent_bytes bytes\n"
              "# HELP berth_http_sent_bytes Bytes of answers' bodies sent, counted when the "
              "request is over.\n"
              "berth_http_sent_bytes_total 1099511627776\n");
    has(&out, "\nberth_reactor_in_flight_bytes{reactor=\"0\"} 0\n"
              "berth_reactor_in_flight_bytes{reactor=\"1\"} 5000\n");
    has(&out, "\nberth_uploads 2\n");
    has(&out, "\nprocess_start_time_seconds 1700000000.25\n");
    CHECK(str_ends(buf_str(&out), STR("\n# EOF\n")));

    buf_clear(&out);
    metrics_write(&out, METRICS_PROMETHEUS);
    has(&out,
        "# TYPE berth_http_sent_bytes_total counter\n# HELP berth_http_sent_bytes_total Bytes");
    CHECK(!str_contains(buf_str(&out), STR("# EOF")));
    CHECK(!str_contains(buf_str(&out), STR("# UNIT")));
}

static void text_of_a_histogram(void)
{
    BUF_CLEANUP struct buf out = BUF_INIT(1 << 20);
    metric_observe(METRIC_DB_COMMIT_JOBS, 1);
    metric_observe(METRIC_DB_COMMIT_JOBS, 3);
    metric_observe(METRIC_DB_COMMIT_JOBS, 4);
    metric_observe(METRIC_DB_COMMIT_JOBS, 1000);
    metric_observe(METRIC_DB_COMMIT_TIME, 100);
    metric_observe(METRIC_DB_COMMIT_TIME, 101);
    metric_observe(METRIC_DB_COMMIT_TIME, 400000000);
    CHECK_INT(metric_observed_at(METRIC_DB_COMMIT_JOBS, 0), 4);
    metrics_write(&out, METRICS_OPENMETRICS);
    has(&out, "\nberth_db_commit_jobs_bucket{le=\"1.0\"} 1\n"
              "berth_db_commit_jobs_bucket{le=\"2.0\"} 1\n"
              "berth_db_commit_jobs_bucket{le=\"4.0\"} 3\n");
    has(&out, "\nberth_db_commit_jobs_bucket{le=\"128.0\"} 3\n"
              "berth_db_commit_jobs_bucket{le=\"+Inf\"} 4\n"
              "berth_db_commit_jobs_count 4\nberth_db_commit_jobs_sum 1008\n");
    has(&out, "\nberth_db_commit_duration_seconds_bucket{le=\"0.0001\"} 1\n"
              "berth_db_commit_duration_seconds_bucket{le=\"0.00025\"} 2\n");
    has(&out, "\nberth_db_commit_duration_seconds_bucket{le=\"300.0\"} 2\n"
              "berth_db_commit_duration_seconds_bucket{le=\"+Inf\"} 3\n"
              "berth_db_commit_duration_seconds_count 3\n"
              "berth_db_commit_duration_seconds_sum 400.000201\n");
}

static void routes_without_requests_are_left_out(void)
{
    BUF_CLEANUP struct buf a = BUF_INIT(100), b = BUF_INIT(100), out = BUF_INIT(1 << 20);
    metric_label(&a, "method", STR("GET"));
    metric_label(&a, "route", STR("/a\"\\\n"));
    metric_label(&b, "route", STR("/b"));
    const str routes[] = {buf_str(&a), buf_str(&b)};
    metric_set_labels(METRIC_SET_ROUTE, routes, 2);
    metric_add_at(METRIC_REQUESTS, 0 * METRIC_CODE_COUNT + metric_code(404), 7);
    metric_add_at(METRIC_REQUESTS, 0 * METRIC_CODE_COUNT + metric_code(0), 1);
    metric_add_at(METRIC_REQUESTS, 0 * METRIC_CODE_COUNT + metric_code(299), 2);
    metric_observe_at(METRIC_REQUEST_TIME, 0, 1);
    metrics_write(&out, METRICS_OPENMETRICS);
    has(&out,
        "\nberth_http_requests_total{method=\"GET\",route=\"/a\\\"\\\\\\n\",code=\"404\"} 7\n"
        "berth_http_requests_total{method=\"GET\",route=\"/a\\\"\\\\\\n\",code=\"none\"} 1\n"
        "berth_http_requests_total{method=\"GET\",route=\"/a\\\"\\\\\\n\",code=\"other\"} 2\n");
    has(&out,
        "\nberth_http_request_duration_seconds_count{method=\"GET\",route=\"/a\\\"\\\\\\n\"} 1\n");
    CHECK(!str_contains(buf_str(&out), STR("route=\"/b\"")));
    has(&out, "over. The code is \\\"none\\\" when");
    buf_clear(&out);
    metrics_write(&out, METRICS_PROMETHEUS);
    has(&out, "over. The code is \"none\" when");
    metric_set_labels(METRIC_SET_ROUTE, NULL, 0);
}

static void errors_have_a_code_of_their_own(void)
{
    static const int statuses[] = {
#define X(id, status, ...) status,
#include "base/errors.def"
#undef X
    };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (metric_code(statuses[i]) == METRIC_CODE_OTHER)
            test_fail(__FILE__, __LINE__, "%d is not in METRIC_CODES", statuses[i]);
}

/* What OpenMetrics and the conventions of Prometheus ask of a name. */
static void rows_are_well_formed(void)
{
    static const struct {
        const char *kind, *name, *unit, *help;
    } rows[] = {
#define COUNTER(id, name, unit, set, help)           {"counter", name, #unit, help},
#define GAUGE(id, name, unit, set, help)             {"gauge", name, #unit, help},
#define HISTOGRAM(id, name, unit, set, bounds, help) {"histogram", name, #unit, help},
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    };
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        str name = str_from(rows[i].name), help = str_from(rows[i].help);
        bool counter = strcmp(rows[i].kind, "counter") == 0;
        bool proper = (str_starts(name, STR("berth_")) || str_starts(name, STR("process_"))) &&
                      str_ends(name, STR("_total")) == counter && str_ends(help, STR("."));
        if (counter)
            name.n -= sizeof "_total" - 1;
        str unit = strcmp(rows[i].unit, "BYTES") == 0     ? STR("_bytes")
                   : strcmp(rows[i].unit, "SECONDS") == 0 ? STR("_seconds")
                                                          : STR("");
        if (!proper || !str_ends(name, unit))
            test_fail(__FILE__, __LINE__, "%s", rows[i].name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(rows[i].name, rows[j].name) == 0)
                test_fail(__FILE__, __LINE__, "%s is there twice", rows[i].name);
    }
}

TESTS({"each thread counts for itself", each_thread_counts_for_itself},
      {"text of a counter and a gauge", text_of_a_counter_and_a_gauge},
      {"text of a histogram", text_of_a_histogram},
      {"routes without requests are left out", routes_without_requests_are_left_out},
      {"errors have a code of their own", errors_have_a_code_of_their_own},
      {"rows are well formed", rows_are_well_formed})

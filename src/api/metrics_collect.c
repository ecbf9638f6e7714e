/* Values that are looked up when somebody asks for the metrics. */
#include "api/metrics.h"

#include "base/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void collect_server(struct http_server *server)
{
    unsigned connections;
    uint64_t bytes, used, max;
    if (!server)
        return;
    for (unsigned i = 0; http_server_reactor(server, i, &connections, &bytes); i++) {
        metric_set_at(METRIC_REACTOR_CONNECTIONS, i, connections);
        metric_set_at(METRIC_REACTOR_BYTES, i, (int64_t)bytes);
    }
    http_server_memory(server, &used, &max);
    metric_set(METRIC_RECEIVE_MEMORY, (int64_t)used);
    metric_set(METRIC_RECEIVE_MEMORY_MAX, (int64_t)max);
}

static void collect_registry(struct registry *registry)
{
    struct pool_load load = pool_load(registry->pool);
    struct store_space space = store_space(registry->store);
    uint64_t file, wal;
    metric_set(METRIC_WORKERS, pool_threads(registry->pool));
    metric_set(METRIC_WORKERS_BUSY, load.busy);
    metric_set(METRIC_WORKER_QUEUE, (int64_t)load.waiting);
    metric_set(METRIC_UPLOADS, (int64_t)atomic_load(&registry->uploads_n));
    metric_set(METRIC_STORAGE_SIZE, (int64_t)space.size_bytes);
    metric_set(METRIC_STORAGE_FREE, (int64_t)space.free_bytes);
    metric_set(METRIC_STORAGE_RESERVE, (int64_t)space.reserve_bytes);
    db_sizes(registry->db, &file, &wal);
    metric_set(METRIC_DB_FILE, (int64_t)file);
    metric_set(METRIC_DB_WAL, (int64_t)wal);
    metric_set(METRIC_DB_QUEUE, (int64_t)db_queued(registry->db));
}

/* Field n (from 1, behind the name in brackets, which is 2) of /proc/self/stat; proc(5). */
static bool stat_field(str stat, unsigned n, int64_t *ret)
{
    str rest = str_skip(stat, str_rfind(stat, ')') + 2), field = {0};
    for (unsigned i = 3; i <= n; i++)
        if (!str_next(&rest, ' ', &field))
            return false;
    uint64_t value;
    if (!str_u64(field, &value))
        return false;
    *ret = (int64_t)value;
    return true;
}

static void collect_stat(void)
{
    enum { THREADS = 20, VIRTUAL_BYTES = 23, RESIDENT_PAGES = 24 };
    char text[1024];
    int64_t value;
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return;
    str stat = str_make(text, fread(text, 1, sizeof text, f));
    fclose(f);
    if (stat_field(stat, THREADS, &value))
        metric_set(METRIC_THREADS, value);
    if (stat_field(stat, VIRTUAL_BYTES, &value))
        metric_set(METRIC_VIRTUAL, value);
    if (stat_field(stat, RESIDENT_PAGES, &value))
        metric_set(METRIC_RSS, value * sysconf(_SC_PAGESIZE));
}

static void collect_files(void)
{
    struct rlimit limit;
    int64_t n = -1; /* the directory's own */
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return;
    for (const struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    metric_set(METRIC_OPEN_FDS, n);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metric_set(METRIC_MAX_FDS,
                   limit.rlim_cur == RLIM_INFINITY ? INT64_MAX : (int64_t)limit.rlim_cur);
}

void api_metrics_process(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric_set(METRIC_CPU_TIME,
                   (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
                       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    collect_stat();
    collect_files();
}

void api_metrics_collect(struct app *app)
{
    collect_server(app->server);
    collect_registry(&app->registry);
    api_metrics_process();
}

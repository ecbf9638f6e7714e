#include "cli/serve_metrics.h"

#include "base/log.h"
#include "conf/option.h"

static enum err open_entry(str text, struct listener *ret, struct arena *a, struct error *why)
{
    struct listen_entry entry;
    struct address address;
    const char *flaw = listen_entry_parse(text, &entry);
    if (!flaw && (entry.scheme == LISTEN_HTTPS || entry.proxy))
        flaw = "neither https nor the PROXY protocol is spoken there";
    if (!flaw && entry.address.p && !address_parse(entry.address, &address))
        flaw = "its address is not numeric";
    if (flaw)
        return error_set(a, why, ERR_CONFIG, "metrics.listen has the entry %.*s: %s",
                         STR_ARG(conf_quote(a, text)), flaw);
    return sockets_open_entry(&entry, &address, false, ret, a, why);
}

enum err serve_metrics_open(struct serve_metrics *m, const struct conf *conf, struct arena *a,
                            struct error *why)
{
    struct sockets s = {.list = ARENA_ARRAY(a, conf->metrics_listen.n, struct listener)};
    for (; s.n < conf->metrics_listen.n; s.n++) {
        enum err e = open_entry(conf->metrics_listen.items[s.n], &s.list[s.n], a, why);
        if (e) {
            sockets_close(&s);
            return e;
        }
    }
    m->sockets = s;
    return OK;
}

enum err serve_metrics_start(struct serve_metrics *m, const struct http_config *main,
                             struct arena *a, struct error *why)
{
    if (m->sockets.n == 0)
        return OK;
    struct http_config config = *main;
    config.listeners = m->sockets.list;
    config.listener_n = m->sockets.n;
    config.admin_socket = (str){0};
    config.tls = NULL;
    config.reactors_n = 1;
    config.router = (struct router){api_metrics_routes, api_metrics_route_tables_n};
    enum err e = http_server_new(&m->server, &config, a, why);
    m->sockets.taken = true;
    return e ? e : http_server_start(m->server);
}

void serve_metrics_tell(const struct serve_metrics *m, struct arena *a)
{
    for (size_t i = 0; i < m->sockets.n; i++)
        LOG(INFO, "metrics_ready", log_str("address", listener_text(&m->sockets.list[i], a)));
}

void serve_metrics_close(struct serve_metrics *m)
{
    http_server_free(m->server);
    sockets_close(&m->sockets);
}

#include "api/challenge.h"

#include "api/v2.h"
#include "conf/address.h"

/* Authority without its port: "[::1]:5000" gives "[::1]". */
static str host_of(str authority)
{
    size_t end = str_starts(authority, STR("[")) ? str_find(authority, ']') : 0;
    size_t colon = str_find(str_skip(authority, end), ':');
    return str_first(authority, end + colon);
}

/* `host` has passed address_is_host, so digits and dots alone are an IPv4 address. */
static bool is_loopback(str host)
{
    size_t numeric = 0;
    while (numeric < host.n &&
           (host.p[numeric] == '.' || (host.p[numeric] >= '0' && host.p[numeric] <= '9')))
        numeric++;
    return str_eq_nocase(host, STR("localhost")) || str_eq(host, STR("[::1]")) ||
           (numeric == host.n && str_starts(host, STR("127."))) ||
           (host.n > 10 && str_eq_nocase(str_skip(host, host.n - 10), STR(".localhost")));
}

/* Entries of server.hosts allow one port, or every port when they name none. */
static bool is_listed(const struct conf_list *hosts, str authority)
{
    str host = host_of(authority);
    for (size_t i = 0; i < hosts->n; i++) {
        str entry = hosts->items[i];
        bool any_port = host_of(entry).n == entry.n;
        if (str_eq_nocase(entry, any_port ? host : authority))
            return true;
    }
    return false;
}

str server_url(const struct conf *conf, const struct request *req)
{
    if (conf->server_url.n)
        return conf->server_url;
    bool trusted = address_is_host(req->host) &&
                   (is_loopback(host_of(req->host)) || is_listed(&conf->server_hosts, req->host));
    return arena_printf(req->arena, "%s://%.*s", req->secure ? "https" : "http",
                        STR_ARG(trusted ? req->host : req->local));
}

/* What clients must ask for. Pushing reads as well: clients look before they upload. */
static const char *scope_words(enum action action)
{
    switch (action) {
    case ACTION_PULL:
        return "pull";
    case ACTION_PUSH:
        return "pull,push";
    case ACTION_DELETE:
        return "delete";
    case ACTION_CATALOG:
        return "*";
    }
    return "";
}

/* The scope, empty for a call that needs none. Names are echoed as asked; they have passed
 * name_parse, whose grammar knows neither quotes nor spaces. */
static str scope_of(struct request *req, const struct v2_call *call)
{
    if (call->action == ACTION_CATALOG)
        return STR("registry:catalog:*");
    if (!call->name.asked.n)
        return STR("");
    str scope = arena_printf(req->arena, "repository:%.*s:%s", STR_ARG(call->name.asked),
                             scope_words(call->action));
    /* A mount reads where it mounts from; asking once for both saves a round trip. */
    str from;
    struct name source;
    struct error ignored = {0};
    if (call->action == ACTION_PUSH && req->method == METHOD_POST &&
        request_query(req, STR("from"), &from) &&
        name_parse(req->arena, from, &source, &ignored) == OK &&
        !str_eq(source.full, call->name.full))
        scope = arena_printf(req->arena, "%.*s repository:%.*s:pull", STR_ARG(scope),
                             STR_ARG(source.asked));
    return scope;
}

/* RFC 6750 3.1: only when a token was sent. */
static const char *error_of(const struct request *req, const struct v2_call *call)
{
    if (call->who.has_ceiling)
        return ",error=\"insufficient_scope\"";
    str sent = request_header(req, STR("authorization"));
    return str_eq_nocase(str_first(sent, 6), STR("Bearer")) ? ",error=\"invalid_token\"" : "";
}

void challenge_add(struct response *res, const struct v2_call *call)
{
    struct request *req = res->req;
    if (call->management) {
        challenge_add_basic(res);
        return;
    }
    str url = server_url(call->app->conf, req), scope = scope_of(req, call);
    const char *before = scope.n ? ",scope=\"" : "", *after = scope.n ? "\"" : "";
    response_header_printf(
        res, "WWW-Authenticate", "Bearer realm=\"%.*s/service/token\",service=\"%.*s\"%s%.*s%s%s",
        STR_ARG(url), STR_ARG(V2_SERVICE), before, STR_ARG(scope), after, error_of(req, call));
}

void challenge_add_basic(struct response *res)
{
    response_header(res, "WWW-Authenticate", STR("Basic realm=\"Berth\",charset=\"UTF-8\""));
}

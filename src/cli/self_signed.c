#include "cli/self_signed.h"

#include "base/log.h"
#include "cli/data_dir.h"
#include "conf/address.h"
#include "conf/listen.h"
#include "net/address.h"
#include "net/tls_self_signed.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <unistd.h>

enum {
    DAYS = 825,       /* the longest that every client accepts */
    DAYS_BEFORE = 30, /* a new one is made so long before the old expires */
    NAMES_MAX = 128,
};

struct names {
    struct arena *a;
    str items[NAMES_MAX];
    size_t n;
};

str self_signed_cert(const struct conf *conf, struct arena *a)
{
    return arena_printf(a, "%.*s/tls/cert.pem", STR_ARG(conf->data));
}

str self_signed_key(const struct conf *conf, struct arena *a)
{
    return arena_printf(a, "%.*s/tls/key.pem", STR_ARG(conf->data));
}

/* What cannot stand in a certificate is left out. */
static void add(struct names *names, str name)
{
    struct address address;
    char text[ADDRESS_LEN_MAX];
    if (address_parse_ip(name, &address))
        name = address_ip_text(&address, text);
    else if (str_find(name, ':') < name.n || !address_is_host(name))
        return;
    for (size_t i = 0; i < names->n; i++)
        if (str_eq_nocase(names->items[i], name))
            return;
    if (names->n < NAMES_MAX)
        names->items[names->n++] = arena_str(names->a, name);
}

static void add_address(struct names *names, const struct address *address)
{
    char text[ADDRESS_LEN_MAX];
    add(names, address_ip_text(address, text));
}

/* "host", "host:port", "[v6]:port" */
static void add_authority(struct names *names, str s)
{
    struct address address;
    if (address_parse_ip(s, &address) || address_parse(s, &address))
        add_address(names, &address);
    else
        add(names, str_first(s, str_rfind(s, ':')));
}

static str host_name(char *out, size_t n)
{
    if (gethostname(out, n))
        return (str){0};
    out[n - 1] = '\0';
    return str_from(out);
}

/* The address of an entry of listen; false for a unix socket. */
static bool listen_address(str entry, struct address *ret)
{
    struct listen_entry parts;
    return !listen_entry_parse(entry, &parts) && address_parse(parts.address, ret);
}

static bool listens_everywhere(const struct conf *conf)
{
    struct address address;
    for (size_t i = 0; i < conf->listen.n; i++)
        if (listen_address(conf->listen.items[i], &address) && address_is_any(&address))
            return true;
    return false;
}

static void add_needed(struct names *names, const struct conf *conf)
{
    char host[256];
    struct address address;
    str scheme, url;
    if (str_cut(conf->server_url, ':', &scheme, &url))
        add_authority(names, str_skip(url, 2));
    for (size_t i = 0; i < conf->server_hosts.n; i++)
        add_authority(names, conf->server_hosts.items[i]);
    if (names->n == 0)
        add(names, host_name(host, sizeof host));
    for (size_t i = 0; i < conf->listen.n; i++)
        if (listen_address(conf->listen.items[i], &address) && !address_is_any(&address))
            add_address(names, &address);
    add(names, STR("localhost"));
    add(names, STR("127.0.0.1"));
    add(names, STR("::1"));
}

/* Asks the resolver, which may take its time; so only when a certificate is made. */
static void add_full_name(struct names *names)
{
    char host[256];
    const struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    add(names, host_name(host, sizeof host));
    if (host_name(host, sizeof host).n == 0 || getaddrinfo(host, NULL, &hints, &found))
        return;
    add(names, str_from(found->ai_canonname));
    freeaddrinfo(found);
}

static void add_interfaces(struct names *names)
{
    struct ifaddrs *all, *i;
    struct address address;
    if (getifaddrs(&all))
        return;
    for (i = all; i; i = i->ifa_next) {
        struct sockaddr_storage sa = {0};
        if (!i->ifa_addr ||
            (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        bool v4 = i->ifa_addr->sa_family == AF_INET;
        memcpy(&sa, i->ifa_addr, v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        address_from_sockaddr(&address, &sa);
        if (address.scope == 0)
            add_address(names, &address);
    }
    freeifaddrs(all);
}

/* Without its certificate the key counts for nothing; so a crash between the two costs nothing. */
static enum err store(const struct conf *conf, str cert, str key, struct arena *a,
                      struct error *why)
{
    str dir = arena_printf(a, "%.*s/tls", STR_ARG(conf->data));
    str path = self_signed_cert(conf, a);
    enum err e = data_dir_make(dir, a, why);
    if (!e && unlink(path.p) && errno != ENOENT)
        e = error_set(a, why, err_from_errno(errno), "cannot remove \"%.*s\": %s", STR_ARG(path),
                      strerrordesc_np(errno));
    if (!e)
        e = data_dir_write_secret(dir, "key.pem", key, a, why);
    return e ? e : data_dir_write_secret(dir, "cert.pem", cert, a, why);
}

enum err self_signed_ensure(const struct conf *conf, struct arena *a, struct error *why)
{
    struct names names = {.a = a};
    str because, cert, key;
    add_needed(&names, conf);
    if (tls_self_signed_good(self_signed_cert(conf, a), names.items, names.n, DAYS_BEFORE, &because,
                             a))
        return OK;
    add_full_name(&names);
    if (listens_everywhere(conf))
        add_interfaces(&names);
    enum err e = tls_self_signed_make(names.items, names.n, DAYS, &cert, &key, a, why);
    if (!e)
        e = store(conf, cert, key, a, why);
    if (e)
        return e;
    if (because.n)
        LOG(WARN, "tls_self_signed_renewed", log_str("because", because),
            log_str("file", self_signed_cert(conf, a)),
            log_cstr("effect", "clients have to be told to trust it anew"));
    else
        LOG(INFO, "tls_self_signed_made", log_str("file", self_signed_cert(conf, a)));
    return OK;
}

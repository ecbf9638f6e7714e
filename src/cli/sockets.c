#include "cli/sockets.h"

#include "base/log.h"
#include "conf/option.h"
#include "net/activation.h"
#include "net/unix_socket.h"

#include <errno.h>
#include <unistd.h>

/* One entry of the option, and the address it means. */
struct entry {
    str text;
    struct listen_entry parts;
    struct address address; /* family AF_UNSPEC: a unix socket */
    bool passed;            /* there is a passed socket for it */
};

static enum err refuse(const struct entry *e, const char *reason, struct arena *a,
                       struct error *why)
{
    return error_set(a, why, ERR_CONFIG, "listen has the entry %.*s: %s",
                     STR_ARG(conf_quote(a, e->text)), reason);
}

static enum err read_entry(struct entry *e, const struct conf *conf, bool tls, struct arena *a,
                           struct error *why)
{
    const char *flaw = listen_entry_parse(e->text, &e->parts);
    if (flaw)
        return refuse(e, flaw, a, why);
    if (e->parts.address.p && !address_parse(e->parts.address, &e->address))
        return refuse(e, "its address is not numeric", a, why);
    if (e->parts.scheme == LISTEN_HTTPS && !tls)
        return refuse(e, "https needs a certificate, and none is configured", a, why);
    if (e->parts.proxy && e->parts.address.p && conf->server_trusted_proxies.n == 0)
        return refuse(e,
                      "?proxy needs server.trusted_proxies, the addresses whose header is believed",
                      a, why);
    return OK;
}

static bool wants_tls(enum listen_scheme scheme, bool tls)
{
    return scheme == LISTEN_HTTPS || (scheme == LISTEN_AS_CONFIGURED && tls);
}

enum err sockets_open_entry(const struct listen_entry *entry, const struct address *address,
                            bool tls, struct listener *ret, struct arena *a, struct error *why)
{
    struct listener l = {.tls = wants_tls(entry->scheme, tls), .proxy = entry->proxy};
    enum err e;
    if (entry->path.p) {
        l.path = arena_str(a, entry->path);
        e = unix_listen(l.path, entry->mode, &l.fd, a, why);
    } else {
        e = listener_open(address, &l.fd, &l.address, a, why);
    }
    if (!e)
        *ret = l;
    return e;
}

static bool is_same(const struct entry *e, const struct listener *l)
{
    if (e->parts.path.p)
        return str_eq(e->parts.path, l->path);
    return e->address.family == l->address.family && e->address.port == l->address.port &&
           memcmp(e->address.ip, l->address.ip, sizeof l->address.ip) == 0;
}

/* What is spoken on a passed socket. */
static enum err take_passed(struct entry *entries, size_t n, const struct activated *from, bool tls,
                            struct listener *ret, struct arena *a, struct error *why)
{
    struct listener l = from->listener;
    l.tls = tls && l.address.family != AF_UNSPEC;
    for (size_t i = 0; i < n; i++) {
        if (!is_same(&entries[i], &l))
            continue;
        entries[i].passed = true;
        l.tls = wants_tls(entries[i].parts.scheme, tls);
        l.proxy = entries[i].parts.proxy;
        *ret = l;
        return OK;
    }
    if (str_eq(from->name, STR("https")) && !tls)
        return error_set(a, why, ERR_CONFIG,
                         "a socket named https was passed on, but there is no certificate");
    if (str_eq(from->name, STR("https")) || str_eq(from->name, STR("http")))
        l.tls = from->name.n == sizeof "https" - 1;
    *ret = l;
    return OK;
}

static void warn_left_out(const struct entry *entries, size_t n, const struct conf *conf)
{
    if (conf->origins[CONF_ID_listen].source == CONF_DEFAULT)
        return;
    for (size_t i = 0; i < n; i++)
        if (!entries[i].passed)
            LOG(WARN, "listen_not_passed", log_str("address", entries[i].text));
}

enum err sockets_open(struct sockets *ret, const struct conf *conf, bool tls, struct arena *a,
                      struct error *why)
{
    size_t n = conf->listen.n, passed_n;
    struct entry *entries = ARENA_ARRAY(a, n, struct entry);
    struct activated *passed;
    enum err e = activation_take(&passed, &passed_n, a, why);
    if (e)
        return e;
    for (size_t i = 0; i < n; i++) {
        entries[i] = (struct entry){.text = conf->listen.items[i]};
        if ((e = read_entry(&entries[i], conf, tls, a, why)))
            return e;
    }
    struct sockets s = {.list = ARENA_ARRAY(a, n + passed_n, struct listener)};
    for (; !e && s.n < (passed_n ? passed_n : n); s.n += !e)
        e = passed_n ? take_passed(entries, n, &passed[s.n], tls, &s.list[s.n], a, why)
                     : sockets_open_entry(&entries[s.n].parts, &entries[s.n].address, tls,
                                          &s.list[s.n], a, why);
    if (e) {
        sockets_close(&s);
        return e;
    }
    if (passed_n)
        warn_left_out(entries, n, conf);
    *ret = s;
    return OK;
}

struct sockets sockets_both(const struct sockets *a, const struct sockets *b, struct arena *arena)
{
    struct sockets both = {.list = ARENA_ARRAY(arena, a->n + b->n, struct listener), .taken = true};
    for (size_t i = 0; i < a->n; i++)
        both.list[both.n++] = a->list[i];
    for (size_t i = 0; i < b->n; i++)
        both.list[both.n++] = b->list[i];
    return both;
}

enum err sockets_give(const struct sockets *s, unsigned uid, unsigned gid, struct arena *a,
                      struct error *why)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct listener *l = &s->list[i];
        if (l->path.n && !l->inherited && lchown(arena_cstr(a, l->path), uid, gid))
            return error_set(a, why, ERR_IO, "cannot give %.*s to its user: %s", STR_ARG(l->path),
                             strerrordesc_np(errno));
    }
    return OK;
}

const struct listener *sockets_first(const struct sockets *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->list[i].address.family != AF_UNSPEC)
            return &s->list[i];
    return &s->list[0];
}

void sockets_close(struct sockets *s)
{
    for (size_t i = 0; i < s->n && !s->taken; i++) {
        struct listener *l = &s->list[i];
        if (l->path.n && !l->inherited)
            unix_unlink(l->path);
        close(l->fd);
    }
    s->taken = true;
}

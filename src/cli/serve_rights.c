#include "cli/serve_rights.h"

#include "base/buf.h"
#include "base/log.h"
#include "cli/data_dir.h"
#include "conf/option.h"

#include <unistd.h>

enum { LIST_BYTES_MAX = 4096 };

/* What was read with more rights than are left cannot be read again. */
static void warn_unreadable(const struct identity *id, const struct conf *conf, struct arena *a)
{
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++) {
        if (o->type != CONF_PATH || (o->flags & (CONF_WRITE | CONF_SOCKET)))
            continue;
        str path = conf_option_text(o, conf, a);
        if (path.n && access(arena_cstr(a, path), R_OK))
            LOG(WARN, "file_not_readable_again", log_cstr("option", o->key), log_str("file", path),
                log_str("user", id->user),
                log_cstr("effect", "a new one is taken only by a restart"));
    }
}

static str joined(struct conf_list list, struct buf *out)
{
    for (size_t i = 0; i < list.n; i++) {
        bool before = false;
        for (size_t k = 0; k < i && !before; k++)
            before = str_eq(list.items[k], list.items[i]);
        if (!before)
            buf_printf(out, "%s%.*s", out->n ? ":" : "", STR_ARG(list.items[i]));
    }
    return str_make(out->p, out->n);
}

static void tell(const struct confinement *c, bool wanted)
{
    BUF_CLEANUP struct buf writes = BUF_INIT(LIST_BYTES_MAX), reads = BUF_INIT(LIST_BYTES_MAX);
    if (c->abi)
        LOG(INFO, "confined", log_int("landlock", c->abi),
            log_str("write", joined(c->writes, &writes)), log_str("read", joined(c->reads, &reads)),
            log_cstr("bind", c->ports ? "no further ports" : "any port"));
    else if (wanted)
        LOG(WARN, "not_confined", log_str("reason", c->reason));
    else
        LOG(INFO, "not_confined", log_str("reason", c->reason));
}

enum err serve_rights_give_up(struct confinement *ret, const struct identity *id,
                              const struct conf *conf, str config_file,
                              const struct sockets *sockets, struct arena *a, struct error *why)
{
    enum err e = privilege_drop(id, conf, sockets, a, why);
    if (!e)
        e = data_dir_make(conf->data, a, why);
    if (!e)
        e = privilege_harden(conf->core_dumps, a, why);
    if (!e)
        e = confine(ret, conf, config_file, sockets, a, why);
    if (e)
        return e;
    if (id->change) {
        LOG(INFO, "user_changed", log_str("user", id->user), log_str("group", id->group));
        warn_unreadable(id, conf, a);
    }
    tell(ret, conf->confine != CONFINE_OFF);
    return OK;
}

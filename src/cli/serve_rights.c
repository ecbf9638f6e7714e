#include "cli/serve_rights.h"

#include "base/buf.h"
#include "base/log.h"
#include "cli/data_dir.h"
#include "conf/option.h"

#include <unistd.h>

enum { LIST_BYTES_MAX = 4096 };

static void warn_unreadable(const struct identity *id, const char *option, str path,
                            const char *effect, struct arena *a)
{
    if (path.n && access(arena_cstr(a, path), R_OK))
        LOG(WARN, "file_not_readable_again", log_cstr("option", option), log_str("file", path),
            log_str("user", id->user), log_cstr("effect", effect));
}

/* What was read with more rights than are left cannot be read again. A reload reads the
 * configuration and the files of all secrets, and changes nothing when one of them fails. */
static void warn_all_unreadable(const struct identity *id, const struct conf *conf, str config_file,
                                struct arena *a)
{
    static const char no_reload[] = "every reload fails";
    warn_unreadable(id, "--config", config_file, no_reload, a);
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++) {
        str secret = conf->origins[o - conf_options].file;
        if (secret.n)
            warn_unreadable(id, arena_printf(a, "%s_file", o->key).p, secret, no_reload, a);
        if (o->type == CONF_PATH && !(o->flags & (CONF_WRITE | CONF_SOCKET)))
            warn_unreadable(id, o->key, conf_option_text(o, conf, a),
                            "a new one is taken only by a restart", a);
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
        warn_all_unreadable(id, conf, config_file, a);
    }
    tell(ret, conf->confine != CONFINE_OFF);
    return OK;
}

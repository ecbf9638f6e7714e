#include "cli/reload.h"

#include "base/log.h"
#include "cli/options.h"
#include "conf/option.h"

static bool same(const struct conf_option *o, const struct conf *a, const struct conf *b,
                 struct arena *tmp)
{
    if (!conf_option_is_list(o))
        return str_eq(conf_option_text(o, a, tmp), conf_option_text(o, b, tmp));
    struct conf_list x = conf_option_items(o, a), y = conf_option_items(o, b);
    bool equal = x.n == y.n;
    for (size_t i = 0; equal && i < x.n; i++)
        equal = str_eq(x.items[i], y.items[i]);
    return equal;
}

/* Says what changed: a RELOAD option since it was last read, another one since the start. */
static void tell(const struct reload *r, const struct conf *fresh)
{
    ARENA_CLEANUP struct arena tmp = {0};
    for (const struct conf_option *o = conf_options; o < conf_options + CONF_OPTIONS_N; o++) {
        bool can = o->flags & CONF_RELOAD;
        if (same(o, can && r->read ? &r->conf : r->started, fresh, &tmp))
            continue;
        if (can)
            LOG(INFO, "option_changed", log_cstr("option", o->key),
                log_str("value", conf_option_text(o, fresh, &tmp)));
        else
            LOG(WARN, "restart_needed", log_cstr("option", o->key),
                log_cstr("effect", "until then the old value holds"));
        if (can && o->type == CONF_PATH && r->tls->tls && /* all these are tls's */
            !confinement_covers(r->confinement, conf_option_text(o, fresh, &tmp), &tmp))
            LOG(WARN, "restart_needed", log_cstr("option", o->key),
                log_cstr("effect", "until then the process may not read there (confine)"));
    }
}

static void apply(struct reload *r)
{
    log_set_level((enum log_level)r->conf.log_level);
    atomic_store_explicit(&r->app->log_access, r->conf.log_access, memory_order_relaxed);
    serve_tls_reload(r->tls, &r->conf);
    if (serve_tls_wanted(&r->conf) && !r->tls->tls)
        LOG(WARN, "restart_needed", log_cstr("option", "tls.cert"),
            log_cstr("effect", "until then there is no encryption"));
}

void reload_run(struct reload *r)
{
    struct arena arena = {0}, before = r->arena;
    struct conf fresh;
    struct error why = {0};
    if (cli_load_again(r->flags, &arena, &fresh, &why)) {
        LOG(ERROR, "reload_failed", log_str("reason", why.message),
            log_cstr("effect", "nothing was changed"));
        arena_release(&arena);
        return;
    }
    tell(r, &fresh);
    r->conf = fresh;
    r->arena = arena;
    r->read = true;
    apply(r);
    arena_release(&before);
    LOG(INFO, "reloaded");
}

void reload_release(struct reload *r)
{
    arena_release(&r->arena);
}

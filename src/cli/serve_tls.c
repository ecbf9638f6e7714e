#include "cli/serve_tls.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cli/self_signed.h"

#include <errno.h>

enum { DAY_S = 24 * 3600, WARN_DAYS = 14 };

static str stamped(const struct tls_config *c, unsigned i)
{
    const str files[SERVE_TLS_FILES] = {c->cert, c->key, c->client_ca};
    return files[i];
}

static void stamp(struct serve_tls *s, struct file_stamp *ret)
{
    ARENA_CLEANUP struct arena tmp = {0};
    for (unsigned i = 0; i < SERVE_TLS_FILES; i++) {
        struct stat st;
        str path = stamped(&s->config, i);
        ret[i] = (struct file_stamp){0};
        if (path.n == 0)
            continue;
        if (stat(arena_cstr(&tmp, path), &st)) {
            ret[i].errnum = errno;
            continue;
        }
        ret[i].device = st.st_dev;
        ret[i].inode = st.st_ino;
        ret[i].bytes = st.st_size;
        ret[i].changed = st.st_ctim;
    }
}

static bool same(const struct file_stamp *a, const struct file_stamp *b)
{
    bool equal = true;
    for (unsigned i = 0; i < SERVE_TLS_FILES; i++)
        equal &= a[i].device == b[i].device && a[i].inode == b[i].inode &&
                 a[i].bytes == b[i].bytes && a[i].changed.tv_sec == b[i].changed.tv_sec &&
                 a[i].changed.tv_nsec == b[i].changed.tv_nsec && a[i].errnum == b[i].errnum;
    return equal;
}

static enum err choose(struct serve_tls *s, const struct conf *conf, struct error *why)
{
    struct arena *a = &s->arena;
    s->conf = conf;
    s->config = (struct tls_config){
        .cert = arena_str(a, conf->tls_cert),
        .key = arena_str(a, conf->tls_key),
        .client_ca = arena_str(a, conf->tls_client_ca),
        .client_auth = (enum tls_client_auth)conf->tls_client_auth,
        .version_min = (enum tls_version)conf->tls_min_version,
        .http2 = conf->http2_enabled,
    };
    if (!conf->tls_self_signed)
        return OK;
    if (conf->tls_cert.n > 0 || conf->tls_key.n > 0)
        return error_set(a, why, ERR_CONFIG, "tls.self_signed and tls.%s are both set; keep one",
                         conf->tls_cert.n > 0 ? "cert" : "key");
    s->config.cert = self_signed_cert(conf, a);
    s->config.key = self_signed_key(conf, a);
    return self_signed_ensure(conf, a, why);
}

static enum err load(struct serve_tls *s, const struct conf *conf, struct error *why)
{
    arena_release(&s->arena);
    enum err e = choose(s, conf, why);
    /* Before reading: what changes meanwhile is another change. */
    stamp(s, s->loaded);
    memcpy(s->seen, s->loaded, sizeof s->seen);
    if (!e)
        e = tls_load(s->tls, &s->config, &s->info, &s->arena, why);
    if (!e)
        metric_set(METRIC_TLS_EXPIRY, s->info.not_after_s * 1000000);
    return e;
}

bool serve_tls_wanted(const struct conf *conf)
{
    return conf->tls_cert.n > 0 || conf->tls_key.n > 0 || conf->tls_self_signed;
}

enum err serve_tls_open(struct serve_tls *s, const struct conf *conf, struct arena *a,
                        struct error *why)
{
    struct error error = {0};
    bool any = serve_tls_wanted(conf);
    if (!any && conf->tls_client_auth != TLS_CLIENT_AUTH_OFF)
        return error_set(a, why, ERR_CONFIG,
                         "tls.client_auth is set, but neither tls.cert nor tls.self_signed");
    if (!any)
        return OK;
    s->tls = tls_new();
    enum err e = load(s, conf, &error);
    if (e)
        return error_set(a, why, e, "%.*s", STR_ARG(error.message));
    return OK;
}

void serve_tls_close(struct serve_tls *s)
{
    tls_free(s->tls);
    s->tls = NULL;
    arena_release(&s->arena);
}

static str day(struct arena *a, int64_t at_s)
{
    char text[CLOCK_RFC3339_LEN];
    clock_rfc3339(at_s * 1000000, text);
    return arena_str(a, str_make(text, CLOCK_RFC3339_LEN));
}

void serve_tls_warn(struct serve_tls *s)
{
    if (!s->tls)
        return;
    ARENA_CLEANUP struct arena tmp = {0};
    int64_t now_s = clock_wall_us() / 1000000, left_s = s->info.not_after_s - now_s;
    s->told_us = clock_mono_us();
    if (now_s < s->info.not_before_s)
        LOG(WARN, "tls_certificate_not_yet_valid", log_str("file", s->config.cert),
            log_str("from", day(&tmp, s->info.not_before_s)));
    else if (left_s <= 0)
        LOG(WARN, "tls_certificate_expired", log_str("file", s->config.cert),
            log_str("at", day(&tmp, s->info.not_after_s)));
    else if (left_s < (int64_t)WARN_DAYS * DAY_S)
        LOG(WARN, "tls_certificate_expires", log_str("file", s->config.cert),
            log_str("at", day(&tmp, s->info.not_after_s)), log_int("days", left_s / DAY_S));
}

void serve_tls_reload(struct serve_tls *s, const struct conf *conf)
{
    struct error why = {0};
    if (!s->tls)
        return;
    if (!serve_tls_wanted(conf)) {
        LOG(WARN, "restart_needed", log_cstr("option", "tls.cert"),
            log_cstr("effect", "until then the certificate in use stays"));
        stamp(s, s->loaded);
        return;
    }
    if (load(s, conf, &why)) {
        LOG(ERROR, "tls_reload_failed", log_str("reason", why.message),
            log_cstr("effect", "the certificate in use stays"));
        return;
    }
    LOG(INFO, "tls_reloaded", log_str("file", s->config.cert));
    serve_tls_warn(s);
}

void serve_tls_tick(struct serve_tls *s)
{
    struct file_stamp now[SERVE_TLS_FILES];
    if (!s->tls)
        return;
    stamp(s, now);
    /* Certificate and key are seldom replaced at once: only when a tick finds what the one before
     * found, they are taken to belong together. */
    bool changed = !same(now, s->loaded), rests = same(now, s->seen);
    memcpy(s->seen, now, sizeof now);
    uint64_t now_us = clock_mono_us();
    bool day_over = now_us - s->told_us > (uint64_t)DAY_S * 1000000;
    if (day_over) /* what fails now is said, and tried again tomorrow */
        s->told_us = now_us;
    if ((changed && rests) || (day_over && s->conf->tls_self_signed))
        serve_tls_reload(s, s->conf);
    else if (day_over)
        serve_tls_warn(s);
}

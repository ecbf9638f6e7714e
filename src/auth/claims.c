#include "auth/claims.h"

#include "auth/scope.h"
#include "base/buf.h"
#include "base/hex.h"
#include "json/read.h"
#include "json/write.h"

#define ISSUER STR("berth")

static void write_grant(struct json_writer *w, const struct grant *g)
{
    jw_object(w);
    jw_field(w, "type", g->type);
    jw_field(w, "name", g->asked);
    jw_key(w, "actions");
    jw_array(w);
    str word;
    for (size_t i = 0; (word = grant_word(g, i)).p; i++)
        jw_str(w, word);
    jw_end(w);
    jw_end(w);
}

static void write_time(struct json_writer *w, const char *key, int64_t s)
{
    jw_key(w, key);
    jw_int(w, s);
}

enum err claims_write(const struct claims *claims, struct arena *a, str *ret)
{
    BUF_CLEANUP struct buf out = BUF_INIT(CLAIMS_BYTES_MAX);
    struct json_writer w = {.out = &out};
    uint8_t id[16];
    char jti[UUID_LEN];
    uuid_new(id);
    jw_object(&w);
    jw_field(&w, "iss", ISSUER);
    jw_field(&w, "sub", claims->name);
    jw_field(&w, "aud", claims->service);
    write_time(&w, "exp", claims->expires_s);
    write_time(&w, "nbf", claims->issued_s);
    write_time(&w, "iat", claims->issued_s);
    jw_field(&w, "jti", uuid_format(id, jti));
    jw_key(&w, "uid");
    jw_int(&w, claims->user);
    jw_key(&w, "epoch");
    jw_int(&w, claims->epoch);
    jw_key(&w, "access");
    jw_array(&w);
    for (size_t i = 0; i < claims->grant_n; i++)
        write_grant(&w, &claims->grants[i]);
    jw_end(&w);
    jw_end(&w);
    if (out.full)
        return ERR_LIMIT;
    *ret = arena_str(a, buf_str(&out));
    return OK;
}

/* `aud` is a string or an array of them (RFC 7519 4.1.3). */
static bool names_service(const json_t *aud, str service)
{
    if (json_is_string(aud))
        return str_eq(str_make(json_string_value(aud), json_string_length(aud)), service);
    size_t i;
    json_t *item;
    json_array_foreach(aud, i, item)
    {
        if (json_is_string(item) &&
            str_eq(str_make(json_string_value(item), json_string_length(item)), service))
            return true;
    }
    return false;
}

/* Entries of types and actions unknown here are dropped, as in scopes. */
static bool read_access(struct arena *a, const json_t *access, struct claims *ret)
{
    size_t n = json_array_size(access), used = 0;
    if (!json_is_array(access) || n > GRANTS_MAX)
        return false;
    struct grant *grants = ARENA_ARRAY(a, n, struct grant);
    for (size_t i = 0; i < n; i++) {
        const json_t *entry = json_array_get(access, i), *words = json_member(entry, "actions");
        str type, name;
        if (!json_member_str(entry, "type", &type) || !json_member_str(entry, "name", &name))
            return false;
        if (!grant_init(a, type, arena_str(a, name), &grants[used]))
            continue;
        for (size_t j = 0; j < json_array_size(words); j++) {
            const json_t *word = json_array_get(words, j);
            if (json_is_string(word))
                grant_add(&grants[used], str_from(json_string_value(word)));
        }
        used++;
    }
    ret->grants = grants;
    ret->grant_n = used;
    return true;
}

enum err claims_read(struct arena *a, str json, str service, int64_t now_s, struct claims *ret)
{
    JSON_CLEANUP json_t *tree = NULL;
    str why, issuer, name;
    if (json.n > CLAIMS_BYTES_MAX || json_read(a, json, &tree, &why))
        return ERR_UNAUTHORIZED;
    struct claims c = {.service = service};
    int64_t not_before_s;
    if (!json_member_str(tree, "iss", &issuer) || !str_eq(issuer, ISSUER) ||
        !names_service(json_member(tree, "aud"), service) ||
        !json_member_int(tree, "exp", &c.expires_s) ||
        !json_member_int(tree, "nbf", &not_before_s) ||
        !json_member_int(tree, "iat", &c.issued_s) || !json_member_int(tree, "uid", &c.user) ||
        !json_member_int(tree, "epoch", &c.epoch) || !json_member_str(tree, "sub", &name) ||
        !read_access(a, json_member(tree, "access"), &c))
        return ERR_UNAUTHORIZED;
    if (now_s - CLAIMS_LEEWAY_S >= c.expires_s || now_s + CLAIMS_LEEWAY_S < not_before_s)
        return ERR_UNAUTHORIZED;
    c.name = arena_str(a, name);
    *ret = c;
    return OK;
}

size_t claims_size(const struct claims *claims)
{
    size_t n = sizeof *claims + claims->grant_n * sizeof(struct grant);
    n += claims->service.n + claims->name.n;
    for (size_t i = 0; i < claims->grant_n; i++) {
        const struct grant *g = &claims->grants[i];
        n += g->type.n + g->name.n + g->asked.n;
    }
    return n;
}

static str place(char **at, str s)
{
    char *p = *at;
    if (s.n)
        memcpy(p, s.p, s.n);
    *at += s.n;
    return str_make(p, s.n);
}

/* Layout: the claims, the grants, then the text of all strings. */
void claims_copy(void *to, const void *claims, size_t n)
{
    (void)n; /* claims_size() of it */
    const struct claims *from = claims;
    struct claims *copy = to;
    struct grant *grants = (struct grant *)(copy + 1);
    char *text = (char *)(grants + from->grant_n);
    *copy = *from;
    copy->service = place(&text, from->service);
    copy->name = place(&text, from->name);
    for (size_t i = 0; i < from->grant_n; i++) {
        grants[i] = from->grants[i];
        grants[i].type = place(&text, from->grants[i].type);
        grants[i].name = place(&text, from->grants[i].name);
        grants[i].asked = place(&text, from->grants[i].asked);
    }
    copy->grants = grants;
}

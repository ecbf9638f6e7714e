#include "api/platform_help.h"

#include "base/buf.h"
#include "registry/fact.h"

enum { PLATFORMS_SHOWN = 20, PLATFORM_BYTES_MAX = 80, WORD_MAX = 32 };

/* The word behind `key`, of lower-case letters, digits and '_' as platform names are. */
static str word_after(str agent, str key)
{
    const char *at = agent.n ? memmem(agent.p, agent.n, key.p, key.n) : NULL;
    if (!at)
        return str_make(NULL, 0);
    str rest = str_skip(agent, (size_t)(at - agent.p) + key.n);
    size_t n = 0;
    while (n < rest.n && n < WORD_MAX &&
           ((rest.p[n] >= 'a' && rest.p[n] <= 'z') || (rest.p[n] >= '0' && rest.p[n] <= '9') ||
            rest.p[n] == '_'))
        n++;
    return str_first(rest, n);
}

bool platform_of_agent(struct arena *a, str agent, str *ret)
{
    str os = word_after(agent, STR(" os/")), architecture = word_after(agent, STR(" arch/"));
    if (!os.n || !architecture.n)
        return false;
    *ret = arena_printf(a, "%.*s/%.*s", STR_ARG(os), STR_ARG(architecture));
    return true;
}

bool platform_serves(str platform, str wanted)
{
    return str_starts(platform, wanted) && (platform.n == wanted.n || platform.p[wanted.n] == '/');
}

/* Whether it tells a person something, and can stand between the quotes of a header as it is.
 * BuildKit's attestations are for unknown/unknown. */
static bool is_shown(str platform)
{
    for (size_t i = 0; i < platform.n; i++) {
        char c = platform.p[i];
        if (c < ' ' || c > '~' || c == '"' || c == '\\')
            return false;
    }
    return platform.n <= PLATFORM_BYTES_MAX && !str_starts(platform, STR("unknown/"));
}

/* "a, b, c and 4 more"; empty when there is nothing to show. */
static str list_platforms(struct arena *a, const str *platforms, size_t n)
{
    BUF_CLEANUP struct buf out = BUF_INIT(PLATFORMS_SHOWN * (PLATFORM_BYTES_MAX + 2) + 64);
    size_t shown = 0, more = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_shown(platforms[i]))
            continue;
        if (shown == PLATFORMS_SHOWN) {
            more++;
            continue;
        }
        buf_printf(&out, "%s%.*s", shown++ ? ", " : "", STR_ARG(platforms[i]));
    }
    if (more)
        buf_printf(&out, " and %zu more", more);
    return arena_str(a, buf_str(&out));
}

enum err platform_warn(struct request *req, struct response *res, const struct v2_call *call,
                       int64_t body)
{
    str wanted, *platforms;
    size_t n;
    if (!platform_of_agent(req->arena, request_header(req, STR("user-agent")), &wanted))
        return OK;
    enum err e = facts_list(call->conn, body, STR("platform"), req->arena, &platforms, &n);
    if (e || n == FACTS_MAX) /* there may be more than are known */
        return e == ERR_WOULD_BLOCK ? e : OK;
    for (size_t i = 0; i < n; i++) {
        if (platform_serves(platforms[i], wanted))
            return OK;
    }
    str list = list_platforms(req->arena, platforms, n);
    if (list.n)
        response_header_printf(res, "Warning",
                               "299 - \"%.*s is not there for %.*s; it is for %.*s\"",
                               STR_ARG(call->name.asked), STR_ARG(wanted), STR_ARG(list));
    return OK;
}

#include "api/platform_help.h"

#include "registry/fact.h"

enum { PLATFORMS_SHOWN = 20, WORD_MAX = 32 };

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

/* Whether the text can stand between the quotes of a header as it is. */
static bool is_plain(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    }
    return s.n < 2048;
}

void platform_warn(struct request *req, struct response *res, const struct v2_call *call,
                   const struct digest *digest)
{
    str wanted, platforms;
    if (!platform_of_agent(req->arena, request_header(req, STR("user-agent")), &wanted) ||
        facts_joined(call->conn, digest, STR("platform"), PLATFORMS_SHOWN, req->arena,
                     &platforms) ||
        platforms.n == 0)
        return;
    /* linux/arm serves for linux/arm/v7 and the other way round. */
    if (str_contains(platforms, wanted) || !is_plain(platforms))
        return;
    response_header_printf(res, "Warning", "299 - \"%.*s is not there for %.*s; it is for %.*s\"",
                           STR_ARG(call->name.asked), STR_ARG(wanted), STR_ARG(platforms));
}

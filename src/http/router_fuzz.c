#include "http/router.h"
#include "http/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct route routes[] = {
    {.method = METHOD_GET, .pattern = "/v2/{name...}/manifests/{reference}"},
    {.method = METHOD_POST, .pattern = "/v2/{name...}/blobs/uploads/"},
    {.method = METHOD_GET, .pattern = "/api/{a}/x/{b...}/{c}/y/{d}"},
    {0},
};

/* Arguments are never empty and hold no control bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct route *const tables[] = {routes};
    ARENA_CLEANUP struct arena a = {0};
    struct request req = {.arena = &a};
    struct target target;
    const char *why;
    str allowed;
    if (!target_parse(str_make(data, n), &target, &why))
        return 0;
    req.path = target.path;
    if (router_match(&(struct router){tables, 1}, &req, &allowed) != OK)
        return 0;
    for (size_t i = 0; i < REQUEST_ARGS_MAX && req.args[i].p; i++)
        for (size_t k = 0; k < req.args[i].n || k == 0; k++)
            if (req.args[i].n == 0 || (uint8_t)req.args[i].p[k] < 0x20)
                abort();
    return 0;
}

#include "auth/scope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    struct grant_list list = {0};
    scope_list_add(&a, str_make(data, n), &list);
    for (size_t i = 0; i < list.n; i++) {
        const struct grant *g = &list.items[i];
        if (!g->actions || !g->asked.n || g->asked.n > GRANT_NAME_MAX ||
            !str_ends(g->name, g->asked))
            __builtin_trap();
    }
    return 0;
}

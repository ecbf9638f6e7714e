#include "auth/authorization.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    struct authorization got;
    if (authorization_parse(&a, str_make(data, n), &got) == OK)
        if (str_find(got.user, ':') < got.user.n || got.user.n + got.password.n > BASIC_BYTES_MAX)
            __builtin_trap();
    return 0;
}

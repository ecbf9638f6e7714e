#include "json/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    JSON_CLEANUP json_t *tree = NULL;
    str why;
    if (json_read(&a, str_make(data, n), &tree, &why) == OK && !tree)
        __builtin_trap();
    return 0;
}

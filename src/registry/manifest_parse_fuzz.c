#include "registry/manifest_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    struct manifest manifest;
    struct error why = {0};
    enum err e = manifest_parse(&a, str_make(data, n), str_make(NULL, 0), &manifest, &why);
    if (e != OK && (e != ERR_MANIFEST_INVALID || why.message.n == 0))
        __builtin_trap();
    if (e == OK && manifest.ref_n == 0 && !manifest_type_is_index(manifest.type))
        __builtin_trap(); /* an image has a config at least */
    return 0;
}

#include "registry/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    struct name name, again;
    struct reference reference;
    struct error why = {0}, other = {0};
    str text = str_make(data, n);
    if (name_parse(&a, text, &name, &why) == OK) {
        /* A canonical name is its own canonical form, and safe as a path. */
        if (name_parse(&a, name.full, &again, &why) || !str_eq(again.full, name.full) ||
            str_contains(name.full, STR("..")) || !str_starts(name.full, name.project))
            __builtin_trap();
    }
    if (reference_parse(&a, text, &reference, &other) == OK && !reference.is_digest &&
        !tag_is_valid(reference.tag))
        __builtin_trap();
    return 0;
}

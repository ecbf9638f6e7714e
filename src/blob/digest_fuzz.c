#include "blob/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Whatever parses has one text and one stored form, and both lead back to it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    str text = str_make(data, n);
    struct digest d, again;
    if (digest_parse(text, true, &d))
        return 0;
    ARENA_CLEANUP struct arena a = {0};
    if (!str_eq(digest_text(&a, &d), text))
        __builtin_trap();
    if (!digest_from_stored(digest_stored(&d), &again) || !digest_eq(&d, &again))
        __builtin_trap();
    bool known = digest_parse(text, false, &again) == OK;
    if (known != (digest_algorithm(&d) != DIGEST_OTHER))
        __builtin_trap();
    return 0;
}

#include "registry/fact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The input is an image's config, and a manifest's text as well. What is noted keeps its bounds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct manifest_ref config = {.media_type = STR("a/b")};
    struct manifest image = {.type = MANIFEST_OCI_IMAGE, .refs = &config, .ref_n = 1};
    struct manifest index = {.type = MANIFEST_OCI_INDEX};
    ARENA_CLEANUP struct arena a = {0};
    struct facts *facts = ARENA_NEW(&a, struct facts);
    str bytes = str_make(data, n);
    for (int i = 0; i < 2; i++) {
        facts_read(&a, i ? &index : &image, bytes, i ? str_make(NULL, 0) : bytes, facts);
        if (facts->n > FACTS_MAX)
            __builtin_trap();
        for (size_t j = 0; j < facts->n; j++)
            if (facts->items[j].key.n > FACT_KEY_MAX || facts->items[j].value.n > FACT_VALUE_MAX)
                __builtin_trap();
    }
    return 0;
}

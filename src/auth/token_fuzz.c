#include "auth/claims.h"
#include "auth/jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The input is a token; its payload is read as if the signature held, and the input itself as if it
 * were a payload. A stranger's input never verifies. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct jws_key *key;
    ARENA_CLEANUP struct arena a = {0};
    struct jws jws;
    struct claims claims;
    str in = str_make(data, n);
    if (!key && jws_key_generate(&key))
        return 0;
    if (jws_parse(&a, in, &jws) == OK && jws_verify(&jws, key))
        __builtin_trap();
    str payload = jws_parse(&a, in, &jws) == OK ? jws.payload : in;
    if (claims_read(&a, payload, STR("berth"), 1000, &claims) == OK)
        claims_copy(arena_alloc(&a, claims_size(&claims)), &claims, 0);
    return 0;
}

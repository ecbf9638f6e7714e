#include "net/address.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    str s = str_make(data, n);
    struct address a, again;
    struct cidr c;
    char text[ADDRESS_LEN_MAX];
    /* What was parsed must survive being written and parsed again. */
    if (address_parse(s, &a) &&
        (!address_parse(address_text(&a, text), &again) || memcmp(&a, &again, sizeof a) != 0))
        abort();
    if (cidr_parse(s, &c) && !cidr_match(&c, &c.base))
        abort();
    return 0;
}

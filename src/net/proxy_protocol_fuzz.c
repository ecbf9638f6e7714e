#include "net/proxy_protocol.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct proxy_header h;
    size_t length = 0, again = 0;
    str in = str_make(data, n);
    if (proxy_header_length(in, &length))
        return 0;
    /* What follows the header must not change what it is. */
    if (length > n || length > PROXY_HEADER_BYTES_MAX ||
        proxy_header_length(str_first(in, length), &again) || again != length)
        abort();
    for (size_t i = 0; i < length; i++)
        if (proxy_header_length(str_first(in, i), &again) != ERR_WOULD_BLOCK)
            abort();
    if (!proxy_header_parse(str_first(in, length), &h) && h.source.family != h.destination.family &&
        (h.source.family == AF_UNSPEC || h.destination.family == AF_UNSPEC))
        abort();
    return 0;
}

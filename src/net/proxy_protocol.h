/* The PROXY protocol, versions 1 and 2: a header in front of everything else on a connection, in
 * which a proxy tells whose connection it passes on. Pure; any thread. */
#pragma once

#include "base/err.h"
#include "net/address.h"

enum {
    PROXY_V1_BYTES_MAX = 107,
    PROXY_HEADER_BYTES_MAX = 4096, /* version 2 with its extensions, which are skipped */
};

struct proxy_header {
    /* Family AF_UNSPEC when the header tells none: the proxy speaks for itself (LOCAL), or the
     * client has no internet address. */
    struct address source, destination;
};

/* Where the header ends that `in` begins with. ERR_WOULD_BLOCK: all of `in` belongs to the header,
 * and more is needed. ERR_SYNTAX: it begins with no header. ERR_LIMIT: it is longer than allowed.
 */
NODISCARD enum err proxy_header_length(str in, size_t *ret_n);

/* Reads a whole header. ERR_SYNTAX: it is malformed or tells of something other than a stream. */
NODISCARD enum err proxy_header_parse(str header, struct proxy_header *ret);

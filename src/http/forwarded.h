/* Who the client is when trusted proxies stand in front: Forwarded (RFC 7239) and X-Forwarded-For,
 * -Proto, -Host. Pure; any thread.
 *
 * The chain is read from the right: each entry counts only because the one who wrote it, the peer
 * or the entry to its right, is trusted. The first address that is not trusted is the client; an
 * entry that is no address ends the chain too. Protocol and host are those seen by the outermost
 * trusted proxy that told them. From a peer that is not trusted nothing counts; one without an
 * address (AF_UNSPEC) came over a unix socket and is trusted, as the socket's mode let it in.
 *
 * When a request has any of the X- fields, Forwarded is ignored: proxies that write the X- fields
 * commonly pass a client's own Forwarded through, so it could be forged. */
#pragma once

#include "http/request.h"
#include "net/address.h"

struct forwarded {
    struct address client;
    bool secure;
    str host;
};

/* *f comes in as the connection has it (client: the peer) and is changed as the fields tell. */
void forwarded_resolve(const struct cidr *trusted, size_t trusted_n, const struct field *fields,
                       size_t field_n, struct forwarded *f);

/* Internet addresses: parsing, formatting, CIDR blocks. Pure; any thread. */
#pragma once

#include "base/str.h"

#include <sys/socket.h>

/* An IPv4 address that came mapped into IPv6 (::ffff:a.b.c.d) is stored as IPv4. */
struct address {
    uint16_t family; /* AF_INET, AF_INET6, or AF_UNSPEC: none */
    uint16_t port;
    uint32_t scope; /* interface of a link-local IPv6 address; 0 without */
    uint8_t ip[16]; /* AF_INET: the first four */
};

enum { ADDRESS_LEN_MAX = 64 };

/* "10.0.0.1", "::1" or "[::1]"; nothing around it. The port is 0. */
NODISCARD bool address_parse_ip(str s, struct address *ret);
/* "10.0.0.1:80", "[::1]:80", and "*:80" or ":80" for all addresses of the machine ([::]:80). */
NODISCARD bool address_parse(str s, struct address *ret);

/* The address without its port, and with it. No NUL. */
str address_ip_text(const struct address *a, char out[ADDRESS_LEN_MAX]);
str address_text(const struct address *a, char out[ADDRESS_LEN_MAX]);

bool address_is_any(const struct address *a);

/* Other families than the two give AF_UNSPEC. */
void address_from_sockaddr(struct address *ret, const struct sockaddr_storage *sa);
socklen_t address_to_sockaddr(const struct address *a, struct sockaddr_storage *ret);

struct cidr {
    struct address base;
    unsigned bits;
};

/* "10.0.0.0/8", "fd00::/8", or a single address. Bits behind the prefix are ignored. */
NODISCARD bool cidr_parse(str s, struct cidr *ret);
bool cidr_match(const struct cidr *c, const struct address *a);
bool cidr_match_any(const struct cidr *list, size_t n, const struct address *a);

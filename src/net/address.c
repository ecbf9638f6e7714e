#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static void unmap(struct address *a)
{
    if (a->family != AF_INET6 || memcmp(a->ip, mapped_prefix, sizeof mapped_prefix) != 0)
        return;
    a->family = AF_INET;
    a->scope = 0;
    memmove(a->ip, a->ip + 12, 4);
    memset(a->ip + 4, 0, 12);
}

static bool parse_ip(str s, bool bracketed, struct address *ret)
{
    char z[INET6_ADDRSTRLEN];
    if (s.n == 0 || s.n >= sizeof z || memchr(s.p, '\0', s.n))
        return false;
    memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    struct address a = {.family = AF_INET};
    if (bracketed || inet_pton(AF_INET, z, a.ip) != 1) {
        a.family = AF_INET6;
        if (inet_pton(AF_INET6, z, a.ip) != 1)
            return false;
    }
    unmap(&a);
    *ret = a;
    return true;
}

bool address_parse_ip(str s, struct address *ret)
{
    if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        return parse_ip(str_make(s.p + 1, s.n - 2), true, ret);
    return parse_ip(s, false, ret);
}

bool address_parse(str s, struct address *ret)
{
    size_t colon = str_rfind(s, ':');
    if (colon == s.n)
        return false;
    str host = str_first(s, colon), port_text = str_skip(s, colon + 1);
    uint64_t port;
    if (port_text.n > 5 || !str_u64(port_text, &port) || port > UINT16_MAX)
        return false;
    struct address a;
    bool bracketed = str_starts(host, STR("["));
    if (host.n == 0 || str_eq(host, STR("*")))
        a = (struct address){.family = AF_INET6};
    else if (!address_parse_ip(host, &a) || (!bracketed && str_find(host, ':') < host.n))
        return false; /* "::1:80" could mean two things */
    a.port = (uint16_t)port;
    *ret = a;
    return true;
}

str address_ip_text(const struct address *a, char out[ADDRESS_LEN_MAX])
{
    int n = 0;
    if (a->family == AF_INET) {
        n = snprintf(out, ADDRESS_LEN_MAX, "%u.%u.%u.%u", a->ip[0], a->ip[1], a->ip[2], a->ip[3]);
    } else if (a->family == AF_INET6 && inet_ntop(AF_INET6, a->ip, out, ADDRESS_LEN_MAX)) {
        n = (int)strlen(out);
        if (a->scope)
            n += snprintf(out + n, (size_t)(ADDRESS_LEN_MAX - n), "%%%u", a->scope);
    }
    return str_make(out, (size_t)n);
}

str address_text(const struct address *a, char out[ADDRESS_LEN_MAX])
{
    char ip[ADDRESS_LEN_MAX];
    str text = address_ip_text(a, ip);
    bool six = a->family == AF_INET6;
    int n = snprintf(out, ADDRESS_LEN_MAX, "%s%.*s%s:%u", six ? "[" : "", STR_ARG(text),
                     six ? "]" : "", a->port);
    return str_make(out, (size_t)n);
}

bool address_is_any(const struct address *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, sizeof zero) == 0;
}

void address_from_sockaddr(struct address *ret, const struct sockaddr_storage *sa)
{
    *ret = (struct address){.family = AF_UNSPEC};
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        ret->family = AF_INET;
        ret->port = ntohs(in->sin_port);
        memcpy(ret->ip, &in->sin_addr, 4);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        ret->family = AF_INET6;
        ret->port = ntohs(in6->sin6_port);
        ret->scope = in6->sin6_scope_id;
        memcpy(ret->ip, &in6->sin6_addr, 16);
        unmap(ret);
    }
}

socklen_t address_to_sockaddr(const struct address *a, struct sockaddr_storage *ret)
{
    *ret = (struct sockaddr_storage){.ss_family = a->family};
    if (a->family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    in6->sin6_port = htons(a->port);
    in6->sin6_scope_id = a->scope;
    memcpy(&in6->sin6_addr, a->ip, 16);
    return sizeof *in6;
}

bool cidr_parse(str s, struct cidr *ret)
{
    str ip, bits_text;
    struct cidr c;
    bool has_bits = str_cut(s, '/', &ip, &bits_text);
    if (!address_parse_ip(ip, &c.base))
        return false;
    unsigned width = c.base.family == AF_INET ? 32 : 128;
    uint64_t bits = width;
    if (has_bits && (!str_u64(bits_text, &bits)))
        return false;
    /* ::ffff:10.0.0.0/104 is 10.0.0.0/8. */
    bool was_mapped = c.base.family == AF_INET && str_find(ip, ':') < ip.n;
    if (has_bits && was_mapped) {
        if (bits < 96)
            return false;
        bits -= 96;
    }
    if (bits > width)
        return false;
    c.bits = (unsigned)bits;
    *ret = c;
    return true;
}

bool cidr_match(const struct cidr *c, const struct address *a)
{
    if (a->family != c->base.family)
        return false;
    unsigned bytes = c->bits / 8, rest = c->bits % 8;
    if (memcmp(a->ip, c->base.ip, bytes) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return rest == 0 || ((a->ip[bytes] ^ c->base.ip[bytes]) & mask) == 0;
}

bool cidr_match_any(const struct cidr *list, size_t n, const struct address *a)
{
    for (size_t i = 0; i < n; i++)
        if (cidr_match(&list[i], a))
            return true;
    return false;
}

#include "conf/address.h"

#include <arpa/inet.h>

enum { PORT_DIGITS_MAX = 5, HOST_LABEL_MAX = 63, HOST_NAME_MAX_BYTES = 253 };

/* inet_pton with a slice. */
static bool is_numeric(int family, str s)
{
    char z[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (s.n >= sizeof z || memchr(s.p ? s.p : "", '\0', s.n))
        return false;
    memcpy(z, s.p ? s.p : "", s.n);
    z[s.n] = '\0';
    return inet_pton(family, z, &address) == 1;
}

static bool is_port(str s, uint64_t least)
{
    uint64_t port;
    return s.n <= PORT_DIGITS_MAX && str_u64(s, &port) && port >= least && port <= 65535;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Letters, digits, and inside a label also - and _ (which container networks use). */
static bool is_label(str s)
{
    if (s.n == 0 || s.n > HOST_LABEL_MAX || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return true;
}

/* A name whose last label is a number would be read as an IPv4 address (RFC 3986 3.2.2, WHATWG),
 * so it must be one. */
static bool is_name(str s)
{
    str rest = s, label = {0};
    uint64_t number;
    if (s.n == 0 || s.n > HOST_NAME_MAX_BYTES)
        return false;
    while (str_next(&rest, '.', &label))
        if (!is_label(label))
            return false;
    return str_u64(label, &number) ? is_numeric(AF_INET, s) : true;
}

/* Splits at the colon in front of the port; *port has p == NULL when there is none. Brackets
 * around an IPv6 address are removed and reported. */
static bool split(str s, str *host, str *port, bool *bracketed)
{
    *port = (str){0};
    *bracketed = str_starts(s, STR("["));
    if (*bracketed) {
        str tail;
        if (!str_cut(str_skip(s, 1), ']', host, &tail))
            return false;
        if (tail.n == 0)
            return true;
        *port = str_skip(tail, 1);
        return tail.p[0] == ':';
    }
    if (!str_cut(s, ':', host, port))
        *port = (str){0};
    return true;
}

bool address_is_listen(str s)
{
    str host, port;
    bool bracketed;
    return split(s, &host, &port, &bracketed) && port.p && is_port(port, 0) &&
           is_numeric(bracketed ? AF_INET6 : AF_INET, host);
}

bool address_is_host(str s)
{
    str host, port;
    bool bracketed;
    return split(s, &host, &port, &bracketed) && (!port.p || is_port(port, 1)) &&
           (bracketed ? is_numeric(AF_INET6, host) : is_name(host));
}

bool address_is_url(str s)
{
    str http = STR("http://"), https = STR("https://");
    if (str_starts(s, http))
        return address_is_host(str_skip(s, http.n));
    return str_starts(s, https) && address_is_host(str_skip(s, https.n));
}

bool address_is_network(str s)
{
    str address, prefix;
    uint64_t bits = 0;
    bool has_prefix = str_cut(s, '/', &address, &prefix);
    if (has_prefix && (prefix.n > 3 || !str_u64(prefix, &bits)))
        return false;
    return (is_numeric(AF_INET, address) && bits <= 32) ||
           (is_numeric(AF_INET6, address) && bits <= 128);
}

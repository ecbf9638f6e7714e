#include "net/proxy_protocol.h"

enum {
    V2_FIXED_BYTES = 16,
    V2_LOCAL = 0x20, /* version and command */
    V2_PROXY = 0x21,
    V2_UNSPEC = 0x00, /* family and protocol */
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_UNIX_STREAM = 0x31,
    V2_TCP4_BYTES = 12,
    V2_TCP6_BYTES = 36,
    V2_UNIX_BYTES = 216,
};

static const str v1_signature = STR_INIT("PROXY ");
static const str v2_signature = STR_INIT("\r\n\r\n\0\r\nQUIT\n");

static unsigned be16(const char *p)
{
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

static bool begins(str in, str signature)
{
    size_t n = in.n < signature.n ? in.n : signature.n;
    return str_starts(in, str_first(signature, n));
}

static enum err v1_length(str in, size_t *ret_n)
{
    str line = str_first(in, PROXY_V1_BYTES_MAX);
    for (size_t at = 0; at + 1 < line.n; at++) {
        if (line.p[at] == '\r' && line.p[at + 1] == '\n') {
            *ret_n = at + 2;
            return OK;
        }
    }
    return in.n < PROXY_V1_BYTES_MAX ? ERR_WOULD_BLOCK : ERR_LIMIT;
}

enum err proxy_header_length(str in, size_t *ret_n)
{
    if (in.n == 0)
        return ERR_WOULD_BLOCK;
    if (begins(in, v1_signature))
        return v1_length(in, ret_n);
    if (!begins(in, v2_signature))
        return ERR_SYNTAX;
    if (in.n < V2_FIXED_BYTES)
        return ERR_WOULD_BLOCK;
    size_t n = V2_FIXED_BYTES + be16(in.p + 14);
    if (n > PROXY_HEADER_BYTES_MAX)
        return ERR_LIMIT;
    if (in.n < n)
        return ERR_WOULD_BLOCK;
    *ret_n = n;
    return OK;
}

static bool v1_address(str text, bool six, struct address *ret)
{
    bool colon = str_find(text, ':') < text.n;
    return colon == six && !str_starts(text, STR("[")) && address_parse_ip(text, ret);
}

static bool v1_port(str text, struct address *a)
{
    uint64_t port;
    if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0') || !str_u64(text, &port) ||
        port > UINT16_MAX)
        return false;
    a->port = (uint16_t)port;
    return true;
}

/* "TCP4 SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT", or "UNKNOWN" and anything. */
static enum err v1_parse(str line, struct proxy_header *ret)
{
    enum { PARTS = 5 };
    str part[PARTS], rest = line, more;
    struct proxy_header h = {0};
    if (str_eq(line, STR("UNKNOWN")) || str_starts(line, STR("UNKNOWN "))) {
        *ret = h;
        return OK;
    }
    for (size_t i = 0; i < PARTS; i++)
        if (!str_next(&rest, ' ', &part[i]))
            return ERR_SYNTAX;
    bool six = str_eq(part[0], STR("TCP6"));
    if (str_next(&rest, ' ', &more) || (!six && !str_eq(part[0], STR("TCP4"))) ||
        !v1_address(part[1], six, &h.source) || !v1_address(part[2], six, &h.destination) ||
        !v1_port(part[3], &h.source) || !v1_port(part[4], &h.destination))
        return ERR_SYNTAX;
    *ret = h;
    return OK;
}

static struct address v2_address(int family, const char *ip, const char *port)
{
    struct sockaddr_storage sa;
    struct address a = {.family = (uint16_t)family, .port = (uint16_t)be16(port)}, ret;
    memcpy(a.ip, ip, family == AF_INET ? 4 : 16);
    address_to_sockaddr(&a, &sa);
    address_from_sockaddr(&ret, &sa); /* IPv4 that is mapped into IPv6 becomes IPv4 */
    return ret;
}

static enum err v2_parse(str header, struct proxy_header *ret)
{
    unsigned command = (uint8_t)header.p[12], family = (uint8_t)header.p[13];
    str body = str_skip(header, V2_FIXED_BYTES);
    struct proxy_header h = {0};
    if (command != V2_LOCAL && command != V2_PROXY)
        return ERR_SYNTAX;
    if (command == V2_PROXY && family == V2_TCP4 && body.n >= V2_TCP4_BYTES) {
        h.source = v2_address(AF_INET, body.p, body.p + 8);
        h.destination = v2_address(AF_INET, body.p + 4, body.p + 10);
    } else if (command == V2_PROXY && family == V2_TCP6 && body.n >= V2_TCP6_BYTES) {
        h.source = v2_address(AF_INET6, body.p, body.p + 32);
        h.destination = v2_address(AF_INET6, body.p + 16, body.p + 34);
    } else if (command == V2_PROXY && family != V2_UNSPEC &&
               (family != V2_UNIX_STREAM || body.n < V2_UNIX_BYTES)) {
        return ERR_SYNTAX;
    }
    *ret = h;
    return OK;
}

enum err proxy_header_parse(str header, struct proxy_header *ret)
{
    size_t n;
    if (proxy_header_length(header, &n) || n != header.n)
        return ERR_SYNTAX;
    if (header.p[0] != 'P')
        return v2_parse(header, ret);
    return v1_parse(str_skip(str_first(header, n - 2), v1_signature.n), ret);
}

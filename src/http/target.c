#include "http/target.h"

#include "http/chars.h"

#include <arpa/inet.h>

enum { HOST_BYTES_MAX = 255, PORT_DIGITS_MAX = 5, PORT_MAX = 65535 };

static bool ipv6_valid(str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return memchr(text, 0, s.n) == NULL && inet_pton(AF_INET6, text, &address) == 1;
}

bool authority_valid(str authority)
{
    str rest;
    if (authority.n > 0 && authority.p[0] == '[') {
        str address;
        if (!str_cut(str_skip(authority, 1), ']', &address, &rest) || !ipv6_valid(address))
            return false;
    } else {
        size_t n = str_find(authority, ':');
        rest = str_skip(authority, n);
        if (n > HOST_BYTES_MAX || !str_is(str_first(authority, n), CHAR_HOST))
            return false;
    }
    if (rest.n == 0)
        return true;
    str digits = str_skip(rest, 1);
    uint64_t port;
    return rest.p[0] == ':' && digits.n <= PORT_DIGITS_MAX && str_u64(digits, &port) &&
           port <= PORT_MAX;
}

static bool path_check(str path, const char **why)
{
    size_t dots = 0, others = 0; /* in this segment */
    for (size_t i = 0; i <= path.n; i++) {
        if (i == path.n || path.p[i] == '/') {
            if (others == 0 && (dots == 1 || dots == 2)) {
                *why = "the path has a \".\" or \"..\" segment";
                return false;
            }
            dots = others = 0;
            continue;
        }
        int c = (uint8_t)path.p[i];
        if (c == '%') {
            c = char_escape(str_skip(path, i));
            if (c <= 0) {
                *why = c == 0 ? "the path has an escaped NUL" : "the path has a malformed % escape";
                return false;
            }
            i += 2;
        } else if (!char_is((char)c, CHAR_PATH)) {
            *why = "the path has a character that must be escaped";
            return false;
        }
        if (c == '.')
            dots++;
        else
            others++;
    }
    return true;
}

/* Takes the scheme off the absolute form. */
static bool scheme_cut(str target, str *rest)
{
    static const str schemes[] = {STR_INIT("http://"), STR_INIT("https://")};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (str_eq_nocase(str_first(target, schemes[i].n), schemes[i])) {
            *rest = str_skip(target, schemes[i].n);
            return true;
        }
    }
    return false;
}

bool target_parse(str target, struct target *ret, const char **why)
{
    struct target t = {0};
    str rest = target;
    if (target.n == 0 || target.p[0] != '/') {
        if (!scheme_cut(target, &rest)) {
            *why = "the request target is neither a path nor an http URL";
            return false;
        }
        size_t n = 0;
        while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
            n++;
        t.authority = str_first(rest, n);
        rest = str_skip(rest, n);
        if (!authority_valid(t.authority)) {
            *why = "the request target has an invalid host";
            return false;
        }
    }
    str_cut(rest, '?', &t.path, &t.query);
    if (t.path.n == 0)
        t.path = STR("/");
    if (!path_check(t.path, why))
        return false;
    if (t.query.n > 0 && !str_is(t.query, CHAR_QUERY)) {
        *why = "the query has a character that must be escaped";
        return false;
    }
    *ret = t;
    return true;
}

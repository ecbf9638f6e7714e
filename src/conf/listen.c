#include "conf/listen.h"

#include "conf/address.h"

/* Why no address and port could be read, most telling reason first. */
static const char *address_flaw(str s)
{
    if (str_find(s, '/') < s.n)
        return "nothing may follow the port but ?proxy";
    if (address_is_listen(s))
        return NULL;
    bool bracketed = str_starts(s, STR("["));
    size_t colon = str_rfind(s, ':'), bracket = str_rfind(s, ']');
    if (colon == s.n || (bracketed && bracket < s.n && bracket > colon))
        return "it has no port";
    if (!bracketed && str_find(s, ':') != colon)
        return "an IPv6 address stands in brackets";
    uint64_t port;
    str digits = str_skip(s, colon + 1);
    if (digits.n > 5 || !str_u64(digits, &port) || port > 65535)
        return "its port is not a number from 0 to 65535";
    if (colon == 0)
        return "it has no address; all addresses are [::]";
    return "its address is not numeric";
}

static bool parse_mode(str s, unsigned *ret)
{
    unsigned mode = 0;
    if (s.n < 3 || s.n > 4 || (s.n == 4 && s.p[0] != '0'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '7')
            return false;
        mode = mode << 3 | (unsigned)(s.p[i] - '0');
    }
    *ret = mode;
    return true;
}

static const char *parse_flags(str rest, struct listen_entry *e)
{
    str flag;
    bool has_mode = false;
    while (str_next(&rest, '&', &flag)) {
        if (str_eq(flag, STR("proxy"))) {
            if (e->proxy)
                return "proxy is there twice";
            e->proxy = true;
        } else if (str_starts(flag, STR("mode="))) {
            if (!e->path.p)
                return "only a unix socket has a mode";
            if (has_mode)
                return "mode is there twice";
            if (!parse_mode(str_skip(flag, sizeof "mode=" - 1), &e->mode))
                return "its mode is not octal, as in mode=0660";
            has_mode = true;
        } else {
            return e->path.p ? "after the ? stand proxy and mode=0660 only, with & between them"
                             : "after the ? stands proxy only";
        }
    }
    return NULL;
}

static bool is_clean(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

static const char *parse_place(str s, struct listen_entry *e)
{
    str unix_scheme = STR("unix:"), http = STR("http://"), https = STR("https://");
    if (str_starts(s, unix_scheme)) {
        e->path = str_skip(s, unix_scheme.n);
        e->mode = LISTEN_MODE_DEFAULT;
        e->scheme = LISTEN_HTTP;
        if (!str_starts(e->path, STR("/")) || str_ends(e->path, STR("/")))
            return "after unix: stands the absolute path of a socket";
        return is_clean(e->path) ? NULL : "its path has a control character";
    }
    if (str_starts(s, http)) {
        e->scheme = LISTEN_HTTP;
        s = str_skip(s, http.n);
    } else if (str_starts(s, https)) {
        e->scheme = LISTEN_HTTPS;
        s = str_skip(s, https.n);
    } else if (str_contains(s, STR("://"))) {
        return "its scheme is neither http nor https";
    }
    e->address = s;
    return address_flaw(s);
}

const char *listen_entry_parse(str s, struct listen_entry *ret)
{
    struct listen_entry e = {.scheme = LISTEN_AS_CONFIGURED};
    str place, flags;
    bool has_flags = str_cut(s, '?', &place, &flags);
    const char *flaw = parse_place(place, &e);
    if (!flaw && has_flags)
        flaw = flags.n ? parse_flags(flags, &e) : "nothing stands after the ?";
    if (!flaw)
        *ret = e;
    return flaw;
}

#include "http/forwarded.h"

#include "http/chars.h"
#include "http/target.h"

/* What one proxy tells about its peer; p == NULL: nothing. */
struct hop {
    str node, proto, host;
};

enum { HOPS_MAX = 32 }; /* the rightmost ones of a longer chain */

struct chain {
    struct hop hops[HOPS_MAX]; /* a ring: hop i is at i % HOPS_MAX */
    size_t n;
};

static struct hop *chain_add(struct chain *c)
{
    struct hop *hop = &c->hops[c->n++ % HOPS_MAX];
    *hop = (struct hop){0};
    return hop;
}

/* The k-th hop from the right, NULL past the last. */
static struct hop *chain_from_right(struct chain *c, size_t k)
{
    return k < c->n && k < HOPS_MAX ? &c->hops[(c->n - 1 - k) % HOPS_MAX] : NULL;
}

/* The last elements of a comma-separated field that may be repeated. */
struct list {
    str items[HOPS_MAX]; /* a ring as above */
    size_t n;
};

static void list_read(struct list *l, const struct field *fields, size_t field_n, str name)
{
    l->n = 0;
    for (size_t i = 0; i < field_n; i++) {
        str rest = fields[i].value, part;
        if (str_eq(fields[i].name, name))
            while (str_next(&rest, ',', &part))
                l->items[l->n++ % HOPS_MAX] = str_trim(part);
    }
}

/* What goes with the k-th hop from the right: a list as long as the chain has one element a hop;
 * otherwise the last writer overwrote or appended, and the last element is what it saw. */
static str list_of_hop(const struct list *l, size_t k, size_t chain_n)
{
    if (l->n == 0)
        return (str){0};
    return l->items[(l->n - 1 - (l->n == chain_n ? k : 0)) % HOPS_MAX];
}

/* True when any of the X- fields was there. */
static bool chain_from_x_fields(struct chain *c, const struct field *fields, size_t field_n)
{
    struct list nodes, protos, hosts;
    list_read(&nodes, fields, field_n, STR("x-forwarded-for"));
    list_read(&protos, fields, field_n, STR("x-forwarded-proto"));
    list_read(&hosts, fields, field_n, STR("x-forwarded-host"));
    if (nodes.n + protos.n + hosts.n == 0)
        return false;
    c->n = nodes.n ? nodes.n : 1; /* protocol and host alone: the peer is the client */
    struct hop *hop;
    for (size_t k = 0; (hop = chain_from_right(c, k)); k++)
        *hop = (struct hop){.node = list_of_hop(&nodes, k, nodes.n),
                            .proto = list_of_hop(&protos, k, c->n),
                            .host = list_of_hop(&hosts, k, c->n)};
    return true;
}

/* Takes a token or a quoted string off the front. Escapes inside quotes have no place in what is
 * looked at here, so a value with one is refused. */
static bool take_value(str *rest, str *value)
{
    bool quoted = rest->n > 0 && rest->p[0] == '"';
    str s = quoted ? str_skip(*rest, 1) : *rest;
    size_t n = 0;
    while (n < s.n && (quoted ? s.p[n] != '"' : char_is(s.p[n], CHAR_TOKEN)))
        n++;
    *value = str_first(s, n);
    if (quoted && (n == s.n || str_find(*value, '\\') < n))
        return false;
    *rest = str_skip(s, n + quoted);
    return quoted || n > 0;
}

/* One element of Forwarded: pairs name=value separated by ';', up to ',' or the end. */
static bool take_element(str *rest, struct hop *hop)
{
    for (;;) {
        str name, value;
        *rest = str_trim(*rest);
        if (!take_value(rest, &name) || !str_starts(*rest, STR("=")))
            return false;
        *rest = str_skip(*rest, 1);
        if (!take_value(rest, &value))
            return false;
        if (str_eq_nocase(name, STR("for")))
            hop->node = value;
        else if (str_eq_nocase(name, STR("proto")))
            hop->proto = value;
        else if (str_eq_nocase(name, STR("host")))
            hop->host = value;
        *rest = str_trim(*rest);
        if (rest->n == 0)
            return true;
        char separator = rest->p[0];
        *rest = str_skip(*rest, 1);
        if (separator == ',')
            return rest->n > 0;
        if (separator != ';')
            return false;
    }
}

/* A malformed field makes the whole chain worthless: it cannot be told who wrote what. */
static void chain_from_forwarded(struct chain *c, const struct field *fields, size_t field_n)
{
    for (size_t i = 0; i < field_n; i++) {
        str rest = fields[i].value;
        while (str_eq(fields[i].name, STR("forwarded")) && rest.n > 0) {
            if (!take_element(&rest, chain_add(c))) {
                c->n = 0;
                return;
            }
        }
    }
}

static bool parse_node(str node, struct address *ret)
{
    struct address a;
    if (!address_parse_ip(node, &a)) {
        /* With a port; address_parse would take ":80" and "*:80" for all addresses. */
        if (node.n == 0 || node.p[0] == ':' || node.p[0] == '*' || !address_parse(node, &a))
            return false;
        a.port = 0;
    }
    *ret = a;
    return true;
}

static void take_hop(const struct hop *hop, struct forwarded *f)
{
    if (str_eq_nocase(hop->proto, STR("https")))
        f->secure = true;
    else if (str_eq_nocase(hop->proto, STR("http")))
        f->secure = false;
    if (hop->host.n > 0 && authority_valid(hop->host))
        f->host = hop->host;
}

void forwarded_resolve(const struct cidr *trusted, size_t trusted_n, const struct field *fields,
                       size_t field_n, struct forwarded *f)
{
    if (f->client.family != AF_UNSPEC && !cidr_match_any(trusted, trusted_n, &f->client))
        return;
    struct chain chain = {.n = 0};
    if (!chain_from_x_fields(&chain, fields, field_n))
        chain_from_forwarded(&chain, fields, field_n);
    struct hop *hop;
    for (size_t k = 0; (hop = chain_from_right(&chain, k)); k++) {
        take_hop(hop, f);
        if (!parse_node(hop->node, &f->client) || !cidr_match_any(trusted, trusted_n, &f->client))
            return;
    }
}

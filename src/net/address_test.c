#include "base/test.h"
#include "net/address.h"

#include <sys/socket.h>

static const char *round_trip(const char *z)
{
    static char out[ADDRESS_LEN_MAX + 1];
    struct address a;
    if (!address_parse(str_from(z), &a))
        return "refused";
    str s = address_text(&a, out);
    out[s.n] = '\0';
    return out;
}

static void parses_and_formats(void)
{
    CHECK_STR(str_from(round_trip("127.0.0.1:5000")), "127.0.0.1:5000");
    CHECK_STR(str_from(round_trip("[::1]:0")), "[::1]:0");
    CHECK_STR(str_from(round_trip("[::ffff:10.0.0.1]:80")), "10.0.0.1:80");
    CHECK_STR(str_from(round_trip("*:65535")), "[::]:65535");
    CHECK_STR(str_from(round_trip(":80")), "[::]:80");
}

static void refuses(void)
{
    static const char *const bad[] = {
        "",       "127.0.0.1", "127.0.0.1:",     "1.2.3:80",    "127.0.0.1:65536",  "127.0.0.1:-1",
        "::1:80", "[::1]80",   "[127.0.0.1]:80", "localhost:1", "127.0.0.1:000080", "[::1:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_STR(str_from(round_trip(bad[i])), "refused");
    struct address a;
    CHECK(!address_parse_ip(str_make("1.2.3.4\0", 8), &a));
}

static void ip_text(void)
{
    char out[ADDRESS_LEN_MAX];
    struct address a;
    CHECK(address_parse_ip(STR("2001:DB8::1"), &a));
    CHECK_STR(address_ip_text(&a, out), "2001:db8::1");
    CHECK(!address_is_any(&a));
    CHECK(address_parse_ip(STR("[::]"), &a));
    CHECK(address_is_any(&a));
    a = (struct address){.family = AF_UNSPEC};
    CHECK_STR(address_ip_text(&a, out), "");
}

static void sockaddr_round_trip(void)
{
    struct sockaddr_storage sa;
    struct address a, b;
    CHECK(address_parse(STR("[fe80::1]:443"), &a));
    a.scope = 3;
    address_to_sockaddr(&a, &sa);
    address_from_sockaddr(&b, &sa);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    CHECK(address_parse(STR("192.0.2.7:443"), &a));
    address_to_sockaddr(&a, &sa);
    address_from_sockaddr(&b, &sa);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    sa = (struct sockaddr_storage){.ss_family = AF_UNIX};
    address_from_sockaddr(&b, &sa);
    CHECK_INT(b.family, AF_UNSPEC);
}

static bool matches(const char *block, const char *ip)
{
    struct cidr c;
    struct address a;
    CHECK(cidr_parse(str_from(block), &c));
    CHECK(address_parse_ip(str_from(ip), &a));
    return cidr_match(&c, &a);
}

static void cidr_blocks(void)
{
    CHECK(matches("10.0.0.0/8", "10.255.0.1"));
    CHECK(!matches("10.0.0.0/8", "11.0.0.1"));
    CHECK(matches("10.1.2.3/31", "10.1.2.2"));
    CHECK(!matches("10.1.2.3/31", "10.1.2.4"));
    CHECK(matches("0.0.0.0/0", "1.2.3.4"));
    CHECK(!matches("0.0.0.0/0", "::1"));
    CHECK(matches("127.0.0.1", "::ffff:127.0.0.1"));
    CHECK(!matches("127.0.0.1", "127.0.0.2"));
    CHECK(matches("fd00::/9", "fd7f::1"));
    CHECK(!matches("fd00::/9", "fd80::1"));
    CHECK(matches("::/0", "2001:db8::1"));
    CHECK(matches("::ffff:10.0.0.0/104", "10.9.9.9"));
    struct cidr c;
    CHECK(!cidr_parse(STR("10.0.0.0/33"), &c));
    CHECK(!cidr_parse(STR("::/129"), &c));
    CHECK(!cidr_parse(STR("::ffff:10.0.0.0/95"), &c));
    CHECK(!cidr_parse(STR("10.0.0.0/"), &c));
    CHECK(!cidr_parse(STR("ten/8"), &c));
}

TESTS({"parses and formats", parses_and_formats}, {"refuses", refuses}, {"ip text", ip_text},
      {"sockaddr round trip", sockaddr_round_trip}, {"CIDR blocks", cidr_blocks});

#include "base/test.h"
#include "http/forwarded.h"

static struct cidr trusted[2];

static void setup(void)
{
    CHECK(cidr_parse(STR("10.0.0.0/8"), &trusted[0]));
    CHECK(cidr_parse(STR("fd00::/8"), &trusted[1]));
}

/* Resolves for a peer and up to three fields and renders "client proto host". */
static str resolve(const char *peer, const char *fields[][2], size_t n)
{
    static char out[256];
    char ip[ADDRESS_LEN_MAX];
    struct field list[8];
    struct forwarded f = {.host = STR("direct")};
    setup();
    CHECK(address_parse_ip(str_from(peer), &f.client));
    for (size_t i = 0; i < n; i++)
        list[i] = (struct field){str_from(fields[i][0]), str_from(fields[i][1])};
    forwarded_resolve(trusted, 2, list, n, &f);
    int len = snprintf(out, sizeof out, "%.*s %s %.*s", STR_ARG(address_ip_text(&f.client, ip)),
                       f.secure ? "https" : "http", STR_ARG(f.host));
    return str_make(out, (size_t)len);
}

#define RESOLVE(peer, ...)                          \
    resolve(peer, (const char *[][2]){__VA_ARGS__}, \
            sizeof((const char *[][2]){__VA_ARGS__}) / (2 * sizeof(char *)))

static void untrusted_peer_is_believed_nothing(void)
{
    CHECK_STR(RESOLVE("192.0.2.1", {"x-forwarded-for", "1.1.1.1"}, {"x-forwarded-proto", "https"},
                      {"forwarded", "for=2.2.2.2;proto=https;host=evil"}),
              "192.0.2.1 http direct");
}

static void rightmost_untrusted_is_the_client(void)
{
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.0.0.2"}),
              "1.1.1.1 http direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", "6.6.6.6"}, {"x-forwarded-for", "1.1.1.1"}),
              "1.1.1.1 http direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", "10.0.0.3, 10.0.0.2"}),
              "10.0.0.3 http direct");
    CHECK_STR(RESOLVE("fd00::1", {"x-forwarded-for", "[2001:db8::9]:443"}),
              "2001:db8::9 http direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", "1.1.1.1:5555"}), "1.1.1.1 http direct");
}

static void what_is_no_address_ends_the_chain(void)
{
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", "1.1.1.1, unknown, 10.0.0.2"}),
              "10.0.0.2 http direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", ""}), "10.0.0.1 http direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", "1.1.1.1, :80"}), "10.0.0.1 http direct");
}

static void protocol_and_host(void)
{
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-proto", "https"}, {"x-forwarded-host", "reg:443"}),
              "10.0.0.1 https reg:443");
    /* One value for a chain of two: what the last proxy saw or passed on. */
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", "1.1.1.1, 10.0.0.2"},
                      {"x-forwarded-proto", "https"}),
              "1.1.1.1 https direct");
    /* Lists as long as the chain: the client's hop. A forged element in front does not count. */
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.0.0.2"},
                      {"x-forwarded-proto", "https, http, https"}),
              "1.1.1.1 http direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-host", "a b"}, {"x-forwarded-proto", "gopher"}),
              "10.0.0.1 http direct");
}

static void forwarded_field(void)
{
    CHECK_STR(RESOLVE("10.0.0.1", {"forwarded", "for=6.6.6.6;host=evil, For=\"[2001:db8::1]:80\" "
                                                ";Proto=https;host=\"reg:5000\", for=10.0.0.2"}),
              "2001:db8::1 https reg:5000");
    CHECK_STR(RESOLVE("10.0.0.1", {"forwarded", "for=1.1.1.1"}, {"forwarded", "for=10.1.1.1"}),
              "1.1.1.1 http direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"forwarded", "proto=https"}), "10.0.0.1 https direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"forwarded", "for=_hidden;proto=https"}),
              "10.0.0.1 https direct");
}

static void malformed_forwarded_counts_nothing(void)
{
    static const char *const bad[] = {
        "for=1.1.1.1,",    "for",      "for=\"1.1.1.1",     "for=1.1.1.1;;proto=https",
        "for=1.1.1.1 x=y", "=1.1.1.1", "for=\"1\\.1.1.1\"", "for=1.1.1.1;proto="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_STR(RESOLVE("10.0.0.1", {"forwarded", bad[i]}), "10.0.0.1 http direct");
}

static void x_fields_exclude_forwarded(void)
{
    CHECK_STR(RESOLVE("10.0.0.1", {"forwarded", "for=6.6.6.6;proto=https"},
                      {"x-forwarded-for", "1.1.1.1"}),
              "1.1.1.1 http direct");
    CHECK_STR(RESOLVE("10.0.0.1", {"forwarded", "for=6.6.6.6"}, {"x-forwarded-proto", "https"}),
              "10.0.0.1 https direct");
}

static void long_chains_are_cut_on_the_left(void)
{
    char value[1024] = "6.6.6.6";
    for (int i = 0; i < 40; i++)
        strncat(value, ",10.0.0.9", sizeof value - strlen(value) - 1);
    CHECK_STR(RESOLVE("10.0.0.1", {"x-forwarded-for", value}), "10.0.0.9 http direct");
}

TESTS({"an untrusted peer is believed nothing", untrusted_peer_is_believed_nothing},
      {"the rightmost untrusted address is the client", rightmost_untrusted_is_the_client},
      {"what is no address ends the chain", what_is_no_address_ends_the_chain},
      {"protocol and host", protocol_and_host}, {"Forwarded", forwarded_field},
      {"malformed Forwarded counts nothing", malformed_forwarded_counts_nothing},
      {"X- fields exclude Forwarded", x_fields_exclude_forwarded},
      {"long chains are cut on the left", long_chains_are_cut_on_the_left});

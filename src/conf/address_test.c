#include "conf/address.h"

#include "base/test.h"

static void expect(bool (*is)(str), bool want, const char *const *texts)
{
    for (; *texts; texts++)
        if (is(str_from(*texts)) != want)
            test_fail(__FILE__, __LINE__, "\"%s\" is %s", *texts, want ? "refused" : "accepted");
}

#define ACCEPTS(is, ...) expect(is, true, (const char *const[]){__VA_ARGS__, NULL})
#define REFUSES(is, ...) expect(is, false, (const char *const[]){__VA_ARGS__, NULL})

static void listen(void)
{
    ACCEPTS(address_is_listen, "127.0.0.1:5000", "0.0.0.0:0", "[::]:65535", "[::1]:80",
            "[::ffff:1.2.3.4]:80");
    REFUSES(address_is_listen, "", ":5000", "5000", "localhost:5000", "127.0.0.1",
            "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http", "127.0.0.1:-1", "127.0.0.1:000080",
            "::1:5000", "[::1]", "[::1]5000", "[::1:5000", "[127.0.0.1]:80", "127.1:80",
            "[fe80::1%eth0]:80", "127.0.0.1:80:90", " 127.0.0.1:80");
    CHECK(!address_is_listen((str){0}));
    CHECK(!address_is_listen(STR("127.0.0.1\0x:80")));
}

static void hosts(void)
{
    ACCEPTS(address_is_host, "localhost", "registry.example.com", "registry.example.com:443",
            "my_registry:5000", "10.0.0.7", "10.0.0.7:5000", "[::1]", "[::1]:5000", "a-b",
            "1and1.de", "registry.example.com:1");
    REFUSES(address_is_host, "", ":5000", "a:0", "a:", "a:65536", "-a", "a-", "a..b", ".a", "a.",
            "a b", "a/b", "user@host", "::1", "[::1]x", "10.0.0.256", "1.2.3", "[a]",
            "a12345678901234567890123456789012345678901234567890123456789012345");
}

static void urls(void)
{
    ACCEPTS(address_is_url, "http://localhost", "https://registry.example.com",
            "https://registry.example.com:8443", "http://[::1]:5000");
    REFUSES(address_is_url, "", "registry.example.com", "https://", "https://registry.example.com/",
            "https://registry.example.com/v2", "https://u:p@host", "ftp://host", "HTTPS://host",
            "https://host?x", "https://host#x", "https://host:0", "https:/host");
}

static void networks(void)
{
    ACCEPTS(address_is_network, "10.0.0.7", "10.0.0.0/8", "0.0.0.0/0", "::1", "fd00::/8", "::/0",
            "2001:db8::1/128", "192.0.2.1/32");
    REFUSES(address_is_network, "", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1",
            "10.0.0.0/8/8", "10.0.0", "[::1]", "localhost", "10.0.0.0/255.0.0.0", "/8", "*");
}

TESTS({"listen", listen}, {"hosts", hosts}, {"urls", urls}, {"networks", networks});

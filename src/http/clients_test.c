#include "http/clients.h"

#include "base/test.h"

static struct address address(const char *text)
{
    struct address a = {.family = AF_UNSPEC};
    CHECK(address_parse_ip(str_from(text), &a));
    return a;
}

static void connections(void)
{
    const struct clients_config config = {
        .addresses_max = 1024, .connections_max = 2, .requests_burst = 1};
    struct clients *c = clients_new(&config);
    struct address a = address("192.0.2.1"), b = address("192.0.2.2");
    CHECK_INT(clients_connect(c, &a), CLIENT_COUNTED);
    CHECK_INT(clients_connect(c, &a), CLIENT_COUNTED);
    CHECK_INT(clients_connect(c, &a), CLIENT_REFUSED);
    CHECK_INT(clients_connect(c, &b), CLIENT_COUNTED);
    clients_disconnect(c, &a);
    CHECK_INT(clients_connect(c, &a), CLIENT_COUNTED);
    CHECK_INT(clients_connect(c, &a), CLIENT_REFUSED);
    CHECK_INT(clients_request(c, &a, 1), 0); /* not bounded */
    clients_free(c);
}

static void networks(void)
{
    const struct clients_config config = {
        .addresses_max = 1024, .connections_max = 1, .requests_burst = 1};
    struct clients *c = clients_new(&config);
    struct address a = address("2001:db8:1:2::1"), same = address("2001:db8:1:2:ffff::9"),
                   other = address("2001:db8:1:3::1"), v4 = address("32.1.13.184");
    CHECK_INT(clients_connect(c, &a), CLIENT_COUNTED);
    CHECK_INT(clients_connect(c, &same), CLIENT_REFUSED);
    CHECK_INT(clients_connect(c, &other), CLIENT_COUNTED);
    CHECK_INT(clients_connect(c, &v4), CLIENT_COUNTED);
    clients_free(c);
}

static void rate(void)
{
    const struct clients_config config = {
        .addresses_max = 1024, .requests_rate_max = 10, .requests_burst = 3};
    struct clients *c = clients_new(&config);
    struct address a = address("192.0.2.1"), b = address("192.0.2.2");
    const uint64_t start = 5000000;
    CHECK_INT(clients_connect(c, &a), CLIENT_UNCOUNTED);
    for (int i = 0; i < 3; i++)
        CHECK_INT(clients_request(c, &a, start), 0);
    CHECK_INT(clients_request(c, &a, start), 100000);
    CHECK_INT(clients_request(c, &a, start + 40000), 60000); /* a refused one costs nothing */
    CHECK_INT(clients_request(c, &b, start), 0);
    CHECK_INT(clients_request(c, &a, start + 100000), 0);
    CHECK_INT(clients_request(c, &a, start + 100000), 100000);
    /* After a rest there is the whole burst again, not more. */
    for (int i = 0; i < 3; i++)
        CHECK_INT(clients_request(c, &a, start + 60000000), 0);
    CHECK_INT(clients_request(c, &a, start + 60000000), 100000);
    clients_free(c);
}

/* However many addresses come, those with connections keep their place, and nothing grows. */
static void full(void)
{
    const struct clients_config config = {
        .addresses_max = 64, .connections_max = 1, .requests_rate_max = 1, .requests_burst = 1};
    struct clients *c = clients_new(&config);
    struct address held = address("192.0.2.1");
    unsigned uncounted = 0;
    CHECK_INT(clients_connect(c, &held), CLIENT_COUNTED);
    for (unsigned i = 0; i < 1000; i++) {
        struct address a = {.family = AF_INET, .ip = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}};
        CHECK_INT(clients_request(c, &a, 1000000 + i), 0);
    }
    CHECK_INT(clients_connect(c, &held), CLIENT_REFUSED);
    for (unsigned i = 0; i < 1000; i++) {
        struct address a = {.family = AF_INET, .ip = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}};
        uncounted += clients_connect(c, &a) == CLIENT_UNCOUNTED;
    }
    CHECK_INT(uncounted, 1000 - 63);
    CHECK_INT(clients_connect(c, &held), CLIENT_REFUSED);
    clients_free(c);
}

TESTS({"connections", connections}, {"networks", networks}, {"rate", rate}, {"full", full});

#include "conf/listen.h"

#include "base/test.h"

static struct listen_entry accept(const char *text)
{
    struct listen_entry e = {0};
    const char *flaw = listen_entry_parse(str_from(text), &e);
    if (flaw)
        test_fail(__FILE__, __LINE__, "\"%s\" is refused: %s", text, flaw);
    return e;
}

static void addresses(void)
{
    struct listen_entry e = accept("127.0.0.1:5000");
    CHECK_STR(e.address, "127.0.0.1:5000");
    CHECK_INT(e.scheme, LISTEN_AS_CONFIGURED);
    CHECK(!e.proxy && !e.path.p);
    e = accept("https://[::]:443");
    CHECK_STR(e.address, "[::]:443");
    CHECK_INT(e.scheme, LISTEN_HTTPS);
    e = accept("http://0.0.0.0:0?proxy");
    CHECK_STR(e.address, "0.0.0.0:0");
    CHECK_INT(e.scheme, LISTEN_HTTP);
    CHECK(e.proxy);
    CHECK(accept("10.0.0.1:80?proxy").proxy);
}

static void sockets(void)
{
    struct listen_entry e = accept("unix:/run/berth/http.sock");
    CHECK_STR(e.path, "/run/berth/http.sock");
    CHECK(!e.address.p && !e.proxy);
    CHECK_INT(e.mode, 0660);
    CHECK_INT(e.scheme, LISTEN_HTTP);
    CHECK_INT(accept("unix:/s?mode=0600").mode, 0600);
    e = accept("unix:/s?mode=666&proxy");
    CHECK_INT(e.mode, 0666);
    CHECK(e.proxy);
    CHECK_INT(accept("unix:/s?proxy&mode=0777").mode, 0777);
}

static void refuse(const char *text, const char *flaw)
{
    struct listen_entry e;
    const char *got = listen_entry_parse(str_from(text), &e);
    if (!got || strcmp(got, flaw) != 0)
        test_fail(__FILE__, __LINE__, "\"%s\": %s, not %s", text, got ? got : "accepted", flaw);
}

static void flaws(void)
{
    refuse("", "it has no port");
    refuse("127.0.0.1", "it has no port");
    refuse("[::1]", "it has no port");
    refuse("http://127.0.0.1", "it has no port");
    refuse("localhost:5000", "its address is not numeric");
    refuse("http://registry.example.com:80", "its address is not numeric");
    refuse("[::1]5000:1", "its address is not numeric");
    refuse(":5000", "it has no address; all addresses are [::]");
    refuse("::1:5000", "an IPv6 address stands in brackets");
    refuse("127.0.0.1:", "its port is not a number from 0 to 65535");
    refuse("127.0.0.1:http", "its port is not a number from 0 to 65535");
    refuse("127.0.0.1:65536", "its port is not a number from 0 to 65535");
    refuse("tcp://127.0.0.1:1", "its scheme is neither http nor https");
    refuse("HTTP://127.0.0.1:1", "its scheme is neither http nor https");
    refuse("http://127.0.0.1:1/", "nothing may follow the port but ?proxy");
    refuse("127.0.0.1:1?", "nothing stands after the ?");
    refuse("127.0.0.1:1?proxy&proxy", "proxy is there twice");
    refuse("127.0.0.1:1?Proxy", "after the ? stands proxy only");
    refuse("127.0.0.1:1?mode=0600", "only a unix socket has a mode");
    refuse("unix:", "after unix: stands the absolute path of a socket");
    refuse("unix:run/s", "after unix: stands the absolute path of a socket");
    refuse("unix:/run/", "after unix: stands the absolute path of a socket");
    refuse("unix:/a\nb", "its path has a control character");
    refuse("unix:/s?mode=", "its mode is not octal, as in mode=0660");
    refuse("unix:/s?mode=0800", "its mode is not octal, as in mode=0660");
    refuse("unix:/s?mode=1777", "its mode is not octal, as in mode=0660");
    refuse("unix:/s?mode=0600&mode=0600", "mode is there twice");
    refuse("unix:/s?tls", "after the ? stand proxy and mode=0660 only, with & between them");
}

TESTS({"addresses", addresses}, {"sockets", sockets}, {"flaws", flaws});

"""What one client address may take: connections, and requests by a rate."""

import pytest

from lib import raw
from lib.raw import Closed, Conn

HEALTH = raw.request("GET", "/healthz")


def as_client(address, method="GET", target="/healthz"):
    return raw.request(method, target, [("X-Forwarded-For", address)])


def proxied(address):
    version = "TCP6" if ":" in address else "TCP4"
    other = "::1" if ":" in address else "127.0.0.1"
    return f"PROXY {version} {address} {other} 1000 80\r\n".encode()


@pytest.fixture(scope="module")
def rated(berths):
    return berths({"server.trusted_proxies": "127.0.0.1", "limits.requests_per_address": "1",
                   "limits.requests_burst": "3"})


def statuses(server, request, n=20):
    """n pipelined requests on one connection: a second does not pass between them."""
    with Conn(server.address) as conn:
        conn.send(request * n)
        return [conn.read() for _ in range(n)]


def test_rate_of_one_address(rated):
    answers = statuses(rated, as_client("192.0.2.1"))
    assert [r.status for r in answers[:3]] == [200, 200, 200]
    refused = [r for r in answers if r.status == 429]
    assert len(refused) >= 10
    for r in refused:
        assert int(r.header("retry-after")) >= 1
        assert r.code == "TOOMANYREQUESTS" and "limits.requests_per_address" in r.message
    assert statuses(rated, as_client("192.0.2.2"), 1)[0].status == 200


def test_rate_counts_ipv6_by_network(rated):
    assert {r.status for r in statuses(rated, as_client("2001:db8:0:1::1"))} == {200, 429}
    assert statuses(rated, as_client("2001:db8:0:1:ffff::2"), 1)[0].status == 429
    assert statuses(rated, as_client("2001:db8:0:2::1"), 1)[0].status == 200


def test_rate_does_not_bind_the_proxy_and_this_machine(rated):
    assert {r.status for r in statuses(rated, HEALTH)} == {200}
    assert {r.status for r in statuses(rated, as_client("::1"))} == {200}


def test_no_rate_by_default(berths):
    server = berths({"server.trusted_proxies": "127.0.0.1"})
    assert {r.status for r in statuses(server, as_client("192.0.2.1"), 500)} == {200}


@pytest.fixture(scope="module")
def counted(berths):
    return berths({"server.trusted_proxies": "127.0.0.1", "limits.connections_per_address": "2"},
                  listen=("127.0.0.1:0?proxy", "127.0.0.1:0"))


def opened(server, client):
    """A connection that was served once, or None when it was closed."""
    conn = Conn(server.address)
    conn.send(proxied(client) + HEALTH)
    try:
        assert conn.read().status == 200
        return conn
    except Closed:
        conn.close()
        return None


def test_connections_of_one_address(counted):
    first, second = opened(counted, "192.0.2.1"), opened(counted, "192.0.2.1")
    assert first and second
    assert opened(counted, "192.0.2.1") is None
    other = opened(counted, "192.0.2.2")
    assert other, "another address is not concerned"
    second.send(HEALTH)
    assert second.read().status == 200, "those that are open go on"
    first.close()
    again = None
    while not again:  # until the server has seen the end of the first; the test's limit ends this
        again = opened(counted, "192.0.2.1")
    for conn in (second, other, again):
        conn.close()


def test_connections_count_ipv6_by_network(counted):
    held = [opened(counted, "2001:db8:0:1::1"), opened(counted, "2001:db8:0:1::2")]
    assert all(held)
    assert opened(counted, "2001:db8:0:1::3") is None
    held.append(opened(counted, "2001:db8:0:2::1"))
    assert held[-1]
    for conn in held:
        conn.close()


def test_connections_of_this_machine_are_not_counted(counted):
    host, port = counted.addresses[1].rsplit(":", 1)
    held = [Conn((host, int(port))) for _ in range(10)]
    for conn in held:
        conn.send(HEALTH)
        assert conn.read().status == 200
        conn.close()

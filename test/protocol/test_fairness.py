"""What one client address may take: connections, and requests by a rate."""

import resource
import threading

import pytest

from lib import raw
from lib.oci import Client, basic, digest, randbytes
from lib.raw import Closed, Conn
from lib.server import PASSWORD, sanitized

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


def answers(server, *requests):
    """Pipelined on one connection: a second does not pass between them."""
    with Conn(server.address) as conn:
        conn.send(b"".join(requests))
        return [conn.read() for _ in requests]


def statuses(server, *requests):
    return [r.status for r in answers(server, *requests)]


def test_rate_of_one_address(rated):
    found = answers(rated, *[as_client("192.0.2.1")] * 20)
    assert [r.status for r in found[:3]] == [200, 200, 200]
    refused = [r for r in found if r.status == 429]
    assert len(refused) >= 10
    for r in refused:
        assert int(r.header("retry-after")) >= 1
        assert r.code == "TOOMANYREQUESTS" and "limits.requests_per_address" in r.message
    assert statuses(rated, as_client("192.0.2.2")) == [200]


def test_rate_counts_ipv6_by_network(rated):
    asked = [as_client("2001:db8:0:1::1")] * 20
    asked += as_client("2001:db8:0:1:ffff::2"), as_client("2001:db8:0:2::1")
    found = statuses(rated, *asked)
    assert set(found[:20]) == {200, 429} and found[20:] == [429, 200]


def test_rate_does_not_bind_the_proxy_and_this_machine(rated):
    assert set(statuses(rated, *[HEALTH] * 20, *[as_client("::1")] * 20)) == {200}


def test_no_rate_by_default(berths):
    server = berths({"server.trusted_proxies": "127.0.0.1"})
    assert set(statuses(server, *[as_client("192.0.2.1")] * 500)) == {200}


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


# ---- everything at once

IDLE, SLOW, LORIS, STALLED, UPLOADS = 1000, 50, 200, 100, 4


def test_small_requests_go_on_under_load(berth):
    """Idle connections, readers that do not read, heads and uploads that do not end, and large
    uploads under way: small requests are all answered, and memory stays within its bounds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = berth()
    client = Client(server)
    big, little = randbytes(8 << 20, 1), randbytes(2048, 2)
    client.push("library/app", big)
    client.push("library/app", little)
    login = [("Authorization", basic("admin", PASSWORD))]
    held = []

    def hold(data, receive_buffer=None):
        conn = Conn(server.address, receive_buffer=receive_buffer)
        assert conn.send(data)
        held.append(conn)
        return conn

    def start_upload():
        return raw.request("PATCH", client.start("library/app"),
                           [*login, ("Content-Length", str(1 << 30))], host=server.name)

    for _ in range(IDLE):
        hold(HEALTH).read()
    for _ in range(SLOW):
        hold(raw.request("GET", f"/v2/library/app/blobs/{digest(big)}", login), 4096)
    for _ in range(LORIS):
        hold(b"GET /v2/ HTTP/1.1\r\nHost: l")
    for _ in range(STALLED):
        hold(start_upload() + b"x" * 1000)
    pushing = [hold(start_upload()) for _ in range(UPLOADS)]
    stop = threading.Event()

    def push(conn):
        block = bytes(1 << 18)
        while not stop.is_set() and conn.send(block):
            pass

    threads = [threading.Thread(target=push, args=(conn,)) for conn in pushing]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            assert client.blob("library/app", digest(little)).body == little
            assert client.once("GET", "/healthz").status == 200
        if not sanitized():
            assert server.memory("VmHWM") < 128 << 20
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for conn in held:
            conn.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    client.close()

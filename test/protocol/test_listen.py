"""Where it listens: several addresses, unix sockets, passed sockets; and the PROXY protocol."""

import os
import socket
import ssl
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lib import raw
from lib.raw import Closed, Conn
from lib.server import BINARY, run

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEALTH = raw.request("GET", "/healthz", [("Connection", "close")])


def client_of(server, response):
    """The client's address as the access log has it."""
    return server.access(response.header("x-request-id")).get("client")


# ---- addresses

@pytest.fixture
def short():
    """A directory with a short path: a socket address holds 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="berth") as path:
        yield Path(path)


def over_unix(path, data=HEALTH):
    return raw.exchange(str(path), data)


def test_several_listeners(berth, short):
    path = short / "http.sock"
    server = berth(listen=("127.0.0.1:0", "http://127.0.0.2:0", f"unix:{path}?mode=0666"))
    ready = server.events("ready")
    assert [f["scheme"] for f in ready] == ["http"] * 3
    assert server.addresses[2] == f"unix:{path}"
    for address, want in zip(server.addresses, ("127.0.0.1", "127.0.0.2")):
        host, port = address.rsplit(":", 1)
        assert host == want
        assert raw.exchange((host, int(port)), HEALTH).status == 200
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    assert over_unix(path).status == 200
    assert any("serves http://127.0.0.1:" in line for line in server.printed("serves"))
    server.stop()
    assert not path.exists()


def test_unix_socket_is_not_the_admin_socket(berth, short):
    """Nobody administrates over it, and its client has no address unless a proxy tells one."""
    path = short / "http.sock"
    server = berth(listen=("127.0.0.1:0", f"unix:{path}"))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    assert over_unix(path, raw.request("GET", "/v2/", [("Connection", "close")])).status == 401
    assert client_of(server, over_unix(path)) is None
    told = over_unix(path, raw.request("GET", "/healthz", [("X-Forwarded-For", "192.0.2.9"),
                                                           ("Connection", "close")]))
    assert client_of(server, told) == "192.0.2.9"


def test_stale_unix_socket_is_replaced(berth, short):
    path = short / "http.sock"
    server = berth(listen=("127.0.0.1:0", f"unix:{path}"))
    server.kill()
    assert path.exists()
    server.start()
    assert over_unix(path).status == 200
    other = run("serve", "--data", short / "other", "--listen", f"unix:{path}")
    assert other.returncode == 1 and "another process listens on" in other.stderr


def test_something_else_is_not_replaced(short):
    path = short / "file"
    path.write_text("precious")
    done = run("serve", "--data", short / "d", "--listen", f"unix:{path}")
    assert done.returncode == 1 and "is no socket" in done.stderr
    assert path.read_text() == "precious"


@pytest.mark.parametrize("entry, word", [
    ("https://127.0.0.1:0", "https needs a certificate"),
    ("127.0.0.1:0?proxy", "server.trusted_proxies"),
])
def test_entries_that_cannot_be_served(tmp_path, entry, word):
    done = run("serve", "--data", tmp_path / "d", "--listen", entry)
    assert done.returncode == 1 and entry in done.stderr and word in done.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("entry, word", [
    ("ftp://127.0.0.1:0", "neither http nor https"),
    ("127.0.0.1", "no port"),
    ("localhost:5000", "not numeric"),
    ("127.0.0.1:0?prox", "proxy"),
    ("unix:relative", "absolute"),
    ("unix:/x?mode=rw", "octal"),
])
def test_malformed_entries(tmp_path, entry, word):
    done = run("serve", "--data", tmp_path / "d", "--listen", entry)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert entry in done.stderr and word in done.stderr


# ---- passed sockets

def passed(server, sockets, names=None):
    """Starts the server as a service manager does: sockets from descriptor 3 on."""
    code = ("import os, sys\n"
            "fds = [int(x) for x in sys.argv[1].split(',')]\n"
            "fds = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]\n"
            "for i, fd in enumerate(fds): os.dup2(fd, 3 + i); os.set_inheritable(3 + i, True)\n"
            "os.closerange(100, 110)\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "os.execv(sys.argv[2], sys.argv[2:])\n")
    plain = server.command()
    server.listen = sockets  # so many addresses become ready
    fds = [s.fileno() for s in sockets]
    server.env["LISTEN_FDS"] = str(len(fds))
    if names:
        server.env["LISTEN_FDNAMES"] = names
    server.command = lambda: [sys.executable, "-c", code, ",".join(map(str, fds)), *plain]
    for fd in fds:
        os.set_inheritable(fd, True)
    popen = subprocess.Popen
    try:
        subprocess.Popen = lambda *a, **k: popen(*a, **k, pass_fds=fds)
        server.start()
    finally:
        subprocess.Popen = popen
    return server


def listening(family, address):
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen(16)
    return sock


def test_passed_sockets_replace_listen(berth, short):
    path = short / "http.sock"
    first = listening(socket.AF_INET, ("127.0.0.1", 0))
    second = listening(socket.AF_UNIX, str(path))
    port = first.getsockname()[1]
    server = berth(start=False, listen=("127.0.0.3:0", f"127.0.0.1:{port}", "127.0.0.4:0"))
    passed(server, [first, second])
    assert server.addresses == [f"127.0.0.1:{port}", f"unix:{path}"]
    assert [f["address"] for f in server.events("listen_not_passed")] == ["127.0.0.3:0",
                                                                           "127.0.0.4:0"]
    assert raw.exchange(("127.0.0.1", port), HEALTH).status == 200
    assert over_unix(path).status == 200
    first.close()
    second.close()
    server.stop()
    assert path.exists(), "who made the socket removes it"


def test_passed_socket_takes_the_flags_of_its_entry(berth):
    first = listening(socket.AF_INET, ("127.0.0.1", 0))
    port = first.getsockname()[1]
    server = berth({"server.trusted_proxies": "127.0.0.1"}, start=False,
                   listen=(f"127.0.0.1:{port}?proxy",))
    passed(server, [first])
    response = raw.exchange(server.address, b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n" + HEALTH)
    assert client_of(server, response) == "192.0.2.1"


def test_passed_descriptor_that_is_no_socket(berth, tmp_path):
    with open(tmp_path / "file", "w") as file:
        server = berth(start=False)
        with pytest.raises(AssertionError, match="descriptor 3, passed on by the service manager"):
            passed(server, [file])


# ---- PROXY protocol

@pytest.fixture(scope="module")
def proxied(berths):
    """Listens twice: with the PROXY protocol, and without."""
    return berths({"server.trusted_proxies": "127.0.0.1,192.0.2.200", "timeouts.head": "1s"},
                  listen=("127.0.0.1:0?proxy", "127.0.0.1:0"))


def v2(command=0x21, family=0x11, body=None, length=None):
    if body is None:
        body = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.8") \
            + struct.pack(">HH", 1234, 443)
    return SIGNATURE + struct.pack(">BBH", command, family,
                                   len(body) if length is None else length) + body


SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") \
    + socket.inet_pton(socket.AF_INET6, "2001:db8::8") + struct.pack(">HH", 1234, 443)


@pytest.mark.parametrize("header, client", [
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "192.0.2.1"),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n", "2001:db8::1"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (v2(), "192.0.2.7"),
    (v2(body=v2()[16:] + b"\x20\0\x05hello" * 20), "192.0.2.7"),
    (v2(family=0x21, body=SIX), "2001:db8::7"),
    (v2(command=0x20, family=0, body=b""), "127.0.0.1"),
    (v2(family=0, body=b"xyz"), "127.0.0.1"),
])
def test_header_names_the_client(proxied, header, client):
    response = raw.exchange(proxied.address, header + HEALTH)
    assert response.status == 200
    assert client_of(proxied, response) == client


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", v2()])
def test_header_in_pieces(proxied, header):
    with Conn(proxied.address) as conn:
        for i in range(len(header)):
            assert conn.send(header[i:i + 1])
        conn.send(HEALTH)
        assert conn.read().status == 200


def test_forwarded_fields_of_a_proxied_client_do_not_count(proxied):
    """The header names the peer; only when that is a trusted proxy do its fields count."""
    fields = raw.request("GET", "/healthz", [("X-Forwarded-For", "198.51.100.1"),
                                             ("Connection", "close")])
    forged = raw.exchange(proxied.address, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + fields)
    assert client_of(proxied, forged) == "192.0.2.1"
    honest = raw.exchange(proxied.address, b"PROXY TCP4 192.0.2.200 192.0.2.2 1 2\r\n" + fields)
    assert client_of(proxied, honest) == "198.51.100.1"


def test_challenge_names_the_address_the_client_connected_to(berth):
    server = berth({"server.trusted_proxies": "127.0.0.1"}, listen=("127.0.0.1:0?proxy",))
    request = raw.request("GET", "/v2/", [("Connection", "close")], host="elsewhere.example")
    response = raw.exchange(server.address, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 8443\r\n" + request)
    assert 'realm="http://192.0.2.2:8443/' in response.header("www-authenticate")


@pytest.mark.parametrize("data", [
    HEALTH,
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1000\r\n" + HEALTH,
    b"PROXY TCP4 192.0.2.1 ::1 1000 443\r\n" + HEALTH,
    b"PROXY TCP4 " + b"1" * 200,
    b"PROXY UNKNOWN " + b"x" * 107 + b"\r\n",
    v2(length=0xffff),
    v2(length=4),
    v2(command=0x22),
    v2(command=0x31),
    v2(family=0x12),
    v2(family=0x21),
    SIGNATURE[:11] + b"X" + v2()[12:],
])
def test_bad_header_ends_the_connection(proxied, data):
    with Conn(proxied.address) as conn:
        conn.send(data)
        assert conn.rest() == b""
    assert raw.exchange(proxied.address, v2() + HEALTH).status == 200


def test_header_that_does_not_come_ends_the_connection(proxied):
    """After timeouts.head, of a second here."""
    for start in (b"", b"PROXY TCP4 192", v2()[:20]):
        with Conn(proxied.address) as conn:
            conn.send(start)
            assert conn.rest(20) == b""


def test_header_where_none_is_expected_is_no_request(proxied):
    host, port = proxied.addresses[1].rsplit(":", 1)
    assert raw.exchange((host, int(port)), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n\r\n").status == 400


def test_header_from_a_stranger_is_not_read(berth):
    server = berth({"server.trusted_proxies": "192.0.2.1"}, listen=("127.0.0.1:0?proxy",))
    with Conn(server.address) as conn:
        conn.send(v2() + HEALTH)
        assert conn.rest() == b""


def test_closing_before_the_header_is_no_harm(proxied):
    for _ in range(20):
        with Conn(proxied.address) as conn:
            conn.send(b"PROXY")
    with Conn(proxied.address) as conn:
        conn.send(b"PROXY")
        conn.reset()
    assert raw.exchange(proxied.address, v2() + HEALTH).status == 200


def test_drain_does_not_wait_for_a_header(berth):
    server = berth({"server.trusted_proxies": "127.0.0.1", "shutdown.grace": "1h"},
                   listen=("127.0.0.1:0?proxy",))
    with Conn(server.address) as conn:
        conn.send(b"PROXY")
        assert raw.exchange(server.address, v2() + HEALTH).status == 200
        server.stop()
        with pytest.raises(Closed):
            conn.read()


# ---- with TLS

@pytest.fixture(scope="module")
def secured(berths):
    """What has no scheme speaks TLS once there is a certificate."""
    return berths({"tls.self_signed": "true", "server.trusted_proxies": "127.0.0.1"},
                  listen=("127.0.0.1:0", "http://127.0.0.1:0", "https://127.0.0.1:0?proxy"))


def over_tls(server, n, before=b""):
    """The answer to HEALTH over TLS on the n-th address, `before` in front of the handshake."""
    host, port = server.addresses[n].rsplit(":", 1)
    context = ssl.create_default_context(cafile=str(server.data / "tls" / "cert.pem"))
    with Conn((host, int(port))) as conn:
        conn.send(before)
        conn.sock = context.wrap_socket(conn.sock, server_hostname="localhost")
        conn.send(HEALTH)
        return conn.read()


def test_schemes(secured):
    assert [f["scheme"] for f in secured.events("ready")] == ["https", "http", "https"]
    assert any("serves https://127.0.0.1:" in line for line in secured.printed("serves"))
    assert over_tls(secured, 0).status == 200
    host, port = secured.addresses[1].rsplit(":", 1)
    assert raw.exchange((host, int(port)), HEALTH).status == 200


@pytest.mark.parametrize("header, client", [
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "192.0.2.1"), (v2(), "192.0.2.7")])
def test_header_stands_before_tls(secured, header, client):
    assert client_of(secured, over_tls(secured, 2, header)) == client


def test_tls_without_the_header_is_refused(secured):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        over_tls(secured, 2)


def test_header_inside_tls_is_no_request(secured):
    host, port = secured.addresses[0].rsplit(":", 1)
    with Conn((host, int(port))) as conn:
        conn.send(v2() + HEALTH)
        assert b" 200 " not in (conn.rest() or b"")

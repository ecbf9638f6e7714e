"""Clients that go away at any moment: after each byte of a head, within bodies, while the answer is
on its way; by closing, by resetting, by closing one half. The server gives everything back."""

import socket
import time

import pytest

from lib import abuse, raw
from lib.oci import Client, digest, dump, randbytes
from lib.oci import basic
from lib.server import PASSWORD

REPO = "cut/app"
BLOB = randbytes(3_000_000, "cut")
ADMIN = [("Authorization", basic("admin", PASSWORD))]
ENDS = {"close": raw.Conn.close, "reset": raw.Conn.reset}

SETTINGS = {"auth.anonymous": "push", "timeouts.head": "20s", "timeouts.body": "20s",
            "timeouts.send": "20s", "limits.uploads": "5000"}


@pytest.fixture(scope="module")
def blob(server, nobody_of_module):
    return nobody_of_module.push(REPO, BLOB)


@pytest.fixture(scope="module")
def nobody_of_module(server):
    client = Client(server, mode="none")
    yield client
    client.close()


@pytest.fixture(scope="module", autouse=True)
def judged(server, nobody_of_module, blob):
    nobody_of_module.push_image(REPO, "latest")
    assert nobody_of_module.blob(REPO, blob).body == BLOB
    nobody_of_module.close()
    before = abuse.Before(server)
    yield
    nobody_of_module.close()
    abuse.judge(server, before)


def head_of(method, target, *headers, body=None):
    return raw.request(method, target, [*ADMIN, *headers], body)


def requests(blob):
    body = dump({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                 "manifests": []})
    form = b"grant_type=password&service=berth&client_id=x&username=admin&password=wrong"
    return {
        "manifest": head_of("GET", f"/v2/{REPO}/manifests/latest"),
        "blob-range": head_of("GET", f"/v2/{REPO}/blobs/{blob}", ("Range", "bytes=0-9,20-29")),
        "put-manifest": head_of("PUT", f"/v2/{REPO}/manifests/cut", ("Content-Type", "application/"
                                "vnd.oci.image.index.v1+json"), body=body),
        "post-blob": head_of("POST", f"/v2/{REPO}/blobs/uploads/?digest={digest(b'cut here')}",
                             body=b"cut here"),
        "chunked": head_of("POST", f"/v2/{REPO}/blobs/uploads/?digest={digest(b'hello world')}",
                           ("Transfer-Encoding", "chunked"), ("Expect", "100-continue"))
        + b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n",
        "token": raw.request("POST", "/service/token", [("Content-Type", "application/"
                             "x-www-form-urlencoded")], form),
    }


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", ["manifest", "blob-range", "put-manifest", "post-blob", "chunked",
                                  "token"])
def test_after_each_byte(alive, blob, name, end):
    data = requests(blob)[name]
    for n in range(len(data)):
        conn = raw.Conn(alive.address)
        conn.send(data[:n])
        ENDS[end](conn)
    assert abuse.answers(alive)


@pytest.mark.parametrize("name", ["manifest", "blob-range", "put-manifest", "post-blob", "chunked",
                                  "token"])
def test_half_closed_after_each_byte(alive, blob, name):
    """What is whole is answered; of what is cut short, nothing is done. Every connection ends."""
    data = requests(blob)[name]
    for n in [*range(0, len(data), 3), len(data)]:
        with raw.Conn(alive.address) as conn:
            conn.send(data[:n])
            conn.half_close()
            answer = conn.rest()
            assert answer is not None, (n, "stays open")
            if n == len(data):
                assert answer.startswith(b"HTTP/1.1 ") and b"HTTP/1.1 5" not in answer
            elif b"\r\n\r\n" not in data[:n]:
                assert not answer.startswith(b"HTTP/1.1 2"), (n, answer)
            else:
                assert b"HTTP/1.1 201" not in answer, (n, answer)


def end_all(client, locations, timeout=20):
    """Cancels uploads, once the server has noticed that their clients are gone; the bytes each had."""
    until, kept, left = time.monotonic() + timeout, [], list(locations)
    while left and time.monotonic() < until:
        location = left.pop(0)
        status = client.get(location)
        if status.status == 409 or client.request("DELETE", location).status == 409:
            left.append(location)
        else:
            assert status.status == 204, status
            kept.append(int(status.header("range").split("-")[1]) + 1)
    assert not left
    return kept


@pytest.mark.parametrize("end", ENDS)
def test_within_bodies(alive, nobody, end):
    """What arrived of an upload before the cut is kept or not; the upload can be asked, and ended."""
    part, open_uploads = randbytes(200_000, "part"), []
    for coding in (("Content-Length", "400000"), ("Transfer-Encoding", "chunked")):
        for n in (0, 1, 1000, 65_536, 131_072, 199_999, 200_000):
            location = nobody.start(REPO)
            open_uploads.append(location)
            conn = raw.Conn(alive.address)
            start = b"61a80\r\n" if coding[1] == "chunked" else b""  # 400,000
            conn.send(raw.request("PATCH", location, [coding]) + start + part[:n])
            ENDS[end](conn)
    kept = end_all(nobody, open_uploads)
    assert len(kept) == len(open_uploads) and max(kept) <= 200_000


@pytest.mark.parametrize("end", ENDS)
def test_while_the_answer_is_sent(alive, blob, end):
    """After 0, 1, ... bytes of it, with a small window, many at once."""
    for headers in ((), (("Range", "bytes=5-2999990"),), (("Range", "bytes=0-999999,1500000-2900000"),)):
        conns = []
        for n in (0, 1, 17, 1000, 70_000, 1_000_000):
            conn = raw.Conn(alive.address, receive_buffer=4096)
            conn.send(head_of("GET", f"/v2/{REPO}/blobs/{blob}", *headers) * 3)  # pipelined
            conns.append(conn)
            while n > 0:
                n -= len(conn.sock.recv(min(n, 65536)))
        assert abuse.answers(alive)
        for conn in conns:
            ENDS[end](conn)


def test_reading_stops_and_goes_on(alive, blob):
    """Half-closed behind the request: the whole answer comes all the same."""
    with raw.Conn(alive.address, receive_buffer=4096) as conn:
        conn.send(head_of("GET", f"/v2/{REPO}/blobs/{blob}"))
        conn.half_close()
        assert abuse.answers(alive)
        assert conn.read().body == BLOB
        assert conn.rest() == b""


def test_the_other_half(alive, blob):
    """A client that shuts down reading and goes on sending requests."""
    for _ in range(20):
        with raw.Conn(alive.address) as conn:
            conn.sock.shutdown(socket.SHUT_RD)
            for _ in range(50):
                if not conn.send(head_of("GET", f"/v2/{REPO}/manifests/latest")):
                    break
    assert abuse.answers(alive)


def test_before_an_interim_answer_and_after(alive, nobody):
    locations = []
    for wait in (False, True):
        for end in ENDS.values():
            locations.append(nobody.start(REPO))
            conn = raw.Conn(alive.address)
            conn.send(raw.request("PATCH", locations[-1], [("Content-Length", "10"),
                                                           ("Expect", "100-continue")]))
            if wait:
                assert conn.read_head().status == 100
            end(conn)
    end_all(nobody, locations)


def test_many_at_once(alive, blob):
    """Two hundred open at the same time, each in another state, all gone in one moment."""
    states = list(requests(blob).values())
    conns = []
    for i in range(200):
        conn = raw.Conn(alive.address)
        data = states[i % len(states)]
        conn.send(data[:i * 7 % len(data)])
        conns.append(conn)
    assert abuse.answers(alive)
    for i, conn in enumerate(conns):
        (conn.reset if i % 2 else conn.close)()
    assert abuse.answers(alive)

"""HTTP/2 as attackers speak it. After each attack the server answers someone else at once, holds
little memory, and has counted the bound that was met."""

import random
import struct

import pytest

from lib import h2, metrics, raw
from lib.h2 import H2, fields
from lib.oci import digest, randbytes

SETTINGS = {"auth.anonymous": "push", "http2.cleartext": "true", "metrics.listen": "127.0.0.1:0",
            "timeouts.body": "1s", "timeouts.head": "1s", "timeouts.send": "1s", "timeouts.drain": "1s"}
MB = 1 << 20


class Watch:
    def __init__(self, server):
        self.server = server
        self.before = metrics.Snapshot(server)
        self.memory = server.memory()

    def hits(self, limit):
        name = "berth_limit_hits_total"
        return (metrics.Snapshot(self.server).total(name, limit=limit) -
                self.before.total(name, limit=limit))

    def fine(self, limit=None, more=48 * MB):
        """Someone else is served; memory grew by no more than that."""
        with H2(self.server.address) as conn:
            assert conn.ask("/v2/").status == 200
        assert self.server.memory() - self.memory < more
        if limit:
            assert metrics.eventually(lambda: self.hits(limit) > 0), f"{limit} was not counted"


@pytest.fixture
def watch(alive):
    return Watch(alive)


def flood(conn, data, times):
    """Sends until all is sent or the server has closed; the error code it closed with."""
    for _ in range(times):
        if not conn.send(data):
            break
    return conn.rest()


# ---- floods

@pytest.mark.parametrize("data", [
    h2.frame(h2.PING, 0, 0, b"12345678"),
    h2.frame(h2.PING, h2.ACK, 0, b"12345678"),
    h2.frame(h2.SETTINGS, 0, 0, struct.pack(">HI", h2.INITIAL_WINDOW, 65535)),
    h2.frame(h2.SETTINGS),
    h2.frame(h2.PRIORITY, 0, 1, struct.pack(">IB", 0, 1)),
    h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
], ids=["ping", "ping ack", "settings", "empty settings", "priority", "window"])
def test_frames_without_work(watch, data):
    with H2(watch.server.address) as conn:
        assert conn.ask("/v2/").status == 200
        assert flood(conn, data * 100, 30) == h2.ENHANCE_YOUR_CALM
    watch.fine("http2.control_frames")


@pytest.mark.parametrize("data", [b"", b"x"], ids=["empty", "tiny"])
def test_data_without_data(watch, data):
    with H2(watch.server.address) as conn:
        number = conn.open(fields("POST", "/v2/abuse/e/blobs/uploads/?digest=" + digest(b"")), end=False)
        assert flood(conn, h2.frame(h2.DATA, 0, number, data) * 100, 30) == h2.ENHANCE_YOUR_CALM
    watch.fine("http2.control_frames")


def test_rapid_reset(watch):
    """CVE-2023-44487: requests that are given up as soon as they are made."""
    cancel = struct.pack(">I", h2.CANCEL)
    with H2(watch.server.address) as conn:
        data = b""
        for number in range(1, 2000, 2):
            data += (h2.frame(h2.HEADERS, 5, number, h2.block(fields("GET", "/v2/_catalog"))) +
                     h2.frame(h2.RST_STREAM, 0, number, cancel))
        assert flood(conn, data, 1) == h2.ENHANCE_YOUR_CALM
    watch.fine("http2.resets")


def test_resets_that_we_are_made_to_send(watch):
    """The same with requests that break a rule once they run."""
    with H2(watch.server.address) as conn:
        data = b""
        for number in range(1, 2000, 2):
            data += (h2.frame(h2.HEADERS, 5, number, h2.block(fields("GET", "/v2/_catalog"))) +
                     h2.frame(h2.WINDOW_UPDATE, 0, number, bytes(4)))
        assert flood(conn, data, 1) in (h2.ENHANCE_YOUR_CALM, h2.PROTOCOL_ERROR)
    watch.fine()


@pytest.mark.parametrize("size", [0, 1, 16000])
def test_continuation_without_end(watch, size):
    """CVE-2024-27316: one head in frames that never end."""
    with H2(watch.server.address) as conn:
        conn.send(h2.frame(h2.HEADERS, h2.END_STREAM, 1, h2.block(fields("GET", "/v2/"))))
        part = h2.literal("x", "y" * (size - 6)) if size > 6 else b"\x00"[:size]
        assert flood(conn, h2.frame(h2.CONTINUATION, 0, 1, part), 2000) == h2.ENHANCE_YOUR_CALM
    watch.fine("http2.continuations")


def test_hpack_bomb(watch):
    """A table entry of 4 KiB, then named by one byte sixteen thousand times."""
    with H2(watch.server.address) as conn:
        assert conn.ask("/v2/").status == 200
        bomb = h2.block(fields("GET", "/v2/")) + h2.literal("x-a", "b" * 4000, indexed=True)
        number = conn.next
        data = h2.frame(h2.HEADERS, h2.END_STREAM, number, bomb)
        data += h2.frame(h2.CONTINUATION, 0, number, b"\xbe" * 16384) * 6
        assert flood(conn, data, 1) == h2.ENHANCE_YOUR_CALM
    watch.fine("limits.head", more=24 * MB)


def test_heads_of_the_largest_size_on_many_streams(berth):
    """Their memory counts; what has no room is refused, and all of it comes back."""
    watch = Watch(berth({**SETTINGS, "limits.receive_memory": "8MiB"}))
    head = h2.block(fields("POST", "/v2/abuse/h/blobs/uploads/?digest=" + digest(b"")) +
                    [(f"x-{i}", "y" * 15_000) for i in range(4)])
    for _ in range(3):
        with H2(watch.server.address) as conn:
            for number in range(1, 200, 2):
                conn.streams[number] = h2.Stream(number)
                parts = [head[at:at + 16384] for at in range(0, len(head), 16384)]
                for i, part in enumerate(parts):
                    conn.send(h2.frame(h2.CONTINUATION if i else h2.HEADERS,
                                       h2.END_HEADERS if i == len(parts) - 1 else 0, number, part))
            conn.until(lambda: conn.streams[199].heads or conn.streams[199].reset is not None)
    watch.fine("limits.receive_memory", more=64 * MB)


def test_large_heads_whose_answers_are_not_taken(berth):
    """Little is sent: each head names one field of the table many times. Shut windows would keep
    every answer, and what it answers, for as long as the client likes."""
    watch = Watch(berth({**SETTINGS, "limits.receive_memory": "8MiB", "timeouts.send": "1m"}))
    first = h2.block(fields("GET", "/v2/")) + h2.literal("x", "y" * 4000, indexed=True) + b"\xbe" * 14
    again = h2.block(fields("GET", "/v2/")) + b"\xbe" * 15
    conns = [H2(watch.server.address, window=0) for _ in range(20)]
    for conn in conns:
        for number in range(1, 200, 2):
            conn.streams[number] = h2.Stream(number)
            conn.send(h2.frame(h2.HEADERS, 5, number, first if number == 1 else again))
        conn.until(lambda: conn.streams[199].heads or conn.streams[199].reset is not None)
    watch.fine("limits.receive_memory", more=64 * MB)
    assert {s.reset for s in conns[-1].streams.values()} == {h2.REFUSED_STREAM}
    for conn in conns:
        conn.sock.close()


def test_too_many_streams(watch):
    """Uploads that never come are open; more of them than allowed are refused."""
    with H2(watch.server.address) as conn:
        conn.until(lambda: any(f.type == h2.SETTINGS for f in conn.seen))
        path = "/v2/abuse/s/blobs/uploads/?digest=" + digest(b"")
        for _ in range(101):
            conn.open(fields("POST", path), end=False)
        assert conn.rest() in (h2.PROTOCOL_ERROR, h2.NO_ERROR, None)
    watch.fine()


# ---- those who do not read

def push(server, body):
    name = digest(body)
    answer = raw.exchange(server.address, raw.request(
        "POST", f"/v2/abuse/big/blobs/uploads/?digest={name}", [], body))
    assert answer.status == 201, answer
    return f"/v2/abuse/big/blobs/{name}"


def test_windows_that_stay_shut(watch):
    """Answers that may not be sent are given up; the connection and its other streams go on."""
    path = push(watch.server, randbytes(MB, 2))
    with H2(watch.server.address, windows=False, window=0) as conn:
        numbers = [conn.get(path) for _ in range(50)]
        for number in numbers:
            assert conn.wait(number).reset == h2.CANCEL and not conn.streams[number].body
        assert conn.ask("/v2/", method="HEAD").status == 200
    watch.fine("timeouts.send")


def test_a_connection_that_is_not_read(watch):
    """It costs one buffer, and ends."""
    path = push(watch.server, randbytes(8 * MB, 3))
    with H2(watch.server.address, windows=False, window=(1 << 31) - 1, receive_buffer=4096) as conn:
        conn.send(h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 30))))
        for _ in range(80):
            conn.get(path)
        assert metrics.eventually(lambda: watch.hits("timeouts.send") > 0)
        watch.fine("timeouts.send", more=24 * MB)


def test_pings_that_are_not_read(berth):
    """Answers to frames pile up only so far."""
    server = berth({**SETTINGS, "http2.control_frames": "1000000", "http2.queue": "100",
                    "timeouts.send": "2s"})
    watch = Watch(server)
    path = push(server, randbytes(8 * MB, 3))
    with H2(server.address, windows=False, window=(1 << 31) - 1, receive_buffer=4096) as conn:
        conn.send(h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 30))))
        conn.get(path)
        ping = h2.frame(h2.PING, 0, 0, b"12345678") * 1000
        while conn.send(ping):
            pass
    watch.fine("http2.queue", more=24 * MB)


# ---- the slow

def test_slow_bodies(watch):
    """They are answered 408, one by one."""
    with H2(watch.server.address) as conn:
        sink = conn.open(fields("POST", "/v2/abuse/slow/blobs/uploads/?digest=" + digest(b"x")), end=False)
        small = conn.open(fields("PUT", "/v2/abuse/slow/manifests/t"), end=False)
        assert conn.wait(sink).status == 408 and conn.wait(small).status == 408
        assert conn.ask("/v2/").status == 200
    watch.fine("limits.body_rate")


def test_slow_heads(watch):
    with H2(watch.server.address) as conn:
        conn.until(lambda: any(f.type == h2.SETTINGS and f.flags & h2.ACK for f in conn.seen))
        conn.send(h2.frame(h2.HEADERS, h2.END_STREAM, 1, h2.block(fields("GET", "/v2/"))))
        assert conn.rest() == h2.ENHANCE_YOUR_CALM
    watch.fine("timeouts.head")


def test_bodies_that_stop_halfway(berth):
    """Many uploads that fill their first window and then stall hold no more than the budget."""
    server = berth({**SETTINGS, "timeouts.body": "2s"})
    watch = Watch(server)
    conns = []
    for c in range(4):
        conn = H2(server.address)
        conns.append(conn)
        for i in range(30):
            number = conn.open(fields("POST", f"/v2/abuse/half/blobs/uploads/?digest={digest(b'')}"), end=False)
            conn.send(h2.frame(h2.DATA, 0, number, bytes(16384)) * 3)
    watch.fine(more=96 * MB)
    for conn in conns:
        for number in list(conn.streams):
            assert conn.wait(number).status == 408
        conn.sock.close()
    watch.fine("limits.body_rate", more=96 * MB)


# ---- against the rules

BROKEN = {
    "garbage": bytes(range(256)) * 4,
    "http/1 again": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "frame too large": h2.frame(h2.HEADERS, 5, 1, bytes(65537)),
    "even stream": h2.frame(h2.HEADERS, 5, 2, h2.block(fields("GET", "/v2/"))),
    "stream 0": h2.frame(h2.HEADERS, 5, 0, h2.block(fields("GET", "/v2/"))),
    "push": h2.frame(h2.PUSH, 4, 1, struct.pack(">I", 2)),
    "data on idle": h2.frame(h2.DATA, 1, 9, b"x"),
    "reset of idle": h2.frame(h2.RST_STREAM, 0, 9, bytes(4)),
    "window of idle": h2.frame(h2.WINDOW_UPDATE, 0, 9, struct.pack(">I", 1)),
    "window by 0": h2.frame(h2.WINDOW_UPDATE, 0, 0, bytes(4)),
    "window too large": h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1)) * 2,
    "settings of 5 bytes": h2.frame(h2.SETTINGS, 0, 0, bytes(5)),
    "settings on a stream": h2.frame(h2.SETTINGS, 0, 1),
    "settings ack with bytes": h2.frame(h2.SETTINGS, 1, 0, bytes(6)),
    "initial window too large": h2.frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
    "frame size too small": h2.frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 5, 1)),
    "forty settings": h2.frame(h2.SETTINGS, 0, 0, struct.pack(">HI", 3, 1) * 40),
    "ping of 7 bytes": h2.frame(h2.PING, 0, 0, bytes(7)),
    "continuation first": h2.frame(h2.CONTINUATION, 4, 1, b""),
    "another frame within a head": h2.frame(h2.HEADERS, 1, 1, b"\x82") + h2.frame(h2.PING, 0, 0, bytes(8)),
    "hpack index": h2.frame(h2.HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\x00"),
    "hpack table size": h2.frame(h2.HEADERS, 5, 1, b"\x3f\xe2\xff\x03\x82"),
    "value of 70,000 bytes": (h2.frame(h2.HEADERS, 1, 1, h2.literal("x", "y" * 70_000)[:16384]) +
                              h2.frame(h2.CONTINUATION, 4, 1, h2.literal("x", "y" * 70_000)[16384:32768])),
    "padding longer than the frame": h2.frame(h2.HEADERS, 13, 1, b"\xff\x82"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_broken_rules(watch, data):
    """A GOAWAY that says so, then the end."""
    with H2(watch.server.address) as conn:
        conn.until(lambda: any(f.type == h2.SETTINGS and f.flags & h2.ACK for f in conn.seen))
        conn.send(data)
        assert conn.rest() not in (None, h2.NO_ERROR)
    watch.fine()


def test_settings_must_come_first(watch):
    with H2(watch.server.address, preface=False) as conn:
        conn.send(h2.PREFACE + h2.frame(h2.PING, 0, 0, bytes(8)))
        assert conn.rest() not in (None, h2.NO_ERROR)
    watch.fine()


def test_more_data_than_the_window(watch):
    with H2(watch.server.address) as conn:
        number = conn.open(fields("POST", "/v2/abuse/w/blobs/uploads/?digest=nonsense",
                                  [("content-length", "1000000")]), end=False)
        conn.send(h2.frame(h2.DATA, 0, number, bytes(16384)) * 20)
        conn.until(lambda: conn.streams[number].reset is not None)
        assert conn.streams[number].reset in (h2.FLOW_CONTROL_ERROR, h2.NO_ERROR)
    watch.fine()


def test_random_bytes_after_a_good_beginning(watch):
    """Frames with random contents: every connection is answered or ended, none is left hanging."""
    rng = random.Random(9113)
    for _ in range(60):
        with H2(watch.server.address) as conn:
            data = b""
            for _ in range(rng.randrange(1, 12)):
                kind = rng.choice((0, 1, 1, 1, 2, 3, 4, 6, 7, 8, 9, 200))
                payload = rng.choice((h2.block(fields("GET", "/v2/")), rng.randbytes(rng.randrange(40))))
                data += h2.frame(kind, rng.choice((0, 1, 4, 5, 5, 5, 8, 0x2d)), rng.randrange(8), payload)
            conn.send(data)
            conn.sock.shutdown(1)
            try:
                conn.rest()
            except (KeyError, AttributeError):  # an answer to a stream that this test did not note
                pass
    watch.fine()


def test_disconnect_at_every_point(watch):
    """A client that goes away in the middle of anything leaves nothing behind."""
    body = randbytes(40_000, 4)
    head = h2.PREFACE + h2.frame(h2.SETTINGS)
    head += h2.frame(h2.HEADERS, 4, 1, h2.block(fields("POST", f"/v2/abuse/d/blobs/uploads/?digest={digest(body)}")))
    data = head + b"".join(h2.frame(h2.DATA, int(at + 10_000 == len(body)), 1, body[at:at + 10_000])
                           for at in range(0, len(body), 10_000))
    for n in [*range(1, len(head), 7), *range(len(head), len(data), 3001), len(data)]:
        with H2(watch.server.address, preface=False) as conn:
            conn.send(data[:n])
    watch.fine()


def test_memory_comes_back(watch):
    """After all of the above: connections are gone, and so is what they held."""
    with H2(watch.server.address) as conn:
        assert conn.ask("/v2/").status == 200
    for _ in range(50):
        with H2(watch.server.address) as conn:
            numbers = [conn.get("/v2/") for _ in range(50)]
            for number in numbers:
                conn.wait(number)
    watch.fine(more=16 * MB)

"""Bodies over HTTP/2 and TLS, where the bytes of large frames are read to where they belong: frames
of all sizes, cut anywhere into records, streams that end in the midst of it."""

import random
import struct

import pytest

from lib import h2
from lib.h2 import H2, fields
from lib.oci import digest, randbytes

SETTINGS = {"auth.anonymous": "push", "tls.self_signed": "true"}
MB = 1 << 20
SIZES = (0, 1, 9, 100, 4095, 4096, 4097, 16384, 40_000, 65_535, 65_536)


class Records:
    """Frames that leave in TLS records of any size, whatever begins and ends in them."""

    def __init__(self, conn, chance):
        self.conn, self.chance, self.held = conn, chance, bytearray()

    def add(self, data):
        self.held += data
        while len(self.held) > 150_000:
            self.flush(self.chance.choice((1, 5, 9, 500, 9000, 16_384, 70_000)))

    def flush(self, n=None):
        assert self.conn.send(bytes(self.held[:n]))
        del self.held[:n]


def connect(address):
    """A connection on which frames of any size that the server offers may be sent."""
    conn = H2(address, tls=True)
    conn.until(lambda: any(f.type == h2.SETTINGS and f.flags & h2.ACK for f in conn.seen))
    return conn


def begin(conn, body, more=()):
    return conn.open(fields("POST", f"/v2/two/tls/blobs/uploads/?digest={digest(body)}", more,
                            scheme="https"), end=False)


def check_alive(conn, size):
    """Another upload over the same connection, and what comes back of it."""
    body = randbytes(size, size)
    number = begin(conn, body)
    conn.data(number, body, size=60_000)
    assert conn.wait(number).status == 201
    assert conn.ask(f"/v2/two/tls/blobs/{digest(body)}").body == body


@pytest.fixture
def address(server):
    """After the test the server still answers."""
    yield server.address
    with connect(server.address) as conn:
        assert conn.ask("/healthz").status == 200


@pytest.mark.parametrize("streams, seed", [(1, 1), (3, 2), (3, 3)])
def test_frames_of_all_sizes(address, streams, seed):
    chance = random.Random(seed)
    bodies = [randbytes(5 * MB + i, 10 * seed + i) for i in range(streams)]
    with connect(address) as conn:
        numbers = [begin(conn, body) for body in bodies]
        out, at, asked = Records(conn, chance), [0] * streams, []
        while any(a < len(b) for a, b in zip(at, bodies)):
            i = chance.choice([i for i in range(streams) if at[i] < len(bodies[i])])
            number, body = numbers[i], bodies[i]
            pad = chance.choice((0, 0, 0, 255))
            around = pad + 1 if pad else 0
            room = min(conn.send_window, conn.stream_windows[number], 65_536) - around
            if room <= 0:
                out.flush()
                conn.step()
                continue
            part = body[at[i]:][:min(chance.choice(SIZES), room)]
            at[i] += len(part)
            flags = h2.END_STREAM if at[i] == len(body) else 0
            payload = bytes([pad]) + part + bytes(pad) if pad else part
            conn.send_window -= len(payload)
            conn.stream_windows[number] -= len(payload)
            out.add(h2.frame(h2.DATA, flags | (h2.PADDED if pad else 0), number, payload))
            if chance.random() < 0.05:
                out.flush()
                asked.append(conn.get("/v2/"))
        out.flush()
        assert [conn.wait(number).status for number in numbers] == [201] * streams
        assert {conn.wait(number).status for number in asked} <= {200}
        for body in bodies:
            assert conn.ask(f"/v2/two/tls/blobs/{digest(body)}").body == body


@pytest.mark.parametrize("length", [1, 10_000, 49_999])
def test_more_than_was_said_ends_the_stream_only(address, length):
    """The rest of the frame is nobody's, and the next one is found behind it."""
    body = randbytes(50_000, 1)
    with connect(address) as conn:
        number = begin(conn, body, [("content-length", str(length))])
        frame = h2.frame(h2.DATA, 0, number, body)
        for at in range(0, len(frame), 7000):
            conn.send(frame[at:at + 7000])
        conn.send_window -= len(body)
        stream = conn.wait(number)
        assert stream.reset == h2.PROTOCOL_ERROR or stream.status >= 400
        check_alive(conn, 300_000)


def test_frames_of_a_stream_that_was_reset(address):
    body = randbytes(60_000, 2)
    with connect(address) as conn:
        number = begin(conn, body)
        conn.data(number, body[:20_000], end=False)
        conn.send(h2.frame(h2.RST_STREAM, 0, number, struct.pack(">I", h2.CANCEL)) +
                  h2.frame(h2.DATA, 0, number, body[20_000:]))
        conn.send_window -= 40_000
        check_alive(conn, 400_000)


@pytest.mark.parametrize("sent", [2, 9, 10, 5000, 59_999])
def test_a_connection_that_ends_within_a_frame(address, sent):
    """What came of the frame counts as received; the client goes on behind it."""
    body = randbytes(60_000, sent)
    with connect(address) as conn:
        where = conn.ask("/v2/two/tls/blobs/uploads/", method="POST").header("location")
        number = conn.open(fields("PATCH", where, [("content-length", "60000")]), end=False)
        conn.send(h2.frame(h2.DATA, 0, number, body)[:9 + sent])
    with connect(address) as conn:
        done = None
        while not done or done.status in (409, 416):  # until the broken request has let go of it
            kept = conn.ask(where).header("range")
            have = int(kept.split("-")[1]) + 1 if kept != "0-0" else 0
            done = conn.put(f"{where.split('?')[0]}?digest={digest(body)}", body[have:],
                            [("content-range", f"{have}-{len(body) - 1}")])
        assert done.status == 201 and have <= sent, (have, done.body)
        assert conn.ask(f"/v2/two/tls/blobs/{digest(body)}").body == body


def test_heads_of_frames_hold_no_memory(berth):
    """A buffer is taken for what has come, not for what was announced."""
    server = berth({**SETTINGS, "limits.receive_memory": "4MiB", "timeouts.body": "10m"})
    waiting = [connect(server.address) for _ in range(80)]
    for conn in waiting:
        number = begin(conn, b"x")
        frame = h2.frame(h2.DATA, 0, number, bytes(40_000))
        conn.send(frame)
        conn.until(lambda: conn.stream_windows[number] > 65_535)  # it is stored
        conn.send(frame[:9])
    with connect(server.address) as conn:
        check_alive(conn, 300_000)
    for conn in waiting:
        conn.sock.close()

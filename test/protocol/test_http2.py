"""HTTP/2 in cleartext, frame by frame: requests, bodies, flow control, errors, draining. What goes
wrong on purpose is in test_http2_abuse.py."""

import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from lib import h2, raw
from lib.h2 import H2, fields
from lib.oci import digest, randbytes

SETTINGS = {"auth.anonymous": "push", "http2.cleartext": "true", "timeouts.drain": "500ms"}
MB = 1 << 20


def push(server, repository, body):
    """Uploads a blob over HTTP/1.1; its path."""
    name = digest(body)
    answer = raw.exchange(server.address, raw.request(
        "POST", f"/v2/{repository}/blobs/uploads/?digest={name}",
        [("Content-Type", "application/octet-stream")], body))
    assert answer.status == 201, answer
    return f"/v2/{repository}/blobs/{name}"


# ---- requests

def test_the_same_answer_as_over_http_1(alive):
    path = push(alive, "two/same", b"x" * 1000)
    one = raw.exchange(alive.address, raw.request("GET", path))
    with H2(alive.address) as conn:
        two = conn.ask(path)
    assert two.status == 200 and bytes(two.body) == one.body
    passing = {"date", "x-request-id", "connection"}
    assert ({n.lower(): v for n, v in one.headers if n.lower() not in passing} ==
            {n: v for n, v in two.headers if n not in passing and n != ":status"})
    assert len(two.header("x-request-id")) == 16 and two.header("date").endswith(" GMT")
    assert two.header("connection") is None


def test_many_on_one_connection(alive):
    """One after another, with ids of their own and lines in the access log."""
    with H2(alive.address) as conn:
        answers = [conn.ask("/v2/") for _ in range(50)]
    assert {a.status for a in answers} == {200}
    ids = {a.header("x-request-id") for a in answers}
    assert len(ids) == 50
    line = alive.access(answers[-1].header("x-request-id"))
    assert line["status"] == "200" and line["http"] == "2"


def test_concurrent_streams(alive):
    bodies = [randbytes(100_000 + i, i) for i in range(20)]
    paths = [push(alive, "two/many", body) for body in bodies]
    with H2(alive.address) as conn:
        numbers = [conn.get(path) for path in paths]
        for number, body in zip(numbers, bodies):
            stream = conn.wait(number)
            assert stream.status == 200 and stream.body == body


def test_streams_share_the_connection(alive):
    """A small answer need not wait for a large one that was asked for before."""
    path = push(alive, "two/share", randbytes(8 * MB, 1))
    with H2(alive.address) as conn:
        large = conn.get(path)
        conn.until(lambda: conn.streams[large].frames > 0)
        small = [conn.get(path) for _ in range(3)]
        conn.until(lambda: all(conn.streams[n].frames >= 4 for n in small))
        assert not conn.streams[large].ended
        for number in (large, *small):
            assert len(conn.wait(number).body) == 8 * MB


def test_head_has_no_body(alive):
    path = push(alive, "two/head", b"y" * 12345)
    with H2(alive.address) as conn:
        stream = conn.ask(path, method="HEAD")
    assert stream.status == 200 and stream.header("content-length") == "12345"
    assert stream.frames == 0 and stream.body == b""


def test_ranges_and_conditions(alive):
    body = randbytes(50_000, 1)
    path = push(alive, "two/range", body)
    with H2(alive.address) as conn:
        part = conn.ask(path, [("range", "bytes=100-299")])
        assert part.status == 206 and part.body == body[100:300]
        several = conn.ask(path, [("range", "bytes=0-9,40000-40009")])
        assert several.status == 206 and body[:10] in several.body and body[40000:40010] in several.body
        same = conn.ask(path, [("if-none-match", part.header("etag"))])
        assert same.status == 304 and not same.body and same.header("content-length") is None
        assert conn.ask(path, [("range", "bytes=50000-")]).status == 416


def test_download_under_a_small_window(alive):
    """The client opens its windows by a few bytes at a time."""
    body = randbytes(300_000, 1)
    path = push(alive, "two/window", body)
    with H2(alive.address, window=1000) as conn:
        stream = conn.ask(path)
        assert stream.status == 200 and stream.body == body and stream.frames >= 300


def test_large_frames_when_the_client_takes_them(alive):
    body = randbytes(MB, 1)
    path = push(alive, "two/frames", body)
    with H2(alive.address, frame=1 << 20) as conn:
        conn.max_frame = 1 << 20
        conn.send(h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 4 * MB)))
        stream = conn.ask(path)
        assert stream.body == body and stream.frames < MB // 16384


def test_big_download(alive):
    body = randbytes(48 * MB, 1)
    path = push(alive, "two/big", body)
    with H2(alive.address, window=4 * MB) as conn:
        conn.send(h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 4 * MB)))
        stream = conn.ask(path)
        assert stream.status == 200 and digest(bytes(stream.body)) == digest(body)


def test_cold_file(alive):
    """What is not in memory is read ahead by a worker."""
    body = randbytes(3 * MB, 1)
    path = push(alive, "two/cold", body)
    for folder, _, names in os.walk(alive.data / "blobs"):
        for name in names:
            fd = os.open(os.path.join(folder, name), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
    with H2(alive.address) as conn:
        assert conn.ask(path).body == body


# ---- bodies

def test_upload_with_flow_control(alive):
    body = randbytes(5 * MB, 1)
    name = digest(body)
    with H2(alive.address) as conn:
        answer = conn.put(f"/v2/two/up/blobs/uploads/?digest={name}", body, method="POST",
                          more=[("content-type", "application/octet-stream")])
        assert answer.status == 201, answer.body
        assert any(f.type == h2.WINDOW_UPDATE and f.stream == answer.id for f in conn.seen)
        assert conn.ask(f"/v2/two/up/blobs/{name}").body == body


def test_upload_without_a_length_in_tiny_and_padded_frames(alive):
    body = randbytes(20_000, 1)
    name = digest(body)
    with H2(alive.address) as conn:
        number = conn.open(fields("POST", f"/v2/two/tiny/blobs/uploads/?digest={name}"), end=False)
        for at in range(0, len(body), 100):
            pad = at // 100 % 50
            conn.send(h2.frame(h2.DATA, h2.PADDED, number,
                               bytes([pad]) + body[at:at + 100] + bytes(pad)))
        conn.send(h2.frame(h2.DATA, h2.END_STREAM, number))
        assert conn.wait(number).status == 201
        assert conn.ask(f"/v2/two/tiny/blobs/{name}").body == body


def test_concurrent_uploads(alive):
    bodies = [randbytes(700_000 + i, i) for i in range(8)]
    with H2(alive.address) as conn:
        numbers = [conn.open(fields("POST", f"/v2/two/ups/blobs/uploads/?digest={digest(body)}",
                                    [("content-length", str(len(body)))]), end=False)
                   for body in bodies]
        at = [0] * len(bodies)
        while any(a < len(b) for a, b in zip(at, bodies)):
            moved = False
            for i, (number, body) in enumerate(zip(numbers, bodies)):
                room = min(conn.send_window, conn.stream_windows[number], 16384, len(body) - at[i])
                if room > 0:
                    moved = True
                    conn.send_window -= room
                    conn.stream_windows[number] -= room
                    part = body[at[i]:at[i] + room]
                    at[i] += room
                    conn.send(h2.frame(h2.DATA, h2.END_STREAM if at[i] == len(body) else 0, number,
                                       part))
            if not moved:
                conn.step()
        assert [conn.wait(number).status for number in numbers] == [201] * 8


def test_the_window_grows(alive):
    """One upload gets more than the first window to have under way."""
    body = randbytes(24 * MB, 1)
    with H2(alive.address) as conn:
        answer = conn.put(f"/v2/two/grow/blobs/uploads/?digest={digest(body)}", body, method="POST")
        assert answer.status == 201
        grants = [int.from_bytes(f.payload, "big") for f in conn.seen
                  if f.type == h2.WINDOW_UPDATE and f.stream == answer.id]
    assert max(grants) > 65535, grants


def test_frames_as_large_as_we_take(alive):
    """A head and a body of one frame each, four times as large as without being asked."""
    body = randbytes(65_535, 1)
    many = [(f"x-{i}", "y" * 15_000) for i in range(4)]
    with H2(alive.address) as conn:
        conn.until(lambda: any(f.type == h2.SETTINGS and f.flags & h2.ACK for f in conn.seen))
        said = next(f.payload for f in conn.seen if f.type == h2.SETTINGS)
        assert struct.pack(">HI", h2.MAX_FRAME_SIZE, 65_536) in said
        head = fields("POST", f"/v2/two/wide/blobs/uploads/?digest={digest(body)}", many)
        number = conn.open(head, end=False)
        conn.send(h2.frame(h2.DATA, h2.END_STREAM, number, body))
        assert conn.wait(number).status == 201


def test_manifest_and_delete(alive):
    with H2(alive.address) as conn:
        config = b"{}"
        name = digest(config)
        assert conn.put(f"/v2/two/m/blobs/uploads/?digest={name}", config, method="POST").status == 201
        manifest = (b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
                    b'"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s",'
                    b'"size":2},"layers":[]}' % name.encode())
        kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")]
        assert conn.put("/v2/two/m/manifests/t", manifest, kind).status == 201
        assert conn.ask("/v2/two/m/manifests/t").body == manifest
        assert conn.ask("/v2/two/m/manifests/t", method="DELETE").status == 202


def test_expect_continue(alive):
    body = b"z" * 5000
    with H2(alive.address) as conn:
        number = conn.open(fields("POST", f"/v2/two/e/blobs/uploads/?digest={digest(body)}",
                                  [("expect", "100-continue"), ("content-length", "5000")]), end=False)
        conn.until(lambda: conn.streams[number].heads)
        assert conn.streams[number].status == 100
        conn.data(number, body)
        assert conn.wait(number).status == 201 and len(conn.streams[number].heads) == 2
        refused = conn.open(fields("POST", "/v2/two/e/blobs/uploads/?digest=nonsense",
                                   [("expect", "100-continue"), ("content-length", "5000")]), end=False)
        assert conn.wait(refused).status == 400 and len(conn.streams[refused].heads) == 1


def test_early_refusal_resets_what_is_still_coming(alive):
    """The answer is whole, then the client is told to stop; other streams go on."""
    with H2(alive.address) as conn:
        number = conn.open(fields("PUT", "/v2/two/big/manifests/t",
                                  [("content-length", str(5 * MB))]), end=False)
        stream = conn.wait(number)
        assert stream.status == 413
        conn.until(lambda: stream.reset is not None)
        assert stream.reset == h2.NO_ERROR
        assert conn.data(number, bytes(60_000), end=False) == 60_000
        assert conn.ask("/v2/").status == 200


def test_trailers_are_ignored(alive):
    body = b"t" * 100
    with H2(alive.address) as conn:
        number = conn.open(fields("POST", f"/v2/two/t/blobs/uploads/?digest={digest(body)}"), end=False)
        conn.data(number, body, end=False)
        conn.send(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, number,
                           h2.block([("x-check", "1")])))
        assert conn.wait(number).status == 201
        assert conn.ask("/v2/").status == 200


def test_interrupted_upload_can_be_resumed(alive):
    """A reset keeps what was acknowledged, as a broken HTTP/1.1 connection does."""
    body = randbytes(200_000, 1)
    with H2(alive.address) as conn:
        start = conn.ask("/v2/two/resume/blobs/uploads/", method="POST")
        where = start.header("location")
        number = conn.open(fields("PATCH", where, [("content-length", "200000")]), end=False)
        conn.data(number, body[:60_000], end=False)
        conn.send(h2.frame(h2.RST_STREAM, 0, number, struct.pack(">I", h2.CANCEL)))
        done = None
        while not done or done.status in (409, 416):  # until the broken request has let go of it
            with H2(alive.address) as again:  # which ends what was refused before it was sent whole
                kept = again.ask(where).header("range")
                have = int(kept.split("-")[1]) + 1
                done = again.put(f"{where.split('?')[0]}?digest={digest(body)}", body[have:],
                                 [("content-range", f"{have}-{len(body) - 1}")])
        assert done.status == 201 and 1 < have <= 60_000, (have, done.body)


# ---- errors

@pytest.mark.parametrize("head, status", [
    (fields("BREW", "/v2/"), 501),
    ([(":method", "CONNECT"), (":authority", "localhost:1")], 501),
    (fields("GET", "/" + "a" * 9000), 414),
    (fields("GET", "/v2/", [("x-a", "a" * 33_000), ("x-b", "a" * 33_000)]), 431),
    (fields("GET", "/v2/", [(f"x-{i}", "1") for i in range(101)]), 431),
    (fields("GET", "/v2/../etc"), 400),
    (fields("GET", "/v2/%00"), 400),
    (fields("GET", "http://other/v2/"), 400),
    (fields("OPTIONS", "*"), 400),
    (fields("GET", "/v2/", scheme="ftp"), 400),
    (fields("GET", "/v2/", [("host", "other")]), 400),
    (fields("GET", "/v2/", authority="a b"), 400),
    (fields("GET", "/v2/", authority="user@localhost"), 400),
    (fields("GET", "/v2/", [("authorization", "a"), ("authorization", "b")]), 400),
    (fields("GET", "/v2/", [("x-bad", "a\x01b")]), 400),
    (fields("GET", "/v2/", [("x bad", "1")]), 400),
    (fields("GET", "/v2/", [("expect", "tea")]), 417),
    (fields("GET", "/nowhere"), 404),
    (fields("POST", "/v2/"), 405),
    (fields("GET", "/v2/", authority=None), 400),
])
def test_what_is_refused(alive, head, status):
    """As over HTTP/1.1; or, where a field breaks HTTP/2's own rules, with the stream reset. The
    connection goes on."""
    with H2(alive.address) as conn:
        number = conn.next
        encoded, conn.next = h2.block(head), number + 2
        conn.streams[number] = h2.Stream(number)
        parts = [encoded[at:at + 16384] for at in range(0, len(encoded), 16384)]
        for i, part in enumerate(parts):
            last = h2.END_HEADERS if i == len(parts) - 1 else 0
            first = h2.END_STREAM if i == 0 else 0
            conn.send(h2.frame(h2.CONTINUATION if i else h2.HEADERS, last | first, number, part))
        stream = conn.wait(number)
        if stream.reset is None:
            assert stream.status == status, stream.body
        else:
            assert status == 400 and stream.reset == h2.PROTOCOL_ERROR
        assert conn.ask("/v2/").status == 200


@pytest.mark.parametrize("more", [
    [("connection", "close")], [("transfer-encoding", "chunked")], [("upgrade", "h2c")],
    [("te", "gzip")], [("X-Upper", "1")], [(":late", "1")], [(":path", "/twice")],
    [("content-length", "x")], [("content-length", "1"), ("content-length", "1")],
])
def test_malformed_requests_are_reset(alive, more):
    with H2(alive.address) as conn:
        stream = conn.ask("/v2/", more)
        assert stream.reset == h2.PROTOCOL_ERROR and not stream.heads
        assert conn.ask("/v2/").status == 200


@pytest.mark.parametrize("length, sent", [(10, 9), (10, 11), (0, 1)])
def test_body_and_length_must_agree(alive, length, sent):
    with H2(alive.address) as conn:
        body = b"x" * sent
        number = conn.open(fields("POST", f"/v2/two/l/blobs/uploads/?digest={digest(body)}",
                                  [("content-length", str(length))]), end=False)
        conn.data(number, body)
        stream = conn.wait(number)
        assert stream.reset == h2.PROTOCOL_ERROR or stream.status >= 400
        assert conn.ask("/v2/").status == 200


def test_cookies_are_joined_and_host_may_stand_in(alive):
    with H2(alive.address) as conn:
        assert conn.ask("/v2/", [("cookie", "a=1"), ("cookie", "b=2")]).status == 200
        stream = conn.wait(conn.open(fields("GET", "/v2/", [("host", "localhost")], authority=None)))
        assert stream.status == 200


# ---- the connection

def test_only_with_prior_knowledge_and_the_option(berth, alive):
    """Without the option the preface is an HTTP version nobody speaks; an Upgrade is not taken."""
    plain = berth({"auth.anonymous": "push"})
    assert raw.exchange(plain.address, h2.PREFACE).status == 505
    upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]
    assert raw.exchange(alive.address, raw.request("GET", "/v2/", upgrade)).status == 200
    with raw.Conn(alive.address) as conn:  # not in the middle of a connection
        conn.send(raw.request("GET", "/v2/"))
        assert conn.read().status == 200
        conn.send(h2.PREFACE)
        assert conn.read().status == 505


def test_preface_byte_by_byte(alive):
    with H2(alive.address, preface=False) as conn:
        for byte in h2.PREFACE + h2.frame(h2.SETTINGS):
            conn.send(bytes([byte]))
        assert conn.ask("/v2/").status == 200


def test_almost_a_preface(alive):
    with raw.Conn(alive.address) as conn:
        conn.send(h2.PREFACE[:-1] + b"x")
        assert conn.read().status in (400, 505)


def test_ping_and_unknown_frames(alive):
    with H2(alive.address) as conn:
        conn.send(h2.frame(0xee, 0xff, 0, b"whatever") + h2.frame(h2.PING, 0, 0, b"12345678"))
        conn.until(lambda: any(f.type == h2.PING and f.flags & h2.ACK for f in conn.seen))
        assert [f.payload for f in conn.seen if f.type == h2.PING] == [b"12345678"]


def test_idle_connections_end(berth):
    server = berth({**SETTINGS, "timeouts.idle": "200ms"})
    with H2(server.address) as conn:
        assert conn.ask("/v2/").status == 200
        assert conn.rest() == h2.NO_ERROR


def test_silent_connections_end(berth):
    server = berth({**SETTINGS, "timeouts.head": "200ms"})
    with H2(server.address, preface=False) as conn:
        conn.send(h2.PREFACE)
        conn.rest()


def test_drain(berth):
    """The first GOAWAY names no stream, what still arrives is served, the second says what was
    taken, and running transfers end well."""
    server = berth(SETTINGS)
    body = randbytes(6 * MB, 1)
    path = push(server, "two/drain", body)
    with H2(server.address, windows=False) as conn:
        number = conn.get(path)
        conn.until(lambda: len(conn.streams[number].body) == 65535)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        conn.until(lambda: conn.goaways)
        assert conn.goaways == [(0x7fffffff, h2.NO_ERROR)]
        late = conn.get("/v2/")
        conn.windows = True
        conn.send(b"".join(h2.frame(h2.WINDOW_UPDATE, 0, n, struct.pack(">I", 65535)) for n in (0, number)))
        assert conn.wait(number).body == body
        assert conn.wait(late).status == 200
        assert conn.rest() == h2.NO_ERROR
        assert conn.goaways[1:] == [(late, h2.NO_ERROR)]
        stopper.join()


# ---- real clients

def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl(alive, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(randbytes(10 * MB, 1))
    name = digest(body.read_bytes())
    base = f"http://{alive.name}/v2/two/curl/blobs/"
    done = run("curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-X", "POST",
               "--data-binary", f"@{body}", "-H", "Content-Type: application/octet-stream",
               f"{base}uploads/?digest={name}")
    assert done.stdout == "2 201", done
    back = tmp_path / "back"
    done = run("curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-o", back,
               base + name)
    assert done.stdout == "2 200", done
    assert back.read_bytes() == body.read_bytes()


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("enabled, version", [("true", "2"), ("false", "1.1")])
def test_over_tls_when_offered(berth, tmp_path, enabled, version):
    server = berth({"auth.anonymous": "push", "tls.self_signed": "true", "http2.enabled": enabled})
    body = tmp_path / "body"
    body.write_bytes(randbytes(3 * MB, 5))
    name = digest(body.read_bytes())
    base = f"https://{server.name}/v2/two/tls/blobs/"
    done = run("curl", "-ksS", "--http2", "-w", "%{http_version} %{http_code}", "--data-binary", f"@{body}",
               "-H", "Content-Type: application/octet-stream", f"{base}uploads/?digest={name}")
    assert done.stdout == f"{version} 201", done
    done = run("curl", "-ksS", "--http2", "-w", "%{http_version} %{http_code}", "-o", tmp_path / "back",
               base + name)
    assert done.stdout == f"{version} 200" and (tmp_path / "back").read_bytes() == body.read_bytes()


def test_the_admin_socket_does_not_speak_it(alive):
    with socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(10)
        conn.connect(str(alive.data / "admin.sock"))
        conn.sendall(h2.PREFACE + h2.frame(h2.SETTINGS))
        assert conn.recv(100).startswith(b"HTTP/1.1 505 ")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_gets_an_early_answer(alive, tmp_path):
    """It forgets what it has read of an answer when its stream is reset while it still sends."""
    body = tmp_path / "body"
    body.write_bytes(bytes(5 * MB))
    done = run("curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-o", tmp_path / "x",
               "-T", body, f"http://{alive.name}/v2/two/curl/manifests/t")
    assert done.stdout == "2 413", done


@pytest.mark.skipif(not shutil.which("h2load"), reason="nghttp2-client is not installed")
def test_h2load(alive):
    path = push(alive, "two/load", randbytes(30_000, 1))
    done = run("h2load", "-n", "600", "-c", "4", "-m", "20", f"http://{alive.name}{path}")
    assert "600 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout


@pytest.mark.skipif(not shutil.which("nghttp"), reason="nghttp2-client is not installed")
def test_nghttp(alive):
    """With its tree of priorities, which is ignored, and padding."""
    done = run("nghttp", "-nv", "-b", "100", "-m", "5", f"http://{alive.name}/v2/")
    assert done.stdout.count(":status: 200") == 5, done.stdout

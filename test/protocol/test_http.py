"""The HTTP/1.1 layer over raw sockets: limits, traversal, framing, connections, slow and hostile
clients. Everyone else keeps being served."""

import re
import threading
import time

import pytest

from lib import raw, server as servers
from lib.oci import digest, randbytes

SETTINGS = {"auth.anonymous": "push"}
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
MB = 1 << 20


def healthy(server):
    response = raw.exchange(server.address, GET)
    return response is not None and response.status == 200


# ---- limits of the head

def test_head_at_and_over_the_limit(alive):
    """64 KiB is taken, one byte more is 431; so with one huge field and with many."""
    base = raw.request("GET", "/healthz", [("X-A", "")])
    fits = raw.request("GET", "/healthz", [("X-A", "a" * (65536 - len(base)))])
    assert len(fits) == 65536
    assert raw.exchange(alive.address, fits).status == 200
    over = raw.request("GET", "/healthz", [("X-A", "a" * (65537 - len(base)))])
    assert raw.exchange(alive.address, over).status == 431
    endless = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * (4 * MB)
    assert raw.exchange(alive.address, endless).status == 431


def test_number_of_fields(alive):
    fields = [(f"X-{i}", "1") for i in range(99)]
    assert raw.exchange(alive.address, raw.request("GET", "/healthz", fields)).status == 200
    fields.append(("X-99", "1"))
    assert raw.exchange(alive.address, raw.request("GET", "/healthz", fields)).status == 431


def test_length_of_the_target(alive):
    fits = "/healthz?" + "a" * (8192 - len("/healthz?"))
    assert raw.exchange(alive.address, raw.request("GET", fits)).status == 200
    assert raw.exchange(alive.address, raw.request("GET", fits + "a")).status == 414
    assert raw.exchange(alive.address, raw.request("GET", "/" + "a" * 60_000)).status == 414


# ---- limits of the body

def test_manifest_body_limit(alive, nobody):
    """4 MiB exactly is read (and judged), one byte more is 413 before the body is sent, and when
    the length is not announced."""
    target = "/v2/limits/a/manifests/latest"
    response = nobody.once("PUT", target, b" " * 4194304, [("Content-Type", "application/json")])
    assert response.status == 400 and response.code == "MANIFEST_INVALID", response
    with raw.Conn(alive.address) as conn:
        conn.send(raw.request("PUT", target, [("Content-Length", "4194305")]))
        response = conn.read()
        assert response.status == 413 and response.code == "MANIFEST_INVALID", response
    for _ in range(20):
        with raw.Conn(alive.address) as conn:
            conn.send(raw.request("PUT", target, [("Transfer-Encoding", "chunked")]))
            for _ in range(6):
                conn.send(b"100000\r\n" + b" " * MB + b"\r\n")
            response = conn.read()
        if response.status != 503:  # the first body may not have left memory yet
            break
        assert response.header("retry-after")
    assert response.status == 413, response


def test_refused_while_sending_is_answered(alive):
    """A client that is still sending when it is refused reads the answer, not a reset."""
    with raw.Conn(alive.address) as conn:
        conn.send(raw.request("PUT", "/v2/limits/a/manifests/latest",
                              [("Content-Length", str(5 * MB))]))
        conn.send(b" " * (5 * MB))
        assert conn.read().status == 413
        assert conn.rest() == b""


def test_body_where_none_belongs(alive):
    """A GET with a small body is answered and the body is not taken for a request."""
    with raw.Conn(alive.address) as conn:
        conn.send(raw.request("GET", "/v2/", body=GET) + GET)
        first = conn.read()
        assert first.status in (200, 400, 413), first
        if (first.header("connection") or "") == "close":
            assert conn.rest() == b""
        else:
            assert conn.read().status == 200
            conn.half_close()
            assert conn.rest() == b""


# ---- traversal

@pytest.mark.parametrize("path", [
    "/../../../etc/passwd", "/v2/../../etc/passwd", "/v2/%2e%2e/%2e%2e/etc/passwd",
    "/v2/a/blobs/../../../etc/passwd", "/v2/a/blobs/sha256:../../../etc/passwd",
    "/v2/a/blobs/sha256%3A..%2F..%2Fetc%2Fpasswd", "/v2/a/manifests/..", "/v2/a/manifests/%2e%2e",
    "/v2/a/manifests/..%2f..%2fetc%2fpasswd", "/v2/a%2Fb/manifests/x%00", "/v2/a/manifests/%00",
    "/v2/..%2f..%2f/manifests/x", "/v2/a/../b/manifests/x", "/v2/./a/manifests/x",
    "/v2//a/manifests/x", "/v2/a//b/manifests/x", "/v2/a/b%2F..%2Fc/tags/list",
    "/v2/a/blobs/uploads/../../../../etc/passwd", "/v2/a/blobs/uploads/%2e%2e%2f%2e%2e",
    "/v2/a/blobs/uploads/..", "/v2/%252e%252e/manifests/x", "/v2/a\\..\\b/manifests/x",
    "/v2/A/manifests/x", "/v2/_a/manifests/x", "/v2/a-/manifests/x", "/v2/a..b/manifests/x",
    "/v2/a___b/manifests/x", "/v2/%C3%A4/manifests/x", "/v2/a%0d%0aX-Injected:%201/manifests/x",
    "/healthz/../etc/passwd", "//etc/passwd", "/.%2e/.%2e/etc/passwd",
])
def test_traversal(alive, path):
    for method in ("GET", "HEAD", "DELETE", "PUT"):
        headers = [("Content-Type", "application/json")]
        body = b"{}" if method == "PUT" else None
        response = raw.exchange(alive.address, raw.request(method, path, headers, body),
                                head=method == "HEAD")
        assert 400 <= response.status < 500, (method, response)
        assert b"root:" not in response.body
        assert response.header("x-injected") is None


def test_nothing_from_input_reaches_headers(alive):
    """Encoded line ends and quotes, wherever a client's words come back in headers or JSON."""
    for target in ("/v2/a/manifests/x%0d%0aX-Injected:1", "/v2/a/tags/list?last=x%0d%0aX-Injected:1",
                   "/v2/a/tags/list?n=1%0d%0aX-Injected:1", '/v2/a/manifests/%22%7d%5c',
                   "/service/token?service=x%0d%0aX-Injected:1&scope=repository:a%0d%0ab:pull",
                   "/v2/a/blobs/sha256:%0d%0aX-Injected:1"):
        response = raw.exchange(alive.address, raw.request("GET", target))
        assert response.header("x-injected") is None
        response.json()  # whatever it says, it parses
    response = raw.exchange(alive.address, raw.request(
        "GET", "/v2/", [("X-Request-Id", 'a" b=c'), ("traceparent", "00-\"-x")]))
    assert '"' not in response.header("x-request-id")


# ---- connections

def test_keep_alive_and_close(alive):
    with raw.Conn(alive.address) as conn:
        for _ in range(50):
            conn.send(GET)
            assert conn.read().status == 200
        conn.send(raw.request("GET", "/healthz", [("Connection", "close")]))
        response = conn.read()
        assert response.status == 200 and response.header("connection") == "close"
        assert conn.rest() == b""


def test_http_1_0(alive):
    """Closes, unless keep-alive is asked for; needs no Host; never gets chunks or 100."""
    with raw.Conn(alive.address) as conn:
        conn.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        response = conn.read()
        assert response.status == 200 and response.version in ("HTTP/1.0", "HTTP/1.1")
        assert response.header("transfer-encoding") is None
        assert conn.rest() == b""
    with raw.Conn(alive.address) as conn:
        for _ in range(2):
            conn.send(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            response = conn.read()
            assert response.status == 200
            assert response.header("connection").lower() == "keep-alive"
    with raw.Conn(alive.address) as conn:
        conn.send(b"POST /v2/a/b/blobs/uploads/ HTTP/1.0\r\nExpect: 100-continue\r\n"
                  b"Content-Length: 0\r\n\r\n")
        assert conn.read().interim == []


def test_pipelining(alive, nobody):
    """Answers come in order, however the requests are cut into packets, uploads among them."""
    data = randbytes(100_000, "pipeline")
    blob = nobody.push("pipeline/a", data)
    location = nobody.start("pipeline/a")
    requests = [
        (GET, 200, None),
        (raw.request("GET", f"/v2/pipeline/a/blobs/{blob}"), 200, data),
        (raw.request("HEAD", f"/v2/pipeline/a/blobs/{blob}"), 200, b""),
        (raw.request("GET", "/v2/pipeline/a/manifests/none"), 404, None),
        (raw.request("PATCH", location, [("Transfer-Encoding", "chunked")],
                     raw.chunked(b"hello", b" ", b"world")), 202, None),
        (raw.request("GET", location), 204, None),
        (raw.request("PUT", f"{location}?digest={digest(b'hello world')}", body=b""), 201, None),
        (raw.request("GET", f"/v2/pipeline/a/blobs/{digest(b'hello world')}"), 200, b"hello world"),
        (GET, 200, None),
    ]
    whole = b"".join(r[0] for r in requests)
    for cut in (len(whole), 1000, 7):
        if cut != len(whole):  # the upload is gone; open another one of the same length
            again = nobody.start("pipeline/a")
            whole, location = whole.replace(location.encode(), again.encode()), again
        with raw.Conn(alive.address) as conn:
            for i in range(0, len(whole), cut):
                conn.send(whole[i:i + cut])
            for data_sent, status, body in requests:
                response = conn.read(head=data_sent.startswith(b"HEAD"))
                assert response.status == status, (data_sent[:60], response)
                assert body is None or response.body == body


def test_many_pipelined_requests_are_bounded(alive):
    """A client that asks and never reads is stopped by its own full socket, not remembered."""
    before = alive.memory()
    with raw.Conn(alive.address, timeout=1, receive_buffer=4096) as conn:
        sent = 0
        try:
            while sent < 64 * MB:
                conn.sock.sendall(GET * 1000)
                sent += len(GET) * 1000
        except TimeoutError:
            pass
        assert healthy(alive)
        assert alive.memory() - before < 16 * MB


def test_half_close(alive):
    """A client that has said all may shut its sending side and still gets its answers."""
    with raw.Conn(alive.address) as conn:
        conn.send(GET + GET)
        conn.half_close()
        assert conn.read().status == 200
        assert conn.read().status == 200
        assert conn.rest() == b""


def test_idle_connections_are_closed(berth):
    server = berth({"timeouts.idle": "300ms"})
    with raw.Conn(server.address) as fresh, raw.Conn(server.address) as used:
        used.send(GET)
        assert used.read().status == 200
        assert used.closed() and fresh.closed()


# ---- 100-continue

def test_continue_before_the_body(alive, nobody):
    location = nobody.start("continue/a")
    with raw.Conn(alive.address) as conn:
        conn.send(raw.request("PATCH", location, [("Expect", "100-continue"),
                                                  ("Content-Length", "5")]))
        assert conn.read_head().status == 100
        conn.send(b"hello")
        assert conn.read().status == 202
        conn.send(GET)
        assert conn.read().status == 200


def test_no_continue_when_the_body_is_already_there(alive, nobody):
    location = nobody.start("continue/a")
    with raw.Conn(alive.address) as conn:
        conn.send(raw.request("PATCH", location, [("Expect", "100-continue"),
                                                  ("Content-Length", "5")]) + b"hello")
        assert conn.read().status == 202  # an interim answer is allowed, the final one must come
        conn.send(GET)
        assert conn.read().status == 200


def test_refusal_instead_of_continue(alive, nobody):
    """The final answer comes straight away; the body must not be sent, and need not be."""
    location = nobody.start("continue/a")
    cases = [
        ("PATCH", location.rsplit("/", 1)[0] + "/00000000-0000-0000-0000-000000000000", [], 404),
        ("PATCH", location, [("Content-Range", "100-199")], 416),
        ("PUT", "/v2/continue/a/manifests/latest", [("Content-Length", "9999999")], 413),
    ]
    for method, target, headers, status in cases:
        headers = headers + [("Expect", "100-continue")]
        if not any(n == "Content-Length" for n, _ in headers):
            headers.append(("Content-Length", "100"))
        with raw.Conn(alive.address) as conn:
            conn.send(raw.request(method, target, headers))
            response = conn.read()
            assert response.status == status, response
            assert response.interim == []


# ---- HEAD

def test_head_equals_get(alive, nobody):
    body, name = nobody.push_image("head/a", "latest")
    blob = nobody.push("head/a", b"blob of head")
    for target in ("/healthz", "/v2/", "/v2/head/a/manifests/latest", f"/v2/head/a/manifests/{name}",
                   f"/v2/head/a/blobs/{blob}", "/v2/head/a/manifests/none", "/v2/head/a/tags/list",
                   f"/v2/head/a/blobs/{digest(b'none')}", "/v2/_catalog", "/nothing", "/v2/none/x"):
        get = nobody.once("GET", target)
        head = nobody.once("HEAD", target)
        varying = ("date", "x-request-id")

        def fixed(response):
            return sorted((n.lower(), v) for n, v in response.headers if n.lower() not in varying)

        assert head.status == get.status
        assert fixed(head) == fixed(get), target
        assert head.header("content-length") == str(len(get.body))


def test_every_answer_has_the_common_headers(alive, nobody):
    for target, status in (("/v2/", 200), ("/v2/none/manifests/x", 404), ("/v2/_catalog?n=x", 400)):
        response = nobody.once("GET", target)
        assert response.status == status
        assert response.header("docker-distribution-api-version") == "registry/2.0"
        assert re.fullmatch(r"[0-9a-f]{16}", response.header("x-request-id"))
        assert response.header("date")


def test_methods_a_path_does_not_have(alive, nobody):
    for method, target in (("POST", "/v2/"), ("PATCH", "/v2/a/manifests/x"), ("DELETE", "/healthz"),
                           ("POST", "/v2/a/tags/list"), ("PUT", "/v2/a/blobs/uploads/")):
        response = nobody.once(method, target)
        assert response.status == 405 and response.code == "UNSUPPORTED", (method, target, response)
        allowed = response.header("allow").replace(" ", "").split(",")
        assert method not in allowed and allowed


# ---- disconnects

def test_disconnect_at_every_phase(alive, nobody):
    """Cut the client off after each step of a push and a pull, by FIN and by RST; nothing of it
    stays behind."""
    data = randbytes(300_000, "disconnect")
    blob = nobody.push("cut/a", data)
    upload = raw.request("PATCH", "LOCATION", [("Content-Length", "200000")])
    stream = raw.request("PATCH", "LOCATION", [("Transfer-Encoding", "chunked")])
    phases = [b"", b"G", b"GET /healthz HTTP/1.1\r\n", GET[:-2], GET,
              raw.request("GET", f"/v2/cut/a/blobs/{blob}"), upload, upload + data[:100_000],
              stream + b"5", stream + b"186a0\r\n" + data[:70_000], stream + b"5\r\nhello\r\n0\r\n",
              raw.request("PUT", "/v2/cut/a/manifests/x", [("Content-Length", "1000")]) + b"{"]
    nobody.once("GET", "/healthz")
    before, locations = alive.descriptors(), []
    for _ in range(3):
        for bytes_sent in phases:
            for end in (raw.Conn.close, raw.Conn.reset):
                data_sent = bytes_sent
                if b"LOCATION" in bytes_sent:
                    locations.append(nobody.start("cut/a"))
                    data_sent = bytes_sent.replace(b"LOCATION", locations[-1].encode())
                conn = raw.Conn(alive.address)
                conn.send(data_sent)
                end(conn)
    assert healthy(alive)
    assert nobody.blob("cut/a", blob).body == data
    end = time.monotonic() + 10
    while locations and time.monotonic() < end:  # still busy until the server has noticed
        locations = [at for at in locations if nobody.request("DELETE", at).status == 409]
    assert not locations
    while alive.descriptors() > before + 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert alive.descriptors() <= before + 2


def test_partial_body_is_not_a_blob(alive, nobody):
    """A body shorter than announced is never committed, however it ends."""
    data = randbytes(50_000, "partial")
    for headers, sent in (([("Content-Length", "50000")], data[:-1]),
                          ([("Transfer-Encoding", "chunked")], b"c34f\r\n" + data[:-1]),
                          ([("Transfer-Encoding", "chunked")], b"c350\r\n" + data + b"\r\n")):
        location = nobody.start("partial/a")
        with raw.Conn(alive.address) as conn:
            conn.send(raw.request("PUT", f"{location}?digest={digest(data)}", headers) + sent)
            conn.half_close()
            rest = conn.rest()
            assert rest is not None and b" 201 " not in rest
        assert nobody.blob("partial/a", digest(data)).status == 404


def test_reader_that_stops_reading(berth):
    """A download nobody reads is given up after timeouts.send, and holds no worker meanwhile."""
    server = berth({"auth.anonymous": "push", "timeouts.send": "1s", "threads.workers": "2"})
    from lib.oci import Client
    client = Client(server, mode="none")
    data = randbytes(8 * MB, "slow reader")
    blob = client.push("slow/a", data)
    conns = [raw.Conn(server.address, receive_buffer=4096) for _ in range(8)]
    for conn in conns:
        conn.send(raw.request("GET", f"/v2/slow/a/blobs/{blob}"))
    for _ in range(20):
        assert client.blob("slow/a", blob).body == data
    # The log tells when each was given up; what the kernels had buffered still arrives.
    assert server.waits(lambda: 8 <= len([
        f for f in server.events("request")
        if f["path"].endswith(blob) and int(f["out_bytes"]) < len(data)]))
    for conn in conns:
        assert conn.read_head().status == 200
        with pytest.raises(raw.Closed):
            conn._exactly(len(data))
        conn.close()


# ---- slow clients

def test_slow_head_times_out(berth):
    """200 clients that drip a head byte by byte are cut off; others are served all the while."""
    server = berth({"timeouts.head": "1500ms"})
    conns = [raw.Conn(server.address) for _ in range(200)]
    try:
        for conn in conns:
            conn.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            for conn in conns:
                conn.send(b"a")
            assert healthy(server)
        for conn in conns:
            rest = conn.rest(5)
            assert rest is not None, "a slow head was not cut off"
            assert rest == b"" or b" 408 " in rest.split(b"\r\n")[0]
    finally:
        for conn in conns:
            conn.close()
    assert healthy(server)


def test_slow_body_times_out(berth):
    """200 uploads below the least rate are cut off; one at a fair pace on the same server is not."""
    server = berth({"auth.anonymous": "push", "timeouts.body": "1s", "limits.body_rate": "1KiB",
                    "limits.uploads": "500"})
    from lib.oci import Client
    client = Client(server, mode="none")
    conns = []
    fair = client.start("slow/fair")
    for _ in range(200):
        location = client.start("slow/a")
        conn = raw.Conn(server.address)
        conn.send(raw.request("PATCH", location, [("Content-Length", "100000")]) + b"a" * 10)
        conns.append(conn)
    with raw.Conn(server.address) as steady:
        steady.send(raw.request("PATCH", fair, [("Content-Length", str(30 * 512))]))
        for _ in range(30):
            steady.send(b"b" * 512)
            time.sleep(0.1)
            for conn in conns[::20]:
                conn.send(b"a")
        assert steady.read().status == 202
    for conn in conns:
        rest = conn.rest(5)
        assert rest is not None, "a slow body was not cut off"
        assert rest == b"" or b" 408 " in rest.split(b"\r\n")[0], rest
        conn.close()
    assert healthy(server)


def test_two_thousand_idle_connections(berth):
    """Fresh ones, half-sent heads and kept-alive ones; memory stays small, requests go on."""
    server = berth({"auth.anonymous": "push", "timeouts.head": "60s"})
    from lib.oci import Client
    client = Client(server, mode="none")
    body, name = client.push_image("many/a", "latest", size=100_000)
    before = server.memory()
    conns = [raw.Conn(server.address) for _ in range(2000)]
    try:
        for i, conn in enumerate(conns):
            if i % 3 == 1:
                conn.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
            elif i % 3 == 2:
                conn.send(GET)
                assert conn.read().status == 200
        for _ in range(100):
            assert client.manifest("many/a", "latest").body == body
        client.push("many/a", randbytes(4 * MB, "many"))
        now = server.memory()
        if servers.sanitized():
            # Shadow memory and quarantine come on top: judge the growth instead.
            assert now - before < 64 * MB, (before, now)
        else:
            assert now < 64 * MB, now
        for i, conn in enumerate(conns):  # all of them still work
            conn.send(b"\r\n" if i % 3 == 1 else GET)
            assert conn.read().status == 200
    finally:
        for conn in conns:
            conn.close()


def test_connection_limit(berth):
    """Connections past the limit wait, and are served when others go."""
    server = berth({"limits.connections": "20"})
    first = [raw.Conn(server.address) for _ in range(20)]
    for conn in first:
        conn.send(GET)
        assert conn.read().status == 200
    late = raw.Conn(server.address)
    late.send(GET)
    late.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        late.sock.recv(1)
    first[0].close()
    late.sock.settimeout(10)
    assert late.read().status == 200
    for conn in [late, *first]:
        conn.close()


def test_abuse_does_not_disturb_others(alive, nobody):
    """Garbage from eight threads while an honest client pushes and pulls."""
    stop = threading.Event()
    wrong = []

    def abuse(seed):
        import random
        rng = random.Random(seed)
        while not stop.is_set():
            with raw.Conn(alive.address, timeout=5) as conn:
                conn.send(rng.choice([rng.randbytes(500), b"A" * 70_000, GET[:-3] + b"\0\r\n\r\n",
                                      b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n"]))
                conn.half_close()
                rest = conn.rest(5)
                if rest is None or rest and not rest.startswith(b"HTTP/1.1 4") \
                        and not rest.startswith(b"HTTP/1.1 5"):
                    wrong.append(rest)

    threads = [threading.Thread(target=abuse, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    try:
        for i in range(30):
            body, name = nobody.push_image("calm/a", f"t{i}", seed=i)
            assert nobody.manifest("calm/a", f"t{i}").body == body
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]

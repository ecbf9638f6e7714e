"""The log: every field as documented, nothing forged, nothing blocked, nothing secret."""

import json
import os
import re
import subprocess
import threading

import pytest

from lib import raw
from lib.metrics import Snapshot
from lib.oci import Client, basic, digest, randbytes
from lib.server import PASSWORD, ROOT, Server, logfmt, run

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def documented_fields():
    """{field: may be absent} of the access log."""
    text = (ROOT / "docs/logging.md").read_text().split("## `request`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([^|]+) \|$", text, re.M)
    return {name: absent.strip() != "never" for name, absent in rows}


ALWAYS = {"time", "level", "event"}


def ask(server, target="/v2/", headers=(), method="GET", body=None):
    """One request; its access line."""
    response = raw.exchange(server.address, raw.request(method, target, headers, body),
                            head=method == "HEAD")
    return server.access(response.header("x-request-id"))


# ---- the access log

def test_all_fields_are_documented(server):
    fields = documented_fields()
    admin = Client(server)
    admin.push_image("log/app", "1")
    server.settle()
    seen = {}
    for line in server.events("request"):
        assert set(line) - ALWAYS <= set(fields), line
        for name, optional in fields.items():
            assert optional or name in line, (name, line)
            seen[name] = seen.get(name, 0) + (name in line)
    never = {name for name, n in seen.items() if not n}
    assert never <= {"trace", "proxy_request", "subject", "tls", "agent", "error"}
    admin.close()


def test_one_request(server):
    admin = Client(server)
    body, name = admin.push_image("log/one", "1")
    response = admin.manifest("log/one", "1", headers=[("User-Agent", "me/1.0")])
    line = server.access(response.header("x-request-id"))
    us, first = int(line.pop("us")), int(line.pop("first_byte_us"))
    assert 0 < first <= us
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("time"))
    assert line == {"level": "info", "event": "request",
                    "request": response.header("x-request-id"), "client": "127.0.0.1",
                    "principal": "admin", "method": "GET", "path": "/v2/log/one/manifests/1",
                    "route": "/v2/{name...}/manifests/{reference}", "repository": "log/one",
                    "status": "200", "in_bytes": "0", "out_bytes": str(len(body)), "http": "1.1",
                    "agent": "me/1.0"}
    admin.close()


def test_what_is_absent(server):
    line = ask(server, "/no/such?secret=1")
    assert line["path"] == "/no/such" and line["error"] == "NOT_FOUND"
    assert not {"route", "principal", "repository", "agent", "trace", "tls"} & set(line)
    assert "secret=1" not in server.text()
    line = ask(server, "/v2/UPPER/manifests/1")
    assert line["error"] == "NAME_INVALID" and "repository" not in line
    with raw.Conn(server.address) as conn:
        conn.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert server.access(conn.read().header("x-request-id"))["http"] == "1.0"
    first = server.log_mark()
    with raw.Conn(server.address) as conn:
        conn.send(b"what?\r\n\r\n")
        assert conn.read().status == 400
    assert server.waits(lambda: server.events("request", first))
    line, = server.events("request", first)
    assert not {"method", "path"} & set(line) and line["status"] == "400"
    assert line["error"] == "BAD_REQUEST"


def test_a_client_that_left(server):
    first = server.log_mark()
    with raw.Conn(server.address) as conn:
        conn.send(raw.request("PUT", "/v2/log/gone/manifests/1", [("Content-Length", "9")]) + b"abc")
    assert server.waits(lambda: server.events("request", first))
    line, = server.events("request", first)
    assert line["status"] == "0" and line["in_bytes"] == "3" and line["out_bytes"] == "0"


def test_bytes_in_and_out(server):
    admin = Client(server)
    data = randbytes(300_000, "log")
    response = admin.push_raw("log/bytes", data)
    line = server.access(response.header("x-request-id"))
    assert line["status"] == "201"
    assert line["in_bytes"] == str(len(data)) and line["out_bytes"] == "0"
    response = admin.blob("log/bytes", digest(data))
    line = server.access(response.header("x-request-id"))
    assert line["out_bytes"] == str(len(data)) and line["in_bytes"] == "0"
    admin.close()


# ---- nothing can be forged

FORGERIES = [b'x" status=200 event="', b"x\\", b"x\\\"", b"a=b event=ready", b"\xff\xfe\x80 \xc3\xa4",
             b"a\tb", b"{\"a\":1}", b"\\u000aevent=ready", b"'", b"%0a%0d", b"\xe2\x80\xa8"]


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_header_cannot_forge(berth, form):
    server = Lines(berth, form)
    for agent in FORGERIES:
        before = len(server.lines)
        server.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nUser-Agent: " + agent + b"\r\n\r\n")
        line = server.next(before)
        assert line["agent"].encode("latin-1") == agent
        assert line["event"] == "request" and str(line["status"]) == "200"
    for path in (b"/%0a%1b", b"/a\"b", b"/a\\b", b"/a=b", b"/\xc3\xa4"):
        before = len(server.lines)
        server.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        line = server.next(before)
        assert line["event"] == "request" and str(line["status"]) in ("400", "404")
    for header in (b"X\x1b[31m", b"a\x00b", b"a\x7fb", b"a\rb"):  # have no place in HTTP
        before = len(server.lines)
        server.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nUser-Agent: " + header + b"\r\n\r\n")
        assert str(server.next(before)["status"]) == "400"
    for raw_line in server.lines:
        assert all(" " <= c <= "~" for c in raw_line), raw_line


class Lines:
    """A server's log lines, parsed by its format."""

    def __init__(self, berth, form):
        self.form = form
        self.server = berth({"log.format": form}, start=False)
        if form == "json":  # what the harness knows a ready server by is logfmt
            start_json(self.server)
        else:
            self.server.start()
        self.lines = self.server.lines

    def send(self, data):
        with raw.Conn(self.server.address) as conn:
            conn.send(data)
            conn.read()

    def next(self, before):
        assert self.server.waits(lambda: len(self.lines) > before)
        line, = self.lines[before:]
        return json.loads(line) if self.form == "json" else logfmt(line)


def start_json(server):
    """Starts a server whose log is JSON; fills in its address."""
    server.process = subprocess.Popen(server.command(), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=server.environment())
    server._readers = [threading.Thread(target=server._read, args=pair, daemon=True) for pair in
                       ((server.process.stderr, server.lines),
                        (server.process.stdout, server.output))]
    for reader in server._readers:
        reader.start()
    assert server.waits(lambda: any('"event":"ready"' in line for line in server.lines), 20)
    server.addresses = [json.loads(line)["address"] for line in server.lines
                        if '"event":"ready"' in line]


def test_json_has_types(berth):
    lines = Lines(berth, "json")
    before = len(lines.lines)
    lines.send(raw.request("GET", "/healthz"))
    line = lines.next(before)
    assert line["status"] == 200 and isinstance(line["us"], int) and line["http"] == "1.1"
    assert set(line) - ALWAYS <= set(documented_fields())


def test_secrets_are_not_logged(server):
    token = Client(server).token()
    for headers in ([("Authorization", basic("admin", PASSWORD))],
                    [("Authorization", f"Bearer {token}")]):
        ask(server, "/v2/?token=verysecret", headers)
    ask(server, "/service/token?password=verysecret", method="POST",
        headers=[("Content-Type", "application/x-www-form-urlencoded")],
        body=f"grant_type=password&username=admin&password={PASSWORD}".encode())
    text = "\n".join(server.lines)
    for secret in (PASSWORD, PASSWORD.replace(" ", "+"), token, token[:40], "verysecret",
                   basic("admin", PASSWORD)[6:]):
        assert secret not in text


# ---- traces and ids

def test_traces(server):
    assert ask(server, headers=[("traceparent", PARENT)])["trace"] == TRACE
    assert ask(server, headers=[("TraceParent", PARENT), ("tracestate", "a=1")])["trace"] == TRACE
    assert ask(server, headers=[("traceparent", PARENT), ("tracestate", "a=;b=1")])["trace"] == TRACE
    for value in ("", "nonsense", PARENT.upper(), PARENT[:-1], PARENT + "-x", "ff" + PARENT[2:],
                  PARENT.replace(TRACE, "0" * 32)):
        assert "trace" not in ask(server, headers=[("traceparent", value)])
    assert "trace" not in ask(server, headers=[("traceparent", PARENT)] * 2)


def test_a_command_begins_a_trace(berth):
    """What Berth itself asks carries one: here the command the server, over its admin socket."""
    server = berth()
    first = len(server.lines)
    assert run("gc", "--data", server.data).returncode == 0
    assert server.waits(lambda: server.events("request", first))
    line = server.events("request", first)[-1]
    assert re.fullmatch(r"[0-9a-f]{32}", line["trace"])
    assert line["principal"].startswith("uid:") and "client" not in line
    assert run("gc", "--data", server.data).returncode == 0
    assert server.waits(lambda: len({f["trace"] for f in server.events("request", first)}) == 2)


def test_ids_of_proxies(berth):
    untrusted = berth()
    line = ask(untrusted, headers=[("X-Request-Id", "mine")])
    assert "proxy_request" not in line and line["request"] != "mine"
    trusted = berth({"server.trusted_proxies": "127.0.0.0/8"})
    line = ask(trusted, headers=[("X-Request-Id", "Abc-1.2_3:4/5=6+7@8")])
    assert line["proxy_request"] == "Abc-1.2_3:4/5=6+7@8"
    assert re.fullmatch(r"[0-9a-f]{16}", line["request"])
    assert ask(trusted, headers=[("X-Request-Id", "x" * 128)])["proxy_request"] == "x" * 128
    for value in ("", "x" * 129, "a b", 'a"b', "a\xff", "a;b"):
        assert "proxy_request" not in ask(trusted, headers=[("X-Request-Id", value)])
    # Behind the proxy is somebody else: his word counts as the proxy's.
    line = ask(trusted, headers=[("X-Forwarded-For", "203.0.113.7"), ("X-Request-Id", "p1")])
    assert line["client"] == "203.0.113.7" and line["proxy_request"] == "p1"


# ---- on and off

def test_access_lines_can_be_turned_off(berth):
    server = berth({"log.access": "false"})
    raw.exchange(server.address, raw.request("GET", "/v2/"))
    server.stop()
    assert not server.events("request") and server.events("stopped")


def test_levels(berth):
    server = berth({"log.level": "error"}, start=False)
    with pytest.raises(AssertionError):  # "ready" is what start() waits for, and is not logged
        server.start(timeout=2)
    assert not server.lines


# ---- a reader that does not read

def test_a_stuck_reader_holds_up_nobody(tmp_path):
    """Its pipe is full: requests are answered as ever, what is lost is counted, and told once there
    is room. Then it is stuck again, and the server ends all the same."""
    read_fd, write_fd = os.pipe()
    settings = {"metrics.listen": "127.0.0.1:0", "log.format": "logfmt"}
    server = Server(tmp_path / "data", settings)
    process = subprocess.Popen(server.command(), stdin=subprocess.DEVNULL, stderr=write_fd,
                               stdout=subprocess.DEVNULL, env=server.environment())
    os.close(write_fd)
    try:
        server.process = process
        text = b""
        while b"event=ready" not in text or b"event=metrics_ready" not in text:
            text += os.read(read_fd, 65536)
        server.lines += text.decode().splitlines()
        server.addresses = [f["address"] for f in server.events("ready")]
        # From here on nobody reads. Lines of 7 KB: 64 KiB fit into the pipe, 1 MiB into the buffer.
        n, request = 400, raw.request("GET", "/healthz", [("User-Agent", "x" * 7000)])
        with raw.Conn(server.address) as conn:
            for _ in range(n):
                conn.send(request)
                assert conn.read().status == 200
        dropped = lambda: Snapshot(server).value("berth_log_dropped_lines_total")
        assert 50 < dropped() < n
        # Read on: the rest of what was kept, and how much was not.
        lost = int(dropped())
        text = b""
        while b"event=log_lines_dropped" not in text:
            text += os.read(read_fd, 65536)
        told, = re.findall(rb"event=log_lines_dropped lines=(\d+)", text)
        assert lost <= int(told) <= lost + 5  # the scrapes are requests, too
        kept = text.count(b"path=/healthz")
        assert kept + int(told) >= n
        for line in text.decode().splitlines()[1:-1]:
            assert logfmt(line)["event"] in ("request", "log_lines_dropped"), line
        with raw.Conn(server.address) as conn:
            for _ in range(n):
                conn.send(request)
                assert conn.read().status == 200
        process.terminate()
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait()
        os.close(read_fd)


# ---- the list of events

def test_every_event_is_documented():
    text = (ROOT / "docs/logging.md").read_text().split("\n## Events")[1]
    documented = set(re.findall(r"`([a-z_]+)`", "".join(
        line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))))
    logged = set()
    for path in (ROOT / "src").rglob("*.c"):
        if not path.name.endswith("_test.c"):
            source = path.read_text()
            logged |= set(re.findall(r'\bLOG\(\w+,\s*"(\w+)"', source))
            logged |= set(re.findall(r'\blog_event\(\w+, "(\w+)"', source))
    assert logged == documented

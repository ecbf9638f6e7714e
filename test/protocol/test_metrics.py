"""Metrics: in the form that Prometheus reads, moved by exactly what was done, and shown to nobody who
may not see them."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import raw
from lib.metrics import (CLASSIC_TYPE, OPEN, OPEN_TYPE, Since, Snapshot, ask, eventually,
                         parse_classic, parse_open)
from lib.oci import Client, basic, digest, randbytes
from lib.server import PASSWORD, ROOT

SETTINGS = {"metrics.listen": "127.0.0.1:0", "metrics.token": "open sesame",
            "limits.blob": "1MiB", "limits.manifest": "4KiB", "limits.page": "2",
            "limits.ranges": "2", "limits.uploads": "3", "auth.password_cache": "5m",
            "gc.interval": "24h"}
MANIFESTS = "/v2/{name...}/manifests/{reference}"
BLOBS = "/v2/{name...}/blobs/{digest}"


def documented():
    """{name: (type, unit)} of docs/metrics.md."""
    text = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `((?:berth|process)_\w+)` \| (\w+) \| (\w*) \|", text, re.M)
    return {name: (kind, unit) for name, kind, unit in rows}


@pytest.fixture
def since(alive):
    return Since(alive)


# ---- form

def test_every_family_is_there_as_documented(alive, admin):
    admin.push_image("metrics/form", "1")
    assert admin.manifest("metrics/form", "1").status == 200
    assert admin.head("/v2/metrics/form/manifests/1").status == 200
    snapshot = Snapshot(alive)
    shown = {}
    for family in snapshot.families:
        assert family.documentation.endswith("."), family.name
        name = family.name + ("_total" if family.type == "counter" else "")
        shown[name] = (family.type, family.unit)
    assert shown == documented()
    assert len(shown) > 50
    assert snapshot.text.endswith("\n# EOF\n") and "\r" not in snapshot.text


def test_both_formats_tell_the_same(alive):
    classic = ask(alive)
    assert classic.header("content-type") == CLASSIC_TYPE and b"# EOF" not in classic.body
    families = {f.name: f for f in parse_classic(classic.body.decode())}
    for family in Snapshot(alive).families:
        other = families[family.name]
        assert other.type == family.type
        assert other.documentation == family.documentation


@pytest.mark.parametrize("accept, wanted", [
    (None, CLASSIC_TYPE),
    ("*/*", CLASSIC_TYPE),
    ("text/plain", CLASSIC_TYPE),
    (OPEN, OPEN_TYPE),
    ("application/openmetrics-text", OPEN_TYPE),
    ("Application/OpenMetrics-Text; charset=utf-8", OPEN_TYPE),
    ('application/openmetrics-text; version="1.0.0"', OPEN_TYPE),
    ("application/openmetrics-text;version=2.0.0", CLASSIC_TYPE),
    ("application/openmetrics-text;q=0", CLASSIC_TYPE),
    ("application/openmetrics-text;q=0.5, text/plain;q=0.500", OPEN_TYPE),
    ("application/openmetrics-text;q=0.4, text/plain;q=0.5", CLASSIC_TYPE),
    ("application/openmetrics-text;q=1.001", CLASSIC_TYPE),
    ("application/openmetrics-text;q=x", CLASSIC_TYPE),
    ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
     "q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
     "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.1",
     OPEN_TYPE),
])
def test_the_accept_header_chooses(alive, accept, wanted):
    response = ask(alive, headers=[("Accept", accept)] if accept else [])
    assert response.status == 200 and response.header("content-type") == wanted
    assert response.header("cache-control") == "no-store" and response.header("vary") == "Accept"
    head = ask(alive, headers=[("Accept", accept)] if accept else [], method="HEAD")
    assert head.status == 200 and head.header("content-type") == wanted


def test_nobody_is_named(alive, admin):
    admin.push_image("veryprivate/thing", "nobodysbusiness")
    admin.once("GET", "/v2/veryprivate/thing/manifests/nobodysbusiness",
               headers=[("User-Agent", "nobodysbusiness")])
    alive.settle()
    text = Snapshot(alive).text
    for word in ("veryprivate", "nobodysbusiness", "127.0.0.1", "sha256", '"admin"', PASSWORD):
        assert word not in text, word


# ---- what is counted

def test_requests_by_route_method_and_code(alive, nobody, since):
    for target in ("/v2/", "/v2/", "/no/such", "/healthz"):
        nobody.once("GET", target)
    nobody.once("HEAD", "/healthz")
    nobody.once("DELETE", "/healthz")
    raw.exchange(alive.address, b"nonsense\r\n\r\n")
    nobody.once("PUT", "/no/such", b"x")
    moved = since.now().changes("berth_http_requests_total")
    assert {tuple(sorted(k)): v for k, v in moved.items()
            if dict(k)["route"] not in ("/metrics",)} == {
        tuple(sorted({"route": route, "method": method, "code": code}.items())): n
        for route, method, code, n in (
            ("/v2/", "GET", "401", 2), ("none", "GET", "404", 1), ("/healthz", "GET", "200", 1),
            ("/healthz", "HEAD", "200", 1), ("none", "DELETE", "405", 1),
            ("none", "none", "400", 1), ("none", "PUT", "404", 1))}
    for name in ("berth_http_request_duration_seconds_count",):
        assert since.change(name, route="/v2/", method="GET") == 2
        assert since.change(name, route="/healthz", method="HEAD") == 1
    worker = "berth_http_handler_duration_seconds_count"
    assert since.change(worker, route="/healthz", method="GET") == 0  # needs no worker


def test_a_client_that_left_has_no_code(alive, since):
    with raw.Conn(alive.address) as conn:
        conn.send(raw.request("PUT", "/v2/metrics/gone/manifests/1",
                              [("Content-Length", "1000"), ("Authorization", "Bearer x")]))
        conn.send(b"x")
    assert eventually(lambda: since.now().change(
        "berth_http_requests_total", route=MANIFESTS, method="PUT", code="none") == 1)


def test_a_push_and_a_pull(alive, admin, since):
    data = randbytes(100_000, "metrics")
    name = admin.push("metrics/blob", data)
    before = since.now().after.total("berth_http_sent_bytes_total")
    response = admin.blob("metrics/blob", name)
    assert response.body == data
    since.now()
    assert since.change("berth_blobs_stored_total") == 1
    assert since.change("berth_blobs_stored_bytes_total") == len(data)
    assert since.change("berth_http_requests_total", route=BLOBS, method="GET", code="200") == 1
    assert since.after.total("berth_http_sent_bytes_total") - before >= len(data)
    assert since.change("berth_http_received_bytes_total") >= len(data)
    assert since.change("berth_store_sync_duration_seconds_count", of="file") >= 1
    assert since.change("berth_store_sync_duration_seconds_count", of="directory") >= 1
    assert since.change("berth_db_commits_total") >= 1
    assert since.change("berth_db_commit_jobs_count") >= 1
    assert (since.change("berth_db_commit_jobs_sum") >= since.change("berth_db_commit_jobs_count"))
    assert since.change("berth_db_commit_duration_seconds_count") >= 1
    assert since.change("berth_worker_queue_wait_seconds_count") >= 3
    # The same content again is not stored again.
    again = Since(alive)
    admin.push("metrics/blob2", data)
    assert again.now().change("berth_blobs_stored_total") == 0


def test_uploads_are_a_gauge(admin, since):
    """Those that are begun, and those that hold something; however they end."""
    location = admin.start("metrics/open")
    other = admin.start("metrics/open")
    assert since.now().change("berth_uploads") == 2
    assert admin.patch(location, b"some").status == 202
    assert since.now().change("berth_uploads") == 2
    assert admin.request("DELETE", location).status == 204
    assert since.now().change("berth_uploads") == 1
    assert admin.put(other, digest(b"all"), b"all").status == 201
    assert since.now().change("berth_uploads") == 0


def test_a_small_push_is_one_commit(admin, since):
    """What POST begins is written down with its first bytes."""
    jobs = "berth_db_commit_jobs_sum"
    location = admin.start("metrics/small")
    assert admin.get(location).status == 204
    assert since.now().change(jobs) == 0
    assert admin.put(location, digest(b"small"), b"small").status == 201
    assert since.now().change(jobs) == 1
    location = admin.start("metrics/small")
    assert admin.patch(location, b"").status == 202
    assert since.now().change(jobs) == 1
    assert admin.patch(location, b"in two").status == 202
    assert since.now().change(jobs) == 2
    assert admin.put(location, digest(b"in two")).status == 201
    assert since.now().change(jobs) == 3


def test_logins(alive, nobody, since):
    """One is right and computed, one remembered, one wrong, one of nobody; tokens likewise."""
    for user, password, status in (("admin", PASSWORD, 200), ("admin", PASSWORD, 200),
                                   ("admin", "wrong", 401), ("nobody", PASSWORD, 401)):
        response = nobody.once("GET", "/v2/", headers=[("Authorization", basic(user, password))])
        assert response.status == status
    for token, status in ((Client(alive).token(), 200), ("abc.def.ghi", 401)):
        response = nobody.once("GET", "/v2/", headers=[("Authorization", f"Bearer {token}")])
        assert response.status == status
    since.now()
    checks = "berth_auth_password_checks_total"
    right = since.change(checks, result="right") + since.change(checks, result="remembered")
    assert right == 3 and since.change(checks, result="remembered") >= 2  # the token's login, too
    assert since.change(checks, result="wrong") == 2
    assert since.change("berth_auth_token_checks_total", result="valid") == 1
    assert since.change("berth_auth_token_checks_total", result="invalid") == 1


def test_collection(alive, admin, since):
    data = randbytes(5000, "garbage")
    admin.push("metrics/garbage", data)
    manager = Client(alive, mode="basic")
    response = manager.request("POST", "/api/berth/v1/gc", b'{"now": true}',
                               [("Content-Type", "application/json")])
    assert response.status in (200, 202), response
    assert eventually(lambda: since.now().change("berth_gc_runs_total", outcome="ok") == 1)
    assert since.change("berth_gc_runs_total", outcome="failed") == 0
    assert since.change("berth_gc_removed_total", kind="blobs") >= 1
    assert since.change("berth_gc_removed_total", kind="links") >= 1
    assert since.change("berth_gc_removed_bytes_total") >= len(data)
    assert since.change("berth_gc_duration_seconds_count") == 1
    after = since.after
    assert (after.value("berth_gc_last_success_timestamp_seconds") >
            after.value("process_start_time_seconds") > 1.6e9)
    manager.close()


def test_the_process(alive):
    snapshot = Snapshot(alive)
    assert snapshot.value("process_resident_memory_bytes") > 1 << 20
    assert snapshot.value("process_virtual_memory_bytes") > 1 << 20
    assert snapshot.value("process_cpu_seconds_total") > 0
    assert 250 < snapshot.value("process_open_fds") < snapshot.value("process_max_fds")
    assert snapshot.value("process_threads") > snapshot.value("berth_workers") > 0
    assert snapshot.value("berth_storage_free_bytes") <= snapshot.value("berth_storage_size_bytes")
    assert snapshot.value("berth_storage_reserve_bytes") == 256 << 20
    assert snapshot.value("berth_receive_memory_limit_bytes") == 40 << 20
    assert snapshot.value("berth_db_file_bytes") >= 4096
    (labels, value), = snapshot.all("berth_build_info").items()
    assert value == 1 and dict(labels).keys() == {"version", "schema"}
    assert set(snapshot.all("berth_unready").values()) == {0}


def test_connections_by_reactor(alive, since):
    conns = [raw.Conn(alive.address) for _ in range(6)]
    assert eventually(lambda: since.now().after.total("berth_reactor_connections") ==
                      since.before.total("berth_reactor_connections") + 6)
    for conn in conns:
        conn.close()
    assert eventually(lambda: since.now().after.total("berth_reactor_connections") <=
                      since.before.total("berth_reactor_connections"))


def test_many_at_once(alive, since):
    """No request is lost when several connections, and so reactors, count at once."""
    def run(_):
        with raw.Conn(alive.address) as conn:
            for _ in range(50):
                conn.send(raw.request("GET", "/healthz"))
                conn.read()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert since.now().change("berth_http_requests_total", route="/healthz", method="GET",
                              code="200") == 400
    assert since.change("berth_http_request_duration_seconds_count", route="/healthz",
                        method="GET") == 400


# ---- bounds

@pytest.mark.parametrize("limit, status, act", [
    ("limits.head", 431, lambda c: c.once("GET", "/", headers=[("X-A", "a" * 70_000)])),
    ("limits.head", 431, lambda c: c.once("GET", "/", headers=[(f"X-{i}", "") for i in range(120)])),
    ("limits.target", 414, lambda c: c.once("GET", "/" + "a" * 9000)),
    ("limits.manifest", 413, lambda c: c.put_manifest("metrics/m", "1", b"{" + b" " * 5000)),
    ("limits.blob", 413, lambda c: c.push_raw("metrics/m", bytes(1 << 21), "post")),
    ("limits.page", 200, lambda c: c.get("/v2/_catalog?n=3")),
])
def test_a_bound_that_is_met_counts_once(alive, admin, limit, status, act):
    since = Since(alive)
    response = act(admin)
    assert response.status == status, response
    assert since.now().change("berth_limit_hits_total", limit=limit) == 1
    others = {dict(k)["limit"] for k in since.changes("berth_limit_hits_total")}
    assert others == {limit}


def test_ranges_beyond_the_limit(admin, since):
    name = admin.push("metrics/ranges", b"0123456789")
    response = admin.blob("metrics/ranges", name, headers=[("Range", "bytes=0-1,3-4,6-7")])
    assert response.status == 200
    assert since.now().change("berth_limit_hits_total", limit="limits.ranges") == 1


def test_uploads_beyond_the_limit(admin, since):
    open_now = int(since.before.value("berth_uploads"))
    locations = [admin.start("metrics/many") for _ in range(3 - open_now)]
    response = admin.request("POST", "/v2/metrics/many/blobs/uploads/")
    assert response.status == 429
    assert since.now().change("berth_limit_hits_total", limit="limits.uploads") == 1
    for location in locations:
        assert admin.request("DELETE", location).status == 204


def test_every_limit_is_an_option(alive):
    """But for the one that is the machine's, and the one that no client has a reason to meet."""
    options = (ROOT / "docs/configuration.md").read_text()
    for labels in Snapshot(alive).all("berth_limit_hits_total"):
        limit = dict(labels)["limit"].removesuffix(".pause")
        assert limit in ("open_files", "tls_records") or f"`{limit}`" in options, limit


# ---- who may look

def test_the_registrys_own_address_wants_a_credential(alive, nobody):
    bearer = [("Authorization", "Bearer open sesame")]
    for headers in ([], [("Authorization", "Bearer open sesam")],
                    [("Authorization", "Bearer open sesame!")], [("Authorization", "Bearer ")],
                    [("Authorization", "Basic open sesame")],
                    [("Authorization", basic("admin", "wrong"))],
                    [("Authorization", basic("metrics.token", "open sesame"))]):
        response = nobody.once("GET", "/metrics", headers=headers)
        assert response.status == 401, (headers, response)
        assert b"berth_" not in response.body
        assert response.header("www-authenticate").startswith("Basic"), response
    for headers in (bearer, [("Authorization", "bearer open sesame")],
                    [("Authorization", basic("admin", PASSWORD))]):
        response = nobody.once("GET", "/metrics", headers=headers + [("Accept", OPEN)])
        assert response.status == 200, (headers, response)
        assert list(parse_open(response.body.decode()))
    # It opens nothing else.
    for target in ("/v2/", "/v2/_catalog", "/api/berth/v1/gc/1"):
        assert nobody.once("GET", target, headers=bearer).status == 401
    # A token of a login is for pulling and pushing.
    token = Client(alive).token()
    response = nobody.once("GET", "/metrics", headers=[("Authorization", f"Bearer {token}")])
    assert response.status == 403


def test_the_admin_socket_opens_them(alive):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(alive.data / "admin.sock"))
        sock.sendall(raw.request("GET", "/metrics", [("Accept", OPEN), ("Connection", "close")]))
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 ") and list(parse_open(body.decode()))


def test_who_may_push_without_login_may_not_look(berth):
    server = berth({"auth.anonymous": "push"})
    client = Client(server, mode="none")
    client.push_image("team/app", "1")
    assert client.once("GET", "/metrics").status == 401
    # No token is configured, so the empty one is none.
    for value in ("Bearer", "Bearer ", "Bearer  "):
        assert client.once("GET", "/metrics", headers=[("Authorization", value)]).status == 401
    client.close()


def test_the_token_from_a_file(berth, tmp_path):
    path = tmp_path / "token"
    path.write_text("from a file\n")
    server = berth({"metrics.token_file": str(path)})
    client = Client(server, mode="none")
    response = client.once("GET", "/metrics", headers=[("Authorization", "Bearer from a file")])
    assert response.status == 200
    assert server.access(response.header("x-request-id"))["principal"] == "metrics.token"
    assert "from a file" not in server.text()
    client.close()


def test_the_own_address_serves_nothing_else(alive):
    for target, status in (("/healthz", 200), ("/readyz", 200), ("/v2/", 404), ("/", 404),
                           ("/v2/_catalog", 404), ("/service/token", 404),
                           ("/api/berth/v1/gc/1", 404)):
        assert ask(alive, target).status == status, target
    assert ask(alive, "/metrics", method="DELETE").status == 405


def test_the_own_address_must_be_plain(berth):
    for value in ("https://127.0.0.1:0", "127.0.0.1:0?proxy"):
        server = berth({"metrics.listen": value}, start=False)
        with pytest.raises(AssertionError):
            server.start()
        assert "metrics.listen has the entry" in server.text()


def test_a_unix_socket_will_do(berth, tmp_path):
    path = tmp_path / "m.sock"
    server = berth({"metrics.listen": f"unix:{path}"})
    assert server.events("metrics_ready")[0]["address"] == f"unix:{path}"
    assert path.is_socket()
    server.stop()
    assert not path.exists()


def test_while_all_workers_are_busy(berth):
    """And the queue is full: that is when metrics are wanted."""
    server = berth({"metrics.listen": "127.0.0.1:0", "threads.workers": "1", "limits.queue": "1",
                    "auth.bcrypt_cost": "12", "auth.password_cache": "0s"})
    since = Since(server)
    conns = [raw.Conn(server.address) for _ in range(6)]
    for conn in conns:
        conn.send(raw.request("GET", "/v2/", [("Authorization", basic("admin", PASSWORD))]))
    codes = []
    assert since.now().after.value("berth_workers") == 1
    for conn in conns:
        codes.append(conn.read().status)
        conn.close()
    assert set(codes) <= {200, 503} and codes.count(503) >= 1
    assert since.now().change("berth_limit_hits_total", limit="limits.queue") == codes.count(503)


# ---- health

def test_health(alive, nobody):
    assert nobody.once("GET", "/healthz").json() == {"status": "ok"}
    ready = nobody.once("GET", "/readyz")
    assert ready.status == 200
    answer = ready.json()
    build = dict(next(iter(Snapshot(alive).all("berth_build_info"))))
    assert answer == {"status": "ready", "version": build["version"],
                      "schema": int(build["schema"]), "damaged_blobs": 0,
                      "checkpoint": "ok"}


def test_a_server_that_stops_is_not_ready(berth):
    """It says so where it can still be asked, until the last transfer is over."""
    server = berth({"metrics.listen": "127.0.0.1:0", "auth.anonymous": "push"})
    client = Client(server, mode="none")
    data = randbytes(50_000, "slow")
    location = client.start("team/app")
    with raw.Conn(server.address) as conn:
        conn.send(raw.request("PATCH", location, [("Content-Length", str(len(data)))]))
        conn.send(data[:1000])
        assert eventually(lambda: Snapshot(server).total("berth_reactor_in_flight_bytes") > 0)
        server.process.terminate()
        assert server.waits(lambda: server.events("stopping"))
        assert eventually(lambda: ask(server, "/readyz").status == 503)
        assert "stopping" in ask(server, "/readyz").message
        assert Snapshot(server).value("berth_unready", reason="stopping") == 1
        assert ask(server, "/healthz").status == 200
        conn.send(data[1000:])
        assert conn.read().status == 202
    server.stop()
    client.close()


# ---- ready-made rules

def metric_names(text):
    return set(re.findall(r"\b(?:berth|process)_[a-z_]+\b", text))


def test_rules_and_dashboard_name_what_there_is():
    """Metrics, their labels' values, and routes."""
    series = set()
    for name, (kind, _) in documented().items():
        series |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" \
            else {name}
    rules = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    board = json.loads((ROOT / "deploy/prometheus/dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    used = metric_names(rules) | metric_names("\n".join(queries))
    assert len(used) > 20 and used <= series, used - series
    reference = (ROOT / "docs/metrics.md").read_text()
    for limit in re.search(r'limit=~"([^"]+)"', rules)[1].split("|"):
        assert f"| `{limit}` |" in reference, limit
    for route in re.findall(r'route="([^"]+)"', "\n".join(queries)):
        assert route == MANIFESTS

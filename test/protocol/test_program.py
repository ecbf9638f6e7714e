"""The program as an operator meets it: configuration errors, start and stop, health, log, addresses."""

import json
import os
import pty
import re
import signal
import stat
import subprocess
import threading
import time

import pytest

from lib import raw, server as servers
from lib.oci import Client, challenge, digest, randbytes
from lib.server import Server, run


# ---- configuration

def one_line(done, *words):
    """Exit 2 and one line on stderr that has the words."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert str(word) in lines[0], (word, lines[0])


@pytest.mark.parametrize("setting, words", [
    ("no.such=1", ["no.such"]),
    ("limit.head=1KiB", ["limit.head", "limits.head"]),  # near
    ("limits.head=abc", ["limits.head", "abc"]),
    ("limits.head=1", ["limits.head", "1KiB", "1MiB"]),
    ("limits.head=2GiB", ["limits.head", "2GiB", "1KiB", "1MiB"]),
    ("limits.head=-1KiB", ["limits.head", "-1KiB"]),
    ("limits.head=99999999999999999999", ["limits.head"]),
    ("timeouts.head=10", ["timeouts.head", "10"]),
    ("timeouts.head=10 parsecs", ["timeouts.head", "parsecs"]),
    ("timeouts.head=0s", ["timeouts.head", "100ms", "10m"]),
    ("limits.connections=many", ["limits.connections", "many"]),
    ("limits.connections=0", ["limits.connections", "1", "1000000"]),
    ("limits.connections=1.5", ["limits.connections", "1.5"]),
    ("auth.anonymous=maybe", ["auth.anonymous", "maybe", "none", "pull", "push"]),
    ("projects.create_on_push=perhaps", ["projects.create_on_push", "perhaps", "true", "false"]),
    ("listen=nonsense", ["listen", "nonsense"]),
    ("listen=127.0.0.1:99999", ["listen", "99999"]),
    ("server.url=registry.example.com", ["server.url", "registry.example.com"]),
    ("server.url=ftp://registry", ["server.url", "ftp://registry"]),
    ("server.trusted_proxies=10.0.0.0/33", ["server.trusted_proxies", "10.0.0.0/33"]),
    ("log.level=loud", ["log.level", "loud", "debug"]),
    ("nonsense", ["nonsense", "="]),
])
def test_bad_setting(tmp_path, setting, words):
    one_line(run("serve", "--data", tmp_path / "d", "--set", setting), *words)
    assert not (tmp_path / "d").exists(), "nothing is made before the configuration is good"


def test_bad_environment(tmp_path):
    one_line(run("serve", "--data", tmp_path, env={"BERTH_LIMITS_HEAD": "abc"}),
             "BERTH_LIMITS_HEAD", "abc")


@pytest.mark.parametrize("text, words", [
    ("no:\n  such: 1\n", ["no"]),
    ("limits:\n  head: abc\n", ["limits.head", "abc", ":2"]),
    ("limits:\n  head: 1KiB\n  head: 2KiB\n", ["head", ":3"]),
    ("limits: [1\n", ["conf.yaml"]),
    ("limits:\n\thead: 1KiB\n", ["conf.yaml"]),
    ("- a\n- b\n", ["conf.yaml"]),
    ("limits: &a\n  head: 1KiB\n", ["conf.yaml"]),
    ("listen:\n  a: b\n", ["listen"]),
    ("a: " * 5000, ["conf.yaml"]),
])
def test_bad_file(tmp_path, text, words):
    path = tmp_path / "conf.yaml"
    path.write_text(text)
    for command in (("serve", "--data", tmp_path / "d", "--config", path),
                    ("config", "check", "--config", path)):
        one_line(run(*command), *words)


def test_unreadable_file(tmp_path):
    one_line(run("serve", "--config", tmp_path / "none.yaml"), "none.yaml")
    one_line(run("serve", "--config", tmp_path), str(tmp_path))


@pytest.mark.parametrize("args", [("fly",), ("serve", "--fly"), ("serve", "extra"),
                                  ("serve", "--data"), ("config", "fly"), ("serv",)])
def test_bad_command(args):
    done = run(*args)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) <= 3
    assert args[-1].lstrip("-") in done.stderr


def test_secret_values_are_not_repeated(tmp_path):
    (tmp_path / "conf.yaml").write_text("auth:\n  admin_password: [sesame]\n")
    assert "sesame" not in run("config", "check", "--config", tmp_path / "conf.yaml").stderr
    done = run("config", "show", "--set", "auth.admin_password=sesame")
    assert done.returncode == 0 and "sesame" not in done.stdout


def test_precedence(tmp_path):
    """default < file < environment < flag"""
    path = tmp_path / "conf.yaml"
    path.write_text("limits:\n  head: 8KiB\n  ranges: 7\n  page: 70\ntimeouts:\n  head: 9s\n")
    done = run("config", "show", "--config", path, "--set", "limits.page=90",
               env={"BERTH_LIMITS_RANGES": "8", "BERTH_LIMITS_PAGE": "80"})
    assert done.returncode == 0, done
    shown = done.stdout
    for key, value in (("head", "8KiB"), ("ranges", "8"), ("page", "90"), ("target", "8KiB")):
        assert re.search(rf"\b{key}\b\W+{value}\b", shown), (key, value, shown)


def test_unknown_environment_only_warns(berth):
    """A Kubernetes service named berth injects BERTH_PORT."""
    server = berth(env={"BERTH_PORT": "tcp://10.0.0.1:5000"})
    assert any("BERTH_PORT" in line for line in server.lines)


def test_check_and_help(tmp_path):
    (tmp_path / "conf.yaml").write_text("listen: [127.0.0.1:5000, 127.0.0.1:5001]\n")
    assert run("config", "check", "--config", tmp_path / "conf.yaml").returncode == 0
    for args in (("help",), ("--help",), ("help", "serve"), ("serve", "--help")):
        done = run(*args)
        assert done.returncode == 0 and "serve" in done.stdout, args
    done = run("version")
    assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout)


def test_password_file(berth, tmp_path):
    path = tmp_path / "password"
    path.write_text("from a file\n")
    server = berth({"auth.admin_password": None, "auth.admin_password_file": str(path)})
    assert Client(server, password="from a file").token_response().status == 200


# ---- first start

def test_generated_password_without_a_terminal(berth):
    server = berth({"auth.admin_password": None})
    path = server.data / "admin-password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    password = path.read_text().strip()
    assert len(password) >= 16
    assert any(str(path) in line for line in server.lines), "the log names the file"
    assert not any(password in line for line in server.lines)
    assert Client(server, password=password).token_response().status == 200
    server.restart()
    assert Client(server, password=password).token_response().status == 200


def start_on_a_terminal(server):
    """Starts it on a terminal and stops it once it is ready; what the terminal got, and its status."""
    master, slave = pty.openpty()
    process = subprocess.Popen(server.command(), stdin=slave, stdout=slave, stderr=slave,
                               env=server.environment(), start_new_session=True)
    os.close(slave)
    text, stopped = "", False
    killer = threading.Timer(40, process.kill)
    killer.start()
    try:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            text += data.decode()
            if "Ctrl-C stops it" in text and not stopped:
                process.send_signal(signal.SIGTERM)
                stopped = True
        return text, process.wait()
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        os.close(master)


def shown_password(text):
    return re.search(r"password[^\n]*:\s+(\S{16,})", text)[1]


def test_generated_password_on_a_terminal(tmp_path):
    """Shown once, with the login line to copy."""
    server = Server(tmp_path / "d", {"auth.admin_password": None})
    text, status = start_on_a_terminal(server)
    assert status == 0, text
    login = re.search(r"docker login\b.*", text)
    assert login, text
    assert re.search(r"127\.0\.0\.1:\d+|localhost:\d+", login[0])
    assert not (server.data / "admin-password").exists()
    shown = shown_password(text)
    assert f"echo {shown} | docker login" in text
    assert text.count(shown) == 2
    text, status = start_on_a_terminal(server)
    assert status == 0 and "docker login -u admin 127.0.0.1" in text, "the second start knows it not"


def test_generated_password_of_a_start_that_failed(berth):
    """It was committed, but nobody could see it: the next start on a terminal shows it."""
    server = berth({"auth.admin_password": None}, start=False)
    server.settings["admin.socket"] = "/nonexistent/a.sock"
    text, status = start_on_a_terminal(server)
    assert status == 1 and "cannot listen on /nonexistent/a.sock" in text
    path = server.data / "admin-password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    password = path.read_text()
    assert password not in text
    del server.settings["admin.socket"]
    text, status = start_on_a_terminal(server)
    assert status == 0 and shown_password(text) == password
    assert not path.exists()
    server.start()
    assert Client(server, password=password).token_response().status == 200


def test_generated_password_that_cannot_be_kept(berth):
    """No user whose password is nowhere; nor another than the one that an earlier start kept."""
    server = berth({"auth.admin_password": None}, start=False)
    server.data.mkdir(mode=0o700)
    path, obstacle = server.data / "admin-password", server.data / "admin-password.new"
    obstacle.mkdir()
    args = ("serve", "--data", server.data, "--listen", "127.0.0.1:0")
    done = run(*args)
    assert done.returncode == 1 and str(obstacle) in done.stderr
    assert not path.exists()
    obstacle.rmdir()
    path.write_text("of a start that was killed\n")
    server.start()
    assert Client(server, password="of a start that was killed").token_response().status == 200
    assert path.read_text() == "of a start that was killed"
    assert any(str(path) in line for line in server.lines)


def test_password_file_that_holds_no_password(berth):
    server = berth({"auth.admin_password": None}, start=False)
    server.data.mkdir(mode=0o700)
    path = server.data / "admin-password"
    for size, status in ((73, 1), (72, 0)):
        path.write_text("x" * size)
        text, done = start_on_a_terminal(server)
        assert done == status, text
        assert (f"{path} holds more than 72 bytes" in text) == (size > 72)
    assert shown_password(text) == "x" * 72


def test_password_file_that_is_outdated(berth):
    """Not shown, as it would not open anything, and left where it is."""
    server = berth()
    server.stop()
    path = server.data / "admin-password"
    path.write_text("not-the-password-of-admin")
    server.settings["auth.admin_password"] = None
    text, status = start_on_a_terminal(server)
    assert status == 0 and "not-the-password-of-admin" not in text
    assert path.exists()


@pytest.mark.parametrize("settings, listen", [
    ({"auth.anonymous": "push"}, "127.0.0.1:0"),
    ({}, "unix:{}/http.sock"),
])
def test_generated_password_without_a_login_line(tmp_path, settings, listen):
    """Also who needs no login to push, or has only a unix socket, sees it before its file goes."""
    server = Server(tmp_path / "d", {"auth.admin_password": None, **settings},
                    listen=(listen.format(tmp_path),))
    text, status = start_on_a_terminal(server)
    assert status == 0 and len(shown_password(text)) == 29, text
    assert not (server.data / "admin-password").exists()


def test_password_applies_to_the_first_start_only(berth):
    server = berth()
    server.stop()
    server.settings["auth.admin_password"] = "another"
    server.start()
    assert Client(server, password="another").token_response().status == 401
    assert Client(server).token_response().status == 200


def test_data_directory_is_private(berth):
    server = berth()
    for path in [server.data, *server.data.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode & 0o007 == 0, (path, oct(mode))


def test_second_server_on_the_same_data(berth):
    server = berth()
    done = run("serve", "--data", server.data, "--listen", "127.0.0.1:0")
    assert done.returncode not in (0, -9)
    assert str(server.data) in done.stderr
    assert Client(server).get("/v2/").status == 200


def test_address_in_use(berth):
    server = berth()
    done = run("serve", "--data", str(server.data) + "2", "--listen", server.name,
               "--set", "auth.admin_password=x")
    assert done.returncode not in (0, -9)
    assert server.name in done.stderr and "in use" in done.stderr.lower()


def test_several_listeners(berth):
    server = berth(listen=("127.0.0.1:0", "127.0.0.1:0"))
    assert len(set(server.addresses)) == 2
    for address in server.addresses:
        host, port = address.rsplit(":", 1)
        response = raw.exchange((host, int(port)), raw.request("GET", "/healthz"))
        assert response.status == 200


def test_many_restarts(berth):
    server = berth()
    Client(server).push_image("r/a", "t")
    for i in range(4):
        server.restart(hard=i % 2 == 0)
    assert Client(server).manifest("r/a", "t").status == 200


# ---- stop

def test_sigterm_finishes_transfers(berth):
    """No new connections; a running upload and download go to their end; then exit 0."""
    server = berth({"auth.anonymous": "push"})
    client = Client(server, mode="none")
    data = randbytes(6_000_000, "drain")
    blob = client.push("d/a", data)
    location = client.start("d/a")
    up, down, idle = (raw.Conn(server.address) for _ in range(3))
    down.close()
    down = raw.Conn(server.address, receive_buffer=4096)
    down.send(raw.request("GET", f"/v2/d/a/blobs/{blob}"))
    other = randbytes(100_000, "drain upload")
    up.send(raw.request("PUT", f"{location}?digest={digest(other)}",
                        [("Content-Length", str(len(other)))]) + other[:50_000])
    first = down.read_head()
    assert first.status == 200
    idle.send(raw.request("GET", "/healthz"))
    assert idle.read().status == 200
    server.process.send_signal(signal.SIGTERM)
    assert idle.closed(), "an idle connection is closed at once"
    with pytest.raises(OSError):
        for _ in range(100):
            raw.Conn(server.address).close()
            time.sleep(0.05)
    up.send(other[50_000:])
    assert up.read().status == 201
    assert down._exactly(len(data)) == data
    up.close()
    down.close()
    server.stop()
    server.start()
    assert client.blob("d/a", digest(other)).body == other


def test_sigterm_grace_ends(berth):
    server = berth({"auth.anonymous": "push", "shutdown.grace": "300ms"})
    client = Client(server, mode="none")
    with raw.Conn(server.address) as conn:
        conn.send(raw.request("PATCH", client.start("d/a"), [("Content-Length", "1000")]) + b"x")
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 20


def test_sigint_too(berth):
    server = berth()
    server.process.send_signal(signal.SIGINT)
    server.stop()


# ---- health

def test_health(server):
    client = Client(server, mode="none")
    for target in ("/healthz", "/readyz"):
        response = client.once("GET", target)
        assert response.status == 200
        assert client.once("HEAD", target).status == 200
    assert client.once("GET", "/healthz?x=y").status == 200


# ---- log

def test_access_log(server, admin, nobody):
    body, name = admin.push_image("team/logged", "t")
    response = admin.manifest("team/logged", "t")
    line = server.access(response.header("x-request-id"))
    assert line["event"] == "request"
    assert line["principal"] == "admin"
    assert line["repository"] == "team/logged"
    assert line["status"] == "200" and line["method"] == "GET"
    assert line["path"] == "/v2/team/logged/manifests/t"
    assert line["client"] == "127.0.0.1"
    assert int(line["out_bytes"]) == len(body) and int(line["in_bytes"]) == 0
    assert 0 < int(line["us"]) < 60_000_000
    response = nobody.once("GET", "/v2/team/logged/manifests/t")
    line = server.access(response.header("x-request-id"))
    assert line["status"] == "401" and line.get("principal", "") in ("", "anonymous")
    data = randbytes(12345, "log")
    response = admin.push_raw("team/logged", data, "post")
    assert int(server.access(response.header("x-request-id"))["in_bytes"]) == 12345
    admin.push("library/alias", b"x")
    response = admin.tags("alias")
    assert server.access(response.header("x-request-id"))["repository"] == "library/alias"


def test_a_missing_head_is_no_error(server, admin):
    """Clients ask before every push: that is not worth a warning."""
    response = admin.head("/v2/team/logged/blobs/" + digest(b"never"))
    assert response.status == 404
    assert server.access(response.header("x-request-id"))["level"] == "info"


def test_log_lines_cannot_be_forged(server, nobody):
    response = nobody.once("GET", "/v2/a%0Aevent=forged/tags/list?x=%22%20event=forged",
                           headers=[("User-Agent", 'x" event=forged \x1b[31m \x80')])
    line = server.access(response.header("x-request-id"))
    assert line["event"] == "request"
    assert not [f for f in server.events() if f.get("event") == "forged"]
    assert not any("\x1b" in raw_line for raw_line in server.lines)


def test_json_log(berth):
    server = berth({"log.format": "json"}, start=False)
    server.process = None
    process = subprocess.Popen(server.command(), stderr=subprocess.PIPE, env=server.environment())
    try:
        for raw_line in process.stderr:
            line = json.loads(raw_line)
            assert {"time", "level", "event"} <= set(line)
            if line["event"] == "ready":
                host, port = line["address"].rsplit(":", 1)
                break
        response = raw.exchange((host, int(port)), raw.request("GET", "/v2/?a=%22b"))
        line = json.loads(process.stderr.readline())
        assert line["request"] == response.header("x-request-id") and line["status"] == 401
    finally:
        process.terminate()
        process.stderr.read()
        assert process.wait(20) == 0
        process.stderr.close()


def test_quiet_log(berth):
    server = berth({"log.access": "false"})
    response = Client(server).get("/v2/")
    server.stop()
    assert response.status == 200
    assert not any(response.header("x-request-id") in line for line in server.lines)


# ---- addresses in challenges

def realm(server, headers=(), host=None, target="/v2/"):
    response = raw.exchange(server.address, raw.request("GET", target, headers,
                                                        host=host or server.name))
    return response, challenge(response)["realm"] if response.status == 401 else None


def test_server_url(berth):
    server = berth({"server.url": "https://registry.example.com"})
    for host in (server.name, "evil.example", "localhost"):
        assert realm(server, host=host)[1] == "https://registry.example.com/service/token"


def test_host_decides_only_on_loopback(berth):
    server = berth({"server.hosts": "reg.example.com,other.example.com:8443"})
    port = server.address[1]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}",
                 f"reg.example.com:{port}", "reg.example.com", "other.example.com:8443"):
        assert realm(server, host=host)[1] == f"http://{host}/service/token", host
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example",
                 "127.0.0.1.evil.example", "other.example.com:1", "xreg.example.com"):
        response, found = realm(server, host=host)
        assert "evil" not in (found or "") and "xreg" not in (found or "")
        assert found in (None, f"http://{server.name}/service/token"), found


def test_proxy_headers_need_trust(berth):
    forwarded = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "reg.example.com"),
                 ("X-Forwarded-For", "203.0.113.9, 127.0.0.1")]
    plain = berth({"server.hosts": "reg.example.com"})
    response, found = realm(plain, forwarded)
    assert found == f"http://{plain.name}/service/token"
    assert plain.access(response.header("x-request-id"))["client"] == "127.0.0.1"
    behind = berth({"server.hosts": "reg.example.com", "server.trusted_proxies": "127.0.0.0/8"})
    response, found = realm(behind, forwarded)
    assert found == "https://reg.example.com/service/token"
    assert behind.access(response.header("x-request-id"))["client"] == "203.0.113.9"
    response, found = realm(behind, [("Forwarded",
                                      'for="[2001:db8::1]";proto=https;host=reg.example.com')])
    assert found == "https://reg.example.com/service/token"
    assert behind.access(response.header("x-request-id"))["client"] == "2001:db8::1"
    # the first address that is not a trusted proxy counts, whatever stands further left
    response, _ = realm(behind, [("X-Forwarded-For", "1.2.3.4, 198.51.100.7, 127.0.0.9")])
    assert behind.access(response.header("x-request-id"))["client"] == "198.51.100.7"
    for junk in ("nonsense", "1.2.3.4\t,,", "a" * 5000, '";=,'):
        for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"):
            response, _ = realm(behind, [(name, junk)])
            assert response.status in (400, 401, 421)


def test_locations_are_paths(berth):
    """Behind any proxy: no scheme, no host, in Location and Link."""
    server = berth({"server.url": "https://registry.example.com", "auth.anonymous": "push"})
    client = Client(server, mode="none")
    assert client.start("l/a").startswith("/v2/l/a/blobs/uploads/")
    body, name = client.push_image("l/a", "t1")
    client.put_manifest("l/a", "t2", body)
    assert client.tags("l/a", "?n=1").header("link").startswith("</v2/l/a/tags/list?")
    assert client.put_manifest("l/a", "t2", body).header("location") == f"/v2/l/a/manifests/{name}"


# ---- memory

@pytest.mark.slow
def test_four_large_pushes_in_little_memory(berth):
    """Bodies are never gathered: four uploads of 256 MB at once."""
    import hashlib
    import threading
    server = berth({"auth.anonymous": "push"})
    block = randbytes(1 << 20, "block")
    count = 256 if not servers.sanitized() else 64
    hashed = hashlib.sha256()
    for _ in range(count):
        hashed.update(block)
    name = "sha256:" + hashed.hexdigest()
    before = server.memory()
    statuses = []

    def push(i):
        client = Client(server, mode="none")
        location = client.start(f"big/a{i}")
        response = client.request("PATCH", location, (block for _ in range(count)), timeout=80)
        statuses.append(client.put(response.header("location"), name).status)
        client.close()

    threads = [threading.Thread(target=push, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 4
    grown = server.memory("VmHWM") - (before if servers.sanitized() else 0)
    assert grown <= 48 << 20, f"{grown >> 20} MiB"

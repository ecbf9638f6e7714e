"""Started as root it becomes another user for good; secrets do not leave the process. And what it
tells a service manager."""

import os
import pwd
import re
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from lib import probe, raw
from lib.oci import Client, digest, randbytes
from lib.raw import Conn
from lib.server import run

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")
NOBODY = pwd.getpwnam("nobody")
HEALTH = raw.request("GET", "/healthz", [("Connection", "close")])


@pytest.fixture
def shared():
    """A directory that other users can reach, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="berth", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def as_nobody(berth, shared, probes=("root",), settings=None, **more):
    data = more.pop("data", shared / "data")
    return berth({"user": "nobody", **(settings or {})}, data=data,
                 env=probe.environment(shared, probes), **more)


def status(server):
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@needs_root
def test_becomes_the_user(berth, shared):
    path = shared / "http.sock"
    # 22 is below the first port that others may bind.
    server = as_nobody(berth, shared, listen=("127.0.0.71:22", f"unix:{path}?mode=0600"))
    now = status(server)
    assert now["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert now["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    assert set(now["Groups"].split()) == {str(NOBODY.pw_gid)}
    assert int(now["CapEff"], 16) == 0 and int(now["CapPrm"], 16) == 0
    assert now["NoNewPrivs"] == "1"
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        assert re.search(rf"^Uid:\s+{NOBODY.pw_uid}\s", (task / "status").read_text(), re.M)
    assert probe.results(server, ["root"]) == {"root": "EPERM"}
    assert raw.exchange(("127.0.0.71", 22), HEALTH).status == 200
    assert path.stat().st_uid == NOBODY.pw_uid
    for file in [server.data, *server.data.rglob("*")]:
        assert file.stat().st_uid == NOBODY.pw_uid, file


@needs_root
def test_serves_and_starts_again_as_the_user(berth, shared):
    server = as_nobody(berth, shared)
    client = Client(server)
    data = randbytes(100_000, 3)
    client.push("library/app", data)
    client.close()
    server.restart()
    client = Client(server)
    assert client.blob("library/app", digest(data)).body == data
    client.close()
    assert run("gc", "--data", server.data).returncode == 0  # root may administrate


@needs_root
@pytest.mark.parametrize("who", ["nobody:nogroup", f"{NOBODY.pw_uid}:{NOBODY.pw_gid}",
                                 f"{NOBODY.pw_uid}", "12345:12346"])
def test_ways_to_name_the_user(berth, shared, who):
    server = as_nobody(berth, shared, settings={"user": who})
    uid, gid = (12345, 12346) if who.startswith("12345") else (NOBODY.pw_uid, NOBODY.pw_gid)
    now = status(server)
    assert now["Uid"].split()[1] == str(uid) and now["Gid"].split()[1] == str(gid)
    assert now["Groups"].split() == [str(gid)]


@needs_root
@pytest.mark.parametrize("who, word", [
    ("no-such-user", "no user no-such-user"),
    ("nobody:no-such-group", "no group no-such-group"),
    ("12345", "needs a group"),
])
def test_users_there_are_not(tmp_path, who, word):
    done = run("serve", "--data", tmp_path / "d", "--listen", "127.0.0.1:0", "--set", f"user={who}")
    assert done.returncode == 1 and word in done.stderr
    assert not (tmp_path / "d").exists()


@needs_root
def test_data_of_root_is_refused_with_the_command_that_helps(berth, shared):
    data = shared / "data"
    server = berth(data=data)
    server.stop()
    done = run("serve", "--data", data, "--listen", "127.0.0.1:0", "--set", "user=nobody")
    assert done.returncode == 1
    assert f"chown -R nobody:nogroup {data}" in done.stderr
    os.chown(data, NOBODY.pw_uid, NOBODY.pw_gid)
    done = run("serve", "--data", data, "--listen", "127.0.0.1:0", "--set", "user=nobody")
    assert done.returncode == 1 and f"may not write to {data}/" in done.stderr
    for path in data.rglob("*"):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    as_nobody(berth, shared, data=data)


@needs_root
def test_key_that_only_root_reads_is_read_once(berth, shared):
    """What cannot be read again is said at the start."""
    maker = berth({"tls.self_signed": "true"}, data=shared / "maker")
    keys = shared / "keys"
    shutil.copytree(maker.data / "tls", keys)
    keys.chmod(0o755)
    (keys / "cert.pem").chmod(0o644)
    (keys / "key.pem").chmod(0o600)
    server = as_nobody(berth, shared, settings={"tls.cert": f"{keys}/cert.pem",
                                                "tls.key": f"{keys}/key.pem"})
    warned, = server.events("file_not_readable_again")
    assert warned["option"] == "tls.key" and warned["user"] == "nobody"
    assert server.events("ready")[0]["scheme"] == "https"
    os.kill(server.process.pid, signal.SIGHUP)
    assert server.waits(lambda: server.events("tls_reload_failed"))


@needs_root
def test_configuration_that_only_root_reads(berth, shared):
    """A reload could not read it again, nor a secret's file: said at the start too."""
    config, secret = shared / "berth.yaml", shared / "password"
    secret.write_text("from a file\n")
    config.write_text(f"auth:\n  admin_password_file: {secret}\n")
    for path in (config, secret):
        path.chmod(0o600)
    server = as_nobody(berth, shared, settings={"auth.admin_password": None},
                       args=("--config", str(config)))
    warned = server.events("file_not_readable_again")
    assert [(w["option"], w["file"]) for w in warned] == [
        ("--config", str(config)), ("auth.admin_password_file", str(secret))]
    assert {(w["user"], w["effect"]) for w in warned} == {("nobody", "every reload fails")}
    os.kill(server.process.pid, signal.SIGHUP)
    assert server.waits(lambda: server.events("reload_failed"))
    for path in (config, secret):
        path.chmod(0o644)
    server.restart()
    assert len(server.events("file_not_readable_again")) == 2, "none more"
    os.kill(server.process.pid, signal.SIGHUP)
    assert server.waits(lambda: server.events("reloaded"))


@needs_root
def test_key_is_read_once_it_may_be(berth, shared):
    """certbot's hook gives the rights to a new key after it is in place."""
    keys = shared / "keys"
    for n in "12":
        maker = berth({"tls.self_signed": "true"}, data=shared / f"maker{n}")
        shutil.copytree(maker.data / "tls", keys, dirs_exist_ok=True)
        for name in ("cert", "key"):
            os.rename(keys / f"{name}.pem", keys / f"{name}{n}.pem")
            (keys / f"{name}{n}.pem").chmod(0o644)
    keys.chmod(0o755)
    (keys / "key2.pem").chmod(0o600)

    def lead_to(n):
        for name in ("cert", "key"):
            (keys / "new").symlink_to(f"{name}{n}.pem")
            os.rename(keys / "new", keys / f"{name}.pem")

    lead_to(1)
    server = as_nobody(berth, shared, settings={"tls.cert": f"{keys}/cert.pem",
                                                "tls.key": f"{keys}/key.pem"})
    lead_to(2)
    assert server.waits(lambda: server.events("tls_reload_failed"), 20)
    (keys / "key2.pem").chmod(0o644)
    assert server.waits(lambda: server.events("tls_reloaded"), 20)


def test_another_user_needs_root(tmp_path):
    if ROOT:
        pytest.skip("this is root")
    done = run("serve", "--data", tmp_path / "d", "--set", "user=root")
    assert done.returncode == 1 and "only root can become another user" in done.stderr


def test_core_dumps_are_off(berth, tmp_path):
    env = probe.environment(tmp_path, ["core"])
    server = berth({"core_dumps": None}, env=env)
    assert probe.results(server, ["core"]) == {"core": "EPERM"}
    # A process that may not be dumped shows its environment to root only.
    assert os.stat(f"/proc/{server.process.pid}/environ").st_uid == 0
    server = berth({"core_dumps": "true"}, env=env)
    assert probe.results(server, ["core"]) == {"core": "ok"}


# ---- the service manager

class Manager:
    """Listens as systemd does."""

    def __init__(self, address):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.settimeout(20)

    def next(self, without=b"WATCHDOG=1"):
        """The next message that is no sign of life, as a dict."""
        while True:
            data = self.sock.recv(4096)
            if data != without:
                return dict(line.split("=", 1) for line in data.decode().split("\n"))


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(berth, shared, abstract):
    name = str(shared / "notify")
    manager = Manager("\0" + name if abstract else name)
    server = berth(env={"NOTIFY_SOCKET": "@" + name if abstract else name})
    ready = manager.next()
    assert ready["READY"] == "1" and server.addresses[0] in ready["STATUS"]
    os.kill(server.process.pid, signal.SIGHUP)
    reloading = manager.next()
    assert reloading["RELOADING"] == "1" and int(reloading["MONOTONIC_USEC"]) > 0
    assert manager.next()["READY"] == "1"
    server.stop()
    stopping = manager.next()
    assert stopping["STOPPING"] == "1" and stopping["STATUS"]
    manager.sock.close()


def test_watchdog(berth, shared):
    """Signs of life come while the server lives, and only when they are wanted."""
    manager = Manager(str(shared / "notify"))
    server = berth(env={"NOTIFY_SOCKET": str(shared / "notify"), "WATCHDOG_USEC": "300000"})
    assert manager.next()["READY"] == "1"
    for _ in range(4):
        assert manager.sock.recv(4096) == b"WATCHDOG=1"
    server.stop()
    manager.sock.close()


def test_watchdog_of_another_process(berth, shared):
    manager = Manager(str(shared / "notify"))
    server = berth(env={"NOTIFY_SOCKET": str(shared / "notify"), "WATCHDOG_USEC": "1000",
                        "WATCHDOG_PID": "1"})
    assert manager.next(without=None)["READY"] == "1"
    with Conn(server.address) as conn:
        conn.send(HEALTH)
        assert conn.read().status == 200
    server.stop()
    assert manager.next(without=None)["STOPPING"] == "1"
    manager.sock.close()


def test_manager_that_is_not_there(berth, shared):
    server = berth(env={"NOTIFY_SOCKET": str(shared / "nobody-here")})
    assert server.events("service_manager_not_reached")
    assert raw.exchange(server.address, HEALTH).status == 200

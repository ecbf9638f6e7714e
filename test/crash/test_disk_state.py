"""A store that fails for longer, or changes under the running server: full, broken or read-only disk,
lost permissions, files and directories that are moved or gone, a locked or damaged database, no file
descriptors. Nothing acknowledged is lost, what can be read is, the answer, the log and /readyz say
what is wrong, and when it is over things go on without a restart."""

import errno
import os
import resource
import shutil
import sqlite3
import subprocess

import pytest

from lib import faults
from lib.fsck import assert_sound
from lib.metrics import Snapshot
from lib.oci import CONFIG, IMAGE, LAYER, Client, descriptor, digest, dump, randbytes
from lib.server import BINARY, Server, run

SETTINGS = {"auth.anonymous": "push", "scrub.rate": "0B", "storage.reserve": "0B"}


def image(client, repo, seed):
    """Pushes the blobs of an image; its manifest."""
    config, layer = b'{"seed":"%s"}' % seed.encode(), randbytes(40_000, seed)
    for data in (config, layer):
        client.push(repo, data)
    return dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                 "layers": [descriptor(layer, LAYER)]})


class Registry:
    """A server with an image in it, and what can be asked of it."""

    def __init__(self, server):
        self.server = server
        self.client = Client(server, mode="none")
        self.layer = randbytes(40_000, "first")
        self.body = image(self.client, "d/app", "first")
        self.second = image(self.client, "d/app", "second")
        assert self.client.put_manifest("d/app", "one", self.body).status == 201
        self.n = 0

    def refuses(self, *statuses):
        """Pushes are refused for a reason that is told; the tag stays where it was."""
        self.n += 1
        for response in (self.client.push_raw("d/app", randbytes(50_000, f"refused{self.n}"), "post"),
                         self.client.put_manifest("d/app", "one", self.second)):
            assert response.status in statuses, response
            assert len(response.message) > 10, response
            assert str(self.server.data) not in response.message and "sql" not in response.message
            request = response.header("x-request-id")
            assert self.server.waits(lambda r=request: any(
                f.get("request") == r for f in self.server.events("request_failed"))), response

    def reads(self):
        for reference in ("one", digest(self.body)):
            assert self.client.manifest("d/app", reference).body == self.body
        assert self.client.blob("d/app", digest(self.layer)).body == self.layer
        assert self.client.tags("d/app").json()["tags"] == ["one"]
        assert self.client.get("/healthz").status == 200

    def unready(self, *words):
        response = self.client.get("/readyz")
        assert response.status == 503 and response.header("retry-after"), response
        for word in words:
            assert word in response.message, response

    def recovers(self):
        """By itself: nobody pushes, /readyz is asked until it says so. Then pushes succeed."""
        while self.client.get("/readyz").status != 200:
            pass
        assert self.client.put_manifest("d/app", "two", self.second).status == 201
        self.client.push("d/app", randbytes(50_000, "after"))
        self.keeps()
        assert self.client.request("DELETE", "/v2/d/app/manifests/two").status == 202
        self.reads()

    def keeps(self):
        self.client.close()
        self.server.restart(hard=True)
        assert self.client.manifest("d/app", "one").body == self.body
        assert self.client.manifest("d/app", "two").body == self.second
        assert self.client.blob("d/app", digest(self.layer)).body == self.layer


def test_the_database_file_alone_fails(berth, control):
    """The log beside it does not: what is pushed is durable there, but cannot leave it."""
    registry = Registry(berth({**SETTINGS, "metrics.listen": "127.0.0.1:0"},
                              env=control.environment()))
    server, client = registry.server, registry.client

    def checkpoint():
        return client.get("/readyz").json()["checkpoint"]

    def events(name):
        return [f["level"] for f in server.events(name)]

    assert checkpoint() == "ok"
    control.arm(faults.WRITE, error=errno.EIO, pattern="berth.db$", always=True)
    assert client.put_manifest("d/app", "two", registry.second).status == 201
    assert server.waits(lambda: events("checkpoint_fails") == ["warn"])
    assert client.put_manifest("d/app", "three", registry.second).status == 201
    assert checkpoint() == "fails" and Snapshot(server).value("berth_db_checkpoint_failures_total")
    assert server.events("checkpoint_fails")[0]["error"] == "IO"
    client.close()
    server.stop()
    assert events("checkpoint_left") == ["warn"] and events("checkpoint_fails") == ["warn"]

    server.start()  # told without a push
    assert server.waits(lambda: client.get("/readyz").status == 503)
    registry.refuses(500)
    assert client.manifest("d/app", "three").body == registry.second
    assert control.disarm()[0]
    assert server.waits(lambda: client.get("/readyz").status == 200 and checkpoint() == "ok")
    registry.keeps()
    server.stop()
    assert_sound(server.data)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_every_change_fails(berth, control, error):
    """Until the disk is well again. EROFS is how a kernel treats a file system it no longer trusts."""
    registry = Registry(berth(SETTINGS, env=control.environment()))
    changes = faults.WRITE | faults.NAME | faults.OPEN | (0 if error == errno.ENOSPC else faults.SYNC)
    control.arm(changes, error=error, always=True)
    registry.refuses(507 if error == errno.ENOSPC else 500)
    registry.reads()
    registry.unready("cannot be written")
    hits, _, _ = control.disarm()
    assert hits >= 2
    registry.recovers()
    registry.server.stop()
    assert_sound(registry.server.data)


def test_reads_fail(berth, control):
    """The database cannot be read: an error, not an empty registry."""
    server = berth({**SETTINGS, "threads.workers": "2"}, env=control.environment())
    registry = Registry(server)
    for i in range(30):
        image(registry.client, f"d/app{i}", f"more{i}")
    registry.client.close()
    server.restart()
    control.arm(faults.READ, error=errno.EIO, pattern="berth.db", always=True)
    for target in ("/v2/d/app/manifests/one", "/v2/_catalog", "/v2/d/app/tags/list"):
        response = registry.client.get(target)
        assert response.status == 500, response
    assert control.disarm()[0] > 0
    registry.reads()


def complaints(done):
    """What a start that was refused says; the rest is the log."""
    return [line for line in done.stderr.splitlines() if line.startswith("berth: ")]


# -- another user, without root's rights

@pytest.fixture
def as_nobody(tmp_path):
    """A server that runs as nobody, on a directory of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run the server as somebody else")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o711)
    binary = tmp_path / "berth"
    shutil.copy(BINARY, binary)
    binary.chmod(0o755)

    class Nobody(Server):
        def command(self):
            # Without capabilities, as root's would open everything.
            return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set",
                    "-all", "--inh-caps=-all", str(binary), *super().command()[1:]]

    server = Nobody(home / "data", SETTINGS)
    yield server
    server.kill()
    server.check()


def test_permissions_are_lost(as_nobody):
    registry = Registry(as_nobody.start())
    data = as_nobody.data
    for folder in (data / "uploads", data):
        folder.chmod(0)
        response = registry.client.push_raw("d/app", randbytes(50_000, "refused"), "post")
        assert response.status == 500 and "may not access" in response.message, response
        assert registry.client.manifest("d/app", "one").body == registry.body
        registry.unready("may not access")
        folder.chmod(0o700)
    registry.recovers()
    registry.client.close()
    as_nobody.stop()
    (data / "blobs").chmod(0)
    done = subprocess.run(as_nobody.command(), capture_output=True, text=True, timeout=20,
                          env=as_nobody.environment())
    (data / "blobs").chmod(0o700)
    assert done.returncode == 1 and '"blobs": Permission denied' in done.stderr, done
    assert len(complaints(done)) == 1, done.stderr


def test_read_only_file_system(berth, tmp_path):
    """At start, for real; while it runs, see above: the kernel does that only to broken disks."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("cannot mount a file system here")
    try:
        registry = Registry(berth(SETTINGS, data=disk / "data"))
        registry.client.close()
        registry.server.stop()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = run("serve", "--data", disk / "data", "--listen", "127.0.0.1:0")
        assert done.returncode == 1 and "Read-only file system" in done.stderr, done
        assert len(complaints(done)) == 1, done.stderr
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        registry.server.start()
        registry.recovers()
        registry.server.stop()
    finally:
        subprocess.run(["umount", "-l", disk])


# -- files and directories that are somewhere else

def test_data_directory_moves(berth):
    registry = Registry(berth(SETTINGS))
    data, away = registry.server.data, registry.server.data.with_name("away")
    data.rename(away)
    registry.refuses(500)
    registry.unready("removed or replaced")
    registry.reads()
    data.mkdir()  # replaced
    registry.refuses(500)
    assert list(data.iterdir()) == []
    data.rmdir()
    away.rename(data)
    registry.recovers()
    registry.server.stop()
    assert_sound(data)


def test_data_directory_is_removed(berth):
    registry = Registry(berth(SETTINGS))
    shutil.rmtree(registry.server.data)
    registry.refuses(500)
    registry.unready("removed or replaced")
    assert registry.client.get("/healthz").status == 200
    registry.client.close()
    registry.server.kill()


@pytest.mark.parametrize("name", ["berth.db", "berth.db-wal", "berth.db-shm"])
def test_database_file_is_removed(berth, name):
    """A transaction in a file without a name would be acknowledged and gone at the next start."""
    registry = Registry(berth(SETTINGS))
    copy = registry.server.data / "copy"
    path = registry.server.data / name
    os.link(path, copy)
    path.unlink()
    registry.refuses(500)
    registry.unready("database")  # what was opened before is still read, but no more is opened
    copy.rename(path)
    registry.recovers()
    registry.server.stop()
    assert_sound(registry.server.data)


@pytest.mark.parametrize("name", ["blobs", "uploads"])
def test_directory_of_the_store_is_replaced(berth, name):
    registry = Registry(berth(SETTINGS))
    path = registry.server.data / name
    path.rename(path.with_name("away"))
    path.mkdir()
    response = registry.client.push_raw("d/app", randbytes(50_000, "lost"),
                                        "post" if name == "blobs" else "patch")
    assert response.status == 500, response
    registry.unready("removed or replaced")
    path.rmdir()
    path.with_name("away").rename(path)
    registry.recovers()
    registry.server.stop()
    assert_sound(registry.server.data)


# -- the database

def test_database_is_locked(berth):
    """By another program. Reads do not wait for it."""
    registry = Registry(berth({**SETTINGS, "threads.workers": "2"}))
    stranger = sqlite3.connect(registry.server.data / "berth.db", isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    registry.refuses(503)
    registry.reads()
    registry.unready("cannot be written")
    stranger.execute("ROLLBACK")
    stranger.close()
    registry.recovers()


def overwrite(path, keep):
    """Rots all but the first `keep` pages."""
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        for at in range(keep * 4096, size, 4096):
            file.seek(at)
            file.write(b"\xa5" * 4096)


def test_database_is_damaged(berth):
    registry = Registry(berth({**SETTINGS, "threads.workers": "2"}))
    server, client = registry.server, registry.client
    for i in range(20):  # more pages than stay in memory
        image(client, f"d/{'x' * 60}{i}", f"more{i}")
    assert client.get("/readyz").status == 200
    client.close()
    server.stop()
    whole = (server.data / "berth.db").read_bytes()
    server.start()
    overwrite(server.data / "berth.db", 12)
    while client.get("/v2/_catalog").status == 200:
        pass  # pages that were read before the damage
    response = client.get("/v2/_catalog")
    assert response.status == 500 and "damaged" in response.message, response
    registry.unready("damaged", "berth fsck", "berth restore")
    assert server.waits(lambda: "malformed" in str(server.events("request_failed")))
    # Nothing is written to it any more, wherever that would have gone.
    response = client.push_raw("d/new", b"new", "post")
    assert response.status == 500 and "damaged" in response.message, response
    assert client.get("/healthz").status == 200
    client.close()
    server.kill()
    (server.data / "berth.db").write_bytes(whole)
    for name in ("berth.db-wal", "berth.db-shm"):
        (server.data / name).unlink(missing_ok=True)
    server.start()
    registry.reads()


def drop_table(path):
    db = sqlite3.connect(path)
    db.execute("DROP TABLE tag")
    db.close()


@pytest.mark.parametrize("damage, words", [
    (lambda path: overwrite(path, 0), "file is not a database"),
    (lambda path: os.truncate(path, 5000), "malformed"),
    (drop_table, "no such table"),
], ids=["header", "truncated", "table"])
def test_damaged_at_start(berth, damage, words):
    server = berth(SETTINGS)
    Client(server, mode="none").push("d/app", b"data")
    server.stop()
    damage(server.data / "berth.db")
    before = (server.data / "berth.db").read_bytes()
    done = run("serve", "--data", server.data, "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and len(complaints(done)) == 1, done
    for word in (str(server.data / "berth.db"), words, "berth fsck", "berth restore"):
        assert word in done.stderr, done.stderr
    assert (server.data / "berth.db").read_bytes() == before


# -- other limits

def test_no_file_descriptors(berth):
    """Requests on connections that are there are answered, and all is well when there are some."""
    registry = Registry(berth({**SETTINGS, "threads.workers": "2"}))
    pid = registry.server.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(n) for n in os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 1, limits[1]))
    free = used + 1 - len(os.listdir(f"/proc/{pid}/fd"))
    fill = [registry.client.start("d/app") for _ in range(free + 4)]
    refused = [r for r in (registry.client.patch(u, b"some") for u in fill) if r.status != 202]
    assert refused
    for response in refused:
        assert response.status == 503 and response.header("retry-after"), response
        assert "file descriptors" in response.message, response
    assert registry.client.get("/healthz").status == 200
    assert registry.client.get("/readyz").status == 200, "the store is well"
    assert registry.client.tags("d/app").status == 200
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    registry.recovers()

"""A disk that is full or broken, at every single call: each write, sync and change of a name that a
request makes fails once, with EIO and with ENOSPC, and the request after it must find everything in
order. What was acknowledged stays, also after kill -9; what was not is there as a whole or not at all;
the answer and the log say what happened; nothing needs a restart.

For each step the first call is made to fail, then the second, and so on until the step makes no more:
no list of calls has to be kept, and none is forgotten."""

import errno
import os
import shutil
import socket

import pytest

from lib import faults
from lib.fsck import assert_sound
from lib.h2 import H2
from lib.ledger import Ledger, holds
from lib.metrics import Snapshot
from lib.oci import CONFIG, IMAGE, LAYER, Client, descriptor, digest, dump, randbytes
from lib.server import PASSWORD, run

SETTINGS = {"auth.anonymous": "push", "threads.reactors": "1", "threads.workers": "2",
            "gc.interval": "24h", "scrub.rate": "0B", "storage.reserve": "0B"}
CALLS_MAX = 60  # a step has far fewer; more would mean that it never ends

pytestmark = pytest.mark.slow


class Refused(Exception):
    """An answer that tells of the failure."""

    def __init__(self, response):
        super().__init__(repr(response))
        self.response = response


class Actor:
    """Makes requests and notes what was acknowledged. Any refusal must be a good one."""

    def __init__(self, server, secret):
        self.server, self.secret = server, secret
        self.client = Client(server, mode="none")
        self.ledger = Ledger()
        self.broken = False  # a fault is armed: refusals are fine
        self.refusals = []

    def ask(self, changes, status, act):
        self.ledger.begin(changes)
        response = act()
        if response.status == status:
            self.ledger.done()
            return response
        assert self.broken, response
        self.check_refusal(response)
        raise Refused(response)

    def check_refusal(self, response):
        assert response.status in (500, 503, 507), response
        assert response.header("content-type").startswith("application/json"), response
        for code, message in response.errors():
            assert code and len(message) > 10, response
            for leak in (*self.secret, "berth.db", "sqlite", "SQL", "errno", "uploads/"):
                assert leak.lower() not in message.lower(), response
        if response.status == 503:
            assert response.header("retry-after"), response
        self.refusals.append(response.header("x-request-id"))

    def settle(self):
        """What was not acknowledged has happened or not, but not by half."""
        for key, value in self.ledger.pending.items():
            before = self.ledger.facts.get(key)
            if holds(self.client, key, value):
                self.ledger.facts[key] = value
            else:
                assert holds(self.client, key, before), key
        self.ledger.pending = {}

    # -- what the steps are made of

    def blob(self, repo, data, flavour="post"):
        name = digest(data)
        parts = 3
        key = {("blob", repo, name): data}
        if flavour == "post":
            self.ask(key, 201, lambda: self.client.push_raw(repo, data, "post"))
            return name
        location = self.start(repo)
        if flavour == "stream":
            self.ask({}, 202, lambda: self.client.patch(location, data, stream=True))
            rest = b""
        else:
            size = -(-len(data) // parts)
            for at in range(0, len(data) - size, size):
                self.ask({}, 202, lambda at=at: self.client.patch(location, data[at:at + size], at))
            rest = data[at + size:]
        self.ask(key, 201, lambda: self.client.put(location, name, rest))
        return name

    def start(self, repo):
        return self.ask({}, 202, lambda: self.client.request(
            "POST", f"/v2/{repo}/blobs/uploads/")).header("location")

    def manifest(self, repo, tag, body):
        self.ask({("manifest", repo, digest(body)): body, ("manifest", repo, tag): body}, 201,
                 lambda: self.client.put_manifest(repo, tag, body))

    def gone(self, kind, repo, *names):
        """Deletes the first name; the others go with it."""
        self.ledger.begin({(kind, repo, name): None for name in names})
        response = self.client.request("DELETE", f"/v2/{repo}/{kind}s/{names[0]}")
        if response.status not in (202, 404):
            assert self.broken, response
            self.check_refusal(response)
            raise Refused(response)
        self.ledger.done()

    def forget(self, repo):
        """The repository's blobs may be collected from now on."""
        for key in [k for k in self.ledger.facts if k[0] == "blob" and k[1] == repo]:
            del self.ledger.facts[key]

    def image(self, repo, seed):
        config, layer = b'{"seed":"%s"}' % str(seed).encode(), randbytes(3000, seed)
        self.blob(repo, config)
        self.blob(repo, layer)
        return dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                     "layers": [descriptor(layer, LAYER)]})


# -- the steps: prepare(actor, seed) returns what is then done with a fault armed

def push_blob(actor, seed):
    data = randbytes(40_000, seed)
    return lambda: actor.blob("f/blob", data)


def push_stream(actor, seed):
    data = randbytes(40_000, seed)
    return lambda: actor.blob("f/stream", data, "stream")


def push_chunks(actor, seed):
    data = randbytes(40_000, seed)
    return lambda: actor.blob("f/chunks", data, "chunks")


def push_known(actor, seed):
    """Content that is stored already, in a new repository."""
    data = randbytes(1000, seed)
    actor.blob("f/known", data)
    return lambda: actor.blob(f"f/known{seed}", data)


def push_manifest(actor, seed):
    body = actor.image("f/image", seed)
    return lambda: actor.manifest("f/image", f"t{seed}", body)


def move_tag(actor, seed):
    first, second = actor.image("f/tag", seed), actor.image("f/tag", f"{seed}-2")
    actor.manifest("f/tag", "latest", first)
    return lambda: actor.manifest("f/tag", "latest", second)


def delete_all(actor, seed):
    repo = f"f/delete{seed}"
    body = actor.image(repo, seed)
    actor.manifest(repo, "one", body)
    extra = actor.blob(repo, randbytes(500, f"{seed}-extra"))

    def act():
        actor.gone("manifest", repo, "one")
        actor.gone("manifest", repo, digest(body))
        actor.gone("blob", repo, extra)
    return act


def mount(actor, seed):
    data = randbytes(2000, seed)
    name = actor.blob("f/source", data)
    return lambda: actor.ask({("blob", f"f/mount{seed}", name): data}, 201, lambda: actor.client.request(
        "POST", f"/v2/f/mount{seed}/blobs/uploads/?mount={name}&from=f/source"))


def cancel_upload(actor, seed):
    location = actor.start("f/cancel")
    assert actor.client.patch(location, randbytes(5000, seed)).status == 202

    def act():
        response = actor.client.request("DELETE", location)
        if response.status not in (204, 404):
            actor.check_refusal(response)
            raise Refused(response)
    return act


def refresh_token(actor, seed):
    def post(fields):
        body = "&".join(f"{k}={v}" for k, v in fields.items()).encode()
        return actor.client.once("POST", "/service/token", body,
                                 [("Content-Type", "application/x-www-form-urlencoded")])

    def act():
        response = actor.ask({}, 200, lambda: post(
            {"grant_type": "password", "service": "berth", "client_id": "t", "username": "admin",
             "password": PASSWORD.replace(" ", "+"), "access_type": "offline"}))
        token = response.json()["refresh_token"]
        actor.ask({}, 200, lambda: post({"grant_type": "refresh_token", "service": "berth",
                                         "client_id": "t", "refresh_token": token}))
    return act


STEPS = [push_blob, push_stream, push_chunks, push_known, push_manifest, move_tag, delete_all, mount,
         cancel_upload, refresh_token]


def collect(actor, seed):
    """A deleted image and one that stays, blobs that nothing uses and their files, an upload."""
    repo, kept = f"f/collect{seed}", f"f/kept{seed}"
    body = actor.image(repo, seed)
    actor.manifest(repo, "one", body)
    actor.manifest(kept, "one", actor.image(kept, f"{seed}-kept"))
    actor.gone("manifest", repo, digest(body), "one")
    actor.forget(repo)
    assert actor.client.patch(actor.start(repo), randbytes(5000, seed)).status == 202
    return lambda: actor.ask({}, 200, lambda: gc_now(actor.server))


def gc_now(server):
    client = Client(server, mode="basic")
    try:
        return client.request("POST", "/api/berth/v1/gc", dump({"now": True}),
                              [("Content-Type", "application/json")])
    finally:
        client.close()


@pytest.fixture
def tmp_path(scratch):
    return scratch


@pytest.fixture
def actor(berth, control, tmp_path):
    server = berth(SETTINGS, env=control.environment())
    yield Actor(server, [str(tmp_path)])


def judge(actor):
    """kill -9; what is left is sound, and everything acknowledged is there."""
    server = actor.server
    actor.client.close()
    server.kill()
    assert_sound(server.data)
    server.start()
    assert actor.ledger.missing(actor.client) == []


def fail_each(actor, control, step, kinds, errors):
    """Every call of the step fails once; how many there were, and how many refusals that made."""
    refused = 0
    for n in range(1, CALLS_MAX):
        error = errors[n % len(errors)]
        act = step(actor, f"{step.__name__}{kinds}{error}-{n}".replace("_", ""))
        since = len(actor.server.lines)
        actor.broken = True
        control.arm(kinds, n, error)
        try:
            act()
        except Refused:
            refused += 1
        hits, _, where = control.disarm()
        actor.broken = False
        context = f"{step.__name__}, call {n}, {errno.errorcode[error]}, {where}"
        try:
            assert actor.server.running()
            assert_logged(actor, since)
            actor.settle()
            act()  # once the cause is gone, the same works
        except Exception as failure:
            raise AssertionError(context) from failure
        if not hits:
            return n - 1, refused
    raise AssertionError(f"{step.__name__} makes more than {CALLS_MAX} calls")


def assert_logged(actor, since):
    """One line for each refusal, that says what went wrong."""
    for request in actor.refusals:
        assert actor.server.waits(lambda: any(
            f.get("request") == request for f in actor.server.events("request_failed", since))), \
            actor.server.text(since)
    for line in actor.server.events("request_failed", since):
        assert line["level"] == "error" and line["error"], line
    actor.refusals.clear()


def fail_steps(actor, control, steps, kind, errors):
    counted = {step.__name__: fail_each(actor, control, step, faults.KINDS[kind], errors)
               for step in steps}
    print(kind, [errno.errorcode[e] for e in errors], counted)
    judge(actor)
    return sum(calls for calls, _ in counted.values()), sum(n for _, n in counted.values())


# Writes are many, and what one of them says is treated as what the next one says.
each = pytest.mark.parametrize("kind, errors", [
    ("write", (errno.EIO, errno.ENOSPC)), ("sync", (errno.EIO,)), ("sync", (errno.ENOSPC,)),
    ("name", (errno.EIO,)), ("name", (errno.ENOSPC,))], ids=lambda v: v if isinstance(v, str) else
    "+".join(errno.errorcode[e] for e in v))


@each
def test_requests(actor, control, kind, errors):
    calls, refused = fail_steps(actor, control, STEPS, kind, errors)
    assert calls >= 12 and refused >= 8


def test_commits_that_come_back(actor, control):
    """From some call on, all that is written to the log fails, until the server is killed. The next one
    may find a transaction whole that was refused, and goes by it: nothing that it speaks of may have
    been thrown away with the refusal."""
    came_back = 0
    for n in range(1, CALLS_MAX):
        act = push_blob(actor, f"back{n}")
        actor.broken = True
        control.arm(faults.WRITE | faults.SYNC, n, errno.EIO, "berth.db-wal", always=True)
        try:
            act()
        except Refused:
            pass
        actor.client.close()
        actor.server.kill()
        hits, _, _ = control.disarm()
        assert_sound(actor.server.data)
        actor.server.start()
        actor.broken = False
        if not hits:
            break
        pending = dict(actor.ledger.pending)
        actor.settle()
        came_back += any(actor.ledger.facts.get(key) == value for key, value in pending.items())
        act()
    assert n > 5 and came_back, "that no refused commit came back means that none was whole"
    judge(actor)


@each
def test_collection(actor, control, kind, errors):
    calls, refused = fail_steps(actor, control, [collect], kind, errors)
    assert calls >= 3 and refused >= 1
    # Nothing is left over in the end: files that could not be unlinked are unlinked later.
    for repo in sorted({repo for _, repo, _ in actor.ledger.facts}):
        for key in [k for k in actor.ledger.facts if k[:2] == ("manifest", repo)]:
            actor.gone(*key)
        actor.forget(repo)
    for _ in range(2):
        assert gc_now(actor.server).status == 200
    actor.client.close()
    actor.server.stop()
    assert run("fsck", "--repair", "--data", actor.server.data).returncode == 0
    for folder in ("blobs", "uploads"):
        assert [p for p in (actor.server.data / folder).rglob("*") if p.is_file()] == []


# -- programs that run on their own: they end with one clear line, and when they are run again all is well

def spread(n, most):
    """At most so many numbers of 1..n: the first ones, the last, and others evenly between."""
    return sorted({*range(1, min(n, most // 2) + 1), *range(1, n + 1, max(1, 2 * n // most)), n})


def run_each(control, kind, command, again):
    """Runs the command with some of its calls failing; `again` looks at what it left each time."""
    control.arm(faults.KINDS[kind], 0)
    done = run(*command(), env=control.environment())
    _, calls, _ = control.disarm()
    assert done.returncode == 0 and calls > 0, done
    again()
    failed = 0
    for n in spread(calls, 6):
        error = (errno.EIO, errno.ENOSPC)[n % 2]
        control.arm(faults.KINDS[kind], n, error)
        done = run(*command(), env=control.environment())
        _, _, where = control.disarm()
        assert done.returncode in (0, 1), (where, done)
        if done.returncode:
            failed += 1
            text = [line for line in done.stderr.splitlines() if "BERTH_" not in line]
            assert text and all(line.startswith("berth: ") for line in text[:1]), (where, done)
            assert len(text) <= 2, (where, done)
        again()
    return failed


@pytest.fixture
def stopped(berth, tmp_path):
    """(data directory, facts) of a registry that is not running."""
    server = berth(SETTINGS)
    actor = Actor(server, [str(tmp_path)])
    for seed in ("one", "two"):
        actor.manifest("f/app", seed, actor.image("f/app", seed))
    actor.client.close()
    server.stop()
    return server.data, actor.ledger


@pytest.mark.parametrize("kind", faults.KINDS)
def test_backup_and_restore(stopped, control, tmp_path, kind):
    data, _ = stopped
    backup, restored = tmp_path / "backup", tmp_path / "restored"

    def backup_again():
        assert run("backup", backup, "--data", data).returncode == 0
        assert_sound(data)

    def restore_again():
        done = run("restore", backup, "--data", restored)
        if done.returncode:  # it was there already: nothing is restored over it
            assert "is not empty" in done.stderr, done
        assert assert_sound(restored).counts["manifests"] == 2
        shutil.rmtree(restored)

    failed = run_each(control, kind, lambda: ("backup", backup, "--data", data), backup_again)
    failed += run_each(control, kind, lambda: ("restore", backup, "--data", restored), restore_again)
    assert failed > 3


def test_start(berth, control, tmp_path):
    """The first start, with any of its calls failing: refused with one line, or it runs."""
    for kind in faults.KINDS.values():
        server = berth(SETTINGS, data=tmp_path / f"first{kind}", start=False,
                       # SQLite does not free all when it cannot write; the process ends anyway.
                       env={**control.environment(), "ASAN_OPTIONS": "detect_leaks=0"})
        control.arm(kind, 0)
        server.start()
        server.stop()
        _, calls, _ = control.disarm()
        for n in spread(calls, 4):
            shutil.rmtree(server.data)
            since = len(server.lines)
            control.arm(kind, n, errno.EIO)
            try:
                server.start()
                server.stop()
            except AssertionError:
                text = [line for line in server.lines[since:] if line.startswith("berth: ")
                        and "BERTH_" not in line]
                assert len(text) == 1 and len(text[0]) > 20, server.lines[since:]
            control.disarm()
            server.start()
            Client(server, mode="none").push("f/a", b"data")
            server.stop()
            assert_sound(server.data)


# -- reading

def request_of(server, response):
    """The line of the log about a request that failed."""
    lines = []

    def written():
        lines[:] = [f for f in server.events("request_failed")
                    if f["request"] == response.header("x-request-id")]
        return lines
    assert server.waits(written), server.text()
    return lines[0]


@pytest.mark.parametrize("size", [3000, 100_000])
@pytest.mark.parametrize("kind", [faults.LOOK, faults.READ], ids=["open", "read"])
def test_a_blob_that_cannot_be_read_is_not_a_missing_one(berth, control, kind, size):
    server = berth({**SETTINGS, "metrics.listen": "127.0.0.1:0"}, env=control.environment())
    client = Client(server, mode="none")
    failures = "berth_store_read_failures_total"
    target = "/v2/f/a/blobs/" + client.push("f/a", randbytes(size, "read"))
    for method in ("GET", "HEAD"):
        before = Snapshot(server).value(failures)
        control.arm(kind, error=errno.EIO, pattern="blobs/", always=True)
        response = client.request(method, target)
        assert control.disarm()[0] == 1
        assert response.status == 500, response
        if method == "GET":
            assert response.errors() == [
                ("UNKNOWN", "the registry has this blob, but cannot read its file")]
        line = request_of(server, response)
        assert line["level"] == "error" and line["error"] == "BLOB_UNREADABLE", line
        assert line["store"].startswith("open" if kind == faults.LOOK else "read"), line
        assert line["store"].endswith("Input/output error"), line
        assert Snapshot(server).value(failures) == before + 1
    control.arm(faults.LOOK, error=errno.EMFILE, pattern="blobs/", always=True)
    assert client.get(target).status == 503
    control.disarm()
    assert Snapshot(server).value(failures) == before + 1
    assert client.once("GET", "/readyz").status == 200, "all the other blobs are served"
    assert client.get(target).body == randbytes(size, "read")


def whatever_comes(server, target):
    """All bytes of one answer, to the end of the connection."""
    with socket.create_connection(server.address, 20) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        parts = []
        try:
            while not parts or parts[-1]:
                parts.append(sock.recv(1 << 20))
        except ConnectionResetError:
            pass
    return b"".join(parts)


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_blob_that_breaks_off_is_not_made_up(berth, control, http):
    """The head is out when the disk fails: the answer ends there, and log and metrics tell."""
    server = berth({**SETTINGS, "metrics.listen": "127.0.0.1:0", "http2.cleartext": "true"},
                   env=control.environment())
    client = Client(server, mode="none")
    data, failures = randbytes(3 << 20, "breaks"), "berth_store_read_failures_total"
    target = "/v2/f/a/blobs/" + client.push("f/a", data)
    if http == "2":
        # The first reading is the handler's, the next one the body's.
        control.arm(faults.READ, first=2, error=errno.EIO, pattern="blobs/", always=True)
        with H2(server.address) as conn:
            stream = conn.ask(target)
            assert stream.status == 200 and stream.reset and len(stream.body) < len(data)
        assert control.disarm()[0] == 1
    else:
        assert client.once("GET", target).body == data  # and now the file is open
        (path,) = [p for p in (server.data / "blobs").rglob("*") if p.is_file()]
        os.truncate(path, len(data) // 2)
        answer = whatever_comes(server, target)
        assert answer.startswith(b"HTTP/1.1 200 ") and len(answer) < len(data)
        path.write_bytes(data)
    assert server.waits(lambda: server.events("request_failed"))
    (line,) = server.events("request_failed")
    assert line["level"] == "error" and line["error"] == "BLOB_UNREADABLE", line
    assert line["path"] == target and int(line["out_bytes"]) < len(data), line
    assert server.waits(lambda: Snapshot(server).value(failures) == 1)
    assert client.once("GET", target).body == data


def test_a_blob_that_cannot_be_read_is_repaired_by_a_push(berth, control):
    server = berth(SETTINGS, env=control.environment())
    client = Client(server, mode="none")
    data = randbytes(3000, "unreadable")
    name = client.push("f/a", data)
    (path,) = [p for p in (server.data / "blobs").rglob("*") if p.is_file()]
    control.arm(faults.READ, error=errno.EIO, pattern=path.name, always=True)
    mount = client.request("POST", f"/v2/f/b/blobs/uploads/?mount={name}&from=f/a")
    assert mount.status == 202, "who mounts it would not push it"
    assert client.blob("f/a", name).status == 500
    assert client.push("f/a", data) == name
    assert client.blob("f/a", name).body == data
    assert control.disarm()[0] >= 3


def test_a_disk_that_fails_once_condemns_no_blob(berth, control):
    """The scrub reads again what it could not read."""
    server = berth({**SETTINGS, "scrub.rate": "1GiB", "scrub.interval": "1s"}, env=control.environment())
    client = Client(server, mode="none")
    name = client.push("f/a", randbytes(100_000, "once"))
    (path,) = [p for p in (server.data / "blobs").rglob("*") if p.is_file()]
    control.arm(faults.READ, error=errno.EIO, pattern=path.name)
    assert server.waits(lambda: control.hits() == 1, 30)
    passes = len(server.events("scrub_finished"))
    assert server.waits(lambda: len(server.events("scrub_finished")) > passes, 30)
    assert not server.events("blob_damaged") and path.exists()
    assert client.blob("f/a", name).status == 200


@pytest.mark.parametrize("damage", ["gone", "cut", "long", "directory", "link"])
def test_a_file_that_is_not_the_blob_is_a_missing_one(berth, damage):
    server = berth(SETTINGS)
    client = Client(server, mode="none")
    for size in (3000, 100_000):
        data = randbytes(size, "missing")
        name = client.push("f/a", data)
        (path,) = [p for p in (server.data / "blobs").rglob("*")
                   if p.is_file() and p.stat().st_size == size]
        if damage in ("cut", "long"):
            os.truncate(path, size + (1 if damage == "long" else -1))
        else:
            path.unlink()
        if damage == "directory":
            path.mkdir()
        elif damage == "link":
            path.symlink_to("/etc/hostname")
        assert client.blob("f/a", name).status == 404
        assert client.head(f"/v2/f/a/blobs/{name}").status == 404
        assert client.push("f/a", data) == name
        assert client.blob("f/a", name).body == data


def test_quarantine_fails(berth, control):
    """A rotten blob that cannot be moved away is told of all the same, not served, and repaired."""
    server = berth({**SETTINGS, "scrub.rate": "1GiB", "scrub.interval": "1s"},
                   env=control.environment())
    client = Client(server, mode="none")
    data = randbytes(5000, "rot")
    name = client.push("f/a", data)
    control.arm(faults.NAME, error=errno.EIO, pattern="quarantine", always=True)
    path = next(p for p in (server.data / "blobs").rglob("*") if p.is_file())
    with open(path, "r+b") as file:
        file.write(b"\x00\x01\x02\x03")
    assert server.waits(lambda: server.events("blob_damaged"), 30)
    assert control.disarm()[0] > 0
    assert client.blob("f/a", name).status == 404
    assert client.push("f/a", data) == name
    assert client.blob("f/a", name).body == data

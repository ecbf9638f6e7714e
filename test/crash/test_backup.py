"""berth backup and restore: whatever goes on meanwhile, what comes back is one state of the registry,
sound and byte for byte what was acknowledged before it began."""

import fcntl
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lib.fsck import assert_sound, fsck
from lib.ledger import holds
from lib.oci import CONFIG, IMAGE, LAYER, Client, descriptor, digest, dump, randbytes
from lib.server import BINARY, run

OPEN = {"auth.anonymous": "push"}


def backup(data, target, *flags):
    done = run("backup", target, "--data", data, *flags, timeout=120)
    return done


def counts(done):
    """The numbers of the last line: kept, linked, cloned, copied, lost."""
    assert done.returncode == 0, done
    words = done.stdout.replace(",", "").replace(":", "").split()
    return {word: int(words[words.index(word) - 1])
            for word in ("kept", "linked", "cloned", "copied", "not")}


def restore(target, data):
    return run("restore", target, "--data", data, timeout=120)


def push_image(client, repo, tag, seed, size=3000):
    config, layer = dump({"seed": seed}), randbytes(size, seed)
    for data in (config, layer):
        client.push(repo, data)
    body = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                 "layers": [descriptor(layer, LAYER)]})
    response = client.put_manifest(repo, tag, body)
    assert response.status == 201
    facts = {("blob", repo, digest(data)): data for data in (config, layer)}
    facts[("manifest", repo, digest(body))] = body
    facts[("manifest", repo, tag)] = body
    return facts


def check_facts(berth, data, facts):
    server = berth(OPEN, data=data)
    client = Client(server, mode="none")
    wrong = [key for key, value in facts.items() if not holds(client, key, value)]
    client.close()
    server.stop()
    assert wrong == []


def inodes(folder):
    return {p.stat().st_ino for p in (folder / "blobs").rglob("*") if p.is_file()}


def names(folder):
    return {p.name for p in (folder / "blobs").rglob("*") if p.is_file()}


@pytest.fixture
def away(tmp_path):
    """A directory on another file system than tmp_path."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    path = shm / f"berth-test-{os.getpid()}-{random.getrandbits(32):08x}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_round_trip(berth, tmp_path):
    """While the server runs: linked, then only what is new; back in a new place; served."""
    server = berth(OPEN)
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "one", 1)
    target, data = tmp_path / "backup", tmp_path / "restored"
    done = backup(server.data, target)
    assert counts(done) == {"kept": 0, "linked": 2, "cloned": 0, "copied": 0, "not": 0}
    assert inodes(target) == inodes(server.data)
    later = push_image(client, "team/app", "two", 2)
    location = client.start("team/app")
    assert client.patch(location, b"unfinished").status == 202
    assert counts(backup(server.data, target))["linked"] == 2
    assert counts(backup(server.data, target)) == {"kept": 4, "linked": 0, "cloned": 0,
                                                   "copied": 0, "not": 0}
    push_image(client, "team/app", "three", 3)
    client.close()
    server.stop()

    assert restore(target, data).returncode == 0
    report = assert_sound(data)
    assert report.findings == [] and report.counts["blobs"] == 4 and report.counts["uploads"] == 0
    check_facts(berth, data, {**facts, **later, ("manifest", "team/app", "three"): None})
    assert not inodes(data) & inodes(target)  # the backup stays a copy of its own


def test_without_a_server(berth, tmp_path):
    """Also straight after a kill, when the last transactions are in the log only."""
    server = berth(OPEN)
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "one", 1)
    client.close()
    server.kill()
    assert (server.data / "berth.db-wal").stat().st_size > 0
    assert counts(backup(server.data, tmp_path / "backup"))["linked"] == 2
    assert restore(tmp_path / "backup", tmp_path / "restored").returncode == 0
    assert_sound(tmp_path / "restored")
    check_facts(berth, tmp_path / "restored", facts)
    check_facts(berth, server.data, facts)


@pytest.mark.slow
def test_another_file_system(berth, tmp_path, away):
    """Copied and compared; what is whole already is not copied again."""
    server = berth(OPEN)
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "one", 1, size=3 << 20)
    target = away / "backup"
    assert counts(backup(server.data, target))["copied"] == 2
    facts |= push_image(client, "team/app", "two", 2)
    again = counts(backup(server.data, target))
    assert again["kept"] == 2 and again["copied"] == 2
    client.close()
    server.stop()
    assert restore(target, tmp_path / "restored").returncode == 0
    assert_sound(tmp_path / "restored")
    check_facts(berth, tmp_path / "restored", facts)


def test_copy_checks_what_a_link_would_hide(berth, tmp_path):
    server = berth(OPEN)
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "one", 1)
    client.close()
    server.stop()
    layer = digest(randbytes(3000, 1))
    rotten = next(p for p in (server.data / "blobs").rglob("*")
                  if p.is_file() and p.stat().st_size == 3000)
    rotten.write_bytes(bytes(3000))
    linked = backup(server.data, tmp_path / "links")
    assert linked.returncode == 0
    copied = backup(server.data, tmp_path / "copies", "--copy")
    assert copied.returncode == 1 and layer in copied.stderr
    assert "does not hash" in copied.stderr and "1 not there" in copied.stdout
    # Both restore all but that blob, and say so.
    for target in ("links", "copies"):
        done = restore(tmp_path / target, tmp_path / f"from-{target}")
        assert done.returncode == 1 and layer in done.stderr, done
        report = fsck(tmp_path / f"from-{target}")
        assert report.words("error") == {"blob-missing"}, report
    facts = {key: value for key, value in facts.items() if key[2] != layer}
    check_facts(berth, tmp_path / "from-links", facts)


def test_what_is_gone_is_forgotten(berth, tmp_path):
    """A blob whose row is gone leaves the backup, and so does the database of before."""
    server = berth(OPEN)
    client = Client(server, mode="none")
    push_image(client, "team/app", "one", 1)
    client.close()
    server.stop()
    target = tmp_path / "backup"
    backup(server.data, target)
    before = names(target)
    (target / "blobs" / "00" / "0123.new").write_bytes(b"of an interrupted copy")
    (target / "blobs" / "00" / ("00" + "ab" * 15)).write_bytes(b"not named any more")
    old = {p.name for p in target.glob("database-*")}
    assert backup(server.data, target).returncode == 0
    assert names(target) == before
    assert len(list(target.glob("database-*"))) == 1
    assert {p.name for p in target.glob("database-*")} != old
    mark = json.loads((target / "backup.json").read_text())
    assert mark["format"] == 1 and (target / mark["database"] / "berth.db").is_file()
    assert sqlite3.connect(target / mark["database"] / "berth.db").execute(
        "PRAGMA journal_mode").fetchone() == ("delete",)


def test_what_failed_leaves_no_databases(berth, tmp_path):
    """However often it fails, and whatever killed ones have left: what stays is the last complete
    backup, all of it."""
    server = berth(OPEN)
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "one", 1)
    target = tmp_path / "backup"
    target.mkdir()
    (target / "blobs").write_bytes(b"in the way")
    (target / "backup.lock").touch()
    for _ in range(2):  # never one that was complete
        done = backup(server.data, target)
        assert done.returncode == 1 and "blobs" in done.stderr
        assert list(target.glob("database-*")) == []
    (target / "blobs").unlink()
    assert backup(server.data, target).returncode == 0
    kept, = target.glob("database-*")
    blobs = names(target)

    # Blobs that only a later one needs, and none can be brought: 00 is in the way.
    later = push_image(client, "team/app", "two", 2)
    client.close()
    server.stop()
    shards = {path.name for path in (target / "blobs").iterdir() if not any(path.iterdir())}
    free, blocked = sorted(shards)[:2]
    (target / "blobs" / blocked).rmdir()
    (target / "blobs" / blocked).write_bytes(b"in the way")
    killed = target / "database-2024-01-01-01234567"
    killed.mkdir()
    (killed / "berth.db").write_bytes(b"half")
    (killed / "berth.db-journal").write_bytes(b"half")
    (target / "blobs" / free / (free + "ab" * 15 + ".new")).write_bytes(b"half")
    of_it = free + "cd" * 15
    (target / "blobs" / free / of_it).write_bytes(b"perhaps of the next one")
    for _ in range(2):
        assert backup(server.data, target).returncode == 1
        assert list(target.glob("database-*")) == [kept]
        assert names(target) == blobs | {of_it, blocked}
    (target / "blobs" / blocked).unlink()
    assert restore(target, tmp_path / "before").returncode == 0
    assert assert_sound(tmp_path / "before").findings == []
    check_facts(berth, tmp_path / "before", {**facts, ("manifest", "team/app", "two"): None})

    # What counts is not known: nothing is removed but what the run itself has made.
    mark = (target / "backup.json").read_bytes()
    (target / "backup.json").write_bytes(b"{")
    (target / "blobs" / blocked).write_bytes(b"in the way")
    killed.mkdir()
    assert backup(server.data, target).returncode == 1
    assert set(target.glob("database-*")) == {kept, killed}
    (target / "blobs" / blocked).unlink()
    (target / "backup.json").write_bytes(mark)

    assert backup(server.data, target).returncode == 0
    assert len(list(target.glob("database-*"))) == 1 and not kept.exists()
    assert restore(target, tmp_path / "after").returncode == 0
    assert assert_sound(tmp_path / "after").findings == []
    check_facts(berth, tmp_path / "after", {**facts, **later})


class Pushing(threading.Thread):
    """Pushes image after image and notes what was acknowledged, in order."""

    def __init__(self, server, number):
        super().__init__()
        self.server, self.number = server, number
        self.acknowledged = []  # one dictionary of facts an image
        self.error = None
        self.ends = threading.Event()

    def run(self):
        client = Client(self.server, mode="none")
        try:
            while not self.ends.is_set():
                n = len(self.acknowledged)
                self.acknowledged.append(push_image(
                    client, f"team/app{self.number}", f"t{n}", f"{self.number}-{n}", 20_000))
        except Exception as error:  # shown by the test
            self.error = error
        client.close()


@pytest.mark.slow
def test_under_load(berth, tmp_path):
    """Each of several backups taken while images are pushed holds all that was acknowledged before
    it began, and is sound: nothing half, nothing that names what is not there."""
    server = berth(OPEN)
    pushing = [Pushing(server, i) for i in range(3)]
    for thread in pushing:
        thread.start()
    seen, target = [], tmp_path / "backup"
    for turn in range(4):
        before = [len(thread.acknowledged) for thread in pushing]
        while any(len(t.acknowledged) < n + 5 for t, n in zip(pushing, before)):
            assert all(t.is_alive() for t in pushing), [t.error for t in pushing]
            time.sleep(0.01)  # until the load has gone on
        acknowledged = [list(thread.acknowledged) for thread in pushing]
        assert backup(server.data, target).returncode == 0
        data = tmp_path / f"restored{turn}"
        assert restore(target, data).returncode == 0
        seen.append((data, acknowledged))
    for thread in pushing:
        thread.ends.set()
    for thread in pushing:
        thread.join()
        assert thread.error is None
    server.stop()
    for data, acknowledged in seen:
        assert assert_sound(data).findings == []
        facts = {}
        for images in acknowledged:
            for image in images:
                facts |= image
        check_facts(berth, data, facts)


def test_collection_and_backup_exclude_each_other(berth, tmp_path):
    """While a backup reads, no file is unlinked; while files are being unlinked, no snapshot is
    taken, so that each snapshot's files are there to be read."""
    server = berth({**OPEN, "gc.interval": "24h"})
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "one", 1)
    body, = (value for key, value in facts.items() if key[2] == "one")
    assert client.request("DELETE", f"/v2/team/app/manifests/{digest(body)}").status == 202
    before = names(server.data)

    def collect():
        done = run("gc", "--now", "--json", "--data", server.data)
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    with open(server.data / "hold", "a") as hold:
        fcntl.flock(hold, fcntl.LOCK_SH)  # as a backup does
        report = collect()
        assert report["blobs"] == 2 and report["files_left"] == 2
        assert names(server.data) == before
    report = collect()
    assert report["files"] == 2 and report["files_left"] == 0
    assert names(server.data) == set()

    push_image(client, "team/app", "two", 2)
    target = tmp_path / "backup"
    with open(server.data / "hold", "a") as hold:
        fcntl.flock(hold, fcntl.LOCK_EX)  # as collection does
        process = subprocess.Popen([BINARY, "backup", target, "--data", server.data],
                                   stdout=subprocess.DEVNULL, env=server.environment())
        waiting = re.compile(rf"-> FLOCK +ADVISORY +READ +{process.pid} ")
        end = time.monotonic() + 30
        while not waiting.search(Path("/proc/locks").read_text()):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        assert not list(target.glob("database-*"))
    assert process.wait(60) == 0
    assert restore(target, tmp_path / "restored").returncode == 0
    assert_sound(tmp_path / "restored")
    client.close()
    server.stop()


@pytest.mark.slow
def test_killed_backups_leave_the_one_before(berth, tmp_path, away):
    """kill -9 at any moment: the target still restores to the last complete backup, and the next run
    completes."""
    server = berth(OPEN)
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "v0", 0)
    target = away / "backup"
    assert backup(server.data, target).returncode == 0
    rng = random.Random(7)
    for turn in range(1, 9):
        more = {}
        for i in range(4):
            more |= push_image(client, "team/app", f"v{turn}-{i}", f"{turn}-{i}", 200_000)
        process = subprocess.Popen([BINARY, "backup", target, "--data", server.data],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=server.environment())
        time.sleep(rng.uniform(0, 0.08))  # a random moment, not synchronisation
        process.send_signal(signal.SIGKILL)
        finished = process.wait() == 0
        data = tmp_path / f"restored{turn}"
        done = restore(target, data)
        assert done.returncode == 0, done
        assert_sound(data)
        check_facts(berth, data, facts | more if finished else facts)
        shutil.rmtree(data)
        assert backup(server.data, target).returncode == 0
        facts |= more
    client.close()
    server.stop()


def test_interrupted_restore(berth, tmp_path):
    """What a restore has not finished is no data directory, and repeating it makes it one."""
    server = berth(OPEN)
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "one", 1)
    client.close()
    server.stop()
    target, data = tmp_path / "backup", tmp_path / "restored"
    backup(server.data, target)
    assert restore(target, data).returncode == 0
    # As it is just before the database appears, and just before the end.
    for keep_database in (False, True):
        (data / "restoring").write_bytes(b"")
        if not keep_database:
            (data / "berth.db").unlink()
        started = run("serve", "--data", data, "--listen", "127.0.0.1:0")
        assert started.returncode == 1 and "restore" in started.stderr, started
        assert run("fsck", "--data", data).returncode == 3
        assert restore(target, data).returncode == 0
        assert not (data / "restoring").exists()
    assert_sound(data)
    check_facts(berth, data, facts)


def test_interrupted_restore_of_another_backup(berth, tmp_path):
    """The log of a database that was being restored is not played into the one of the next try."""
    server = berth(OPEN)
    client = Client(server, mode="none")
    facts = push_image(client, "team/app", "one", 1)
    assert backup(server.data, tmp_path / "first").returncode == 0
    later = push_image(client, "team/app", "two", 2)
    assert backup(server.data, tmp_path / "second").returncode == 0
    client.close()
    server.stop()
    data = tmp_path / "restored"
    assert restore(tmp_path / "first", data).returncode == 0
    # As after a kill between the last commit and the closing of the database.
    left = {}
    db = sqlite3.connect(data / "berth.db")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    with db:
        db.execute("UPDATE repository SET full_name = 'team/other'")
    for name in ("berth.db-wal", "berth.db-shm"):
        left[name] = (data / name).read_bytes()
    db.close()
    left["berth.db-journal"] = b"not a journal"
    left["restoring"] = b""
    for name, content in left.items():
        (data / name).write_bytes(content)
    assert len(left["berth.db-wal"]) > 0

    assert restore(tmp_path / "second", data).returncode == 0
    assert not any((data / name).exists() for name in left)
    assert assert_sound(data).findings == []
    check_facts(berth, data, {**facts, **later})


def test_refusals(berth, tmp_path):
    server = berth(OPEN)
    client = Client(server, mode="none")
    push_image(client, "team/app", "one", 1)
    client.close()
    target = tmp_path / "backup"
    assert backup(server.data, target).returncode == 0

    full = tmp_path / "full"
    full.mkdir()
    (full / "precious").write_text("mine")
    for done, text in (
            (run("backup", "--data", server.data), "name the directory"),
            (run("restore", "--data", server.data), "name the directory"),
            (backup(tmp_path / "nowhere", tmp_path / "x"), "no registry"),
            (backup(server.data, full), "neither empty nor a backup"),
            (backup(server.data, server.data), "is a data directory"),
            (restore(target, server.data), "another berth process"),
            (restore(target, full), "not empty"),
            (restore(full, tmp_path / "y"), "no complete backup")):
        assert done.returncode in (1, 2) and text in done.stderr, done
    assert [p.name for p in full.iterdir() if p.name != "lock"] == ["precious"]
    assert not (tmp_path / "x").exists() and not (tmp_path / "y").exists()

    database, = target.glob("database-*/berth.db")
    with open(database, "r+b") as f:
        f.seek(5000)
        f.write(b"\xa5")
    done = restore(target, tmp_path / "z")
    assert done.returncode == 1 and "is damaged" in done.stderr
    assert not (tmp_path / "z").exists()
    server.stop()

"""The instrument itself: what the recorder sees and what the replayer makes of it."""

import os
import subprocess

from lib import replay

PROGRAM = r"""
import os, socket, sqlite3, sys
root = sys.argv[1]
os.mkdir(root + "/d")
def sync(path, how=os.fsync):
    fd = os.open(path, os.O_RDONLY)
    how(fd)
    os.close(fd)
sync(root)
fd = os.open(root + "/d/one", os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"hello")
os.fdatasync(fd)
os.pwrite(fd, b"HE", 0)                      # after the sync
os.close(fd)
sync(root + "/d")
os.rename(root + "/d/one", root + "/d/two")  # not synced
with open(root + "/d/three", "wb") as f:     # the name is, the bytes are not
    f.write(b"three")
with open(root + "/d/two", "r+b") as f:
    f.truncate(3)
a, b = socket.socketpair()
a.send(b"HTTP/1.1 201 Created\r\nX-Request-Id: 1\r\n\r\n")
db = sqlite3.connect(root + "/d/db", isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE t (a)")
db.execute("INSERT INTO t VALUES (42)")
os._exit(0)
"""


def run(tmp_path, recorder):
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["/usr/bin/python3", "-c", PROGRAM, str(root)], check=True, env={
        **os.environ, "LD_PRELOAD": recorder.split(":")[-1], "BERTH_RECORD_LOG":
        str(tmp_path / "log"), "BERTH_RECORD_ROOT": str(root)})
    return replay.read(tmp_path / "log")


def content(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()
            and "db" not in p.name}


def test_replay(tmp_path, recorder):
    records = run(tmp_path, recorder)
    send = next(i for i, r in enumerate(records) if r.kind == replay.SEND)
    disk = replay.Disk()
    for r in records[:send]:
        disk.apply(r)
    for mode, want in ((replay.STRICT, {"d/one": b"hello"}),
                       (replay.NAMES, {"d/two": b"hello", "d/three": b""}),
                       (replay.ALL, {"d/two": b"HEl", "d/three": b"three"})):
        disk.build(tmp_path / mode, mode)
        assert content(tmp_path / mode) == want, mode
    assert records[send].data.startswith(b"HTTP/1.1 201")


def test_ignored_syncs(tmp_path, recorder):
    records = run(tmp_path, recorder)
    assert {"directory .", "directory d", "file d/one", "file d/db-wal"} <= {
        r.label for r in records if r.kind == replay.SYNC}
    send = next(i for i, r in enumerate(records) if r.kind == replay.SEND)
    for label, want in (("file d/one", {"d/one": b""}), ("directory d", {}), ("directory .", {})):
        disk = replay.Disk([label])
        for r in records[:send]:
            disk.apply(r)
        path = tmp_path / label.replace("/", "_")
        disk.build(path)
        assert content(path) == want


def test_everything_kept_is_what_is_there(tmp_path, recorder):
    """The replay of all records equals the directory the program left."""
    records = run(tmp_path, recorder)
    disk = replay.Disk()
    for r in records:
        disk.apply(r)
    disk.build(tmp_path / "all", replay.ALL)
    for path in (tmp_path / "root").rglob("*"):
        if path.is_file() and not path.name.endswith("-shm"):
            assert (tmp_path / "all" / path.relative_to(tmp_path / "root")).read_bytes() \
                == path.read_bytes(), path


def test_sqlite_survives(tmp_path, recorder):
    """With synchronous=FULL a committed row is in the synced part; without the log's sync it is not."""
    import sqlite3
    records = run(tmp_path, recorder)
    for ignore, want in ((), [(42,)]), (("file d/db-wal",), None):
        disk = replay.Disk(ignore)
        for r in records:
            disk.apply(r)
        path = tmp_path / f"db{len(ignore)}"
        disk.build(path)
        db = sqlite3.connect(path / "d" / "db")
        try:
            found = db.execute("SELECT a FROM t").fetchall()
        except sqlite3.OperationalError:
            found = None
        db.close()
        assert found == want

"""Power loss in the middle of what was not synced yet, and syncs that fail.

The write-ahead log and, while it is copied, the database itself may lose any part of what was written
since their last sync: the log is cut at each of its frames and anywhere else, sectors of both arrive
or do not, bytes of the tail are wrong. And after a sync that failed the disk lacks what the kernel
takes for written: whatever is acknowledged later must not stand on it."""

import errno
import random
import shutil

import pytest
import test_powerloss as powerloss
from test_powerloss import large_recording, recording  # pylint: disable=unused-import

from lib import faults, replay
from lib.oci import randbytes
from lib.server import Server

FRAME, LOG_HEADER = 4096 + 24, 32
LOG, DATABASE = "data/berth.db-wal", "data/berth.db"

pytestmark = pytest.mark.slow


def disk_at(recording, cut):
    disk = replay.Disk()
    for r in recording.records[:cut]:
        disk.apply(r)
    return disk


def before_syncs(recording, path):
    """Cuts right before a sync of the file, when the most is at stake."""
    files = {r.file for r in recording.records if r.kind == replay.CREATE and r.path == path}
    return [i for i, r in enumerate(recording.records)
            if r.kind == replay.SYNC and r.file in files]


def check(disk, ledger, scratch, name, contents):
    """Builds what strict power loss leaves, with other contents of some files; judges it."""
    path = scratch / name
    disk.build(path)
    for file, data in contents.items():
        (path / file).write_bytes(data)
    wrong = powerloss.judge(path, ledger)
    shutil.rmtree(path)
    assert wrong == "", name


def test_log_is_cut(recording, scratch):
    """At every frame of a transaction, and in the middle of frames."""
    rng = random.Random(1)
    cuts = before_syncs(recording, LOG)
    states = 0
    for cut in (cuts[len(cuts) // 3], cuts[-1]):
        disk, ledger = disk_at(recording, cut), recording.ledger(cut)
        log = disk.file(LOG)
        old, new = len(log.synced), len(log.bytes)
        assert new > old and (old - LOG_HEADER) % FRAME == 0
        frames = range(old + FRAME, new, FRAME)
        for at in [*frames, *(rng.randrange(old, new) for _ in range(6))]:
            check(disk, ledger, scratch, f"cut{at}", {LOG: log.torn(at)})
            states += 1
    assert states >= 12  # six in the middle of frames each time


def test_log_is_torn(recording, scratch):
    """Some sectors of the tail are there; some bytes of it are others."""
    rng = random.Random(2)
    cuts = before_syncs(recording, LOG)
    for n, cut in enumerate(rng.sample(cuts[3:], 8)):
        disk, ledger = disk_at(recording, cut), recording.ledger(cut)
        log = disk.file(LOG)
        check(disk, ledger, scratch, f"sectors{n}", {LOG: log.scattered(rng)})
        flipped = bytearray(log.bytes)
        for _ in range(3):
            flipped[rng.randrange(len(log.synced), len(flipped))] ^= 1 << rng.randrange(8)
        check(disk, ledger, scratch, f"flipped{n}", {LOG: bytes(flipped)})


def test_checkpoint_is_torn(large_recording, scratch):
    """The log is being copied into the database, or written over from its start."""
    rng = random.Random(3)
    in_log, in_database = (before_syncs(large_recording, p) for p in (LOG, DATABASE))
    cuts = [*in_database[1:], *(c for c in in_log if c > in_database[1])]
    for n, cut in enumerate(rng.sample(cuts, min(8, len(cuts)))):
        disk, ledger = disk_at(large_recording, cut), large_recording.ledger(cut)
        check(disk, ledger, scratch, f"torn{n}",
              {path: disk.file(path).scattered(rng) for path in (LOG, DATABASE)})


def test_teeth(recording, scratch):
    """A tear in what was synced is a loss: the tests above would see it."""
    cut = before_syncs(recording, LOG)[-1]
    disk, ledger = disk_at(recording, cut), recording.ledger(cut)
    with pytest.raises(AssertionError):
        check(disk, ledger, scratch, "bitten",
              {LOG: disk.file(LOG).synced[:LOG_HEADER + 3 * FRAME]})


# -- syncs that fail

@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "killed"])
@pytest.mark.parametrize("pattern, request_n", [
    ("berth.db-wal", 1), ("berth.db-wal", 3), ("uploads/", 1), ("blobs/", 1), ("uploads", 2)])
def test_failed_sync(tmp_path, recorder, scratch, pattern, request_n, killed):
    """A sync fails once, and the server goes on; or all fail until it is killed and started again, and
    then finds, in the kernel's memory, what the disk does not have. What it acknowledges from then on
    is on the disk."""
    root = tmp_path / "root"
    root.mkdir()
    control = faults.Faults(tmp_path / "control", root, recorder)
    log = tmp_path / "log"
    server = Server(root / "data", powerloss.SETTINGS, env=control.environment(log))
    server.start()
    try:
        session = powerloss.Session(server)
        first, second = session.image("s/a", 1), session.image("s/a", 2)
        session.manifest("s/a", "latest", first)
        data = randbytes(20_000, "new")
        requests = [lambda: session.client.push_raw("s/a", data, "post"),
                    lambda: session.client.push_raw("s/a", data, "patch"),
                    lambda: session.client.put_manifest("s/a", "latest", second)]
        session.ledger.begin({})
        control.arm(faults.SYNC, 1, errno.EIO, pattern, always=killed)
        response = requests[request_n - 1]()
        if killed:
            server.kill()
        hits, _, where = control.disarm()
        assert hits and response.status == 500, (where, response)
        if killed:
            server.start()
            session.client.close()
        session.blob("s/a", data, "patch")
        session.manifest("s/a", "latest", second)
        for seed in range(3, 6):
            session.manifest("s/a", f"t{seed}", session.image("s/a", seed))
    finally:
        server.kill()
    server.check()
    records = replay.read(log)
    assert [r.label for r in records if r.kind == replay.SYNC_FAILED]
    recording = powerloss.Recording(records, session.ledger)
    failed = next(i for i, r in enumerate(records) if r.kind == replay.SYNC_FAILED)
    cuts = [at + 1 for at, _ in recording.steps if at > failed]
    assert powerloss.failures(recording, scratch, {*cuts[::3], cuts[-1], len(records)}) == []

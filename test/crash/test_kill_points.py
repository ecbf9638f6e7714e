"""kill -9 at every call that changes the disk: before each write of a name, each sync, and after it.
What was acknowledged is there afterwards, what was not is there whole or not at all, fsck finds no
error, and collection leaves nothing behind.

As in test_faults.py each step is repeated until it makes no further call; here the program ends there
and is started again."""

import errno

import pytest
import test_faults as steps

from lib import faults
from lib.fsck import assert_sound
from lib.oci import Client, digest, randbytes
from lib.raw import Closed
from lib.server import run

pytestmark = pytest.mark.slow


@pytest.fixture
def tmp_path(scratch):
    return scratch


def kill_each(actor, control, step, kinds, after):
    """How many calls the step made."""
    for n in range(1, steps.CALLS_MAX):
        act = step(actor, f"{step.__name__}{kinds}{after}-{n}".replace("_", "").lower())
        actor.broken = True
        control.arm(kinds, n, faults.KILL, after=after)
        try:
            act()
        except (Closed, OSError):
            pass
        hits, _, where = control.disarm()
        actor.broken = False
        if not hits:
            return n - 1
        actor.client.close()
        actor.server.kill()
        if n % 3 == 0:  # else the server itself is the first to open what is left
            assert_sound(actor.server.data)
        actor.server.start()
        try:
            actor.settle()
            act()
        except Exception as failure:
            raise AssertionError(f"{step.__name__}, killed at call {n}, {where}") from failure
    raise AssertionError(f"{step.__name__} makes more than {steps.CALLS_MAX} calls")


# Calls that steps have in common are met in one of them.
STEPS = [steps.push_blob, steps.push_chunks, steps.push_manifest, steps.delete_all, steps.mount,
         steps.cancel_upload]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_each_call(berth, control, tmp_path, after):
    server = berth(steps.SETTINGS, env=control.environment())
    actor = steps.Actor(server, [str(tmp_path)])
    counted = {}
    for step in STEPS:
        counted[step.__name__] = kill_each(actor, control, step, faults.SYNC | faults.NAME, after)
    print(counted)
    assert sum(counted.values()) > 20
    assert actor.ledger.missing(actor.client) == []
    # A kill between a file's second name and its row strands the file; fsck knows and removes it.
    nothing_is_left(actor, strays_max=8)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_each_call_of_a_collection(berth, control, tmp_path, after):
    """What was to go goes with a later one: no file is forgotten."""
    actor = steps.Actor(berth(steps.SETTINGS, env=control.environment()), [str(tmp_path)])
    assert kill_each(actor, control, steps.collect, faults.SYNC | faults.NAME, after) > 8
    assert actor.ledger.missing(actor.client) == []
    nothing_is_left(actor, strays_max=0)


def nothing_is_left(actor, strays_max):
    """Everything is deleted and collected: no row and no file remains."""
    server = actor.server
    for key in [k for k in actor.ledger.facts if k[0] == "manifest"]:
        actor.gone(*key)
    for _ in range(2):
        assert steps.gc_now(server).status == 200
    actor.client.close()
    server.stop()
    files = [p for p in (server.data / "blobs").rglob("*") if p.is_file()]
    assert len(files) <= strays_max, files
    assert list((server.data / "uploads").iterdir()) == []
    assert run("fsck", "--repair", "--data", server.data).returncode == 0
    assert [p for p in (server.data / "blobs").rglob("*") if p.is_file()] == []


def test_what_failed_does_not_come_back(berth, control):
    """A chunk is refused because its commit could not be synced; the next one, shorter, takes its
    place in the file, and then the server is killed. Had the refused commit come back with the log,
    it would speak of bytes that are gone."""
    server = berth(steps.SETTINGS, env=control.environment())
    client = Client(server, mode="none")
    data = randbytes(30_000, "chunks")
    location = client.start("k/a")
    assert client.patch(location, data[:10_000], 0).status == 202
    control.arm(faults.SYNC, 1, errno.EIO, "berth.db-wal")
    assert client.patch(location, data[10_000:20_000], 10_000).status == 500
    control.arm(faults.SYNC, 1, faults.KILL, "uploads/")
    with pytest.raises((Closed, OSError)):
        client.patch(location, data[10_000:15_000], 10_000)
    assert control.disarm()[0] == 1
    client.close()
    server.kill()
    assert_sound(server.data)
    server.start()
    assert client.status(location)[1] == 9_999
    assert client.put(location, digest(data), data[10_000:], 10_000).status == 201
    assert client.blob("k/a", digest(data)).body == data

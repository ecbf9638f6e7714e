"""The scrub in a running server: a file that rots is found, taken out of service, counted, and
repaired by the next push."""

import errno
import os

from lib import faults
from lib.fsck import fsck
from lib.oci import Client, digest, randbytes

SCRUB = {"auth.anonymous": "push", "scrub.rate": "1GiB", "scrub.interval": "1s"}


def blob_file(server, size):
    return next(p for p in (server.data / "blobs").rglob("*")
                if p.is_file() and p.stat().st_size == size)


def damaged(client):
    response = client.get("/readyz")
    assert response.status == 200
    return response.json()["damaged_blobs"]


def test_rot_is_found_and_repaired(berth):
    server = berth(SCRUB)
    client = Client(server, mode="none")
    data = randbytes(5000, "rot")
    name = client.push("team/app", data)
    client.push("team/app", b"another")
    assert damaged(client) == 0
    path = blob_file(server, 5000)
    with open(path, "r+b") as f:
        f.seek(2500)
        f.write(b"\x00\x01\x02\x03")
    assert server.waits(lambda: server.events("blob_damaged"), 30)
    event, = server.events("blob_damaged")
    assert event["digest"] == name and event["level"] == "error" and event["file"] == path.name
    assert (server.data / "quarantine" / path.name).exists()
    assert client.blob("team/app", name).status == 404
    assert damaged(client) == 1

    assert client.push("team/app", data) == name
    assert client.blob("team/app", name).body == data
    assert damaged(client) == 0
    # Several passes later there was still but the one.
    passes = len(server.events("scrub_finished"))
    assert server.waits(lambda: len(server.events("scrub_finished")) > passes + 1, 30)
    assert len(server.events("blob_damaged")) == 1
    client.close()
    server.stop()
    assert fsck(server.data).code == 0


def test_what_may_not_be_read_is_passed_over(berth, control):
    """One file of another user's is named, left alone, and keeps no other from being read."""
    server = berth(SCRUB, env=control.environment())
    client = Client(server, mode="none")
    data = randbytes(100_000, "foreign")
    foreign = client.push("team/app", data)
    behind = client.push("team/app", randbytes(5000, "rot"))
    path = blob_file(server, 100_000)
    control.arm(faults.LOOK, error=errno.EACCES, pattern=path.name, always=True)
    assert server.waits(lambda: server.events("blob_unreadable"), 30)
    event = server.events("blob_unreadable")[0]
    assert event["digest"] == foreign and event["file"] == path.name and event["level"] == "error"
    blob_file(server, 5000).write_bytes(bytes(5000))
    assert server.waits(lambda: server.events("blob_damaged"), 30)
    assert server.events("blob_damaged")[0]["digest"] == behind
    assert server.waits(lambda: any(int(e["unreadable"]) == 1 == int(e["damaged"])
                                    for e in server.events("scrub_finished")), 30)
    assert control.disarm()[0] > 0
    assert client.blob("team/app", foreign).body == data
    assert damaged(client) == 1 and server.events("scrub_interrupted") == []
    client.close()


def test_can_be_off(berth):
    server = berth({**SCRUB, "scrub.rate": "0B"})
    client = Client(server, mode="none")
    client.push("team/app", randbytes(5000, "rot"))
    os.truncate(blob_file(server, 5000), 10)
    assert damaged(client) == 0
    # What is cut is not served even so.
    assert client.blob("team/app", digest(randbytes(5000, "rot"))).status == 404
    client.close()
    server.stop()
    assert server.events("scrub_finished") == []

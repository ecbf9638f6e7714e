"""What holds after any abuse: the server answers, has given everything back, and has kept nothing
that is not whole."""

import os
import time
from pathlib import Path

from lib.fsck import assert_sound
from lib.oci import Client
from lib.server import sanitized

GROWTH_MAX = (256 if sanitized() else 40) << 20  # a sanitizer keeps what is freed, for a while


class Before:
    """Taken from a server that has done each kind of thing once."""

    def __init__(self, server):
        self.descriptors, self.memory = server.descriptors(), server.memory()


def named(server):
    """What its descriptors are, for a message."""
    folder = Path(f"/proc/{server.process.pid}/fd")
    return sorted(os.readlink(path) for path in folder.iterdir() if "/blobs/" not in os.readlink(path))


def answers(server):
    """A normal request, on a connection of its own, while whatever was sent before is there."""
    client = Client(server, mode="none")
    try:
        return client.once("GET", "/healthz").status == 200
    finally:
        client.close()


def judge(server, before, timeout=20):
    """Ends the server."""
    assert server.running(), f"the server ended:\n{server.text()}"
    end = time.monotonic() + timeout
    while server.descriptors() > before.descriptors + 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert answers(server)
    assert server.descriptors() <= before.descriptors + 3, named(server)
    grown = server.memory() - before.memory
    assert grown <= GROWTH_MAX, f"grown by {grown >> 20} MiB"
    server.stop()
    failed = server.events("request_failed")
    assert not failed, failed[:3]
    assert_sound(server.data)

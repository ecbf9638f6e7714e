"""Failing system calls of a program under test, or killing it at one: the page that test/crash/fault.h
reads. The program must have been started with the recorder preloaded; see environment()."""

import errno
import mmap
import os
import struct

WRITE, SYNC, NAME, OPEN, READ, LOOK = 1, 2, 4, 8, 16, 32
KINDS = {"write": WRITE, "sync": SYNC, "name": NAME}
KILL = 0

_FIELDS = struct.Struct("<IIIIIiII64s256s")


class Faults:
    """One program at a time, and whatever it starts."""

    def __init__(self, path, root, recorder):
        path.write_bytes(bytes(4096))
        self.path, self.root, self.recorder = path, root, recorder
        fd = os.open(path, os.O_RDWR)
        self.page = mmap.mmap(fd, 4096)
        os.close(fd)

    def environment(self, log=None):
        env = {"LD_PRELOAD": self.recorder, "BERTH_RECORD_ROOT": str(self.root),
               "BERTH_FAULT_CONTROL": str(self.path)}
        return env if log is None else {**env, "BERTH_RECORD_LOG": str(log)}

    def arm(self, kinds, first=1, error=errno.EIO, pattern="", always=False, after=False):
        """From now on the `first`-th call, or with `always` every one from there, fails; or, with
        error KILL, ends the program: before it is made, or after."""
        self.page[4:_FIELDS.size] = _FIELDS.pack(0, kinds, first, always, after, error, 0, 0,
                                                 pattern.encode(), b"")[4:]
        self.page[0:4] = struct.pack("<I", 1)

    def disarm(self):
        """(how many calls were hit, how many were counted, the path of the last hit)."""
        self.page[0:4] = struct.pack("<I", 0)
        fields = _FIELDS.unpack(self.page[:_FIELDS.size])
        return fields[7], fields[6], fields[9].rstrip(b"\0").decode()

    def hits(self):
        return struct.unpack_from("<I", self.page, 28)[0]

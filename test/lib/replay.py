"""What a disk holds after power loss, from a recording of what the program asked it to do.

Strict POSIX: a file has the bytes of its last fsync or fdatasync, a directory the names of its last
fsync; nothing else survives. Two more ways a disk may behave are replayed too: names survive at once
but bytes only when synced, and everything survives (as after kill -9).

A sync that fails loses for good what it should have made durable: the kernel tells of it once, calls
the pages clean, and no later sync writes them unless they are written anew."""

import os
import re
import struct
from pathlib import Path

(CREATE, WRITE, TRUNCATE, RENAME, EXCHANGE, LINK, UNLINK, MKDIR, RMDIR, SYNC, SEND, OPEN, SYNC_ALL,
 UNKNOWN, SYNC_FAILED) = range(1, 16)
PAGE, SECTOR = 4096, 512
HEAD = struct.Struct("<IIIIQQQ")

STRICT, NAMES, ALL = "synced only", "names at once", "everything"


class Record:
    __slots__ = ("kind", "path", "path2", "file", "offset", "data", "label")

    def __init__(self, kind, path, path2, file, offset, data):
        self.kind, self.path, self.path2 = kind, path, path2
        self.file, self.offset, self.data = file, offset, data
        self.label = None  # of a SYNC: what it makes durable

    def __repr__(self):
        return f"<{self.kind} {self.label or ''} {self.path} {self.path2} {self.file}>"


def read(path):
    data = Path(path).read_bytes()
    records, at = [], 0
    while at < len(data):
        kind, path_n, path2_n, _, file, offset, data_n = HEAD.unpack_from(data, at)
        at += HEAD.size
        one, two = data[at:at + path_n].decode(), data[at + path_n:at + path_n + path2_n].decode()
        at += path_n + path2_n
        records.append(Record(kind, one, two, file, offset, data[at:at + data_n]))
        at += data_n
        assert at <= len(data)
    unknown = [r.path for r in records if r.kind == UNKNOWN]
    assert not unknown, f"the recorder cannot follow: {unknown}"
    _label(records)
    return records


def _label(records):
    """Names each sync by what it protects, digests and numbers left out."""
    names = {}  # file -> path
    paths = {}  # path -> file
    last_sync = {}  # file -> record
    for r in records:
        if r.kind in (CREATE, OPEN):
            names[r.file], paths[r.path] = r.path, r.file
        elif r.kind == RENAME and r.path in paths:
            file = paths.pop(r.path)
            paths[r.path2], names[file] = file, r.path2
        elif r.kind == LINK:
            paths[r.path2] = r.file
            if r.file in last_sync and "blobs" in r.path2:
                last_sync[r.file].label = "blob file"
        elif r.kind == UNLINK:
            paths.pop(r.path, None)
        elif r.kind in (SYNC, SYNC_FAILED):
            if r.file:
                path = names.get(r.file, "?")
                last_sync[r.file] = r
                r.label = "file " + re.sub(r"uploads/[^/]+$", "uploads/*", path)
            else:
                r.label = "directory " + re.sub(r"blobs/[^/]+$", "blobs/*", r.path)


class _File:
    def __init__(self):
        self.bytes, self.synced = bytearray(), b""
        self.dirty, self.lost = set(), set()  # pages: to be synced; that no sync will write

    def write(self, offset, data):
        if len(self.bytes) < offset:
            self.bytes.extend(bytes(offset - len(self.bytes)))
        self.bytes[offset:offset + len(data)] = data
        self._touch(offset, len(data))

    def truncate(self, size):
        if len(self.bytes) > size:
            del self.bytes[size:]
        else:
            self.bytes.extend(bytes(size - len(self.bytes)))
        self._touch(size, 1)

    def _touch(self, offset, n):
        pages = range(offset // PAGE, (offset + n - 1) // PAGE + 1)
        self.dirty.update(pages)
        self.lost.difference_update(pages)

    def sync(self):
        self.dirty = set()
        if not self.lost:
            self.synced = bytes(self.bytes)
            return
        data = bytearray(self.bytes)
        for at in (page * PAGE for page in self.lost):
            old = self.synced[at:at + PAGE]
            n = len(data[at:at + PAGE])
            data[at:at + PAGE] = old[:n] + bytes(n - len(old[:n]))
        self.synced = bytes(data)

    def sync_failed(self):
        self.lost |= self.dirty
        self.dirty = set()

    def torn(self, at):
        """What was written since the last sync reached the disk before position `at`, not behind."""
        return bytes(self.bytes[:at]) + self.synced[at:]

    def scattered(self, rng):
        """Of the sectors written since the last sync any may have reached the disk."""
        data = bytearray(rng.choice([self.bytes, self.synced]))
        for at in range(0, len(data), SECTOR):
            data[at:at + SECTOR] = rng.choice([self.bytes, self.synced])[at:at + SECTOR].ljust(
                len(data[at:at + SECTOR]), b"\0")
        return bytes(data)


class _Directory:
    def __init__(self):
        self.names, self.synced = {}, {}
        self.lost = set()

    def touch(self, name):
        self.lost.discard(name)

    def sync(self):
        kept = {name: self.synced[name] for name in self.lost if name in self.synced}
        self.synced = {n: c for n, c in self.names.items() if n not in self.lost} | kept

    def sync_failed(self):
        names = self.names.keys() | self.synced.keys()
        self.lost |= {n for n in names if self.names.get(n) is not self.synced.get(n)}


class Disk:
    """Apply records one by one; build() makes the directory a crash would leave now."""

    def __init__(self, ignore=()):
        self.root = _Directory()
        self.files = {}
        self.ignore = set(ignore)  # labels of syncs that shall not have happened

    def _folder(self, path):
        node = self.root
        for name in [p for p in path.split("/") if p not in ("", ".")]:
            node = node.names[name]
        return node

    def file(self, path):
        folder, name = self._at(path)
        return folder.names[name]

    def _at(self, path):
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def apply(self, r):
        if r.kind == CREATE:
            self.files[r.file] = _File()
            if r.path:
                folder, name = self._at(r.path)
                folder.names[name] = self.files[r.file]
                folder.touch(name)
        elif r.kind == OPEN:  # a file of an earlier process; only what the log tells of is known
            folder, name = self._at(r.path)
            self.files[r.file] = folder.names[name]
        elif r.kind == WRITE:
            self.files[r.file].write(r.offset, r.data)
        elif r.kind == TRUNCATE:
            self.files[r.file].truncate(r.offset)
        elif r.kind in (RENAME, EXCHANGE):
            folder, name = self._at(r.path)
            folder2, name2 = self._at(r.path2)
            node = folder.names.pop(name)
            if r.kind == EXCHANGE:
                folder.names[name] = folder2.names[name2]
            folder2.names[name2] = node
            folder.touch(name)
            folder2.touch(name2)
        elif r.kind == LINK:
            folder, name = self._at(r.path2)
            folder.names[name] = self.files[r.file]
            folder.touch(name)
        elif r.kind in (UNLINK, RMDIR):
            folder, name = self._at(r.path)
            folder.names.pop(name, None)  # sockets are made unseen
            folder.touch(name)
        elif r.kind == MKDIR:
            folder, name = self._at(r.path)
            folder.names[name] = _Directory()
            folder.touch(name)
        elif r.kind in (SYNC, SYNC_FAILED) and r.label not in self.ignore:
            node = self.files[r.file] if r.file else self._folder(r.path)
            node.sync() if r.kind == SYNC else node.sync_failed()
        elif r.kind == SYNC_ALL:
            raise AssertionError("syncfs hides what the single syncs do")

    def build(self, path, mode=STRICT):
        made = {}

        def walk(node, where):
            where.mkdir()
            for name, child in (node.synced if mode == STRICT else node.names).items():
                if isinstance(child, _Directory):
                    walk(child, where / name)
                elif name.endswith("-shm"):
                    continue  # shared memory: worthless after a crash, rebuilt by SQLite
                elif id(child) in made:  # a rename that is durable on one side only
                    os.link(made[id(child)], where / name)
                else:
                    made[id(child)] = where / name
                    (where / name).write_bytes(child.bytes if mode == ALL else child.synced)

        walk(self.root, Path(path))

"""What a disk holds after power loss, from a recording of what the program asked it to do.

Strict POSIX: a file has the bytes of its last fsync or fdatasync, a directory the names of its last
fsync; nothing else survives. Two more ways a disk may behave are replayed too: names survive at once
but bytes only when synced, and everything survives (as after kill -9)."""

import os
import re
import struct
from pathlib import Path

(CREATE, WRITE, TRUNCATE, RENAME, EXCHANGE, LINK, UNLINK, MKDIR, RMDIR, SYNC, SEND, OPEN, SYNC_ALL,
 UNKNOWN) = range(1, 15)
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
    unknown = [r.path for r in records if r.kind in (UNKNOWN, OPEN)]
    assert not unknown, f"the recorder cannot follow: {unknown}"
    _label(records)
    return records


def _label(records):
    """Names each sync by what it protects, digests and numbers left out."""
    names = {}  # file -> path
    paths = {}  # path -> file
    last_sync = {}  # file -> record
    for r in records:
        if r.kind == CREATE:
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
        elif r.kind == SYNC:
            if r.file:
                path = names.get(r.file, "?")
                last_sync[r.file] = r
                r.label = "file " + re.sub(r"uploads/[^/]+$", "uploads/*", path)
            else:
                r.label = "directory " + re.sub(r"blobs/[^/]+$", "blobs/*", r.path)


class _File:
    def __init__(self):
        self.bytes, self.synced = bytearray(), b""


class _Directory:
    def __init__(self):
        self.names, self.synced = {}, {}


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

    def _at(self, path):
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def apply(self, r):
        if r.kind == CREATE:
            self.files[r.file] = _File()
            if r.path:
                folder, name = self._at(r.path)
                folder.names[name] = self.files[r.file]
        elif r.kind == WRITE:
            data = self.files[r.file].bytes
            if len(data) < r.offset:
                data.extend(bytes(r.offset - len(data)))
            data[r.offset:r.offset + len(r.data)] = r.data
        elif r.kind == TRUNCATE:
            data = self.files[r.file].bytes
            if len(data) > r.offset:
                del data[r.offset:]
            else:
                data.extend(bytes(r.offset - len(data)))
        elif r.kind in (RENAME, EXCHANGE):
            folder, name = self._at(r.path)
            folder2, name2 = self._at(r.path2)
            node = folder.names.pop(name)
            if r.kind == EXCHANGE:
                folder.names[name] = folder2.names[name2]
            folder2.names[name2] = node
        elif r.kind == LINK:
            folder, name = self._at(r.path2)
            folder.names[name] = self.files[r.file]
        elif r.kind in (UNLINK, RMDIR):
            folder, name = self._at(r.path)
            del folder.names[name]
        elif r.kind == MKDIR:
            folder, name = self._at(r.path)
            folder.names[name] = _Directory()
        elif r.kind == SYNC and r.label not in self.ignore:
            if r.file:
                self.files[r.file].synced = bytes(self.files[r.file].bytes)
            else:
                folder = self._folder(r.path)
                folder.synced = dict(folder.names)
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

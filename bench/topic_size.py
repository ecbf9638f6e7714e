"""Memory, start and size of the program."""
import os
import shutil
import socket
import subprocess
import time

import machine
from report import Case

CONNECTIONS = 1000
STARTS = 10
SETTLE_SECONDS = 1.0


def stripped_bytes(bench, program, name):
    copy = os.path.join(bench.folder, f"{name}.stripped")
    shutil.copyfile(program, copy)
    strip = shutil.which("strip")
    if strip:
        subprocess.run([strip, copy], check=True)
    size = os.path.getsize(copy)
    os.unlink(copy)
    return size


def idle_connections(peer, n):
    """Connections that have each made one request and stay open."""
    request = b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    open_now = []
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", peer.port), 5)
        s.sendall(request)
        open_now.append(s)
    for s in open_now:
        s.recv(65536)
    return open_now


def run(bench):
    binary = Case("program, stripped", "bytes", "MiB", 2**20, False, (None, 3 * 2**20))
    start = Case(f"start to first answer, initialised store, {STARTS} starts", "seconds", "ms", 1e-3,
                 False, (None, 0.050))
    idle = Case("memory, idle (VmRSS)", "bytes", "MiB", 2**20, False, (None, 12 * 2**20))
    many = Case(f"memory, {CONNECTIONS:,} idle connections (VmRSS)", "bytes", "MiB", 2**20, False,
                (None, 24 * 2**20))
    running = [bench.peer(name) for name in bench.names]
    for peer in running:
        bench.progress(f"size: {peer.name}")
        binary.add(peer.name, {"bytes": stripped_bytes(bench, peer.program, peer.name)})
        peer.start(pinned=True)  # makes the store
        peer.stop()
    bench.progress(f"size: {STARTS} starts")
    for _ in range(STARTS):
        for peer in running:
            start.add(peer.name, {"seconds": peer.start(pinned=True)})
            peer.stop()
    for peer in running:
        bench.progress(f"size: memory of {peer.name}")
        peer.start(pinned=True)
        time.sleep(SETTLE_SECONDS)
        idle.add(peer.name, {"bytes": machine.memory_bytes(peer.pid, "VmRSS")})
        connections = idle_connections(peer, CONNECTIONS)
        time.sleep(SETTLE_SECONDS)
        many.add(peer.name, {"bytes": machine.memory_bytes(peer.pid, "VmRSS")})
        for s in connections:
            s.close()
        bench.drop(peer)
    return [binary, start, idle, many], (), bench.placement.describe(True)

"""Memory, start and size of the program."""
import os
import shutil
import subprocess
import tempfile
import time

import machine
import peers
import topic_push
import topic_wire
from report import Case, table  # noqa: F401

CONNECTIONS = 1000
STARTS = 10
SETTLE_SECONDS = 1.0
CALM_SECONDS = 30
MIXED_BLOB = 256 << 20


def stripped_bytes(bench, program, name):
    copy = os.path.join(bench.folder, f"{name}.stripped")
    shutil.copyfile(program, copy)
    strip = shutil.which("strip")
    if strip:
        subprocess.run([strip, copy], check=True)
    size = os.path.getsize(copy)
    os.unlink(copy)
    return size


def resident(peer):
    time.sleep(SETTLE_SECONDS)
    return {"bytes": machine.memory_bytes(peer.pid, "VmRSS")}


def with_connections(bench, peer):
    """While as many clients as CONNECTIONS have each made one request and stay."""
    crowd = bench.crowd("idle", "-c", CONNECTIONS, "-s", 600, f"{peer.url}/v2/")
    numbers = resident(peer)
    bench.disperse(crowd)
    return numbers


def mixed_run(bench, peer):
    """Reads and writes, small and large, by many clients, one kind after the other."""
    manifest, blobs = topic_wire.image()
    topic_wire.fill(peer, manifest, blobs)
    tag, _, little, big = topic_wire.paths(manifest, blobs)
    auth = topic_push.arguments(peer)
    root = f"{peer.url}/v2/{peers.REPOSITORY}"
    seconds = bench.seconds
    pushes = [("-c", 4, "-n", 4, "-z", MIXED_BLOB), ("-c", 32, "-n", 2000, "-z", 2048),
              ("-p", "-c", 8, "-n", 64, "-z", 1 << 20)]
    for arguments in pushes if peer.serves_pushes else []:
        bench.seed += 1
        bench.against(peer, "push", *arguments, "-S", bench.seed, *auth, root, pinned=False)
    for path, connections in ((tag, 256), (little, 256), (big, 16)):
        bench.against(peer, "get", "-c", connections, "-s", seconds, *auth, "-H",
                      f"Accept: {topic_wire.MANIFEST}", peer.url + path, pinned=False)


def memory(bench, name, tls, cases):
    idle, many, many_tls, after = cases
    peer = bench.peer(name)
    peer.start(pinned=True)
    bench.progress(f"size: memory of {name}")
    idle.add(name, resident(peer))
    many.add(name, with_connections(bench, peer))
    bench.drop(peer)
    peer = bench.peer(name, tls=tls)
    peer.start(pinned=True)
    many_tls.add(name, with_connections(bench, peer))
    bench.drop(peer)
    with tempfile.TemporaryDirectory(prefix="berth-bench-", dir=bench.data) as folder:
        peer = bench.peer(name, folder)
        peer.start(pinned=False)
        mixed_run(bench, peer)
        time.sleep(CALM_SECONDS)
        after.add(name, {**resident(peer), "hwm_bytes": machine.memory_bytes(peer.pid, "VmHWM")})
        bench.drop(peer)


def run(bench):
    tls = peers.make_certificate(os.path.join(bench.folder, "tls"))

    def size(name, most, extra=()):
        return Case(name, "bytes", "MiB", 2**20, False, [(None, most * 2**20)], extra)

    binary = size("program, stripped", 3)
    start = Case(f"start to first answer, initialised store, {STARTS} starts", "seconds", "ms", 1e-3,
                 False, [(None, 0.050)])
    cases = [size("memory, idle (VmRSS)", 12),
             size(f"memory, {CONNECTIONS:,} idle connections (VmRSS)", 24),
             size(f"memory, {CONNECTIONS:,} idle TLS connections (VmRSS)", 64),
             size(f"memory, {CALM_SECONDS} s after a mixed run (VmRSS)", 24,
                  [("hwm_bytes", "most during the run (VmHWM)", "MiB", 2**20)])]
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
        bench.drop(peer)
    for _ in range(min(3, bench.rounds)):
        for name in bench.names:
            memory(bench, name, tls, cases)
    title = (f"{bench.placement.describe(True)}; the mixed run: four pushes of "
             f"{MIXED_BLOB >> 20} MiB, small pushes by 32 and by 8 clients, manifest and blob reads "
             "by up to 256, on all CPUs (nginx: the reads)")
    return [binary, start, *cases], (), title

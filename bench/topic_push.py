"""Writes: one large stream, four at once, small durable pushes, manifests."""
import json
import os
import tempfile

import machine
import peers
import topic_wire
from report import Case, table  # noqa: F401

LARGE, SMALL = 1 << 30, 2048
MEMORY = "/dev/shm"
SHA, SHA_ALL, DISK = "SHA-256", "SHA-256, all cores", "write+fsync"
BARE = "bare receiver"
PREPARED = 30_000  # small blobs a round may use up per second
MEMORY_MAX, SHARE = 48 << 20, 0.85


def writers(bench):
    return [name for name in bench.names if peers.KINDS[name].serves_pushes]


def arguments(peer):
    return [a for line in peer.authorization() for a in ("-H", line)]


def has_memory(size):
    return os.path.isdir(MEMORY) and machine.free_bytes(MEMORY) > size + (1 << 30)


def large(bench, case, folder, pinned, streams=1, patch=False):
    """Rounds of `streams` pushes at once, each round on a fresh store: it bounds the space, and each
    peak of memory is one push's. The ceilings are measured in between."""
    room = machine.free_bytes(folder)
    size = LARGE
    while size > 1 << 26 and room < 2 * streams * size + (1 << 30):
        size //= 2
    if size != LARGE:
        bench.notes.append(f"{case.name}: blobs of {size >> 20} MiB only, for lack of space")
    bench.progress(f"push: {case.name}")
    for n in range(bench.rounds):
        case.add(SHA, {"out_per_second": bench.sha256_rate(pinned)})
        if streams > 1:
            case.add(SHA_ALL, {"out_per_second": bench.sha256_rate(pinned, len(bench.placement.all))})
        case.add(DISK, {"out_per_second": bench.disk_rate(folder)})
        if not pinned and not patch:
            case.add(BARE, {"out_per_second": bench.receiver_rate(folder, streams, size)})
        for name in writers(bench)[::-1 if n % 2 else 1]:
            peer = bench.peer(name, folder)
            peer.start(pinned)
            bench.seed += 1
            numbers = bench.against(
                peer, "push", *(["-p"] if patch else []), "-c", streams, "-n", streams, "-z", size,
                "-S", bench.seed, "-s", 600, *arguments(peer), f"{peer.url}/v2/{peers.REPOSITORY}",
                pinned=pinned, limit=600)
            numbers["hwm_bytes"] = machine.memory_bytes(peer.pid, "VmHWM")
            bench.drop(peer)
            case.add(name, numbers)


def small(bench, case, folder, command, path):
    """Timed rounds against servers that stay up."""
    bench.progress(f"push: {case.name}")
    running = []
    for name in writers(bench):
        peer = bench.peer(name, folder)
        peer.start(True)
        topic_wire.fill(peer, *image())
        running.append(peer)
    for n in range(-1, bench.rounds):
        turn = max(n, 0) % len(running)
        for peer in running[turn:] + running[:turn]:
            bench.seed += 1
            seconds = bench.seconds if n >= 0 else min(0.5, bench.seconds)
            before = peer.syncs()
            numbers = bench.against(peer, *command, "-s", seconds, "-S", bench.seed,
                                    *arguments(peer), peer.url + path)
            for kind, count in peer.syncs().items():
                if count > before[kind]:
                    numbers[f"per_{kind}"] = numbers["operations"] / (count - before[kind])
            if n >= 0:
                case.add(peer.name, numbers)
    for peer in running:
        bench.drop(peer)


def image():
    """A small image whose blobs the manifests of the bench name."""
    config, layer = b'{"architecture":"amd64","os":"linux"}', b"layer" * 400
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": topic_wire.MANIFEST,
        "config": topic_wire.descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [topic_wire.descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
        "annotations": {"org.example.number": "@NUMBER@@@@@"},
    }).encode()
    return manifest, [config, layer]


def run(bench):
    stream = [("server_cpu", "server CPU", "%", 0.01),
              ("server_us_per_mb", "server CPU per MB", "µs", 1),
              ("hwm_bytes", "peak memory (VmHWM)", "MiB", 2**20),
              ("cpu", "generator's CPU", "%", 0.01)]
    each = [("server_us", "server CPU per push", "µs", 1), ("p50_us", "latency, median", "µs", 1),
            ("p99_us", "latency, 99 %", "µs", 1),
            ("per_commit", "pushes per commit of the database", "", 1),
            ("per_sync", "pushes per sync of a file or directory", "", 1)]
    done = []

    def flow(name, *targets):
        done.append(Case(name, "out_per_second", "MB/s", 1e6, True, targets, stream))
        return done[-1]

    def rate(name, *targets):
        done.append(Case(name, "per_second", "push/s", 1, True, targets, each))
        return done[-1]

    if has_memory(2 * LARGE):
        with tempfile.TemporaryDirectory(prefix="berth-bench-", dir=MEMORY) as folder:
            large(bench, flow("1 GiB, one stream, tmpfs, all CPUs", (SHA, SHARE)), folder, False)
            large(bench, flow("1 GiB, one stream, tmpfs, pinned"), folder, True)
            large(bench, flow("1 GiB by PATCH, one stream, tmpfs, all CPUs"), folder, False,
                  patch=True)
            if has_memory(8 * LARGE):
                large(bench, flow("1 GiB, four streams, tmpfs, all CPUs"), folder, False, streams=4)
    else:
        bench.notes.append(f"no room in {MEMORY}: pushes on tmpfs left out")
    large(bench, flow("1 GiB, one stream, disk, all CPUs", (SHA, SHARE)), bench.data, False)
    four = flow("1 GiB, four streams, disk, all CPUs")
    large(bench, four, bench.data, False, streams=4)
    peak = Case("  of these, peak memory (VmHWM)", "hwm_bytes", "MiB", 2**20, False,
                [(None, MEMORY_MAX)])
    peak.rounds = {n: r for n, r in four.rounds.items() if n in peers.KINDS}
    done.append(peak)
    blobs = ["push", "-z", SMALL, "-n", int(PREPARED * bench.seconds) + 1000]
    root = f"/v2/{peers.REPOSITORY}"
    small(bench, rate("2 KB blobs, 8 clients, disk, pinned", ("docker-registry", 5)), bench.data,
          [*blobs, "-c", 8], root)
    small(bench, rate("2 KB blobs, 32 clients, disk, pinned"), bench.data, [*blobs, "-c", 32], root)
    with tempfile.NamedTemporaryFile(dir=bench.data) as f:
        f.write(image()[0])
        f.flush()
        command = ["put", "-c", 8, "-f", f.name, "-H", f"Content-Type: {topic_wire.MANIFEST}"]
        small(bench, rate("manifest PUT by new tag, 8 clients, disk, pinned"), bench.data, command,
              f"{root}/manifests/t@NUMBER@@@@@")
    title = (f"pinned: {bench.placement.describe(True)}; medians of {bench.rounds} interleaved "
             "rounds; docker-registry does not sync, Berth answers after fsync and commit")
    return done, (SHA, SHA_ALL, DISK, BARE), title

"""TLS 1.3 and HTTP/2: reads beside the others, writes beside our own HTTP/1.1."""
import os
import tempfile

import machine
import peers
import topic_push
import topic_wire
from report import Case, table  # noqa: F401

PUSH_BYTES = 512 << 20
H1, H2, H2_FOUR = "HTTP/1.1", "HTTP/2", "HTTP/2, 4 connections"
STREAMS = ("-2", "-c", 4, "-m", 8)


def cases(manifest, blobs):
    tag, _, little, big = topic_wire.paths(manifest, blobs)
    sends = [("nginx", 0.95)]
    reads = [("nginx", 1.0)]
    return [
        (topic_wire.rate(f"manifest GET by tag, {H1}, 32 connections", reads), ["-c", 32], tag),
        (topic_wire.rate("manifest GET by tag, HTTP/2, 4 connections of 8 streams", reads),
         STREAMS, tag),
        (topic_wire.rate("blob GET 2 KB, HTTP/2, 4 connections of 8 streams", reads), STREAMS,
         little),
        (topic_wire.flow(f"blob GET 100 MB, {H1}, 1 connection", sends), ["-c", 1], big),
        (topic_wire.flow(f"blob GET 100 MB, {H1}, 4 connections", sends), ["-c", 4], big),
        (topic_wire.flow("blob GET 100 MB, HTTP/2, 1 connection, 1 stream", sends),
         ["-2", "-c", 1], big),
        (topic_wire.flow("blob GET 100 MB, HTTP/2, 1 connection of 4 streams", sends),
         ["-2", "-c", 1, "-m", 4], big),
    ]


def push_rates(bench, tls, folder):
    """Berth alone: the same push over each protocol, as columns of one row each."""
    kinds = [("cleartext, HTTP/1.1", None, []), (f"TLS, {H1}", tls, []), (f"TLS, {H2}", tls, ["-2"])]
    made = []
    for streams in (1, 4):
        group = [Case(f"push of {PUSH_BYTES >> 20} MiB, {streams} at a time, {name}",
                      "out_per_second", "MB/s", 1e6, True, (), topic_wire.FLOW) for name, _, _ in kinds]
        for n in range(bench.rounds):
            for i in [(i + n) % len(kinds) for i in range(len(kinds))]:
                _, with_tls, protocol = kinds[i]
                bench.progress(f"tls: {group[i].name}")
                peer = bench.peer("berth", folder, tls=with_tls)
                peer.start(pinned=False)
                bench.seed += 1
                how = ["-c", streams] if not protocol else ["-2", "-c", 1, "-m", streams]
                group[i].add("berth", bench.against(
                    peer, "push", *how, "-n", streams, "-z", PUSH_BYTES, "-S", bench.seed, "-s", 600,
                    *topic_push.arguments(peer), f"{peer.url}/v2/{peers.REPOSITORY}", pinned=False,
                    limit=600))
                bench.drop(peer)
        for case, base in zip(group[2:], group[1:]):
            case.rounds["TLS, HTTP/1.1"] = base.rounds["berth"]
            case.targets = [("TLS, HTTP/1.1", 0.9)]
        made += group
    return made


def run(bench):
    tls = peers.make_certificate(os.path.join(bench.folder, "tls"))
    done, _, title = topic_wire.run(bench, "tls", cases, tls)
    if "berth" in bench.names and topic_push.has_memory(4 * PUSH_BYTES):
        with tempfile.TemporaryDirectory(prefix="berth-bench-", dir=topic_push.MEMORY) as folder:
            done += push_rates(bench, tls, folder)
    title += ("; TLS 1.3, TLS_AES_128_GCM_SHA256, the same ECDSA P-256 certificate for all; pushes: "
              f"to tmpfs, {bench.placement.describe(False)}")
    return done, ("TLS, HTTP/1.1",), title

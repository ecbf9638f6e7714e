"""Reads without TLS: manifests and blobs, small and large, by many clients and few."""
import hashlib
import json
import os

import peers
from report import Case, table  # noqa: F401  table: how bench.py shows this topic

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYERS = 8
SMALL, LARGE, RANGE = 2048, 100_000_000, 1_000_000
EACH = [("server_us", "server CPU per request", "µs", 1), ("p50_us", "latency, median", "µs", 1),
        ("p99_us", "latency, 99 %", "µs", 1), ("cpu", "generator's share of its core", "%", 0.01)]
FLOW = [("server_us_per_mb", "server CPU per MB", "µs", 1), ("server_cpu", "server CPU", "%", 0.01),
        ("cpu", "generator's share of its core", "%", 0.01)]


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(media_type, content):
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def image():
    """(manifest, blobs): a manifest of about the size common images have."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs":
                         {"type": "layers", "diff_ids": []}}).encode()
    layers = [os.urandom(SMALL) for _ in range(LAYERS)] + [os.urandom(LARGE)]
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", b) for b in layers],
    }).encode()
    return manifest, [config, *layers]


def fill(peer, manifest, blobs):
    for blob in blobs:
        peer.push_blob(blob)
    for reference in ("latest", digest(manifest)):
        peer.push_manifest(reference, manifest, MANIFEST)


def rate(name, targets=()):
    return Case(name, "per_second", "req/s", 1, True, targets, EACH)


def flow(name, targets=()):
    return Case(name, "in_per_second", "MB/s", 1e6, True, targets, FLOW)


def paths(manifest, blobs):
    """Of the manifest by tag and by digest, of a small blob and of the large one."""
    root = f"/v2/{peers.REPOSITORY}"
    return (f"{root}/manifests/latest", f"{root}/manifests/{digest(manifest)}",
            f"{root}/blobs/{digest(blobs[1])}", f"{root}/blobs/{digest(blobs[-1])}")


def cases(manifest, blobs):
    """(case, generator arguments, path)"""
    tag, by_digest, little, big = paths(manifest, blobs)
    reads = [("nginx", 1.0), ("docker-registry", 40)]
    sends = [("nginx", 0.95)]
    return [
        (rate("manifest GET by tag, 32 connections", reads), ["-c", 32], tag),
        (rate("manifest HEAD by tag, 32 connections", reads), ["-c", 32, "-X", "HEAD"], tag),
        (rate("manifest GET by digest, 32 connections", reads), ["-c", 32], by_digest),
        (rate("blob GET 2 KB, 32 connections", reads[:1]), ["-c", 32], little),
        (flow("blob GET 1 MB ranges, 4 connections", sends),
         ["-c", 4, "-r", RANGE, "-t", LARGE], big),
        (flow("blob GET 100 MB, 1 connection", sends), ["-c", 1], big),
        (flow("blob GET 100 MB, 4 connections", sends), ["-c", 4], big),
    ]


def measure(bench, topic, case, running, arguments, path):
    """Rounds of one case, interleaved. The round before the first warms caches and does not count."""
    bench.progress(f"{topic}: {case.name}")
    accept = ["-H", f"Accept: {MANIFEST}"] if "/manifests/" in path else []
    for n in range(-1, bench.rounds):
        turn = max(n, 0) % len(running)
        for peer in running[turn:] + running[:turn]:
            auth = [a for line in peer.authorization() for a in ("-H", line)]
            seconds = bench.seconds if n >= 0 else min(0.5, bench.seconds)
            numbers = bench.against(peer, "get", "-s", seconds, *arguments, *accept, *auth,
                                    peer.url + path)
            if n >= 0:
                case.add(peer.name, numbers)
    if any((case.median(p.name, "cpu") or 0) > 0.95 for p in running):
        bench.notes.append(f"{case.name}: the generator was at its limit")


def run(bench, topic="wire", wanted=cases, tls=None):
    manifest, blobs = image()
    running = []
    for name in bench.names:
        peer = bench.peer(name, tls=tls)
        peer.start(pinned=True)
        fill(peer, manifest, blobs)
        running.append(peer)
    done = wanted(manifest, blobs)
    for case, arguments, path in done:
        measure(bench, topic, case, running, arguments, path)
    for peer in running:
        bench.drop(peer)
    title = (f"{bench.placement.describe(True)}; medians of {bench.rounds} interleaved rounds of "
             f"{bench.seconds:g} s; manifest of {len(manifest):,} bytes; Berth with a bearer token on "
             "a private repository, docker-registry without authentication, nginx static files")
    return [case for case, _, _ in done], (), title

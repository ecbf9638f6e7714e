#!/usr/bin/env python3
"""Berth, nginx and Docker's registry side by side. Called by ./dev bench; docs/performance.md has the
rules. `bench.py report` makes that file's tables and plot from the results of the last runs."""
import argparse
import json
import os
import resource
import signal
import subprocess
import sys

import machine
import peers
import report
import publish
import topic_gc
import topic_load
import topic_push
import topic_scale
import topic_size
import topic_tls
import topic_wire

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOPICS = {"wire": topic_wire, "tls": topic_tls, "push": topic_push, "size": topic_size,
          "load": topic_load, "scale": topic_scale, "gc": topic_gc}
LOAD_GRACE_SECONDS = 180  # beyond its own limit, for digests and a slow disk


class Bench:
    """What a topic works with: settings, the generator, and servers that are always stopped."""

    def __init__(self, options):
        self.rounds = options.rounds
        self.seconds = options.seconds
        self.names = options.peers
        self.images = options.images
        self.placement = machine.Placement()
        self.folder = os.path.join(ROOT, "build/bench")
        self.data = os.path.join(self.folder, "data", str(os.getpid()))
        self.results = os.path.join(self.folder, "results")
        self.program = os.path.join(self.folder, "load")
        self.running = []
        self.crowds = []
        self.seed = int.from_bytes(os.urandom(3), "big")
        self.notes = []

    def peer(self, name, data=None, tls=None):
        peer = peers.KINDS[name](ROOT, data or self.data, self.placement, tls)
        peer.destroy()
        self.running.append(peer)
        return peer

    def drop(self, peer):
        peer.destroy()
        self.running.remove(peer)

    def close(self):
        for process in self.crowds:
            process.kill()
            process.wait()
        self.crowds = []
        for peer in list(self.running):
            self.drop(peer)

    def progress(self, text):
        print(text, file=sys.stderr, flush=True)

    def load(self, *arguments, pinned=True, limit=60):
        """Runs the generator; returns its numbers. Arguments are turned to text."""
        argv = [self.program, *map(str, arguments)]
        process = machine.spawn(argv, self.placement.cpus(pinned, "client"),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=limit + LOAD_GRACE_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if not out:
            raise peers.Failed(f"{' '.join(argv)}: {err.strip()}")
        return json.loads(out)

    def against(self, peer, *arguments, pinned=True, limit=60, errors_max=0):
        """The same, aimed at a peer, with the CPU time the server spent on it."""
        before = machine.cpu_seconds(peer.pid)
        numbers = self.load(*arguments, pinned=pinned, limit=limit)
        used = machine.cpu_seconds(peer.pid) - before
        if numbers["errors"] > errors_max:
            raise peers.Failed(f"{peer.name}: {numbers['errors']} errors in load "
                               f"{' '.join(map(str, arguments))}: {numbers['first_error']}")
        if numbers["seconds"] <= 0:
            raise peers.Failed(f"{peer.name}: load ran for no time")
        numbers["per_second"] = numbers["operations"] / numbers["seconds"]
        numbers["in_per_second"] = numbers["bytes_in"] / numbers["seconds"]
        numbers["out_per_second"] = numbers["bytes_out"] / numbers["seconds"]
        numbers["server_cpu"] = used / numbers["seconds"]
        if numbers["operations"]:
            numbers["server_us"] = used * 1e6 / numbers["operations"]
        if numbers["bytes_in"] + numbers["bytes_out"]:
            numbers["server_us_per_mb"] = used * 1e12 / (numbers["bytes_in"] + numbers["bytes_out"])
        return numbers

    def crowd(self, *arguments, pinned=False):
        """Starts clients that hold on until they are ended with disperse()."""
        argv = [self.program, *map(str, arguments)]
        process = machine.spawn(argv, self.placement.cpus(pinned, "client"),
                                stdout=subprocess.PIPE, text=True)
        self.crowds.append(process)
        if process.stdout.readline().strip() != "ready":
            process.wait()
            raise peers.Failed(f"{' '.join(argv)}: the clients could not take their places")
        return process

    def disperse(self, process):
        """Ends a crowd; returns its numbers."""
        self.crowds.remove(process)
        process.terminate()
        return json.loads(process.communicate(timeout=60)[0])

    def end(self, process):
        self.crowds.remove(process)
        process.terminate()
        process.communicate()

    def sha256_rate(self, pinned=True, threads=1):
        """Measured where the server runs."""
        argv = [self.program, "sha256", "-s", "0.5", "-c", str(threads)]
        process = machine.spawn(argv, self.placement.cpus(pinned, "server"),
                                stdout=subprocess.PIPE, text=True)
        return json.loads(process.communicate(timeout=60)[0])["bytes_per_second"]

    def receiver_rate(self, folder, streams, size):
        """What any receiver could do here, with all CPUs."""
        os.makedirs(folder, exist_ok=True)
        return self.load("receive", "-c", streams, "-z", size, os.path.join(folder, "probe"),
                         pinned=False)["bytes_per_second"]

    def disk_rate(self, folder, size=1 << 29):
        os.makedirs(folder, exist_ok=True)
        return self.load("disk", "-z", size, os.path.join(folder, "probe"))["bytes_per_second"]


def parse(argv):
    p = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    p.add_argument("topics", nargs="*", metavar="topic", help=", ".join(TOPICS) + "; default all; or "
                   "report: docs/performance.md from the results that are there")
    p.add_argument("--rounds", type=int, default=5, help="rounds a case (default 5)")
    p.add_argument("--seconds", type=float, default=1.5, help="length of a round (default 1.5)")
    p.add_argument("--peers", type=lambda s: s.split(","), default=list(peers.KINDS),
                   help="comma-separated, of " + ", ".join(peers.KINDS))
    p.add_argument("--images", type=int, default=100_000,
                   help="gc: images in the store that is collected (default 100000)")
    options = p.parse_args(argv)
    options.topics = options.topics or list(TOPICS)
    for name in options.topics:
        if name not in TOPICS:
            p.error(f"no topic {name}: {', '.join(TOPICS)}")
    for name in options.peers:
        if name not in peers.KINDS:
            p.error(f"no peer {name}: {', '.join(peers.KINDS)}")
    if options.rounds < 1 or options.seconds <= 0:
        p.error("rounds and seconds are positive")
    return options


def main(argv):
    if argv == ["report"]:
        return publish.main(ROOT)
    options = parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    bench = Bench(options)
    os.makedirs(bench.data, exist_ok=True)
    about = machine.describe(bench.data)
    about["sha256_bytes_per_second"] = bench.sha256_rate()
    about["disk_bytes_per_second"] = bench.disk_rate(bench.data)
    print(report.machine_text(about))
    for name in options.topics:
        bench.notes = []
        try:
            cases, ceilings, title = TOPICS[name].run(bench)
        finally:
            bench.close()
        rows = TOPICS[name].table(cases, ceilings)
        print(f"\n{name}: {title}\n{report.render(rows)}")
        for note in bench.notes:
            print(f"NOTE: {note}")
        report.save(bench.results, name, title, about, rows, cases, bench.notes)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except peers.Failed as e:
        print(f"bench: {e}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

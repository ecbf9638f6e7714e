"""A collection of a large store, while clients pull and push: how long it takes, what it needs, and
what the clients notice of it."""
import json
import os
import statistics
import subprocess
import threading

import machine
from peers import Berth, Failed
from report import mark, number, ratio

LAYERS, SHARE = 10, 10  # fill_images.h
RSS_MAX = 48 << 20
SLOWER_MAX = 2.0  # p99 during the collection to p99 without
PULLS, PUSHES = 4, 2  # connections
PREPARED = 4_000  # blobs for a second; more than are pushed
SETTINGS = ("--set", "gc.untagged=bulk/*", "--set", "gc.interval=24h")


class Figure:
    """One row: what is measured without a collection and during one."""

    def __init__(self, name, unit, key=None, limit=None, limit_text=""):
        self.name, self.unit, self.key = name, unit, key
        self.limit, self.limit_text = limit, limit_text
        self.without, self.during = [], []

    def median(self, values):
        return statistics.median(values) if values else None

    def ratio(self):
        return self.median(self.during) / self.median(self.without) if self.without else None

    def met(self):
        if self.limit is None:
            return None
        return (self.ratio() if self.without else self.median(self.during)) <= self.limit

    def as_json(self):
        return {"name": self.name, "unit": self.unit, "without": self.without,
                "during": self.during, "met": self.met()}


def table(figures, _):
    rows = [["", "unit", "without", "during", "÷", "target", ""]]
    for f in figures:
        rows.append([f.name, f.unit, number(f.median(f.without)), number(f.median(f.during)),
                     ratio(f.ratio()), f.limit_text, mark(f.met())])
    return rows


def expected(images, repositories):
    """What has to be removed: (manifests, links, blobs). By the rule of fill_images.h."""
    manifests = links = blobs = 0
    for r in range(repositories):
        mine = range(len(range(r, images, repositories)))  # the numbers of this one's images
        gone = [nth for nth in mine if nth % 3 == 0 or nth % 3 == 1 and r % 2 == 0]
        manifests += len(gone)
        links += len(gone) * LAYERS
        if r % SHARE == 0:  # of the repositories that share, the first has the most images
            blobs += sum(nth % 3 == 0 for nth in mine) * LAYERS
    return manifests, links, blobs


def clients(bench, peer, auth):
    """Pulls of one manifest and small pushes, side by side for one round; their numbers."""
    headers = [a for line in auth for a in ("-H", line)]
    calls = {"pull": ("get", "-c", PULLS, "-s", bench.seconds, *headers,
                      f"{peer.url}/v2/bulk/r1/manifests/v2"),
             "push": ("push", "-c", PUSHES, "-s", bench.seconds, "-z", 2048,
                      "-n", int(PREPARED * bench.seconds) + 1000, "-S",
                      next_seed(bench), *headers, f"{peer.url}/v2/live/app")}
    found, failed = {}, []

    def one(name):
        try:
            found[name] = bench.load(*calls[name], pinned=False)
        except Exception as e:  # told by the thread that waits
            failed.append(e)

    threads = [threading.Thread(target=one, args=(name,)) for name in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    for name, numbers in found.items():
        if numbers["errors"] or not numbers["operations"]:
            raise Failed(f"gc: {name}: {numbers['errors']} errors: {numbers.get('first_error')}")
    return found


def next_seed(bench):
    bench.seed += 1
    return bench.seed


def note(figures, found, during):
    for f in figures:
        if f.key:
            what, key = f.key
            n = found[what]
            value = n["operations"] / n["seconds"] if key == "rate" else n[key]
            (f.during if during else f.without).append(value)


def collect(peer, flags=()):
    argv = [peer.program, "gc", "--now", "--json", *flags, "--data",
            os.path.join(peer.data, "store")]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def check(bench, report, repositories):
    """Exactly what nothing refers to; the pushes' own blobs, of no manifest, may be among it."""
    manifests, links, blobs = expected(bench.images, repositories)
    if report["manifests"] != manifests or report["bodies"] < manifests or \
            report["links"] < links or report["blobs"] < blobs or report["files_failed"]:
        raise Failed(f"gc: {report}, but {manifests} manifests, {links} links and {blobs} blobs "
                     "are garbage")


def check_again(peer, manifests):
    """Another collection finds nothing but blobs that were pushed meanwhile; fsck finds so many
    manifests, and nothing that one of them lacks."""
    out, err = collect(peer).communicate(timeout=600)
    report = json.loads(out)
    if report["manifests"] or report["bodies"]:
        raise Failed(f"gc: the second collection found {report}")
    peer.stop()
    done = subprocess.run([peer.program, "fsck", "--quick", "--json", "--data",
                           os.path.join(peer.data, "store")], capture_output=True, text=True)
    if done.returncode or json.loads(done.stdout)["manifests"] != manifests:
        raise Failed(f"gc: fsck: {done.stdout[-2000:]}{done.stderr}")


def figures_of():
    slower = f"≤ {SLOWER_MAX:g} ×"
    return [
        Figure("pull of a manifest, p99", "µs", ("pull", "p99_us"), SLOWER_MAX, slower),
        Figure("pull of a manifest, median", "µs", ("pull", "p50_us")),
        Figure("pulls", "1/s", ("pull", "rate")),
        Figure("push of 2 KB, p99", "µs", ("push", "p99_us"), SLOWER_MAX, slower),
        Figure("push of 2 KB, median", "µs", ("push", "p50_us")),
        Figure("pushes", "1/s", ("push", "rate")),
    ]


def run(bench):
    peer = bench.peer("berth", os.path.join(bench.data, "gc"))
    assert isinstance(peer, Berth)
    peer.options = SETTINGS
    argv = [os.path.join(bench.folder, "fill"), "-d", os.path.join(peer.data, "store"), "-i",
            str(bench.images)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True)
    filled = json.loads(done.stdout)
    bench.progress(f"gc: {bench.images:,} images with {bench.images * (1 + LAYERS):,} references in "
                   f"{filled['seconds']:.1f} s")
    peer.start(pinned=False)
    auth = peer.authorization("repository:bulk/r1:pull repository:live/app:pull,push")
    figures = figures_of()
    clients(bench, peer, auth)  # warms
    for _ in range(bench.rounds):
        note(figures, clients(bench, peer, auth), during=False)
    idle_rss = machine.memory_bytes(peer.pid, "VmRSS")
    forget_peak(peer.pid)
    bench.progress("gc: collecting")
    cpu = machine.cpu_seconds(peer.pid)
    process = collect(peer)
    while process.poll() is None:
        found = clients(bench, peer, auth)
        if process.poll() is None:  # a round that the collection outlived
            note(figures, found, during=True)
    out, err = process.communicate()
    if process.returncode:
        raise Failed(f"gc: {err.strip()}")
    report = json.loads(out)
    seconds = report["elapsed_us"] / 1e6
    peak = machine.memory_bytes(peer.pid, "VmHWM")
    cpu = machine.cpu_seconds(peer.pid) - cpu
    check(bench, report, filled["image_repositories"])
    check_again(peer, bench.images - report["manifests"])
    if not figures[0].during:
        bench.notes.append("the collection was over before one round of the clients: more --images, "
                           "or fewer --seconds")
    else:
        bench.notes.append(f"{len(figures[0].during)} rounds during the collection; CPU of the "
                           f"server {cpu:.1f} s, the clients' requests included")
    rss = Figure("most memory, VmHWM", "MB", limit=RSS_MAX / 1e6, limit_text=f"≤ {RSS_MAX >> 20} MiB")
    rss.during.append(peak / 1e6)
    took = Figure("collection", "s")
    took.during.append(seconds)
    rows = Figure("rows and files it handled", "1/s")
    rows.during.append((report["reviewed"] + report["files"]) / seconds)
    idle = Figure("memory before it, VmRSS", "MB")
    idle.during.append(idle_rss / 1e6)
    figures = [f for f in figures if f.during]
    title = (f"`berth gc --now` of {bench.images:,} images with {bench.images * (1 + LAYERS):,} "
             f"references in {filled['image_repositories']} repositories, half of them garbage: "
             f"{report['manifests']:,} manifests, {report['links']:,} links, {report['blobs']:,} "
             f"blobs removed; {PULLS} connections pull a manifest and {PUSHES} push blobs of 2 KB "
             f"meanwhile, {bench.placement.describe(False)}; gc.rate as by default; medians of rounds of "
             f"{bench.seconds:g} s")
    return [took, rows, *figures, idle, rss], (), title

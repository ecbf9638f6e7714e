"""Whether a request costs the same however many rows there are."""
import json
import os
import statistics
import subprocess

from report import mark, number, ratio

SIZES = (100, 10_000, 100_000)
TAGS_EACH = 9  # further ones in each repository: the largest store has over a million tags
DELETES = 8    # a round
PUBLIC = 10  # of the repositories: 0.01 % of the largest size
STARTS = 5
RATIO_MAX = 1.5  # largest size to smallest
REQUEST_US_MAX, START_US_MAX = 1_000, 150_000
TAGS, REFERRERS, CATALOG = "scale/tags", "scale/referrers", "registry:catalog:*"
SIGNATURE = "application%2Fvnd.berth.bench.signature"


class Case:
    """One request. `path` is a function of the size; `entries` is how long the list in the answer
    must be, whatever the size (None: no list)."""

    def __init__(self, name, scope, path, entries=None, login=True, key="server_us",
                 limit_us=REQUEST_US_MAX, arguments=lambda n, round: ()):
        self.name, self.scope, self.path, self.entries, self.login = name, scope, path, entries, login
        self.key, self.limit_us, self.arguments = key, limit_us, arguments
        self.rounds = {}

    def add(self, size, numbers):
        self.rounds.setdefault(size, []).append(numbers)

    def median(self, size, key=None):
        values = [r[key or self.key] for r in self.rounds.get(size, []) if (key or self.key) in r]
        return statistics.median(values) if values else None

    def ratio(self):
        """Median of the ratios of neighbouring rounds, largest size to smallest."""
        pairs = zip(self.rounds[SIZES[-1]], self.rounds[SIZES[0]])
        return statistics.median(a[self.key] / b[self.key] for a, b in pairs)

    def met(self):
        in_time = self.limit_us is None or self.median(SIZES[-1]) <= self.limit_us
        return in_time and self.ratio() <= RATIO_MAX

    def as_json(self):
        return {"name": self.name, "unit": "µs", "compared": self.key, "met": self.met(),
                "target": {"largest_us": self.limit_us, "ratio": RATIO_MAX},
                "median": {str(n): self.median(n) for n in SIZES}, "ratio": self.ratio(),
                "rounds": {str(n): r for n, r in self.rounds.items()}}


def table(cases, _):
    rows = [["server CPU per request, or as it says, µs", *(f"{n:,} rows" for n in SIZES),
             f"÷ {SIZES[0]}", "target", ""]]
    for case in cases:
        limit = f"≤ {case.limit_us / 1000:g} ms, " if case.limit_us else ""
        limit += f"≤ {RATIO_MAX:g} ×"
        rows.append([case.name, *(number(case.median(n)) for n in SIZES), ratio(case.ratio()), limit,
                     mark(case.met())])
        if case.key != "p50_us" and case.median(SIZES[0], "p50_us") is not None:
            rows.append(["  latency, median", *(number(case.median(n, "p50_us")) for n in SIZES),
                         "", "", ""])
    return rows


def pull(repository):
    return f"repository:{repository}:pull"


def requests(subject):
    """A page of 100 from the beginning; one of 50, which is what the smallest size has behind its
    middle, from there."""
    tags, refs = f"/v2/{TAGS}/tags/list", f"/v2/{REFERRERS}/referrers/{subject}"
    middle = "sha256:4" + "0" * 63  # digests are spread evenly: three quarters are behind it
    return [
        Case("tags, first page of 100", pull(TAGS), lambda n: f"{tags}?n=100", 100),
        Case("tags, page of 50 from the middle", pull(TAGS),
             lambda n: f"{tags}?n=50&last=v{n // 2 - 1:012}", 50),
        Case("catalog, first page of 100, administrator", CATALOG, lambda n: "/v2/_catalog?n=100",
             100),
        Case("catalog, page of 50 from the middle, administrator", CATALOG,
             lambda n: f"/v2/_catalog?n=50&last=team-{n // 20:05}", 50),
        Case(f"catalog, {PUBLIC} visible ones, anonymous", CATALOG, lambda n: "/v2/_catalog?n=100",
             PUBLIC, login=False),
        Case("referrers, first page of 100", pull(REFERRERS), lambda n: f"{refs}?n=100", 100),
        Case("referrers, page of 50 from the middle", pull(REFERRERS),
             lambda n: f"{refs}?n=50&last={middle}", 50),
        Case("referrers, the 50 of one type", pull(REFERRERS),
             lambda n: f"{refs}?n=50&artifactType={SIGNATURE}", 50),
        Case("manifest by tag", pull(TAGS), lambda n: f"/v2/{TAGS}/manifests/v{n // 2:012}"),
        Case("manifest by digest", pull(REFERRERS),
             lambda n: f"/v2/{REFERRERS}/manifests/{subject}"),
        Case("history of a tag", pull(TAGS),
             lambda n: f"/api/berth/v1/repositories/{TAGS}/tags/v{n // 2:012}/history", 1),
        Case("token for a repository", pull(TAGS),
             lambda n: f"/service/token?service=berth&scope={pull(TAGS)}", login=None),
        delete("tag", lambda n: f"/v2/{TAGS}/manifests/v@NUMBER@@@@@"),
    ]


def delete(what, path):
    """Each round deletes the next few; the time is the client's, with its commits."""
    return Case(f"delete a {what}, latency", f"repository:{TAGS}:pull,delete", path, key="p50_us",
                limit_us=None, arguments=lambda n, round: (
                    "-X", "DELETE", "-n", DELETES, "-o", (round + 1) * DELETES))


def fill(bench, peer, size):
    """Returns the digest that the referrers are about."""
    argv = [os.path.join(bench.folder, "fill"), "-d", os.path.join(peer.data, "store"),
            "-r", size, "-p", PUBLIC, "-k", TAGS_EACH, "-t", size, "-f", size]
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, check=True, text=True)
    numbers = json.loads(done.stdout)
    bench.progress(f"scale: {size:,} rows of each kind in {numbers['seconds']:.1f} s")
    return numbers["subject"]


def check_entries(peer, case, target, headers):
    """A fast answer must not be a short one."""
    _, _, text = peer.request("GET", target, headers=headers)
    lists = [v for v in json.loads(text).values() if isinstance(v, list)]
    if len(lists) != 1 or len(lists[0]) != case.entries:
        raise RuntimeError(f"{target}: {len(lists[0])} entries, not {case.entries}")


def measure_start(bench, running):
    case = Case(f"start to first answer, {STARTS} starts", None, None, key="start_us",
                limit_us=START_US_MAX)
    for n in range(-1, STARTS):  # the first start makes keys and the administrator
        for size, peer in running:
            seconds = peer.start(pinned=True)
            if n >= 0:
                case.add(size, {"start_us": seconds * 1e6})
            peer.stop()
    return case


def measure(bench, running, case):
    targets = []
    for size, peer in running:
        headers = peer.basic() if case.login is None else peer.authorization(case.scope, case.login)
        if case.entries is not None:
            check_entries(peer, case, case.path(size), headers)
        targets.append((size, peer, [a for line in headers for a in ("-H", line)]))
    for n in range(-1, bench.rounds):
        turn = max(n, 0) % len(targets)
        for size, peer, auth in targets[turn:] + targets[:turn]:
            # The round before the first warms caches and does not count.
            seconds = bench.seconds if n >= 0 else min(0.3, bench.seconds)
            numbers = bench.against(peer, "get", "-c", 1, "-s", seconds, *case.arguments(size, n),
                                    *auth, peer.url + case.path(size))
            if n >= 0:
                case.add(size, numbers)


def run(bench):
    running = []
    for size in SIZES:
        peer = bench.peer("berth", os.path.join(bench.data, f"scale-{size}"))
        subject = fill(bench, peer, size)  # the same for all: it is the same image
        running.append((size, peer))
    bench.progress("scale: starts")
    start = measure_start(bench, running)
    for _, peer in running:
        peer.start(pinned=True)
    cases = requests(subject)
    for case in cases:
        bench.progress(f"scale: {case.name}")
        measure(bench, running, case)
    rows = SIZES[-1] * (TAGS_EACH + 3)
    title = (f"rows = repositories = tags of one repository = referrers of one subject, and each "
             f"repository has {TAGS_EACH + 1} tags ({rows:,} manifests in the largest store); 1 "
             f"connection, bearer token; {bench.placement.describe(True)}; medians of {bench.rounds} interleaved "
             f"rounds of {bench.seconds:g} s")
    return [*cases, start], (), title

"""What small requests wait while others take all they can get."""
import hashlib
import os
import subprocess

import machine
import peers
import topic_push
import topic_wire
from report import number, ratio, render  # noqa: F401

IDLE, SLOW, LORIS, STALLED, UPLOADS = 2000, 50, 200, 100, 4
SLOW_RATE = 32 << 10
STALL_CONNECTIONS = 10  # over HTTP/2
UPLOAD_BYTES, COLD_BYTES = 1 << 30, 10 << 30
SMALL_CONNECTIONS = 4
MEMORY_MAX = 128 << 20


class Case:
    """One kind of small request against one server, before and during the load."""

    def __init__(self, name, peer):
        self.name, self.peer = name, peer
        self.idle, self.loaded = [], []

    @staticmethod
    def middle(rounds, key):
        values = sorted(r[key] for r in rounds if key in r)
        return values[len(values) // 2] if values else None

    def ratio(self, key):
        before, during = self.middle(self.idle, key), self.middle(self.loaded, key)
        return during / before if before and during is not None else None

    def as_json(self):
        return {"name": self.name, "peer": self.peer,
                "ratio": {k: self.ratio(k) for k in ("p50_us", "p99_us")},
                "rounds": {"idle": self.idle, "loaded": self.loaded}}


def table(cases, _):
    rows = [["", "server", "idle, median", "99 %", "loaded, median", "99 %", "÷ median", "÷ 99 %",
             "failed", "most memory, MiB"]]
    for case in cases:
        hwm = case.middle(case.loaded, "hwm_bytes")
        rows.append([f"{case.name}, µs", case.peer,
                     *(number(case.middle(r, k)) for r in (case.idle, case.loaded)
                       for k in ("p50_us", "p99_us")),
                     ratio(case.ratio("p50_us")), ratio(case.ratio("p99_us")),
                     number(sum(r["errors"] for r in case.idle + case.loaded)),
                     number(hwm and hwm / 2**20)])
    return rows


class MemoryLimit:
    """A control group of MEMORY_MAX, page cache included, where the machine lets us make one. For
    Berth; docker-registry takes more by itself."""

    # (folder, file of the limit, file that counts kills): of version 2 and of version 1
    KINDS = [("/sys/fs/cgroup/berth-bench", "memory.max", "memory.events"),
             ("/sys/fs/cgroup/memory/berth-bench", "memory.limit_in_bytes", "memory.oom_control")]

    def __init__(self, pid):
        """pid: None for no limit."""
        self.folder = None
        for folder, limit, self.events in self.KINDS if pid else []:
            try:
                os.mkdir(folder)
                for name, value in ((limit, MEMORY_MAX), ("cgroup.procs", pid)):
                    fd = os.open(os.path.join(folder, name), os.O_WRONLY)
                    try:
                        os.write(fd, str(value).encode())
                    finally:
                        os.close(fd)
                self.folder = folder
                return
            except OSError:
                self.remove(folder)

    def kills(self):
        text = machine.read(f"{self.folder}/{self.events}") if self.folder else ""
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def close(self):
        """After the process is gone."""
        if self.folder:
            self.remove(self.folder)

    @staticmethod
    def remove(folder):
        try:
            os.rmdir(folder)
        except OSError:
            pass


def zeros_digest(size):
    block, hasher = bytes(1 << 20), hashlib.sha256()
    for _ in range(size >> 20):
        hasher.update(block)
    return "sha256:" + hasher.hexdigest()


def make_sparse(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.truncate(COLD_BYTES)


def add_cold_blob(bench, peer, digest):
    """A blob of zeros that takes no room on the disk, and none of which is in memory."""
    if peer.name == "berth":
        argv = [os.path.join(bench.folder, "fill"), "-d", os.path.join(peer.data, "store"),
                "-n", peers.REPOSITORY, "-z", COLD_BYTES]
        subprocess.run([str(a) for a in argv], stdout=subprocess.DEVNULL, check=True)
        return
    root = os.path.join(peer.data, "store/docker/registry/v2")
    text = digest.partition(":")[2]
    make_sparse(f"{root}/blobs/sha256/{text[:2]}/{text}/data")
    link = f"{root}/repositories/{peers.REPOSITORY}/_layers/sha256/{text}/link"
    os.makedirs(os.path.dirname(link), exist_ok=True)
    with open(link, "w", encoding="ascii") as f:
        f.write(digest)


def requests(manifest, blobs):
    """(name, arguments, path) of the small requests whose times are told."""
    tag, _, little, _ = topic_wire.paths(manifest, blobs)
    return [("manifest GET by tag", [], tag), ("manifest HEAD by tag", ["-X", "HEAD"], tag),
            ("blob GET 2 KB", [], little)]


def small(bench, peer, arguments, path):
    """A peer may fail under this load, which is then told; Berth may not."""
    return bench.against(peer, "get", "-c", SMALL_CONNECTIONS, "-s", bench.seconds, *arguments,
                         "-H", f"Accept: {topic_wire.MANIFEST}", *topic_push.arguments(peer),
                         peer.url + path, pinned=False,
                         errors_max=0 if peer.name == "berth" else 10**9)


def stalled(bench, peer, auth):
    """Uploads that stop halfway: streams of HTTP/2 over TLS for Berth, connections for the others,
    which listen without TLS here."""
    how = ["-c", STALLED, "-z", UPLOAD_BYTES, "-s", 600, *auth]
    url = peer.url
    if peer.name == "berth":
        how += ["-2", "-c", STALL_CONNECTIONS, "-m", STALLED // STALL_CONNECTIONS]
        url = f"https://127.0.0.1:{peer.tls_port}"
    return bench.crowd("stall", *how, f"{url}/v2/{peers.REPOSITORY}")


def start_crowds(bench, peer, big):
    """Those that hold on for as long as they may."""
    auth = topic_push.arguments(peer)
    return [bench.crowd("idle", "-c", IDLE, "-s", 600, f"{peer.url}/v2/"),
            bench.crowd("slow", "-c", SLOW, "-b", SLOW_RATE, "-s", 600, *auth, peer.url + big),
            bench.crowd("loris", "-c", LORIS, "-s", 600, f"{peer.url}/v2/"),
            stalled(bench, peer, auth)]


def start_transfers(bench, peer, cold):
    """Those that take all they can get, and would be done before the last case is."""
    auth = topic_push.arguments(peer)
    root = f"{peer.url}/v2/{peers.REPOSITORY}"
    bench.seed += 1
    return [bench.crowd("push", "-R", "-c", UPLOADS, "-n", UPLOADS, "-z", UPLOAD_BYTES, "-S",
                        bench.seed, "-s", 600, *auth, root),
            bench.crowd("get", "-R", "-c", 1, "-s", 600, *auth, f"{root}/blobs/{cold}")]


def under_load(bench, peer, case, arguments, path, cold):
    transfers = start_transfers(bench, peer, cold)
    try:
        case.loaded.append(small(bench, peer, arguments, path))
        case.loaded[-1]["hwm_bytes"] = machine.memory_bytes(peer.pid, "VmHWM")
        if any(t.poll() is not None for t in transfers):
            bench.notes.append(f"{peer.name}, {case.name}: uploads or the pull ended meanwhile")
    finally:
        for process in transfers:
            bench.end(process)


def one_round(bench, name, image, cold, cases):
    peer = bench.peer(name)
    peer.also_tls = peers.make_certificate(os.path.join(bench.folder, "tls"))
    peer.start(pinned=False)
    topic_wire.fill(peer, *image)
    peer.stop()
    add_cold_blob(bench, peer, cold)
    peer.start(pinned=False)
    limit = MemoryLimit(peer.pid if name == "berth" else None)
    wanted = requests(*image)
    for case, (_, arguments, path) in zip(cases, wanted):
        small(bench, peer, arguments, path)
        case.idle.append(small(bench, peer, arguments, path))
    crowds = start_crowds(bench, peer, topic_wire.paths(*image)[3])
    try:
        for case, (_, arguments, path) in zip(cases, wanted):
            under_load(bench, peer, case, arguments, path, cold)
    finally:
        for crowd in crowds:
            numbers = bench.disperse(crowd)
            bench.progress(f"load: {name}: {crowd.args[1]}: {numbers}")
    killed = limit.kills()
    bench.drop(peer)
    limit.close()
    if killed:
        bench.notes.append(f"{name}: killed {killed} times for lack of memory")
    return limit.folder is not None


def run(bench):
    names = topic_push.writers(bench)
    image = topic_wire.image()
    cold = zeros_digest(COLD_BYTES)
    done = {name: [Case(r[0], name) for r in requests(*image)] for name in names}
    limited = False
    for n in range(min(3, bench.rounds)):
        for name in names[::-1 if n % 2 else 1]:
            bench.progress(f"load: round {n + 1}, {name}")
            try:
                limited |= one_round(bench, name, image, cold, done[name])
            except peers.Failed as e:
                if name == "berth":
                    raise
                bench.notes.append(f"round {n + 1}: {e}")
                bench.close()
    cases = [c for group in zip(*done.values()) for c in group]
    memory = (f"Berth in a control group of {MEMORY_MAX >> 20} MiB" if limited
              else "no limit of memory")
    title = (f"{SMALL_CONNECTIONS} connections make small requests; at once {IDLE:,} idle "
             f"connections, {SLOW} readers of {SLOW_RATE >> 10} KiB/s, {LORIS} heads of a byte a "
             f"second, {STALLED} stalled uploads (Berth: HTTP/2 over TLS, {STALL_CONNECTIONS} "
             f"connections), {UPLOADS} uploads of {UPLOAD_BYTES >> 30} GiB and "
             f"a cold pull of {COLD_BYTES >> 30} GiB; {bench.placement.describe(False)}, all clients "
             f"too; {memory}; medians of {min(3, bench.rounds)} rounds")
    return cases, (), title

"""The machine under the bench: what it is, where processes run, what they used."""
import os
import platform
import shutil
import subprocess

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def field(text, name):
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


class Placement:
    """Which CPUs servers and the generator run on.

    Pinned: one server at a time has one core, the generator another that shares no execution units
    with it, when there is such a pair. Free: everything may run everywhere."""

    def __init__(self):
        self.all = sorted(os.sched_getaffinity(0))
        self.server = self.all[0]
        siblings = read(f"/sys/devices/system/cpu/cpu{self.server}/topology/thread_siblings_list")
        taken = set(cpu_list(siblings)) | {self.server}
        others = [c for c in self.all if c not in taken] or [c for c in self.all if c != self.server]
        self.client = others[-1] if others else None

    def cpus(self, pinned, who):
        if not pinned or self.client is None:
            return set(self.all)
        return {self.server if who == "server" else self.client}

    def describe(self, pinned):
        if self.client is None:
            return "one CPU only: server and generator share it"
        if pinned:
            return f"server on CPU {self.server}, generator on CPU {self.client}"
        return f"server and generator share CPUs {','.join(map(str, self.all))}"


def cpu_list(text):
    """[0, 1, 4] of "0-1,4"."""
    out = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            out += range(int(first), int(last or first) + 1)
    return out


def spawn(argv, cpus, **options):
    """Starts a program on the given CPUs. They are inherited rather than set between fork and exec,
    which would make every start as slow as a copy of this process."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, **options)
    finally:
        os.sched_setaffinity(0, own)


def tree(pid):
    """The process and its descendants."""
    pids = [pid]
    for p in pids:
        for task in os.listdir(f"/proc/{p}/task"):
            pids += map(int, read(f"/proc/{p}/task/{task}/children").split())
    return pids


def cpu_seconds(pid):
    """User and system time of a process tree, exited threads included."""
    total = 0
    for p in tree(pid):
        fields = read(f"/proc/{p}/stat").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12]) if fields else 0
    return total / TICKS


def memory_bytes(pid, name):
    """VmRSS or VmHWM of a process tree (of nginx: master and worker)."""
    return sum(int((field(read(f"/proc/{p}/status"), name) or "0 kB").split()[0]) * 1024
               for p in tree(pid))


def filesystem(path):
    best = ("", "?")
    for line in read("/proc/self/mounts").splitlines():
        _, mount, kind = line.split()[:3]
        if os.path.realpath(path).startswith(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def free_bytes(path):
    return shutil.disk_usage(path).free


def describe(data):
    cpu = read("/proc/cpuinfo")
    return {
        "cpu": field(cpu, "model name") or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "sha_instructions": bool({"sha_ni", "sha2"} & set(
            (field(cpu, "flags") or field(cpu, "Features")).split())),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * PAGE,
        "kernel": platform.release(),
        "openssl": subprocess.run(["openssl", "version"], capture_output=True, text=True,
                                  check=False).stdout.partition(" (")[0].strip()
        if shutil.which("openssl") else "?",
        "filesystem": filesystem(data),
        "load_average": os.getloadavg()[0],
    }

"""One Berth under test: start it, read its log and its memory, stop it or kill it.

The program is named by BERTH_BIN (default build/berth beside the source). It listens on a loopback
port the kernel chooses and is known by the line it logs when it is ready."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from lib import raw

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("BERTH_BIN", ROOT / "build" / "berth")).absolute()
PASSWORD = "correct horse battery"

# What sanitizers print. UBSan goes on after its report, so the exit status alone tells too little.
SANITIZER = re.compile(r"(ERROR|WARNING): \w*Sanitizer|runtime error:|SUMMARY: \w*Sanitizer")

_FIELD = re.compile(r'([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)')


def logfmt(line):
    """The fields of one log line; empty for a line that is not logfmt."""
    fields = {}
    for key, value in _FIELD.findall(line):
        if value.startswith('"'):
            value = re.sub(r"\\(?:u00([0-9a-f]{2})|(.))",
                           lambda m: chr(int(m[1], 16)) if m[1] else m[2], value[1:-1])
        fields[key] = value
    return fields


def sanitized():
    """Name of the sanitizer the binary was built with: "address", "thread" or ""."""
    head = BINARY.read_bytes()
    for mark, name in ((b"__asan_init", "address"), (b"__tsan_init", "thread")):
        if mark in head:
            return name
    return ""


class Server:
    """A running server. `settings` become --set flags; `log` is every line so far."""

    def __init__(self, data, settings=None, args=(), env=None, listen=("127.0.0.1:0",)):
        self.data = Path(data)
        # Without core_dumps LeakSanitizer could not look at the process, unless it is root's.
        self.settings = {"auth.admin_password": PASSWORD, "auth.bcrypt_cost": "4",
                         "core_dumps": "true"}
        self.settings.update(settings or {})
        self.args = list(args)
        self.env = dict(env or {})
        self.listen = listen
        self.process = None
        self.lines = []   # of stderr: the log
        self.output = []  # of stdout: what a person sees
        self.addresses = []
        self._news = threading.Condition()
        self._readers = []

    # -- life

    def command(self):
        command = [str(BINARY), "serve", "--data", str(self.data)]
        for address in self.listen:
            command += ["--listen", address]
        for key, value in self.settings.items():
            if value is not None:
                command += ["--set", f"{key}={value}"]
        return command + self.args

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BERTH_")}
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:quarantine_size_mb=8")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        env.setdefault("TSAN_OPTIONS", "halt_on_error=0:exitcode=66")
        env.update(self.env)
        return env

    def start(self, timeout=20):
        """Starts the program and waits until it says it is ready."""
        assert self.process is None, "already running"
        first = len(self.lines)
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=self.environment())
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in
                         ((self.process.stderr, self.lines), (self.process.stdout, self.output))]
        for reader in self._readers:
            reader.start()
        self.addresses = []
        want = len(self.listen)

        def ready():
            found = [f["address"] for f in map(logfmt, self.lines[first:])
                     if f.get("event") == "ready" and "address" in f]
            self.addresses = found
            return len(found) >= want

        if not self._wait(ready, timeout):
            text = self.text(first)
            self.kill()
            raise AssertionError(f"the server did not become ready:\n{text}")
        for address in self._places():
            raw.answered.pop(address, None)  # another server's, that had the port before
        return self

    def stop(self, timeout=40):
        """SIGTERM; asserts that it drained, exited 0 and left no sanitizer report."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end the server in {timeout} s:\n{self.text()}")
        self._ended()
        self.check()
        assert status == 0, f"the server exited with {status}:\n{self.text()}"

    def kill(self):
        """kill -9."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self._ended()

    def restart(self, hard=False):
        self.kill() if hard else self.stop()
        return self.start()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def _ended(self):
        for reader in self._readers:
            reader.join(10)
        self.process.stderr.close()
        self.process.stdout.close()
        self.process = None

    # -- what it tells

    def _read(self, stream, lines):
        for raw in stream:
            with self._news:
                lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _wait(self, condition, timeout):
        end = time.monotonic() + timeout
        with self._news:
            while not condition():
                left = end - time.monotonic()
                if left <= 0 or self.process.poll() is not None and not self._readers[0].is_alive():
                    return condition()
                self._news.wait(min(left, 0.2))
        return True

    def text(self, first=0):
        return "\n".join(self.lines[first:][-80:])

    def events(self, event=None, first=0):
        """Parsed log lines, all or those of one event."""
        found = [logfmt(line) for line in list(self.lines)[first:]]
        return [f for f in found if event is None or f.get("event") == event]

    def printed(self, word, timeout=10):
        """The lines on stdout, once there is one with the word."""
        assert self._wait(lambda: any(word in line for line in self.output), timeout), self.output
        return list(self.output)

    def waits(self, condition, timeout=10):
        """True once the condition, about what was logged, holds."""
        return self._wait(condition, timeout)

    def access(self, request_id, timeout=5):
        """The access log line of one request."""
        found = []

        def seen():
            found[:] = [f for f in self.events() if f.get("request") == request_id
                        and "status" in f]
            return bool(found)

        assert self._wait(seen, timeout), f"no access log line for request {request_id}"
        return found[0]

    def settle(self, timeout=10):
        """Waits until all requests this process has read the answers of are counted and logged: that
        comes a little after the answer."""
        ids = [i for place in self._places() for i in raw.answered.pop(place, ())]

        def logged():
            text = "\n".join(self.lines)
            ids[:] = [i for i in ids if f" event=request request={i} " not in text]
            return not ids

        assert self._wait(logged, timeout), f"no access log lines for requests {ids}"

    def log_mark(self):
        """How many lines the log has, with those of all requests that were answered before."""
        self.settle()
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(self.data / "admin.sock"))
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: s.recv(4096), b""))
        self.access(re.search(rb"(?i)x-request-id: (\w+)", answer)[1].decode())
        return len(self.lines)

    def uploaded(self, since):
        """Body bytes of blob uploads taken since log line number `since`."""
        self.log_mark()
        return sum(int(f["in_bytes"]) for f in self.events("request", since)
                   if f.get("method") in ("POST", "PATCH", "PUT") and "/blobs/" in f["path"])

    def check(self):
        bad = [line for line in self.lines if SANITIZER.search(line)]
        assert not bad, "sanitizer report:\n" + "\n".join(self.lines[-200:])

    # -- where and how large

    def _places(self):
        """Its TCP addresses, as for raw.Conn."""
        pairs = (a.rsplit(":", 1) for a in self.addresses if not a.startswith("unix:"))
        return [(host, int(port)) for host, port in pairs]

    @property
    def address(self):
        return self._places()[0]

    @property
    def name(self):
        """host:port, as in image names."""
        return self.addresses[0]

    def memory(self, key="VmRSS"):
        """Bytes; VmRSS is now, VmHWM the most so far."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M)[1]) * 1024

    def descriptors(self):
        """Open ones; the database's are left out, which workers open when they first need them."""
        folder, found = f"/proc/{self.process.pid}/fd", 0
        for name in os.listdir(folder):
            try:
                found += "berth.db" not in os.readlink(f"{folder}/{name}")
            except FileNotFoundError:
                pass
        return found


def run(*args, env=None, timeout=20, stdin=None):
    """Runs a command of the program to its end."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BERTH_")}
    clean.update(env or {})
    return subprocess.run([str(BINARY), *map(str, args)], env=clean, timeout=timeout, input=stdin,
                          capture_output=True, text=True)


def preload(source, directory):
    """Compiles a C file to a library; the value for LD_PRELOAD."""
    library = Path(directory) / Path(source).with_suffix(".so").name
    subprocess.run(["cc", "-std=gnu17", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-o", library,
                    source], check=True)
    needed = subprocess.run(["ldd", BINARY], capture_output=True, text=True).stdout
    # AddressSanitizer insists on coming first.
    first = [line.split("=>")[1].split()[0] for line in needed.splitlines() if "libasan" in line]
    return ":".join([*first, str(library)])

"""Fixtures of every suite: servers on their own data directories, a time limit for each test."""

import shutil
import signal
import subprocess
from collections import Counter

import pytest

from lib import server as servers
from lib.oci import Client
from lib.server import BINARY, Server

TIME_LIMIT_S = {"protocol": 90, "crash": 240, "clients": 300}


def pytest_configure(config):
    if not BINARY.is_file():
        raise pytest.UsageError(f"{BINARY} does not exist: build it, or name it in BERTH_BIN")


def _version(*command):
    if not shutil.which(command[0]):
        return f"{command[0]} is not installed"
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return f"{command[0]}: {(done.stdout or done.stderr).splitlines()[0]}"


def pytest_report_header(config):
    lines = [f"program: {BINARY} {servers.sanitized() and '(' + servers.sanitized() + ' sanitizer)'}"]
    for command in (["/usr/sbin/dockerd", "--version"], ["/usr/bin/docker", "--version"],
                    ["podman", "--version"], ["buildah", "--version"], ["skopeo", "--version"]):
        lines.append(_version(*command))
    return lines


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """No test runs for ever: the alarm interrupts whatever it waits for."""
    limit = TIME_LIMIT_S.get(item.path.parent.name, 60)

    def late(*_):
        raise TimeoutError(f"the test took longer than {limit} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pytest_terminal_summary(terminalreporter):
    """One line a suite."""
    suites = {}
    for outcome, name in (("passed", "passed"), ("failed", "failed"), ("error", "failed"),
                          ("skipped", "skipped")):
        for report in terminalreporter.stats.get(outcome, []):
            suite = report.nodeid.split("::")[0].split("/")[-2:-1] or ["?"]
            suites.setdefault(suite[0], Counter())[name] += 1
    for suite, counts in sorted(suites.items()):
        text = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
        terminalreporter.write_line(f"suite {suite}: {text}")


class Factory:
    """Makes servers and sees that each ends, and ends well."""

    def __init__(self, directory):
        self.directory = directory
        self.made = []

    def __call__(self, settings=None, start=True, data=None, **more):
        data = data or self.directory / f"data{len(self.made)}"
        server = Server(data, settings, **more)
        self.made.append(server)
        return server.start() if start else server

    def finish(self):
        failed = []
        for server in self.made:
            try:
                if server.process is not None:
                    assert server.running(), f"the server ended by itself:\n{server.text()}"
                    server.stop()
                server.check()
            except AssertionError as error:
                failed.append(error)
            finally:
                server.kill()
        if failed:
            raise failed[0]
        for server in self.made:  # hundreds of directories each: not left for a later run to remove
            shutil.rmtree(server.data, ignore_errors=True)


@pytest.fixture
def berth(tmp_path):
    """Factory of servers for one test."""
    factory = Factory(tmp_path)
    yield factory
    factory.finish()


@pytest.fixture(scope="module")
def berths(tmp_path_factory):
    """Factory of servers for one module."""
    factory = Factory(tmp_path_factory.mktemp("berth"))
    yield factory
    factory.finish()


@pytest.fixture(scope="module")
def server(berths, request):
    """The module's server; SETTINGS of the module are its options."""
    return berths(getattr(request.module, "SETTINGS", None))


@pytest.fixture
def alive(server):
    """After the test the module's server still answers."""
    yield server
    assert server.running(), f"the server ended:\n{server.text()}"
    assert Client(server, mode="none").once("GET", "/healthz").status == 200


@pytest.fixture(scope="module")
def admin(server):
    client = Client(server)
    yield client
    client.close()


@pytest.fixture
def nobody(server):
    client = Client(server, mode="none")
    yield client
    client.close()

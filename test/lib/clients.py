"""The real clients: finding and calling them, and reading what they did from the access log."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from lib.server import PASSWORD, ROOT

TOOLS = ROOT / "build" / "tools" / "bin"
REGISTRY = "registry.test"  # ::1 for the dockerd of the tests
VERSIONS = ROOT / "tools" / "clients" / "versions"

# Of Debian's packages, and how to ask each for its version. Debian's docker is meant, not another.
PACKAGED = {
    "dockerd": ["/usr/sbin/dockerd", "--version"],
    "docker": ["/usr/bin/docker", "--version"],
    "podman": ["podman", "--version"],
    "buildah": ["buildah", "--version"],
    "skopeo": ["skopeo", "--version"],
    "umoci": ["umoci", "--version"],
    "ctr": ["ctr", "--version"],
}


def built():
    """Names of the clients that ./dev test clients builds."""
    rows = [line.split() for line in VERSIONS.read_text().splitlines()]
    return [row[0] for row in rows if row and row[0] != "#"]


def find(program):
    """Path of a program, None without."""
    if program in built() and (TOOLS / program).is_file():
        return str(TOOLS / program)
    return shutil.which(program)


def version(name):
    """What a client says of itself, None when it is not there."""
    if (TOOLS / f"{name}.from").is_file():  # those built from source do not know it
        return (TOOLS / f"{name}.from").read_text().split()[1].lstrip("v")
    program, *args = PACKAGED.get(name, [name, "version"])
    if not find(program):
        return None
    done = subprocess.run([find(program), *args], capture_output=True, text=True, timeout=20)
    found = re.search(r"v?(\d+\.\d+\.\d+[^\s,]*)", done.stdout)
    return found and found[1]


def versions():
    """{name: version, None when it is not there}."""
    return {name: version(name) for name in (*PACKAGED, *built())}


def needs(*programs, root=True, **more):
    """Skips the test without them; at the top of a file, with allow_module_level, all its tests."""
    if root and os.geteuid() != 0:
        pytest.skip("real clients need root", **more)
    for program in programs:
        if not find(program):
            pytest.skip(f"{program} is not installed", **more)


class Tool:
    """A command-line client. run() returns what it printed, stdout and stderr together."""

    def __init__(self, name, command, home, env=None):
        self.name, self.command = name, command
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LANG": "C",
                    "XDG_RUNTIME_DIR": str(home), "REGISTRY_AUTH_FILE": str(home / "auth.json"),
                    **(env or {})}

    def call(self, *args, stdin=None, timeout=120, cwd=None, stderr=subprocess.STDOUT):
        return subprocess.run([*self.command, *map(str, args)], env=self.env, input=stdin, text=True,
                              stdout=subprocess.PIPE, stderr=stderr, timeout=timeout, cwd=cwd)

    def run(self, *args, **more):
        done = self.call(*args, **more)
        assert done.returncode == 0, f"{self.name} {' '.join(map(str, args))}:\n{done.stdout}"
        return done.stdout

    def out(self, *args, **more):
        """stdout alone: what programs read."""
        done = self.call(*args, stderr=subprocess.PIPE, **more)
        assert done.returncode == 0, f"{self.name} {' '.join(map(str, args))}:\n{done.stderr}"
        return done.stdout

    def fails(self, *args, **more):
        done = self.call(*args, **more)
        assert done.returncode != 0, f"{self.name} {' '.join(map(str, args))} should have failed"
        return done.stdout

    def login(self, server, user="admin", password=None):
        more = () if self.name == "docker" else ("--tls-verify=false",)
        return self.call("login", *more, "-u", user, "--password-stdin", server.name,
                         stdin=password or PASSWORD)


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def requests(server, since, method, pattern):
    """Access log lines since line number `since` whose path matches."""
    server.log_mark()
    return [f for f in server.events("request", since)
            if f.get("method") == method and re.search(pattern, f.get("path", ""))]


def mounts(server, since, repository):
    """How many blobs were mounted into the repository. Of the two answers 201 to the start of an
    upload, the one without a body is a mount."""
    return sum(f["status"] == "201" and f["in_bytes"] == "0" for f in
               requests(server, since, "POST", rf"^/v2/{repository}/blobs/uploads/$"))

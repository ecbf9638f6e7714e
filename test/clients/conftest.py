"""Real clients, each with its own storage and credentials below a temporary directory."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from lib import images

MB = 1 << 20


def needs(*programs):
    if os.geteuid() != 0:
        pytest.skip("real clients need root")
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


class Tool:
    """A command-line client. run() returns what it printed, stdout and stderr together."""

    def __init__(self, name, command, home, env=None):
        self.name, self.command = name, command
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LANG": "C",
                    "XDG_RUNTIME_DIR": str(home), "REGISTRY_AUTH_FILE": str(home / "auth.json"),
                    **(env or {})}

    def call(self, *args, stdin=None, timeout=120):
        return subprocess.run([*self.command, *map(str, args)], env=self.env, input=stdin, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)

    def run(self, *args, **more):
        done = self.call(*args, **more)
        assert done.returncode == 0, f"{self.name} {' '.join(map(str, args))}:\n{done.stdout}"
        return done.stdout

    def fails(self, *args, **more):
        done = self.call(*args, **more)
        assert done.returncode != 0, f"{self.name} {' '.join(map(str, args))} should have failed"
        return done.stdout

    def login(self, server, user="admin", password=None):
        from lib.server import PASSWORD
        more = () if self.name == "docker" else ("--tls-verify=false",)
        return self.call("login", *more, "-u", user, "--password-stdin", server.name,
                         stdin=password or PASSWORD)


@pytest.fixture(scope="session")
def home():
    """A short path: sockets live here."""
    path = Path(tempfile.mkdtemp(prefix="berth-", dir="/tmp"))
    yield path
    subprocess.run(f"grep -o '{path}[^ ]*' /proc/mounts | sort -r | xargs -r umount -l", shell=True)
    shutil.rmtree(path, ignore_errors=True)


def start_dockerd(home, driver):
    log = (home / f"dockerd-{driver}.log").open("wb")
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    process = subprocess.Popen(
        ["/usr/sbin/dockerd", "--data-root", home / f"data-{driver}", "--exec-root", home / "exec",
         "-H", f"unix://{home}/docker.sock", "--pidfile", home / "docker.pid", "--iptables=false",
         "--ip6tables=false", "--bridge=none", "--storage-driver", driver],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    log.close()
    return process


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def dockerd(home):
    needs("/usr/sbin/dockerd", "/usr/bin/docker")
    tool = Tool("docker", ["/usr/bin/docker"], home, {
        "DOCKER_HOST": f"unix://{home}/docker.sock", "DOCKER_CONFIG": str(home / "docker")})
    for driver in ("overlay2", "vfs"):
        process = start_dockerd(home, driver)
        end = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < end:
            if tool.call("info", timeout=10).returncode == 0:
                yield tool
                stop(process)
                return
            time.sleep(0.1)
        stop(process)
    log = (home / "dockerd-vfs.log").read_text()[-2000:]
    pytest.fail(f"dockerd does not start here:\n{log}")


@pytest.fixture
def docker(dockerd):
    """Nobody is logged in, no images are there."""
    shutil.rmtree(dockerd.env["DOCKER_CONFIG"], ignore_errors=True)
    found = dockerd.run("images", "-aq", "--no-trunc").split()
    if found:
        dockerd.run("rmi", "-f", *set(found))
    return dockerd


def storage(name, home, folder, *more):
    base = home / folder
    base.mkdir(exist_ok=True)
    (base / "auth.json").write_text("{}")
    return Tool(name, [name, "--root", base / "root", "--runroot", base / "run", "--storage-driver",
                       "vfs", *more], base, {"TMPDIR": str(base)})


@pytest.fixture
def podman(home):
    needs("podman")
    tool = storage("podman", home, "podman", "--cgroup-manager", "cgroupfs", "--events-backend",
                   "none", "--log-level", "error")
    yield tool
    tool.run("rmi", "-af")


@pytest.fixture
def buildah(home):
    needs("buildah")
    tool = storage("buildah", home, "buildah")
    yield tool
    tool.call("rmi", "-af")


@pytest.fixture
def skopeo(home):
    needs("skopeo")
    base = home / "skopeo"
    base.mkdir(exist_ok=True)
    (base / "auth.json").write_text("{}")
    return Tool("skopeo", ["skopeo"], base, {"TMPDIR": str(base)})


@pytest.fixture(scope="session")
def layers():
    """105 MB in three layers that no compression shrinks."""
    return [images.layer(f"file{i}", 35 * MB, f"clients/{i}") for i in range(3)]


@pytest.fixture(scope="session")
def archive(home, layers):
    """(path, image id) for docker load."""
    path = home / "image.tar"
    return path, images.docker_archive(path, "local/image:base", layers, "docker")


@pytest.fixture(scope="session")
def layout(home, layers):
    """(path, manifest digest, image id) of the same layers as OCI layout."""
    path = home / "layout"
    return (path, *images.oci_layout(path, layers, "oci"))


@pytest.fixture
def small(home):
    path = home / "small.tar"
    return path, images.docker_archive(path, "local/small:1", [images.layer("f", 2000, "small")])

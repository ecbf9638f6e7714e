"""Real clients, each with its own storage and credentials below a temporary directory."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from lib import clients, images
from lib.clients import REGISTRY, Tool, needs, stop

MB = 1 << 20


def pytest_terminal_summary(terminalreporter):
    """What ran here, and in one line what could not."""
    found = clients.versions()
    there = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    terminalreporter.write_line(f"clients: {there}")
    missing = [name for name, version in found.items() if not version]
    if missing:
        hint = "; ./dev test clients builds " + ", ".join(clients.built())
        terminalreporter.write_line("clients left out: " + ", ".join(missing) +
                                    (hint if set(missing) & set(clients.built()) else ""))


@pytest.fixture(scope="session")
def home():
    """A short path: sockets live here."""
    path = Path(tempfile.mkdtemp(prefix="berth-", dir="/tmp"))
    yield path
    subprocess.run(f"grep -o '{path}[^ ]*' /proc/mounts | sort -r | xargs -r umount -l", shell=True)
    shutil.rmtree(path, ignore_errors=True)


# dockerd takes loopback addresses of IPv4 for insecure: only a name that leads elsewhere shows what
# it does with certificates. It finds both in a mount namespace of its own.
NAMESPACE = """mkdir -p /etc/docker && mount --bind "$1" /etc/docker &&
mount --bind "$2" /etc/hosts && shift 2 && exec "$@" """


def start_dockerd(home, driver):
    log = (home / f"dockerd-{driver}.log").open("wb")
    (home / "etc").mkdir(exist_ok=True)
    (home / "hosts").write_text(f"127.0.0.1 localhost\n::1 {REGISTRY}\n")
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", NAMESPACE, "sh", home / "etc", home / "hosts",
         "/usr/sbin/dockerd", "--data-root", home / f"data-{driver}", "--exec-root", home / "exec",
         "-H", f"unix://{home}/docker.sock", "--pidfile", home / "docker.pid", "--iptables=false",
         "--ip6tables=false", "--bridge=none", "--storage-driver", driver],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    log.close()
    return process


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
    dockerd.run("image", "prune", "-af")
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


@pytest.fixture(scope="session")
def multiarch(home):
    """(path, index digest, {architecture: (manifest digest, image id)}) of an OCI layout with an
    image for amd64 and one for arm64, which share a layer."""
    path, shared = home / "multiarch", images.layer("shared", 300_000, "shared")
    return (path, *images.oci_index(path, {
        name: [shared, images.layer(name, 100_000, name)] for name in ("amd64", "arm64")}))


@pytest.fixture
def built(tmp_path):
    """Factory of clients built by tools/clients, each with a home of its own."""
    def make(name, env=None):
        needs(name, root=False)
        home = tmp_path / ("home-" + name)
        home.mkdir()
        return Tool(name, [clients.find(name)], home, {
            "DOCKER_CONFIG": str(home / "docker"), "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(home / "cache"), "XDG_DATA_HOME": str(home / "data"),
            "TMPDIR": str(home), **(env or {})})
    return make


@pytest.fixture(scope="module")
def eve(server):
    """A user, with the administrator's password, who may only pull what is public."""
    with sqlite3.connect(server.data / "berth.db", timeout=10) as db:
        db.execute("INSERT INTO user (name, password_hash, created_at) "
                   "SELECT 'eve', password_hash, 0 FROM user WHERE name = 'admin'")
    db.close()
    return "eve"

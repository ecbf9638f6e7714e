"""containerd through ctr: one containerd with its own root, state and socket."""

import json
import re
import subprocess
import tarfile
import time

import pytest

from lib import clients
from lib.clients import Tool, stop
from lib.oci import INDEX, digest
from lib.server import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.clients]
clients.needs("containerd", "ctr", allow_module_level=True)


@pytest.fixture(scope="module")
def containerd(home):
    """A client of it. No plugin that would touch the machine's containers, networks or devices."""
    base = home / "containerd"
    base.mkdir()
    (base / "config.toml").write_text(f"""version = 2
root = "{base}/root"
state = "{base}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.overlayfs",
    "io.containerd.internal.v1.opt"]
[grpc]
address = "{base}/c.sock"
[ttrpc]
address = "{base}/t.sock"
""")
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(["containerd", "-c", base / "config.toml"], stdout=log,
                                   stderr=log, stdin=subprocess.DEVNULL)
    tool = Tool("ctr", ["ctr", "-a", base / "c.sock", "-n", "test"], base,
                {"CONTAINERD_SNAPSHOTTER": "native"})
    try:
        end = time.monotonic() + 30
        while tool.call("version").returncode:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"containerd does not start here:\n{(base / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield tool
    finally:
        stop(process)


@pytest.fixture
def ctr(containerd):
    """No images are there, and no content."""
    yield containerd
    for name in containerd.out("images", "ls", "-q").split():
        containerd.run("images", "rm", "--sync", name)
    assert containerd.out("content", "ls", "-q").split() == []


REMOTE = ("--plain-http", "--user", f"admin:{PASSWORD}")


@pytest.fixture
def loaded(ctr, multiarch, home):
    """The index of two platforms, imported as local/multi:latest."""
    path = home / "multiarch.tar"
    if not path.exists():
        with tarfile.open(path, "w") as tar:
            for file in sorted(multiarch[0].rglob("*")):
                tar.add(file, file.relative_to(multiarch[0]))
    ctr.run("images", "import", "--all-platforms", "--no-unpack", "--base-name", "local/multi", path)
    return "local/multi:latest"


def test_index_round(ctr, loaded, server, admin, multiarch):
    """Pushed and pulled byte for byte, unpacked by platform."""
    path, root, children = multiarch
    name = f"{server.name}/ctr/multi:v1"
    ctr.run("images", "push", *REMOTE, name, loaded)
    stored = admin.manifest("ctr/multi", "v1")
    assert digest(stored.body) == root and stored.header("content-type") == INDEX
    ctr.run("images", "rm", "--sync", loaded)
    ctr.run("images", "pull", *REMOTE, "--platform", "linux/arm64", name)
    have = set(ctr.out("content", "ls", "-q").split())
    assert {root, *children["arm64"]} <= have and children["amd64"][0] not in have
    ctr.run("images", "pull", *REMOTE, "--all-platforms", name)
    have = set(ctr.out("content", "ls", "-q").split())
    assert have == {"sha256:" + file.name for file in (path / "blobs/sha256").iterdir()}
    assert ctr.out("content", "get", root).encode() == stored.body
    assert re.search(rf"^{re.escape(name)} .*{root}.*linux/amd64,linux/arm64",
                     ctr.out("images", "ls"), re.M)
    ctr.run("images", "pull", *REMOTE, f"{server.name}/ctr/multi@{children['amd64'][0]}")


def test_one_platform(ctr, loaded, server, admin, multiarch):
    manifest = multiarch[2]["amd64"][0]
    name = f"{server.name}/ctr/one:v1"
    ctr.run("images", "push", *REMOTE, "--platform", "linux/amd64", name, loaded)
    assert admin.manifest("ctr/one", "v1").header("docker-content-digest") == manifest
    ctr.run("images", "pull", *REMOTE, name)


def test_push_mounts(ctr, loaded, server, admin, multiarch):
    """What was pulled from one repository is mounted into another."""
    first, second = (f"{server.name}/ctr/{name}:v1" for name in ("source", "target"))
    ctr.run("images", "push", *REMOTE, first, loaded)
    ctr.run("images", "rm", "--sync", loaded)
    ctr.run("images", "pull", *REMOTE, "--all-platforms", first)
    ctr.run("images", "tag", first, second)
    since = server.log_mark()
    ctr.run("images", "push", *REMOTE, second)
    assert clients.mounts(server, since, "ctr/target") >= 3
    assert server.uploaded(since) == 0, "layers were sent again"
    assert digest(admin.manifest("ctr/target", "v1").body) == multiarch[1]
    since = server.log_mark()
    ctr.run("images", "push", *REMOTE, second)
    assert not clients.requests(server, since, "POST", "/blobs/uploads/"), "all was there"


def test_refresh_token(ctr, server, admin):
    """The OAuth grant of containerd, by POST."""
    admin.push_image("ctr/oauth", "v1")
    found = admin.token_response(["repository:ctr/oauth:pull"], query=[("offline_token", "true")])
    since = server.log_mark()
    ctr.run("content", "fetch", "--plain-http", "--refresh", found.json()["refresh_token"],
            f"{server.name}/ctr/oauth:v1")
    posts = clients.requests(server, since, "POST", "^/service/token$")
    assert posts and {f["status"] for f in posts} == {"200"}


def test_what_people_read(ctr, loaded, server, eve, admin):
    admin.push_image("private/ctr", "latest")
    name = f"{server.name}/private/ctr"
    for who in (["--user", f"{eve}:{PASSWORD}"], ["--user", "admin:wrong"], []):
        for text in (ctr.fails("images", "pull", "--plain-http", *who, f"{name}:latest"),
                     ctr.fails("images", "push", "--plain-http", *who, f"{name}:mine", loaded)):
            assert re.search("unauthorized|authorization failed|401|denied", text, re.I), text
            assert "EOF" not in text, text
    text = ctr.fails("images", "pull", *REMOTE, f"{name}:latst")
    assert "not found" in text, text
    assert json.loads(admin.tags("private/ctr").body)["tags"] == ["latest"]

"""Images that clients build: docker's classic builder and BuildKit, buildah in every format and
compression. Built on an image from the registry, pushed, pulled by another client, looked into.
(Debian 12 has no buildx; BuildKit is reached by docker build.)"""

import json
import re

import pytest

from lib import clients, images
from lib.oci import DOCKER_IMAGE, IMAGE, digest, randbytes

pytestmark = [pytest.mark.slow, pytest.mark.clients]

ONE = "--tls-verify=false"


@pytest.fixture
def base(skopeo, server, tmp_path):
    """An image in the registry to build on."""
    path = tmp_path / "base"
    images.oci_layout(path, [images.layer("base", 200_000, "base")], "base")
    assert skopeo.login(server).returncode == 0
    skopeo.run("copy", "--dest-tls-verify=false", "--preserve-digests", f"oci:{path}:latest",
               f"docker://{server.name}/builders/base:v1")
    return f"{server.name}/builders/base:v1"


@pytest.fixture
def context(base, tmp_path):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "payload").write_bytes(randbytes(500_000, str(tmp_path)))
    (folder / "Dockerfile").write_text(
        f"FROM {base}\nCOPY payload /opt/payload\nLABEL made.by=test\n")
    return folder


def looked_into(buildah, name):
    """Bytes of /opt/payload in an image."""
    container = buildah.out("from", ONE, name).strip()
    folder = buildah.out("mount", container).strip()
    try:
        with open(folder + "/opt/payload", "rb") as f:
            return f.read()
    finally:
        buildah.run("umount", container)
        buildah.run("rm", container)


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_docker_build(docker, buildah, server, admin, context, base, builder):
    for tool in (docker, buildah):
        assert tool.login(server).returncode == 0
    name = f"{server.name}/builders/{builder}:v1"
    tool = clients.Tool("docker", docker.command, context.parent, {
        **docker.env, "DOCKER_BUILDKIT": str(int(builder == "buildkit"))})
    since = server.log_mark()
    text = tool.run("build", "--pull", "-t", name, context)
    assert ("#1 " in text) == (builder == "buildkit"), text
    assert clients.requests(server, since, "GET", "/v2/builders/base/manifests/")
    docker.run("push", name)
    # the layer of the base is there already
    manifest = admin.manifest(f"builders/{builder}", "v1")
    assert manifest.header("content-type") == DOCKER_IMAGE
    assert looked_into(buildah, name) == (context / "payload").read_bytes()


def test_buildkit_inline_cache(docker, server, context):
    """What is cached in a pushed image is used by who builds anew."""
    assert docker.login(server).returncode == 0
    name = f"{server.name}/builders/cache:v1"
    tool = clients.Tool("docker", docker.command, context.parent, {
        **docker.env, "DOCKER_BUILDKIT": "1"})
    tool.run("build", "--build-arg", "BUILDKIT_INLINE_CACHE=1", "-t", name, context)
    docker.run("push", name)
    docker.run("rmi", name)
    docker.run("builder", "prune", "-af")
    text = tool.run("build", "--cache-from", name, "-t", name, context)
    assert re.search(r"importing cache manifest from .*/builders/cache:v1", text), text
    assert "CACHED" in text, text


@pytest.mark.parametrize("format, media_type, compression", [
    ("docker", DOCKER_IMAGE, "gzip"), ("oci", IMAGE, "gzip"), ("oci", IMAGE, "zstd"),
    ("oci", IMAGE, "zstd:chunked")])
def test_buildah(buildah, podman, server, admin, context, format, media_type, compression):
    for tool in (buildah, podman):
        assert tool.login(server).returncode == 0
    repository = f"builders/buildah-{format}-{compression.replace(':', '-')}"
    name = f"{server.name}/{repository}:v1"
    buildah.run("build", ONE, f"--format={format}", "-t", "local/built", context)
    buildah.run("push", ONE, f"--format={format.replace('docker', 'v2s2')}",
                f"--compression-format={compression}", "local/built", f"docker://{name}")
    stored = admin.manifest(repository, "v1")
    assert stored.header("content-type") == media_type
    layers = stored.json()["layers"]
    if format == "oci":
        assert layers[-1]["mediaType"].endswith("tar+" + compression.split(":")[0]), layers
    if compression == "zstd:chunked":
        assert any("zstd-chunked" in key for key in layers[-1]["annotations"]), layers
    for layer in layers:
        assert digest(admin.blob(repository, layer["digest"]).body) == layer["digest"]
    buildah.run("rmi", "-f", "local/built")
    podman.run("pull", ONE, name)
    labels = json.loads(podman.out("image", "inspect", "--format", "{{json .Labels}}", name))
    assert labels["made.by"] == "test" and labels["label"] == "base"
    assert looked_into(buildah, name) == (context / "payload").read_bytes()


@pytest.fixture
def partial(home):
    """podman with the storage that fetches of a zstd:chunked layer only the files it lacks."""
    clients.needs("podman")
    base = home / "partial"
    base.mkdir()
    (base / "auth.json").write_text("{}")
    (base / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{base}/root"\nrunroot = "{base}/run"\n'
        '[storage.options]\npull_options = {enable_partial_images = "true"}\n')
    tool = clients.Tool("podman", ["podman", "--cgroup-manager", "cgroupfs", "--events-backend",
                                   "none", "--log-level", "error"], base,
                        {"CONTAINERS_STORAGE_CONF": str(base / "storage.conf"), "TMPDIR": str(base)})
    done = tool.call("info")
    if done.returncode:
        pytest.skip(f"podman: no overlay storage here: {done.stdout.splitlines()[-1]}")
    yield tool
    tool.run("rmi", "-af")


def test_partial_pull(partial, buildah, server, tmp_path):
    """Three files of eight changed: three ranges in one request, and nothing else of the layer."""
    for tool in (partial, buildah):
        assert tool.login(server).returncode == 0
    for i in range(8):
        (tmp_path / f"file{i}").write_bytes(randbytes(200_000, f"partial/{i}"))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file* /\n")

    def build(tag):
        name = f"{server.name}/builders/partial:{tag}"
        buildah.run("build", "--no-cache", "--format=oci", "-t", name, tmp_path)
        buildah.run("push", ONE, "--compression-format=zstd:chunked", name)
        return name

    partial.run("pull", ONE, build("v1"))
    for i in (1, 4, 6):
        (tmp_path / f"file{i}").write_bytes(randbytes(200_000, f"changed/{i}"))
    second = build("v2")
    since = server.log_mark()
    partial.run("pull", ONE, second)
    fetched = [f for f in clients.requests(server, since, "GET", "/blobs/") if f["status"] == "206"]
    assert 600_000 < sum(int(f["out_bytes"]) for f in fetched) < 800_000, fetched
    folder = partial.out("image", "mount", second).strip()
    try:
        for i in range(8):
            with open(f"{folder}/file{i}", "rb") as f:
                assert f.read() == (tmp_path / f"file{i}").read_bytes()
    finally:
        partial.run("image", "umount", second)

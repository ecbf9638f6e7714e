"""crane, and with it the Go library of ko, kaniko and cosign."""

import json
import re

import pytest

from lib import clients, images
from lib.oci import INDEX, digest
from lib.server import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.clients]
clients.needs("crane", root=False, allow_module_level=True)


def login(crane, server, user="admin", password=PASSWORD):
    return crane.call("auth", "login", server.name, "-u", user, "--password-stdin", stdin=password)


@pytest.fixture
def anonymous(built):
    return built("crane")


@pytest.fixture
def crane(anonymous, server):
    done = login(anonymous, server)
    assert done.returncode == 0, done.stdout
    return anonymous


@pytest.fixture
def pushed(crane, server, multiarch):
    """An index of two platforms, pushed by crane; its name."""
    name = f"{server.name}/crane/multi:v1"
    crane.run("push", multiarch[0], name)
    return name


def test_index_round(crane, admin, pushed, multiarch, tmp_path):
    """Pushed and pulled byte for byte; the config by platform."""
    path, root, children = multiarch
    stored = admin.manifest("crane/multi", "v1")
    assert digest(stored.body) == root and stored.header("content-type") == INDEX
    assert crane.out("digest", pushed).strip() == root
    assert crane.out("manifest", pushed).encode() == stored.body
    for architecture, (manifest, config) in children.items():
        platform = f"--platform=linux/{architecture}"
        assert crane.out("digest", pushed, platform).strip() == manifest
        assert digest(crane.out("config", pushed, platform).encode()) == config
    crane.run("pull", "--format=oci", pushed, tmp_path / "back")
    for file in (path / "blobs/sha256").iterdir():
        assert (tmp_path / "back/blobs/sha256" / file.name).read_bytes() == file.read_bytes()
    assert "PASS" in crane.run("validate", "--remote", pushed)


def test_large_layer(crane, admin, server, tmp_path):
    """A streamed upload in one PATCH and its download."""
    (tmp_path / "layer.tar").write_bytes(images.layer("large", 20_000_000, "crane"))
    name = f"{server.name}/crane/large:v1"
    crane.run("append", "--oci-empty-base", "-f", tmp_path / "layer.tar", "-t", name)
    found = json.loads(admin.manifest("crane/large", "v1").body)["layers"][0]
    assert len(admin.blob("crane/large", found["digest"]).body) == found["size"] > 20_000_000
    crane.run("pull", name, tmp_path / "image.tar")
    assert "PASS" in crane.run("validate", "--tarball", tmp_path / "image.tar")


def test_copy_mounts(crane, admin, server, pushed, multiarch):
    since = server.log_mark()
    crane.run("copy", "--all-tags", pushed.rsplit(":", 1)[0], f"{server.name}/crane/copy")
    assert clients.mounts(server, since, "crane/copy") >= 3  # three layers; configs as it likes
    layers = 500_000
    assert server.uploaded(since) < layers // 10, "layers were sent again"
    assert digest(admin.manifest("crane/copy", "v1").body) == multiarch[1]


def test_lists_tag_delete(crane, admin, server, pushed):
    repository = pushed.rsplit(":", 1)[0]
    crane.run("tag", pushed, "v2")
    assert crane.out("ls", repository).split() == ["v1", "v2"]
    assert "crane/multi" in crane.out("catalog", server.name).split()
    crane.run("delete", f"{repository}:v2")
    assert crane.out("ls", repository).split() == ["v1"]
    crane.run("delete", f"{repository}@{crane.out('digest', pushed).strip()}")
    assert crane.fails("digest", pushed)
    assert admin.tags("crane/multi").json()["tags"] == []


def test_index_is_composed(crane, admin, server, pushed, multiarch):
    """Children by digest into another repository, filtered by platform, annotated."""
    name = f"{server.name}/crane/composed"
    parts = [f"-m={pushed.rsplit(':', 1)[0]}@{child[0]}" for child in multiarch[2].values()]
    crane.run("index", "append", *parts, "-t", f"{name}:both")
    found = json.loads(admin.manifest("crane/composed", "both").body)["manifests"]
    assert {d["digest"] for d in found} == {child[0] for child in multiarch[2].values()}
    crane.run("index", "filter", f"{name}:both", "--platform=linux/arm64", "-t", f"{name}:arm")
    found = json.loads(admin.manifest("crane/composed", "arm").body)["manifests"]
    assert [d["digest"] for d in found] == [multiarch[2]["arm64"][0]]
    crane.run("mutate", f"{name}@{multiarch[2]['amd64'][0]}", "-a", "a.b=c", "-t", f"{name}:noted")
    assert json.loads(admin.manifest("crane/composed", "noted").body)["annotations"] == {"a.b": "c"}


def test_what_people_read(anonymous, server, eve, admin):
    crane = anonymous
    admin.push_image("private/crane", "latest")
    name = f"{server.name}/private/crane"
    text = login(crane, server, password="wrong").stdout + crane.fails("digest", f"{name}:latest")
    assert re.search("UNAUTHORIZED|401", text), text
    assert login(crane, server, eve).returncode == 0
    for text in (crane.fails("digest", f"{name}:latest"), crane.fails("ls", name),
                 crane.fails("copy", f"{name}:latest", f"{name}:other")):
        assert re.search("UNAUTHORIZED|401|DENIED", text) and "EOF" not in text, text
    login(crane, server)
    text = crane.fails("manifest", f"{name}:latst")
    assert "MANIFEST_UNKNOWN" in text and "near ones: latest" in text, text

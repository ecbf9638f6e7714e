"""skopeo with everything it does to registries, podman's search, and layouts made by umoci."""

import json
import re

import pytest

from lib import clients, images
from lib.oci import DOCKER_IMAGE, DOCKER_LIST, IMAGE, INDEX, Client, digest, randbytes

pytestmark = [pytest.mark.slow, pytest.mark.clients]

BOTH = ("--src-tls-verify=false", "--dest-tls-verify=false")
ONE = "--tls-verify=false"


@pytest.fixture
def skopeo(skopeo, server):
    done = skopeo.login(server)
    assert done.returncode == 0, done.stdout
    return skopeo


@pytest.fixture
def pushed(skopeo, server, multiarch):
    name = f"{server.name}/skopeo/multi:v1"
    skopeo.run("copy", *BOTH, "--all", f"oci:{multiarch[0]}:latest", f"docker://{name}")
    return name


def test_index_round(skopeo, server, admin, pushed, multiarch, tmp_path):
    path, root, children = multiarch
    stored = admin.manifest("skopeo/multi", "v1")
    assert digest(stored.body) == root and stored.header("content-type") == INDEX
    assert skopeo.out("inspect", ONE, "--raw", f"docker://{pushed}").encode() == stored.body
    skopeo.run("copy", *BOTH, "--all", f"docker://{pushed}", f"oci:{tmp_path}/back:v1")
    for file in (path / "blobs/sha256").iterdir():
        assert (tmp_path / "back/blobs/sha256" / file.name).read_bytes() == file.read_bytes()
    for architecture, (manifest, config) in children.items():
        found = skopeo.out(f"--override-arch={architecture}", "inspect", ONE, "--config", "--raw",
                           f"docker://{pushed}")
        assert digest(found.encode()) == config
        skopeo.run(f"--override-arch={architecture}", "copy", *BOTH, f"docker://{pushed}",
                   f"docker://{server.name}/skopeo/one:{architecture}")
        assert admin.manifest("skopeo/one", architecture).header(
            "docker-content-digest") == manifest


def test_copy_mounts(skopeo, server, admin, pushed, multiarch):
    since = server.log_mark()
    skopeo.run("copy", *BOTH, "--all", f"docker://{pushed}",
               f"docker://{server.name}/skopeo/copy:v1")
    assert clients.mounts(server, since, "skopeo/copy") >= 3
    assert server.uploaded(since) < 50_000, "layers were sent again"
    assert digest(admin.manifest("skopeo/copy", "v1").body) == multiarch[1]


def test_formats(skopeo, server, admin, pushed, tmp_path):
    """Converted to docker's types, and compressed anew; what arrives is stored as sent."""
    skopeo.run("copy", *BOTH, "--format=v2s2", f"docker://{pushed}",
               f"docker://{server.name}/skopeo/docker:v1")
    assert admin.manifest("skopeo/docker", "v1").header("content-type") == DOCKER_IMAGE
    skopeo.run("copy", *BOTH, "--all", "--format=v2s2", f"docker://{pushed}",
               f"docker://{server.name}/skopeo/docker:all")
    assert admin.manifest("skopeo/docker", "all").header("content-type") == DOCKER_LIST
    for kind in ("gzip", "zstd"):
        images.oci_layout(tmp_path / kind, [images.layer(kind, 2_000_000, kind)], kind)
        skopeo.run("copy", *BOTH, "--format=oci", f"--dest-compress-format={kind}",
                   "--dest-compress", f"oci:{tmp_path}/{kind}:latest",
                   f"docker://{server.name}/skopeo/{kind}:v1")
        stored = admin.manifest(f"skopeo/{kind}", "v1")
        assert stored.header("content-type") == IMAGE
        assert {d["mediaType"].rsplit("+")[-1] for d in stored.json()["layers"]} == {kind}


def test_lists_and_delete(skopeo, server, admin, pushed):
    repository = f"docker://{server.name}/skopeo/listed"
    for i in range(5):
        skopeo.run("copy", *BOTH, f"docker://{pushed}", f"{repository}:v{i}")
    found = json.loads(skopeo.out("list-tags", ONE, repository))
    assert found["Tags"] == [f"v{i}" for i in range(5)]
    # it deletes the manifest the tag names, and with it every tag of that manifest
    skopeo.run("delete", ONE, f"{repository}:v1")
    assert admin.tags("skopeo/listed").json()["tags"] == []


def test_lists_over_pages(berth, skopeo, podman):
    """Of tags, and of repositories: podman searches the catalog."""
    server = berth({"limits.page": "3"})
    for tool in (skopeo, podman):
        assert tool.login(server).returncode == 0
    names = [f"v{i}" for i in range(8)]
    admin = Client(server)
    body, _ = admin.push_image("skopeo/pages", names[0])
    for name in names:
        admin.put_manifest("skopeo/pages", name, body)
        admin.push_image(f"found/{name}", "latest")
    admin.close()
    found = json.loads(skopeo.out("list-tags", ONE, f"docker://{server.name}/skopeo/pages"))
    assert found["Tags"] == names
    text = podman.out("search", ONE, "--list-tags", f"{server.name}/skopeo/pages")
    assert re.findall(r"skopeo/pages\s+(\S+)", text) == names
    text = podman.out("search", ONE, f"{server.name}/found")
    assert re.findall(r"/(found/\S+)", text) == [f"found/{name}" for name in names]


def test_sync(skopeo, server, admin, pushed, tmp_path):
    """A repository with all its tags to a directory and on to another; what is there stays."""
    skopeo.run("copy", *BOTH, "--all", f"docker://{pushed}", f"docker://{pushed}-again")
    repository = pushed.rsplit(":", 1)[0]
    skopeo.run("sync", *BOTH, "--all", "--src=docker", "--dest=dir", repository, tmp_path / "dir")
    skopeo.run("sync", *BOTH, "--all", "--src=dir", "--dest=docker", tmp_path / "dir",
               f"{server.name}/from-dir")
    since = server.log_mark()
    skopeo.run("sync", *BOTH, "--all", "--src=docker", "--dest=docker", repository,
               f"{server.name}/synced")
    assert server.uploaded(since) < 50_000, "layers were sent again"
    for copy in ("from-dir/multi", "synced/multi"):
        assert admin.tags(copy).json()["tags"] == ["v1", "v1-again"]
        assert admin.manifest(copy, "v1").body == admin.manifest("skopeo/multi", "v1").body


def test_sparse_index(berth, skopeo, multiarch):
    """The index alone and one of its images, where a repository may be sparse."""
    server = berth({"manifests.sparse": "skopeo/sparse"})
    assert skopeo.login(server).returncode == 0
    name = f"docker://{server.name}/skopeo/sparse:v1"
    children = {k: v[0] for k, v in multiarch[2].items()}
    skopeo.run("copy", *BOTH, f"oci:{multiarch[0]}:latest",
               f"docker://{server.name}/skopeo/sparse@{children['amd64']}", "--preserve-digests")
    skopeo.run("copy", *BOTH, "--multi-arch=index-only", f"oci:{multiarch[0]}:latest", name)
    skopeo.run("--override-arch=amd64", "inspect", ONE, name)
    text = skopeo.fails("--override-arch=arm64", "inspect", ONE, name)
    assert children["arm64"] in text or "manifest unknown" in text, text


def test_what_people_read(skopeo, server, eve, admin, multiarch):
    admin.push_image("private/skopeo", "latest")
    name = f"docker://{server.name}/private/skopeo"
    assert skopeo.login(server, eve).returncode == 0
    for text in (skopeo.fails("inspect", ONE, f"{name}:latest"),
                 skopeo.fails("list-tags", ONE, name),
                 skopeo.fails("delete", ONE, f"{name}:latest"),
                 skopeo.fails("copy", *BOTH, f"oci:{multiarch[0]}:latest", f"{name}:mine")):
        assert re.search("unauthorized|access.*denied", text, re.I) and "EOF" not in text, text
    skopeo.login(server)
    text = skopeo.fails("inspect", ONE, f"{name}:latst")
    assert "manifest unknown" in text and "near ones: latest" in text, text


def test_umoci(skopeo, server, admin, built, tmp_path):
    """A layout made by umoci, whose manifests may lack mediaType, there and back."""
    umoci = built("umoci")
    layout, file = tmp_path / "layout", tmp_path / "file"
    file.write_bytes(randbytes(300_000, "umoci"))
    umoci.run("init", "--layout", layout)
    umoci.run("new", "--image", f"{layout}:v1")
    umoci.run("insert", "--rootless", "--image", f"{layout}:v1", file, "/opt/file")
    umoci.run("config", "--image", f"{layout}:v1", "--config.label", "made.by=umoci",
              "--architecture", "amd64", "--os", "linux")
    index = json.loads((layout / "index.json").read_text())
    made = index["manifests"][0]["digest"]
    name = f"docker://{server.name}/umoci/image:v1"
    skopeo.run("copy", *BOTH, "--preserve-digests", f"oci:{layout}:v1", name)
    stored = admin.manifest("umoci/image", "v1")
    assert digest(stored.body) == made and stored.header("content-type") == IMAGE
    back = tmp_path / "back"
    skopeo.run("copy", *BOTH, "--preserve-digests", name, f"oci:{back}:v1")
    umoci.run("unpack", "--rootless", "--image", f"{back}:v1", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/opt/file").read_bytes() == file.read_bytes()
    (tmp_path / "bundle/rootfs/opt/more").write_text("more")
    umoci.run("repack", "--image", f"{back}:v2", tmp_path / "bundle")
    since = server.log_mark()
    skopeo.run("copy", *BOTH, f"oci:{back}:v2", f"docker://{server.name}/umoci/image:v2")
    assert server.uploaded(since) < 50_000, "the first layer was sent again"
    assert "umoci" in skopeo.out("inspect", ONE, f"docker://{server.name}/umoci/image:v2")
    assert admin.tags("umoci/image").json()["tags"] == ["v1", "v2"]

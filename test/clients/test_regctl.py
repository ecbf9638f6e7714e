"""regctl, and with it the Go library regclient: images, artifacts, referrers."""

import json
import re

import pytest

from lib import clients
from lib.oci import INDEX, digest, randbytes
from lib.server import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.clients]
clients.needs("regctl", root=False, allow_module_level=True)


def login(regctl, server, user="admin", password=PASSWORD):
    return regctl.call("registry", "login", server.name, "-u", user, "--pass-stdin", stdin=password)


@pytest.fixture
def anonymous(built, server):
    tool = built("regctl")
    tool.run("registry", "set", server.name, "--tls", "disabled", "--skip-check")
    return tool


@pytest.fixture
def regctl(anonymous, server):
    done = login(anonymous, server)
    assert done.returncode == 0, done.stdout
    return anonymous


@pytest.fixture
def pushed(regctl, server, multiarch):
    name = f"{server.name}/regctl/multi:v1"
    regctl.run("image", "copy", f"ocidir://{multiarch[0]}:latest", name)
    return name


def test_index_round(regctl, admin, pushed, multiarch, tmp_path):
    path, root, children = multiarch
    stored = admin.manifest("regctl/multi", "v1")
    assert digest(stored.body) == root and stored.header("content-type") == INDEX
    assert regctl.out("image", "digest", pushed).strip() == root
    for architecture, (manifest, config) in children.items():
        platform = f"--platform=linux/{architecture}"
        assert regctl.out("image", "digest", pushed, platform).strip() == manifest
        found = regctl.out("image", "config", pushed, platform, "--format", "raw-body")
        assert digest(found.encode()) == config
    regctl.run("image", "copy", pushed, f"ocidir://{tmp_path}/back:v1")
    for file in (path / "blobs/sha256").iterdir():
        assert (tmp_path / "back/blobs/sha256" / file.name).read_bytes() == file.read_bytes()


def test_copy_mounts(regctl, admin, server, pushed, multiarch):
    since = server.log_mark()
    regctl.run("image", "copy", pushed, f"{server.name}/regctl/copy:v1")
    assert clients.mounts(server, since, "regctl/copy") >= 3
    assert server.uploaded(since) < 50_000, "layers were sent again"
    assert digest(admin.manifest("regctl/copy", "v1").body) == multiarch[1]


def test_chunked_upload(regctl, admin, server):
    """In chunks with Content-Range, each PATCH to where the last answer pointed."""
    regctl.run("registry", "set", server.name, "--blob-max", "100000", "--blob-chunk", "100000")
    data = randbytes(1_050_000, "regctl").hex()
    since = server.log_mark()
    name = regctl.out("blob", "put", f"{server.name}/regctl/chunks", stdin=data).strip()
    assert name == digest(data.encode())
    assert admin.blob("regctl/chunks", name).body == data.encode()
    patches = clients.requests(server, since, "PATCH", "/v2/regctl/chunks/blobs/uploads/")
    assert len(patches) >= 20, patches
    assert regctl.out("blob", "get", f"{server.name}/regctl/chunks", name) == data


def test_lists_and_delete(regctl, admin, server, pushed, multiarch):
    repository = pushed.rsplit(":", 1)[0]
    for tag in ("v2", "v3", "v4"):
        regctl.run("image", "copy", pushed, f"{repository}:{tag}")
    assert regctl.out("tag", "ls", repository).split() == ["v1", "v2", "v3", "v4"]
    assert regctl.out("tag", "ls", repository, "--limit", "2", "--last", "v1").split() == ["v2", "v3"]
    assert "regctl/multi" in regctl.out("repo", "ls", server.name).split()
    regctl.run("tag", "rm", f"{repository}:v4")
    assert admin.manifest("regctl/multi", "v3").status == 200, "its digest has other tags"
    assert regctl.out("tag", "ls", repository).split() == ["v1", "v2", "v3"]
    regctl.run("manifest", "delete", f"{repository}@{multiarch[1]}")
    assert regctl.out("tag", "ls", repository).split() == []
    assert admin.manifest("regctl/multi", multiarch[2]["amd64"][0]).status == 200, "children stay"


def test_artifacts_and_referrers(regctl, admin, server, pushed, multiarch, tmp_path):
    """Attached to the index and to one platform, filtered, copied along, and got back."""
    def attach(kind, text, *more):
        regctl.run("artifact", "put", "--artifact-type", kind, "--subject", pushed,
                   "--annotation", "org.example.kind=" + kind, *more, stdin=text)

    def listed(name, *more):
        found = regctl.out("artifact", "list", name, *more, "--format", "{{json .}}")
        return sorted(d["artifactType"] for d in json.loads(found)["descriptors"] or [])

    attach("application/spdx+json", '{"spdx":1}')
    attach("application/vnd.example.note", "a note")
    attach("application/spdx+json", '{"spdx":"arm"}', "--platform", "linux/arm64")
    both = ["application/spdx+json", "application/vnd.example.note"]
    assert listed(pushed) == both
    assert listed(pushed, "--platform", "linux/arm64") == both[:1]
    assert listed(pushed, "--filter-artifact-type", both[1]) == both[1:]
    assert listed(pushed, "--filter-annotation", "org.example.kind=" + both[0]) == both[:1]
    assert regctl.out("artifact", "get", "--subject", pushed, "--filter-artifact-type",
                      both[1]) == "a note"
    assert admin.tags("regctl/multi").json()["tags"] == ["v1"], "no fallback tags"
    regctl.run("image", "copy", "--referrers", pushed, f"{server.name}/regctl/whole:v1")
    assert listed(f"{server.name}/regctl/whole:v1") == both
    found = admin.get(f"/v2/regctl/whole/referrers/{multiarch[2]['arm64'][0]}").json()["manifests"]
    assert [d["artifactType"] for d in found] == both[:1]
    assert "vnd.example.note" in regctl.out("artifact", "tree", pushed)


def test_index_of_its_own(regctl, admin, server, pushed, multiarch):
    name = f"{server.name}/regctl/multi:own"
    regctl.run("index", "create", name, "--ref", pushed, "--platform", "linux/arm64")
    children = json.loads(admin.manifest("regctl/multi", "own").body)["manifests"]
    assert [d["digest"] for d in children] == [multiarch[2]["arm64"][0]]


def test_what_people_read(anonymous, regctl, server, eve, admin):
    regctl.run("registry", "logout", server.name)
    admin.push_image("private/regctl", "latest")
    name = f"{server.name}/private/regctl"
    done = login(regctl, server, password="wrong")
    assert done.returncode and re.search("unauthorized", done.stdout, re.I), done.stdout
    done = login(regctl, server, eve)
    assert done.returncode == 0, done.stdout
    for text in (regctl.fails("image", "digest", f"{name}:latest"), regctl.fails("tag", "ls", name),
                 regctl.fails("blob", "put", name, stdin="mine")):
        assert re.search("unauthorized|401|denied", text, re.I) and "EOF" not in text, text
    login(regctl, server)
    text = regctl.fails("manifest", "get", f"{name}:latst")
    assert "MANIFEST_UNKNOWN" in text and "near ones: latest" in text, text

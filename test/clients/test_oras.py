"""oras-go, the library of oras, helm and notation, through a small client of its own: artifacts,
referrers by the API and by tag, mounts, both ways to a token. (tools/clients/oras-go)"""

import json
import re

import pytest

from lib import clients
from lib.oci import EMPTY, IMAGE, INDEX, digest
from lib.server import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.clients]
clients.needs("oras-go", root=False, allow_module_level=True)

SBOM, NOTE = "application/spdx+json", "application/vnd.example.note"


@pytest.fixture
def oras(built):
    tool = built("oras-go")
    tool.env.update(ORAS_USER="admin", ORAS_PASSWORD=PASSWORD)
    return tool


@pytest.fixture
def files(tmp_path):
    for name in ("one.txt", "two.bin"):
        (tmp_path / name).write_text(name * 1000)
    return [tmp_path / "one.txt", tmp_path / "two.bin"]


def discovered(oras, *args):
    return sorted(tuple(line.split()) for line in oras.out("discover", *args).splitlines())


def test_artifact_round(oras, server, admin, files, tmp_path):
    name = f"{server.name}/oras/artifact:v1"
    pushed = oras.out("push", name, NOTE, *files).strip()
    stored = admin.manifest("oras/artifact", "v1")
    assert digest(stored.body) == pushed and stored.header("content-type") == IMAGE
    manifest = json.loads(stored.body)
    assert manifest["artifactType"] == NOTE and manifest["config"]["mediaType"] == EMPTY
    oras.run("pull", name, tmp_path / "back")
    for layer, file in zip(manifest["layers"], files):
        copied = tmp_path / "back/blobs/sha256" / layer["digest"].split(":")[1]
        assert copied.read_bytes() == file.read_bytes()
    assert (tmp_path / "back/blobs/sha256" / pushed.split(":")[1]).read_bytes() == stored.body


def test_index_round(oras, server, admin, multiarch, tmp_path):
    path, root, _ = multiarch
    name = f"{server.name}/oras/multi:v1"
    oras.run("send", path, "latest", name)
    stored = admin.manifest("oras/multi", "v1")
    assert digest(stored.body) == root and stored.header("content-type") == INDEX
    oras.run("pull", name, tmp_path / "back")
    for file in (path / "blobs/sha256").iterdir():
        assert (tmp_path / "back/blobs/sha256" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("mode", ["api", "tag"])
def test_attach_and_discover(oras, server, admin, multiarch, files, mode):
    """By the referrers API, and by the tag that serves where there is none."""
    repository = f"oras/referrers-{mode}"
    name = f"{server.name}/{repository}:v1"
    oras.env["ORAS_REFERRERS"] = mode
    oras.run("send", multiarch[0], "latest", name)
    fallback = multiarch[1].replace(":", "-")
    one = oras.out("attach", name, SBOM, files[0]).strip()
    other = oras.out("attach", name, NOTE, files[1]).strip()
    everything = sorted([(SBOM, one), (NOTE, other)])
    assert discovered(oras, name) == everything
    assert discovered(oras, name, NOTE) == [(NOTE, other)]
    assert admin.tags(repository).json()["tags"] == ([fallback] if mode == "tag" else []) + ["v1"]
    oras.env["ORAS_REFERRERS"] = "api"  # they are referrers, however they were announced
    assert discovered(oras, name) == everything
    oras.env["ORAS_REFERRERS"] = mode
    oras.run("delete", f"{name.rsplit(':', 1)[0]}@{one}")
    assert discovered(oras, name) == [(NOTE, other)]
    oras.env["ORAS_REFERRERS"] = "api"
    assert discovered(oras, name) == [(NOTE, other)]


def test_copy_with_referrers_mounts(oras, server, admin, multiarch, files):
    source, target = (f"{server.name}/oras/{name}:v1" for name in ("source", "target"))
    oras.run("send", multiarch[0], "latest", source)
    attached = oras.out("attach", source, SBOM, *files).strip()
    since = server.log_mark()
    oras.run("copy", source, target)
    assert clients.mounts(server, since, "oras/target") >= 7  # layers, configs, files
    assert server.uploaded(since) == 0, "blobs were sent again"
    assert digest(admin.manifest("oras/target", "v1").body) == multiarch[1]
    assert discovered(oras, target) == [(SBOM, attached)]


def test_lists(berth, oras, files):
    """Tags and catalog over several pages."""
    server = berth({"limits.page": "3"})
    names = [f"v{i}" for i in range(7)]
    for name in names:
        oras.run("push", f"{server.name}/oras/tags:{name}", NOTE, files[0])
        oras.run("push", f"{server.name}/oras/r-{name}:latest", NOTE, files[0])
    assert oras.out("tags", f"{server.name}/oras/tags").split() == names
    assert oras.out("catalog", server.name).split() == [f"oras/r-{n}" for n in names] + ["oras/tags"]


def test_oauth2(oras, server, admin, files):
    """Tokens by POST: the password grant, and a refresh token alone."""
    name = f"{server.name}/oras/oauth:v1"
    since = server.log_mark()
    oras.env["ORAS_OAUTH2"] = "yes"
    oras.run("push", name, NOTE, files[0])
    found = admin.token_response(["repository:oras/oauth:pull"], query=[("offline_token", "true")])
    del oras.env["ORAS_PASSWORD"], oras.env["ORAS_OAUTH2"], oras.env["ORAS_USER"]
    oras.env["ORAS_REFRESH"] = found.json()["refresh_token"]
    assert oras.out("tags", name.rsplit(":", 1)[0]).split() == ["v1"]
    posts = clients.requests(server, since, "POST", "^/service/token$")
    assert len(posts) >= 2 and {f["status"] for f in posts} == {"200"}


def test_what_people_read(oras, server, eve, admin, files):
    admin.push_image("private/oras", "latest")
    name = f"{server.name}/private/oras"
    for user, password in ((eve, PASSWORD), ("admin", "wrong"), ("", "")):
        oras.env.update(ORAS_USER=user, ORAS_PASSWORD=password)
        for text in (oras.fails("discover", f"{name}:latest"), oras.fails("tags", name),
                     oras.fails("push", f"{name}:mine", NOTE, files[0])):
            assert re.search("unauthorized|401|denied|credential required", text, re.I), text
            assert "EOF" not in text, text
    oras.env.update(ORAS_USER="admin", ORAS_PASSWORD=PASSWORD)
    text = oras.fails("discover", f"{name}:latst")
    assert "not found" in text, text

"""cosign with a key of its own and no network: signatures and attestations as referrers, and in the
older tags."""

import json
import re

import pytest

from lib import clients
from lib.oci import IMAGE
from lib.server import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.clients]
clients.needs("cosign", root=False, allow_module_level=True)

# Without transparency log, timestamp or trusted root: all of them would be elsewhere.
SIGN = ("--use-signing-config=false", "--tlog-upload=false", "--yes")
VERIFY = ("--insecure-ignore-tlog=true",)
OLD = "--new-bundle-format=false"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def login(cosign, server, user="admin", password=PASSWORD):
    done = cosign.call("login", server.name, "-u", user, "--password-stdin", stdin=password)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def cosign(built, server, tmp_path):
    tool = built("cosign", {"COSIGN_PASSWORD": "key", "COSIGN_YES": "true"})
    tool.env["TUF_ROOT"] = tool.env["HOME"] + "/tuf"
    for name in ("ours", "theirs"):
        tool.run("generate-key-pair", "--output-key-prefix", tmp_path / name)
    tool.ours = f"--key={tmp_path}/ours"
    tool.theirs = f"--key={tmp_path}/theirs.pub"
    login(tool, server)
    return tool


@pytest.fixture
def image(server, admin, request):
    """(name by digest, repository, digest) of a fresh image."""
    repository = "cosign/" + re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    _, name = admin.push_image(repository, "v1", seed=repository)
    return f"{server.name}/{repository}@{name}", repository, name


def referrers(admin, image):
    return admin.get(f"/v2/{image[1]}/referrers/{image[2]}").json()["manifests"]


def verified(cosign, image, *more):
    """What is signed, as verified; nobody else's key will do."""
    found = json.loads(cosign.out("verify", cosign.ours + ".pub", *VERIFY, *more, image[0]))
    assert {f["critical"]["image"]["docker-manifest-digest"] for f in found} == {image[2]}
    assert re.search("no matching|invalid signature|failed to verify",
                     cosign.fails("verify", cosign.theirs, *VERIFY, *more, image[0]))
    return found


def test_as_referrer(cosign, admin, image):
    assert cosign.fails("verify", cosign.ours + ".pub", *VERIFY, image[0])
    cosign.run("sign", cosign.ours + ".key", *SIGN, "-a", "team=blue", image[0])
    assert admin.tags(image[1]).json()["tags"] == ["v1"], "no tag is needed"
    found = referrers(admin, image)
    assert [(d["mediaType"], d["artifactType"]) for d in found] == [(IMAGE, BUNDLE)]
    assert len(verified(cosign, image)) == 1
    assert "artifacts via OCI referrer" in cosign.run("tree", image[0])


def test_as_tag(cosign, admin, image):
    """sha256-HEX.sig"""
    cosign.run("sign", cosign.ours + ".key", *SIGN, OLD, image[0])
    tag = image[2].replace(":", "-") + ".sig"
    assert admin.tags(image[1]).json()["tags"] == [tag, "v1"]
    assert referrers(admin, image) == []
    assert len(verified(cosign, image, OLD)) == 1
    cosign.run("sign", cosign.ours + ".key", *SIGN, OLD, "-a", "second=yes", image[0])
    assert len(verified(cosign, image, OLD)) == 2, "the tag moved to a manifest with both"
    cosign.run("clean", "--force", "--type=signature", image[0])
    assert cosign.fails("verify", cosign.ours + ".pub", *VERIFY, OLD, image[0])
    assert admin.tags(image[1]).json()["tags"] == ["v1"]


def test_old_format_as_referrer(cosign, admin, image):
    """The experiment in between: simple signing, attached by subject."""
    cosign.env["COSIGN_EXPERIMENTAL"] = "1"
    cosign.run("sign", cosign.ours + ".key", *SIGN, OLD, "--registry-referrers-mode=oci-1-1",
               image[0])
    assert admin.tags(image[1]).json()["tags"] == ["v1"]
    assert [d["artifactType"] for d in referrers(admin, image)] == [
        "application/vnd.dev.cosign.artifact.sig.v1+json"]


@pytest.mark.parametrize("more", [(), (OLD,)], ids=["referrer", "tag"])
def test_attestation(cosign, admin, image, tmp_path, more):
    (tmp_path / "predicate.json").write_text('{"tested": true}')
    cosign.run("attest", cosign.ours + ".key", *SIGN, *more, "--type=custom",
               f"--predicate={tmp_path}/predicate.json", image[0])
    tag = image[2].replace(":", "-") + ".att"
    assert (tag in admin.tags(image[1]).json()["tags"]) == bool(more)
    assert bool(referrers(admin, image)) != bool(more)
    cosign.run("verify-attestation", cosign.ours + ".pub", *VERIFY, *more, "--type=custom", image[0])
    assert cosign.fails("verify-attestation", cosign.theirs, *VERIFY, *more, "--type=custom", image[0])


def test_recursive_and_copied(cosign, skopeo, built, server, admin, multiarch, image):
    """An index with its images signed; a copy with its referrers verifies too."""
    assert skopeo.login(server).returncode == 0
    name, root = f"{server.name}/{image[1]}", multiarch[1]
    skopeo.run("copy", "--dest-tls-verify=false", "--all", f"oci:{multiarch[0]}:latest",
               f"docker://{name}:multi")
    cosign.run("sign", cosign.ours + ".key", *SIGN, "--recursive", f"{name}@{root}")
    signed = [root, *(child[0] for child in multiarch[2].values())]
    for one in signed:
        verified(cosign, (f"{name}@{one}", image[1], one))
    regctl = built("regctl")
    regctl.run("registry", "set", server.name, "--tls", "disabled", "--skip-check")
    regctl.run("registry", "login", server.name, "-u", "admin", "--pass-stdin", stdin=PASSWORD)
    regctl.run("image", "copy", "--referrers", f"{name}:multi", f"{name}/copied:multi")
    for one in signed:
        verified(cosign, (f"{name}/copied@{one}", image[1] + "/copied", one))


def test_what_people_read(cosign, server, eve, admin, image):
    admin.push_image("private/cosign", "latest")
    name = f"{server.name}/private/cosign"
    login(cosign, server, eve)
    for text in (cosign.fails("sign", cosign.ours + ".key", *SIGN, f"{name}:latest"),
                 cosign.fails("verify", cosign.ours + ".pub", *VERIFY, f"{name}:latest")):
        assert re.search("UNAUTHORIZED|401|DENIED", text) and "EOF" not in text, text
    login(cosign, server)
    text = cosign.fails("sign", cosign.ours + ".key", *SIGN, f"{name}:latst")
    assert "MANIFEST_UNKNOWN" in text or "entity not found" in text, text

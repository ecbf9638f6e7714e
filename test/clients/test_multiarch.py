"""Images of several platforms with docker manifest, podman, buildah: composed, pushed whole, pulled
by platform."""

import json
import re

import pytest

from lib import images
from lib.oci import DOCKER_IMAGE, DOCKER_LIST, IMAGE, INDEX, digest

pytestmark = [pytest.mark.slow, pytest.mark.clients]

ONE = "--tls-verify=false"


def image_id(tool, name):
    found = tool.out("image", "inspect", "--format", "{{.Id}}", name).strip()
    return found if ":" in found else "sha256:" + found


def inspected(buildah, name):
    return "sha256:" + buildah.out("inspect", "--type=image", "--format", "{{.FromImageID}}",
                                   name).strip()


@pytest.fixture
def pushed(skopeo, server, multiarch):
    name = f"{server.name}/multi/source:v1"
    assert skopeo.login(server).returncode == 0
    skopeo.run("copy", "--dest-tls-verify=false", "--all", f"oci:{multiarch[0]}:latest",
               f"docker://{name}")
    return name


def test_docker_manifest(docker, server, admin, home):
    """Two pushed images become one list, annotated; each platform gets its own."""
    assert docker.login(server).returncode == 0
    name, ids = f"{server.name}/multi/docker:v1", {}
    for architecture in ("amd64", "arm64"):
        path = home / f"{architecture}.tar"
        ids[architecture] = images.docker_archive(
            path, f"{name}-{architecture}", [images.layer(architecture, 50_000, architecture)],
            architecture, architecture)
        docker.run("load", "-i", path)
        docker.run("push", f"{name}-{architecture}")
        docker.run("rmi", f"{name}-{architecture}")
    docker.run("manifest", "create", "--insecure", name, *(f"{name}-{a}" for a in ids))
    docker.run("manifest", "annotate", name, f"{name}-arm64", "--variant", "v8")
    pushed = docker.out("manifest", "push", "--insecure", name).strip().splitlines()[-1]
    stored = admin.manifest("multi/docker", "v1")
    assert digest(stored.body) == pushed and stored.header("content-type") == DOCKER_LIST
    found = json.loads(docker.out("manifest", "inspect", "--insecure", name))["manifests"]
    assert {d["platform"]["architecture"]: d["platform"].get("variant") for d in found} == {
        "amd64": None, "arm64": "v8"}
    for architecture, identity in ids.items():
        docker.run("pull", "--platform", f"linux/{architecture}", name)
        assert image_id(docker, name) == identity
        docker.run("rmi", name)
    text = docker.fails("pull", "--platform", "linux/s390x", name)
    assert "no matching manifest for linux/s390x" in text, text


def test_docker_pulls_oci_index(docker, server, pushed, multiarch):
    assert docker.login(server).returncode == 0
    for architecture, (_, identity) in multiarch[2].items():
        text = docker.run("pull", "--platform", f"linux/{architecture}", pushed)
        assert multiarch[1] in text, "the digest of the index is told"
        assert image_id(docker, pushed) == identity
        docker.run("rmi", pushed)
    docker.run("pull", f"{pushed}@{multiarch[1]}")


def test_podman_pulls_by_platform(podman, server, pushed, multiarch):
    assert podman.login(server).returncode == 0
    for architecture, (_, identity) in multiarch[2].items():
        podman.run("pull", ONE, "--platform", f"linux/{architecture}", pushed)
        assert image_id(podman, pushed) == identity
    text = podman.fails("pull", ONE, "--arch=s390x", pushed)
    assert re.search("no image found in .* for architecture s390x", text), text


@pytest.mark.parametrize("format, index, image", [("oci", INDEX, IMAGE),
                                                  ("v2s2", DOCKER_LIST, DOCKER_IMAGE)])
@pytest.mark.parametrize("client", ["podman", "buildah"])
def test_manifest_push_all(client, request, server, admin, pushed, multiarch, format, index, image):
    """A list made from the registry's own images, pushed with its images into another place."""
    tool = request.getfixturevalue(client)
    assert tool.login(server).returncode == 0
    repository = f"multi/{client}-{format}"
    target = f"{server.name}/{repository}:v1"
    tool.call("manifest", "rm", "local/list")
    tool.run("manifest", "create", "local/list")
    for manifest, _ in multiarch[2].values():
        tool.run("manifest", "add", ONE, "local/list", f"docker://{server.name}/multi/source@{manifest}")
    tool.run("manifest", "push", ONE, "--all", f"--format={format}", "local/list",
             f"docker://{target}")
    tool.run("manifest", "rm", "local/list")
    stored = admin.manifest(repository, "v1")
    assert stored.header("content-type") == index
    children = {d["platform"]["architecture"]: d["digest"] for d in stored.json()["manifests"]}
    assert set(children) == {"amd64", "arm64"}
    for architecture, name in children.items():
        child = admin.manifest(repository, name)
        assert child.header("content-type") == image
        config = admin.blob(repository, child.json()["config"]["digest"]).json()
        assert config["architecture"] == architecture
        for layer in child.json()["layers"]:
            assert digest(admin.blob(repository, layer["digest"]).body) == layer["digest"]
    if format == "oci":
        assert children == {k: v[0] for k, v in multiarch[2].items()}


def test_buildah_pulls_by_platform(buildah, server, pushed, multiarch):
    assert buildah.login(server).returncode == 0
    for architecture, (_, identity) in multiarch[2].items():
        buildah.run("pull", ONE, f"--arch={architecture}", pushed)
        assert inspected(buildah, pushed) == identity

"""docker, podman, buildah and skopeo against one registry: images of 100 MB and more go round and
come back the same; what is there is not sent again; what goes wrong is said so that people understand."""

import json
import re
import subprocess
import threading

import pytest

from lib import images, raw
from lib.oci import DOCKER_IMAGE, IMAGE, basic, digest

pytestmark = [pytest.mark.slow, pytest.mark.clients]


def pushed_digest(text):
    return re.search(r"digest: (sha256:[0-9a-f]{64})", text)[1]


def docker_id(docker, name):
    return docker.run("image", "inspect", "--format", "{{.Id}}", name).strip()


def podman_facts(podman, name):
    text = podman.run("image", "inspect", "--format", "{{.Id}} {{.Digest}}", name)
    identity, name = text.split()
    return "sha256:" + identity, name


def buildah_facts(buildah, name):
    found = json.loads(buildah.run("images", "--json", "--no-trunc", name))[0]
    return found["id"] if ":" in found["id"] else "sha256:" + found["id"], found["digest"]


@pytest.fixture
def copy(skopeo, server):
    """skopeo copy with credentials for the server."""
    def run(source, target, *more):
        return skopeo.run("copy", "--src-tls-verify=false", "--dest-tls-verify=false", *more,
                          source, target)
    assert skopeo.login(server).returncode == 0
    return run


def test_docker_round(docker, server, admin, archive):
    """Push, remove, pull: same id, same digest; the manifest is stored as sent."""
    path, identity = archive
    docker.run("load", "-i", path)
    assert docker.login(server).returncode == 0
    name = f"{server.name}/round/docker:v1"
    docker.run("tag", "local/image:base", name)
    pushed = pushed_digest(docker.run("push", name))
    stored = admin.manifest("round/docker", "v1")
    assert digest(stored.body) == pushed
    assert stored.header("content-type") == DOCKER_IMAGE
    docker.run("rmi", "-f", name, "local/image:base")
    assert pushed in docker.run("pull", name)
    assert docker_id(docker, name) == identity
    docker.run("rmi", "-f", name)
    docker.run("pull", f"{server.name}/round/docker@{pushed}")
    assert docker_id(docker, f"{server.name}/round/docker@{pushed}") == identity


def test_docker_to_podman_to_buildah_to_skopeo(docker, podman, buildah, copy, server, admin, archive,
                                               home):
    """One image through every client and back to the first."""
    path, identity = archive
    docker.run("load", "-i", path)
    for tool in (docker, podman, buildah):
        assert tool.login(server).returncode == 0, tool.name
    name = f"{server.name}/chain/one:v1"
    docker.run("tag", "local/image:base", name)
    pushed = pushed_digest(docker.run("push", name))
    docker.run("rmi", "-f", name, "local/image:base")
    podman.run("pull", "--tls-verify=false", name)
    assert podman_facts(podman, name) == (identity, pushed)
    second = f"{server.name}/chain/two:v1"
    podman.run("tag", name, second)
    podman.run("push", "--tls-verify=false", second)
    by_podman = admin.manifest("chain/two", "v1").header("docker-content-digest")
    buildah.run("pull", "--tls-verify=false", second)
    assert buildah_facts(buildah, second) == (identity, by_podman)
    third = f"{server.name}/chain/three:v1"
    buildah.run("tag", second, third)
    buildah.run("push", "--tls-verify=false", third, f"docker://{third}")
    by_buildah = admin.manifest("chain/three", "v1").header("docker-content-digest")
    copy(f"docker://{third}", f"docker://{server.name}/chain/four:v1", "--preserve-digests")
    assert admin.manifest("chain/four", "v1").header("docker-content-digest") == by_buildah
    copy(f"docker://{server.name}/chain/four:v1", f"oci:{home}/chain:v1")
    copy(f"docker://{name}", f"docker://{server.name}/chain/five:v1", "--preserve-digests")
    assert admin.manifest("chain/five", "v1").header("docker-content-digest") == pushed
    for last in ("two", "three", "four", "five"):
        docker.run("pull", f"{server.name}/chain/{last}:v1")
        assert docker_id(docker, f"{server.name}/chain/{last}:v1") == identity


def test_oci_image_through_all(docker, podman, buildah, copy, server, admin, layout, home):
    """An OCI image keeps its type, digest and id in every client."""
    path, manifest, config = layout
    name = f"{server.name}/oci/image:v1"
    copy(f"oci:{path}:latest", f"docker://{name}", "--preserve-digests")
    stored = admin.manifest("oci/image", "v1")
    assert digest(stored.body) == manifest and stored.header("content-type") == IMAGE
    for tool in (docker, podman, buildah):
        assert tool.login(server).returncode == 0
    assert manifest in docker.run("pull", name)
    assert docker_id(docker, name) == config
    podman.run("pull", "--tls-verify=false", name)
    assert podman_facts(podman, name) == (config, manifest)
    buildah.run("pull", "--tls-verify=false", name)
    assert buildah_facts(buildah, name) == (config, manifest)
    copy(f"docker://{name}", f"oci:{home}/back:v1", "--preserve-digests")
    index = json.loads((home / "back" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == manifest


def test_shared_layers_are_not_sent_again(docker, podman, copy, server, archive, layers, layout, home):
    """By the access log: a second image on the same layers, a second repository, the same again."""
    path, _ = archive
    docker.run("load", "-i", path)
    assert docker.login(server).returncode == 0
    first = f"{server.name}/shared/a:v1"
    docker.run("tag", "local/image:base", first)
    docker.run("push", first)
    images.docker_archive(home / "more.tar", "local/more:1",
                          [*layers, images.layer("top", 5000, "top")], "more")
    docker.run("load", "-i", home / "more.tar")
    for target in ("shared/a:v2", "shared/b:v1"):
        since = server.log_mark()
        name = f"{server.name}/{target}"
        docker.run("tag", "local/more:1", name)
        text = docker.run("push", name)
        assert len(re.findall(r"Layer already exists|Mounted from", text)) >= 3, text
        assert server.uploaded(since) < 100_000, "layers were sent again"
    since = server.log_mark()
    docker.run("push", first)
    assert server.uploaded(since) == 0
    # podman and skopeo
    assert podman.login(server).returncode == 0
    podman.run("pull", "--tls-verify=false", first)
    since = server.log_mark()
    podman.run("tag", first, f"{server.name}/shared/c:v1")
    podman.run("push", "--tls-verify=false", f"{server.name}/shared/c:v1")
    assert server.uploaded(since) < 100_000
    copy(f"oci:{layout[0]}:latest", f"docker://{server.name}/shared/d:v1")
    since = server.log_mark()
    copy(f"oci:{layout[0]}:latest", f"docker://{server.name}/shared/d:v2")
    copy(f"oci:{layout[0]}:latest", f"docker://{server.name}/shared/e:v1")
    assert server.uploaded(since) < 100_000


def test_several_clients_at_once(docker, podman, copy, server, layout, archive):
    docker.run("load", "-i", archive[0])
    for tool in (docker, podman):
        assert tool.login(server).returncode == 0
    docker.run("tag", "local/image:base", f"{server.name}/at-once/a:v1")
    copy(f"oci:{layout[0]}:latest", f"docker://{server.name}/at-once/b:v1")
    failed = []

    def catch(act):
        try:
            act()
        except AssertionError as error:
            failed.append(error)

    threads = [threading.Thread(target=catch, args=(act,)) for act in (
        lambda: docker.run("push", f"{server.name}/at-once/a:v1"),
        lambda: podman.run("pull", "--tls-verify=false", f"{server.name}/at-once/b:v1"),
        lambda: copy(f"oci:{layout[0]}:latest", f"docker://{server.name}/at-once/c:v1"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def test_library_alias(docker, podman, server, small):
    """HOST/name and HOST/library/name are one repository."""
    docker.run("load", "-i", small[0])
    assert docker.login(server).returncode == 0
    docker.run("tag", "local/small:1", f"{server.name}/small:1")
    docker.run("push", f"{server.name}/small:1")
    podman.run("pull", "--tls-verify=false", f"{server.name}/library/small:1")
    assert podman_facts(podman, f"{server.name}/library/small:1")[0] == small[1]


def test_public_image_without_login(docker, podman, skopeo, server, small, admin):
    docker.run("load", "-i", small[0])
    assert docker.login(server).returncode == 0
    docker.run("tag", "local/small:1", f"{server.name}/library/public:1")
    docker.run("push", f"{server.name}/library/public:1")
    docker.run("logout", server.name)
    docker.run("rmi", "-f", f"{server.name}/library/public:1")
    docker.run("pull", f"{server.name}/library/public:1")
    podman.run("pull", "--tls-verify=false", f"{server.name}/library/public:1")
    assert "library/public" in skopeo.run("inspect", "--tls-verify=false",
                                          f"docker://{server.name}/library/public:1")


def test_anonymous_push(berth, docker, podman, small):
    """As with a registry without authentication: no login at all."""
    server = berth({"auth.anonymous": "push"})
    docker.run("load", "-i", small[0])
    docker.run("tag", "local/small:1", f"{server.name}/free/small:1")
    docker.run("push", f"{server.name}/free/small:1")
    podman.run("pull", "--tls-verify=false", f"{server.name}/free/small:1")
    podman.run("tag", f"{server.name}/free/small:1", f"{server.name}/free/again:1")
    podman.run("push", "--tls-verify=false", f"{server.name}/free/again:1")


def test_push_survives_a_kill(berth, docker, podman, archive):
    server = berth()
    docker.run("load", "-i", archive[0])
    assert docker.login(server).returncode == 0
    name = f"{server.name}/kept/image:v1"
    docker.run("tag", "local/image:base", name)
    pushed = pushed_digest(docker.run("push", name))
    server.listen = (server.name,)
    server.restart(hard=True)
    assert podman.login(server).returncode == 0
    podman.run("pull", "--tls-verify=false", name)
    assert podman_facts(podman, name) == (archive[1], pushed)


def test_the_printed_lines_work(berth, docker, small):
    """docker login, tag and push exactly as the server prints them at its start."""
    server = berth({"auth.admin_password": None})
    lines = [line.strip() for line in server.printed("docker push")]
    commands = [line for line in lines if re.search(r"(^|\| )docker (login|tag|push) ", line)]
    assert [re.search(r"docker (\w+)", c)[1] for c in commands] == ["login", "tag", "push"], lines
    docker.run("load", "-i", small[0])
    docker.run("tag", "local/small:1", "myapp")
    for command in commands:
        command = command.replace("IMAGE", "myapp")
        done = subprocess.run(["/bin/sh", "-c", command], env=docker.env, capture_output=True,
                              text=True, timeout=60, cwd="/")
        assert done.returncode == 0, (command, done)


# ---- what goes wrong

def test_wrong_password(docker, podman, buildah, skopeo, server):
    for tool in (docker, podman, buildah, skopeo):
        done = tool.login(server, password="wrong")
        assert done.returncode != 0, tool.name
        text = done.stdout.lower()
        assert "unauthorized" in text or "invalid username/password" in text, done.stdout
        if tool is docker:
            assert "password" in text, done.stdout


def test_missing_login(docker, podman, buildah, skopeo, server, admin, small, home):
    admin.push_image("private/image", "v1")
    docker.run("load", "-i", small[0])
    name = f"{server.name}/private/image:v1"
    docker.run("tag", "local/small:1", name)
    podman.run("load", "-i", small[0])
    podman.run("tag", "local/small:1", name)
    texts = {
        "docker push": docker.fails("push", name),
        "docker pull": docker.fails("pull", name),
        "podman push": podman.fails("push", "--tls-verify=false", name),
        "podman pull": podman.fails("pull", "--tls-verify=false", name),
        "buildah pull": buildah.fails("pull", "--tls-verify=false", name),
        "skopeo copy": skopeo.fails("copy", "--src-tls-verify=false", f"docker://{name}",
                                    f"oci:{home}/nothing:v1"),
    }
    for what, text in texts.items():
        assert re.search(r"unauthorized|authentication required|access.*denied|docker login", text,
                         re.I), (what, text)
        # podman looks with HEAD, whose answer has no body, and says so besides.
        assert what == "podman push" or not re.search(r"EOF|unexpected", text), (what, text)


def test_unknown_tag(docker, podman, server, admin):
    admin.push_image("team/app", "latest")
    assert docker.login(server).returncode == 0 and podman.login(server).returncode == 0
    name = f"{server.name}/team/app:latst"
    assert "latest" in docker.fails("pull", name), "the near tag is named"
    assert "latest" in podman.fails("pull", "--tls-verify=false", name)


def test_push_of_a_bad_name(docker, server, small):
    """Into a project that may not be made."""
    docker.run("load", "-i", small[0])
    docker.run("tag", "local/small:1", f"{server.name}/nobodys/image:1")
    text = docker.fails("push", f"{server.name}/nobodys/image:1")
    assert "unauthorized" in text.lower() or "denied" in text.lower(), text


def test_full_queue(berth, docker, podman, skopeo):
    """While passwords are checked one at a time and others wait: come back later, not a riddle."""
    server = berth({"auth.password_checks": "1", "auth.password_queue": "1",
                    "auth.bcrypt_cost": "14", "auth.password_cache": "0s"})
    stop = threading.Event()

    def load():
        while not stop.is_set():
            raw.exchange(server.address, raw.request("GET", "/v2/", [
                ("Authorization", basic("admin", "wrong"))]), timeout=30)

    threads = [threading.Thread(target=load) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        for tool in (docker, podman, skopeo):
            for _ in range(8):  # a free place may be met by luck
                done = tool.login(server)
                if done.returncode:
                    break
            assert done.returncode, f"{tool.name} always found a free place"
            assert re.search(r"too ?many ?requests", done.stdout, re.I), done.stdout
    finally:
        stop.set()
        for thread in threads:
            thread.join()

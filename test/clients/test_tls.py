"""docker, podman, buildah, skopeo and curl over TLS, with certificates on both sides."""

import json
import re
import shutil
import subprocess

import pytest

from lib import images, tls
from lib.clients import REGISTRY, needs
from lib.oci import basic, digest
from lib.server import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.clients]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return tls.Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def bot(authority):
    return authority.issue("bot")


@pytest.fixture(scope="module")
def server(berths, authority):
    names = [f"DNS:{REGISTRY}", "DNS:localhost", "IP:127.0.0.1", "IP:::1"]
    certificate = authority.issue("server", names)
    server = berths({"tls.cert": certificate[0], "tls.key": certificate[1],
                     "tls.client_ca": authority.pem, "tls.client_auth": "required"},
                    listen=("127.0.0.1:0", "[::1]:0"))
    return server


@pytest.fixture
def docker_name(server):
    """host:port for dockerd."""
    return f"{REGISTRY}:{server.addresses[1].rsplit(':', 1)[1]}"


def certificates(directory, authority=None, bot=None):
    """What docker and containers/image look for in a directory of certs.d."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    if authority:
        shutil.copy(authority.pem, directory / "ca.crt")
    if bot:
        shutil.copy(bot[0], directory / "client.cert")
        shutil.copy(bot[1], directory / "client.key")
    return directory


def subjects(server, since):
    server.log_mark()  # a request of the admin socket, and so without a client
    return {f.get("subject") for f in server.events("request", since) if "client" in f}


def test_docker(docker, home, server, docker_name, authority, bot, small):
    trusted = home / "etc/certs.d" / docker_name

    def login():
        return docker.call("login", "-u", "admin", "--password-stdin", docker_name, stdin=PASSWORD)

    certificates(trusted, None, bot)
    assert "certificate signed by unknown authority" in login().stdout
    certificates(trusted, authority)
    assert "certificate required" in login().stdout
    certificates(trusted, authority, bot)
    since = server.log_mark()
    done = login()
    assert done.returncode == 0, done.stdout
    path, identity = small
    name = f"{docker_name}/tls/docker:v1"
    docker.run("load", "-i", path)
    docker.run("tag", "local/small:1", name)
    pushed = re.search(r"digest: (sha256:[0-9a-f]{64})", docker.run("push", name))[1]
    docker.run("rmi", "-f", name, "local/small:1")
    assert pushed in docker.run("pull", name)
    assert docker.run("image", "inspect", "--format", "{{.Id}}", name).strip() == identity
    assert subjects(server, since) == {"CN=bot,O=Acme"}


def test_docker_with_a_large_image(docker, home, docker_name, authority, bot, archive):
    certificates(home / "etc/certs.d" / docker_name, authority, bot)
    docker.run("login", "-u", "admin", "--password-stdin", docker_name, stdin=PASSWORD)
    path, identity = archive
    name = f"{docker_name}/tls/large:v1"
    docker.run("load", "-i", path)
    docker.run("tag", "local/image:base", name)
    docker.run("push", name)
    docker.run("rmi", "-f", name, "local/image:base")
    docker.run("pull", name)
    assert docker.run("image", "inspect", "--format", "{{.Id}}", name).strip() == identity


def test_podman_buildah_skopeo(podman, buildah, skopeo, server, authority, bot, layout, home, tmp_path):
    name = "localhost:" + server.addresses[0].rsplit(":", 1)[1]
    good = certificates(tmp_path / "good", authority, bot)
    path, manifest, _ = layout
    for tool in (podman, buildah, skopeo):
        for folder, complaint in ((certificates(tmp_path / "stranger"), "unknown authority"),
                                  (certificates(tmp_path / "nobody", authority), "certificate required")):
            text = tool.call("login", "--cert-dir", folder, "-u", "admin", "--password-stdin", name,
                             stdin=PASSWORD)
            assert text.returncode != 0 and complaint in text.stdout, (tool.name, text.stdout)
        tool.run("login", "--cert-dir", good, "-u", "admin", "--password-stdin", name, stdin=PASSWORD)
    one, two, three = (f"{name}/tls/{n}:v1" for n in ("one", "two", "three"))
    skopeo.run("copy", "--dest-cert-dir", good, "--preserve-digests", f"oci:{path}:latest",
               f"docker://{one}")
    podman.run("pull", "--cert-dir", good, one)
    podman.run("tag", one, two)
    podman.run("push", "--cert-dir", good, two)
    buildah.run("pull", "--cert-dir", good, two)
    buildah.run("push", "--cert-dir", good, two, f"docker://{three}")
    skopeo.run("copy", "--src-cert-dir", good, "--preserve-digests", f"docker://{one}",
               f"oci:{tmp_path}/back:v1")
    index = json.loads((tmp_path / "back/index.json").read_text())
    assert index["manifests"][0]["digest"] == manifest
    skopeo.run("copy", "--src-cert-dir", good, "--dest-cert-dir", good, f"docker://{three}",
               f"docker://{name}/tls/four:v1")


def test_curl(server, authority, bot, tmp_path):
    """Push, pull and a range, with curl's own TLS."""
    needs("curl", root=False)
    base = "https://localhost:" + server.addresses[0].rsplit(":", 1)[1]
    data = images.layer("file", 3_000_000, "curl/tls")
    (tmp_path / "blob").write_bytes(data)

    def curl(*args, certificate=bot):
        who = ["--cert", certificate[0], "--key", certificate[1]] if certificate else []
        return subprocess.run(["curl", "-sS", "--http1.1", "--cacert", authority.pem, *who,
                               "-H", "Authorization: " + basic("admin", PASSWORD), *args],
                              capture_output=True, timeout=60)

    done = curl("-X", "POST", "--data-binary", f"@{tmp_path}/blob", "-w", "%{http_code}",
                f"{base}/v2/tls/curl/blobs/uploads/?digest={digest(data)}",
                "-H", "Content-Type: application/octet-stream")
    assert done.stdout == b"201", done
    assert curl(f"{base}/v2/tls/curl/blobs/{digest(data)}").stdout == data
    assert curl("-r", "5-1000004", f"{base}/v2/tls/curl/blobs/{digest(data)}").stdout == data[5:1000005]
    done = curl(f"{base}/v2/", certificate=None)
    assert done.returncode != 0 and b"certificate required" in done.stderr

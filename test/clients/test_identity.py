"""What docker login keeps: a refresh token instead of the password, good for the clients that read
docker's file, until it is revoked."""

import json
from pathlib import Path

import pytest

from lib.oci import Client
from lib.server import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.clients]

FORM = [("Content-Type", "application/x-www-form-urlencoded")]


def entry(docker, server):
    """docker's file, as text and the server's entry in it."""
    text = (Path(docker.env["DOCKER_CONFIG"]) / "config.json").read_text()
    return text, json.loads(text)["auths"][server.name]


def docker_id(docker, name):
    return docker.run("image", "inspect", "--format", "{{.Id}}", name).strip()


def exchanges(server, since):
    """(method, status) of the calls to the token endpoint. (Clients that try TLS first leave lines
    without a path.)"""
    server.log_mark()
    return [(e["method"], e["status"]) for e in server.events("request", since)
            if e.get("path") == "/service/token"]


def test_docker_keeps_no_password(docker, server, admin, small):
    path, identity = small
    docker.run("load", "-i", path)
    assert docker.login(server).returncode == 0
    text, found = entry(docker, server)
    token = found["identitytoken"]
    assert token.startswith("berth_rt_") and PASSWORD not in text
    since = server.log_mark()
    name = f"{server.name}/identity/a:v1"
    docker.run("tag", "local/small:1", name)
    docker.run("push", name)
    docker.run("rmi", "-f", name, "local/small:1")
    docker.run("pull", name)
    assert docker_id(docker, name) == identity
    docker.run("rmi", "-f", name)
    assert set(exchanges(server, since)) == {("POST", "200")}

    client = Client(server)
    body = b"token=" + token.encode()
    assert client.once("POST", "/service/token/revoke", body, FORM).status == 200
    client.close()
    text = docker.fails("pull", name)
    assert "log in again" in text, text


def test_skopeo_reads_dockers_file(docker, skopeo, server, admin, small):
    """containers/image repeats the scope field."""
    admin.push_image("identity/b", "v1")
    assert docker.login(server).returncode == 0
    Path(skopeo.env["REGISTRY_AUTH_FILE"]).write_text(entry(docker, server)[0])
    since = server.log_mark()
    skopeo.run("copy", "--src-tls-verify=false", "--dest-tls-verify=false",
               f"docker://{server.name}/identity/b:v1", f"docker://{server.name}/identity/c:v1")
    assert admin.manifest("identity/c", "v1").status == 200
    assert ("POST", "200") in exchanges(server, since)

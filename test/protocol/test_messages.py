"""The words people get for common mistakes, as a whole, in messages.golden.

A changed message changes that file: run with BERTH_UPDATE_GOLDEN=1, then read the difference as the
person who made the mistake would."""

import os
import re
from pathlib import Path

from lib import raw
from lib.oci import (CONFIG, DOCKER_IMAGE, IMAGE, INDEX, LAYER, Client, basic, descriptor, digest,
                     dump)

GOLDEN = Path(__file__).with_name("messages.golden")


def mistakes(server):
    """(what was done, response)"""
    admin, nobody = Client(server), Client(server, mode="none")
    body, name = admin.push_image("team/app", "latest")
    for tag in ("v1.2.0", "v1.2.1", "stable"):
        admin.put_manifest("team/app", tag, body)
    admin.push_image("library/open", "latest")
    config, layer = b'{"architecture":"amd64"}', b"layer"
    admin.push("team/app", config)
    admin.push("team/app", layer)
    image = {"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
             "layers": [descriptor(layer, LAYER)]}

    def put(reference="x", media_type=IMAGE, **changes):
        return admin.put_manifest("team/app", reference, {**image, **changes}, media_type)

    def sent(data):
        return raw.exchange(server.address, data)

    yield "ask without login", nobody.once("GET", "/v2/")
    yield "pull a private image without login", nobody.once("GET", "/v2/team/app/manifests/latest")
    yield "push without login", nobody.once("POST", "/v2/team/app/blobs/uploads/")
    yield "wrong password at the token endpoint", admin.once(
        "GET", "/service/token", headers=[("Authorization", basic("admin", "wrong"))])
    yield "wrong password on /v2/", admin.once(
        "GET", "/v2/", headers=[("Authorization", basic("admin", "wrong"))])
    yield "Authorization that is no Basic", admin.once(
        "GET", "/v2/", headers=[("Authorization", "Basic !!!")])
    yield "a token that is no token", admin.once(
        "GET", "/v2/", headers=[("Authorization", "Bearer nonsense")])
    yield "a token for another repository", admin.once(
        "GET", "/v2/team/app/tags/list",
        headers=[("Authorization", "Bearer " + admin.token(["repository:other:pull"]))])
    yield "a tag mistyped", admin.manifest("team/app", "latst")
    yield "a version that is not there", admin.manifest("team/app", "v1.2.2")
    yield "a tag unlike any", admin.manifest("team/app", "zzzzzzzzzz")
    yield "a manifest digest that is not there", admin.manifest("team/app", digest(b"none"))
    yield "a repository that is not there", admin.manifest("team/none", "latest")
    yield "tags of a repository that is not there", admin.tags("team/none")
    yield "a blob that is not there", admin.blob("team/app", digest(b"none"))
    yield "upper case in the name", admin.manifest("Team/App", "latest")
    yield "upper case in the name, pushing", admin.request("POST", "/v2/Team/App/blobs/uploads/")
    yield "a name that is too long", admin.manifest("team/" + "a" * 300, "latest")
    yield "a tag with a plus", put("1.0+build")
    yield "a tag that is too long", put("a" * 129)
    yield "a tag that starts with a dot", put(".hidden")
    yield "a digest cut off", admin.manifest("team/app", name[:-3])
    yield "a digest in upper case", admin.blob("team/app", "sha256:" + "A" * 64)
    yield "an unknown digest algorithm", admin.push_raw("team/app", b"x", "post", "md5:" + "a" * 32)
    yield "an upload without digest", admin.request("PUT", admin.start("team/app"), b"x")
    yield "an upload with another digest", admin.push_raw("team/app", b"x", "post-put", digest(b"y"))
    location = admin.start("team/app")
    admin.patch(location, b"0123456789", 0)
    yield "a chunk that skips ahead", admin.patch(location, b"x", 20)
    yield "a chunk sent twice", admin.patch(location, b"0123456789", 0)
    yield "a chunk of another length than it says", admin.request(
        "PATCH", location, b"x", [("Content-Range", "10-19")])
    yield "a Content-Range nobody understands", admin.request(
        "PATCH", location, b"x", [("Content-Range", "ten")])
    yield "an upload that does not exist", admin.get(
        "/v2/team/app/blobs/uploads/00000000-0000-0000-0000-000000000000")
    yield "a manifest that is no JSON", admin.put_manifest("team/app", "x", b"hello")
    yield "a manifest cut off", admin.put_manifest("team/app", "x", dump(image)[:-5])
    yield "a manifest of docker schema 1", admin.put_manifest(
        "team/app", "x", {"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": []},
        "application/vnd.docker.distribution.manifest.v1+json")
    yield "a manifest that is something else", admin.put_manifest(
        "team/app", "x", {"hello": "world"}, "application/json")
    yield "a manifest under another type", put(media_type=DOCKER_IMAGE)
    yield "a manifest under another digest", put(digest(b"other"))
    yield "a key twice", admin.put_manifest("team/app", "x", dump(image)[:-1] + b',"layers":[]}')
    yield "no config", put(config=None)
    yield "no layers", admin.put_manifest("team/app", "x", {k: v for k, v in image.items()
                                                            if k != "layers"})
    yield "a layer without size", put(layers=[{"mediaType": LAYER, "digest": digest(layer)}])
    yield "a layer of another size", put(layers=[{**descriptor(layer, LAYER), "size": 1}])
    yield "a layer that was not pushed", put(layers=[descriptor(b"none", LAYER)])
    yield "nothing was pushed", put(config=descriptor(b"c", CONFIG), layers=[
        descriptor(b"l1", LAYER), descriptor(b"l2", LAYER)])
    yield "an index before its images", admin.put_manifest("team/app", "x", {
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(b"none", IMAGE)]}, INDEX)
    yield "a manifest that is too large", admin.put_manifest("team/app", "x", b" " * 4194305)
    yield "a page size that is no number", admin.tags("team/app", "?n=many")
    yield "a negative page size", admin.get("/v2/_catalog?n=-1")
    yield "deleting a tag that is not there", admin.request("DELETE", "/v2/team/app/manifests/none")
    yield "a range past the end", admin.blob("team/app", digest(layer), headers=[("Range", "bytes=9-")])
    yield "a method the path does not have", admin.once("POST", "/v2/")
    yield "a path that is nothing", admin.once("GET", "/v1/search")
    yield "a docker v1 ping", admin.once("GET", "/v1/_ping")
    yield "no Host", sent(b"GET /v2/ HTTP/1.1\r\n\r\n")
    yield "both lengths", sent(b"POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
    yield "HTTP/2 without agreement", sent(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield "TLS on a plain port", sent(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60)
                                      + b"\r\n\r\n")
    yield "a head that is too large", sent(raw.request("GET", "/", [("Cookie", "a" * 70_000)]))
    yield "a target that is too long", sent(raw.request("GET", "/" + "a" * 9_000))


def masked(text, server):
    text = text.replace(server.name, "HOST")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"(sha\d+):[0-9a-f]{64,128}", r"\1:HEX", text)
    return re.sub(r"(.)\1{40,}", r"\1...", text)


def test_messages(server):
    lines = []
    for what, response in mistakes(server):
        if response is None:
            lines.append(f"# {what}\nclosed without an answer\n")
            continue
        challenge = response.header("www-authenticate")
        entries = [f"# {what}\n{response.status}"]
        entries += [f"{code}: {message}" for code, message in response.errors()]
        if challenge:
            entries.append("WWW-Authenticate: " + challenge)
        lines.append(masked("\n".join(entries), server) + "\n")
    text = "\n".join(lines)
    if os.environ.get("BERTH_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "messages changed: see the top of this file"
    for entry in text.split("\n\n"):
        for line in entry.splitlines()[2:]:
            message = line.split(": ", 1)[1]
            assert message and not message.startswith(("ERR_", "%")), entry

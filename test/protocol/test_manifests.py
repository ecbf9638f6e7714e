"""Manifests: stored byte for byte, judged strictly, every missing part named.
(OCI image and distribution specifications; acceptance rules of a strict registry)"""

import base64
import json

import pytest

from lib.oci import (CONFIG, DOCKER_CONFIG, DOCKER_IMAGE, DOCKER_LAYER, DOCKER_LIST, EMPTY, IMAGE,
                     INDEX, LAYER, Client, descriptor, digest, dump, randbytes)

SETTINGS = {"auth.anonymous": "push"}
REPO = "m/a"
CONFIG_BYTES = b'{"architecture":"amd64","os":"linux"}'
LAYER_BYTES = randbytes(300, "layer")
ABSENT = descriptor(b"absent", LAYER)


class Fixed:
    """A repository with one config, one layer, one image."""

    def __init__(self, client):
        self.client = client
        for data in (CONFIG_BYTES, LAYER_BYTES, b"{}"):
            client.push(REPO, data)
        self.body = dump(image())
        assert client.put_manifest(REPO, "base", self.body).status == 201
        self.child = descriptor(self.body, IMAGE)

    def put(self, body, media_type=IMAGE, reference=None):
        body = body if isinstance(body, bytes) else dump(body)
        return self.client.put_manifest(REPO, reference or digest(body), body, media_type)


@pytest.fixture(scope="module")
def fixed(server):
    client = Client(server)
    yield Fixed(client)
    client.close()


def image(**changes):
    value = {"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(CONFIG_BYTES, CONFIG),
             "layers": [descriptor(LAYER_BYTES, LAYER)]}
    value.update(changes)
    return {k: v for k, v in value.items() if v is not None}


def index(*children, **changes):
    value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children)}
    value.update(changes)
    return {k: v for k, v in value.items() if v is not None}


def child():
    return descriptor(dump(image()), IMAGE)


def layer(**changes):
    value = {**descriptor(LAYER_BYTES, LAYER), **changes}
    return {k: v for k, v in value.items() if v is not None}


# ---- storing and reading

def test_read_back(fixed):
    """By tag and by digest, exactly the bytes and the type that were pushed."""
    body = json.dumps(image(annotations={"a": "ä \\u0000 é"}), indent=3, ensure_ascii=False).encode()
    body += b"\n \t\r\n"  # white space counts too
    response = fixed.put(body, reference="exact")
    assert response.status == 201, response
    assert response.header("location") == f"/v2/{REPO}/manifests/{digest(body)}"
    assert response.header("docker-content-digest") == digest(body)
    for reference in ("exact", digest(body)):
        response = fixed.client.manifest(REPO, reference)
        assert response.status == 200 and response.body == body
        assert response.header("content-type") == IMAGE
        assert response.header("docker-content-digest") == digest(body)
        assert response.header("etag") == f'"{digest(body)}"'
        head = fixed.client.head(f"/v2/{REPO}/manifests/{reference}")
        assert head.status == 200 and head.header("content-length") == str(len(body))


def test_accept_is_not_negotiated(fixed):
    for accept in (DOCKER_IMAGE, "application/json", "text/html", "*/*;q=0", ""):
        response = fixed.client.manifest(REPO, "base", headers=[("Accept", accept)])
        assert response.status == 200 and response.header("content-type") == IMAGE


def test_conditions(fixed):
    tag = f'"{digest(fixed.body)}"'
    for reference in ("base", digest(fixed.body)):
        response = fixed.client.manifest(REPO, reference, headers=[("If-None-Match", tag)])
        assert response.status == 304 and response.body == b""
        response = fixed.client.manifest(REPO, reference, headers=[("If-None-Match", '"x"')])
        assert response.status == 200


def test_sha512(fixed):
    """The digest it was pushed under is the one it is known by, by tag reads included."""
    body = dump(image(annotations={"is": "sha512"}))
    name = digest(body, "sha512")
    response = fixed.put(body, reference=name)
    assert response.status == 201 and response.header("docker-content-digest") == name
    response = fixed.client.manifest(REPO, name)
    assert response.body == body and response.header("docker-content-digest") == name


def test_digest_must_match(fixed):
    body = dump(image(annotations={"is": "other"}))
    for name in (digest(b"x"), digest(b"x", "sha512")):
        response = fixed.put(body, reference=name)
        assert response.status == 400 and response.code == "DIGEST_INVALID", response
        assert fixed.client.manifest(REPO, name).status == 404
    for name in ("sha256:baddigeststring", "sha256:" + "A" * 64, "md5:" + "a" * 32,
                 digest(body) + "%20", digest(body) + "%20%20"):
        response = fixed.put(body, reference=name)
        assert response.status == 400 and response.code == "DIGEST_INVALID", (name, response)
        assert fixed.client.manifest(REPO, name).status in (400, 404)


@pytest.mark.parametrize("tag, good", [
    ("a", True), ("A", True), ("_", True), ("1.2.3-rc.1_x", True), ("a" * 128, True),
    ("sha256-" + "a" * 64, True), ("sha256-" + "a" * 64 + ".sig", True), ("a" * 129, False),
    (".a", False), ("-a", False), ("a%20b", False), ("a+b", False), ("%C3%A4", False),
    ("a%00", False), ("a%2Fb", False), ("a:b", False), ("a@b", False),
])
def test_tag_grammar(fixed, tag, good):
    response = fixed.put(fixed.body, reference=tag)
    if good:
        assert response.status == 201, response
        assert fixed.client.manifest(REPO, tag).body == fixed.body
    else:
        assert response.status in (400, 404), response
        assert response.code in ("TAG_INVALID", "DIGEST_INVALID", "NAME_INVALID", "UNSUPPORTED")


@pytest.mark.parametrize("name, good", [
    ("m/a", True), ("m/a/b/c/d", True), ("m/a.b", True), ("m/a_b", True), ("m/a__b", True),
    ("m/a-b", True), ("m/a----b", True), ("m/0", True), ("m/blobs/uploads", True),
    ("m/manifests/tags/list", True), ("m/referrers", True),
    ("m/A", False), ("m/a..b", False), ("m/a___b", False), ("m/-a", False), ("m/a-", False),
    ("m/.a", False), ("m/a._b", False), ("m/a%20b", False), ("M/a", False), ("m//a", False),
    ("m/" + "a" * 300, False),
])
def test_name_grammar(fixed, name, good):
    client = fixed.client
    if good:
        body, pushed = client.push_image(name, "t")
        assert client.manifest(name, "t").body == body
        assert client.manifest(name, pushed).body == body
        assert client.tags(name).json()["name"] == name and "t" in client.tags(name).json()["tags"]
        assert client.request("DELETE", f"/v2/{name}/manifests/t").status == 202
    else:
        for response in (client.put_manifest(name, "t", fixed.body), client.manifest(name, "t"),
                         client.request("POST", f"/v2/{name}/blobs/uploads/"), client.tags(name)):
            assert response.status in (400, 404), response
            assert response.code in ("NAME_INVALID", "NAME_UNKNOWN"), response


# ---- what is accepted

def accepted():
    empty = descriptor(b"{}", EMPTY)
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    return {
        "without-media-type": (image(mediaType=None), IMAGE),
        "no-layers": (image(layers=[]), IMAGE),
        "unknown-members": (image(other={"a": [1, None, {"b": True}]}), IMAGE),
        "annotations": (image(annotations={"org.opencontainers.image.title": "x"}), IMAGE),
        "any-layer-type": (image(layers=[layer(mediaType="application/x.y+zip")]), IMAGE),
        "any-config-type": (image(config=descriptor(CONFIG_BYTES, "application/vnd.cncf.helm.config.v1+json")), IMAGE),
        "artifact": (image(config=empty, artifactType="application/x"), IMAGE),
        "artifact-empty-layer": (image(config=empty, layers=[empty], artifactType="a/b"), IMAGE),
        "same-layer-twice": (image(layers=[layer(), layer()]), IMAGE),
        "data": (image(config=descriptor(CONFIG_BYTES, CONFIG,
                                         data=base64.b64encode(CONFIG_BYTES).decode())), IMAGE),
        "missing-subject": (image(subject=descriptor(b"nobody", IMAGE)), IMAGE),
        "present-subject": (image(subject=child()), IMAGE),
        "subject-of-other-size": (image(subject={**child(), "size": 5}), IMAGE),
        "nondistributable": (image(layers=[layer(), {**ABSENT, "mediaType":
                             "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"}]), IMAGE),
        "nondistributable-zstd": (image(layers=[{**ABSENT, "mediaType":
                                  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"}]), IMAGE),
        "foreign": (image(mediaType=DOCKER_IMAGE, config=descriptor(CONFIG_BYTES, DOCKER_CONFIG),
                          layers=[{**ABSENT, "mediaType": foreign, "urls": ["https://example.com/l"]}]),
                    DOCKER_IMAGE),
        "docker": (image(mediaType=DOCKER_IMAGE, config=descriptor(CONFIG_BYTES, DOCKER_CONFIG),
                         layers=[layer(mediaType=DOCKER_LAYER)]), DOCKER_IMAGE),
        "index": (index(child()), INDEX),
        "index-empty": (index(), INDEX),
        "index-without-media-type": (index(child(), mediaType=None), INDEX),
        "index-platform": (index({**child(), "platform": {"architecture": "amd64", "os": "linux"}}), INDEX),
        "index-of-docker": (index(child(), mediaType=DOCKER_LIST), DOCKER_LIST),
        "index-subject": (index(child(), subject=descriptor(b"x", INDEX), artifactType="a/b"), INDEX),
        "buildkit-cache": (index(layer(), descriptor(CONFIG_BYTES, "application/vnd.buildkit.cacheconfig.v0")), INDEX),
        "header-parameters": (image(annotations={"p": "1"}), IMAGE + "; charset=utf-8"),
        "header-absent": (image(annotations={"p": "3"}), None),
        "subject-other-algorithm": (image(subject={**child(), "digest": "blake3:" + "a" * 64}), IMAGE),
    }


@pytest.mark.parametrize("case", accepted())
def test_accepted(fixed, case):
    body, media_type = accepted()[case]
    response = fixed.put(body, media_type)
    assert response.status == 201, response
    response = fixed.client.manifest(REPO, digest(dump(body)))
    assert response.status == 200 and response.body == dump(body)
    if case.startswith("header"):
        assert response.header("content-type").lower() == IMAGE


def test_nested_index(fixed):
    inner = dump(index(child(), annotations={"level": "inner"}))
    assert fixed.put(inner, INDEX).status == 201
    outer = index(descriptor(inner, INDEX), child())
    assert fixed.put(outer, INDEX).status == 201


def test_large(fixed):
    """4 MiB is the least clients count on."""
    base = dump(image(annotations={"fill": ""}))
    body = dump(image(annotations={"fill": "x" * (4194304 - len(base))}))
    assert len(body) == 4194304
    assert fixed.put(body).status == 201
    assert fixed.client.manifest(REPO, digest(body)).body == body


# ---- what is refused, and how that is told

def deep(n):
    return b'{"a":' * n + b"1" + b"}" * n


def raw_image(extra):
    return dump(image())[:-1] + b"," + extra + b"}"


def refused():
    """case -> (body, header type, code, words the message must have)"""
    d = "MANIFEST_INVALID"
    good = dump(image())
    bad_size = lambda size: image(layers=[layer(size=size)])
    return {
        "empty": (b"", IMAGE, d, []),
        "not-json": (b"hello", IMAGE, d, ["JSON"]),
        "truncated": (good[:-1], IMAGE, d, ["JSON"]),
        "trailing": (good + b"x", IMAGE, d, ["JSON"]),
        "two-values": (good + good, IMAGE, d, ["JSON"]),
        "array": (b"[]", IMAGE, d, ["object"]),
        "string": (b'"x"', IMAGE, d, ["object"]),
        "null": (b"null", IMAGE, d, ["object"]),
        "utf-8": (raw_image(b'"a":"\xff\xfe"'), IMAGE, d, ["JSON"]),
        "utf-8-surrogate": (raw_image(b'"a":"\xed\xa0\x80"'), IMAGE, d, ["JSON"]),
        "bom": (b"\xef\xbb\xbf" + good, IMAGE, d, ["JSON"]),
        "nan": (raw_image(b'"a":NaN'), IMAGE, d, ["JSON"]),
        "comment": (b"/* */" + good, IMAGE, d, ["JSON"]),
        "duplicate-key": (raw_image(b'"layers":[]'), IMAGE, d, ["duplicate", "layers"]),
        "duplicate-nested": (raw_image(b'"annotations":{"a":"1","a":"2"}'), IMAGE, d, ["duplicate"]),
        "too-deep": (raw_image(b'"x":' + deep(100)), IMAGE, d, ["nest"]),
        "depth-bomb": (b"[" * 1_000_000, IMAGE, d, []),
        "many-values": (raw_image(b'"x":[' + b",".join([b"0"] * 150_000) + b"]"), IMAGE, d, []),
        "schema-version-1": (image(schemaVersion=1), IMAGE, d, ["schemaVersion"]),
        "schema-version-absent": (image(schemaVersion=None), IMAGE, d, ["schemaVersion"]),
        "schema-version-string": (image(schemaVersion="2"), IMAGE, d, ["schemaVersion"]),
        "schema-version-real": (image(schemaVersion=2.5), IMAGE, d, ["schemaVersion"]),
        "type-differs": (image(), DOCKER_IMAGE, d, ["mediaType", IMAGE, DOCKER_IMAGE]),
        "type-differs-index": (image(), INDEX, d, ["mediaType"]),
        "type-not-a-string": (image(mediaType=5), IMAGE, d, ["mediaType"]),
        "type-unknown": (image(mediaType="application/json"), "application/json", d, ["application/json"]),
        "type-html": (image(mediaType=None, layers=[]), "text/html", d, ["text/html"]),
        "schema1": (b'{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"signatures":[]}',
                    "application/vnd.docker.distribution.manifest.v1+prettyjws", d, ["schema 1"]),
        "no-config": (image(config=None), IMAGE, d, ["config"]),
        "config-array": (image(config=[]), IMAGE, d, ["config"]),
        "no-layers": (image(layers=None), IMAGE, d, ["layers"]),
        "layers-object": (image(layers={}), IMAGE, d, ["layers"]),
        "layers-null": (dump(image()).replace(b'"layers":[', b'"layers":null,"x":['), IMAGE, d, ["layers"]),
        "layer-string": (image(layers=["x"]), IMAGE, d, ["layers[0]"]),
        "image-with-manifests": (image(manifests=[]), IMAGE, d, ["manifests"]),
        "index-with-layers": (index(layers=[]), INDEX, d, ["layers"]),
        "index-with-config": (index(config={}), INDEX, d, ["config"]),
        "index-no-manifests": (index(manifests=None), INDEX, d, ["manifests"]),
        "index-manifests-object": (index(manifests={}), INDEX, d, ["manifests"]),
        "digest-absent": (image(layers=[layer(digest=None)]), IMAGE, d, ["layers[0]", "digest"]),
        "digest-number": (image(layers=[layer(digest=5)]), IMAGE, d, ["layers[0]", "digest"]),
        "digest-short": (image(layers=[layer(digest="sha256:abc")]), IMAGE, d, ["layers[0]", "digest"]),
        "digest-upper": (image(layers=[layer(), layer(digest="sha256:" + "A" * 64)]), IMAGE, d, ["layers[1]", "digest"]),
        "digest-no-colon": (image(config={**descriptor(CONFIG_BYTES, CONFIG), "digest": "a" * 64}), IMAGE, d, ["config", "digest"]),
        "digest-path": (image(layers=[layer(digest="sha256:../../etc/passwd")]), IMAGE, d, ["digest"]),
        "size-absent": (bad_size(None), IMAGE, d, ["layers[0]", "size"]),
        "size-negative": (bad_size(-1), IMAGE, d, ["layers[0]", "size"]),
        "size-string": (bad_size("300"), IMAGE, d, ["layers[0]", "size"]),
        "size-real": (bad_size(300.5), IMAGE, d, ["layers[0]", "size"]),
        "size-huge": (dump(bad_size(-77)).replace(b"-77", b"9223372036854775808"), IMAGE, d, []),
        "size-wrong": (bad_size(299), IMAGE, d, ["size", "299"]),
        "size-wrong-config": (image(config={**descriptor(CONFIG_BYTES, CONFIG), "size": 1}), IMAGE, d, ["config", "1 bytes"]),
        "size-wrong-child": (index({**child(), "size": 1}), INDEX, d, ["manifest", "1 bytes"]),
        "layer-type-absent": (image(layers=[layer(mediaType=None)]), IMAGE, d, ["layers[0]", "mediaType"]),
        "layer-type-bad": (image(layers=[layer(mediaType="no slash")]), IMAGE, d, ["layers[0]", "mediaType"]),
        "data-not-base64": (image(layers=[layer(data="!!!")]), IMAGE, d, ["data"]),
        "data-other-length": (image(layers=[layer(data="e30=")]), IMAGE, d, ["data"]),
        "data-other-bytes": (image(layers=[layer(data=base64.b64encode(b"x" * 300).decode())]), IMAGE, d, ["data"]),
        "subject-string": (image(subject="x"), IMAGE, d, ["subject"]),
        "subject-bad-digest": (image(subject={**child(), "digest": "x"}), IMAGE, d, ["subject", "digest"]),
        "artifact-type-bad": (image(artifactType="x"), IMAGE, d, ["artifactType"]),
        "artifact-type-number": (image(artifactType=1), IMAGE, d, ["artifactType"]),
        "foreign-without-urls": (image(layers=[{**ABSENT, "mediaType":
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}]), IMAGE, "", []),
    }


@pytest.mark.parametrize("case", refused())
def test_refused(fixed, case):
    body, media_type, code, words = refused()[case]
    body = body if isinstance(body, bytes) else dump(body)
    response = fixed.put(body, media_type, reference="refused")
    assert response.status == 400, response
    got, message = response.errors()[0]
    if code:
        assert got == code, response
    for word in words:
        assert word.lower() in message.lower(), message
    assert fixed.client.manifest(REPO, "refused").status == 404
    if body != fixed.body:  # the very bytes are there under their right type
        assert fixed.client.manifest(REPO, digest(body)).status == 404


def test_every_missing_part_is_named(fixed):
    """One entry each, nothing that is there, and urls on an ordinary layer do not excuse it."""
    gone = [descriptor(b"gone %d" % i, LAYER) for i in range(12)]
    gone_config = descriptor(b"gone config", CONFIG)
    body = image(config=gone_config, layers=[gone[0], layer(), *gone[1:], gone[3],
                                             {**gone[5], "urls": ["https://example.com"]}])
    response = fixed.put(body)
    assert response.status == 400
    errors = response.json()["errors"]
    assert {e["code"] for e in errors} == {"MANIFEST_BLOB_UNKNOWN"}
    text = response.body.decode()
    named = {word for e in errors for word in e["message"].split() if word.startswith("sha256:")}
    assert named == {part["digest"] for part in [gone_config, *gone]}
    assert layer()["digest"] not in text


def test_missing_children_are_named(fixed):
    gone = descriptor(b"gone child", IMAGE)
    gone_blob = descriptor(b"gone cache", "application/vnd.buildkit.cacheconfig.v0")
    response = fixed.put(index(child(), gone, gone_blob), INDEX)
    assert response.status == 400
    assert [e[0] for e in response.errors()] == ["MANIFEST_BLOB_UNKNOWN"] * 2
    assert gone["digest"] in response.body.decode() and gone_blob["digest"] in response.body.decode()


def test_child_must_be_a_manifest(fixed):
    """A blob does not stand in for a manifest child, nor a manifest for a layer."""
    as_blob = descriptor(LAYER_BYTES, IMAGE)
    assert fixed.put(index(as_blob), INDEX).code == "MANIFEST_BLOB_UNKNOWN"
    as_layer = descriptor(fixed.body, LAYER)
    assert fixed.put(image(layers=[as_layer])).code == "MANIFEST_BLOB_UNKNOWN"


def test_parts_must_be_linked_here(fixed):
    """Present in another repository is missing: else a push would read what it may not."""
    fixed.client.push("m/elsewhere", b"something")
    for body, media_type in ((image(), IMAGE), (index(child()), INDEX)):
        response = fixed.client.put_manifest("m/elsewhere", "x", body, media_type)
        assert response.status == 400 and response.code == "MANIFEST_BLOB_UNKNOWN"


# ---- deleting

def test_delete_by_tag(fixed):
    client = fixed.client
    body, name = client.push_image("m/del", "one", seed="one")
    client.put_manifest("m/del", "two", body)
    assert client.request("DELETE", "/v2/m/del/manifests/one").status == 202
    assert client.manifest("m/del", "one").status == 404
    assert client.manifest("m/del", "two").body == body
    assert client.manifest("m/del", name).body == body
    assert client.request("DELETE", "/v2/m/del/manifests/one").status == 404
    assert client.tags("m/del").json()["tags"] == ["two"]


def test_delete_by_digest(fixed):
    client = fixed.client
    body, name = client.push_image("m/del", "three", seed="three")
    client.put_manifest("m/del", "four", body)
    other, _ = client.push_image("m/del", "five", seed="five")
    assert client.request("DELETE", f"/v2/m/del/manifests/{name}").status == 202
    for reference in (name, "three", "four"):
        assert client.manifest("m/del", reference).status == 404
    assert client.manifest("m/del", "five").body == other
    tags = client.tags("m/del").json()["tags"]
    assert "three" not in tags and "four" not in tags and "five" in tags
    assert client.request("DELETE", f"/v2/m/del/manifests/{name}").status == 404
    # pushed again it is there again
    assert client.put_manifest("m/del", "three", body).status == 201
    assert client.manifest("m/del", name).body == body


def test_delete_elsewhere_keeps(fixed):
    """The same manifest in two repositories is deleted in one."""
    client = fixed.client
    body, name = client.push_image("m/left", "t", seed="both")
    assert client.push_image("m/right", "t", seed="both")[1] == name
    assert client.request("DELETE", f"/v2/m/left/manifests/{name}").status == 202
    assert client.manifest("m/right", "t").body == body


def test_moved_tag(fixed):
    client = fixed.client
    first, first_name = client.push_image("m/move", "latest", seed=1)
    second, _ = client.push_image("m/move", "latest", seed=2)
    assert client.manifest("m/move", "latest").body == second
    assert client.manifest("m/move", first_name).body == first
    assert client.tags("m/move").json()["tags"] == ["latest"]


def test_unknown(fixed):
    client = fixed.client
    response = client.manifest(REPO, digest(b"none"))
    assert response.status == 404 and response.code == "MANIFEST_UNKNOWN"
    assert digest(b"none") in response.message
    response = client.manifest("m/none", "x")
    assert response.status == 404 and response.code == "NAME_UNKNOWN"
    assert "m/none" in response.message
    for reference in ("x", digest(b"x")):
        assert client.request("DELETE", f"/v2/m/none/manifests/{reference}").status == 404


@pytest.mark.parametrize("asked, near", [("latst", "latest"), ("Latest", "latest"),
                                         ("v1.2", "v1.2.0"), ("1.2.0", "v1.2.0")])
def test_near_tags(fixed, asked, near):
    client = fixed.client
    for tag in ("latest", "v1.2.0", "nightly"):
        client.push_image("m/near", tag, seed=tag)
    response = client.manifest("m/near", asked)
    assert response.status == 404 and response.code == "MANIFEST_UNKNOWN"
    assert asked in response.message and f'{near}' in response.message
    assert "nightly" not in response.message


def test_concurrent_tag_moves(fixed, server):
    """Many writers on one tag: each is answered 201, the last one stays, both bodies are kept."""
    import threading
    bodies = {}
    wrong = []

    def move(i):
        client = Client(server, mode="none")
        for j in range(5):
            try:
                body, name = client.push_image("m/race", "tag", seed=f"{i}.{j}")
                bodies[name] = body
            except AssertionError as error:
                wrong.append(error)
        client.close()

    threads = [threading.Thread(target=move, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    response = fixed.client.manifest("m/race", "tag")
    assert bodies[response.header("docker-content-digest")] == response.body
    for name, body in bodies.items():
        assert fixed.client.manifest("m/race", name).body == body


# ---- several tags at once, and only if nothing changed meanwhile

def test_several_tags(fixed):
    """By digest, all or none; sha512 digests get their tags this way too."""
    client = fixed.client
    body = client.image("m/tags", "several")
    for name in (digest(body), digest(body, "sha512")):
        wanted = [f"v1.{i}-{name[:6]}" for i in range(10)]
        query = "?" + "&".join("tag=" + tag for tag in wanted)
        response = client.put_manifest("m/tags", name + query, body)
        assert response.status == 201, response
        assert response.header("docker-content-digest") == name
        told = [t.strip() for line in response.all("oci-tag") for t in line.split(",")]
        assert told == wanted
        for tag in wanted:
            assert client.manifest("m/tags", tag).header("docker-content-digest") == name
    before = client.tags("m/tags").json()
    for query in ("?tag=good&tag=bad%20one", "?tag=good&tag=.bad", "?tag=good&tag="):
        response = client.put_manifest("m/tags", digest(body) + query, body)
        assert response.status == 400 and response.code == "TAG_INVALID", response
    response = client.put_manifest("m/tags", digest(body) + f"?tag={wanted[0]}&tag={wanted[0]}", body)
    assert response.status == 201 and response.header("oci-tag") == wanted[0]
    many = "?" + "&".join(f"tag=t{i}" for i in range(500))
    assert client.put_manifest("m/tags", digest(body) + many, body).status == 414
    assert client.put_manifest("m/tags", "other?tag=good", body).status == 400
    assert client.tags("m/tags").json() == before


def test_conditional_put(fixed):
    """Compare and swap on a tag."""
    client = fixed.client
    first, first_name = client.push_image("m/cas", "latest", seed=1)
    second = client.image("m/cas", 2)

    def put(reference, body, name, value):
        return client.put_manifest("m/cas", reference, body, headers=[(name, value)]).status

    assert put("latest", second, "If-None-Match", "*") == 412
    assert put("latest", second, "If-Match", f'"{digest(second)}"') == 412
    assert put("absent", second, "If-Match", "*") == 412
    assert client.manifest("m/cas", "latest").body == first
    assert client.tags("m/cas").json()["tags"] == ["latest"]
    assert put("latest", second, "If-Match", f'"{first_name}"') == 201
    assert put("latest", first, "If-Match", f'"{first_name}"') == 412
    assert put("fresh", second, "If-None-Match", "*") == 201
    assert put("fresh", second, "If-None-Match", "*") == 412
    assert client.manifest("m/cas", "latest").body == second
    # the entity tag comes with the push, so no GET is needed in between
    etag = client.put_manifest("m/cas", "latest", first).header("etag")
    assert etag == client.manifest("m/cas", "latest").header("etag")
    assert put("latest", second, "If-Match", etag) == 201
    assert put(digest(second) + "?tag=a&tag=b", second, "If-None-Match", "*") == 400


def test_conditional_delete(fixed):
    """What changed since the client looked is not deleted (RFC 9110 13.1.1)."""
    client = fixed.client
    first, first_name = client.push_image("m/cad", "latest", seed=1)
    second, second_name = client.push_image("m/cad", "latest", seed=2)

    def delete(reference, name, value):
        return client.request("DELETE", f"/v2/m/cad/manifests/{reference}", headers=[(name, value)]).status

    assert delete("latest", "If-Match", f'"{first_name}"') == 412
    assert delete("latest", "If-None-Match", f'"{second_name}"') == 412
    assert delete(second_name, "If-Match", f'"{first_name}"') == 412
    assert client.manifest("m/cad", "latest").body == second
    assert delete("none", "If-Match", "*") == 404
    assert delete("latest", "If-Match", f'"{first_name}", "{second_name}"') == 202
    assert client.manifest("m/cad", "latest").status == 404
    assert delete(first_name, "If-Match", "*") == 202
    assert client.manifest("m/cad", first_name).status == 404


# ---- help with platforms

def test_platform_warnings(fixed):
    """Docker tells its platform; who pulls a tag that has none for it is told which there are."""
    client = fixed.client
    client.push("m/platform", CONFIG_BYTES)

    def index_of(*platforms):
        children = []
        for i, platform in enumerate(platforms):
            names = ("os", "architecture", "variant")
            body = dump({"schemaVersion": 2, "mediaType": IMAGE, "layers": [],
                         "config": descriptor(CONFIG_BYTES, CONFIG), "annotations": {"child": str(i)}})
            assert client.put_manifest("m/platform", digest(body), body).status == 201
            children.append({**descriptor(body, IMAGE),
                             "platform": dict(zip(names, platform.split("/")))})
        assert client.put_manifest("m/platform", "t", index(*children), INDEX).status == 201

    def warning(platform):
        agent = "docker/24 go/go1.20 os/{} arch/{} UpstreamClient(x)".format(*platform.split("/"))
        response = client.manifest("m/platform", "t", headers=[("User-Agent", agent)])
        assert response.status == 200
        return response.header("warning")

    index_of("linux/amd64", "linux/arm64/v8", "unknown/unknown")
    assert warning("linux/amd64") is None and warning("linux/arm64") is None
    assert warning("linux/arm") == \
        '299 - "m/platform is not there for linux/arm; it is for linux/amd64, linux/arm64/v8"'
    index_of("linux/arm/v7", "linux/ppc64le")
    assert warning("linux/arm") is None and warning("linux/arm64") and warning("linux/ppc64")
    index_of(*(f"plan9/a{i:02}" for i in range(40)), "windows/amd64")
    assert warning("windows/amd64") is None, "the last of many is there too"
    assert warning("linux/amd64").endswith(' and 21 more"')
    index_of("unknown/unknown")
    assert warning("linux/amd64") is None

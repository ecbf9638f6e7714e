"""Clients that do not run here, as recorded on the wire: nydusd, the stargz and SOCI snapshotters,
containerd 2 with parallel fetches, BuildKit's cache, oras. Each test sends what that client sends, in
its order on its connections, and reads the answers the way it does."""

import json
import random
import re
import threading
import urllib.parse

import pytest

from lib import raw
from lib.oci import (CONFIG, EMPTY, IMAGE, INDEX, Client, basic, descriptor, digest, dump, randbytes)
from lib.server import PASSWORD

REPO = "lazy/app"
SIZE = 6_000_000
# Looks like the parts of a multipart body, again and again.
DATA = b"\r\n--".join(randbytes(1000, f"quirk {i}") for i in range(SIZE // 1000))[:SIZE]
BLOB = f"/v2/{REPO}/blobs/{digest(DATA)}"


@pytest.fixture(scope="module")
def blob(admin):
    assert admin.push(REPO, DATA, "stream") == digest(DATA)
    return BLOB


@pytest.fixture
def conn(server):
    with raw.Conn(server.address) as conn:
        yield conn


def ask(conn, server, method, target, headers=(), body=None):
    conn.send(raw.request(method, target, headers, body, host=server.name))
    return conn.read(head=method == "HEAD")


# ---- nydusd

def nydus_challenge(response):
    """As nydusd reads it: one scheme word, parameters cut at each `",`, values at each `=`."""
    scheme, rest = response.header("www-authenticate").split(" ", 1)
    found = {}
    for pair in rest.strip().split('",'):
        words = pair.strip().split("=")
        assert len(words) >= 2
        found[words[0].strip()] = words[1].strip().strip('"')
    return scheme, found


def nydus_token(conn, server, found, user=None):
    """Everything in the query and again in the body of a GET, and in the header."""
    path = "/" + found["realm"].split("/", 3)[3]
    form = urllib.parse.urlencode({
        "service": found["service"], "scope": found["scope"], "grant_type": "password",
        "username": user or "", "password": PASSWORD if user else "",
        "client_id": "nydus-registry-client"})
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    if user:
        headers.append(("Authorization", basic(user, PASSWORD)))
    return ask(conn, server, "GET", f"{path}?{form}", headers, form.encode())


def test_nydus_reads(server, conn, blob):
    """Challenge, token, size, then exactly the bytes asked for: it takes a 200 for a 206."""
    scheme, found = nydus_challenge(ask(conn, server, "HEAD", blob))
    assert scheme == "Bearer" and found == {
        "realm": f"http://{server.name}/service/token", "service": "berth",
        "scope": f"repository:{REPO}:pull"}
    answer = nydus_token(conn, server, found, "admin").json()
    assert isinstance(answer["token"], str) and answer["expires_in"] >= 60
    auth = [("Authorization", "Bearer " + answer["token"])]
    size = int(ask(conn, server, "HEAD", blob, auth).header("content-length"))
    assert size == len(DATA)
    chance = random.Random("nydus")
    for _ in range(200):
        first = chance.randrange(size)
        last = min(size, first + chance.randrange(1, 20_000)) - 1
        response = ask(conn, server, "GET", blob, [*auth, ("Range", f"bytes={first}-{last}")])
        assert response.status == 206 and response.body == DATA[first:last + 1]
    server.settle()
    assert not any(urllib.parse.quote_plus(PASSWORD) in line or PASSWORD in line
                   for line in server.lines), "the query with the password was logged"


def test_nydus_renews(server, conn, blob):
    """With a token that is no longer good: 401, the same again without it, and the challenge."""
    headers = [("Authorization", "Bearer gone"), ("Range", "bytes=0-9")]
    assert ask(conn, server, "GET", blob, headers).status == 401
    response = ask(conn, server, "GET", blob, headers[1:])
    assert response.status == 401
    answer = nydus_token(conn, server, nydus_challenge(response)[1], "admin").json()
    response = ask(conn, server, "GET", blob, [("Authorization", "Bearer " + answer["token"]),
                                               headers[1]])
    assert response.status == 206 and response.body == DATA[:10]


def test_nydus_without_credentials(server, conn, admin):
    """Empty user and password are nobody, who may pull what is public."""
    name = admin.push("library/lazy", b"public and lazy")
    target = f"/v2/library/lazy/blobs/{name}"
    response = ask(conn, server, "GET", target, [("Range", "bytes=0-5")])
    if response.status == 401:
        answer = nydus_token(conn, server, nydus_challenge(response)[1]).json()
        response = ask(conn, server, "GET", target, [
            ("Range", "bytes=0-5"), ("Authorization", "Bearer " + answer["token"])])
    assert response.status == 206 and response.body == b"public"


def test_nydus_image(admin):
    """A bootstrap and blobs of a type of its own, in an index beside the ordinary image."""
    bootstrap, data = randbytes(500, "bootstrap"), randbytes(5000, "rafs")
    for part in (bootstrap, data, b"{}"):
        admin.push("lazy/nydus", part)
    plain, _ = admin.push_image("lazy/nydus", seed="nydus")
    body = dump({
        "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}", CONFIG), "layers": [
            descriptor(data, "application/vnd.oci.image.layer.nydus.blob.v1",
                       annotations={"containerd.io/snapshot/nydus-blob": "true"}),
            descriptor(bootstrap, "application/vnd.oci.image.layer.v1.tar+gzip",
                       annotations={"containerd.io/snapshot/nydus-bootstrap": "true",
                                    "containerd.io/snapshot/nydus-rafs-version": "6"})]})
    assert admin.put_manifest("lazy/nydus", digest(body), body).status == 201
    platform = {"architecture": "amd64", "os": "linux"}
    index = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {**descriptor(plain, IMAGE), "platform": platform},
        {**descriptor(body, IMAGE), "platform": {**platform, "os.features": ["nydus.remoteimage.v1"]},
         "artifactType": "application/vnd.nydus.image.manifest.v1+json"}]})
    assert admin.put_manifest("lazy/nydus", "v1", index, INDEX).status == 201
    assert admin.manifest("lazy/nydus", "v1").body == index
    assert admin.manifest("lazy/nydus", digest(body)).body == body


# ---- stargz and SOCI snapshotters

def stargz_parts(response):
    """As Go's mime/multipart reads them: [(first, last, total, bytes)]."""
    kind, parameter = response.header("content-type").split(";")
    assert kind == "multipart/byteranges"
    mark = b"--" + parameter.strip().removeprefix("boundary=").encode()
    rest = response.body.removeprefix(b"\r\n")
    found = []
    assert rest.startswith(mark + b"\r\n")
    while not rest.startswith(mark + b"--"):
        head, rest = rest.removeprefix(mark + b"\r\n").split(b"\r\n\r\n", 1)
        span = re.search(rb"(?im)^content-range: bytes (\d+)-(\d+)/(\d+)\r?$", head)
        data, rest = rest.split(b"\r\n" + mark, 1)
        rest = mark + rest
        found.append((*map(int, span.groups()), data))
    return found


@pytest.fixture
def auth(admin):
    return [("Authorization", "Bearer " + admin.token([f"repository:{REPO}:pull"]))]


@pytest.mark.parametrize("query", ["", "?ns=docker.io"])
def test_stargz_reads(server, conn, blob, auth, query):
    """Two bytes to find out, HEAD for the size, then the chunks that are missing, many at once."""
    target = blob + query
    response = ask(conn, server, "GET", target, [*auth, ("Range", "bytes=0-1")])
    assert response.status == 206 and response.header("location") is None
    assert response.header("content-range") == f"bytes 0-1/{len(DATA)}"
    assert int(ask(conn, server, "HEAD", target, auth).header("content-length")) == len(DATA)
    chance = random.Random("stargz")
    for chunks in (2, 3, 17, 100):
        starts = sorted(chance.sample(range(0, len(DATA) - 50_000, 50_000), chunks))
        asked = [(s, s + chance.randrange(1, 50_000) - 1) for s in starts]
        response = ask(conn, server, "GET", target, [
            *auth, ("Range", "bytes=" + ",".join(f"{a}-{b}" for a, b in asked)),
            ("Accept-Encoding", "identity")])
        assert response.status == 206, response
        assert stargz_parts(response) == [(a, b, len(DATA), DATA[a:b + 1]) for a, b in asked]
        # whether it is still there
        assert ask(conn, server, "GET", target, [*auth, ("Range", "bytes=0-1")]).status == 206


def test_boundaries_cannot_be_foreseen(server, conn, blob, auth):
    """Or a blob could be made that contains the next one."""
    seen = {ask(conn, server, "GET", blob, [*auth, ("Range", "bytes=0-1,4-5")]).header(
        "content-type") for _ in range(20)}
    assert len(seen) == 20


def test_stargz_one_range(server, conn, blob, auth):
    """Squashed into one range, and a list of one: a plain 206 with Content-Range."""
    for value, first, last in (("0-5999999", 0, 5_999_999), ("700-799,", 700, 799)):
        response = ask(conn, server, "GET", blob, [*auth, ("Range", "bytes=" + value)])
        assert response.status == 206 and response.body == DATA[first:last + 1]
        assert response.header("content-type") == "application/octet-stream"
        assert response.header("content-range") == f"bytes {first}-{last}/{len(DATA)}"


def test_heads_of_20_kilobytes(server, conn, blob, auth):
    """1024 ranges with long numbers, and a token of 12 KB before them."""
    starts = random.Random("chunked").sample(range(5_000_000, 5_900_000, 10), 1024)
    value = "bytes=" + ",".join(f"{s:010d}-{s + 4:010d}" for s in starts)
    assert len(value) > 20_000
    response = ask(conn, server, "GET", blob, [*auth, ("X-Long", "t" * 12_000), ("Range", value)])
    assert response.status == 206
    assert [(a, d) for a, _, _, d in stargz_parts(response)] == [(s, DATA[s:s + 5]) for s in starts]


def test_soci_index(admin):
    """An artifact found among the referrers, and its ztocs."""
    _, name = admin.push_image("lazy/soci", "v1", seed="soci")
    subject = descriptor(admin.manifest("lazy/soci", "v1").body, IMAGE)
    kind, ztoc = "application/vnd.amazon.soci.index.v1+json", randbytes(900, "ztoc")
    for part in (b"{}", ztoc):
        admin.push("lazy/soci", part)
    body = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}", kind),
                 "layers": [descriptor(ztoc, "application/octet-stream", annotations={
                     "com.amazon.soci.image-layer-digest": name})],
                 "subject": subject, "annotations": {"com.amazon.soci.build-tool-identifier": "x"}})
    response = admin.put_manifest("lazy/soci", digest(body), body)
    assert response.status == 201 and response.header("oci-subject") == name
    query = "?artifactType=" + urllib.parse.quote(kind, safe="")
    found = admin.get(f"/v2/lazy/soci/referrers/{name}{query}").json()["manifests"]
    assert [(d["digest"], d["artifactType"]) for d in found] == [(digest(body), kind)]
    # version 2 of the format: bound to its image by an index
    index = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {**subject, "annotations": {"com.amazon.soci.index-digest": digest(body)}},
        {**descriptor(body, IMAGE), "artifactType": "application/vnd.amazon.soci.index.v2+json"}]})
    assert admin.put_manifest("lazy/soci", "v2", index, INDEX).status == 201


def fetch_and_drop(server, target, headers, first, size, found):
    with raw.Conn(server.address, receive_buffer=65536) as conn:
        conn.send(raw.request("GET", target, [*headers, ("Range", f"bytes={first}-")],
                              host=server.name))
        head = conn.read_head()
        found[first] = (head.status, head.header("content-range"), conn._exactly(size))
        conn.reset()


def test_parallel_fetches_that_are_dropped(server, blob, auth, alive):
    """SOCI and containerd 2 ask for all that follows, take their part and hang up. That is no
    trouble worth a line, and nothing of it stays."""
    part, found = 250_000, {}
    headers = [*auth, ("Accept", "application/vnd.oci.image.layer.v1.tar+gzip, */*"),
               ("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")]
    raw.exchange(server.address, raw.request("GET", blob, [*headers, ("Connection", "close")]))
    before, since = server.descriptors(), server.log_mark()
    for _ in range(3):
        found.clear()
        threads = [threading.Thread(target=fetch_and_drop,
                                    args=(server, blob, headers, first, part, found))
                   for first in range(0, len(DATA), part)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {first: (206, f"bytes {first}-{len(DATA) - 1}/{len(DATA)}",
                                 DATA[first:first + part]) for first in range(0, len(DATA), part)}
    assert server.waits(lambda: server.descriptors() <= before), "connections or files stay open"
    server.log_mark()
    assert not [f for f in server.events(first=since) if f.get("level") in ("error", "warn")]


# ---- containerd's resolver, as in BuildKit, nerdctl, Kubernetes and docker's newer image store

def test_containerd_push(server, conn, admin):
    """Tokens for both repositories, mounts with ns, one PUT whose query Go has sorted anew."""
    data = randbytes(3000, "containerd")
    name = admin.push("lazy/source", data)
    scopes = ["repository:lazy/source:pull", "repository:lazy/target:pull,push"]
    auth = [("Authorization", "Bearer " + admin.token(scopes))]
    target = f"/v2/lazy/target/blobs/{name}?ns=registry.example.com"
    accept = ("Accept", "application/vnd.oci.image.layer.v1.tar+gzip, */*")
    assert ask(conn, server, "HEAD", target, [*auth, accept]).status == 404
    query = urllib.parse.urlencode(sorted({"mount": name, "from": "lazy/source",
                                           "ns": "registry.example.com"}.items()))
    response = ask(conn, server, "POST", f"/v2/lazy/target/blobs/uploads/?{query}", auth, b"")
    assert response.status == 201 and response.header("docker-content-digest") == name
    other = randbytes(2000, "containerd, not mounted")
    query = urllib.parse.urlencode(sorted({"mount": digest(other), "from": "lazy/source",
                                           "ns": "registry.example.com"}.items()))
    response = ask(conn, server, "POST", f"/v2/lazy/target/blobs/uploads/?{query}", auth, b"")
    assert response.status == 202
    location = response.header("location")
    assert location.startswith("/v2/lazy/target/blobs/uploads/"), "no host to get wrong"
    parts = urllib.parse.urlsplit(location)
    query = dict(urllib.parse.parse_qsl(parts.query)) | {"digest": digest(other)}
    put = parts.path + "?" + urllib.parse.urlencode(sorted(query.items()))
    assert "%3A" in put
    response = ask(conn, server, "PUT", put, [
        *auth, ("Content-Type", "application/octet-stream")], other)
    assert response.status == 201 and response.header("docker-content-digest") == digest(other)
    response = ask(conn, server, "GET", f"/v2/lazy/target/blobs/{digest(other)}", [
        *auth, accept, ("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")])
    assert response.body == other and response.header("content-encoding") is None


def test_containerd_looks_for_manifests_among_blobs(admin):
    """By digest it asks the other kind when it is told 404, and only then."""
    _, name = admin.push_image("lazy/kinds", "v1", seed="kinds")
    assert admin.head(f"/v2/lazy/kinds/blobs/{name}").status == 404
    assert admin.head(f"/v2/lazy/kinds/manifests/{name}").status == 200


def test_ggcr_starts_uploads(server, conn, admin):
    """ko, kaniko, cosign: JSON without a body, and where an image came from; it is not read."""
    auth = [("Authorization", "Bearer " + admin.token(["repository:lazy/ggcr:pull,push"]))]
    for query in ("", "?origin=docker.io", f"?from=library%2Falpine&mount={digest(b'x')}"
                                           "&origin=registry.example.com"):
        response = ask(conn, server, "POST", f"/v2/lazy/ggcr/blobs/uploads/{query}", [
            *auth, ("Content-Type", "application/json")], b"")
        assert response.status == 202, response
        data = b"ggcr" + query.encode()
        response = ask(conn, server, "PATCH", response.header("location"), auth, data)
        assert response.status == 202
        location = response.header("location")
        join = "&" if "?" in location else "?"
        response = ask(conn, server, "PUT", f"{location}{join}digest={digest(data)}", auth, b"")
        assert response.status == 201


def test_buildkit_cache(admin):
    """mode=max to a registry: layers and a config of its own kind in an index, found again."""
    layer = randbytes(700, "cached layer")
    config = dump({"layers": [{"blob": digest(layer)}], "records": []})
    for part in (layer, config):
        admin.push("lazy/cache", part)
    body = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip",
                   annotations={"buildkit/createdat": "2024-01-01T00:00:00Z"}),
        descriptor(config, "application/vnd.buildkit.cacheconfig.v0")]})
    for _ in range(2):  # each build pushes it again
        assert admin.put_manifest("lazy/cache", "main", body, INDEX).status == 201
    assert admin.manifest("lazy/cache", "main").body == body
    assert admin.blob("lazy/cache", digest(config)).body == config


# ---- oras and others

def test_oras_asks_whether_there_are_referrers(admin):
    """With a digest of nothing but zeros: 200 and exactly the type, or it writes tags instead."""
    response = admin.get(f"/v2/lazy/oras/referrers/sha256:{'0' * 64}")
    assert response.status == 200 and response.header("content-type") == INDEX
    assert response.json()["manifests"] == []


def test_oras_artifact(admin):
    """Config and layer are the empty blob, which is pushed once."""
    admin.push("lazy/artifact", b"{}")
    for i in range(2):
        body = dump({"schemaVersion": 2, "mediaType": IMAGE, "artifactType": f"application/x{i}",
                     "config": descriptor(b"{}", EMPTY), "layers": [descriptor(b"{}", EMPTY)]})
        assert admin.put_manifest("lazy/artifact", f"v{i}", body).status == 201


def test_ping_promises_no_signatures(nobody):
    """podman would ask for them."""
    response = nobody.once("GET", "/v2/")
    assert response.header("x-registry-supports-signatures") is None
    assert response.header("docker-distribution-api-version") == "registry/2.0"


def test_windows_accept(admin):
    """With q values, and in several lines, as docker sends them."""
    body, name = admin.push_image("lazy/accept", "v1", seed="accept")
    for accepts in (["application/vnd.docker.distribution.manifest.v2+json;q=0.9, */*;q=0.1"],
                    [INDEX, IMAGE, "application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5"]):
        response = admin.manifest("lazy/accept", "v1", headers=[("Accept", a) for a in accepts])
        assert response.body == body and response.header("content-type") == IMAGE
        assert response.header("docker-content-digest") == name


def test_same_connection_after_401(server, conn, admin):
    """docker goes on with it, also after a refusal of a request with a body."""
    assert ask(conn, server, "GET", "/v2/").status == 401
    assert ask(conn, server, "POST", "/v2/lazy/x/blobs/uploads/", body=b"").status == 401
    body = json.dumps({"small": "body"}).encode()
    assert ask(conn, server, "PUT", "/v2/lazy/x/manifests/v1", [("Content-Type", IMAGE)],
               body).status == 401
    auth = [("Authorization", basic("admin", PASSWORD))]
    assert ask(conn, server, "GET", "/v2/", auth).status == 200


def test_lazy_reader_without_rights(server, conn, blob, nobody):
    """A token for something else opens no range of it, and does not tell that it is there."""
    stranger = Client(server, mode="none")
    token = stranger.token_response([f"repository:{REPO}:pull"], credentials=False).json()["token"]
    stranger.close()
    for target in (blob, blob[:-1] + ("0" if blob[-1] != "0" else "1")):
        response = ask(conn, server, "GET", target, [("Authorization", "Bearer " + token),
                                                     ("Range", "bytes=0-1,3-4")])
        assert response.status == 401 and response.header("content-range") is None

"""Reading blobs: whole, in ranges, conditionally. (RFC 9110 13, 14; OCI "Pulling blobs")"""

import re

import pytest

from lib.oci import digest, randbytes

SETTINGS = {"auth.anonymous": "push"}
SIZE = 10_000
DATA = randbytes(SIZE, "blob")


@pytest.fixture(scope="module")
def blob(berths, server):
    from lib.oci import Client
    client = Client(server, mode="none")
    client.push("b/a", DATA)
    client.target = f"/v2/b/a/blobs/{digest(DATA)}"
    yield client
    client.close()


def ranged(client, value, headers=()):
    return client.get(client.target, headers=[("Range", value), *headers])


def test_whole(blob):
    response = blob.get(blob.target)
    assert response.status == 200 and response.body == DATA
    assert response.header("content-type") == "application/octet-stream"
    assert response.header("docker-content-digest") == digest(DATA)
    assert response.header("etag") == f'"{digest(DATA)}"'
    assert response.header("accept-ranges") == "bytes"
    assert "max-age=31536000" in response.header("cache-control")
    assert response.header("content-encoding") is None


def test_never_encoded(blob):
    for target in (blob.target, "/v2/b/a/tags/list", "/v2/_catalog"):
        response = blob.get(target, headers=[("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, *")])
        assert response.header("content-encoding") is None


def test_large_blob(blob):
    """Larger than every buffer on the way."""
    data = randbytes(48_000_000, "large")
    name = blob.push("b/a", data, "stream")
    assert blob.blob("b/a", name).body == data
    response = blob.blob("b/a", name, headers=[("Range", "bytes=20000000-40000000")])
    assert response.status == 206 and response.body == data[20_000_000:40_000_001]


@pytest.mark.parametrize("value, first, last", [
    ("0-0", 0, 0), ("0-1", 0, 1), ("500-1499", 500, 1499), ("500-", 500, SIZE - 1),
    ("-500", SIZE - 500, SIZE - 1), ("0-", 0, SIZE - 1), ("9999-9999", 9999, 9999),
    ("9999-", 9999, 9999), ("-1", 9999, 9999), ("2000-50000", 2000, SIZE - 1),
    ("-10000", 0, SIZE - 1), ("-20000", 0, SIZE - 1), ("0-18446744073709551615", 0, SIZE - 1),
    ("0-99999999999999999999999", 0, SIZE - 1), ("  7-8 ", 7, 8), ("7-8,", 7, 8),
])
def test_single_range(blob, value, first, last):
    response = ranged(blob, "bytes=" + value)
    assert response.status == 206, response
    assert response.body == DATA[first:last + 1]
    assert response.header("content-range") == f"bytes {first}-{last}/{SIZE}"
    assert response.header("content-length") == str(last - first + 1)
    assert response.header("docker-content-digest") == digest(DATA)


@pytest.mark.parametrize("value", ["500-0", "10000-", "10000-20000", "50000-60000", "-0",
                                   "18446744073709551615-"])
def test_unsatisfiable(blob, value):
    response = ranged(blob, "bytes=" + value)
    assert response.status == 416, response
    assert response.header("content-range") == f"bytes */{SIZE}"


@pytest.mark.parametrize("value", ["bytes=", "bytes=a-b", "bytes", "bytes 0-5", "items=0-5",
                                   "bytes=0-5;6-7", "bytes=0--5", "bytes=-", "bytes=0x1-5",
                                   "bytes==0-5", "bytes=5", "bytes=+0-5", "bytes=0-5,x"])
def test_malformed_is_ignored(blob, value):
    response = ranged(blob, value)
    assert response.status == 200 and response.body == DATA, response


def test_empty_blob(blob):
    name = blob.push("b/a", b"")
    assert blob.blob("b/a", name).body == b""
    for value in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        response = blob.blob("b/a", name, headers=[("Range", value)])
        assert response.status == 416 and response.header("content-range") == "bytes */0"


def parts(response):
    """[(first, last, bytes)] of a multipart/byteranges answer."""
    boundary = re.fullmatch(r"multipart/byteranges; ?boundary=([A-Za-z0-9]+)",
                            response.header("content-type"))[1].encode()
    pieces = response.body.split(b"--" + boundary)
    assert pieces[0] in (b"", b"\r\n") and pieces[-1].startswith(b"--")
    found = []
    for piece in pieces[1:-1]:
        head, data = piece.split(b"\r\n\r\n", 1)
        assert data.endswith(b"\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n"))
        fields = {k.lower(): v for k, v in fields.items()}
        assert fields["content-type"] == "application/octet-stream"
        first, last, total = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)",
                                          fields["content-range"]).groups()
        assert int(total) == SIZE
        found.append((int(first), int(last), data[:-2]))
    return found


@pytest.mark.parametrize("asked", [
    [(0, 0), (2, 2)], [(500, 599), (100, 199)], [(0, 99), (100, 199)], [(9990, 9999), (0, 9), (5, 7)],
])
def test_several_ranges(blob, asked):
    """In the order asked for, none joined."""
    response = ranged(blob, "bytes=" + ", ".join(f"{a}-{b}" for a, b in asked))
    assert response.status == 206, response
    assert response.header("content-range") is None
    assert parts(response) == [(a, b, DATA[a:b + 1]) for a, b in asked]


def test_1024_ranges(blob):
    """What a zstd:chunked pull asks for."""
    asked = [(i * 9, i * 9 + 4) for i in range(1024)]
    response = ranged(blob, "bytes=" + ",".join(f"{a}-{b}" for a, b in asked))
    assert response.status == 206
    assert parts(response) == [(a, b, DATA[a:b + 1]) for a, b in asked]


def test_unsatisfiable_parts_are_left_out(blob):
    response = ranged(blob, "bytes=0-4,20000-20005,-5")
    assert response.status == 206
    assert [(a, b) for a, b, _ in parts(response)] == [(0, 4), (9995, 9999)]
    response = ranged(blob, "bytes=0-4,20000-20005")
    assert response.status == 206 and DATA[0:5] in response.body
    assert ranged(blob, "bytes=20000-,30000-").status == 416


def test_abusive_ranges_get_the_whole(blob):
    """More than allowed, or adding up to more than the blob."""
    for value in (",".join(f"{i}-{i}" for i in range(1025)), "0-,0-", "0-9000,500-9999",
                  ",".join(["0-9999"] * 500)):
        response = ranged(blob, "bytes=" + value)
        assert response.status == 200 and response.body == DATA


def test_if_range(blob):
    tag = f'"{digest(DATA)}"'
    assert ranged(blob, "bytes=0-4", [("If-Range", tag)]).status == 206
    for other in ('"other"', "W/" + tag, "Wed, 21 Oct 2015 07:28:00 GMT"):
        response = ranged(blob, "bytes=0-4", [("If-Range", other)])
        assert response.status == 200 and response.body == DATA, other
    assert ranged(blob, "bytes=20000-", [("If-Range", '"other"')]).status == 200


def test_head_ignores_range(blob):
    response = blob.head(blob.target, headers=[("Range", "bytes=0-4")])
    assert response.status == 200 and response.header("content-length") == str(SIZE)


@pytest.mark.parametrize("name, value, status", [
    ("If-None-Match", "TAG", 304), ("If-None-Match", "W/TAG", 304), ("If-None-Match", "*", 304),
    ("If-None-Match", '"x", TAG', 304), ("If-None-Match", '"x","y"', 200),
    ("If-None-Match", '"x"', 200), ("If-Match", "TAG", 200), ("If-Match", "*", 200),
    ("If-Match", '"x", TAG', 200), ("If-Match", '"x"', 412), ("If-Match", "W/TAG", 412),
])
def test_conditions(blob, name, value, status):
    value = value.replace("TAG", f'"{digest(DATA)}"')
    for method in ("GET", "HEAD"):
        response = blob.request(method, blob.target, headers=[(name, value)])
        assert response.status == status, response
        if status == 304:
            assert response.body == b""
            assert response.header("etag") == f'"{digest(DATA)}"'
    response = blob.get(blob.target, headers=[(name, value), ("Range", "bytes=0-4")])
    assert response.status == (206 if status == 200 else status)


def test_missing(blob):
    response = blob.blob("b/a", digest(b"missing"))
    assert response.status == 404 and response.code == "BLOB_UNKNOWN"
    assert digest(b"missing") in response.message or digest(b"missing") in str(response.json())
    assert blob.head(f"/v2/b/a/blobs/{digest(b'missing')}").status == 404
    other = digest(DATA, "sha512")  # the same bytes under a name they were not pushed with
    response = blob.blob("b/a", other)
    assert response.status == 404 or response.header("docker-content-digest") == other


def test_only_linked(blob):
    """The bytes are in the store, but this repository does not have them."""
    assert blob.blob("b/other", digest(DATA)).status == 404
    blob.push("b/other", b"something")
    response = blob.blob("b/other", digest(DATA))
    assert response.status == 404 and response.code == "BLOB_UNKNOWN"


@pytest.mark.parametrize("name", ["sha256:bad", "latest", "sha256:" + "A" * 64, "md5:" + "a" * 32])
def test_malformed_digest(blob, name):
    response = blob.blob("b/a", name)
    assert response.status in (400, 404)
    assert response.code in ("DIGEST_INVALID", "BLOB_UNKNOWN")

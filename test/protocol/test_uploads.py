"""Blob uploads: every flavour, offsets and ranges, resumption, mount, cancel, limits.
(OCI distribution specification, "Pushing Blobs")"""

import re
import threading
import time

import pytest

from lib import raw
from lib.oci import FLAVOURS, Client, digest, randbytes

UUID = re.compile(r"^/v2/up/a/blobs/uploads/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
SIZES = {"empty": 0, "one": 1, "small": 1000, "large": 5_000_003}


@pytest.fixture(scope="module")
def client(admin):
    admin.push("up/a", b"first")  # creates the project
    return admin


# ---- flavours

@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_flavours(client, flavour, size):
    data = randbytes(SIZES[size], flavour)
    response = client.push_raw("up/a", data, flavour)
    assert response.status == 201, response
    assert response.header("location") == f"/v2/up/a/blobs/{digest(data)}"
    assert response.header("docker-content-digest") == digest(data)
    assert client.get(response.header("location")).body == data
    head = client.head(response.header("location"))
    assert head.status == 200 and head.header("content-length") == str(len(data))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_sha512(client, flavour):
    """The algorithm is known only from the last request; the bytes are hashed again then."""
    data = randbytes(100_000, "512" + flavour)
    name = digest(data, "sha512")
    response = client.push_raw("up/a", data, flavour, name)
    assert response.status == 201, response
    assert response.header("docker-content-digest") == name
    response = client.blob("up/a", name)
    assert response.body == data and response.header("docker-content-digest") == name


def test_digest_algorithm_announced(client):
    data = randbytes(50_000, "announced")
    for query, name in (("?digest-algorithm=sha512", digest(data, "sha512")),
                        ("?digest-algorithm=sha512", digest(data)),
                        ("?digest-algorithm=sha256", digest(data))):
        location = client.start("up/a", query)
        location = client.patch(location, data).header("location")
        assert client.put(location, name).status == 201
    for query in ("?digest-algorithm=md5", "?digest-algorithm=", "?digest-algorithm=SHA256"):
        response = client.request("POST", "/v2/up/a/blobs/uploads/" + query)
        assert response.status == 400 and response.code == "DIGEST_INVALID", response


def test_start(client):
    response = client.request("POST", "/v2/up/a/blobs/uploads/")
    assert response.status == 202
    location = response.header("location")
    assert UUID.match(location), "a path, so that proxies cannot break it; no state in it"
    assert response.header("docker-upload-uuid") == location.rsplit("/", 1)[1]
    assert response.header("range") == "0-0"
    assert response.header("content-length") == "0"


def test_content_type_and_form_bodies_do_not_matter(client):
    data = b"digest=sha256:1&mount=2&a=b"
    for media_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                       "application/json", "text/plain"):
        response = client.request("PUT", f"{client.start('up/a')}?digest={digest(data)}", data,
                                  [("Content-Type", media_type)])
        assert response.status == 201, response


def test_digest_may_be_encoded(client):
    name = digest(b"encoded").replace(":", "%3A")
    assert client.put(client.start("up/a"), name, b"encoded").status == 201
    assert client.blob("up/a", name).body == b"encoded"


# ---- digests

BAD_DIGESTS = ["", "sha256", "sha256:", "sha256:baddigeststring", "sha256:" + "a" * 63,
               "sha256:" + "a" * 65, "sha256:" + "A" * 64, "sha256:" + "g" * 64, "md5:" + "a" * 32,
               "SHA256:" + "a" * 64, "sha512:" + "a" * 64, "sha256:" + "a" * 64 + "%20",
               "latest", ":" + "a" * 64]


@pytest.mark.parametrize("name", BAD_DIGESTS)
def test_bad_digest(client, name):
    """Refused in every flavour; the upload stays for another try."""
    for flavour in ("post", "post-put", "stream"):
        response = client.push_raw("up/a", b"data", flavour, name)
        assert response.status == 400 and response.code == "DIGEST_INVALID", (flavour, response)
    location = client.start("up/a")
    assert client.patch(location, b"data").status == 202
    assert client.put(location, name).status == 400
    assert client.put(location, digest(b"data")).status == 201


def test_missing_digest(client):
    location = client.start("up/a")
    response = client.request("PUT", location, b"data")
    assert response.status == 400 and response.code == "DIGEST_INVALID"
    assert client.put(location, digest(b"data"), b"data").status == 201


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_wrong_digest(client, flavour, algorithm):
    data = randbytes(10_000, "wrong" + flavour)
    claimed = digest(data + b"!", algorithm)
    response = client.push_raw("up/a", data, flavour, claimed)
    assert response.status == 400 and response.code == "DIGEST_INVALID", response
    assert claimed in response.message or claimed in str(response.json())
    assert client.blob("up/a", claimed).status == 404
    assert client.blob("up/a", digest(data, algorithm)).status == 404


# ---- offsets

def part(start, data):
    return [("Content-Range", f"{start}-{start + len(data) - 1}"),
            ("Content-Type", "application/octet-stream")]


def test_chunks_out_of_order(client):
    """Ahead, behind, again: 416 with the way to go on, the upload untouched, on PATCH and PUT."""
    data = randbytes(3000, "order")
    first, second, third = data[:1000], data[1000:2000], data[2000:]
    location = client.start("up/a")

    def refused(method, headers, body, size):
        target = location if method == "PATCH" else f"{location}?digest={digest(data)}"
        response = client.request(method, target, body, headers)
        assert response.status == 416, response
        assert response.code in ("RANGE_INVALID", "BLOB_UPLOAD_INVALID")
        assert response.header("range") == f"0-{max(size - 1, 0)}"
        assert response.header("location") == location
        assert client.status(location)[1] == max(size - 1, 0)

    refused("PATCH", part(1000, second), second, 0)
    refused("PUT", part(1000, second), second, 0)
    assert client.patch(location, first, 0).header("range") == "0-999"
    refused("PATCH", part(0, first), first, 1000)
    refused("PATCH", part(500, second), second, 1000)
    refused("PATCH", part(2000, third), third, 1000)
    refused("PATCH", part(999, second), second, 1000)
    refused("PATCH", part(1001, second), second, 1000)
    refused("PUT", part(0, first), first, 1000)
    assert client.patch(location, second, 1000).header("range") == "0-1999"
    refused("PUT", part(0, data), data, 2000)
    refused("PUT", part(2001, third), third, 2000)
    assert client.put(location, digest(data), third, start=2000).status == 201
    assert client.blob("up/a", digest(data)).body == data


@pytest.mark.parametrize("value, status", [
    ("5-9", 416), ("1-0", 416), ("9-5", 416), ("18446744073709551615-18446744073709551615", (400, 416)),
    ("x-9", 400), ("0", 400), ("-5", 400), ("0-", 400), ("", 400), ("0-9-9", 400), ("+0-9", 400),
    ("0 - 9", 400), ("18446744073709551616-18446744073709551617", (400, 416)), ("0-4", 400),
    ("0-99", 400),
])
def test_content_range(client, value, status):
    """Ten bytes are sent; what does not say so is refused and nothing is kept."""
    location = client.start("up/a")
    response = client.request("PATCH", location, b"0123456789", [("Content-Range", value)])
    statuses = status if isinstance(status, tuple) else (status,)
    assert response.status in statuses, response
    assert response.header("range") in ("0-0", None)
    assert client.patch(location, b"0123456789", 0).header("range") == "0-9"


def test_content_range_texts(client):
    """What is wrong with it is said, not that 0 is not 0."""
    location = client.start("up/a")
    response = client.request("PATCH", location, b"x", [("Content-Range", "0-x")])
    assert '"0-x"' in response.message
    assert client.patch(location, b"0123456789", 0).status == 202
    response = client.request("PATCH", location, b"x", [("Content-Range", "10-9")])
    assert response.status == 416 and "10-9 ends before it begins" in response.message
    assert response.header("range") == "0-9"
    response = client.request("PATCH", location, b"x", [("Content-Range", "5-5")])
    assert "starts at 10, not 5" in response.message


def test_content_range_with_unit(client):
    location = client.start("up/a")
    response = client.request("PATCH", location, b"0123456789", [("Content-Range", "bytes 0-9/20")])
    assert response.status == 202 and response.header("range") == "0-9"


def test_range_without_length(client):
    """Content-Range in chunked coding: judged when the body has arrived."""
    location = client.start("up/a")
    response = client.request("PATCH", location, [b"01234", b"56789"], [("Content-Range", "0-9")])
    assert response.status == 202 and response.header("range") == "0-9"
    response = client.request("PATCH", location, [b"01234"], [("Content-Range", "10-19")])
    assert response.status == 400 and response.code == "SIZE_INVALID"


def test_stale_location(client):
    """The URL of the POST works after later PATCHes, and with a digest behind it."""
    location = client.start("up/a")
    client.patch(location, b"01234", 0)
    client.patch(location, b"56789", 5)
    response, last = client.status(location)
    assert last == 9 and response.header("location") and response.header("docker-upload-uuid")
    response, last = client.status(location + "?digest=" + digest(b"x"))
    assert last == 9
    assert client.patch(location, b"01234", 0).status == 416


def test_streams_append(client):
    """Without Content-Range a PATCH continues where the upload ends."""
    location = client.start("up/a")
    for i, piece in enumerate((b"one ", b"two ", b"three")):
        assert client.patch(location, piece, stream=i % 2 == 0).status == 202
    assert client.put(location, digest(b"one two three")).status == 201


def test_empty_patch(client):
    location = client.start("up/a")
    for body in (b"", []):
        response = client.request("PATCH", location, body)
        assert response.status == 202 and response.header("range") == "0-0", response
    assert client.put(location, digest(b"")).status == 201


def test_patch_needs_a_length(client, server):
    """Neither length nor chunks is an empty body in HTTP/1.1; it stores nothing."""
    location = client.start("up/a")
    token = client.token(["repository:up/a:pull,push"])
    response = raw.exchange(server.address, raw.request(
        "PATCH", location, [("Authorization", "Bearer " + token)]))
    assert response.status in (202, 411)
    assert client.status(location)[1] == 0


# ---- one writer, broken writers

def test_two_writers(client, server):
    """Two PATCHes at once: one goes on, the other is refused; the bytes never interleave."""
    location = client.start("up/a")
    token = [("Authorization", "Bearer " + client.token(["repository:up/a:pull,push"]))]
    one = raw.Conn(server.address)
    one.send(raw.request("PATCH", location, token + [("Content-Length", "100000")]) + b"a" * 50_000)
    deadline = time.monotonic() + 20
    while True:  # until the server has seen the first one
        two = raw.exchange(server.address, raw.request("PATCH", location, token, b"b" * 1000))
        if two.status in (409, 416):
            break
        assert time.monotonic() < deadline, two
        assert two.status == 202
        location = client.start("up/a")
        one.close()
        one = raw.Conn(server.address)
        one.send(raw.request("PATCH", location, token + [("Content-Length", "100000")])
                 + b"a" * 50_000)
    one.send(b"a" * 50_000)
    assert one.read().status == 202
    one.close()
    assert client.put(location, digest(b"a" * 100_000)).status == 201


@pytest.mark.parametrize("end", ["fin", "reset", "half"])
def test_broken_patch_can_be_continued(client, server, end):
    """What the status reports after a broken PATCH is a prefix that is really there."""
    data = randbytes(3_000_000, end)
    location = client.start("up/a")
    token = client.token(["repository:up/a:pull,push"])
    conn = raw.Conn(server.address)
    conn.send(raw.request("PATCH", location, [("Content-Length", str(len(data))),
                                              ("Authorization", "Bearer " + token)]) + data[:2_000_000])
    if end == "half":
        conn.half_close()
        conn.rest()
    conn.reset() if end == "reset" else conn.close()
    deadline = time.monotonic() + 20
    while True:
        last = client.status(location)[1]
        at = last + 1 if last else 0
        assert at <= 2_000_000
        response = client.patch(location, data[at:], start=at)
        if response.status == 202:
            break
        assert response.status in (409, 416) and time.monotonic() < deadline, response
    assert client.put(location, digest(data)).status == 201
    assert client.blob("up/a", digest(data)).body == data


def test_same_blob_by_many_at_once(client, server):
    data = randbytes(400_000, "many at once")
    wrong = []

    def push(i):
        mine = Client(server)
        response = mine.push_raw("up/a" if i % 2 else "up/b", data, FLAVOURS[i % len(FLAVOURS)])
        if response.status != 201:
            wrong.append(response)
        mine.close()

    threads = [threading.Thread(target=push, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert client.blob("up/a", digest(data)).body == data
    assert client.blob("up/b", digest(data)).body == data


# ---- who, where, how long

def test_unknown_upload(client):
    location = client.start("up/a")
    uuid = location.rsplit("/", 1)[1]
    other = "0" * 8 + uuid[8:]
    for target in (location.replace(uuid, other), location.replace("up/a", "up/b"),
                   location.replace(uuid, "x"), location.replace(uuid, uuid.upper() + "0")):
        for method, query in (("GET", ""), ("PATCH", ""), ("PUT", "?digest=" + digest(b"never there")),
                              ("DELETE", "")):
            response = client.request(method, target + query)
            assert response.status == 404, (method, target, response)
            assert response.code == "BLOB_UPLOAD_UNKNOWN"
    assert client.status(location)


def test_cancel(client):
    location = client.start("up/a")
    client.patch(location, b"data")
    response = client.request("DELETE", location)
    assert response.status == 204, response
    assert client.get(location).status == 404
    assert client.patch(location, b"data").status == 404
    assert client.request("DELETE", location).status == 404


@pytest.mark.parametrize("end", ["cancel", "put", "wrong"])
def test_an_upload_that_never_was_patched_is_gone(client, end):
    location = client.start("up/a")
    if end == "cancel":
        assert client.request("DELETE", location).status == 204
    else:
        assert client.put(location, digest(end.encode()), b"put").status in (201, 400)
    for method, query in (("GET", ""), ("PATCH", ""), ("DELETE", ""),
                          ("PUT", "?digest=" + digest(b"never there"))):
        response = client.request(method, location + query, b"never there")
        assert response.status == 404 and response.code == "BLOB_UPLOAD_UNKNOWN", (method, response)


@pytest.mark.parametrize("patched", [False, True])
def test_an_upload_is_its_beginners(berth, patched):
    """Others who may push there do not find it."""
    server = berth({"auth.anonymous": "push"})
    owner, guest = Client(server, mode="basic"), Client(server, mode="none")
    guest.push("open/a", b"first")
    uploads = [(owner, guest, owner.start("open/a")), (guest, owner, guest.start("open/a"))]
    for mine, other, location in uploads:
        if patched:
            assert mine.patch(location, b"mine").status == 202
        for method, query in (("GET", ""), ("PATCH", ""), ("DELETE", ""),
                              ("PUT", "?digest=" + digest(b"never there"))):
            response = other.request(method, location + query, b"never there")
            assert response.status == 404 and response.code == "BLOB_UPLOAD_UNKNOWN", response
        assert mine.status(location)[1] == (3 if patched else 0)
        data = b"" if patched else b"mine"
        assert mine.put(location, digest(b"mine"), data).status == 201


@pytest.mark.parametrize("broken", [False, True])
def test_two_puts_of_a_fresh_upload(client, server, broken):
    """The second is refused while the first is under way; when that breaks off, nothing is kept."""
    data = b"p" * 100_000
    token = [("Authorization", "Bearer " + client.token(["repository:up/a:pull,push"]))]
    location = client.start("up/a")
    target = f"{location}?digest={digest(data)}"
    one = raw.Conn(server.address)
    one.send(raw.request("PUT", target, token + [("Content-Length", "100000")]) + data[:50_000])
    deadline = time.monotonic() + 5
    while client.request("DELETE", location + "?").status != 409:  # until it is under way
        assert time.monotonic() < deadline
        location = client.start("up/a")
        target = f"{location}?digest={digest(data)}"
        one.close()
        one = raw.Conn(server.address)
        one.send(raw.request("PUT", target, token + [("Content-Length", "100000")])
                 + data[:50_000])
    assert raw.exchange(server.address, raw.request("PUT", target, token, data)).status == 409
    assert client.status(location)[1] == 0
    if broken:
        one.close()
        while (response := client.request("PUT", target, data)).status == 409:
            assert time.monotonic() < deadline
        assert response.status == 201
    else:
        one.send(data[50_000:])
        assert one.read().status == 201
        one.close()
    assert client.get(location).status == 404
    assert client.blob("up/a", digest(data)).body == data


def test_cancel_needs_only_push(client, server):
    """Clients never ask for `delete` to cancel."""
    token = [("Authorization", "Bearer " + client.token(["repository:up/a:pull,push"]))]
    assert client.once("DELETE", client.start("up/a"), headers=token).status == 204


def test_finished_upload_is_gone(client):
    location = client.start("up/a")
    assert client.put(location, digest(b"done"), b"done").status == 201
    assert client.get(location).status == 404
    # A lost answer is asked for again: either the blob's or that the upload is gone.
    assert client.put(location, digest(b"done")).status in (201, 404)


def test_files_of_ended_uploads_are_gone(client, server):
    folder = server.data / "uploads"
    before = len(list(folder.iterdir()))
    for i in range(5):
        client.push("up/a", b"ended %d" % i, "patch")
        location = client.start("up/a")
        client.patch(location, b"cancelled")
        client.request("DELETE", location)
    assert len(list(folder.iterdir())) == before


@pytest.mark.parametrize("hard", [True, False], ids=["kill", "term"])
def test_resume_after_restart(berth, hard):
    """At the acknowledged offset, hash included; bytes that were not acknowledged are cut off."""
    server = berth()
    client = Client(server)
    data = randbytes(2_500_000, "resume")
    uploads = {}
    for algorithm in ("sha256", "sha512"):
        location = client.start("up/a")
        assert client.patch(location, data[:1_000_000], 0).status == 202
        assert client.patch(location, data[1_000_000:1_500_000]).header("range") == "0-1499999"
        uploads[algorithm] = location
    empty = client.start("up/a")
    token = client.token(["repository:up/a:pull,push"])
    with raw.Conn(server.address) as conn:  # in flight at the end: never acknowledged
        conn.send(raw.request("PATCH", uploads["sha512"],
                              [("Content-Length", "500000"), ("Authorization", "Bearer " + token)])
                  + b"x" * 300_000)
        client.close()
        if hard:
            server.kill()
    server.restart() if not hard else server.start()
    for algorithm, location in uploads.items():
        last = client.status(location)[1]
        assert last >= 1_499_999, "acknowledged bytes are gone"
        if algorithm == "sha512" and last > 1_499_999:
            continue  # a clean stop may keep more; they are not these bytes
        at = last + 1
        assert client.patch(location, data[:10], 0).status == 416
        assert client.patch(location, data[at:2_000_000], at).header("range") == "0-1999999"
        assert client.put(location, digest(data, algorithm), data[2_000_000:]).status == 201
        assert client.blob("up/a", digest(data, algorithm)).body == data
    if hard and client.get(empty).status == 404:
        return  # nothing was acknowledged to be in it
    assert client.status(empty)[1] == 0
    assert client.put(empty, digest(b"late"), b"late").status == 201


def test_limit_of_uploads(berth):
    server = berth({"limits.uploads": "3"})
    client = Client(server)
    locations = [client.start("up/a") for _ in range(3)]
    response = client.request("POST", "/v2/up/a/blobs/uploads/")
    assert response.status == 429 and response.code == "TOOMANYREQUESTS"
    assert int(response.header("retry-after")) > 0
    client.request("DELETE", locations[0])
    assert client.start("up/a")


def test_limit_of_a_blob(berth):
    server = berth({"limits.blob": "1MiB", "auth.anonymous": "push"})
    client = Client(server, mode="none")
    client.push("up/a", b"a" * (1 << 20))
    for flavour in ("post", "post-put", "stream", "chunks"):
        location = client.start("up/a")
        data = b"b" * ((1 << 20) + 1)
        if flavour == "chunks":
            assert client.patch(location, data[:1000], 0).status == 202
            response = client.patch(location, data[1000:], 1000)
        elif flavour == "stream":
            response = client.patch(location, data, stream=True)
        else:
            response = client.push_raw("up/a", data, flavour)
        assert response.status == 413, (flavour, response)
        assert response.code == "SIZE_INVALID"
        assert client.blob("up/a", digest(data)).status == 404


def test_what_was_refused_leaves_no_bytes(berth):
    """It might be what fills the disk, and who is refused a blob comes again with the next."""
    server = berth({"limits.blob": "1MiB", "auth.anonymous": "push"})
    client = Client(server, mode="none")
    uploads = server.data / "uploads"

    def sizes():
        return [path.stat().st_size for path in uploads.iterdir()]

    data = b"b" * ((1 << 20) + 1)
    for flavour in ("post", "post-stream"):
        where = f"/v2/up/a/blobs/uploads/?digest={digest(data)}"
        response = client.request("POST", where, [data] if flavour == "post-stream" else data)
        assert response.status == 413, (flavour, response)
        assert sizes() == []
    assert client.request("POST", f"/v2/up/a/blobs/uploads/?digest={digest(b'other')}", data[:9]).status == 400
    assert sizes() == []
    location = client.start("up/a")
    assert client.patch(location, data[:1000], 0).status == 202
    assert client.patch(location, data[1000:], stream=True).status == 413
    assert sizes() == [1000]
    assert client.put(location, digest(data), [data[1000:]]).status == 413
    assert sizes() == [1000]


# ---- mount

def test_mount(client):
    name = client.push("up/source", randbytes(1000, "mount"))
    response = client.request("POST", f"/v2/up/target/blobs/uploads/?mount={name}&from=up/source")
    assert response.status == 201, response
    assert response.header("location") == f"/v2/up/target/blobs/{name}"
    assert response.header("docker-content-digest") == name
    assert client.blob("up/target", name).body == randbytes(1000, "mount")


def test_mount_that_cannot_be_is_an_upload(client):
    """Unknown blob, unknown source, malformed names: 202 and an ordinary upload, never an error."""
    name = client.push("up/source", b"mounted")
    unlinked = client.push("up/elsewhere", b"only elsewhere")
    for query in (f"mount={digest(b'never')}&from=up/source", f"mount={name}&from=no/such",
                  f"mount={unlinked}&from=up/source", f"mount=nonsense&from=up/source",
                  f"mount={name}&from=BAD..NAME", f"mount={name}&from=", "mount=&from=up/source",
                  f"mount={digest(b'never')}"):
        response = client.request("POST", f"/v2/up/target2/blobs/uploads/?{query}")
        assert response.status == 202, (query, response)
        data = query.encode()
        assert client.put(response.header("location"), digest(data), data).status == 201


def test_mount_without_rights(berth):
    """From a repository the caller may not pull: 202, exactly as for one that does not exist."""
    server = berth()
    owner = Client(server)
    name = owner.push("secret/a", b"secret bytes")
    server.stop()
    server.settings["auth.anonymous"] = "push"
    server.start()
    guest = Client(server, mode="none")
    assert guest.blob("secret/a", name).status == 401, "the project was created private"
    for query in (f"mount={name}&from=secret/a", f"mount={name}&from=no/such", f"mount={name}"):
        response = guest.request("POST", f"/v2/open/a/blobs/uploads/?{query}")
        assert response.status == 202, (query, response)
        assert guest.blob("open/a", name).status == 404
    # The token is a ceiling here too: push on the target alone does not read the source.
    owner = Client(server)
    token = owner.token(["repository:open/a:pull,push"])
    response = owner.once("POST", f"/v2/open/a/blobs/uploads/?mount={name}&from=secret/a",
                          headers=[("Authorization", "Bearer " + token)])
    assert response.status == 202
    token = owner.token(["repository:open/a:pull,push", "repository:secret/a:pull"])
    response = owner.once("POST", f"/v2/open/a/blobs/uploads/?mount={name}&from=secret/a",
                          headers=[("Authorization", "Bearer " + token)])
    assert response.status == 201

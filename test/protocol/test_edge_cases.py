"""The twenty edge cases every registry met, and where each is tested: here, as test_edge_NN_..., or

 1  test_kill.py::test_kill_under_load
 2  test_referrers.py::test_delete_blob
 3  test_powerloss.py::test_synced_is_enough, test_powerloss.py::test_every_sync_is_needed
 4  test_manifests.py::test_concurrent_tag_moves
 5  test_uploads.py::test_same_blob_by_many_at_once
 6  test_uploads.py::test_chunks_out_of_order, test_uploads.py::test_two_writers
 7  test_uploads.py::test_broken_patch_can_be_continued, test_http.py::test_partial_body_is_not_a_blob
 8  test_program.py::test_locations_are_paths, test_program.py::test_server_url
 9  test_manifests.py::test_delete_by_digest, test_referrers.py::test_listed_with_facts
10  test_manifests.py::test_delete_by_tag, test_manifests.py::test_moved_tag
11  test_referrers.py::test_unknown_and_bad, test_referrers.py::test_subject_before_and_after
12  test_referrers.py::test_fallback_tag_is_a_tag
13  test_blobs.py::test_single_range, test_blobs.py::test_several_ranges, test_blobs.py::test_1024_ranges,
    test_blobs.py::test_unsatisfiable, test_blobs.py::test_abusive_ranges_get_the_whole
14  test_manifests.py::test_accept_is_not_negotiated
15  test_manifests.py::test_accepted (buildkit-cache), test_manifests.py::test_missing_children_are_named
16  test_auth.py::test_expired_token, test_auth.py::test_forged_tokens
17  test_hidden.py::test_hidden_is_missing, test_hidden.py::test_content_elsewhere_is_missing,
    test_blobs.py::test_only_linked, test_manifests.py::test_parts_must_be_linked_here,
    test_uploads.py::test_mount_without_rights
18  test_http.py::test_manifest_body_limit, test_http.py::test_head_at_and_over_the_limit,
    test_lists.py::test_n_above_the_cap, test_manifests.py::test_refused (too-deep, many-values),
    test_manifests.py::test_several_tags, test_uploads.py::test_limit_of_uploads
19  test_lists.py::test_pages, test_lists.py::test_last, test_lists.py::test_n_zero,
    test_lists.py::test_no_tags, test_lists.py::test_pages_while_tags_come_and_go
20  test_uploads.py::test_sha512, test_manifests.py::test_sha512, test_manifests.py::test_several_tags,
    test_referrers.py::test_key_is_the_digest_as_written

Also: secrets in the log test_auth.py::test_secrets_are_not_logged, HEAD of what is missing
test_program.py::test_a_missing_head_is_no_error, names of tags test_manifests.py::test_tag_grammar."""

import json
import re
import resource
import threading
from pathlib import Path

import pytest

from lib.oci import (CONFIG, FLAVOURS, IMAGE, INDEX, LAYER, Client, challenge, descriptor, digest, dump,
                     randbytes)

SETTINGS = {"auth.anonymous": "push"}


@pytest.fixture(scope="module")
def client(server):
    client = Client(server, mode="none")
    yield client
    client.close()


def image(*layers, config=b"{}", **more):
    return dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                 "layers": [descriptor(data, LAYER) for data in layers], **more})


def at_once(*jobs):
    """Runs the jobs on threads that start together; raises what one of them raised."""
    barrier, failed = threading.Barrier(len(jobs)), []

    def run(job):
        try:
            barrier.wait(30)
            job()
        except BaseException as error:  # asserted below, in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def blob_file(server, name):
    """The file that holds the blob of that digest."""
    import hashlib
    algorithm, want = name.split(":")
    for path in (server.data / "blobs").rglob("*"):
        if path.is_file() and hashlib.new(algorithm, path.read_bytes()).hexdigest() == want:
            return path
    raise AssertionError(f"no file has the content of {name}")


def test_every_edge_case_is_tested():
    """The table above names tests that exist, and together with this file covers all twenty."""
    covered = {int(n) for n in re.findall(r"^def test_edge_(\d+)", Path(__file__).read_text(), re.M)}
    number = 0
    for line in __doc__.splitlines():
        row = re.match(r" ?(\d+)  ", line)
        number = int(row[1]) if row else number
        for name, test in re.findall(r"(test_\w+\.py)::(test_\w+)", line):
            paths = list(Path(__file__).parents[1].glob(f"*/{name}"))
            assert paths, name
            assert f"\ndef {test}(" in paths[0].read_text(), (name, test)
            covered.add(number)
    assert covered >= set(range(1, 21))


def test_edge_01_a_blob_is_deleted_while_its_manifest_is_pushed(client, server):
    """Either the manifest is refused or the blob stays: never a manifest that cannot be pulled."""
    refused, kept = set(), set()
    for i in range(12):
        layer = b"raced layer %d" % i
        client.push("edge/race", b"{}")
        client.push("edge/race", layer)
        one, two, answers = Client(server, mode="none"), Client(server, mode="none"), {}

        def put():
            answers["put"] = one.put_manifest("edge/race", f"t{i}", image(layer))

        def delete():
            answers["delete"] = two.request("DELETE", f"/v2/edge/race/blobs/{digest(layer)}")

        at_once(*((put, delete) if i % 2 else (delete, put)))
        one.close()
        two.close()
        there = client.blob("edge/race", digest(layer)).status == 200
        if answers["put"].status == 201:
            assert there and answers["delete"].status == 405, answers
            assert client.manifest("edge/race", f"t{i}").status == 200
        else:
            assert answers["put"].code == "MANIFEST_BLOB_UNKNOWN", answers
            assert not there and answers["delete"].status == 202


def test_edge_01_a_blob_is_deleted_while_it_is_mounted(client, server):
    for i in range(12):
        data = b"mounted and deleted %d" % i
        name = client.push("edge/from", data)
        one, two, answers = Client(server, mode="none"), Client(server, mode="none"), {}

        def mount():
            answers["mount"] = one.request(
                "POST", f"/v2/edge/to/blobs/uploads/?mount={name}&from=edge/from")

        def delete():
            answers["delete"] = two.request("DELETE", f"/v2/edge/from/blobs/{name}")

        at_once(*((mount, delete) if i % 2 else (delete, mount)))
        one.close()
        two.close()
        assert answers["delete"].status == 202 and answers["mount"].status in (201, 202)
        response = client.blob("edge/to", name)
        assert (response.status == 200) == (answers["mount"].status == 201)
        assert client.blob("edge/from", name).status == 404


def test_edge_02_a_file_that_is_gone_is_pushed_again(client, server):
    """Neither HEAD nor a mount says that it is there; then the push repairs it, everywhere."""
    data = b"its file goes away"
    name = client.push("edge/lost", data)
    blob_file(server, name).unlink()
    assert client.head(f"/v2/edge/lost/blobs/{name}").status == 404
    assert client.blob("edge/lost", name).code == "BLOB_UNKNOWN"
    response = client.request("POST", f"/v2/edge/lost2/blobs/uploads/?mount={name}&from=edge/lost")
    assert response.status == 202, response
    assert client.put(response.header("location"), name, data).status == 201
    for repo in ("edge/lost", "edge/lost2"):
        assert client.blob(repo, name).body == data


def test_edge_02_a_file_that_cannot_be_opened_now_is_not_gone(berth):
    """Out of file descriptors: try again. A 404 would make clients push it again, or give up."""
    server = berth({"auth.anonymous": "push"})
    client = Client(server, mode="none")
    names = [client.push("edge/fds", b"x" * size) for size in (10, 100_000)]
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        answers = [client.request(method, f"/v2/edge/fds/blobs/{name}")
                   for name in names for method in ("GET", "HEAD")]
        mount = client.request("POST", f"/v2/edge/fds2/blobs/uploads/?mount={names[0]}&from=edge/fds")
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert {r.status for r in [*answers, mount]} <= {500, 503}, (answers, mount)
    assert all(r.header("retry-after") for r in answers if r.status == 503)
    assert [len(client.blob("edge/fds", name).body) for name in names] == [10, 100_000]
    client.close()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_edge_03_a_cut_file_is_replaced(client, server, flavour):
    data = randbytes(3000, flavour)
    name = client.push("edge/cut", data)
    path = blob_file(server, name)
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.truncate(1000)
    assert client.blob("edge/cut", name).status == 404
    assert client.push("edge/cut", data, flavour) == name
    assert client.blob("edge/cut", name).body == data


def test_edge_04_one_of_many_makes_the_tag(client, server):
    """If-None-Match: * is decided where the tag is written: one wins, the others learn it."""
    client.push("edge/cas", b"{}")
    answers = {}

    def put(i):
        mine = Client(server, mode="none")
        body = image(annotations={"writer": str(i)})
        answers[digest(body)] = mine.put_manifest("edge/cas", "once", body,
                                                  headers=[("If-None-Match", "*")]).status
        mine.close()

    at_once(*(lambda i=i: put(i) for i in range(8)))
    assert sorted(answers.values()) == [201] + [412] * 7
    winner = client.manifest("edge/cas", "once").header("docker-content-digest")
    assert answers[winner] == 201


def test_edge_04_no_move_is_lost(client, server):
    """Every move that was acknowledged is in the tag's history, and the last one is the tag."""
    client.push("edge/moves", b"{}")
    bodies = [image(annotations={"move": str(i)}) for i in range(12)]

    def put(body):
        mine = Client(server, mode="none")
        assert mine.put_manifest("edge/moves", "tag", body).status == 201
        mine.close()

    at_once(*(lambda body=body: put(body) for body in bodies))
    rows = client.get("/api/berth/v1/repositories/edge/moves/tags/tag/history").json()["history"]
    assert sorted(row["digest"] for row in rows) == sorted(map(digest, bodies))
    assert rows[0]["digest"] == client.manifest("edge/moves", "tag").header("docker-content-digest")


def test_edge_05_one_commits_while_another_cancels(client, server):
    """Two uploads of the same content: cancelling or failing the one takes nothing from the other."""
    for i in range(6):
        data = randbytes(50_000, f"two {i}")
        name = digest(data)
        one, two = client.start("edge/two"), client.start("edge/two")
        assert client.patch(one, data).status == 202
        assert client.patch(two, data).status == 202
        clients = Client(server, mode="none"), Client(server, mode="none")

        def commit():
            assert clients[0].put(one, name).status == 201

        def end():
            if i % 3 == 0:
                assert clients[1].request("DELETE", two).status == 204
            elif i % 3 == 1:
                assert clients[1].put(two, digest(b"other")).status == 400
            else:
                assert clients[1].put(two, name).status == 201

        at_once(commit, end)
        for mine in clients:
            mine.close()
        assert client.blob("edge/two", name).body == data
        for location in (one, two):
            assert client.get(location).status == 404


def test_edge_06_every_second_writer_waits(client, server):
    """While a PATCH is under way, all that would write or end the upload is refused with 409."""
    from lib import raw
    location = client.start("edge/busy")
    uuid = location.rsplit("/", 1)[1]
    with raw.Conn(server.address) as conn:
        conn.send(raw.request("PATCH", location, [("Content-Length", "10"), ("Expect", "100-continue")]))
        assert conn.read_head().status == 100, "the first one has the upload"
        for method, target, body in (("PATCH", location, b"x"), ("DELETE", location, None),
                                     ("PUT", f"{location}?digest={digest(b'x')}", b"x")):
            response = client.request(method, target, body)
            assert response.status == 409 and response.code == "BLOB_UPLOAD_INVALID", response
            assert uuid in response.message
        assert client.status(location)[1] == 0
        conn.send(b"0123456789")
        assert conn.read().status == 202
    assert client.put(location, digest(b"0123456789")).status == 201


def test_edge_06_a_final_put_may_be_repeated(client):
    """Its answer was lost: the same PUT tells that the blob is there; another digest is told the
    truth."""
    location = client.start("edge/again")
    client.patch(location, b"again")
    for _ in range(3):
        response = client.put(location, digest(b"again"))
        assert response.status == 201 and response.header("docker-content-digest") == digest(b"again")
    response = client.put(location, digest(b"never"))
    assert response.status == 404 and response.code == "BLOB_UPLOAD_UNKNOWN"


def test_edge_09_children_and_referrers_stay(client):
    """Deleting an index leaves its children, deleting a subject its referrers, and both lists and
    indexes can be read when what they name is gone."""
    body, name = client.push_image("edge/tree", seed=9)
    index = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(body, IMAGE)]})
    about = image(subject=descriptor(body, IMAGE), annotations={"about": "it"})
    client.push("edge/tree", b"{}")
    assert client.put_manifest("edge/tree", "all", index, INDEX).status == 201
    assert client.put_manifest("edge/tree", digest(about), about).status == 201

    def referrers():
        return [d["digest"] for d in client.get(f"/v2/edge/tree/referrers/{name}").json()["manifests"]]

    assert client.request("DELETE", f"/v2/edge/tree/manifests/{digest(index)}").status == 202
    assert client.manifest("edge/tree", name).body == body
    assert client.put_manifest("edge/tree", "all", index, INDEX).status == 201
    assert client.request("DELETE", f"/v2/edge/tree/manifests/{name}").status == 202
    assert client.manifest("edge/tree", "all").body == index
    assert referrers() == [digest(about)]
    assert client.put_manifest("edge/tree", name, body).status == 201
    assert referrers() == [digest(about)]
    # a referrer leaves the list with its last way to be read, not with one of its tags
    assert client.put_manifest("edge/tree", "about", about).status == 201
    assert client.request("DELETE", "/v2/edge/tree/manifests/about").status == 202
    assert referrers() == [digest(about)]
    assert client.request("DELETE", f"/v2/edge/tree/manifests/{digest(about)}").status == 202
    assert referrers() == []


def test_edge_12_cosign_tags_are_tags(client):
    body, name = client.push_image("edge/cosign", "signed")
    hexadecimal = name.replace(":", "-")
    client.push("edge/cosign", b"{}")
    for suffix in ("", ".sig", ".att", ".sbom"):
        assert client.manifest("edge/cosign", hexadecimal + suffix).code == "MANIFEST_UNKNOWN"
        other = image(annotations={"suffix": suffix})
        assert client.put_manifest("edge/cosign", hexadecimal + suffix, other).status == 201
        assert client.manifest("edge/cosign", hexadecimal + suffix).body == other
    assert client.manifest("edge/cosign", name).body == body
    assert client.get(f"/v2/edge/cosign/referrers/{name}").json()["manifests"] == []


def test_edge_14_quality_values_do_not_matter(client):
    body, name = client.push_image("edge/accept", "t")
    for accept in ("application/json;q=0.9, text/html", f"{INDEX};q=1, */*;q=0", "", "nonsense"):
        for reference in ("t", name):
            response = client.manifest("edge/accept", reference, headers=[("Accept", accept)])
            assert response.status == 200 and response.body == body
            assert response.header("content-type") == IMAGE


def test_edge_16_a_refused_token_leaves_the_upload(berth):
    """A token that runs out in a long push costs one 401 that says so; the upload goes on."""
    server = berth()
    admin = Client(server)
    location = admin.start("edge/long")
    assert admin.patch(location, b"first ").status == 202
    stale = [("Authorization", "Bearer " + admin.token([])[:-4] + "AAAA")]
    for method, target in (("PATCH", location), ("PUT", f"{location}?digest={digest(b'first last')}")):
        response = admin.once(method, target, b"last", stale)
        assert response.status == 401
        assert challenge(response)["error"] == "invalid_token"
        assert challenge(response)["scope"] == "repository:edge/long:pull,push"
    assert admin.put(location, digest(b"first last"), b"last").status == 201
    admin.close()


def nowhere(n, media_type=LAYER):
    return [{"mediaType": media_type, "digest": f"sha256:{i:064x}", "size": 1} for i in range(n)]


def test_edge_18_very_many_missing_parts(client):
    """Each is named up to a bound; what remains is only said to be."""
    client.push("edge/many", b"{}")
    value = {"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}", CONFIG)}
    response = client.put_manifest("edge/many", "t", {**value, "layers": nowhere(4000)})
    assert response.status == 400
    errors = response.errors()
    assert {code for code, _ in errors} == {"MANIFEST_BLOB_UNKNOWN"}
    assert 100 <= len(errors) <= 256 and len(response.body) < 128 * 1024
    assert errors[-1][1].endswith("and more are missing"), errors[-1]
    # the same one over and over is named once
    response = client.put_manifest("edge/many", "t", {**value, "layers": nowhere(1) * 4000})
    assert response.status == 400 and len(response.errors()) == 1


def test_edge_18_very_many_parts(client):
    """Each costs the one database writer time, present or not: their number is bounded."""
    client.push("edge/many", b"{}")
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    value = {"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}", CONFIG)}
    response = client.put_manifest("edge/many", "most", {**value, "layers": nowhere(4095, foreign)})
    assert response.status == 201, response
    response = client.put_manifest("edge/many", "more", {**value, "layers": nowhere(4096, foreign)})
    assert response.status == 413 and response.code == "MANIFEST_INVALID"
    assert "4097 parts" in response.message and "limits.manifest_references" in response.message


def test_edge_20_algorithms_are_not_aliases(client):
    """What was pushed under one digest is not there under another, and no header ever differs."""
    for ours, other in (("sha256", "sha512"), ("sha512", "sha256")):
        data = f"known as {ours}".encode()
        client.push("edge/alias", data, algorithm=ours)
        response = client.blob("edge/alias", digest(data, ours))
        assert response.header("docker-content-digest") == digest(data, ours)
        assert client.blob("edge/alias", digest(data, other)).status == 404
        client.push("edge/alias", b"{}")
        body = image(annotations={"known": ours})
        assert client.put_manifest("edge/alias", digest(body, ours) + f"?tag={ours}", body).status == 201
        assert client.manifest("edge/alias", digest(body, other)).status == 404
        assert client.request("DELETE", f"/v2/edge/alias/manifests/{digest(body, other)}").status == 404
        response = client.manifest("edge/alias", ours)
        assert response.header("docker-content-digest") == digest(body, ours)
        assert response.header("etag") == f'"{digest(body, ours)}"'


def test_edge_20_subjects_of_any_algorithm(client):
    """A subject may have a digest nobody here can compute; the list is found under it."""
    client.push("edge/blake", b"{}")
    subject = {"mediaType": IMAGE, "digest": "blake3:" + "0a" * 32, "size": 3}
    body = image(subject=subject)
    response = client.put_manifest("edge/blake", digest(body), body)
    assert response.status == 201 and response.header("oci-subject") == subject["digest"]
    response = client.get(f"/v2/edge/blake/referrers/{subject['digest']}")
    assert [d["digest"] for d in response.json()["manifests"]] == [digest(body)]
    assert client.get("/v2/edge/blake/referrers/blake3:" + "0b" * 32).json()["manifests"] == []


def test_edge_10_sparse_only_where_allowed(berth):
    """A mirror may hold an index or image in parts, where the option says so; what is missing is
    404, and everything else about the repository goes on."""
    server = berth({"auth.anonymous": "push", "manifests.sparse": "mirror/*"})
    client = Client(server, mode="none")
    child = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}", CONFIG),
                  "layers": [descriptor(b"absent layer", LAYER)]})
    index = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        descriptor(child, IMAGE), descriptor(b"absent child", IMAGE)]})
    for repo, status in (("strict/a", 400), ("mirror/a", 201)):
        client.push(repo, b"{}")
        assert client.put_manifest(repo, digest(child), child).status == status
        response = client.put_manifest(repo, "t", index, INDEX)
        assert response.status == status, response
    assert client.manifest("mirror/a", "t").body == index
    assert client.manifest("mirror/a", digest(child)).body == child
    assert client.blob("mirror/a", digest(b"absent layer")).status == 404
    assert client.manifest("mirror/a", digest(b"absent child")).status == 404
    wrong = dump({"schemaVersion": 2, "mediaType": IMAGE, "layers": [],
                  "config": {**descriptor(b"{}", CONFIG), "size": 7}})
    assert client.put_manifest("mirror/a", "wrong", wrong).code == "MANIFEST_INVALID"
    client.push("mirror/a", b"absent layer")
    response = client.request("DELETE", f"/v2/mirror/a/blobs/{digest(b'absent layer')}")
    assert response.status == 405, response
    assert client.request("DELETE", f"/v2/mirror/a/manifests/{digest(index)}").status == 202
    client.close()


def test_edge_also_tags_by_case(client):
    client.push("edge/case", b"{}")
    bodies = {tag: image(annotations={"tag": tag}) for tag in ("a", "A", "latest", "Latest")}
    for tag, body in bodies.items():
        assert client.put_manifest("edge/case", tag, body).status == 201
    for tag, body in bodies.items():
        assert client.manifest("edge/case", tag).body == body
    assert client.tags("edge/case").json()["tags"] == ["A", "Latest", "a", "latest"]

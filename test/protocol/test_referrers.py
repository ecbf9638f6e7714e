"""Referrers of a subject, and deleting blobs. (OCI distribution specification 1.1)"""

import json
import re
import urllib.parse

import pytest

from lib.oci import CONFIG, EMPTY, IMAGE, INDEX, Client, descriptor, digest, dump

LARGEST = 8 << 20
SETTINGS = {"auth.anonymous": "push", "limits.page": "10", "limits.manifest": f"{LARGEST}B"}
REPO = "ref/a"


@pytest.fixture(scope="module")
def client(server):
    client = Client(server)
    client.push(REPO, b"{}")
    client.push(REPO, b'{"config":1}')
    yield client
    client.close()


def artifact(subject, number=0, artifact_type="application/x.sbom+json", **changes):
    value = {"schemaVersion": 2, "mediaType": IMAGE, "artifactType": artifact_type,
             "config": descriptor(b"{}", EMPTY), "layers": [], "subject": subject,
             "annotations": {"number": str(number)}, **changes}
    return {k: v for k, v in value.items() if v is not None}


def put(client, body, media_type=IMAGE, repo=REPO):
    body = dump(body)
    response = client.put_manifest(repo, digest(body), body, media_type)
    assert response.status == 201, response
    return response, descriptor(body, media_type)


def referrers(client, subject, query="", repo=REPO):
    response = client.get(f"/v2/{repo}/referrers/{subject['digest']}{query}")
    assert response.status == 200, response
    assert response.header("content-type") == INDEX
    body = response.json()
    assert body["schemaVersion"] == 2 and body["mediaType"] == INDEX
    return response, body["manifests"]


def test_listed_with_facts(client):
    """Types computed as the specification says, annotations copied, nothing else added."""
    subject = descriptor(b"subject of test_listed", IMAGE)
    assert referrers(client, subject)[1] == []
    response, one = put(client, artifact(subject, 1))
    assert response.header("oci-subject") == subject["digest"]
    _, by_config = put(client, artifact(subject, 2, None, config=descriptor(
        b'{"config":1}', "application/vnd.old.config.v1+json")))
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": subject,
             "annotations": {"is": "index"}}
    response, plain_index = put(client, index, INDEX)
    assert response.header("oci-subject") == subject["digest"]
    _, typed_index = put(client, {**index, "artifactType": "application/y"}, INDEX)
    found = {d["digest"]: d for d in referrers(client, subject)[1]}
    assert found == {d["digest"]: d for d in (
        {**one, "artifactType": "application/x.sbom+json", "annotations": {"number": "1"}},
        {**by_config, "artifactType": "application/vnd.old.config.v1+json",
         "annotations": {"number": "2"}},
        {**plain_index, "annotations": {"is": "index"}},
        {**typed_index, "artifactType": "application/y", "annotations": {"is": "index"}})}
    # filtered on the computed type, and said so
    for wanted, digests in (("application/x.sbom+json", {one["digest"]}),
                            ("application/vnd.old.config.v1+json", {by_config["digest"]}),
                            ("application/none", set())):
        response, found = referrers(client, subject,
                                    "?artifactType=" + urllib.parse.quote(wanted, safe=""))
        assert {d["digest"] for d in found} == digests
        assert response.header("oci-filters-applied") == "artifactType"
    assert referrers(client, subject)[0].header("oci-filters-applied") is None
    # a deleted one is gone
    assert client.request("DELETE", f"/v2/{REPO}/manifests/{one['digest']}").status == 202
    assert one["digest"] not in {d["digest"] for d in referrers(client, subject)[1]}


def test_subject_before_and_after(client):
    """Listed whether the subject came before, after, or never; by tag or by digest."""
    body = dump({"schemaVersion": 2, "mediaType": IMAGE, "layers": [],
                 "config": descriptor(b'{"config":1}', CONFIG)})
    subject = descriptor(body, IMAGE)
    _, early = put(client, artifact(subject, 10))
    response = client.put_manifest(REPO, "subject", body)
    assert response.status == 201 and response.header("oci-subject") is None
    late = dump(artifact(subject, 11))
    client.put_manifest(REPO, "late", late)
    assert {d["digest"] for d in referrers(client, subject)[1]} == {early["digest"], digest(late)}
    assert referrers(client, subject, repo="ref/other")[1] == []


def test_key_is_the_digest_as_written(client):
    body = b"two algorithms"
    one, other = descriptor(body, IMAGE), descriptor(body, IMAGE, "sha512")
    _, a = put(client, artifact(one, 20))
    _, b = put(client, artifact(other, 20))
    assert [d["digest"] for d in referrers(client, one)[1]] == [a["digest"]]
    assert [d["digest"] for d in referrers(client, other)[1]] == [b["digest"]]


def test_unknown_and_bad(client):
    assert referrers(client, descriptor(b"never", IMAGE))[1] == []
    assert referrers(client, descriptor(b"never", IMAGE), repo="never/used")[1] == []
    for name in ("sha256:bad", "latest", "sha256:" + "A" * 64):
        response = client.get(f"/v2/{REPO}/referrers/{name}")
        assert response.status == 400 and response.code == "DIGEST_INVALID", response


def test_pages(client):
    """Long lists go on by Link, which keeps the filter."""
    subject = descriptor(b"subject of many", IMAGE)
    pushed = set()
    for i in range(25):
        pushed.add(put(client, artifact(subject, i, f"application/t{i % 2}"))[1]["digest"])
    for query, want in (("", 25), ("?artifactType=application/t0", 13)):
        target, found = f"/v2/{REPO}/referrers/{subject['digest']}{query}", []
        while target:
            response = client.get(target)
            page = response.json()["manifests"]
            assert len(page) <= 10
            found += [d["digest"] for d in page]
            link = response.header("link")
            target = link and re.fullmatch(r'<(/v2/[^>]+)>; ?rel="next"', link)[1]
        assert len(found) == len(set(found)) == want and set(found) <= pushed


def test_fallback_tag_is_a_tag(client):
    """sha256-<hex> is never read as a digest."""
    body, name = client.push_image(REPO, "t")
    tag = name.replace(":", "-")
    assert client.manifest(REPO, tag).status == 404
    index = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    assert client.put_manifest(REPO, tag, index, INDEX).status == 201
    assert client.manifest(REPO, tag).body == index
    assert client.manifest(REPO, name).body == body


def test_filters_with_a_plus(client):
    """People write + in a query as it is; media types hold it, and never the space it stands for."""
    subject = descriptor(b"subject of plus", IMAGE)
    _, one = put(client, artifact(subject, 30, "application/vnd.x+json"))
    for value in ("application/vnd.x%2Bjson", "application/vnd.x+json", "application%2Fvnd.x%2bjson"):
        response, found = referrers(client, subject, "?artifactType=" + value)
        assert [d["digest"] for d in found] == [one["digest"]], value
        assert response.header("oci-filters-applied") == "artifactType"


def test_malformed_annotations_spoil_no_list(client):
    """Readers that expect strings would refuse the whole list for one other value."""
    subject = descriptor(b"subject of malformed", IMAGE)
    values = {"number": 1, "nothing": None, "list": ["a"], "object": {"a": "b"}, "good": "kept"}
    _, some = put(client, artifact(subject, annotations=values))
    _, none = put(client, artifact(subject, annotations={"only": 5}))
    _, no_object = put(client, artifact(subject, annotations=[]))
    found = {d["digest"]: d.get("annotations") for d in referrers(client, subject)[1]}
    assert found.pop(some["digest"]) == {"good": "kept"}
    assert not any(found.values()) and set(found) == {none["digest"], no_object["digest"]}
    assert client.manifest(REPO, some["digest"]).json()["annotations"] == values


def test_one_referrer_fills_a_page(client):
    """The largest manifest there can be does not make its subject's list unreadable."""
    subject = descriptor(b"subject of large", IMAGE)
    small = {put(client, artifact(subject, i))[1]["digest"] for i in range(3)}
    value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": subject,
             "annotations": {"fill": ""}}
    value["annotations"]["fill"] = "x" * (LARGEST - len(dump(value)))
    large = put(client, value, INDEX)[1]
    assert large["size"] == LARGEST
    target, found = f"/v2/{REPO}/referrers/{subject['digest']}", {}
    while target:
        response = client.get(target)
        assert response.status == 200, response.status
        found |= {d["digest"]: d for d in response.json()["manifests"]}
        link = response.header("link")
        target = link and re.fullmatch(r'<(/v2/[^>]+)>; ?rel="next"', link)[1]
    assert set(found) == small | {large["digest"]}
    assert found[large["digest"]]["annotations"] == value["annotations"]


def test_delete_blob(client):
    """Out of this repository only; not while a manifest here needs it."""
    name = client.push("ref/del", b"to be deleted")
    client.push("ref/keep", b"to be deleted")
    response = client.request("DELETE", f"/v2/ref/del/blobs/{name}")
    assert response.status == 202, response
    assert client.blob("ref/del", name).status == 404
    assert client.head(f"/v2/ref/del/blobs/{name}").status == 404
    assert client.blob("ref/keep", name).body == b"to be deleted"
    assert client.request("DELETE", f"/v2/ref/del/blobs/{name}").status == 404
    client.push("ref/del", b"to be deleted")
    assert client.blob("ref/del", name).body == b"to be deleted"
    body, manifest = client.push_image("ref/del", "t")
    layer = json.loads(body)["layers"][0]["digest"]
    response = client.request("DELETE", f"/v2/ref/del/blobs/{layer}")
    assert response.status == 405 and response.code == "UNSUPPORTED", response
    assert response.header("allow") == "GET, HEAD", "RFC 9110 15.5.6"
    assert "delete the manifest first" in response.message
    client.request("DELETE", f"/v2/ref/del/manifests/{manifest}")
    assert client.request("DELETE", f"/v2/ref/del/blobs/{layer}").status == 202

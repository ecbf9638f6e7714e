"""What one may not see looks exactly like what does not exist: whole answers are compared."""

import base64
import json
import re
import sqlite3

import pytest

from lib.oci import (CONFIG, IMAGE, LAYER, PASSWORD, Client, basic, challenge, descriptor, digest,
                     dump)

DATA = b"hidden blob"


@pytest.fixture(scope="module")
def secret(admin):
    """private/real-repo exists; private/none-repo, absent/real-repo and so on do not."""
    body, name = admin.push_image("private/real-repo", "real")
    admin.push("private/real-repo", DATA)
    admin.push_image("library/open", "real")
    admin.upload = admin.start("private/real-repo").rsplit("/", 1)[1]
    return name


REQUESTS = [
    ("GET", "/v2/{repo}/manifests/{tag}"),
    ("HEAD", "/v2/{repo}/manifests/{tag}"),
    ("GET", "/v2/{repo}/manifests/{digest}"),
    ("HEAD", "/v2/{repo}/manifests/{digest}"),
    ("GET", "/v2/{repo}/manifests/{near}"),
    ("GET", "/v2/{repo}/blobs/{blob}"),
    ("HEAD", "/v2/{repo}/blobs/{blob}"),
    ("GET", "/v2/{repo}/tags/list"),
    ("GET", "/v2/{repo}/tags/list?n=1"),
    ("GET", "/v2/{repo}/tags/list?n=x"),
    ("POST", "/v2/{repo}/blobs/uploads/"),
    ("POST", "/v2/{repo}/blobs/uploads/?digest={blob}"),
    ("POST", "/v2/{repo}/blobs/uploads/?mount={blob}&from={repo}"),
    ("POST", "/v2/library/x/blobs/uploads/?mount={blob}&from={repo}"),
    ("GET", "/v2/{repo}/blobs/uploads/{upload}"),
    ("PATCH", "/v2/{repo}/blobs/uploads/{upload}"),
    ("PUT", "/v2/{repo}/blobs/uploads/{upload}?digest={blob}"),
    ("DELETE", "/v2/{repo}/blobs/uploads/{upload}"),
    ("PUT", "/v2/{repo}/manifests/{tag}"),
    ("DELETE", "/v2/{repo}/manifests/{tag}"),
    ("DELETE", "/v2/{repo}/manifests/{digest}"),
    ("HEAD", "/v2/{repo}/tags/list"),
    ("GET", "/v2/{repo}/referrers/{digest}"),
    ("HEAD", "/v2/{repo}/referrers/{digest}"),
    ("GET", "/v2/{repo}/referrers/{digest}?artifactType=a%2Fb"),
    ("GET", "/v2/{repo}/_oci/ext/discover"),
    ("DELETE", "/v2/{repo}/blobs/{blob}"),
    ("POST", "/v2/{repo}/blobs/uploads"),
    ("POST", "/v2/{repo}/blobs/uploads/?digest-algorithm=sha512"),
    ("HEAD", "/v2/{repo}/blobs/uploads/{upload}"),
    ("PUT", "/v2/{repo}/blobs/uploads/{upload}"),
    ("PUT", "/v2/{repo}/manifests/{digest}?tag=a&tag=b"),
]

# Every endpoint, for methods it has and has not.
ENDPOINTS = ["/v2/{repo}/manifests/{tag}", "/v2/{repo}/manifests/{digest}", "/v2/{repo}/blobs/{blob}",
             "/v2/{repo}/blobs/uploads", "/v2/{repo}/blobs/uploads/", "/v2/{repo}/tags/list",
             "/v2/{repo}/blobs/uploads/{upload}", "/v2/{repo}/referrers/{digest}",
             "/v2/{repo}/_oci/ext/discover", "/v2/{repo}", "/v2/{repo}/", "/v2/{repo}/manifests/",
             "/v2/{repo}/tags", "/api/berth/v1/repositories/{repo}/tags/{tag}"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

# Same lengths, so that Content-Length can be compared too.
REAL = {"repo": "private/real-repo", "tag": "real", "near": "reall", "blob": digest(DATA)}
GONE = [
    {"repo": "private/none-repo"},
    {"repo": "absent0/real-repo"},
    {"tag": "none", "near": "nonee", "digest": digest(b"n"), "blob": digest(b"none"),
     "upload": "00000000-0000-0000-0000-000000000000"},
]


def look(client, method, target, values, headers):
    """The whole answer with what was asked for replaced by its kind."""
    response = client.once(method, target.format(**values), headers=headers)
    kinds = [(v, "{" + k + "}") for k, v in values.items() if k != "tag"]

    def plain(text):
        for value, kind in kinds:
            text = text.replace(value, kind)
        return text

    headers = sorted((n.lower(), plain(v)) for n, v in response.headers
                     if n.lower() not in ("date", "x-request-id"))
    return response.status, headers, plain(response.body.decode())


@pytest.fixture(scope="module")
def bob(server, secret):
    """A user, with the administrator's password, who may nothing but push below his own name."""
    with sqlite3.connect(server.data / "berth.db", timeout=10) as db:
        db.execute("INSERT INTO user (name, password_hash, created_at) "
                   "SELECT 'bob', password_hash, 0 FROM user WHERE name = 'admin'")
    db.close()
    client = Client(server, user="bob")
    yield client
    client.close()


def credentials(kind, admin, bob):
    if kind == "anonymous":
        return []
    if kind == "bob-password":
        return [("Authorization", basic("bob", PASSWORD))]
    if kind == "bob-token":
        names = ("private/real-repo", "private/none-repo", "absent0/real-repo", "library/x")
        token = bob.token([f"repository:{name}:pull,push,delete" for name in names])
        return [("Authorization", "Bearer " + token)]
    scopes = {"anonymous-token": [], "token-for-another": ["repository:library/open:pull,push,delete"],
              "empty-token": []}[kind]
    token = admin.token(scopes, credentials=kind != "anonymous-token")
    return [("Authorization", "Bearer " + token)]


WHO = ["anonymous", "anonymous-token", "token-for-another", "empty-token", "bob-password", "bob-token"]


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("method, target", REQUESTS)
def test_hidden_is_missing(secret, admin, bob, nobody, method, target, who):
    real = {**REAL, "digest": secret, "upload": admin.upload}
    headers = credentials(who, admin, bob)
    seen = look(nobody, method, target, real, headers)
    assert seen[0] == (403 if who == "bob-password" else 401)
    for gone in GONE:
        if "repo" not in gone and "{" not in target.replace("{repo}", ""):
            continue
        assert look(nobody, method, target, {**real, **gone}, headers) == seen


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("target", ENDPOINTS)
def test_every_method_everywhere(secret, admin, bob, nobody, target, who):
    """Also where the answer is that there is no such method, or no such path."""
    real = {**REAL, "digest": secret, "upload": admin.upload}
    headers = credentials(who, admin, bob)
    for method in METHODS:
        seen = look(nobody, method, target, real, headers)
        assert seen[0] >= 400, (method, seen)
        for gone in GONE:
            assert look(nobody, method, target, {**real, **gone}, headers) == seen, (method, gone)


def test_content_elsewhere_is_missing(secret, bob):
    """From one's own repository, content that only others have is as absent as content nobody has."""
    bob.push("bob/own", b"{}")
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar"

    def ask(name, size):
        yield bob.blob("bob/own", name)
        yield bob.head(f"/v2/bob/own/blobs/{name}")
        yield bob.request("DELETE", f"/v2/bob/own/blobs/{name}")
        yield bob.request("PUT", bob.start("bob/own")[:-36] + "0" * 8 + "-0000-4000-8000-" + "0" * 12
                          + f"?digest={name}")
        for media_type in (LAYER, foreign):
            body = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}", CONFIG),
                         "layers": [{"mediaType": media_type, "digest": name, "size": size}]})
            yield bob.put_manifest("bob/own", "t", body)
        # now a manifest names it, without having it
        yield bob.request("DELETE", f"/v2/bob/own/blobs/{name}")
        yield bob.manifest("bob/own", name)
        yield bob.request("DELETE", f"/v2/bob/own/manifests/{name}")
        for source in ("private/real-repo", "bob/own"):
            yield bob.request("POST", f"/v2/bob/own/blobs/uploads/?mount={name}&from={source}")

    def plain(response, name):
        text = [(n.lower(), v) for n, v in response.headers if n.lower() not in ("date", "x-request-id")]
        text = json.dumps([response.status, sorted(text), response.body.decode()])
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text.replace(name, "NAME"))
        return re.sub(r"sha256:[0-9a-f]{64}", "MANIFEST", text)

    nowhere = digest(b"nobody has this")
    missing = [plain(r, nowhere) for r in ask(nowhere, len(DATA))]
    assert [plain(r, digest(DATA)) for r in ask(digest(DATA), len(DATA))] == missing
    assert [plain(r, secret) for r in ask(secret, len(DATA))] == missing


def test_a_refusal_says_who_may_not_do_what(secret, admin, bob):
    headers = [("Authorization", basic("bob", PASSWORD))]
    for method, target, words in (("GET", "manifests/real", "pull from"), ("PUT", "manifests/x", "push to"),
                                  ("DELETE", "manifests/real", "delete from")):
        response = bob.once(method, f"/v2/private/real-repo/{target}", headers=headers)
        assert response.status == 403 and response.code == "DENIED"
        assert response.message == f"user bob may not {words} private/real-repo"


def test_a_token_for_deleting_does_not_read(secret, admin):
    """A mistyped tag names near ones to who may pull, not to a token that may delete only."""
    target = "/v2/private/real-repo/manifests/reall"
    for scope, named in (("delete", False), ("pull,delete", True)):
        token = [("Authorization", "Bearer " + admin.token([f"repository:private/real-repo:{scope}"]))]
        response = admin.once("DELETE", target, headers=token)
        assert response.status == 404 and response.code == "MANIFEST_UNKNOWN"
        assert ("near" in response.message) == named, response


def test_the_table_can_fail(secret, admin, nobody):
    """Seen by who may pull, the same rows do differ."""
    token = [("Authorization", "Bearer " + admin.token(["repository:private/real-repo:pull"]))]
    real = {**REAL, "digest": secret, "upload": admin.upload}
    one = look(admin, "GET", "/v2/{repo}/manifests/{tag}", real, token)
    other = look(admin, "GET", "/v2/{repo}/manifests/{tag}", {**real, "tag": "none"}, token)
    assert one[0] == 200 and other[0] == 404


def test_missing_says_404_to_who_may_pull(secret, admin):
    assert admin.manifest("private/none-repo", "x").status == 404
    assert admin.manifest("private/real-repo", "none").status == 404
    assert admin.blob("private/real-repo", digest(b"none")).status == 404


def test_hidden_behind_the_token_endpoint(secret, admin):
    """The grants do not tell either."""
    for name in ("private/real-repo", "private/none-repo", "absent0/real-repo"):
        response = admin.token_response([f"repository:{name}:pull"], credentials=False)
        claims = response.json()["token"].split(".")[1]
        access = json.loads(base64.urlsafe_b64decode(claims + "=="))["access"]
        assert [a for a in access if a["actions"]] == []


def test_near_tags_only_for_who_may_pull(secret, nobody):
    response = nobody.once("GET", "/v2/private/real-repo/manifests/reall")
    assert response.status == 401 and b'"real"' not in response.body
    assert challenge(response)["scope"] == "repository:private/real-repo:pull"

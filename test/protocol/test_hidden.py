"""What one may not see looks exactly like what does not exist: whole answers are compared."""

import pytest

from lib.oci import Client, challenge, digest

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
]

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


def credentials(kind, admin):
    if kind == "anonymous":
        return []
    scopes = {"anonymous-token": [], "token-for-another": ["repository:library/open:pull,push,delete"],
              "empty-token": []}[kind]
    token = admin.token(scopes, credentials=kind != "anonymous-token")
    return [("Authorization", "Bearer " + token)]


@pytest.mark.parametrize("who", ["anonymous", "anonymous-token", "token-for-another", "empty-token"])
@pytest.mark.parametrize("method, target", REQUESTS)
def test_hidden_is_missing(secret, admin, nobody, method, target, who):
    real = {**REAL, "digest": secret, "upload": admin.upload}
    headers = credentials(who, admin)
    seen = look(nobody, method, target, real, headers)
    assert seen[0] == 401
    for gone in GONE:
        if "repo" not in gone and "{" not in target.replace("{repo}", ""):
            continue
        assert look(nobody, method, target, {**real, **gone}, headers) == seen


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
        import base64
        import json
        claims = response.json()["token"].split(".")[1]
        access = json.loads(base64.urlsafe_b64decode(claims + "=="))["access"]
        assert [a for a in access if a["actions"]] == []


def test_near_tags_only_for_who_may_pull(secret, nobody):
    response = nobody.once("GET", "/v2/private/real-repo/manifests/reall")
    assert response.status == 401 and b'"real"' not in response.body
    assert challenge(response)["scope"] == "repository:private/real-repo:pull"

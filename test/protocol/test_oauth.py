"""OAuth 2.0 at the token endpoint: grants, refresh tokens and their end, revocation, scopes.
(distribution "OAuth2 Token Authentication"; RFC 6749, 7009)"""

import base64
import hashlib
import json
import re
import sqlite3
import threading
import urllib.parse

import pytest
import test_hidden as hidden

from lib import raw
from lib.oci import Client, basic, challenge
from lib.server import PASSWORD

SETTINGS = {"auth.refresh_tokens": "1000", "log.level": "debug"}
TYPE = ("Content-Type", "application/x-www-form-urlencoded")
TOKEN, REVOKE = "/service/token", "/service/token/revoke"
DAY_US = 24 * 3600 * 1_000_000


def post(client, fields, path=TOKEN, headers=(TYPE,)):
    """`fields`: a dict, a list of pairs, or the body itself."""
    body = fields if isinstance(fields, bytes) else urllib.parse.urlencode(fields).encode()
    return client.once("POST", path, body, list(headers))


def by_password(client, scopes=(), **more):
    return post(client, [("grant_type", "password"), ("service", "berth"), ("client_id", "test"),
                         ("username", "admin"), ("password", PASSWORD)]
                + [("scope", s) for s in scopes] + list(more.items()))


def by_refresh(client, token, scopes=(), **more):
    return post(client, [("grant_type", "refresh_token"), ("service", "berth"),
                         ("client_id", "docker"), ("refresh_token", token)]
                + [("scope", s) for s in scopes] + list(more.items()))


def login(client):
    """What `docker login` asks; the refresh token it is given."""
    response = client.once("GET", TOKEN + "?account=admin&client_id=docker&offline_token=true"
                           "&service=berth", headers=[("Authorization", basic("admin", PASSWORD))])
    assert response.status == 200
    return response.json()["refresh_token"]


def bearer(token):
    return [("Authorization", "Bearer " + token)]


def access(token):
    """What a token says it allows: {(type, name): actions}."""
    claims = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return {(a["type"], a["name"]): set(a["actions"]) for a in claims["access"]}


def refused(response, status, error, code):
    """One JSON object for both kinds of clients."""
    assert response.status == status, response
    body = response.json()
    assert set(body) == {"errors", "error", "error_description"}
    assert body["error"] == error
    assert body["errors"][0]["code"] == code
    assert body["error_description"] == body["errors"][0]["message"]
    # RFC 6749 5.2: no quotes, no backslash, no controls
    assert re.fullmatch(r"[ !#-\[\]-~]+", body["error_description"])
    assert response.header("cache-control") == "no-store"
    if status == 401:
        assert response.header("www-authenticate").startswith("Basic ")
    else:
        assert response.header("www-authenticate") is None
    return body


@pytest.fixture(scope="module")
def image(admin):
    admin.push_image("library/open", "latest")
    return admin.push_image("private/a", "latest")


# ---- the grants

def test_password_grant(admin, image):
    response = by_password(admin, ["repository:private/a:pull,push"])
    assert response.status == 200 and response.header("content-type") == "application/json"
    assert response.header("cache-control") == "no-store"
    assert response.header("pragma") == "no-cache"
    body = response.json()
    assert set(body) == {"token", "access_token", "token_type", "scope", "expires_in", "issued_at"}
    assert body["token"] == body["access_token"]
    assert body["token_type"] == "Bearer"
    assert body["scope"] == "repository:private/a:pull,push"
    assert body["expires_in"] == 300
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", body["issued_at"])
    token = bearer(body["access_token"])
    assert admin.once("GET", "/v2/", headers=token).status == 200
    assert admin.once("GET", "/v2/private/a/manifests/latest", headers=token).body == image[0]
    assert admin.once("DELETE", "/v2/private/a/manifests/latest", headers=token).status == 401


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded; charset=utf-8",
                                  "application/x-www-form-urlencoded;charset=UTF-8",
                                  "APPLICATION/X-WWW-FORM-URLENCODED", TYPE[1] + " ; a=\"b\""])
def test_content_types(admin, kind):
    assert post(admin, {"grant_type": "password", "username": "admin", "password": PASSWORD},
                headers=[("Content-Type", kind)]).status == 200


def test_chunked_form(admin):
    body = urllib.parse.urlencode({"grant_type": "password", "username": "admin",
                                   "password": PASSWORD}).encode()
    response = admin.once("POST", TOKEN, [body[:7], body[7:]], [TYPE])
    assert response.status == 200


def test_refresh_token_is_for_who_asks(admin):
    """access_type=offline, offline_token=true; never unasked, never for nobody."""
    assert "refresh_token" not in by_password(admin).json()
    assert "refresh_token" not in by_password(admin, access_type="online").json()
    assert re.fullmatch(r"berth_rt_[A-Za-z0-9_-]{43}",
                        by_password(admin, access_type="offline").json()["refresh_token"])
    auth = [("Authorization", basic("admin", PASSWORD))]
    for query, headers in (("", auth), ("?offline_token=false", auth), ("?offline_token=true", []),
                           ("?offline_token=true", [("Authorization", "Basic Og==")]),
                           ("?access_type=offline", auth)):
        response = admin.once("GET", TOKEN + query, headers=headers)
        assert response.status == 200 and "refresh_token" not in response.json(), query
    assert len({login(admin) for _ in range(3)}) == 3


def test_refresh_grant(admin, image):
    """The same refresh token comes back; the access token is as good as by password."""
    token = login(admin)
    for _ in range(2):
        response = by_refresh(admin, token, ["repository:private/a:pull"])
        assert response.status == 200
        body = response.json()
        assert body["refresh_token"] == token
        assert body["scope"] == "repository:private/a:pull"
        got = admin.once("GET", "/v2/private/a/manifests/latest", headers=bearer(body["access_token"]))
        assert got.body == image[0]
    # another program reads it out of docker's file
    again = post(admin, {"grant_type": "refresh_token", "client_id": "containers/image",
                         "refresh_token": token})
    assert again.status == 200
    assert access(again.json()["token"]) == {}


def test_a_whole_push_with_refresh_tokens(server, admin):
    """As docker does after login: each token by POST."""
    token = login(admin)

    class Docker(Client):
        def token(self, scopes=(), **more):
            return by_refresh(self, token, [" ".join(scopes)]).json()["access_token"]

    docker = Docker(server)
    body, _ = docker.push_image("private/pushed", "v1")
    assert docker.manifest("private/pushed", "v1").body == body
    docker.close()


def test_buildkit_asks_by_get_first(admin):
    """A refresh token as the password of nobody: 401, and POST then works."""
    token = login(admin)
    for user in ("", "admin", "<token>", "00000000-0000-0000-0000-000000000000"):
        response = admin.once("GET", TOKEN + "?service=berth",
                              headers=[("Authorization", basic(user, token))])
        assert response.status == 401 and response.code == "UNAUTHORIZED"
    assert by_refresh(admin, token).status == 200


def test_refresh_token_is_nothing_else(admin, image):
    token = login(admin)
    for target in ("/v2/", "/v2/private/a/manifests/latest"):
        response = admin.once("GET", target, headers=bearer(token))
        assert response.status == 401 and challenge(response)["error"] == "invalid_token"
        assert admin.once("GET", target, headers=[("Authorization", basic("admin", token))]).status == 401
    assert admin.once("GET", TOKEN, headers=bearer(token)).status == 401
    refused(post(admin, {"grant_type": "password", "username": "admin", "password": token}), 401,
            "invalid_grant", "UNAUTHORIZED")
    # nor do access tokens refresh anything
    refused(by_refresh(admin, admin.token()), 401, "invalid_grant", "UNAUTHORIZED")
    # nor does the query of a POST count
    query = urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": token})
    refused(post(admin, b"", TOKEN + "?" + query), 400, "invalid_request", "UNSUPPORTED")


# ---- refusals

GOOD = [("grant_type", "password"), ("username", "admin"), ("password", PASSWORD)]


@pytest.mark.parametrize("fields, status, error", [
    ({"grant_type": "password", "username": "admin", "password": "wrong"}, 401, "invalid_grant"),
    ({"grant_type": "password", "username": "nobody", "password": PASSWORD}, 401, "invalid_grant"),
    ({"grant_type": "password", "username": "Admin", "password": PASSWORD}, 401, "invalid_grant"),
    ({"grant_type": "password", "username": "admin\0", "password": PASSWORD}, 401, "invalid_grant"),
    ({"grant_type": "password", "username": "admin", "password": PASSWORD + "\0"}, 401, "invalid_grant"),
    ({"grant_type": "password", "username": "admin", "password": "x" * 5000}, 401, "invalid_grant"),
    ({"grant_type": "password", "username": "x" * 5000, "password": "x"}, 401, "invalid_grant"),
    (b"grant_type=password&username=%ff%fe&password=x", 401, "invalid_grant"),
    ({"grant_type": "refresh_token", "refresh_token": "berth_rt_" + "A" * 43}, 401, "invalid_grant"),
    ({"grant_type": "refresh_token", "refresh_token": "x"}, 401, "invalid_grant"),
    ({"grant_type": "refresh_token", "refresh_token": "x" * 60_000}, 401, "invalid_grant"),
    ({"grant_type": "password", "username": "admin"}, 400, "invalid_request"),
    ({"grant_type": "password", "password": PASSWORD}, 400, "invalid_request"),
    ({"grant_type": "password", "username": "", "password": ""}, 400, "invalid_request"),
    ({"grant_type": "refresh_token"}, 400, "invalid_request"),
    ({"username": "admin", "password": PASSWORD}, 400, "invalid_request"),
    (b"", 400, "invalid_request"),
    (b"&&&==&=x", 400, "invalid_request"),
    (b"\0\xff%00", 400, "invalid_request"),
    (GOOD + [("grant_type", "refresh_token")], 400, "invalid_request"),
    (GOOD + [("username", "other")], 400, "invalid_request"),
    (GOOD + [("password", "other")], 400, "invalid_request"),
    (GOOD + [("client_id", "a"), ("client_id", "b")], 400, "invalid_request"),
    ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
    ({"grant_type": "Password", "username": "admin", "password": PASSWORD}, 400, "unsupported_grant_type"),
    ({"grant_type": "password ", "username": "admin", "password": PASSWORD}, 400, "unsupported_grant_type"),
])
def test_refusals(admin, fields, status, error):
    refused(post(admin, fields), status, error, "UNAUTHORIZED" if status == 401 else "UNSUPPORTED")


def test_who_was_wrong_is_not_told(admin):
    bodies = {post(admin, {"grant_type": "password", "username": u, "password": "wrong"}).body
              for u in ("admin", "nobody")}
    assert len(bodies) == 1


@pytest.mark.parametrize("headers", [[], [("Content-Type", "application/json")],
                                     [("Content-Type", "multipart/form-data; boundary=x")],
                                     [("Content-Type", TYPE[1] + "x")], [("Content-Type", "")]])
def test_other_bodies(admin, headers):
    refused(post(admin, GOOD, headers=headers), 400, "invalid_request", "UNSUPPORTED")


def test_scopes_do_not_refuse(admin):
    """What cannot be granted is left out; the answer says what was."""
    response = by_password(admin, ["junk", "repository:BAD:pull", "repository:private/a:fly"])
    assert response.status == 200 and response.json()["scope"] == ""
    response = admin.once("GET", TOKEN + "?scope=junk", headers=[])
    assert response.status == 200 and access(response.json()["token"]) == {}


def test_bounds(admin, alive):
    """64 KiB of form; of its scopes, 32 are granted."""
    assert post(admin, b"a=" + b"x" * 65534).status == 400
    assert post(admin, b"a=" + b"x" * 65535).status == 413
    assert post(admin, b"a=" + b"x" * 1_000_000).status == 413
    assert post(admin, b"&" * 65536).status == 400
    assert post(admin, b"scope&" * 10_000).status == 400
    assert post(admin, b"%" * 65536).status == 400
    scopes = [f"repository:many/r{i}:pull" for i in range(500)]
    for spelling in ([" ".join(scopes)], scopes):
        response = by_password(admin, spelling)
        assert response.status == 200
        assert access(response.json()["token"]) == {("repository", f"many/r{i}"): {"pull"}
                                                    for i in range(32)}
        assert response.json()["scope"].split() == scopes[:32]


@pytest.mark.parametrize("path", [TOKEN, REVOKE])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods(admin, path, method):
    response = admin.once(method, path, b"")
    assert response.status == 405 and "POST" in response.header("allow")


# ---- scopes

SPELLINGS = [
    (["repository:private/a:pull"], {"private/a": "pull"}),
    (["repository:private/a:pull,push"], {"private/a": "pull push"}),
    (["repository:private/a:push,pull"], {"private/a": "pull push"}),
    (["repository:private/a:pull,pull,,push,"], {"private/a": "pull push"}),
    (["repository:private/a:*"], {"private/a": "pull push delete"}),
    (["repository(plugin):private/a:pull"], {"private/a": "pull"}),
    (["repository:private/a:pull repository:private/b:pull,push"],
     {"private/a": "pull", "private/b": "pull push"}),
    (["repository:private/a:pull", "repository:private/b:pull,push"],
     {"private/a": "pull", "private/b": "pull push"}),
    (["repository:private/a:pull repository:private/b:pull", "repository:c/d:push"],
     {"private/a": "pull", "private/b": "pull", "c/d": "push"}),
    (["repository:private/a:pull", "repository:private/a:push"], {"private/a": "pull push"}),
    (["  repository:private/a:pull  ", "", " "], {"private/a": "pull"}),
    (["registry:catalog:*"], {"catalog": "*"}),
    (["registry:catalog:* repository:app:pull"], {"catalog": "*", "app": "pull"}),
    # split at the first and the last colon: a name with a host in front is nobody's
    (["repository:localhost:5000/private/a:pull"], {}),
    (["repository:private/a:x:pull"], {}),
    (["repository:private/a:pull:push"], {}),
    (["repository:private/a:pull repository:h:1/a:pull"], {"private/a": "pull"}),
    (["repository:private/a"], {}),
    (["repository::pull", "::", ":", "repository:a/b:"], {}),
    (["Repository:private/a:pull", "repository:Private/a:pull"], {}),
    (["repository:private/a:PULL"], {}),
    (["registry:catalog:pull", "registry:other:*", "volume:a:pull"], {}),
    (["repository:private/a\tb:pull", "repository:private/a\0:pull", 'repository:"a":pull'], {}),
]


@pytest.mark.parametrize("scopes, want", SPELLINGS)
@pytest.mark.parametrize("way", ["get", "password", "refresh"])
def test_spellings_of_scopes(admin, scopes, want, way):
    """GET, and either grant, read them alike."""
    if way == "get":
        token = admin.token(scopes)
    elif way == "password":
        token = by_password(admin, scopes).json()["access_token"]
    else:
        token = by_refresh(admin, login(admin), scopes).json()["access_token"]
    assert {name: set(actions) for (_, name), actions in access(token).items()} == \
        {name: set(actions.split()) for name, actions in want.items()}


def test_tokens_are_ceilings(admin, image):
    """However they were got."""
    token = login(admin)
    for response in (by_password(admin, ["repository:private/a:pull"]),
                     by_refresh(admin, token, ["repository:private/a:pull"])):
        headers = bearer(response.json()["access_token"])
        assert admin.once("GET", "/v2/private/a/manifests/latest", headers=headers).status == 200
        for method, target, scope in (
                ("GET", "/v2/private/b/tags/list", "repository:private/b:pull"),
                ("GET", "/v2/private/a/a/tags/list", "repository:private/a/a:pull"),
                ("POST", "/v2/private/a/blobs/uploads/", "repository:private/a:pull,push"),
                ("DELETE", "/v2/private/a/manifests/latest", "repository:private/a:delete"),
                ("GET", "/v2/_catalog", "registry:catalog:*")):
            answer = admin.once(method, target, headers=headers)
            assert answer.status == 401
            found = challenge(answer)
            assert found["error"] == "insufficient_scope" and found["scope"] == scope


def test_grants_of_hidden_and_missing_are_alike(berth):
    """A user who may not see a project learns nothing from what is granted."""
    server = berth()
    owner = Client(server)
    owner.push_image("private/real", "t")
    add_user(server, "bob")
    got = []
    for name in ("private/real", "private/none", "absent0/real"):
        response = post(owner, {"grant_type": "password", "username": "bob", "password": PASSWORD,
                                "scope": f"repository:{name}:pull,push,delete"})
        assert response.status == 200 and access(response.json()["token"]) == {}
        got.append((response.json()["scope"], len(response.body)))
    assert len(set(got)) == 1
    owner.close()


def test_hidden_is_missing_to_other_users(berth):
    """The table of test_hidden, asked by a user: by password, and by tokens for what is asked."""
    server = berth()
    owner = Client(server)
    _, secret = owner.push_image("private/real-repo", "real")
    owner.push("private/real-repo", hidden.DATA)
    upload = owner.start("private/real-repo").rsplit("/", 1)[1]
    owner.close()
    add_user(server, "bob")
    bob = Client(server, user="bob")
    assert bob.push_image("bob/a", "t")
    real = {**hidden.REAL, "digest": secret, "upload": upload}
    mount = ("POST", "/v2/bob/x/blobs/uploads/?mount={blob}&from={repo}")
    for method, target in hidden.REQUESTS + [mount]:
        for mode in ("basic", "bearer"):
            def ask(values):
                scopes = [f"repository:{values['repo']}:pull,push,delete", "repository:bob/x:pull,push"]
                headers = [("Authorization", basic("bob", PASSWORD))] if mode == "basic" \
                    else bearer(bob.token(scopes))
                status, fields, body = hidden.look(bob, method, target, values, headers)
                started = [(n, re.sub(r"[0-9a-f-]{36}", "UUID", v)) for n, v in fields]
                return status, started, body

            seen = ask(real)
            assert seen[0] == (202 if (method, target) == mount else 403 if mode == "basic" else 401)
            for gone in hidden.GONE:
                assert ask({**real, **gone}) == seen, (method, target, mode, gone)
    bob.close()


# ---- how refresh tokens end

def database(server):
    """The database of a stopped server, which then is started again."""
    class Database:
        def __enter__(self):
            server.stop()
            self.db = sqlite3.connect(server.data / "berth.db")
            self.db.execute("PRAGMA foreign_keys = ON")
            return self.db

        def __exit__(self, *error):
            self.db.commit()
            self.db.close()
            server.start()
    return Database()


def add_user(server, name):
    """With the administrator's password."""
    with database(server) as db:
        db.execute("INSERT INTO user (name, password_hash, created_at) "
                   "SELECT ?, password_hash, 0 FROM user WHERE name = 'admin'", (name,))


def test_survives_restarts(berth):
    server = berth()
    client = Client(server)
    token = login(client)
    for hard in (False, True):
        client.close()
        server.restart(hard=hard)
        response = by_refresh(client, token)
        assert response.status == 200 and response.json()["refresh_token"] == token
    client.close()
    server.kill()
    server.settings["auth.bcrypt_cost"] = "5"
    server.settings["auth.admin_password"] = "another one"  # of the first start only
    server.start()
    assert by_refresh(client, token).status == 200
    # new signing keys end access tokens, not these
    client.close()
    with database(server) as db:
        db.execute("DELETE FROM signing_key")
    assert by_refresh(client, token).status == 200
    client.close()


def test_ends_with_the_password(berth):
    server = berth()
    add_user(server, "bob")
    client = Client(server)
    token = login(client)
    other = post(client, {"grant_type": "password", "username": "bob", "password": PASSWORD,
                          "access_type": "offline"}).json()["refresh_token"]
    client.close()
    with database(server) as db:
        db.execute("UPDATE user SET epoch = epoch + 1 WHERE name = 'admin'")
    refused(by_refresh(client, token), 401, "invalid_grant", "UNAUTHORIZED")
    assert by_refresh(client, other).status == 200
    assert by_refresh(client, login(client)).status == 200
    client.close()
    with database(server) as db:
        db.execute("DELETE FROM user WHERE name = 'bob'")
    refused(by_refresh(client, other), 401, "invalid_grant", "UNAUTHORIZED")
    client.close()


def test_expires_when_unused(berth):
    server = berth({"auth.refresh_lifetime": "30d"})
    client = Client(server)
    token = login(client)

    def age(days):
        client.close()
        with database(server) as db:
            db.execute("UPDATE refresh_token SET used_at = used_at - ?", (days * DAY_US,))

    for _ in range(2):  # each use starts the time anew
        age(29)
        assert by_refresh(client, token).status == 200
    age(31)
    refused(by_refresh(client, token), 401, "invalid_grant", "UNAUTHORIZED")
    client.close()


def test_uses_are_not_written_each(admin, server):
    """At most hourly: reading must not become writing."""
    token = login(admin)
    db = sqlite3.connect(f"file:{server.data}/berth.db?mode=ro", uri=True)

    def used_at():
        return db.execute("SELECT used_at FROM refresh_token WHERE secret_hash = ?",
                          (hashlib.sha256(token.encode()).digest(),)).fetchone()

    before = used_at()
    for _ in range(20):
        assert by_refresh(admin, token).status == 200
    assert used_at() == before
    db.close()


def test_their_number_is_bounded(berth):
    server = berth({"auth.refresh_tokens": "3"})
    client = Client(server)
    tokens = [login(client) for _ in range(5)]
    assert [by_refresh(client, t).status for t in tokens] == [401, 401, 200, 200, 200]
    client.close()


def test_switched_off(berth):
    server = berth()
    client = Client(server)
    token = login(client)
    client.close()
    server.stop()
    server.settings["auth.refresh_lifetime"] = "0s"
    server.start()
    response = by_password(client, access_type="offline")
    assert response.status == 200 and "refresh_token" not in response.json()
    response = client.once("GET", TOKEN + "?offline_token=true",
                           headers=[("Authorization", basic("admin", PASSWORD))])
    assert response.status == 200 and "refresh_token" not in response.json()
    refused(by_refresh(client, token), 401, "invalid_grant", "UNAUTHORIZED")
    client.close()


def test_revocation(admin, server):
    token, other = login(admin), login(admin)
    first = len(server.lines)
    for fields in ({"token": token, "token_type_hint": "refresh_token"}, {"token": token},
                   {"token": "junk", "token_type_hint": "magic"}, {"token": "berth_rt_" + "A" * 43}):
        response = post(admin, fields, REVOKE)
        assert response.status == 200 and response.header("cache-control") == "no-store"
    refused(by_refresh(admin, token), 401, "invalid_grant", "UNAUTHORIZED")
    assert by_refresh(admin, other).status == 200
    assert server.waits(lambda: server.events("refresh_token_revoked", first))
    server.settle()
    events = server.events("refresh_token_revoked", first)
    assert len(events) == 1
    assert events[0]["principal"] == "admin" and events[0]["client_id"] == "docker"


def test_revocation_refusals(admin):
    refused(post(admin, b"", REVOKE), 400, "invalid_request", "UNSUPPORTED")
    refused(post(admin, b"token=", REVOKE), 400, "invalid_request", "UNSUPPORTED")
    refused(post(admin, b"token=a&token=b", REVOKE), 400, "invalid_request", "UNSUPPORTED")
    refused(post(admin, b"token=x", REVOKE, headers=()), 400, "invalid_request", "UNSUPPORTED")
    token = login(admin)
    refused(post(admin, b"", REVOKE + "?token=" + token), 400, "invalid_request", "UNSUPPORTED")
    assert by_refresh(admin, token).status == 200
    # an access token cannot be called back, and it is not said to be
    refused(post(admin, {"token": admin.token()}, REVOKE), 400, "unsupported_token_type", "UNSUPPORTED")


def test_many_at_once(admin, server):
    """Refreshes and logins of one user do not get in each other's way."""
    token = login(admin)
    statuses = []

    def run():
        client = Client(server)
        for _ in range(10):
            statuses.append(by_refresh(client, token).status)
            statuses.append(by_refresh(client, login(client)).status)
        client.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 80


def test_full_password_queue(berth):
    """Too many logins: the answer says when to come back, in both kinds of words."""
    server = berth({"auth.password_checks": "1", "auth.password_queue": "1", "auth.bcrypt_cost": "11",
                    "auth.password_cache": "0s"})
    body = urllib.parse.urlencode(GOOD).encode()
    conns = [raw.Conn(server.address) for _ in range(8)]
    for conn in conns:
        conn.send(raw.request("POST", TOKEN, [TYPE], body))
    answers = [conn.read() for conn in conns]
    assert {a.status for a in answers} == {200, 429}
    for answer in answers:
        if answer.status == 429:
            refused(answer, 429, "temporarily_unavailable", "TOOMANYREQUESTS")
            assert int(answer.header("retry-after")) >= 1
    for conn in conns:
        conn.close()


# ---- secrets stay secret

def test_no_secret_is_kept_or_told(berth):
    server = berth({"log.level": "debug"})
    client = Client(server)
    token = login(client)
    offline = by_password(client, access_type="offline").json()["refresh_token"]
    answers = [by_refresh(client, token), by_refresh(client, token + "x"),
               post(client, {"token": offline}, REVOKE),
               post(client, GOOD + [("password", "another secret")]),
               post(client, {"grant_type": "password", "username": "admin", "password": "secret no 3"}),
               post(client, {"grant_type": "secret no 4"})]
    jwt = answers[0].json()["access_token"]
    client.close()
    server.stop()
    log = "\n".join(server.lines)
    for secret in (token, offline, PASSWORD, "another secret", "secret no 3", "secret no 4", jwt,
                   urllib.parse.quote_plus(PASSWORD)):
        assert secret not in log
        for answer in answers[1:]:
            assert secret.encode() not in answer.body
    assert "service/token" in log  # it was looked at where it would be
    files = [p for p in server.data.rglob("*") if p.is_file()]
    assert any(p.name == "berth.db" for p in files)
    data = b"".join(p.read_bytes() for p in files)
    for secret in (token, offline):
        assert secret.encode() not in data
        assert base64.urlsafe_b64decode(secret[9:] + "=") not in data
    assert hashlib.sha256(token.encode()).digest() in data
    assert hashlib.sha256(offline.encode()).digest() not in \
        [row[0] for row in sqlite3.connect(server.data / "berth.db").execute(
            "SELECT secret_hash FROM refresh_token")]

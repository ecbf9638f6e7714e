"""Who may: challenges, tokens, anonymous modes, passwords and their queue.
(distribution token authentication; RFC 6750, 7515, 7517, 7519)"""

import base64
import json
import re
import shutil
import subprocess
import threading
import urllib.parse
from pathlib import Path

import pytest

from lib import raw
from lib.metrics import Since
from lib.oci import Client, basic, challenge, digest
from lib.server import PASSWORD, preload

AUTHORIZATION = "Authorization"


@pytest.fixture(scope="module")
def image(admin):
    body, name = admin.push_image("private/a", "latest")
    admin.push_image("library/open", "latest")
    return body, name


def bearer(token):
    return [(AUTHORIZATION, "Bearer " + token)]


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(token):
    head, claims, _ = token.split(".")
    return json.loads(unb64(head)), json.loads(unb64(claims))


# ---- challenges

def test_ping_challenge(server, nobody):
    """401 with realm and service, all quoted, no scope, one line."""
    response = nobody.once("GET", "/v2/")
    assert response.status == 401 and response.code == "UNAUTHORIZED"
    text = response.header("www-authenticate")
    assert re.fullmatch(r'Bearer realm="[^"]+",service="[^"]+"', text), text
    found = challenge(response)
    assert found["realm"] == f"http://{server.name}/service/token"
    assert "=" not in found["realm"]
    assert response.header("docker-distribution-api-version") == "registry/2.0"


@pytest.mark.parametrize("method, target, scope", [
    ("GET", "/v2/private/a/manifests/latest", "repository:private/a:pull"),
    ("HEAD", "/v2/private/a/manifests/latest", "repository:private/a:pull"),
    ("GET", "/v2/private/a/tags/list", "repository:private/a:pull"),
    ("GET", "/v2/private/a/blobs/" + digest(b""), "repository:private/a:pull"),
    ("POST", "/v2/private/a/blobs/uploads/", "repository:private/a:pull,push"),
    ("PUT", "/v2/private/a/manifests/latest", "repository:private/a:pull,push"),
    ("PATCH", "/v2/private/a/blobs/uploads/00000000-0000-0000-0000-000000000000",
     "repository:private/a:pull,push"),
    ("DELETE", "/v2/private/a/blobs/uploads/00000000-0000-0000-0000-000000000000",
     "repository:private/a:pull,push"),
    ("DELETE", "/v2/private/a/manifests/latest", "repository:private/a:delete"),
    ("GET", "/v2/_catalog", "registry:catalog:*"),
    ("POST", "/v2/app/blobs/uploads/", "repository:app:pull,push"),
    ("POST", f"/v2/x/a/blobs/uploads/?mount={digest(b'')}&from=private/a",
     "repository:x/a:pull,push repository:private/a:pull"),
])
def test_challenge_scope(image, nobody, method, target, scope):
    response = nobody.once(method, target)
    assert response.status == 401
    found = challenge(response)
    assert found["scope"].split() == scope.split()
    assert "error" not in found


def test_scope_that_lacks(image, admin):
    """A good token for something else: the challenge says so and which scope is needed."""
    for scopes in ([], ["repository:other/a:pull"], ["repository:private/a:push"]):
        response = admin.once("GET", "/v2/private/a/manifests/latest", headers=bearer(admin.token(scopes)))
        assert response.status == 401, response
        found = challenge(response)
        assert found["error"] == "insufficient_scope"
        assert found["scope"] == "repository:private/a:pull"


def test_token_is_a_ceiling(image, admin):
    """What a token does not name it does not allow, even to the administrator."""
    pull = bearer(admin.token(["repository:private/a:pull"]))
    assert admin.once("GET", "/v2/private/a/manifests/latest", headers=pull).status == 200
    for method, target in (("POST", "/v2/private/a/blobs/uploads/"), ("GET", "/v2/_catalog"),
                           ("DELETE", "/v2/private/a/manifests/latest"),
                           ("PUT", "/v2/private/a/manifests/x"),
                           ("GET", "/v2/private/b/tags/list"), ("GET", "/v2/private/a/b/tags/list")):
        assert admin.once(method, target, headers=pull).status == 401, (method, target)
    push = bearer(admin.token(["repository:private/a:pull,push"]))
    assert admin.once("POST", "/v2/private/a/blobs/uploads/", headers=push).status == 202
    assert admin.once("DELETE", "/v2/private/a/manifests/latest", headers=push).status == 401


def test_alias_in_scopes(admin):
    """A token for `app` is one for `library/app` and the other way round."""
    admin.push_image("app", "v1")
    for scope in ("repository:app:pull", "repository:library/app:pull"):
        token = bearer(admin.token([scope]))
        for name in ("app", "library/app"):
            assert admin.once("GET", f"/v2/{name}/manifests/v1", headers=token).status == 200


# ---- the token endpoint

def test_token_response(admin):
    response = admin.token_response(["repository:private/a:push,pull"])
    assert response.status == 200 and response.header("content-type") == "application/json"
    body = response.json()
    assert body["token"] == body["access_token"]
    assert body["expires_in"] == 300
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", body["issued_at"])
    assert "refresh_token" not in body, "docker would throw the password away"
    head, claims = decode(body["token"])
    assert head["typ"] == "JWT" and head["alg"] == "ES256" and head["kid"]
    assert claims["sub"] == "admin" and claims["exp"] - claims["iat"] == 300
    assert claims["nbf"] <= claims["iat"] and claims["jti"]
    assert admin.service() in (claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]])
    assert [(a["type"], a["name"], set(a["actions"])) for a in claims["access"]] == [
        ("repository", "private/a", {"pull", "push"})]


def granted(client, scopes, **more):
    claims = decode(client.token(scopes, **more))[1]
    return sorted((a["name"], ",".join(sorted(a["actions"]))) for a in claims["access"] if a["actions"])


@pytest.mark.parametrize("scopes, want", [
    ([], []),
    (["repository:private/a:pull"], [("private/a", "pull")]),
    (["repository:private/a:push,pull,push"], [("private/a", "pull,push")]),
    (["repository:private/a:pull repository:private/b:pull,push"],
     [("private/a", "pull"), ("private/b", "pull,push")]),
    (["repository:private/a:pull", "repository:private/b:pull"],
     [("private/a", "pull"), ("private/b", "pull")]),
    (["repository(plugin):private/a:pull"], [("private/a", "pull")]),
    (["repository:private/a:pull,fly"], [("private/a", "pull")]),
    (["repository:private/a:fly", "planet:mars:pull", "nonsense", "", ":", "::", "repository::pull",
      "repository:BAD:pull"], []),
    (["registry:catalog:*"], [("catalog", "*")]),
])
def test_granted_scopes(admin, scopes, want):
    """Requested and allowed; what is unknown is dropped without an error."""
    assert granted(admin, scopes) == want


def test_scope_names_are_echoed(admin):
    assert granted(admin, ["repository:app:pull"]) in ([("app", "pull")], [("library/app", "pull")])


def test_anonymous_token(image, admin):
    """Public projects can be pulled; the rest is left out, not refused."""
    assert granted(admin, ["repository:library/open:pull,push", "repository:private/a:pull",
                           "repository:none/a:pull"], credentials=False) == [("library/open", "pull")]
    response = admin.once("GET", "/service/token?" + urllib.parse.urlencode(
        {"service": admin.service(), "scope": "repository:library/open:pull"}),
        headers=[(AUTHORIZATION, "Basic Og==")])  # clients without credentials send ":"
    assert response.status == 200
    assert decode(response.json()["token"])[1]["sub"] == ""
    token = bearer(response.json()["token"])
    assert admin.once("GET", "/v2/library/open/manifests/latest", headers=token).status == 200
    assert admin.once("GET", "/v2/", headers=token).status == 200


def test_token_needs_the_right_password(admin):
    for user, password in (("admin", "wrong"), ("admin", ""), ("nobody", PASSWORD), ("", "x"),
                           ("Admin", PASSWORD), ("admin", PASSWORD + "\0"), ("admin", "x" * 5000),
                           ("ad\0min", PASSWORD), ("admin", PASSWORD[:-1])):
        response = admin.once("GET", "/service/token?service=" + urllib.parse.quote(admin.service()),
                              headers=[(AUTHORIZATION, basic(user, password))])
        assert response.status == 401, (user, response)
        assert response.code == "UNAUTHORIZED"
        assert "password" in response.message
    # which of the two was wrong is not told
    texts = {admin.once("GET", "/service/token", headers=[(AUTHORIZATION, basic(u, "wrong"))]).body
             for u in ("admin", "nobody")}
    assert len(texts) == 1


@pytest.mark.parametrize("value", ["Basic", "Basic ", "Basic !!!", "Basic " + b64(b"nocolon"),
                                   "Basic " + "A" * 9000, "Bearer", "Bearer ", "Bearer x",
                                   "Bearer a.b.c", "Digest x", "", "basic", "Bearer a b"])
def test_malformed_authorization(admin, value):
    for target in ("/v2/", "/v2/private/a/tags/list", "/service/token"):
        response = admin.once("GET", target, headers=[(AUTHORIZATION, value)])
        assert response.status == 401 or (value == "" and response.status in (200, 401)), response


def test_basic_everywhere(image, server):
    client = Client(server, mode="basic")
    assert client.get("/v2/").status == 200
    assert client.manifest("private/a", "latest").body == image[0]
    assert client.get("/v2/_catalog").status == 200
    client.push("private/b", b"by basic")
    wrong = Client(server, password="wrong", mode="basic")
    for target in ("/v2/", "/v2/private/a/manifests/latest", "/v2/library/open/manifests/latest"):
        response = wrong.get(target)
        assert response.status == 401 and "password" in response.message


def oauth(client, *fields):
    body = urllib.parse.urlencode([("service", client.service()), ("client_id", "test"), *fields])
    return client.once("POST", "/service/token", body.encode(), [
        ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")])


def test_oauth_password_and_refresh(image, admin):
    """containerd and docker: password once, then the refresh token; scopes in one field or many."""
    login = (("grant_type", "password"), ("username", "admin"), ("password", PASSWORD))
    scopes = ("repository:private/a:pull", "repository:private/b:pull,push")
    for fields in ((("scope", " ".join(scopes)),), tuple(("scope", s) for s in scopes)):
        response = oauth(admin, *login, *fields)
        assert response.status == 200, response
        body = response.json()
        assert body["expires_in"] == 300 and "refresh_token" not in body
        assert set(body["scope"].split()) == set(scopes)
        token = bearer(body["access_token"])
        assert admin.once("GET", "/v2/private/a/manifests/latest", headers=token).status == 200
    refresh = oauth(admin, *login, ("access_type", "offline")).json()["refresh_token"]
    response = oauth(admin, ("grant_type", "refresh_token"), ("refresh_token", refresh),
                     ("scope", scopes[0]))
    assert response.status == 200 and response.json()["refresh_token"] == refresh
    token = bearer(response.json()["access_token"])
    assert admin.once("GET", "/v2/private/a/manifests/latest", headers=token).status == 200
    # a refresh token opens nothing by itself
    assert admin.once("GET", "/v2/", headers=bearer(refresh)).status == 401


@pytest.mark.parametrize("fields", [
    (("grant_type", "password"), ("username", "admin"), ("password", "wrong")),
    (("grant_type", "refresh_token"), ("refresh_token", "nonsense")),
])
def test_oauth_refused(admin, fields):
    response = oauth(admin, *fields)
    assert response.status in (400, 401), response


def test_token_in_queries_is_no_credential(image, nobody):
    assert nobody.once("GET", "/v2/private/a/tags/list?token=x&password=" + urllib.parse.quote(PASSWORD)).status == 401


def test_get_token_with_a_body(admin):
    """Some clients send a form with GET; it is read and ignored."""
    response = admin.once("GET", "/service/token?scope=repository:library/open:pull",
                          b"service=x&username=a&password=b",
                          [("Content-Type", "application/x-www-form-urlencoded")])
    assert response.status == 200 and response.json()["token"]


# ---- tokens: forged, expired, of somebody else

def test_jwks(admin):
    response = admin.once("GET", "/service/jwks")
    assert response.status == 200
    keys = response.json()["keys"]
    head, _ = decode(admin.token())
    key = next(k for k in keys if k["kid"] == head["kid"])
    assert key["kty"] == "EC" and key["crv"] == "P-256" and "d" not in key
    assert len(unb64(key["x"])) == 32 and len(unb64(key["y"])) == 32


def openssl(*args, data=b""):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_signature_verifies_with_the_published_key(admin, tmp_path):
    """An independent implementation, from jwks alone, accepts the token."""
    token = admin.token(["repository:private/a:pull"])
    key = admin.once("GET", "/service/jwks").json()["keys"][0]
    point = b"\4" + unb64(key["x"]) + unb64(key["y"])
    spki = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + point
    (tmp_path / "key.der").write_bytes(spki)
    signed, signature = token.rsplit(".", 1)
    raw_signature = unb64(signature)
    assert len(raw_signature) == 64

    def der_int(b):
        b = b.lstrip(b"\0") or b"\0"
        b = b"\0" + b if b[0] & 0x80 else b
        return b"\2" + bytes([len(b)]) + b

    body = der_int(raw_signature[:32]) + der_int(raw_signature[32:])
    (tmp_path / "sig").write_bytes(b"\x30" + bytes([len(body)]) + body)
    out = openssl("dgst", "-sha256", "-verify", str(tmp_path / "key.der"), "-keyform", "DER",
                  "-signature", str(tmp_path / "sig"), data=signed.encode())
    assert b"Verified OK" in out


def forged(token, tmp_path, key):
    """name -> token that must be refused."""
    head, claims, signature = token.split(".")
    h, c = decode(token)

    def pack(value):
        return b64(json.dumps(value).encode())

    import hashlib
    import hmac

    def hs256(header, secret):
        text = pack(header) + "." + claims
        return text + "." + b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())

    flipped = bytearray(unb64(signature))
    flipped[10] ^= 1
    point = unb64(key["x"]) + unb64(key["y"])
    yield "flipped", f"{head}.{claims}.{b64(bytes(flipped))}"
    yield "none", f'{pack({"typ": "JWT", "alg": "none"})}.{claims}.'
    yield "none-kid", f'{pack({**h, "alg": "none"})}.{claims}.'
    yield "None", f'{pack({**h, "alg": "None"})}.{claims}.{signature}'
    yield "no-signature", f"{head}.{claims}."
    yield "two-parts", f"{head}.{claims}"
    yield "four-parts", f"{token}.{signature}"
    yield "zero-signature", f"{head}.{claims}.{b64(bytes(64))}"
    yield "short-signature", f"{head}.{claims}.{b64(unb64(signature)[:32])}"
    yield "hmac-with-the-public-key", hs256({**h, "alg": "HS256"}, point)
    yield "other-claims", f'{head}.{pack({**c, "sub": "root"})}.{signature}'
    yield "more-access", f'{head}.{pack({**c, "access": [{"type": "repository", "name": "private/a", "actions": ["*"]}]})}.{signature}'
    yield "later", f'{head}.{pack({**c, "exp": c["exp"] + 9999})}.{signature}'
    yield "padded", f"{head}.{claims}.{signature}=="
    yield "unknown-kid", f'{pack({**h, "kid": "other"})}.{claims}.{signature}'
    yield "huge", head + "." + "A" * 40_000 + "." + signature
    if shutil.which("openssl"):
        path = tmp_path / "own.pem"
        path.write_bytes(openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout"))
        public = openssl("ec", "-in", str(path), "-pubout", "-outform", "DER")[-64:]
        jwk = {"kty": "EC", "crv": "P-256", "x": b64(public[:32]), "y": b64(public[32:])}
        for name, header in (("own-key-same-kid", h), ("own-key-embedded", {**h, "jwk": jwk}),
                             ("own-key-no-kid", {"typ": "JWT", "alg": "ES256", "jwk": jwk})):
            text = pack(header) + "." + claims
            der = openssl("dgst", "-sha256", "-sign", str(path), data=text.encode())
            r_len = der[3]
            r, s = der[4:4 + r_len], der[6 + r_len:]
            raw_signature = r[-32:].rjust(32, b"\0") + s[-32:].rjust(32, b"\0")
            yield name, text + "." + b64(raw_signature)


def test_forged_tokens(admin, image, tmp_path):
    token = admin.token(["repository:private/a:pull"])
    target = "/v2/private/a/manifests/latest"
    assert admin.once("GET", target, headers=bearer(token)).status == 200
    key = admin.once("GET", "/service/jwks").json()["keys"][0]
    for name, bad in forged(token, tmp_path, key):
        response = admin.once("GET", target, headers=bearer(bad))
        assert response.status == 401, name
        assert challenge(response)["error"] == "invalid_token", name
        assert admin.once("GET", "/v2/", headers=bearer(bad)).status == 401, name
        # nor does it fall back to what anonymous may
        assert admin.once("GET", "/v2/library/open/manifests/latest", headers=bearer(bad)).status == 401
    assert admin.once("GET", target, headers=bearer(token)).status == 200


def test_token_of_another_registry(admin, berths):
    other = Client(berths())
    token = other.token(["repository:private/a:pull"])
    assert admin.once("GET", "/v2/private/a/tags/list", headers=bearer(token)).status == 401


def test_tokens_survive_a_restart(berth):
    server = berth()
    client = Client(server)
    client.push_image("p/a", "t")
    token = client.token(["repository:p/a:pull"])
    keys = client.once("GET", "/service/jwks").json()
    client.close()
    server.restart(hard=True)
    service = client.service()
    assert client.once("GET", "/service/jwks").json() == keys
    if service == challenge(client.once("GET", "/v2/"))["service"]:
        assert client.once("GET", "/v2/p/a/tags/list", headers=bearer(token)).status == 200


def test_expired_token(berth, tmp_path):
    """The clock is moved, not waited for: a token holds through its lifetime and, with a little
    leeway for clocks that differ, no longer."""
    server = berth({"auth.token_lifetime": "1m"})
    client = Client(server)
    client.push_image("p/a", "t")
    token = client.token(["repository:p/a:pull"])
    client.close()
    library = preload(Path(__file__).with_name("clock.c"), tmp_path)
    for ahead, status in ((30, 200), (600, 401), (-600, 401)):
        server.stop()
        server.env = {"LD_PRELOAD": library, "BERTH_CLOCK_AHEAD": str(ahead)}
        server.start()
        response = client.once("GET", "/v2/p/a/tags/list", headers=bearer(token))
        assert response.status == status, (ahead, response)
        if status == 401:
            assert challenge(response)["error"] == "invalid_token"
        client.close()


# ---- anonymous modes

# what each mode answers: ping, pull public, pull private, push
MODES = {"none": (401, 401, 401, 401), "pull": (401, 200, 401, 401), "push": (200, 200, 401, 202)}


@pytest.mark.parametrize("mode", MODES)
def test_anonymous_modes(berth, mode):
    server = berth()
    owner = Client(server)
    owner.push_image("private/a", "t")
    owner.close()
    server.stop()
    server.settings["auth.anonymous"] = mode
    server.start()
    owner.push_image("fresh/a", "t")  # public where the mode says so
    guest = Client(server, mode="none")
    ping, public, private, push = MODES[mode]
    assert guest.get("/v2/").status == ping
    assert guest.manifest("private/a", "t").status == private

    def with_token(method, target, scope):
        if ping == 200:
            return guest.once(method, target)
        return guest.once(method, target, headers=bearer(guest.token([scope], credentials=False)))

    assert with_token("GET", "/v2/fresh/a/manifests/t", "repository:fresh/a:pull").status == public
    assert with_token("POST", "/v2/fresh/a/blobs/uploads/", "repository:fresh/a:pull,push").status == push
    assert with_token("POST", "/v2/new/a/blobs/uploads/", "repository:new/a:pull,push").status == push
    # credentials that are sent are verified, whatever the mode
    assert guest.once("GET", "/v2/", headers=[(AUTHORIZATION, basic("admin", "wrong"))]).status == 401
    assert guest.once("GET", "/v2/", headers=[(AUTHORIZATION, basic("admin", PASSWORD))]).status == 200


def test_anonymous_pull_without_token(berth):
    """In mode pull a plain GET works too, without the token dance."""
    server = berth({"auth.anonymous": "pull"})
    owner = Client(server)
    body, _ = owner.push_image("open/a", "t")
    assert Client(server, mode="none").manifest("open/a", "t").body == body


def test_create_on_push(berth):
    server = berth({"projects.create_on_push": "false"})
    client = Client(server)
    response = client.request("POST", "/v2/new/a/blobs/uploads/")
    assert response.status in (403, 404), response
    assert "new" in response.message
    client.push("library/a", b"exists")


# ---- passwords

def test_wrong_then_right(admin):
    wrong = [(AUTHORIZATION, basic("admin", "wrong"))]
    right = [(AUTHORIZATION, basic("admin", PASSWORD))]
    for _ in range(3):
        assert admin.once("GET", "/v2/", headers=wrong).status == 401
        assert admin.once("GET", "/v2/", headers=right).status == 200


def test_full_password_queue(berth):
    """More logins than may wait are told to come back; requests without passwords go on; those that
    waited are answered."""
    server = berth({"auth.password_checks": "1", "auth.password_queue": "2", "auth.bcrypt_cost": "11",
                    "auth.password_cache": "0s", "auth.anonymous": "pull", "threads.workers": "16"})
    client = Client(server)
    client.push_image("open/a", "t")
    token = bearer(client.token(["repository:open/a:pull"]))
    header = [(AUTHORIZATION, basic("admin", PASSWORD))]
    conns = [raw.Conn(server.address) for _ in range(12)]
    for conn in conns:
        conn.send(raw.request("GET", "/v2/", header))
    assert client.once("GET", "/v2/open/a/manifests/t", headers=token).status == 200
    assert Client(server, mode="none").once("GET", "/healthz").status == 200
    answers = [conn.read() for conn in conns]
    statuses = [a.status for a in answers]
    assert set(statuses) == {200, 429}, statuses
    assert statuses.count(200) >= 3
    for answer in answers:
        if answer.status == 429:
            assert answer.code == "TOOMANYREQUESTS"
            assert int(answer.header("retry-after")) >= 1
            assert "login" in answer.message or "password" in answer.message
    for conn in conns:
        conn.close()


def test_password_cache(berth):
    """A password that was right is not computed again: a thousand requests cost no thousand checks."""
    server = berth({"metrics.listen": "127.0.0.1:0"})
    client, since = Client(server, mode="basic"), Since(server)
    for _ in range(200):
        assert client.get("/v2/").status == 200
    checks = "berth_auth_password_checks_total"
    assert since.now().change(checks, result="right") == 1
    assert since.change(checks, result="remembered") >= 199
    client.close()


def test_parallel_logins(admin, server):
    wrong = []

    def login():
        client = Client(server)
        for _ in range(5):
            if client.token_response(["repository:private/a:pull"]).status != 200:
                wrong.append(1)
        client.close()

    threads = [threading.Thread(target=login) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_secrets_are_not_logged(server, admin):
    admin.once("GET", "/v2/", headers=[(AUTHORIZATION, basic("admin", "hunter-secret"))])
    token = admin.token()
    admin.once("GET", "/v2/?password=hunter-query", headers=bearer(token))
    server.settle()
    text = "\n".join(server.lines)
    for secret in (PASSWORD, "hunter-secret", "hunter-query", token, token.split(".")[2],
                   basic("admin", PASSWORD).split()[1]):
        assert secret not in text

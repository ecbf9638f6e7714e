"""Tokens that are almost right: signed with the server's own key, taken out of its database, but
for another time, audience or issuer, or in another form; and signatures that are bent."""

import base64
import json
import os
import sqlite3
import subprocess
import time

import pytest

from lib import abuse
from lib.oci import Client, challenge

TARGET = "/v2/private/a/manifests/latest"


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pack(value):
    return b64(value if isinstance(value, bytes) else json.dumps(value).encode())


class Signer:
    """The server's newest key."""

    def __init__(self, server, folder):
        db = sqlite3.connect(server.data / "berth.db")
        self.kid, pem = db.execute("SELECT kid, pem FROM signing_key ORDER BY created_at DESC, kid "
                                   "LIMIT 1").fetchone()
        db.close()
        self.path = folder / "key.pem"
        self.path.write_text(pem)

    def der(self, text):
        done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.path],
                              input=text.encode(), capture_output=True, check=True)
        return done.stdout

    def signature(self, text):
        der = self.der(text)
        r_length = der[3]
        r, s = der[4:4 + r_length], der[6 + r_length:]
        return r[-32:].rjust(32, b"\0") + s[-32:].rjust(32, b"\0")

    def token(self, header, claims):
        text = f"{pack(header)}.{pack(claims)}"
        return f"{text}.{b64(self.signature(text))}"


class Sample:
    def __init__(self, server, admin, folder):
        admin.push_image("private/a", "latest")
        self.good = admin.token(["repository:private/a:pull"])
        self.head, self.claims = (json.loads(unb64(p)) for p in self.good.split(".")[:2])
        self.signer = Signer(server, folder)


@pytest.fixture(scope="module")
def sample(server, admin, tmp_path_factory):
    return Sample(server, admin, tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module", autouse=True)
def judged(server, sample):
    client = Client(server, mode="none")
    client.once("GET", TARGET, headers=[("Authorization", "Bearer " + sample.good)])
    client.close()
    before = abuse.Before(server)
    yield
    abuse.judge(server, before)


def status(client, token):
    response = client.once("GET", TARGET, headers=[("Authorization", "Bearer " + token)])
    if response.status == 401:
        assert challenge(response)["error"] == "invalid_token"
        assert b"private" not in response.body.replace(b"private/a", b"")
    return response.status


def test_the_signer_is_good(sample, nobody, alive):
    """Otherwise nothing below proves anything."""
    assert sample.signer.kid == sample.head["kid"]
    assert status(nobody, sample.signer.token(sample.head, sample.claims)) == 200
    later = {**sample.claims, "exp": sample.claims["exp"] + 60, "jti": "x", "more": [1]}
    assert status(nobody, sample.signer.token(sample.head, later)) == 200


GONE = object()
NOW = int(time.time())
CLAIMS = {
    "expired": {"exp": NOW - 3600}, "expired-long-ago": {"exp": 0}, "expires-negative": {"exp": -1},
    "expires-lowest": {"exp": -(1 << 63)}, "expires-text": {"exp": str(NOW + 60)},
    "expires-float": {"exp": NOW + 60.5}, "expires-exponent": {"exp": 1e300},
    "expires-beyond": {"exp": 1 << 64}, "expires-null": {"exp": None}, "expires-true": {"exp": True},
    "expires-list": {"exp": [NOW + 60]}, "no-exp": {"exp": GONE},
    "not-yet": {"nbf": NOW + 3600}, "not-ever": {"nbf": (1 << 63) - 1}, "nbf-text": {"nbf": "0"},
    "no-nbf": {"nbf": GONE}, "no-iat": {"iat": GONE}, "iat-text": {"iat": "x"},
    "other-audience": {"aud": "other"}, "audience-prefix": {"aud": "bert"},
    "audience-longer": {"aud": "berth.example"}, "audience-case": {"aud": "BERTH"},
    "audience-nul": {"aud": "berth\0x"}, "audience-empty": {"aud": ""}, "audience-none": {"aud": []},
    "audience-others": {"aud": ["a", "b"]}, "audience-object": {"aud": {"berth": 1}},
    "audience-nested": {"aud": [["berth"]]}, "no-aud": {"aud": GONE},
    "other-issuer": {"iss": "other"}, "issuer-url": {"iss": "http://localhost/service/token"},
    "issuer-list": {"iss": ["berth"]}, "no-iss": {"iss": GONE},
    "other-user": {"uid": 999}, "user-negative": {"uid": -1}, "user-text": {"uid": "1"},
    "no-uid": {"uid": GONE}, "other-name": {"sub": "root"}, "no-sub": {"sub": GONE},
    "other-epoch": {"epoch": 77}, "no-epoch": {"epoch": GONE},
    "no-access": {"access": GONE}, "access-object": {"access": {}},
    "access-text": {"access": "repository:private/a:*"}, "access-numbers": {"access": [1, 2]},
    "access-many": {"access": [{"type": "repository", "name": "private/a", "actions": ["pull"]}] * 99},
    "access-no-name": {"access": [{"type": "repository", "actions": ["pull"]}]},
}

@pytest.mark.parametrize("case", CLAIMS)
def test_claims(sample, nobody, alive, case):
    claims = {k: v for k, v in {**sample.claims, **CLAIMS[case]}.items() if v is not GONE}
    assert status(nobody, sample.signer.token(sample.head, claims)) == 401


def test_access_is_what_it_says(sample, nobody, alive):
    """An access list that grants nothing here is a good token for nothing."""
    for access in ([], [{"type": "repository", "name": "private/b", "actions": ["pull"]}],
                   [{"type": "registry", "name": "private/a", "actions": ["pull"]}],
                   [{"type": "repository", "name": "private/a", "actions": []}],
                   [{"type": "repository", "name": "private/a", "actions": ["PULL", "pull\0", "*x"]}],
                   [{"type": "repository", "name": "private/A", "actions": ["pull"]}],
                   [{"type": "repository", "name": "private", "actions": ["*"]}],
                   [{"type": "repository", "name": "private/*", "actions": ["pull"]}],
                   [{"type": "repository", "name": "private/a/../a", "actions": ["pull"]}]):
        token = sample.signer.token(sample.head, {**sample.claims, "access": access})
        response = nobody.once("GET", TARGET, headers=[("Authorization", "Bearer " + token)])
        assert response.status == 401, (access, response)


HEADERS = {
    "none": {"alg": "none"}, "None": {"alg": "nOnE"}, "empty": {"alg": ""}, "no-alg": {"alg": GONE},
    "hs256": {"alg": "HS256"}, "rs256": {"alg": "RS256"}, "es384": {"alg": "ES384"},
    "es256k": {"alg": "ES256K"}, "lower": {"alg": "es256"}, "alg-list": {"alg": ["ES256"]},
    "alg-null": {"alg": None}, "alg-nul": {"alg": "ES256\0"}, "eddsa": {"alg": "EdDSA"},
    "kid-other": {"kid": "other"}, "kid-path": {"kid": "../../../../dev/null"},
    "kid-file": {"kid": "/dev/null"}, "kid-url": {"kid": "http://127.0.0.1:1/jwks"},
    "kid-sql": {"kid": "' OR 1=1 --"}, "kid-number": {"kid": 1}, "kid-null": {"kid": None},
    "kid-long": {"kid": "a" * 4000}, "kid-empty": {"kid": ""}, "no-kid": {"kid": GONE},
    "crit": {"crit": ["exp"]}, "crit-unknown": {"crit": ["x"], "x": 1}, "unencoded": {"b64": False, "crit": ["b64"]},
    "zip": {"zip": "DEF", "crit": ["zip"]},
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers(sample, nobody, alive, case):
    """Whatever the head says, though the signature is good."""
    head = {k: v for k, v in {**sample.head, **HEADERS[case]}.items() if v is not GONE}
    assert status(nobody, sample.signer.token(head, sample.claims)) == 401


def test_keys_that_come_along_are_not_used(sample, nobody, alive, tmp_path):
    own = tmp_path / "own.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", own],
                   check=True)
    public = subprocess.run(["openssl", "ec", "-in", own, "-pubout", "-outform", "DER"],
                            capture_output=True, check=True).stdout[-64:]
    jwk = {"kty": "EC", "crv": "P-256", "x": b64(public[:32]), "y": b64(public[32:])}
    signer = Signer.__new__(Signer)
    signer.path = own
    for more in ({}, {"jwk": jwk}, {"jwk": jwk, "kid": GONE}, {"jku": "http://127.0.0.1:1/jwks"},
                 {"x5u": "http://127.0.0.1:1/x"}, {"x5c": ["AAAA"]}, {"jwk": {**jwk, "kid": sample.head["kid"]}}):
        head = {k: v for k, v in {**sample.head, **more}.items() if v is not GONE}
        assert status(nobody, signer.token(head, sample.claims)) == 401, more
    # With a good signature they are not looked at.
    assert status(nobody, sample.signer.token({**sample.head, "jwk": jwk}, sample.claims)) in (200, 401)


def test_bent_signatures(sample, nobody, alive):
    text, encoded = sample.good.rsplit(".", 1)
    signature = unb64(encoded)
    n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
    half = [int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")]

    def pair(r, s):
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    bent = [signature[:i] for i in range(64)]
    bent += [signature + b"\0", b"\0" + signature, signature * 2, sample.signer.der(text),
             signature[32:] + signature[:32], bytes(64), b"\xff" * 64, pair(0, half[1]),
             pair(half[0], 0), pair(n, half[1]), pair(half[0], n), pair(1, 1), os.urandom(64),
             # the sum with the order fits where the number is small, and is the same modulo n
             *(pair(*(h + n if i == j else h for i, h in enumerate(half))) for j in (0, 1)
               if half[j] + n < 1 << 256)]
    bent += [bytes(b ^ (i == at) for i, b in enumerate(signature)) for at in range(0, 64, 7)]
    for wrong in bent:
        assert status(nobody, f"{text}.{b64(wrong)}") == 401, wrong.hex()
    for spelled in (encoded + "=", encoded + "==", encoded + "A", encoded[:-1], " " + encoded,
                    encoded.replace("-", "+").replace("_", "/") + "+", encoded[:10] + "\t" + encoded[10:],
                    encoded[:10] + "." + encoded[10:], encoded[:10] + "%41" + encoded[11:], ""):
        if spelled != encoded and spelled.strip() != encoded:
            assert status(nobody, f"{text}.{spelled}") == 401, spelled
    assert status(nobody, sample.good) == 200


def test_parts_are_spelled_in_one_way(sample, nobody, alive):
    """The bits that base64url leaves over at the end are zero, or one token would have many names."""
    head, claims, signature = sample.good.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(signature[-1])
    assert len(signature) % 4 == 2 and last % 16 == 0
    for other in range(last + 1, last + 16):
        assert status(nobody, f"{head}.{claims}.{signature[:-1]}{alphabet[other]}") == 401


def test_heads_and_claims_that_are_no_json(sample, nobody, alive):
    for head, claims in ((b"", b"{}"), (b"{", b"{}"), (b"[]", b"[]"), (b"null", b"null"),
                         (b"[" * 3000, b"[" * 3000), (b'{"alg":"ES256","alg":"none"}', b"{}"),
                         (b"\xff\xfe", b"\0"), (b'"ES256"', b'"x"'), (b"{}" * 500, b"{}"),
                         (json.dumps(sample.head).encode(), b'{"exp":' + b"9" * 5000 + b"}"),
                         (json.dumps(sample.head).encode(), b'{"a":' * 900 + b"1" + b"}" * 900),
                         (json.dumps(sample.head).encode(), json.dumps(sample.claims).encode()[:-1]
                          + b',"exp":99999999999}')):
        assert status(nobody, sample.signer.token(head, claims)) == 401, (head, claims)

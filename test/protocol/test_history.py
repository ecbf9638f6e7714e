"""Tag history at /api/berth/v1/: the log, what a tag was at a time, restore."""

import ctypes
import json
import sqlite3
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import pytest

from lib.oci import IMAGE, Client, basic, digest

REPO = "team/app"
JSON = [("Content-Type", "application/json")]
DAY = timedelta(days=1)


def at(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def rfc3339(time):
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def path(tag, rest="", repo=REPO):
    return f"/api/berth/v1/repositories/{repo}/tags/{tag}{rest}"


def history(client, tag, query="", repo=REPO):
    response = client.get(path(tag, "/history" + query, repo))
    assert response.status == 200, response
    return response.json()["history"]


def was(client, tag, time, repo=REPO):
    """The digest the tag had, or the error's code."""
    query = "" if time is None else "?at=" + quote(time if isinstance(time, str) else rfc3339(time))
    response = client.get(path(tag, query, repo))
    return response.json()["digest"] if response.status == 200 else response.code


def restore(client, tag, repo=REPO, headers=JSON, **body):
    return client.request("POST", path(tag, "/restore", repo), json.dumps(body).encode(), headers)


@pytest.fixture(scope="module")
def boss(server):
    """The administrator as a person with a password."""
    client = Client(server, mode="basic")
    yield client
    client.close()


@pytest.fixture(scope="module")
def images(boss):
    """(bytes, digest) of three images, untagged."""
    return [boss.push_image(REPO, seed=seed) for seed in (1, 2, 3)]


def move(client, tag, image, repo=REPO):
    assert client.put_manifest(repo, tag, image[0]).status == 201


def delete(client, reference, repo=REPO):
    assert client.request("DELETE", f"/v2/{repo}/manifests/{reference}").status == 202


def bcrypt(password):
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), b"$2b$04$" + b"a" * 22).decode()


@pytest.fixture(scope="module")
def stranger(server, boss):
    """A user who may nothing here."""
    with sqlite3.connect(server.data / "berth.db", timeout=10) as db:
        db.execute('INSERT INTO "user" (name, password_hash, admin, created_at) VALUES (?, ?, 0, 0)',
                   ("eve", bcrypt("eve's password")))
    db.close()
    client = Client(server, "eve", "eve's password", mode="basic")
    yield client
    client.close()


# ---- the log

def test_log(boss, images):
    one, two, _ = images
    for image in (one, two, two, one):
        move(boss, "log", image)
    delete(boss, "log")
    response = boss.get(path("log", "/history"))
    answer = response.json()
    assert response.header("content-type") == "application/json"
    assert response.header("docker-distribution-api-version") is None
    assert (answer["repository"], answer["tag"]) == (REPO, "log")
    rows = answer["history"]
    assert [r["digest"] for r in rows] == [one[1], two[1], one[1]]
    assert {(r["from_by"], r["until_by"], r["exists"], r["media_type"]) for r in rows} == {
        ("admin", "admin", True, IMAGE)}
    for later, earlier in zip(rows, rows[1:]):
        assert later["from"] == earlier["until"]
    assert all(at(r["from"]) < at(r["until"]) for r in rows)
    assert abs(at(rows[0]["until"]) - datetime.now(timezone.utc)) < timedelta(minutes=5)
    move(boss, "log", two)
    rows = history(boss, "log")
    assert rows[0]["until"] is None and rows[0]["until_by"] is None
    assert at(rows[0]["from"]) > at(rows[1]["until"])
    assert boss.head(path("log", "/history")).status == 200


def test_pages(boss, images):
    for i in range(7):
        move(boss, "pages", images[i % 3])
    whole = history(boss, "pages")
    assert len(whole) == 7
    for size in (1, 2, 6, 7, 8):
        target, seen = path("pages", f"/history?n={size}"), []
        while target:
            response = boss.get(target)
            rows = response.json()["history"]
            assert len(rows) <= size
            seen += rows
            link = response.header("link")
            target = link and link[1:link.index(">")]
            assert not link or (link.endswith('>; rel="next"') and len(rows) == size)
        assert seen == whole
    assert history(boss, "pages", "?n=0") == []
    for query in ("?n=x", "?n=-1", "?last=", "?last=1", "?last=1.", "?last=a.1", "?last=1.1.1",
                  "?last=9223372036854775808.1"):
        response = boss.get(path("pages", "/history" + query))
        assert (response.status, response.code) == (400, "PAGINATION_NUMBER_INVALID"), query
    assert history(boss, "pages", "?last=0.0") == []


def test_deleted_manifests_are_told(boss):
    gone = boss.push_image(REPO, seed="gone")
    move(boss, "gone", gone)
    delete(boss, gone[1])
    row, = history(boss, "gone")
    assert row["digest"] == gone[1] and row["exists"] is False and "media_type" not in row
    assert row["until"]


def test_anonymous_movers(berth):
    server = berth({"auth.anonymous": "push"})
    client = Client(server, mode="none")
    client.push_image("app", "t")
    row, = history(client, "t", repo="app")
    assert row["from_by"] is None
    assert client.get(path("t", "/history", "app")).json()["repository"] == "app"
    assert history(client, "t", repo="library/app") == [row]


def test_bounded(berth):
    server = berth({"tags.history": "3"})
    client = Client(server, mode="basic")
    images = [client.push_image("a/b", "t", seed=i)[1] for i in range(6)]
    assert [r["digest"] for r in history(client, "t", repo="a/b")] == images[:2:-1]
    server.settings["tags.history"] = "0"
    server.restart()
    client.close()
    images += [client.push_image("a/b", "t", seed=i)[1] for i in range(6, 10)]
    assert [r["digest"] for r in history(client, "t", repo="a/b")] == images[:2:-1]
    rows = history(client, "t", repo="a/b")
    response = client.get(path("t", "?at=" + rfc3339(at(rows[-1]["from"]) - DAY), "a/b"))
    assert (response.status, response.code) == (404, "TAG_ABSENT")
    assert rows[-1]["from"] in response.message
    client.close()


# ---- at a time

def test_borders(boss, images):
    one, two, three = images
    move(boss, "at", one)
    move(boss, "at", two)
    delete(boss, "at")
    assert was(boss, "at", None) == "TAG_ABSENT"
    move(boss, "at", three)
    third, second, first = history(boss, "at")
    tick = timedelta(microseconds=1)
    for row, before in ((first, "TAG_ABSENT"), (second, one[1]), (third, "TAG_ABSENT")):
        begin = at(row["from"])
        assert was(boss, "at", begin) == row["digest"]
        assert was(boss, "at", begin - tick) == before
        if row["until"]:
            assert was(boss, "at", at(row["until"]) - tick) == row["digest"]
    assert was(boss, "at", at(second["until"])) == "TAG_ABSENT"
    assert was(boss, "at", None) == three[1]
    assert was(boss, "at", at(third["from"]) + 400 * DAY) == three[1]
    answer = boss.get(path("at", "?at=" + first["from"])).json()
    assert answer == {"repository": REPO, "tag": "at", **first}


def test_times(boss, images):
    move(boss, "times", images[0])
    tomorrow = datetime.now(timezone.utc) + DAY
    for text in (tomorrow.strftime("%Y-%m-%d"), tomorrow.strftime("%Y-%m-%dT%H:%M:%SZ"),
                 tomorrow.strftime("%Y-%m-%dt%H:%M:%S.1z"), tomorrow.strftime("%Y-%m-%d %H:%M:%S-03:00"),
                 tomorrow.strftime("%Y-%m-%dT%H:%M:%S+01:00")):
        assert was(boss, "times", text) == images[0][1], text
    assert was(boss, "times", "1970-01-01") == "TAG_ABSENT"
    for text in ("", "now", "2026", "2026-02-30", "2026-01-31T12:00:00", "2026-01-31T25:00:00Z", "0",
                 "1969-12-31", "2026-01-31T12:00:00Z\n", "2026-01-31T12:00:00 01:00"):
        response = boss.get(path("times", "?at=" + quote(text)))
        assert (response.status, response.code) == (400, "TIME_INVALID"), text
    assert "%2B" in response.message


def test_unknown(boss, images):
    move(boss, "stable", images[0])
    for target in (path("stabel"), path("stabel", "/history"), path("stabel", "?at=2026-01-01")):
        response = boss.get(target)
        assert (response.status, response.code) == (404, "TAG_UNKNOWN")
        assert "stable" in response.message
    for target in (path("x", repo="team/none"), path("x", "/history", "none/none")):
        response = boss.get(target)
        assert (response.status, response.code) == (404, "NAME_UNKNOWN")
    for tag in (".x", "a%2Bb", "a" * 129):
        response = boss.get(path(tag))
        assert (response.status, response.code) == (400, "TAG_INVALID")
    assert boss.get(path("x", repo="Team/App")).code == "NAME_INVALID"


# ---- restore

def test_restore(boss, images):
    one, two, _ = images
    move(boss, "back", one)
    move(boss, "back", two)
    first = history(boss, "back")[1]
    response = restore(boss, "back", at=first["from"])
    assert response.status == 200
    assert response.json() == {"repository": REPO, "tag": "back", "digest": one[1], "changed": True}
    assert boss.manifest(REPO, "back").body == one[0]
    assert len(history(boss, "back")) == 3
    assert restore(boss, "back", at=first["from"]).json()["changed"] is False
    assert len(history(boss, "back")) == 3
    assert restore(boss, "back", digest=two[1]).json()["changed"] is True
    assert boss.manifest(REPO, "back").body == two[0]


def test_restore_a_deleted_tag(boss, images):
    move(boss, "undelete", images[0])
    delete(boss, "undelete")
    assert boss.manifest(REPO, "undelete").status == 404
    gone = history(boss, "undelete")[0]
    assert restore(boss, "undelete", at=gone["until"]).code == "TAG_ABSENT"
    assert restore(boss, "undelete", at=gone["from"]).json()["changed"] is True
    assert boss.manifest(REPO, "undelete").body == images[0][0]
    assert "undelete" in boss.tags(REPO).json()["tags"]


def test_restore_needs_the_manifest(boss, images):
    gone = boss.push_image(REPO, "lost", seed="lost")
    move(boss, "lost", images[0])
    delete(boss, gone[1])
    began = history(boss, "lost")[1]["from"]
    for body in ({"digest": gone[1]}, {"at": began}):
        response = restore(boss, "lost", **body)
        assert (response.status, response.code) == (409, "MANIFEST_DELETED")
        assert gone[1] in response.message and "deleted" in response.message
    assert boss.manifest(REPO, "lost").body == images[0][0]
    boss.push_image(REPO, seed="lost")
    assert restore(boss, "lost", at=began).status == 200
    assert boss.manifest(REPO, "lost").body == gone[0]


def test_restore_refuses(boss, images):
    move(boss, "no", images[0])
    for body, status, code in (
            ({"digest": images[1][1]}, 404, "TAG_ABSENT"),
            ({"digest": digest(b"none")}, 404, "TAG_ABSENT"),
            ({"digest": "sha256:abc"}, 400, "DIGEST_INVALID"),
            ({"at": "2020-01-01"}, 404, "TAG_ABSENT"),
            ({"at": "yesterday"}, 400, "TIME_INVALID"),
            ({"at": 5}, 400, "UNSUPPORTED"),
            ({"at": "2020-01-01", "digest": images[0][1]}, 400, "UNSUPPORTED"),
            ({"when": "2020-01-01"}, 400, "UNSUPPORTED"),
            ({}, 400, "UNSUPPORTED")):
        response = restore(boss, "no", **body)
        assert (response.status, response.code) == (status, code), body
    for data in (b"", b"[]", b"{", b'{"at":"2020-01-01","at":"2020-01-01"}', b'"at"'):
        response = boss.request("POST", path("no", "/restore"), data, JSON)
        assert (response.status, response.code) == (400, "UNSUPPORTED"), data
    response = boss.request("POST", path("no", "/restore"), b" " * 5000, JSON)
    assert response.status == 413
    assert restore(boss, "none", at="2020-01-01").code == "TAG_UNKNOWN"
    assert restore(boss, "none", digest=images[0][1]).code == "TAG_UNKNOWN"
    assert restore(boss, "none", repo="team/none", at="2020-01-01").code == "NAME_UNKNOWN"
    assert boss.request("PUT", path("no", "/restore"), b"").status == 405


def test_web_pages_cannot_restore(boss, images):
    """A form of another site sends one of these types, and the browser adds the password."""
    move(boss, "csrf", images[0])
    body = json.dumps({"digest": images[0][1]}).encode()
    for headers in ([], [("Content-Type", "text/plain")], [("Content-Type", "")],
                    [("Content-Type", "application/x-www-form-urlencoded")]):
        response = boss.request("POST", path("csrf", "/restore"), body, headers)
        assert response.status == 415 and "application/json" in response.message
    response = boss.request("POST", path("csrf", "/restore"), body,
                            [("Content-Type", "Application/JSON; charset=utf-8")])
    assert response.status == 200


# ---- who may

CALLS = [("GET", "", None), ("GET", "?at=2020-01-01", None), ("GET", "?at=x", None),
         ("GET", "/history", None), ("GET", "/history?n=x", None),
         ("POST", "/restore", b'{"at":"2020-01-01"}'), ("POST", "/restore", b"{")]


def whole(response, name):
    headers = sorted((n.lower(), v) for n, v in response.headers
                     if n.lower() not in ("date", "x-request-id"))
    return response.status, headers, response.body.replace(name.encode(), b"REPO")


@pytest.mark.parametrize("method, rest, body", CALLS)
def test_hidden_is_missing(server, boss, stranger, images, method, rest, body):
    """To who may not: existing, missing in a project, missing with its project, all look alike."""
    move(boss, "seen", images[0])
    token = basic("eve", "eve's password")
    anonymous = "Bearer " + Client(server).token([], credentials=False)
    for headers, status in (([], 401), ([("Authorization", anonymous)], 401),
                            ([("Authorization", token)], 403)):
        answers = [whole(stranger.once(method, path(tag, rest, repo), body, JSON + headers), repo)
                   for repo, tag in ((REPO, "seen"), (REPO, "none"), ("team/non", "seen"),
                                     ("none/app", "seen"))]
        assert answers[0][0] == status
        assert all(a == answers[0] for a in answers)
        challenges = [v for n, v in answers[0][1] if n == "www-authenticate"]
        assert challenges == (['Basic realm="Berth",charset="UTF-8"'] if status == 401 else [])


def test_tokens_are_ceilings(server, boss, images):
    move(boss, "token", images[0])
    client = Client(server)

    def status(method, rest, scope, body=None):
        token = [("Authorization", "Bearer " + client.token([scope] if scope else []))]
        return client.once(method, path("token", rest), body, JSON + token).status

    body = json.dumps({"digest": images[0][1]}).encode()
    assert status("GET", "", f"repository:{REPO}:pull") == 200
    assert status("GET", "/history", f"repository:{REPO}:push") == 403
    assert status("GET", "/history", "repository:other/app:pull") == 403
    assert status("GET", "/history", "") == 403
    assert status("POST", "/restore", f"repository:{REPO}:pull", body) == 403
    assert status("POST", "/restore", f"repository:{REPO}:pull,push", body) == 200


def test_wrong_password(server, boss):
    response = boss.once("GET", path("x"), headers=[("Authorization", basic("admin", "wrong"))])
    assert response.status == 401 and response.code == "UNAUTHORIZED"
    assert response.header("www-authenticate").startswith("Basic ")


def test_public_projects_show_their_history(server, boss, stranger):
    boss.push_image("library/open", "t")
    nobody = Client(server, mode="none")
    for client in (nobody, stranger):
        assert len(history(client, "t", repo="open")) == 1
        assert restore(client, "t", repo="open", at="2020-01-01").status in (401, 403)
    nobody.close()


def test_own_project(server, boss, stranger):
    one = stranger.push_image("eve/app", "t", seed=1)
    two = stranger.push_image("eve/app", "t", seed=2)
    rows = history(stranger, "t", repo="eve/app")
    assert [r["digest"] for r in rows] == [two[1], one[1]]
    assert {r["from_by"] for r in rows} == {"eve"}
    assert restore(boss, "t", repo="eve/app", at=rows[1]["from"]).status == 200
    assert history(stranger, "t", repo="eve/app")[0]["from_by"] == "admin"


def test_the_access_log_tells_who(server, boss, images):
    move(boss, "logged", images[0])
    response = boss.get(path("logged"))
    line = server.access(response.header("x-request-id"))
    assert (line["principal"], line["repository"], line["status"]) == ("admin", REPO, "200")

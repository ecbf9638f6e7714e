"""Tag history: the log, what a tag was at a time, restore; at /api/berth/v1/ and as commands."""

import ctypes
import json
import os
import pty
import socket
import sqlite3
import stat
import subprocess
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import pytest

from lib import raw
from lib.oci import IMAGE, Client, basic, digest
from lib.server import BINARY, run

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


# ---- the commands

def tag(server, *args, status=0, **more):
    """Runs berth tag; its output, or, when it should fail, its one line of error."""
    done = run("tag", *args, "--data", server.data, **more)
    assert done.returncode == status, done
    if status == 0:
        assert done.stderr == ""
        return done.stdout
    assert done.stdout == "" and done.stderr.startswith("berth: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


@pytest.fixture(params=["running", "stopped"])
def shop(request, berth):
    """(server, digests): a registry with history, running or not."""
    server = berth()
    client = Client(server, mode="basic")
    digests = [client.push_image(REPO, "prod", seed=seed)[1] for seed in range(3)]
    digests.append(client.push_image(REPO, seed="gone")[1])
    move(client, "lost", client.push_image(REPO, "lost", seed="lost1"))
    lost = client.push_image(REPO, "lost", seed="lost2")[1]
    delete(client, lost)
    client.push_image(REPO, "old", seed=0)
    delete(client, "old")
    client.close()
    server.lost = lost
    if request.param == "stopped":
        server.stop()
    return server, digests


def columns(text):
    return [line.split("\t") for line in text.splitlines()]


def test_command_log(shop):
    server, digests = shop
    rows = columns(tag(server, "log", "team/app:prod"))
    assert [r[4] for r in rows] == digests[2::-1]
    assert [r[5] for r in rows] == ["kept"] * 3
    assert [r[1] for r in rows] == ["-", rows[0][0], rows[1][0]]
    assert [(r[2], r[3]) for r in rows] == [("admin", "-"), ("admin", "admin"), ("admin", "admin")]
    assert columns(tag(server, "log", "team/app:prod", "--limit", "2")) == rows[:2]
    assert columns(tag(server, "log", "team/app:prod", "--limit=0")) == rows
    page = tag(server, "log", "team/app:prod", "--set", "limits.page=1")
    assert columns(page) == rows
    answer = json.loads(tag(server, "log", "team/app:prod", "--json"))
    assert (answer["repository"], answer["tag"]) == (REPO, "prod")
    assert [r["digest"] for r in answer["history"]] == digests[2::-1]
    assert answer["history"][0]["until"] is None and answer["history"][0]["media_type"] == IMAGE
    row, _ = columns(tag(server, "log", "team/app:lost"))
    assert row[4:] == [server.lost, "deleted"]


def test_command_pages(berth):
    server = berth({"limits.page": "2"})
    client = Client(server, mode="basic")
    digests = [client.push_image(REPO, "prod", seed=seed)[1] for seed in range(5)]
    client.close()
    for limit, n in (("0", 5), ("5", 5), ("4", 4), ("3", 3), ("1", 1), ("100", 5)):
        rows = columns(tag(server, "log", "team/app:prod", "--limit", limit))
        assert [r[4] for r in rows] == digests[::-1][:n]


def test_command_table(shop):
    server, digests = shop
    main, side = pty.openpty()
    process = subprocess.Popen([str(BINARY), "tag", "log", "team/app:old", "--data", str(server.data)],
                               stdout=side, stderr=subprocess.PIPE)
    assert process.wait(20) == 0, process.stderr.read()
    process.stderr.close()
    os.close(side)
    text = os.read(main, 65536).decode()
    os.close(main)
    heading, row = text.splitlines()
    assert heading.split() == ["FROM", "UNTIL", "BY", "DIGEST"]
    assert row.endswith(f"admin  {digests[0]}  tag deleted by admin")


def test_command_restore(shop):
    server, digests = shop
    rows = columns(tag(server, "log", "team/app:prod"))
    said = tag(server, "restore", "team/app:prod", "--at", rows[2][0])
    assert said == f"team/app:prod points again at {digests[0]}\n"
    said = tag(server, "restore", "team/app:prod", "--at", digests[0])
    assert said == f"team/app:prod points already at {digests[0]}\n"
    answer = json.loads(tag(server, "restore", "team/app:prod", "--json", f"--at={digests[1]}"))
    assert answer == {"repository": REPO, "tag": "prod", "digest": digests[1], "changed": True}
    old, = columns(tag(server, "log", "team/app:old"))
    tag(server, "restore", "team/app:old", "--at", old[0])
    me = f"uid:{os.geteuid()}"
    rows = columns(tag(server, "log", "team/app:prod"))
    assert [r[4] for r in rows] == [digests[i] for i in (1, 0, 2, 1, 0)]
    assert [r[2] for r in rows] == [me, me, "admin", "admin", "admin"]
    if not server.running():
        server.start()
    client = Client(server)
    assert digest(client.manifest(REPO, "prod").body) == digests[1]
    assert digest(client.manifest(REPO, "old").body) == digests[0]
    client.close()


@pytest.mark.parametrize("args, said", [
    (["log", "team/app:porod"], "team/app has no tag porod, and no history of one; near ones: prod"),
    (["log", "team/none:prod"], "repository team/none does not exist"),
    (["log", "none:prod"], "repository none does not exist"),
    (["restore", "team/app:prod", "--at", "2020-01-01"], "the history of tag prod begins at "),
    (["restore", "team/app:none", "--at", "2020-01-01"], "team/app has no tag none"),
    (["restore", "team/app:prod", "--at", digest(b"x")], "tag prod never pointed at sha256:"),
    (["restore", "team/app:prod", "--at", "gone"], "tag prod never pointed at sha256:"),
    (["restore", "team/app:lost", "--at", "lost"], "was deleted from team/app: push it again first"),
    (["restore", "team/app:old", "--at", "2999-01-01"],
     "tag old pointed at nothing at 2999-01-01T00:00:00.000000Z: it was deleted"),
])
def test_command_fails(shop, args, said):
    server, digests = shop
    names = {"gone": digests[3], "lost": server.lost}
    assert said in tag(server, *(names.get(a, a) for a in args), status=1)


@pytest.mark.parametrize("args, said", [
    ([], '"log" or "restore" expected'),
    (["show", "a:b"], '"log" or "restore" expected, not "show"'),
    (["log"], "which?"),
    (["log", "app"], '"app" has no tag'),
    (["log", "localhost:5000/team/app"], "has no tag"),
    (["log", "localhost:5000/team/app:prod"], "without the registry's address"),
    (["log", "app@sha256:" + "0" * 64], "names a digest"),
    (["log", "App:x"], "App"),
    (["log", "app:.x"], "no valid tag"),
    (["log", "app:x", "app:y"], "unexpected argument"),
    (["log", "app:x", "--at", "2020-01-01"], "--at belongs to"),
    (["log", "app:x", "--limit", "ten"], "no whole number"),
    (["restore", "app:x"], "--at TIME or --at DIGEST"),
    (["restore", "app:x", "--limit", "1", "--at", "2020-01-01"], "--limit belongs to"),
    (["restore", "app:x", "--at", "yesterday"], "neither a time"),
    (["restore", "app:x", "--at", "2020-01-01T00:00:00"], "neither a time"),
    (["restore", "app:x", "--at", "sha256:" + "A" * 64], "neither a time"),
    (["restore", "app:x", "--at", ""], "neither a time"),
    (["log", "app:x", "--liimt", "1"], "did you mean --limit?"),
])
def test_command_mistakes(tmp_path, args, said):
    done = run("tag", *args, "--data", tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_no_registry_there(tmp_path):
    for missing in (tmp_path, tmp_path / "none"):
        done = run("tag", "log", "app:x", "--data", missing)
        assert done.returncode == 1
        assert done.stderr == f"berth: there is no registry in {missing}; name its directory with --data\n"
    assert os.listdir(tmp_path) == []


# ---- the admin socket

def knock(path, data):
    """One exchange over a unix socket: all that comes back."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(15)
        sock.connect(str(path))
        sock.sendall(data)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_admin_socket(berth):
    server = berth({"server.trusted_proxies": "0.0.0.0/0"})
    client = Client(server, mode="basic")
    client.push_image("private/app", "t")
    client.close()
    path_ = server.data / "admin.sock"
    mode = os.stat(path_).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    end = [("Connection", "close"), ("X-Forwarded-For", "203.0.113.9")]
    target = path("t", repo="private/app")
    assert knock(path_, raw.request("GET", target, end)).startswith(b"HTTP/1.1 200 ")
    wrong = end + [("Authorization", basic("admin", "wrong"))]
    assert knock(path_, raw.request("GET", target, wrong)).startswith(b"HTTP/1.1 401 ")

    def answered():
        return [f for f in server.events("request") if f["path"] == target and f["status"] == "200"]

    assert server.waits(answered)
    line = answered()[0]
    assert line["principal"] == f"uid:{os.geteuid()}" and "client" not in line
    # the same request over TCP is nobody's, whatever it claims
    claims = [("X-Forwarded-For", "unix:"), ("Forwarded", "for=unix:")]
    response = raw.exchange(server.address, raw.request("GET", target, claims))
    assert response.status == 401
    server.stop()
    assert not path_.exists()
    server.start()
    server.kill()
    assert path_.exists()  # left behind
    server.start()
    assert knock(path_, raw.request("GET", target, end)).startswith(b"HTTP/1.1 200 ")


def test_admin_socket_elsewhere(berth, tmp_path):
    elsewhere = tmp_path / "here.sock"
    server = berth({"admin.socket": elsewhere})
    client = Client(server, mode="basic")
    client.push_image(REPO, "t")
    client.close()
    assert not (server.data / "admin.sock").exists()
    assert "nobody answers at" in tag(server, "log", "team/app:t", status=1)
    assert len(columns(tag(server, "log", "team/app:t", "--set", f"admin.socket={elsewhere}"))) == 1


def test_no_admin_socket(berth):
    server = berth({"admin.socket": "none"})
    client = Client(server, mode="basic")
    client.push_image(REPO, "t")
    client.close()
    assert not (server.data / "admin.sock").exists()
    said = tag(server, "log", "team/app:t", "--set", "admin.socket=none", status=1)
    assert "nobody answers at its admin socket" in said
    server.stop()
    assert len(columns(tag(server, "log", "team/app:t", "--set", "admin.socket=none"))) == 1


def test_admin_socket_in_the_way(berth, tmp_path):
    """What is no socket is never removed; a long path is no trouble."""
    server = berth(start=False)
    server.data.mkdir()
    (server.data / "admin.sock").write_text("precious")
    with pytest.raises(AssertionError, match="is there already and is no socket; choose another"):
        server.start()
    assert (server.data / "admin.sock").read_text() == "precious"
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    server = berth(data=deep)
    client = Client(server, mode="basic")
    client.push_image(REPO, "t")
    client.close()
    assert len(columns(tag(server, "log", "team/app:t"))) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_others_may_not(berth, tmp_path):
    """Even with the mode of socket and directories wide open."""
    server = berth()
    path_ = server.data / "admin.sock"
    for name in (path_, server.data):
        os.chmod(name, 0o777)
    for parent in list(server.data.parents)[:-1]:
        os.chmod(parent, os.stat(parent).st_mode | 0o055)
    code = ("import os,socket,sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
            "s=socket.socket(socket.AF_UNIX); s.settimeout(15); s.connect(sys.argv[1]);"
            "s.send(b'GET /healthz HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'); print(s.recv(9))")
    done = subprocess.run(["python3", "-c", code, str(path_)], capture_output=True, text=True,
                          timeout=30)
    assert done.stdout == "b''\n" or "Broken pipe" in done.stderr or "reset" in done.stderr, done
    assert Client(server, mode="none").once("GET", "/healthz").status == 200

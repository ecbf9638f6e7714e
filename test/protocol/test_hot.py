"""Reads that reactors answer from memory: they are warm here before anything changes, and then must
show the change at once."""

import json
import os
import sqlite3
import threading

import pytest

from lib.metrics import Snapshot
from lib.oci import CONFIG, IMAGE, Client, basic, descriptor, dump, randbytes
from lib.server import run

SMALL, LARGE = 5000, 100_000  # kept in memory; sent from a file that is kept open

SETTINGS = {"metrics.listen": "127.0.0.1:0", "scrub.rate": "0B", "gc.interval": "24h",
            "threads.reactors": "1"}
HANDLED = "berth_http_handler_duration_seconds_count"


class Quiet:
    """While it lasts no worker has to do with any request."""

    def __init__(self, server):
        self.server = server

    def handled(self):
        self.server.settle()
        return Snapshot(self.server).total(HANDLED)

    def __enter__(self):
        self.before = self.handled()

    def __exit__(self, kind, *_):
        if kind is None:
            assert self.handled() == self.before


@pytest.fixture
def quiet(alive):
    return Quiet(alive)


def sql(server, text, *values):
    """As with the sqlite3 shell, beside the running server."""
    db = sqlite3.connect(server.data / "berth.db", timeout=20)
    with db:
        assert db.execute(text, values).rowcount > 0
    db.close()


def gc(server):
    done = run("gc", "--data", server.data, "--json", "--now")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def warm(client, *targets, headers=(), status=200):
    """Asked more than once, since the first answer is a worker's; returns the last ones."""
    answers = []
    for target in targets:
        for method in ("GET", "HEAD", "GET"):
            answers.append(client.request(method, target, headers=headers))
            assert answers[-1].status == status, (method, target, answers[-1])
    return answers[2::3]


def open_files(server):
    """Names of the blobs' files that the server has open, also of those that are gone."""
    folder, found = f"/proc/{server.process.pid}/fd", []
    for fd in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith(str(server.data / "blobs")) and len(target.split("/")[-1]) > 2:
            found.append(target.split("/")[-1])
    return found


# ---- what is answered

def test_nothing_changes_but_who_answers(quiet, admin):
    body, name = admin.push_image("hot/same", "v1")
    parsed = json.loads(body)
    config, layer = parsed["config"]["digest"], parsed["layers"][0]["digest"]
    targets = ["/v2/", "/v2/hot/same/manifests/v1", f"/v2/hot/same/manifests/{name}",
               f"/v2/hot/same/blobs/{layer}", f"/v2/hot/same/blobs/{config}",
               "/v2/hot/same/tags/list", "/v2/hot/same/tags/list?n=1"]

    def plain(response):
        return response.status, response.body, sorted(
            (n.lower(), v) for n, v in response.headers
            if n.lower() not in ("date", "x-request-id"))

    for target in targets:
        cold = admin.get(target)
        head = admin.head(target)
        with quiet:
            assert plain(admin.get(target)) == plain(cold)
            assert plain(admin.head(target)) == plain(head)
            etag = [("If-None-Match", cold.header("etag") or '"x"')]
            assert admin.get(target, headers=etag).status == (304 if cold.header("etag") else 200)
    with quiet:
        part = admin.get(targets[3], headers=[("Range", "bytes=3-7")])
        assert part.status == 206 and part.body == admin.get(targets[3]).body[3:8]


def test_who_tells_a_platform_is_helped_when_all_else_is_warm(admin):
    config = dump({"architecture": "arm64", "os": "linux"})
    body = dump({"schemaVersion": 2, "mediaType": IMAGE, "layers": [],
                 "config": descriptor(config, CONFIG)})
    admin.push("hot/platform", config)
    assert admin.put_manifest("hot/platform", "v1", body).status == 201
    warm(admin, "/v2/hot/platform/manifests/v1")
    for _ in range(2):
        answer = admin.get("/v2/hot/platform/manifests/v1",
                           headers=[("User-Agent", "docker/24 os/linux arch/amd64")])
        assert answer.status == 200 and "linux/arm64" in answer.header("warning")


def test_passwords_too(quiet, alive):
    client = Client(alive, mode="basic")
    client.push_image("hot/basic", "v1")
    warm(client, "/v2/hot/basic/manifests/v1")
    with quiet:
        assert client.get("/v2/hot/basic/manifests/v1").status == 200
    client.password = "wrong"
    assert client.get("/v2/hot/basic/manifests/v1").status == 401
    client.close()


def test_large_blobs_too(alive, quiet, admin):
    data = randbytes(LARGE, "large")
    target = f"/v2/hot/large/blobs/{admin.push('hot/large', data)}"
    warm(admin, target)
    before = open_files(alive)
    with quiet:
        assert admin.get(target).body == data
        assert admin.head(target).header("content-length") == str(LARGE)
        part = admin.get(target, headers=[("Range", "bytes=70000-70009")])
        assert part.status == 206 and part.body == data[70000:70010]
        assert admin.get(target, headers=[("Range", f"bytes={LARGE}-")]).status == 416
        name = target.split("/")[-1]
        assert admin.get(target, headers=[("If-None-Match", f'"{name}"')]).status == 304
    after = open_files(alive)
    assert set(after) <= set(before) and len(after) == len(set(after)) > 0


def test_open_files_are_bounded(berth):
    server = berth(SETTINGS, start=False)
    command = server.command()
    server.command = lambda: ["prlimit", "--nofile=640:640", *command]
    server.start()
    client = Client(server)
    targets = [f"/v2/hot/many/blobs/{client.push('hot/many', randbytes(LARGE, str(i)))}"
               for i in range(60)]
    for i, target in enumerate(targets):
        assert client.get(target).body == randbytes(LARGE, str(i))
    assert 10 < len(open_files(server)) <= 640 // 16
    for target in targets:
        assert client.get(target).status == 200
    assert len(open_files(server)) <= 640 // 16


def test_unknown_things_are_for_workers(alive, admin):
    before = Quiet(alive).handled()
    for _ in range(3):
        assert admin.manifest("hot/large", "nothing").status == 404
    assert Quiet(alive).handled() >= before + 3


def test_hidden_things_are_for_workers_like_unknown_ones(alive, admin, nobody):
    """Who may not see a project cannot tell by the time that it is there."""
    admin.push_image("hot-hidden/a", "v1")
    warm(admin, "/v2/hot-hidden/a/manifests/v1")
    for repo in ("hot-hidden/a", "hot-nothing/a"):
        assert nobody.manifest(repo, "v1").status == 401
        before = Quiet(alive).handled()
        for _ in range(3):
            assert nobody.manifest(repo, "v1").status == 401
        assert Quiet(alive).handled() == before + 3


def test_can_be_off(berth):
    server = berth({**SETTINGS, "cache.memory": "0B"})
    client = Client(server)
    client.push_image("hot/off", "v1")
    large = client.push("hot/off", randbytes(LARGE, "off"))
    warm(client, "/v2/hot/off/manifests/v1", f"/v2/hot/off/blobs/{large}")
    before = Quiet(server).handled()
    assert client.manifest("hot/off", "v1").status == 200
    assert client.blob("hot/off", large).status == 200
    assert Quiet(server).handled() == before + 2
    assert open_files(server) == []


# ---- what changes: content

def test_a_tag_moves(admin, quiet):
    first, _ = admin.push_image("hot/move", "v1", seed=1)
    for seed in range(2, 8):
        (answer,) = warm(admin, "/v2/hot/move/manifests/v1")
        assert answer.body == first
        second, name = admin.push_image("hot/move", "v1", seed=seed)
        answer = admin.head("/v2/hot/move/manifests/v1")
        assert answer.header("docker-content-digest") == name
        assert admin.manifest("hot/move", "v1").body == second
        first = second


def test_a_tag_is_deleted_and_comes_back(admin):
    body, _ = admin.push_image("hot/tag", "v1")
    for _ in range(3):
        warm(admin, "/v2/hot/tag/manifests/v1", "/v2/hot/tag/tags/list")
        assert admin.request("DELETE", "/v2/hot/tag/manifests/v1").status == 202
        assert admin.head("/v2/hot/tag/manifests/v1").status == 404
        assert admin.manifest("hot/tag", "v1").status == 404
        assert admin.tags("hot/tag").json()["tags"] == []
        assert admin.put_manifest("hot/tag", "v1", body).status == 201
        assert admin.manifest("hot/tag", "v1").body == body
        assert admin.tags("hot/tag").json()["tags"] == ["v1"]


def test_a_manifest_is_deleted(admin):
    _, name = admin.push_image("hot/manifest", "v1")
    targets = ["/v2/hot/manifest/manifests/v1", f"/v2/hot/manifest/manifests/{name}"]
    warm(admin, *targets)
    assert admin.request("DELETE", targets[1]).status == 202
    for target in targets:
        assert admin.get(target).status == admin.head(target).status == 404


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_blob_is_deleted_in_one_repository(admin, size):
    data = randbytes(size, "shared")
    name = admin.push("hot/blob", data)
    admin.push("hot/other", data)
    warm(admin, f"/v2/hot/blob/blobs/{name}", f"/v2/hot/other/blobs/{name}")
    assert admin.request("DELETE", f"/v2/hot/blob/blobs/{name}").status == 202
    assert admin.blob("hot/blob", name).status == 404
    assert admin.head(f"/v2/hot/blob/blobs/{name}").status == 404
    assert admin.blob("hot/other", name).body == data


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_collection_takes_it(alive, admin, size):
    data = randbytes(size, "garbage")
    kept, _ = admin.push_image("hot/gc", "v1", seed="kept")
    layer = json.loads(kept)["layers"][0]["digest"]
    gone = admin.push("hot/gc", data)
    other, _ = admin.push_image("hot/elsewhere", "v1", seed="elsewhere")
    unused = json.loads(other)["layers"][0]["digest"]  # here; the blob itself stays
    assert admin.push("hot/gc", admin.blob("hot/elsewhere", unused).body) == unused
    warm(admin, f"/v2/hot/gc/blobs/{gone}", f"/v2/hot/gc/blobs/{layer}", "/v2/hot/gc/manifests/v1",
         f"/v2/hot/gc/blobs/{unused}", f"/v2/hot/elsewhere/blobs/{unused}")
    assert gc(alive)["blobs"] >= 1
    assert not any(name.endswith("(deleted)") for name in open_files(alive))
    assert admin.blob("hot/gc", unused).status == 404
    assert admin.blob("hot/elsewhere", unused).status == 200
    assert admin.head(f"/v2/hot/gc/blobs/{gone}").status == 404
    assert admin.blob("hot/gc", gone).status == 404
    assert admin.blob("hot/gc", layer).status == 200
    assert admin.push("hot/gc", data) == gone
    assert admin.blob("hot/gc", gone).body == data


def test_a_review_begins_again_when_the_use_ends(alive, admin):
    """A layer that was in use, and warm, is leased by a HEAD after its manifest is gone."""
    body, name = admin.push_image("hot/review", "v1", seed="review")
    layer = json.loads(body)["layers"][0]["digest"]
    sql(alive, "UPDATE repository_blob SET review_from = NULL")
    warm(admin, f"/v2/hot/review/blobs/{layer}")
    assert admin.request("DELETE", f"/v2/hot/review/manifests/{name}").status == 202
    sql(alive, "UPDATE repository_blob SET review_from = 1 WHERE review_from IS NOT NULL")
    assert admin.head(f"/v2/hot/review/blobs/{layer}").status == 200
    db = sqlite3.connect(alive.data / "berth.db", timeout=20)
    (value,), = db.execute(
        "SELECT l.review_from FROM repository_blob l JOIN blob b ON b.id = l.blob "
        "WHERE substr(b.digest, 2) = ?", (bytes.fromhex(layer[7:]),))
    db.close()
    assert value > 1


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_quarantine_takes_it(berth, size):
    server = berth({**SETTINGS, "scrub.rate": "1GiB", "scrub.interval": "1s"})
    client = Client(server)
    data = randbytes(size, "rot")
    name = client.push("hot/rot", data)
    warm(client, f"/v2/hot/rot/blobs/{name}")
    path = next(p for p in (server.data / "blobs").rglob("*")
                if p.is_file() and p.stat().st_size == size)
    with open(path, "r+b") as f:
        f.write(b"\x00\x01\x02\x03")
    assert server.waits(lambda: server.events("blob_damaged"), 30)
    assert client.blob("hot/rot", name).status == 404
    assert client.head(f"/v2/hot/rot/blobs/{name}").status == 404
    assert client.push("hot/rot", data) == name
    assert client.blob("hot/rot", name).body == data


# ---- what changes: who may

@pytest.fixture(scope="module")
def bob(server):
    sql(server, "INSERT INTO user (name, password_hash, created_at) "
                "SELECT 'bob', password_hash, 0 FROM user WHERE name = 'admin'")
    return "bob"


def hidden(server, admin, repo):
    admin.push_image(repo, "v1")
    return f"/v2/{repo}/manifests/v1"


def bearer(client, repo):
    return [("Authorization", "Bearer " + client.token([f"repository:{repo}:pull"]))]


def test_a_project_becomes_private(alive, admin, nobody, bob):
    target = hidden(alive, admin, "shown/app")
    user = Client(alive, bob, mode="none")
    for _ in range(2):
        sql(alive, "UPDATE project SET public = 1 WHERE name = 'shown'")
        headers = bearer(Client(alive, bob), "shown/app")
        warm(nobody, target)
        warm(user, target, headers=headers)
        sql(alive, "UPDATE project SET public = 0 WHERE name = 'shown'")
        assert nobody.get(target).status == nobody.head(target).status == 401
        # The token's scope allows it still; may() does not.
        warm(admin, target)  # so that only may() stands between
        warm(user, target, headers=headers, status=401)
        warm(nobody, target, status=401)
    user.close()


def test_an_administrator_is_one_no_more(alive, admin, bob):
    target = hidden(alive, admin, "secret/app")
    user = Client(alive, bob, mode="none")
    sql(alive, "UPDATE user SET admin = 1 WHERE name = ?", bob)
    tokens, password = bearer(Client(alive, bob), "secret/app"), [
        ("Authorization", basic(bob, Client(alive).password))]
    warm(user, target, headers=tokens)
    warm(user, target, headers=password)
    sql(alive, "UPDATE user SET admin = 0 WHERE name = ?", bob)
    warm(admin, target)
    warm(user, target, headers=tokens, status=401)
    warm(user, target, headers=password, status=403)
    user.close()


def test_a_token_ends_with_the_epoch_and_with_the_user(alive, admin, bob):
    target = hidden(alive, admin, "bob/app")
    user = Client(alive, bob, mode="none")
    for change in ("UPDATE user SET epoch = epoch + 1 WHERE name = 'bob'",
                   "UPDATE user SET name = 'rob' WHERE name = 'bob'"):
        headers = bearer(Client(alive, bob), "bob/app")
        password = [("Authorization", basic(bob, Client(alive).password))]
        warm(user, target, headers=headers)
        warm(user, target, headers=password)
        sql(alive, change)
        warm(admin, target)
        warm(user, target, headers=headers, status=401)
    warm(user, target, headers=password, status=401)
    sql(alive, "UPDATE user SET name = 'bob' WHERE name = 'rob'")
    user.close()


def test_a_warm_answer_is_not_anothers(alive, admin, nobody, bob):
    target = hidden(alive, admin, "mine/app")
    warm(admin, target)
    assert nobody.get(target).status == 401
    user = Client(alive, bob, mode="none")
    for repo in ("mine/app", "other/app"):  # granted nothing; granted elsewhere
        warm(user, target, headers=bearer(Client(alive, bob), repo), status=401)
    warm(nobody, target, headers=bearer(admin, "mine/other"), status=401)
    user.close()


# ---- everything at once

class Watched:
    """A fact that one thread changes and others look at. While a change is under way anything may
    be seen; once it is acknowledged, only what it made."""

    def __init__(self, value):
        self.state = (0, value)

    def change(self, act, value):
        count = self.state[0]
        self.state = (count + 1, None)
        act()
        self.state = (count + 2, value)

    def look(self, see):
        """None, or what was seen and what was there all the while."""
        before = self.state
        seen = see()
        if before[1] is not None and before == self.state and seen != before[1]:
            return seen, before[1]
        return None


def patiently(ask):
    """The sqlite3 command may hold the database for longer than the server waits."""
    answer = ask()
    while answer.status == 503:
        answer = ask()
    return answer


def manifest_of(number):
    return dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}", CONFIG),
                 "layers": [], "annotations": {"number": str(number)}})


@pytest.mark.slow
def test_nobody_sees_what_was_before(berth):
    server, rounds = berth({**SETTINGS, "threads.reactors": "3"}), 40
    admin = Client(server)
    repo, wrong, served, done = "busy/app", [], [0], threading.Event()
    admin.push(repo, b"{}")
    assert admin.put_manifest(repo, "moved", manifest_of(0)).status == 201
    moved, there = [0], Watched(404)
    shown = Watched(401)
    tokens = bearer(admin, repo)

    def mover():
        client = Client(server)
        for n in range(1, 3 * rounds):
            assert patiently(lambda: client.put_manifest(repo, "moved", manifest_of(n))).status == 201
            moved[0] = n

    def deleter():
        client = Client(server)
        body = manifest_of("there")
        for _ in range(rounds):
            there.change(lambda: patiently(lambda: client.put_manifest(repo, "there", body)), 200)
            there.change(lambda: patiently(
                lambda: client.request("DELETE", f"/v2/{repo}/manifests/there")), 404)

    def rights():
        for _ in range(rounds):
            for value in (1, 0):
                change = f"UPDATE project SET public = {value} WHERE name = 'busy'"
                shown.change(lambda: sql(server, change), 200 if value else 401)

    def collector():
        for _ in range(4):
            gc(server)

    def reader():
        client, last = Client(server, mode="none"), 0
        while not done.is_set():
            floor = moved[0]
            answer = client.get(f"/v2/{repo}/manifests/moved", headers=tokens)
            number = int(answer.json()["annotations"]["number"])
            if number < max(floor, last):
                wrong.append(("moved", number, floor, last))
            last = number
            for name, fact, see in (
                    ("there", there, lambda: client.get(f"/v2/{repo}/manifests/there",
                                                        headers=tokens).status),
                    ("shown", shown, lambda: client.get(f"/v2/{repo}/manifests/moved").status)):
                seen = fact.look(see)
                if seen:
                    wrong.append((name, *seen))
            served[0] += 1
        client.close()

    failed = []

    def guarded(act):
        def call():
            try:
                act()
            except BaseException as error:  # shown below
                failed.append(error)
        return call

    readers = [threading.Thread(target=guarded(reader)) for _ in range(3)]
    writers = [threading.Thread(target=guarded(act)) for act in (mover, deleter, rights, collector)]
    hits = Snapshot(server).value("berth_cache_hits_total", cache="rows")
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not failed, failed
    assert not wrong, wrong[:5]
    assert served[0] > 10
    assert Snapshot(server).value("berth_cache_hits_total", cache="rows") > hits

"""Garbage collection (docs/gc.md), from outside: berth gc, the API, the background, leases."""

import json
import sqlite3

import pytest

from lib.oci import CONFIG, IMAGE, INDEX, LAYER, Client, descriptor, digest, dump, randbytes
from lib.server import run

HOUR_US = 3600 * 1_000_000
JSON = [("Content-Type", "application/json")]
TABLES = ("blob", "repository_blob", "project_blob", "manifest", "manifest_body", "manifest_blob",
          "manifest_child", "manifest_body_review", "fact", "referrer", "dead_blob", "upload")


def gc(server, *flags, settings=()):
    """Runs berth gc and returns its report."""
    done = run("gc", "--data", server.data, "--json", *flags,
               *[word for pair in settings for word in ("--set", pair)])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def age(server, hours=30):
    """As if all that is under review had been put there earlier."""
    with sqlite3.connect(server.data / "berth.db", timeout=20) as db:
        for table in ("repository_blob", "blob", "manifest", "manifest_body_review"):
            db.execute(f"UPDATE {table} SET review_from = review_from - ?", (hours * HOUR_US,))
    db.close()


def rows(server):
    db = sqlite3.connect(server.data / "berth.db", timeout=20)
    found = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    sizes = [size for table in ("repository", "project")
             for (size,) in db.execute(f"SELECT size_bytes FROM {table}")]
    db.close()
    return found, sizes


def files(server, folder="blobs"):
    return [path for path in (server.data / folder).rglob("*") if path.is_file()]


def delete(client, repo, reference):
    response = client.request("DELETE", f"/v2/{repo}/manifests/{reference}")
    assert response.status == 202, response


def has(client, repo, name):
    return client.head(f"/v2/{repo}/blobs/{name}").status == 200


def layer_of(client, repo, manifest):
    return client.manifest(repo, manifest).json()["layers"][0]["digest"]


@pytest.fixture
def server(berth):
    return berth({"auth.anonymous": "pull"})


@pytest.fixture
def admin(server):
    client = Client(server)
    yield client
    client.close()


def test_all_that_is_deleted_goes(server, admin):
    image, _ = admin.push_image("team/app", "v1", seed=1)
    signature = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [],
                      "subject": {"mediaType": IMAGE, "digest": digest(image), "size": len(image)},
                      "annotations": {"a": "b"}})
    assert admin.put_manifest("team/app", digest(signature), signature, INDEX).status == 201
    admin.push("team/app", b"nobody's")
    location = admin.start("team/app")
    admin.patch(location, b"abandoned")
    assert gc(server)["blobs"] == 0
    told = gc(server, "--now", "--dry-run")
    assert (told["blobs"], told["blob_bytes"], told["links"], told["uploads"]) == (1, 8, 1, 1)
    assert has(admin, "team/app", digest(b"nobody's"))
    done = gc(server, "--now")
    assert (done["blobs"], done["files"], done["links"], done["uploads"]) == (1, 1, 1, 1)
    assert not has(admin, "team/app", digest(b"nobody's"))
    assert admin.manifest("team/app", "v1").body == image
    for body in (image, signature):
        delete(admin, "team/app", digest(body))
    assert gc(server)["blobs"] == 0
    gc(server, "--now")
    found, sizes = rows(server)
    assert set(found.values()) == {0}, found
    assert set(sizes) == {0}
    assert files(server) == [] and files(server, "uploads") == []


def test_shared_content_stays(server, admin):
    one, _ = admin.push_image("team/one", "v1", seed=1)
    two, _ = admin.push_image("team/two", "v1", seed=1)
    layer = layer_of(admin, "team/one", "v1")
    assert one == two
    delete(admin, "team/one", digest(one))
    assert gc(server, "--now")["blobs"] == 0
    assert not has(admin, "team/one", layer)
    assert admin.blob("team/two", layer).status == 200
    assert admin.manifest("team/two", "v1").body == two


def test_untagged_manifests_stay(server, admin):
    image, _ = admin.push_image("team/app", "v1", seed=1)
    admin.push_image("team/app", "v1", seed=2)
    age(server)
    gc(server, "--now")
    assert admin.manifest("team/app", digest(image)).body == image


def test_untagged_manifests_go_where_asked(berth):
    server = berth({"gc.untagged": "ci/*"})
    client = Client(server)
    child, _ = client.push_image("ci/app", seed=1)
    loose, _ = client.push_image("ci/app", seed=2)
    kept, _ = client.push_image("team/app", seed=2)
    index = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": IMAGE, "digest": digest(child), "size": len(child)}]})
    client.put_manifest("ci/app", "v1", index, INDEX)
    age(server)
    assert gc(server)["manifests"] == 1
    assert client.manifest("ci/app", digest(loose)).status == 404
    assert client.manifest("ci/app", digest(child)).status == 200
    assert client.manifest("team/app", digest(kept)).status == 200
    assert client.request("DELETE", "/v2/ci/app/manifests/v1").status == 202
    assert gc(server)["manifests"] == 0
    assert gc(server, "--now")["manifests"] == 2
    assert client.manifest("ci/app", digest(child)).status == 404
    assert client.blob("team/app", layer_of(client, "team/app", digest(kept))).status == 200
    client.close()


def test_head_is_a_lease_for_everybody(server, admin):
    """Also for who asks without a token, or with one for pulling, and pushes with another one."""
    names = [admin.push("team/app", data) for data in (b"asked", b"by a reader", b"pulled", b"not")]
    reader = Client(server, mode="none")
    age(server)
    assert has(admin, "team/app", names[0])
    assert has(reader, "team/app", names[1])
    assert reader.blob("team/app", names[2]).body == b"pulled"
    assert gc(server)["blobs"] == 2
    assert [has(admin, "team/app", name) for name in names] == [True, True, False, False]
    admin.push("team/app", b"{}")
    body = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}", CONFIG),
                 "layers": [descriptor(b"asked", LAYER), descriptor(b"by a reader", LAYER)]})
    assert admin.put_manifest("team/app", "v1", body).status == 201
    assert gc(server, "--now")["blobs"] == 0
    reader.close()


def test_what_is_asked_for_often_is_written_down_once(server, admin):
    name = admin.push("team/app", b"x")
    age(server)

    def review_from():
        db = sqlite3.connect(server.data / "berth.db", timeout=20)
        (value,), = db.execute("SELECT review_from FROM repository_blob")
        db.close()
        return value

    before = review_from()
    assert has(admin, "team/app", name)
    once = review_from()
    assert once > before
    for _ in range(5):
        assert has(admin, "team/app", name)
    assert review_from() == once
    age(server, hours=2)  # more than a sixteenth of the delay
    assert has(admin, "team/app", name)
    assert review_from() > once - HOUR_US


def test_mount_is_a_lease_and_may_miss(server, admin):
    kept, gone = admin.push("team/app", b"kept"), admin.push("team/app", b"gone")
    age(server)
    mount = "/v2/team/other/blobs/uploads/?from=team/app&mount="
    assert admin.request("POST", mount + kept).status == 201
    gc(server)
    assert has(admin, "team/other", kept)
    assert not has(admin, "team/app", kept)
    assert admin.request("POST", mount + gone).status == 202
    assert admin.push("team/app", b"gone") == gone
    assert admin.blob("team/app", gone).body == b"gone"


def test_head_of_a_manifest_is_a_lease(berth):
    server = berth({"gc.untagged": "*"})
    client = Client(server)
    asked, other = (client.push_image("ci/app", seed=seed)[0] for seed in (1, 2))
    age(server)
    assert client.head(f"/v2/ci/app/manifests/{digest(asked)}").status == 200
    assert gc(server)["manifests"] == 1
    assert client.head(f"/v2/ci/app/manifests/{digest(asked)}").status == 200
    assert client.head(f"/v2/ci/app/manifests/{digest(other)}").status == 404
    client.close()


def test_a_repeated_put_is_a_lease(server, admin):
    location = admin.start("team/app")
    name = digest(b"x")
    assert admin.put(location, name, b"x").status == 201
    age(server)
    assert admin.put(location, name).status == 201
    assert gc(server)["blobs"] == 0


def test_in_the_background(berth):
    server = berth({"gc.review_delay": "1s", "gc.interval": "1s", "uploads.expire": "1s",
                    "limits.uploads": "1"})
    client = Client(server)
    client.push("team/app", b"nobody's", "post")
    location = client.start("team/app")

    def collected():
        runs = server.events("gc")
        return all(any(int(r[what]) for r in runs) for what in ("blobs", "files", "uploads"))

    assert server.waits(collected, 30)
    assert files(server) == []
    assert client.patch(location, b"late").status == 404
    client.start("team/app")  # there is room for one again
    client.close()


def test_without_a_server(server, admin):
    admin.push("team/app", b"x")
    server.stop()
    assert gc(server)["blobs"] == 0
    assert gc(server, "--now", "--dry-run")["blobs"] == 1
    done = run("gc", "--data", server.data, "--now")
    assert done.returncode == 0
    assert done.stdout.startswith("Removed 1 blob, 1 B\n"), done.stdout
    assert files(server) == []
    server.start()
    client = Client(server)
    client.push("team/app", b"x")
    assert client.blob("team/app", digest(b"x")).body == b"x"
    client.close()


def test_a_killed_servers_leftovers(server, admin):
    """What a request that was cut off by kill -9 leaves: a file in uploads/ that nobody knows."""
    server.kill()
    uuid = "01234567-89ab-4def-8123-456789abcdef"
    (server.data / "uploads" / uuid).write_bytes(b"half of it")
    (server.data / "uploads" / "notes.txt").write_bytes(b"a person's")
    server.start()
    assert gc(server)["stray_uploads"] == 1
    assert [path.name for path in files(server, "uploads")] == ["notes.txt"]


def test_a_backup_keeps_files(server, admin):
    import fcntl
    admin.push("team/app", b"x")
    with open(server.data / "hold", "w") as hold:
        fcntl.flock(hold, fcntl.LOCK_SH)
        done = gc(server, "--now")
        assert (done["blobs"], done["files"], done["files_left"]) == (1, 0, 1)
        assert len(files(server)) == 1
        assert admin.blob("team/app", digest(b"x")).status == 404
    assert gc(server)["files"] == 1
    assert files(server) == []


def test_the_api_is_for_administrators(server, admin):
    boss, nobody = Client(server, mode="basic"), Client(server, mode="none")
    path = "/api/berth/v1/gc"
    assert nobody.once("POST", path, b"{}", JSON).status == 401
    wrong = Client(server, password="wrong", mode="basic")
    assert wrong.once("POST", path, b"{}", JSON).status == 401
    token = admin.token(["repository:team/app:pull,push,delete", "registry:catalog:*"])
    headers = JSON + [("Authorization", f"Bearer {token}")]
    assert nobody.once("POST", path, b"{}", headers).status in (401, 403)
    assert boss.request("POST", path, b"{}").status == 415
    for body in (b"", b"[]", b'{"now": 1}', b'{"later": true}', b'{"now": true, "now": true}'):
        assert boss.request("POST", path, body, JSON).status == 400, body
    answer = boss.request("POST", path, b'{"now": true, "dry_run": true}', JSON)
    assert answer.status == 200
    run_id = answer.json()["id"]
    assert answer.json()["finished"] is True
    assert boss.get(f"{path}/{run_id}").json() == answer.json()
    assert boss.get(f"{path}/{run_id + 1}").status == 404
    assert boss.get(f"{path}/x").status == 404
    assert nobody.once("GET", f"{path}/{run_id}").status == 401
    for client in (boss, nobody, wrong):
        client.close()


def test_the_command_line(server, tmp_path):
    assert run("gc", "--frob").returncode == 2
    assert run("gc", "word", "--data", server.data).returncode == 2
    done = run("gc", "--data", tmp_path / "nowhere")
    assert done.returncode == 1 and "no registry" in done.stderr
    assert not (tmp_path / "nowhere").exists()
    done = run("gc", "--data", server.data)
    assert (done.returncode, done.stdout) == (0, "Removed 0 blobs, 0 B\n")
    assert server.waits(lambda: server.events("gc"))
    assert server.events("gc")[-1]["blobs"] == "0"


def test_pushes_go_on_meanwhile(server, admin):
    """Many collections of what is left over, while images are pushed: none is refused, as all is
    younger than the delay, and what is old goes."""
    old = [admin.push("team/old", randbytes(100, i)) for i in range(20)]
    age(server)
    for seed in range(10):
        admin.push_image("team/app", f"v{seed}", seed=seed)
        gc(server)
        assert admin.manifest("team/app", f"v{seed}").status == 200
    assert not any(has(admin, "team/old", name) for name in old)
    for seed in range(10):
        assert admin.blob("team/app", layer_of(admin, "team/app", f"v{seed}")).status == 200

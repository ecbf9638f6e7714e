"""berth fsck: each way a store can be wrong is damaged into a sound one, found by its name and by
nothing else, and gone after --repair where that can be."""

import fcntl
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from lib.fsck import assert_sound, fsck
from lib.oci import CONFIG, IMAGE, INDEX, LAYER, Client, descriptor, digest, dump, randbytes
from lib.server import run

LOOSE_LAYER = randbytes(900, "loose")


def stored(name):
    algorithm, value = name.split(":")
    return bytes([{"sha256": 1, "sha512": 2}[algorithm]]) + bytes.fromhex(value)


class Store:
    """A data directory and what the tests know of it."""

    def __init__(self, data, **known):
        self.data = Path(data)
        self.known = known

    def __getattr__(self, name):
        return self.known[name]

    def copy(self, to):
        shutil.copytree(self.data, to)
        return Store(to, **self.known)

    def sql(self, *statements):
        db = sqlite3.connect(self.data / "berth.db", isolation_level=None)
        for statement in statements:
            text, *values = statement if isinstance(statement, tuple) else (statement,)
            changed = db.execute(text, values).rowcount
            assert changed, statement
        db.close()

    def clone(self, table, where="true", **changes):
        """Inserts a row like one that is there, but for these columns."""
        db = sqlite3.connect(self.data / "berth.db", isolation_level=None)
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        text = ", ".join("?" if c in changes else c for c in columns)
        changed = db.execute(
            f"INSERT INTO {table} SELECT {text} FROM {table} WHERE {where} LIMIT 1",
            [changes[c] for c in columns if c in changes]).rowcount
        assert changed == 1
        db.close()

    def ask(self, text, *values):
        db = sqlite3.connect(self.data / "berth.db")
        row = db.execute(text, values).fetchone()
        db.close()
        return row

    def blob_file(self, name):
        key, = self.ask("SELECT store_key FROM blob WHERE digest = ?", stored(name))
        return self.data / "blobs" / key[:2] / key

    def flip(self, name):
        path = self.blob_file(name)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def image(client, repo, tag, seed, **more):
    config = dump({"architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
                   "config": {"Labels": {"seed": seed}}, "rootfs": {"type": "layers",
                                                                    "diff_ids": []}})
    layer = randbytes(700, seed)
    for data in (config, layer):
        client.push(repo, data)
    body = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                 "layers": [descriptor(layer, LAYER)], **more})
    assert client.put_manifest(repo, tag or digest(body), body).status == 201
    return body, layer


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A store with something of everything, and no server."""
    from lib.server import Server
    data = tmp_path_factory.mktemp("fsck") / "data"
    server = Server(data, {"auth.anonymous": "push"}).start()
    client = Client(server, mode="none")
    one, layer = image(client, "team/app", "one", "one", annotations={"a.key": "value"})
    two, _ = image(client, "team/app", None, "two")
    index = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        descriptor(one, IMAGE, platform={"os": "linux", "architecture": "amd64"}),
        descriptor(two, IMAGE, platform={"os": "linux", "architecture": "arm64"})]})
    assert client.put_manifest("team/app", "both", index, INDEX).status == 201
    signature, _ = image(client, "team/app", None, "sig", subject=descriptor(one, IMAGE),
                         artifactType="application/vnd.test", annotations={"k": "v"})
    client.push("team/base", layer)
    loose, _ = image(client, "other/thing", None, "loose")
    location = client.start("team/app")
    assert client.patch(location, randbytes(500, "part")).status == 202
    client.close()
    server.stop()
    return Store(data, one=digest(one), one_body=one, layer=digest(layer), layer_data=layer,
                 two=digest(two), index=digest(index), signature=digest(signature),
                 loose=digest(loose), loose_body=loose)


@pytest.fixture
def store(origin, tmp_path):
    yield origin.copy(tmp_path / "data")
    shutil.rmtree(tmp_path / "data", ignore_errors=True)


# -- the ways; each returns nothing and is told the store

KEY = "00112233445566778899aabbccddeeff"
UUID = "00000000-0000-4000-8000-000000000001"


def blob_missing(s):
    s.blob_file(s.layer).unlink()


def blob_size(s):
    os.truncate(s.blob_file(s.layer), 10)


def blob_rotten(s):
    s.flip(s.layer)


def blob_condemned(s):
    s.sql(("INSERT INTO dead_blob SELECT store_key, size_bytes, 0 FROM blob WHERE digest = ?",
           stored(s.layer)))


def stray_blob(s):
    (s.data / "blobs" / KEY[:2] / KEY).write_bytes(b"stray")


def stray_upload(s):
    (s.data / "uploads" / UUID).write_bytes(b"stray")


def stray_new(s):
    (s.data / "admin-password.new").write_text("half")


def foreign_file(s):
    (s.data / "blobs" / "ff" / KEY).write_bytes(b"in the wrong folder")


def foreign_upload(s):
    (s.data / "uploads" / "notes.txt").write_bytes(b"?")


def upload_lost(s):
    upload, = (s.data / "uploads").iterdir()
    upload.unlink()


def upload_short(s):
    upload, = (s.data / "uploads").iterdir()
    os.truncate(upload, 499)


def manifest_rotten(s):
    body = s.loose_body.replace(b"layers", b"Layers")
    s.sql(("UPDATE manifest_body SET bytes = ? WHERE digest = ?", body, stored(s.loose)))


def manifest_unreadable(s):
    body = b"{}" + b" " * (len(s.loose_body) - 2)
    s.sql(("UPDATE manifest_body SET bytes = ?, digest = ? WHERE digest = ?", body,
           stored(digest(body)), stored(s.loose)))


def manifest_type(s):
    s.sql(("UPDATE manifest_body SET media_type = 'text/plain' WHERE digest = ?", stored(s.one)))


def manifest_subject(s):
    s.sql(("UPDATE manifest_body SET annotations = NULL WHERE digest = ?", stored(s.signature)))


def review_all_links(s):
    """So that only what follows is wrong, and not that nobody would look at what it leaves unused."""
    s.sql("UPDATE repository_blob SET review_from = 1")


def manifest_blob_gone(s):
    review_all_links(s)
    s.sql(("DELETE FROM manifest_blob WHERE position = 1 AND parent = "
           "(SELECT id FROM manifest_body WHERE digest = ?)", stored(s.one)))


def manifest_child_extra(s):
    s.sql(("INSERT INTO manifest_child SELECT id, 7, digest FROM manifest_body WHERE digest = ?",
           stored(s.index)))


def fact_changed(s):
    s.sql("UPDATE fact SET value = 'other' WHERE key = 'annotation.a.key'")


def fact_of_config_gone(s):
    s.sql("DELETE FROM fact WHERE key = 'label.seed' AND value = 'two'")


def referrer_missing(s):
    s.sql("DELETE FROM referrer")


def referrer_type(s):
    s.sql("UPDATE referrer SET artifact_type = 'other'")


def referrer_annotations(s):
    s.sql("UPDATE referrer SET annotations = NULL")


def referrer_size(s):
    s.sql("UPDATE referrer SET size_bytes = size_bytes + 1")


def referrer_extra(s):
    s.sql(("INSERT INTO referrer (repository, subject, digest, body) "
           "SELECT m.repository, ?, b.digest, b.id FROM manifest m JOIN manifest_body b "
           "ON b.id = m.body WHERE b.digest = ?", stored(s.one), stored(s.two)))


def blob_unlinked(s):
    size, project = len(s.layer_data), "(SELECT id FROM project WHERE name = 'team')"
    s.sql(("DELETE FROM repository_blob WHERE blob = (SELECT id FROM blob WHERE digest = ?) AND "
           "repository = (SELECT id FROM repository WHERE full_name = 'team/app')",
           stored(s.layer)),
          ("UPDATE project_blob SET repositories = 1 WHERE blob = "
           f"(SELECT id FROM blob WHERE digest = ?) AND project = {project}", stored(s.layer)),
          ("UPDATE repository SET size_bytes = size_bytes - ? WHERE full_name = 'team/app'", size))


def child_missing(s):
    review_all_links(s)
    size, = s.ask("SELECT size_bytes FROM manifest_body WHERE digest = ?", stored(s.two))
    s.sql(("DELETE FROM manifest WHERE body = (SELECT id FROM manifest_body WHERE digest = ?)",
           stored(s.two)),
          ("INSERT INTO manifest_body_review SELECT id, 0 FROM manifest_body WHERE digest = ?",
           stored(s.two)),
          ("UPDATE repository SET size_bytes = size_bytes - ? WHERE full_name = 'team/app'", size),
          ("UPDATE project SET size_bytes = size_bytes - ? WHERE name = 'team'", size))


def tag_dangling(s):
    s.sql(("UPDATE tag SET digest = ? WHERE name = 'one'", stored(digest(b"nothing"))))


def link_forgotten(s):
    s.sql(("UPDATE repository_blob SET review_from = NULL WHERE repository = "
           "(SELECT id FROM repository WHERE full_name = 'team/base')",))


def link_forgotten_until_2099(s):
    s.sql(("UPDATE repository_blob SET review_from = 4070908800000000 WHERE repository = "
           "(SELECT id FROM repository WHERE full_name = 'team/base')",))


def body_forgotten(s):
    body = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % INDEX.encode()
    s.clone("manifest_body", "artifact_type IS NULL AND subject IS NULL", id=99999, bytes=body,
            size_bytes=len(body), digest=stored(digest(body)), media_type=INDEX)


def blob_forgotten(s):
    s.clone("blob", id=99999, digest=stored(digest(b"unlinked")), store_key=KEY, review_from=None,
            size_bytes=8)
    (s.data / "blobs" / KEY[:2] / KEY).write_bytes(b"unlinked")


def repository_size(s):
    s.sql("UPDATE repository SET size_bytes = size_bytes + 1 WHERE full_name = 'team/base'")


def project_size(s):
    s.sql("UPDATE project SET size_bytes = size_bytes - 1 WHERE name = 'team'")


def project_blob_count(s):
    s.sql("UPDATE project_blob SET repositories = repositories + 1 WHERE repositories = 2")


def project_blob_gone(s):
    s.sql("DELETE FROM project_blob WHERE repositories = 2")


def project_blob_extra(s):
    s.sql("INSERT INTO project_blob SELECT p.id, b.id, 1 FROM project p, blob b "
          "WHERE p.name = 'library' LIMIT 1")


def derived_row_dangling(s):
    s.sql("INSERT INTO fact VALUES (99999, 'key', 'value')",
          "INSERT INTO manifest_blob VALUES (99999, 0, x'01')")


def row_dangling(s):
    s.clone("repository_blob", repository=99999)


def project_dangling(s):
    s.sql("INSERT INTO repository (project, full_name, created_at) VALUES (99999, 'lost/one', 0)")


def row_malformed(s):
    s.clone("blob", id=99999, digest=b"\x07", store_key="no key", review_from=0)


def database_damaged(s):
    page, = s.ask("SELECT rootpage FROM sqlite_schema WHERE name = 'tag_history'")
    with open(s.data / "berth.db", "r+b") as f:
        f.seek((page - 1) * 4096)
        f.write(b"\xa5" * 4096)


def database_unrecognisable(s):
    with open(s.data / "berth.db", "r+b") as f:
        f.write(b"\xa5" * 4096)


ERROR, NOTE = "error", "note"
# What is damaged, what it is called, how bad that is, what is still told after --repair.
WAYS = [
    (blob_missing, "blob-missing", ERROR, {"blob-damaged"}),
    (blob_size, "blob-size", ERROR, {"blob-damaged"}),
    (blob_rotten, "blob-rotten", ERROR, {"blob-damaged"}),
    (blob_condemned, "blob-condemned", ERROR, set()),
    (stray_blob, "stray-blob", NOTE, set()),
    (stray_upload, "stray-upload", NOTE, set()),
    (stray_new, "stray-new", NOTE, set()),
    (foreign_file, "foreign-file", NOTE, {"foreign-file"}),
    (foreign_upload, "foreign-file", NOTE, {"foreign-file"}),
    (upload_lost, "upload-lost", NOTE, set()),
    (upload_short, "upload-short", ERROR, set()),
    (manifest_rotten, "manifest-rotten", ERROR, set()),
    (manifest_unreadable, "manifest-unreadable", ERROR, {"manifest-unreadable"}),
    (manifest_type, "manifest-columns", ERROR, set()),
    (manifest_subject, "manifest-columns", ERROR, set()),
    (manifest_blob_gone, "manifest-references", ERROR, set()),
    (manifest_child_extra, "manifest-references", ERROR, set()),
    (fact_changed, "manifest-facts", ERROR, set()),
    (fact_of_config_gone, "manifest-facts", ERROR, set()),
    (referrer_missing, "referrer-missing", ERROR, set()),
    (referrer_type, "referrer-missing", ERROR, set()),
    (referrer_annotations, "referrer-missing", ERROR, set()),
    (referrer_size, "referrer-missing", ERROR, set()),
    (referrer_extra, "referrer-extra", ERROR, set()),
    (blob_unlinked, "blob-unlinked", ERROR, {"blob-unlinked"}),
    (child_missing, "child-missing", NOTE, {"child-missing"}),
    (tag_dangling, "tag-dangling", ERROR, {"tag-dangling"}),
    (link_forgotten, "never-collected", ERROR, set()),
    (link_forgotten_until_2099, "never-collected", ERROR, set()),
    (body_forgotten, "never-collected", ERROR, set()),
    (blob_forgotten, "never-collected", ERROR, set()),
    (repository_size, "repository-size", ERROR, set()),
    (project_size, "project-size", ERROR, set()),
    (project_blob_count, "project-blob", ERROR, set()),
    (project_blob_gone, "project-blob", ERROR, set()),
    (project_blob_extra, "project-blob", ERROR, set()),
    (derived_row_dangling, "row-dangling", ERROR, set()),
    (row_dangling, "row-dangling", ERROR, set()),
    (project_dangling, "row-dangling", ERROR, {"row-dangling"}),
    (row_malformed, "row-malformed", ERROR, {"row-malformed"}),
    (database_damaged, "database-damaged", ERROR, {"database-damaged"}),
    (database_unrecognisable, "database-damaged", ERROR, {"database-damaged"}),
]


def test_sound(store):
    report = fsck(store.data)
    assert report.code == 0 and not report.findings, report
    assert report.counts == {"complete": True, "blobs": 8, "manifests": 5, "tags": 2,
                             "repositories": 3, "uploads": 1, "errors": 0, "notes": 0,
                             "repaired": 0, "blob_bytes": report.counts["blob_bytes"]}
    assert fsck(store.data, "--quick").counts == report.counts


@pytest.mark.parametrize("damage, word, severity, left", WAYS,
                         ids=[way[0].__name__ for way in WAYS])
def test_named_and_repaired(store, damage, word, severity, left):
    damage(store)
    report = fsck(store.data)
    assert report.words() == report.words(severity) == {word}, report
    assert report.code == (severity == ERROR)
    assert all(f["outcome"] == "left" for f in report.findings)

    repair = fsck(store.data, "--repair")
    assert word in repair.words(), repair
    again = fsck(store.data)
    assert again.words() == left, again
    assert again.code == bool(again.words("error"))
    if not left and word != "manifest-rotten":
        assert repair.code == 0, repair  # nothing is wrong any more


def test_every_finding_is_tested():
    """But what other tests here are about."""
    text = (Path(__file__).parents[2] / "src/registry/check.def").read_text()
    import re
    words = set(re.findall(r'FINDING\(\w+, "([a-z-]+)"', text))
    assert words - {way[1] for way in WAYS} == {"blob-damaged", "blob-damaged-unused",
                                                "blob-healed"}


def test_quick_reads_no_blobs(store):
    blob_rotten(store)
    assert fsck(store.data, "--quick").words() == set()
    blob_size(store)
    assert fsck(store.data, "--quick").words() == {"blob-size"}


def test_rot_is_repaired_by_a_push(store, berth):
    blob_rotten(store)
    path = store.blob_file(store.layer)
    report = fsck(store.data, "--repair")
    finding, = report.findings
    assert report.code == 1 and finding["outcome"] == "contained"
    assert "team/app" in finding["where"] and store.layer in finding["where"]
    assert not path.exists() and (store.data / "quarantine" / path.name).exists()

    server = berth({"auth.anonymous": "push"}, data=store.data)
    client = Client(server, mode="none")
    for method in ("GET", "HEAD"):
        target = f"/v2/team/app/blobs/{store.layer}"
        assert client.request(method, target).status == 404
    mount = client.request("POST", f"/v2/new/one/blobs/uploads/?mount={store.layer}&from=team/app")
    assert mount.status == 202  # to be uploaded, not linked
    assert client.put_manifest("team/app", "again", store.one_body).status == 400
    assert client.push("team/base", store.layer_data) == store.layer
    assert client.blob("team/app", store.layer).body == store.layer_data
    assert client.put_manifest("team/app", "again", store.one_body).status == 201
    client.close()
    server.stop()
    assert fsck(store.data).words("error") == set()


def test_rotten_manifest_is_repaired_by_a_push(store, berth):
    store.sql(("UPDATE manifest_body SET bytes = ? WHERE digest = ?",
               store.one_body.replace(b"layers", b"Layers"), stored(store.one)))
    assert fsck(store.data).words("error") == {"manifest-rotten"}
    assert fsck(store.data, "--repair").words() == {"manifest-rotten", "tag-dangling",
                                                    "child-missing"}
    kept = store.data / "quarantine" / ("manifest-" + store.one.split(":")[1])
    assert b"Layers" in kept.read_bytes()
    server = berth({"auth.anonymous": "push"}, data=store.data)
    client = Client(server, mode="none")
    assert client.manifest("team/app", "one").status == 404
    assert client.put_manifest("team/app", store.one, store.one_body).status == 201
    assert client.manifest("team/app", "one").body == store.one_body
    client.close()
    server.stop()
    assert_sound(store.data)


def test_a_file_put_back_heals(store):
    path = store.blob_file(store.layer)
    good = path.read_bytes()
    path.unlink()
    fsck(store.data, "--repair")
    path.write_bytes(good)
    assert fsck(store.data).words() == {"blob-healed"}
    assert fsck(store.data, "--repair").code == 0
    assert fsck(store.data).findings == []


def test_what_was_not_read_stays(store):
    """A quick run cannot tell whether the file that was put back is good."""
    path = store.blob_file(store.layer)
    good = path.read_bytes()
    path.unlink()
    fsck(store.data, "--repair")
    path.write_bytes(good)
    report = fsck(store.data, "--quick", "--repair")
    assert report.code == 1 and report.words() == {"blob-damaged"}
    assert path.read_bytes() == good
    assert fsck(store.data, "--repair").words() == {"blob-healed"}
    assert fsck(store.data).findings == []


def test_a_bad_file_put_back_does_not(store):
    path = store.blob_file(store.layer)
    path.unlink()
    fsck(store.data, "--repair")
    path.write_bytes(bytes(len(store.layer_data)))
    assert fsck(store.data, "--repair").words() == {"blob-damaged"}
    assert not path.exists()


def test_unused_damage_is_harmless(store):
    """A blob nobody links is about to be collected, perhaps half-way through that."""
    blob_unlinked(store)
    size = len(store.layer_data)
    store.sql(("DELETE FROM repository_blob WHERE blob = (SELECT id FROM blob WHERE digest = ?)",
               stored(store.layer)),
              ("DELETE FROM project_blob WHERE blob = (SELECT id FROM blob WHERE digest = ?)",
               stored(store.layer)),
              ("UPDATE repository SET size_bytes = size_bytes - ? WHERE full_name = 'team/base'",
               size),
              ("UPDATE project SET size_bytes = size_bytes - ? WHERE name = 'team'", size),
              ("UPDATE blob SET review_from = 0 WHERE digest = ?", stored(store.layer)))
    blob_missing(store)
    report = fsck(store.data)
    assert report.words("note") == {"blob-damaged-unused"}
    assert report.words("error") == {"blob-unlinked"}


def test_sparse_repositories_may_lack_content(store):
    blob_unlinked(store)
    assert fsck(store.data, "--set", "manifests.sparse=team/*").findings == []
    assert fsck(store.data, "--set", "manifests.sparse=other/*").words() == {"blob-unlinked"}


def test_text(store):
    blob_rotten(store)
    (store.data / "uploads" / "a\x1b[31mred").write_bytes(b"")
    done = run("fsck", "--data", store.data)
    assert done.returncode == 1 and done.stderr == ""
    error, note, last = done.stdout.splitlines()
    assert error.startswith(f"error blob-rotten: blob {store.layer} of team/app, team/base (blobs/")
    assert "--repair moves the file to quarantine" in error
    assert note.startswith("note foreign-file: uploads/a?[31mred: ")
    assert last.endswith("1 error, 1 note, 0 repaired: not clean")
    done = run("fsck", "--data", store.data, "--repair")
    assert "Done: --repair moves" in done.stdout


def test_needs_the_store_for_itself(store, berth, tmp_path):
    server = berth(data=store.data)
    done = run("fsck", "--data", store.data)
    assert done.returncode == 3 and "stop it first" in done.stderr
    server.stop()
    with open(store.data / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run("fsck", "--data", store.data).returncode == 3
    assert run("fsck", "--data", store.data).returncode == 0


def test_makes_nothing_where_there_is_nothing(tmp_path):
    for data in (tmp_path / "absent", tmp_path):
        done = run("fsck", "--data", data)
        assert done.returncode == 3 and "no registry" in done.stderr
        assert list(tmp_path.iterdir()) == []
    assert run("fsck", "--data", tmp_path, "word").returncode == 2
    assert run("fsck", "--nonsense").returncode == 2


def test_a_newer_database(store):
    store_version = store.ask("PRAGMA user_version")[0]
    db = sqlite3.connect(store.data / "berth.db")
    db.execute(f"PRAGMA user_version = {store_version + 100}")
    db.close()
    done = run("fsck", "--json", "--data", store.data)
    assert done.returncode == 3 and "schema version" in done.stderr
    assert json.loads(done.stdout)["complete"] is False

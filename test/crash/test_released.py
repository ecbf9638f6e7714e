"""Every schema that was released leads to today's, and loses nothing on the way."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from lib.fsck import fsck
from lib.oci import Client, digest
from lib.server import PASSWORD, ROOT, run

RELEASED = sorted((ROOT / "test/released").glob("[0-9]*.sql"))
MIGRATIONS = sorted((ROOT / "src/db/schema/sqlite").glob("*.sql"))


def shape(db):
    """Tables, indexes and constraints as the engine understands them, not as they are spelled."""
    found = {}
    for name, kind in db.execute("SELECT name, type FROM sqlite_schema").fetchall():
        about = {"table": ("table_xinfo", "foreign_key_list", "index_list"),
                 "index": ("index_xinfo",)}[kind]
        found[name] = [sorted(row) if pragma == "index_list" else row for pragma in about
                       for row in map(str, db.execute(f"SELECT * FROM pragma_{pragma}(?)",
                                                      (name,)))]
    return found


def rows(db, table):
    return {tuple(row) for row in db.execute(f"SELECT * FROM {table}")}


def unpack(script, data):
    """The data directory the fixture was made of."""
    for folder in ("blobs", "uploads", "quarantine"):
        (data / folder).mkdir(parents=True)
    for i in range(256):
        (data / "blobs" / f"{i:02x}").mkdir()
    for name, text in json.loads(script.with_suffix(".json").read_text()).items():
        folder = data / "uploads" if "-" in name else data / "blobs" / name[:2]
        (folder / name).write_text(text)
    db = sqlite3.connect(data / "berth.db")
    db.executescript(script.read_text())
    return db


def test_there_is_a_store_of_each(tmp_path):
    """One for every schema but the newest, which may be unreleased; and none of those that have one
    has changed since."""
    numbers = [int(path.stem) for path in RELEASED]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [int(path.name[:4]) for path in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    assert len(RELEASED) in (len(MIGRATIONS), len(MIGRATIONS) - 1)
    fresh = sqlite3.connect(":memory:")
    for script, migration in zip(RELEASED, MIGRATIONS):
        fresh.executescript(migration.read_text())
        old = unpack(script, tmp_path / script.stem)
        assert old.execute("PRAGMA user_version").fetchone()[0] == int(script.stem)
        want, have = shape(fresh), shape(old)
        assert {name: have.get(name) for name in want} == want, "a released schema was changed"
        old.close()


@pytest.mark.parametrize("script", RELEASED, ids=lambda path: path.stem)
def test_opens_with_everything(script, berth, tmp_path):
    data = tmp_path / "data"
    old = unpack(script, data)
    users, tags = rows(old, "user"), old.execute("SELECT count(*) FROM tag").fetchone()
    linked = ("SELECT r.full_name, b.digest, b.bytes FROM manifest m JOIN manifest_body b "
              "ON b.id = m.body JOIN repository r ON r.id = m.repository")
    manifests = set(old.execute(linked))
    old.close()
    before = fsck(data)
    server = berth(data=data)
    client = Client(server)  # the old password
    for repository, tag in (("team/app", "1.0"), ("team/app", "both"), ("app", "latest")):
        answer = client.manifest(repository, tag)
        assert answer.status == 200 and answer.body in {m[2] for m in manifests}
        for name in re.findall(r"sha256:[0-9a-f]{64}", answer.body.decode()):
            answers = [client.blob(repository, name), client.manifest(repository, name)]
            assert digest(next(a.body for a in answers if a.status == 200)) == name
    one = digest(client.manifest("team/app", "1.0").body)
    referrers = client.get(f"/v2/team/app/referrers/{one}").json()["manifests"]
    assert [r["annotations"] for r in referrers] == [{"k": "v"}]
    client.mode = "basic"
    log = client.get("/api/berth/v1/repositories/team/app/tags/1.0/history").json()
    client.mode = "bearer"
    assert len(log["history"]) == 2, log
    client.push_image("team/app", "new", seed="new")
    client.close()
    server.stop()
    assert not before.words("error") and not fsck(data).words("error")

    made = berth().data  # by today's program from nothing
    new, fresh = sqlite3.connect(data / "berth.db"), sqlite3.connect(made / "berth.db")
    assert shape(new) == shape(fresh)
    assert new.execute("PRAGMA user_version").fetchone() == fresh.execute(
        "PRAGMA user_version").fetchone()
    assert new.execute("SELECT count(*) FROM tag").fetchone()[0] == tags[0] + 1
    assert {row[1:3] for row in rows(new, "user")} == {row[1:3] for row in users}
    assert manifests <= set(new.execute(linked))

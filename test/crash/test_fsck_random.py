"""Any damage, then fsck --repair and a collection: what is left is exactly what manifests refer to,
nothing that was whole is gone, and nothing is left that nobody would ever collect.

What has to be left is worked out here from the damaged store's manifests alone, not from what the
program notes about them."""

import hashlib
import json
import random
import shutil
import sqlite3

import pytest

from lib.fsck import fsck
from lib.oci import CONFIG, IMAGE, INDEX, LAYER, Client, descriptor, digest, dump
from lib.server import Server, run

REPOSITORIES = ("team/app", "team/base", "other/thing")
# After repair and collection: content that is missing, and where it is missed. Nothing else.
MAY_BE_LEFT = {"blob-damaged", "blob-unlinked", "child-missing", "tag-dangling"}


def layer(i):
    return random.Random(i).randbytes(200 + i)


def image(i, layers, **more):
    config = dump({"architecture": "amd64", "os": "linux", "n": i})
    return config, dump({
        "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
        "layers": [descriptor(layer(j), LAYER) for j in layers], **more})


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """Images that share layers within and across repositories, indexes, referrers, untagged ones,
    an upload, and some of what a collection would take."""
    dice = random.Random(1)
    data = tmp_path_factory.mktemp("random") / "data"
    server = Server(data, {"auth.anonymous": "push"}).start()
    client = Client(server, mode="none")
    for repository in REPOSITORIES:
        bodies = []
        for i in range(5):
            layers = dice.sample(range(8), 3)
            subject = {"subject": descriptor(bodies[0], IMAGE)} if i == 4 else {}
            config, body = image(dice.randrange(4), layers, **subject)
            for blob in (config, *map(layer, layers)):
                client.push(repository, blob)
            tag = f"t{i}" if i % 2 else digest(body)
            assert client.put_manifest(repository, tag, body).status == 201
            bodies.append(body)
        index = dump({"schemaVersion": 2, "mediaType": INDEX,
                      "manifests": [descriptor(b, IMAGE) for b in bodies[:2]]})
        assert client.put_manifest(repository, "index", index, INDEX).status == 201
        gone = digest(bodies[3])
        assert client.request("DELETE", f"/v2/{repository}/manifests/{gone}").status == 202
        client.push(repository, b"nobody uses it " + repository.encode())
    assert client.patch(client.start("team/app"), b"half").status == 202
    client.close()
    server.stop()
    assert run("gc", "--data", data).returncode == 0
    return data


# -- damage: each takes the database, the store's directory and dice

TABLES = ("blob", "repository_blob", "project_blob", "manifest_body", "manifest", "fact",
          "referrer", "manifest_child", "manifest_blob", "tag", "repository",
          "manifest_body_review")
KEYS = ("repository_blob", "project_blob", "manifest", "manifest_child", "manifest_blob")


def pick(db, dice, table):
    """The condition that selects one row of a table, with its values; None without rows."""
    columns = [c[1] for c in db.execute(f"PRAGMA table_info({table})")]
    found = db.execute(f"SELECT * FROM {table}").fetchall()
    if not found:
        return None
    row = dice.choice(sorted(found, key=repr))
    return " AND ".join(f"{c} IS ?" for c in columns), row


def delete_row(db, data, dice):
    table = dice.choice(TABLES)
    if picked := pick(db, dice, table):
        db.execute(f"DELETE FROM {table} WHERE {picked[0]}", picked[1])


def delete_many(db, data, dice):
    table = dice.choice(("fact", "referrer", "manifest_child", "manifest_blob", "project_blob",
                         "manifest_body_review"))
    db.execute(f"DELETE FROM {table}")


def forget_review(db, data, dice):
    table = dice.choice(("repository_blob", "blob", "manifest"))
    value = dice.choice((None, None, 0, 1 << 62))
    if picked := pick(db, dice, table):
        db.execute(f"UPDATE {table} SET review_from = ? WHERE {picked[0]}", (value, *picked[1]))


def point_elsewhere(db, data, dice):
    """One number of a row that is a reference."""
    table = dice.choice(KEYS)
    column = dice.choice([c[1] for c in db.execute(f"PRAGMA table_info({table})") if c[5]])
    if picked := pick(db, dice, table):
        db.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {picked[0]}",
                   (dice.choice((1, 2, 3, 99999)), *picked[1])
                   if column != "digest" else (b"\1" + bytes(32), *picked[1]))


def rot_manifest(db, data, dice):
    where, row = pick(db, dice, "manifest_body")
    db.execute(f"UPDATE manifest_body SET bytes = ? WHERE {where}", (b"{}" + row[-1][2:], *row))


def wrong_total(db, data, dice):
    table = dice.choice(("repository", "project"))
    db.execute(f"UPDATE {table} SET size_bytes = size_bytes + ?", (dice.randrange(-50, 50),))


def dead_but_alive(db, data, dice):
    db.execute("INSERT OR IGNORE INTO dead_blob SELECT store_key, size_bytes, 0 FROM blob "
               "ORDER BY digest LIMIT 1 OFFSET ?", (dice.randrange(8),))


def file_damage(db, data, dice):
    files = sorted((data / "blobs").glob("??/*"))
    if not files:
        return
    path = dice.choice(files)
    way = dice.randrange(4)
    if way == 0:
        path.unlink()
    elif way == 1:
        path.write_bytes(path.read_bytes()[:-1])
    elif way == 2:
        path.write_bytes(path.read_bytes()[:-1] + b"\xff\xfe"[:1])
    else:
        (path.parent / (path.parent.name + "0" * 30)).write_bytes(b"stray")


DAMAGE = (delete_row, delete_row, delete_row, delete_many, forget_review, forget_review,
          point_elsewhere, rot_manifest, wrong_total, dead_but_alive, file_damage)


# -- the model

def refs(body):
    """Digests of what a manifest names as blobs."""
    parsed = json.loads(body)
    named = parsed.get("layers", []) + ([parsed["config"]] if "config" in parsed else [])
    return {stored(d["digest"]) for d in named}


def stored(name):
    return b"\1" + bytes.fromhex(name.split(":")[1])


def whole(name, data):
    return name == b"\1" + hashlib.sha256(data).digest()


class Model:
    """What must be there, from the rows whose parts are there and whole."""

    def __init__(self, db, data):
        names = dict(db.execute("SELECT id, full_name FROM repository"))
        bodies = {id: (name, text) for id, name, text
                  in db.execute("SELECT id, digest, bytes FROM manifest_body") if whole(name, text)}
        blobs = {id: (name, key) for id, name, key
                 in db.execute("SELECT id, digest, store_key FROM blob")}
        self.manifests = {(names[r], bodies[b][0])
                          for r, b in db.execute("SELECT repository, body FROM manifest")
                          if r in names and b in bodies}
        texts = dict(bodies.values())
        self.bodies = {(name, texts[name]) for _, name in self.manifests}
        used = {(repository, name) for repository, body in self.manifests
                for name in refs(texts[body])}
        self.links = {(names[r], blobs[b][0])
                      for r, b in db.execute("SELECT repository, blob FROM repository_blob")
                      if r in names and b in blobs} & used
        self.blobs = {name for _, name in self.links}
        keys = dict(blobs.values())
        files = {path.name: path for path in (data / "blobs").glob("??/*")}
        self.files = {keys[name] for name in self.blobs if keys[name] in files
                      and whole(name, files[keys[name]].read_bytes())}


def state(db, data):
    """The same of a store that was repaired and collected, with nothing worked out."""
    model = Model.__new__(Model)
    model.manifests = set(db.execute(
        "SELECT r.full_name, b.digest FROM manifest m JOIN repository r ON r.id = m.repository "
        "JOIN manifest_body b ON b.id = m.body"))
    model.bodies = set(db.execute("SELECT digest, bytes FROM manifest_body"))
    model.links = set(db.execute(
        "SELECT r.full_name, b.digest FROM repository_blob l JOIN repository r "
        "ON r.id = l.repository JOIN blob b ON b.id = l.blob"))
    model.blobs = {row[0] for row in db.execute("SELECT digest FROM blob")}
    model.files = {path.name for path in (data / "blobs").glob("??/*")}
    return model


@pytest.mark.parametrize("seed", range(12))
def test_repair_leaves_what_is_referenced(origin, tmp_path, seed):
    dice = random.Random(seed)
    data = tmp_path / "data"
    shutil.copytree(origin, data)
    db = sqlite3.connect(data / "berth.db", isolation_level=None)
    done = []
    for _ in range(dice.randrange(1, 7)):
        done.append(dice.choice(DAMAGE))
        done[-1](db, data, dice)
    want = Model(db, data)
    db.close()
    story = ", ".join(f.__name__ for f in done)

    repair = fsck(data, "--repair")
    collected = run("gc", "--now", "--data", data)
    assert collected.returncode == 0, (story, repair, collected)
    after = fsck(data)
    assert after.words() <= MAY_BE_LEFT, (story, repair, after)
    db = sqlite3.connect(data / "berth.db")
    have = state(db, data)
    left = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("dead_blob", "manifest_body_review", "upload")]
    db.close()
    for part in ("manifests", "bodies", "links", "blobs", "files"):
        assert getattr(have, part) == getattr(want, part), (story, part, repair, after)
    assert left == [0, 0, 0], (story, left)
    assert not list((data / "uploads").iterdir()), story
    shutil.rmtree(data)

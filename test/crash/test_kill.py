"""kill -9 under load, again and again: every acknowledged push is there afterwards."""

import os
import random
import threading
import time

import pytest

from lib.fsck import assert_sound
from lib.ledger import Ledger, database_errors
from lib.oci import CONFIG, FLAVOURS, IMAGE, LAYER, Client, descriptor, digest, dump, randbytes
from lib.raw import Closed

WRITERS, ROUNDS = 6, 20

pytestmark = pytest.mark.slow


class Writer:
    """Pushes and mounts blobs, pushes images, moves and deletes tags, until the server dies."""

    def __init__(self, number, seed):
        self.random = random.Random(f"{seed}/{number}")
        self.repo = f"w{number}/repo"
        self.ledger = Ledger()
        self.error = None
        self.answers = 0

    def run(self, server):
        client = Client(server, mode="none")
        try:
            while True:
                self.step(client)
        except (Closed, OSError):
            pass  # killed; what was in flight stays pending in the ledger
        except AssertionError as error:
            self.error = error
        finally:
            client.close()

    def acknowledged(self, changes, act, status=201):
        self.ledger.begin(changes)
        response = act()
        assert response.status == status, response
        self.ledger.done(response)
        self.answers += 1

    def step(self, client):
        rng = self.random
        layer = rng.randbytes(rng.choice([1, 300, 5_000, 200_000]))
        config = b'{"n":%d}' % rng.getrandbits(60)
        for data in (layer, config):
            name = digest(data, rng.choice(["sha256", "sha256", "sha512"])) \
                if data is layer and rng.random() < 0.2 else digest(data)
            self.acknowledged({("blob", self.repo, name): data}, lambda d=data, n=name:
                              client.push_raw(self.repo, d, rng.choice(FLAVOURS), n))
            if name != digest(data):  # the manifest names it by sha256
                self.acknowledged({("blob", self.repo, digest(data)): data},
                                  lambda d=data: client.push_raw(self.repo, d, "post"))
        if rng.random() < 0.3:
            other = f"{self.repo}/mounted"
            self.acknowledged({("blob", other, digest(layer)): layer}, lambda: client.request(
                "POST", f"/v2/{other}/blobs/uploads/?mount={digest(layer)}&from={self.repo}"))
        body = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                     "layers": [descriptor(layer, LAYER)]})
        tag = rng.choice(["latest", "stable", "edge"])
        self.acknowledged(
            {("manifest", self.repo, digest(body)): body, ("manifest", self.repo, tag): body},
            lambda: client.put_manifest(self.repo, tag, body))
        if rng.random() < 0.2:
            self.acknowledged({("manifest", self.repo, tag): None}, lambda: client.request(
                "DELETE", f"/v2/{self.repo}/manifests/{tag}"), 202)

    def settle(self, client):
        """What was in flight has happened or not; from now on what is there counts."""
        ledger = self.ledger
        for key in ledger.pending:
            kind, repo, name = key
            response = (client.blob if kind == "blob" else client.manifest)(repo, name)
            if response.status == 200:
                ledger.facts[key] = response.body
            elif kind == "manifest":
                ledger.facts[key] = None
        ledger.pending = {}


def collect(server):
    """Garbage collection all the time: nothing is due, and so nothing may go."""
    client = Client(server, mode="basic")
    try:
        while True:
            response = client.request("POST", "/api/berth/v1/gc", b"{}",
                                      [("Content-Type", "application/json")])
            assert response.status in (200, 202), response
    except (Closed, OSError):
        pass  # killed
    finally:
        client.close()


def test_kill_under_load(berth):
    seed = int(os.environ.get("BERTH_SEED", random.SystemRandom().getrandbits(32)))
    print(f"BERTH_SEED={seed}")
    rng = random.Random(seed)
    server = berth({"auth.anonymous": "push"})
    writers = [Writer(i, seed) for i in range(WRITERS)]
    for round_number in range(ROUNDS):
        before = sum(w.answers for w in writers)
        threads = [threading.Thread(target=w.run, args=(server,)) for w in writers]
        threads.append(threading.Thread(target=collect, args=(server,)))
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.1, 0.9))  # the load itself, not synchronisation
        while sum(w.answers for w in writers) <= before + 5 and all(t.is_alive() for t in threads):
            time.sleep(0.01)
        server.kill()
        for thread in threads:
            thread.join()
        assert not [w.error for w in writers if w.error]
        if round_number % 2:  # in the other rounds the server itself is the first to open what is left
            assert_sound(server.data)
        server.start()
        client = Client(server, mode="none")
        for writer in writers:
            assert writer.ledger.missing(client) == [], f"round {round_number}"
            writer.settle(client)
        client.close()
    assert sum(w.answers for w in writers) > 5 * ROUNDS
    facts = sum(len(w.ledger.facts) for w in writers)
    server.stop()
    assert database_errors(server.data / "berth.db") == []
    assert_sound(server.data)
    print(f"{ROUNDS} kills, {sum(w.answers for w in writers)} answers, {facts} facts")
    # Each kill may strand what was in flight, and no more.
    blobs = {name for w in writers for kind, _, name in w.ledger.facts if kind == "blob"}
    files = sum(1 for path in (server.data / "blobs").rglob("*") if path.is_file())
    assert files <= len(blobs) + ROUNDS * WRITERS
    assert len(list((server.data / "uploads").iterdir())) <= ROUNDS * WRITERS


def test_disk_full(berth, tmp_path):
    """No space: a clear refusal, nothing acknowledged is lost, and it goes on when there is space."""
    import subprocess
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk])
    if done.returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        server = berth({"auth.anonymous": "push", "storage.reserve": "0B"}, data=disk / "data")
        client = Client(server, mode="none")
        kept = {client.push("f/a", randbytes(1_000_000, i)): i for i in range(4)}
        refused = None
        for i in range(100, 130):
            response = client.push_raw("f/a", randbytes(2_000_000, i), "post")
            if response.status != 201:
                refused = response
                break
            kept[response.header("docker-content-digest")] = i
        assert refused is not None and refused.status == 507, refused
        assert "disk" in refused.message or "space" in refused.message
        for name, i in kept.items():
            data = randbytes(1_000_000 if i < 100 else 2_000_000, i)
            assert client.blob("f/a", name).body == data
        assert client.get("/healthz").status == 200
        subprocess.run(["mount", "-o", "remount,size=48m", disk], check=True)
        client.push("f/a", randbytes(2_000_000, "after"))
        client.close()
        server.restart(hard=True)
        assert client.blob("f/a", digest(randbytes(2_000_000, "after"))).status == 200
        client.close()
        server.stop()
    finally:
        subprocess.run(["umount", "-l", disk])

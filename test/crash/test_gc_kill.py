"""kill -9 while garbage is collected without any delay and clients push, ask, delete and tag: what
was acknowledged as a whole image stays whole, and in the end nothing is left over."""

import os
import random
import threading
import time

import pytest

from lib.fsck import assert_sound
from lib.oci import CONFIG, IMAGE, LAYER, Client, descriptor, digest, dump
from lib.raw import Closed
from lib.server import run

WRITERS, ROUNDS, SHARED = 4, 10, 6

pytestmark = pytest.mark.slow


class Pusher:
    """Pushes images out of few layers, so that what one needs is what another has just let go."""

    def __init__(self, number, seed):
        self.random = random.Random(f"{seed}/{number}")
        self.layers = [random.Random(f"{seed}/{i}").randbytes(1000 * (i + 1)) for i in range(SHARED)]
        self.repos = [f"w{number}/app", "library/shared"]
        self.images = {}  # (repository, digest): (manifest, config, layer), acknowledged
        self.unsure = set()  # what was being deleted
        self.error = None
        self.pushed = self.refused = 0
        self.number = number

    def run(self, server):
        client = Client(server, mode="none")
        try:
            while True:
                self.step(client)
        except (Closed, OSError):
            pass  # killed
        except AssertionError as error:
            self.error = error
        finally:
            client.close()

    def bring(self, client, repo, data):
        """As docker does: what is there already is not sent, what is elsewhere is mounted."""
        if client.head(f"/v2/{repo}/blobs/{digest(data)}").status == 200:
            return
        source = self.random.choice(self.repos)
        if source != repo and client.request(
                "POST", f"/v2/{repo}/blobs/uploads/?mount={digest(data)}&from={source}").status == 201:
            return
        response = client.push_raw(repo, data, "post" if self.random.random() < 0.5 else "stream")
        # Its upload may have been taken as abandoned: there is no delay.
        assert response.status in (201, 404, 409), response

    def step(self, client):
        repo = self.random.choice(self.repos)
        layer = self.random.choice(self.layers)
        config = b'{"by":%d,"n":%d}' % (self.number, self.random.randrange(4))
        body = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                     "layers": [descriptor(layer, LAYER)]})
        key = (repo, digest(body))
        if key in self.images and self.random.random() < 0.7:
            self.unsure.add(key)
            del self.images[key]
            assert client.request("DELETE", f"/v2/{repo}/manifests/{key[1]}").status in (202, 404)
            return
        for data in (config, layer):
            self.bring(client, repo, data)
        tag = f"t{self.number}-{self.random.randrange(3)}"
        response = client.put_manifest(repo, tag, body)
        # Without a delay a push may be told that something is missing; then it begins again.
        assert response.status in (201, 400), response
        if response.status == 400:
            assert response.code == "MANIFEST_BLOB_UNKNOWN", response
            self.refused += 1
        else:
            self.pushed += 1
            self.images[key] = (body, config, layer)
            self.unsure.discard(key)

    def missing(self, client):
        wrong = []
        for (repo, name), (body, config, layer) in self.images.items():
            if client.manifest(repo, name).body != body:
                wrong.append((repo, name))
            for data in (config, layer):
                if client.blob(repo, digest(data)).body != data:
                    wrong.append((repo, name, digest(data)))
        return wrong


def collect(server, stop):
    while not stop.is_set():
        run("gc", "--now", "--data", server.data)


def test_kill_while_collecting(berth):
    seed = int(os.environ.get("BERTH_SEED", random.SystemRandom().getrandbits(32)))
    print(f"BERTH_SEED={seed}")
    rng = random.Random(seed)
    server = berth({"auth.anonymous": "push", "gc.review_delay": "0s", "gc.interval": "1s"})
    pushers = [Pusher(i, seed) for i in range(WRITERS)]
    for round_number in range(ROUNDS):
        stop, before = threading.Event(), sum(p.pushed for p in pushers)
        threads = [threading.Thread(target=p.run, args=(server,)) for p in pushers]
        threads.append(threading.Thread(target=collect, args=(server, stop)))
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.3, 1.2))  # the load itself, not synchronisation
        while sum(p.pushed for p in pushers) <= before + 3 and all(t.is_alive() for t in threads):
            time.sleep(0.01)
        stop.set()
        server.kill()
        for thread in threads:
            thread.join()
        assert not [p.error for p in pushers if p.error]
        if round_number % 2:
            assert_sound(server.data)
        server.start()
        client = Client(server, mode="none")
        for pusher in pushers:
            assert pusher.missing(client) == [], f"round {round_number}"
        client.close()
    print(f"{sum(p.pushed for p in pushers)} pushed, {sum(p.refused for p in pushers)} refused")
    assert sum(p.pushed for p in pushers) > 3 * ROUNDS

    client = Client(server, mode="none")
    for repo, name in {key for p in pushers for key in [*p.images, *p.unsure]}:
        assert client.request("DELETE", f"/v2/{repo}/manifests/{name}").status in (202, 404)
    client.close()
    for _ in range(2):
        assert run("gc", "--now", "--data", server.data).returncode == 0
    server.stop()
    assert run("gc", "--now", "--data", server.data).returncode == 0
    assert_sound(server.data)
    uploads = [path for path in (server.data / "uploads").iterdir()]
    assert uploads == []
    # A kill between a blob's second name and its row leaves a file that fsck knows as a stray.
    blobs = [path for path in (server.data / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) <= ROUNDS * WRITERS
    assert run("fsck", "--repair", "--data", server.data).returncode == 0
    assert [path for path in (server.data / "blobs").rglob("*") if path.is_file()] == []

"""Power loss at every moment of a session: what was acknowledged is there, byte for byte.

A recorder (recorder.c, by LD_PRELOAD) logs every write, name change, sync and answer of a server. The
log is replayed up to every sync and every answer, leaving only what was synced; a server is started
on the result and asked for everything that had been acknowledged until then. Then each kind of sync
is left out in turn, which must make that fail: no sync is there for nothing, and the test has teeth."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import replay
from lib.fsck import fsck
from lib.ledger import ANY, Ledger
from lib.oci import CONFIG, IMAGE, LAYER, Client, descriptor, digest, dump, randbytes
from lib.server import Server

SETTINGS = {"auth.anonymous": "push", "threads.workers": "2", "threads.reactors": "1"}

pytestmark = pytest.mark.slow


class Recording:
    def __init__(self, records, ledger):
        self.records = records
        # Where each answer left: from there on its facts hold.
        at = {}
        for i, r in enumerate(records):
            if r.kind == replay.SEND and b"\r\n" in r.data:
                for line in r.data.split(b"\r\n"):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"x-request-id":
                        at[value.strip().decode()] = i
        self.steps = [(at[request], changes) for request, changes in ledger.steps]
        assert self.steps == sorted(self.steps, key=lambda s: s[0])
        self.labels = sorted({r.label for r in records if r.kind == replay.SYNC})

    def ledger(self, cut):
        """What holds when only the first `cut` records happened."""
        ledger = Ledger()
        for at, changes in self.steps:
            ledger.begin(changes)
            if at >= cut:
                break
            ledger.done()
        return ledger

    def cuts(self):
        """After each sync and after each answer."""
        answers = {at for at, _ in self.steps}
        return [i + 1 for i, r in enumerate(self.records)
                if r.kind == replay.SYNC or i in answers]


class Session:
    """One client, one request at a time; each answer is a fact."""

    def __init__(self, server):
        self.client = Client(server, mode="none")
        self.ledger = Ledger()

    def step(self, changes, act, status=201):
        self.ledger.begin(changes)
        response = act()
        assert response.status == status, response
        self.ledger.done(response)
        return response

    def blob(self, repo, data, flavour, algorithm="sha256"):
        name = digest(data, algorithm)
        self.step({("blob", repo, name): data},
                  lambda: self.client.push_raw(repo, data, flavour, name))
        return name

    def manifest(self, repo, tag, body):
        changes = {("manifest", repo, digest(body)): body}
        if tag:
            changes[("manifest", repo, tag)] = body
        self.step(changes, lambda: self.client.put_manifest(repo, tag or digest(body), body))

    def delete(self, repo, reference, tags=()):
        self.step({("manifest", repo, r): None for r in (reference, *tags)},
                  lambda: self.client.request("DELETE", f"/v2/{repo}/manifests/{reference}"), 202)

    @staticmethod
    def parts(seed):
        if isinstance(seed, str):
            return [randbytes(5000, seed)]
        return [b'{"seed":"%d"}' % seed, randbytes(3000, seed)]

    def image(self, repo, seed, pad=0):
        config, layer = self.parts(seed)
        self.blob(repo, config, "post")
        self.blob(repo, layer, "stream")
        return dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                     "layers": [descriptor(layer, LAYER)],
                     "annotations": {"pad": randbytes(pad // 2, seed).hex()}})


def play(session):
    client = session.client
    # every way a blob comes in
    for flavour in ("post", "post-put", "stream", "patch"):
        session.blob("a/a", randbytes(20_000, flavour), flavour)
    session.blob("a/a", randbytes(500, "512"), "stream", "sha512")
    session.blob("a/a", b"", "post")
    # an upload whose every chunk is a fact
    whole = randbytes(30_000, "chunks")
    location = client.start("a/a")
    for end in (10_000, 20_000):
        session.step({("upload", "a/a", location): (whole[:end], whole)},
                     lambda: client.patch(location, whole[end - 10_000:end], end - 10_000), 202)
    session.step({("upload", "a/a", location): None, ("blob", "a/a", digest(whole)): whole},
                 lambda: client.put(location, digest(whole), whole[20_000:], 20_000))
    # manifests and tags that come, move and go
    first, second = session.image("a/a", 1), session.image("a/a", 2)
    session.manifest("a/a", "latest", first)
    session.manifest("a/a", "latest", second)
    session.manifest("a/a", "kept", first)
    session.manifest("a/a", None, session.image("a/a", 3))
    session.delete("a/a", "kept")
    session.delete("a/a", digest(second), ["latest"])
    session.manifest("a/a", "latest", first)
    # a mount, and another project
    name = digest(randbytes(20_000, "post"))
    session.step({("blob", "b/b", name): randbytes(20_000, "post")}, lambda: client.request(
        "POST", f"/v2/b/b/blobs/uploads/?mount={name}&from=a/a"))
    # uploads that stay open
    other = randbytes(9_000, "open")
    location2 = client.start("b/b")
    session.step({("upload", "b/b", location2): (other[:6000], other)},
                 lambda: client.patch(location2, other[:6000], stream=True), 202)


def play_large(session):
    """Enough database pages that the log is copied into the database and begun again."""
    for seed in range(100, 105):
        session.manifest("c/c", f"t{seed % 2}", session.image("c/c", seed, pad=2_400_000))
    for seed in range(200, 202):
        session.manifest("c/c", "small", session.image("c/c", seed))


def collect(session, repo, *seeds):
    """A collection that waits for nothing; the blobs of these seeds are not used in the repository."""
    client = Client(session.client.server, mode="basic")
    unused = {("blob", repo, digest(data)): ANY for seed in seeds for data in session.parts(seed)}
    session.step(unused, lambda: client.request(
        "POST", "/api/berth/v1/gc", dump({"now": True}), [("Content-Type", "application/json")]), 200)
    client.close()


def play_collection(session):
    """Content that goes, content that stays, and content that comes back after it was collected."""
    client = session.client
    first, second, shared = (session.image("g/a", n) for n in (1, 2, 3))
    for tag, body in (("one", first), ("two", second), ("three", shared)):
        session.manifest("g/a", tag, body)
    session.manifest("g/b", "three", session.image("g/b", 3))
    session.delete("g/a", digest(first), ["one"])
    session.delete("g/a", digest(shared), ["three"])
    collect(session, "g/a", 1, 3)
    session.manifest("g/a", "one", session.image("g/a", 1))  # the same bytes, in new files
    location = client.start("g/a")
    session.step({}, lambda: client.patch(location, randbytes(9000, "abandoned")), 202)
    session.blob("g/b", randbytes(5000, "unused"), "post")
    collect(session, "g/b", "unused")
    session.delete("g/b", digest(shared), ["three"])
    collect(session, "g/b", 3)
    session.manifest("g/b", "one", session.image("g/b", 1))


def record(directory, recorder, *plays):
    root = directory / "root"
    root.mkdir()
    log = directory / "log"
    server = Server(root / "data", SETTINGS, env={
        "LD_PRELOAD": recorder, "BERTH_RECORD_LOG": str(log), "BERTH_RECORD_ROOT": str(root)})
    server.start()
    try:
        session = Session(server)
        for part in plays:
            part(session)
    finally:
        server.kill()
    server.check()
    return Recording(replay.read(log), session.ledger)


@pytest.fixture(scope="session")
def recording(tmp_path_factory, recorder):
    return record(tmp_path_factory.mktemp("powerloss"), recorder, play)


@pytest.fixture(scope="session")
def large_recording(tmp_path_factory, recorder):
    return record(tmp_path_factory.mktemp("checkpoint"), recorder, play_large)


@pytest.fixture(scope="session")
def collection_recording(tmp_path_factory, recorder):
    return record(tmp_path_factory.mktemp("collection"), recorder, play_collection)


def judge(path, ledger):
    """Starts a server on what was left, then fsck. What is wrong, as text; empty when all is well."""
    if not (path / "data").exists():
        return "the data directory is gone" if ledger.facts else ""
    server = Server(path / "data", SETTINGS)
    try:
        server.start()
        client = Client(server, mode="none")
        wrong = ledger.missing(client)
        client.close()
        server.check()
        server.kill()
        report = fsck(path / "data")
        # A file goes after its row: what nobody uses is whole until then, too.
        sound = report.code == 0 and "blob-damaged-unused" not in report.words()
        wrong += [] if sound else [("fsck", str(report))]
        return "; ".join(f"{key} {what}" for key, what in wrong)
    except Exception as error:  # pylint: disable=broad-except
        return f"{type(error).__name__}: {error}"
    finally:
        server.kill()


def states(recording, directory, cuts, mode=replay.STRICT, ignore=()):
    """Yields (cut, path, ledger): the directory after power loss at each cut."""
    disk, done = replay.Disk(ignore), 0
    for cut in sorted(cuts):
        for r in recording.records[done:cut]:
            disk.apply(r)
        done = cut
        path = directory / f"{mode.split()[0]}{cut}"
        disk.build(path, mode)
        yield cut, path, recording.ledger(cut)


def failures(recording, directory, cuts, mode=replay.STRICT, ignore=(), first=False):
    """[(cut, what is wrong)], in order; with `first`, stops at the first one."""
    def one(state):
        cut, path, ledger = state
        wrong = judge(path, ledger)
        shutil.rmtree(path, ignore_errors=True)
        return cut, wrong

    found = []
    with ThreadPoolExecutor(2) as pool:
        batch = []

        def flush():
            found.extend((cut, wrong) for cut, wrong in pool.map(one, batch) if wrong)
            batch.clear()

        for state in states(recording, directory, cuts, mode, ignore):
            batch.append(state)
            if len(batch) == 4:
                flush()
                if first and found:
                    return found
        flush()
    return found


def last_of_each(recording, cuts):
    """Between two syncs the disk does not change: of the cuts there, the last has the most facts."""
    kept, seen = {}, 0
    syncs = [i + 1 for i, r in enumerate(recording.records) if r.kind == replay.SYNC]
    for cut in cuts:
        while seen < len(syncs) and syncs[seen] <= cut:
            seen += 1
        kept[seen] = cut
    return list(kept.values())


def test_recording_is_complete(recording):
    """The recorder saw the things it must see: else all of this proves nothing."""
    assert len(recording.steps) >= 20
    text = " ".join(recording.labels)
    for word in ("blob file", "-wal", "directory data", "blobs", "uploads"):
        assert word in text, recording.labels


def test_synced_is_enough(recording, scratch):
    cuts = last_of_each(recording, recording.cuts())
    print(f"{len(cuts)} states, {len(recording.records)} records, syncs: {recording.labels}")
    assert failures(recording, scratch, cuts) == []


@pytest.mark.parametrize("mode", [replay.NAMES, replay.ALL])
def test_disks_that_keep_more(recording, scratch, mode):
    """Also in the middle: at writes and renames between the syncs."""
    every = [i + 1 for i, r in enumerate(recording.records) if r.kind != replay.SEND]
    cuts = every[::max(1, len(every) // 120)] + [len(recording.records)]
    assert failures(recording, scratch, cuts, mode) == []


def test_checkpoints(large_recording, scratch):
    cuts = last_of_each(large_recording, large_recording.cuts())
    assert failures(large_recording, scratch, cuts) == []


def test_collection(collection_recording, scratch):
    """Deletes and collections: nothing that is used goes with what is not."""
    cuts = last_of_each(collection_recording, collection_recording.cuts())
    assert failures(collection_recording, scratch, cuts) == []


def test_collection_on_disks_that_keep_more(collection_recording, scratch):
    """Above all between the unlinking of files and what tells of it."""
    unlinks = [i for i, r in enumerate(collection_recording.records)
               if r.kind == replay.UNLINK and "blobs" in r.path]
    assert len(unlinks) >= 5
    cuts = sorted({at for i in unlinks[::2] for at in (i, i + 1)} | {len(collection_recording.records)})
    assert failures(collection_recording, scratch, cuts, replay.NAMES) == []


def test_collected_files_stay_away(collection_recording, scratch):
    """Once what tells of them is gone, files of dead blobs must not come back: nobody would know."""
    def strays(path, without_syncs):
        disk, unlinked = replay.Disk(), set()
        for r in collection_recording.records:
            folder = r.path.rpartition("/")[0]
            if r.kind == replay.UNLINK and "blobs" in folder:
                unlinked.add(folder)
            elif r.kind == replay.LINK:
                unlinked.discard(r.path2.rpartition("/")[0])
            if not (without_syncs and r.kind == replay.SYNC and r.path in unlinked):
                disk.apply(r)
        disk.build(path)
        return "stray-blob" in fsck(path / "data").words()

    assert not strays(scratch / "synced", False)
    assert strays(scratch / "unsynced", True), "the syncs after unlinking are for nothing"


def test_every_sync_is_needed(recording, scratch):
    """Leave out one kind of sync: something acknowledged must be lost."""
    answers = [at + 1 for at, _ in recording.steps]
    needless = []
    for i, label in enumerate(recording.labels):
        folder = scratch / str(i)
        folder.mkdir()
        if not failures(recording, folder, answers, ignore=[label], first=True):
            needless.append(label)
    # The journal is SQLite's, while the new database is not yet in WAL mode: before any answer. The
    # database file is only needed once the log is begun again: the next test.
    assert set(needless) <= {"file data/berth.db-journal", "file data/berth.db"}


def test_database_syncs_are_needed(large_recording, scratch):
    answers = [at + 1 for at, _ in large_recording.steps]
    for label in ("file data/berth.db", "file data/berth.db-wal"):
        assert label in large_recording.labels, large_recording.labels
        folder = scratch / label.rsplit("/", 1)[1]
        folder.mkdir()
        assert failures(large_recording, folder, answers, ignore=[label], first=True), label

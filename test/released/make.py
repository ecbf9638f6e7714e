"""Writes what a store of a released schema looks like: make.py, run when a schema is released, with
the program of that release (BERTH_BIN). NNNN.sql is the database, NNNN.json the blobs' files by
their store keys. They never change again; test/crash/test_released.py opens each with the program
of today."""

import json
import sqlite3
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.oci import CONFIG, IMAGE, INDEX, LAYER, Client, descriptor, digest, dump  # noqa: E402
from lib.server import PASSWORD, Server, run  # noqa: E402


def image(client, repo, tag, layer, **more):
    config = dump({"architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
                   "config": {"Labels": {"layer": layer}},
                   "rootfs": {"type": "layers", "diff_ids": []}})
    for data in (config, layer.encode()):
        client.push(repo, data)
    body = dump({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, CONFIG),
                 "layers": [descriptor(layer.encode(), LAYER)], **more})
    assert client.put_manifest(repo, tag or digest(body), body).status == 201
    return body


def fill(server):
    """Something of everything a client can leave behind."""
    client = Client(server)
    image(client, "team/app", "1.0", "old")
    one = image(client, "team/app", "1.0", "one", annotations={"a.key": "value"})
    image(client, "team/app", None, "signature", subject=descriptor(one, IMAGE),
          artifactType="application/vnd.test", annotations={"k": "v"})
    index = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        descriptor(one, IMAGE, platform={"os": "linux", "architecture": "amd64"})]})
    assert client.put_manifest("team/app", "both", index, INDEX).status == 201
    image(client, "app", "latest", "one")
    image(client, "team/app", "gone", "gone")
    assert client.request("DELETE", "/v2/team/app/manifests/gone").status == 202
    untagged = digest(image(client, "other/thing", None, "deleted"))
    assert client.request("DELETE", f"/v2/other/thing/manifests/{untagged}").status == 202
    assert client.patch(client.start("team/app"), b"half an upload").status == 202
    asked = client.once("POST", "/service/token", b"grant_type=password&service=berth&client_id=t"
                        b"&username=admin&access_type=offline&password="
                        + PASSWORD.replace(" ", "%20").encode(),
                        [("Content-Type", "application/x-www-form-urlencoded")])
    assert asked.status == 200, asked
    client.close()


def main():
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        server = Server(data).start()
        fill(server)
        server.stop()
        assert run("fsck", "--data", data).returncode == 0
        db = sqlite3.connect(data / "berth.db")
        version, = db.execute("PRAGMA user_version").fetchone()
        identity, = db.execute("PRAGMA application_id").fetchone()
        lines = [f"PRAGMA application_id = {identity};", f"PRAGMA user_version = {version};",
                 *db.iterdump()]
        (here / f"{version:04}.sql").write_text("\n".join(lines) + "\n")
        files = {path.name: path.read_text() for path in sorted((data / "blobs").glob("??/*"))}
        files.update({path.name: path.read_text() for path in (data / "uploads").iterdir()})
        (here / f"{version:04}.json").write_text(json.dumps(files, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Images for real clients: random layers from a seed, as docker archive and as OCI layout."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from lib.oci import CONFIG, IMAGE, LAYER, randbytes


def layer(name, size, seed):
    """An uncompressed layer with one file of `size` random bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size = size
        info.mode = 0o644
        tar.addfile(info, io.BytesIO(randbytes(size, seed)))
    return out.getvalue()


def config(layers, label=""):
    return json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/none"], "Labels": {"label": label}},
        "rootfs": {"type": "layers",
                   "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "test"} for _ in layers],
    }, separators=(",", ":")).encode()


def docker_archive(path, name, layers, label=""):
    """Writes what `docker load` reads. Returns the image id."""
    body = config(layers, label)
    identity = hashlib.sha256(body).hexdigest()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        def add(member, data):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        add(f"{identity}.json", body)
        for i, data in enumerate(layers):
            add(f"{i}/layer.tar", data)
        add("manifest.json", json.dumps([{
            "Config": f"{identity}.json", "RepoTags": [name],
            "Layers": [f"{i}/layer.tar" for i in range(len(layers))]}]).encode())
    return "sha256:" + identity


def oci_layout(path, layers, label="", tag="latest"):
    """Writes an OCI layout with one image. Returns (manifest digest, config digest)."""
    path = Path(path)
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data, media_type):
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + name, "size": len(data)}

    parts = [add(data, LAYER) for data in layers]
    settings = add(config(layers, label), CONFIG)
    manifest = add(json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": settings,
                               "layers": parts}, separators=(",", ":")).encode(), IMAGE)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {**manifest, "annotations": {"org.opencontainers.image.ref.name": tag}}]}))
    return manifest["digest"], settings["digest"]

"""Images for real clients: random layers from a seed, as docker archive and as OCI layout."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

from lib.oci import CONFIG, IMAGE, INDEX, LAYER, dump, randbytes


def layer(name, size, seed):
    """An uncompressed layer with one file of `size` random bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size = size
        info.mode = 0o644
        tar.addfile(info, io.BytesIO(randbytes(size, seed)))
    return out.getvalue()


def config(layers, label="", architecture="amd64"):
    return json.dumps({
        "architecture": architecture, "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/none"], "Labels": {"label": label}},
        "rootfs": {"type": "layers",
                   "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "test"} for _ in layers],
    }, separators=(",", ":")).encode()


def docker_archive(path, name, layers, label="", architecture="amd64"):
    """Writes what `docker load` reads. Returns the image id."""
    body = config(layers, label, architecture)
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


class Layout:
    """An OCI layout being written."""

    def __init__(self, path):
        self.path = Path(path)
        self.blobs = self.path / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)

    def add(self, data, media_type):
        """Its descriptor."""
        data = data if isinstance(data, bytes) else dump(data)
        name = hashlib.sha256(data).hexdigest()
        (self.blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + name, "size": len(data)}

    def image(self, layers, label="", architecture="amd64", compressed=False):
        """Descriptors of (manifest, config)."""
        if compressed:
            parts = [self.add(gzip.compress(data, 1, mtime=0), LAYER + "+gzip") for data in layers]
        else:
            parts = [self.add(data, LAYER) for data in layers]
        settings = self.add(config(layers, label, architecture), CONFIG)
        manifest = self.add({"schemaVersion": 2, "mediaType": IMAGE, "config": settings,
                             "layers": parts}, IMAGE)
        return manifest, settings

    def finish(self, root, tag):
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (self.path / "index.json").write_bytes(dump({"schemaVersion": 2, "manifests": [
            {**root, "annotations": {"org.opencontainers.image.ref.name": tag}}]}))


def oci_layout(path, layers, label="", tag="latest"):
    """Writes an OCI layout with one image. Returns (manifest digest, config digest)."""
    layout = Layout(path)
    manifest, settings = layout.image(layers, label)
    layout.finish(manifest, tag)
    return manifest["digest"], settings["digest"]


def oci_index(path, images, label="", tag="latest"):
    """Writes an OCI layout with one index of `images`, {architecture: layers}, layers compressed.
    Returns (index digest, {architecture: (manifest digest, config digest)})."""
    layout, children, names = Layout(path), [], {}
    for architecture, layers in images.items():
        manifest, settings = layout.image(layers, label, architecture, compressed=True)
        children.append({**manifest, "platform": {"architecture": architecture, "os": "linux"}})
        names[architecture] = manifest["digest"], settings["digest"]
    root = layout.add({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}, INDEX)
    layout.finish(root, tag)
    return root["digest"], names

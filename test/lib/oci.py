"""A registry client for tests: token flow, every flavour of blob push, manifests."""

import base64
import hashlib
import json
import random
import re
import urllib.parse

from lib import raw
from lib.server import PASSWORD

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

FLAVOURS = ("post", "post-put", "stream", "patch", "chunks", "chunks-put")


def digest(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def randbytes(n, seed):
    return random.Random(seed).randbytes(n)


def dump(value):
    return json.dumps(value, separators=(",", ":")).encode()


def descriptor(data, media_type, algorithm="sha256", /, **more):
    return {"mediaType": media_type, "digest": digest(data, algorithm), "size": len(data), **more}


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def challenge(response):
    """The parameters of the one Bearer challenge."""
    text = response.header("www-authenticate")
    assert text and text.startswith("Bearer "), text
    found = re.findall(r'(\w+)="([^"]*)"', text)
    assert len(dict(found)) == len(found)
    return dict(found)


class Client:
    """`mode`: "bearer" (the token flow), "basic", or "none" (no credentials)."""

    def __init__(self, server, user="admin", password=PASSWORD, mode="bearer", tls=None):
        self.server = server
        self.tls = tls  # the ssl.SSLContext to speak it with
        self.user, self.password, self.mode = user, password, mode
        self.tokens = {}
        self._service = None
        self.conn = None

    def close(self):
        if self.conn:
            self.conn.close()
            self.conn = None

    # -- requests

    def once(self, method, target, body=None, headers=(), timeout=60):
        """One exchange without credentials but those in `headers`. `body`: bytes, or an iterable of
        bytes for chunked coding."""
        headers = list(headers)
        stream = body is not None and not isinstance(body, (bytes, bytearray, memoryview))
        if stream:
            headers.append(("Transfer-Encoding", "chunked"))
        elif body is not None:
            headers.append(("Content-Length", str(len(body))))
        elif method in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", "0"))
        head = raw.request(method, target, headers, host=self.server.name)
        fresh = self.conn is None
        for attempt in (0, 1):
            if self.conn is None:
                self.conn = raw.Conn(self.server.address, timeout, tls=self.tls)
            self.conn.sock.settimeout(timeout)
            try:
                sent = self.conn.send(head)
                if stream:
                    for part in body:
                        if part:  # an empty chunk would end the body
                            sent = sent and self.conn.send(b"%x\r\n%s\r\n" % (len(part), part))
                    sent = sent and self.conn.send(b"0\r\n\r\n")
                elif body:
                    self.conn.send(body)
                response = self.conn.read(head=method == "HEAD")
            except raw.Closed:
                self.close()
                # A kept-alive connection may have ended meanwhile; a fresh one has no excuse.
                if fresh or attempt or stream:
                    raise
                fresh = True
                continue
            except BaseException:
                self.close()
                raise
            if (response.header("connection") or "").lower() == "close":
                self.close()
            return response

    def request(self, method, target, body=None, headers=(), timeout=60):
        """Like once(), answering a challenge when there is one."""
        headers = list(headers)
        if self.mode == "none":
            return self.once(method, target, body, headers, timeout)
        if self.mode == "basic":
            auth = [("Authorization", basic(self.user, self.password))]
            return self.once(method, target, body, headers + auth, timeout)
        key = (re.split(r"/(?:blobs|manifests|tags|referrers)/", target)[0],
               method in ("GET", "HEAD"), method == "DELETE", "from=" in target and target)
        if key in self.tokens:
            auth = [("Authorization", "Bearer " + self.tokens[key])]
            response = self.once(method, target, body, headers + auth, timeout)
            if response.status != 401:
                return response
        else:
            response = self.once(method, target, body, headers, timeout)
            if response.status != 401:
                return response
        self.tokens[key] = self.token(challenge(response).get("scope", "").split())
        auth = [("Authorization", "Bearer " + self.tokens[key])]
        return self.once(method, target, body, headers + auth, timeout)

    def token_response(self, scopes=(), credentials=True, query=()):
        asked = [("scope", s) for s in scopes] + list(query)
        if self.service():
            asked.insert(0, ("service", self.service()))
        headers = [("Authorization", basic(self.user, self.password))] if credentials else []
        return self.once("GET", "/service/token?" + urllib.parse.urlencode(asked), headers=headers)

    def token(self, scopes=(), **more):
        response = self.token_response(scopes, **more)
        assert response.status == 200, response
        return response.json()["token"]

    def service(self):
        """As the challenge names it; empty where /v2/ asks nobody."""
        if self._service is None:
            response = self.once("GET", "/v2/")
            self._service = challenge(response)["service"] if response.status == 401 else ""
        return self._service

    def get(self, target, **more):
        return self.request("GET", target, **more)

    def head(self, target, **more):
        return self.request("HEAD", target, **more)

    # -- uploads

    def start(self, repo, query=""):
        """Opens an upload; returns its location."""
        response = self.request("POST", f"/v2/{repo}/blobs/uploads/{query}")
        assert response.status == 202, response
        return response.header("location")

    def patch(self, location, data, start=None, stream=False):
        headers = [("Content-Type", "application/octet-stream")]
        if start is not None:
            headers.append(("Content-Range", f"{start}-{start + len(data) - 1}"))
        return self.request("PATCH", location, [data] if stream else data, headers)

    def put(self, location, name, data=b"", start=None):
        join = "&" if "?" in location else "?"
        headers = [("Content-Type", "application/octet-stream")]
        if start is not None:
            headers.append(("Content-Range", f"{start}-{start + len(data) - 1}"))
        return self.request("PUT", f"{location}{join}digest={name}", data, headers)

    def status(self, location):
        """Bytes an upload has, by its Range header; the response must be 204."""
        response = self.get(location)
        assert response.status == 204, response
        first, last = response.header("range").split("-")
        assert first == "0"
        return response, int(last)

    def push_raw(self, repo, data, flavour="post-put", name=None, parts=3):
        """Pushes a blob in one of FLAVOURS; the final response."""
        name = digest(data) if name is None else name
        if flavour == "post":
            return self.request("POST", f"/v2/{repo}/blobs/uploads/?digest={name}", data,
                                [("Content-Type", "application/octet-stream")])
        location = self.start(repo)
        if flavour == "post-put":
            return self.put(location, name, data)
        if flavour in ("stream", "patch"):
            response = self.patch(location, data, stream=flavour == "stream")
            if response.status != 202:
                return response
            return self.put(response.header("location"), name)
        assert flavour in ("chunks", "chunks-put")
        size = max(1, -(-len(data) // parts))
        at = 0
        while at < len(data) - (size if flavour == "chunks-put" else 0):
            part = data[at:at + size]
            response = self.patch(location, part, start=at)
            assert response.status == 202, response
            location = response.header("location")
            at += len(part)
            assert response.header("range") == f"0-{at - 1}"
        rest = data[at:]
        return self.put(location, name, rest, start=at if rest else None)

    def push(self, repo, data, flavour="post-put", algorithm="sha256"):
        """Pushes a blob; its digest."""
        name = digest(data, algorithm)
        response = self.push_raw(repo, data, flavour, name)
        assert response.status == 201, response
        assert response.header("docker-content-digest") == name
        return name

    def blob(self, repo, name, **more):
        return self.get(f"/v2/{repo}/blobs/{name}", **more)

    # -- manifests

    def put_manifest(self, repo, reference, body, media_type=IMAGE, headers=()):
        if not isinstance(body, bytes):
            body = dump(body)
        headers = list(headers)
        if media_type is not None:
            headers.append(("Content-Type", media_type))
        return self.request("PUT", f"/v2/{repo}/manifests/{reference}", body, headers)

    def manifest(self, repo, reference, **more):
        return self.get(f"/v2/{repo}/manifests/{reference}", **more)

    def push_image(self, repo, tag=None, seed=0, layers=1, size=512, **more):
        """Pushes a small image; returns (manifest bytes, digest)."""
        body = self.image(repo, seed, layers, size, **more)
        name = digest(body)
        response = self.put_manifest(repo, tag or name, body)
        assert response.status == 201, response
        assert response.header("docker-content-digest") == name
        return body, name

    def image(self, repo, seed=0, layers=1, size=512, **more):
        """Pushes the blobs of an image; returns manifest bytes."""
        config = dump({"architecture": "amd64", "os": "linux", "seed": str(seed),
                       "rootfs": {"type": "layers", "diff_ids": []}})
        parts = [randbytes(size, f"{seed}/{i}") for i in range(layers)]
        for data in [config, *parts]:
            self.push(repo, data)
        return dump({"schemaVersion": 2, "mediaType": IMAGE,
                     "config": descriptor(config, CONFIG),
                     "layers": [descriptor(p, LAYER) for p in parts], **more})

    def tags(self, repo, query=""):
        return self.get(f"/v2/{repo}/tags/list{query}")

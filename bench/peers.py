"""The servers side by side: how each is started, filled and stopped."""
import base64
import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

import machine

START_SECONDS = 20
STOP_SECONDS = 20
REPOSITORY = "bench/app"


class Failed(Exception):
    """A server could not be started or filled; the message says why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def find(name, root):
    """The program of a peer: installed, or unpacked below build/bench/peers."""
    unpacked = os.path.join(root, "build/bench/peers")
    places = ["/usr/sbin", "/usr/bin", f"{unpacked}/usr/sbin", f"{unpacked}/usr/bin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if not found:
        raise Failed(f"{name} is not here; ./dev bench fetches it")
    return found


def trusting():
    """A TLS context that takes any certificate, as the generator does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(folder):
    """(certificate, key): ECDSA P-256, made by the openssl command, the same for all servers."""
    os.makedirs(folder, exist_ok=True)
    certificate, key = (os.path.join(folder, n) for n in ("cert.pem", "key.pem"))
    if not os.path.exists(certificate):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                        "-days", "3650", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True,
                       stderr=subprocess.DEVNULL)
    return certificate, key


class Peer:
    """One server. `data` survives stop() and start(); destroy() removes it."""

    name = ""
    serves_pushes = True

    def __init__(self, root, data, placement, tls=None):
        """tls: (certificate file, key file), or None for cleartext."""
        self.data = os.path.join(data, self.name + ("-tls" if tls else ""))
        self.placement = placement
        self.tls = tls
        self.program = self.find(root)
        self.process = None
        self.port = 0

    def find(self, root):
        return find(self.name, root)

    def command(self):
        """Writes what configuration the server needs and returns its command line."""
        raise NotImplementedError

    def environment(self):
        return None

    def authorization(self):
        """Header lines that allow pull and push in REPOSITORY."""
        return []

    def syncs(self):
        """{"commit": ..., "sync": ...}: how often the server made something durable so far; empty
        when it does not tell."""
        return {}

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def start(self, pinned):
        """Starts the server; returns the seconds until it answered its first request."""
        os.makedirs(self.data, exist_ok=True)
        self.port = free_port()
        command = self.command()
        with open(os.path.join(self.data, "log"), "ab") as log:
            begun = time.monotonic()
            self.process = machine.spawn(command, self.placement.cpus(pinned, "server"),
                                         stdout=log, stderr=log, env=self.environment())
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > begun + START_SECONDS:
                tail = machine.read(os.path.join(self.data, "log"))[-600:]
                self.stop()
                raise Failed(f"{self.name} did not start: {' '.join(command)}\n{tail}")
            time.sleep(0.0005)
        return time.monotonic() - begun

    def answers(self):
        try:
            with self.connect(1) as s:
                s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return s.recv(16).startswith(b"HTTP/1.1 ")
        except OSError:
            return False

    def connect(self, timeout):
        """A connected socket, with TLS if the server speaks it."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout)
        return trusting().wrap_socket(s) if self.tls else s

    def stop(self):
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                self.process.send_signal(number)
                self.process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        self.process = None

    def destroy(self):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def client(self):
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60,
                                               context=trusting())
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    # --- content -----------------------------------------------------------------------------

    def request(self, method, target, body=None, headers=()):
        """(status, headers, body); raises Failed on a status that is no success."""
        connection = self.client()
        fields = dict(line.split(": ", 1) for line in headers)
        connection.request(method, target, body=body, headers=fields)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 400:
            raise Failed(f"{self.name}: {method} {target}: {answer.status} {text[:300]!r}")
        return answer.status, answer.headers, text

    def push_blob(self, content):
        auth = self.authorization()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        _, head, _ = self.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"", auth)
        where = urllib.parse.urlsplit(head["Location"])
        query = f"{where.query}&" if where.query else ""
        self.request("PUT", f"{where.path}?{query}digest={digest}", content,
                     auth + ["Content-Type: application/octet-stream"])

    def push_manifest(self, reference, content, media_type):
        self.request("PUT", f"/v2/{REPOSITORY}/manifests/{reference}", content,
                     self.authorization() + [f"Content-Type: {media_type}"])


class Berth(Peer):
    name = "berth"
    password = "bench-password-of-admin"
    secret = "bench-secret-for-metrics"
    options = ()

    def find(self, root):
        program = os.path.join(root, "build/berth")
        if not os.access(program, os.X_OK):
            raise Failed("build/berth is not there: ./dev build")
        return program

    also_tls = None  # (certificate file, key file): TLS is spoken on a port of its own, too
    tls_port = 0

    def command(self):
        addresses = ["--listen", f"127.0.0.1:{self.port}"]
        if self.also_tls:
            self.tls_port = free_port()
            addresses = ["--listen", f"http://127.0.0.1:{self.port}",
                         "--listen", f"https://127.0.0.1:{self.tls_port}"]
        tls = self.tls or self.also_tls
        return [self.program, "serve", "--data", os.path.join(self.data, "store"),
                *addresses, "--set", "log.access=false",
                "--set", "auth.token_lifetime=1h", *self.options,
                *(["--set", f"tls.cert={tls[0]}", "--set", f"tls.key={tls[1]}"] if tls else [])]

    def environment(self):
        return {**os.environ, "BERTH_AUTH_ADMIN_PASSWORD": self.password,
                "BERTH_METRICS_TOKEN": self.secret}

    def syncs(self):
        _, _, text = self.request("GET", "/metrics", headers=[f"Authorization: Bearer {self.secret}"])
        counts = {"commit": 0, "sync": 0}
        for line in text.decode().splitlines():
            if line.startswith(("berth_store_sync_duration_seconds_count", "berth_db_commits_total")):
                counts["sync"] += float(line.split()[-1])
                counts["commit"] += float(line.split()[-1]) if "commits" in line else 0
        return counts

    def basic(self):
        login = base64.b64encode(f"admin:{self.password}".encode()).decode()
        return [f"Authorization: Basic {login}"]

    def authorization(self, scope=f"repository:{REPOSITORY}:pull,push", login=True):
        """Follows the challenge as a client does: 401, token service, bearer token."""
        connection = self.client()
        connection.request("GET", "/v2/")
        challenge = connection.getresponse().headers.get("WWW-Authenticate", "")
        connection.close()
        values = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if "realm" not in values:
            raise Failed(f"berth: no challenge on /v2/ but {challenge!r}")
        query = urllib.parse.urlencode({"service": values.get("service", ""), "scope": scope})
        path = urllib.parse.urlsplit(values["realm"]).path
        _, _, text = self.request("GET", f"{path}?{query}",
                                  headers=self.basic() if login else [])
        token = re.search(r'"(?:access_)?token"\s*:\s*"([^"]+)"', text.decode()).group(1)
        return [f"Authorization: Bearer {token}"]


class Registry(Peer):
    name = "docker-registry"

    def command(self):
        path = os.path.join(self.data, "config.yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"""version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {self.data}/store
http:
  addr: 127.0.0.1:{self.port}
{self.tls_section()}""")
        return [self.program, "serve", path]

    def tls_section(self):
        if not self.tls:
            return ""
        return f"  tls:\n    certificate: {self.tls[0]}\n    key: {self.tls[1]}\n"

    def environment(self):
        """Without traces to a collector, and without REGISTRY_ variables of our caller."""
        return {k: v for k, v in os.environ.items() if not k.startswith(("REGISTRY_", "OTEL_"))}


class Nginx(Peer):
    """The same bytes as files, at the same paths."""

    name = "nginx"
    serves_pushes = False

    def command(self):
        files = os.path.join(self.data, "files")
        os.makedirs(files, exist_ok=True)
        for folder, _, _ in os.walk(self.data):
            os.chmod(folder, 0o755)
        path = os.path.join(self.data, "nginx.conf")
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "\n".join(f"{kind}_temp_path {self.data}/{kind};" for kind in
                              ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"""{user}
worker_processes 1;
daemon off;
pid {self.data}/pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
    {temporary}
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    open_file_cache max=1000 inactive=600s;
    open_file_cache_valid 600s;
    default_type application/octet-stream;
    server {{
        {self.listen()}
        root {files};
        location ~ /manifests/ {{ default_type application/vnd.oci.image.manifest.v1+json; }}
    }}
}}
""")
        return [self.program, "-p", self.data, "-c", path, "-e", "stderr"]

    def listen(self):
        address = f"127.0.0.1:{self.port}"
        if not self.tls:
            return f"listen {address} backlog=4096;"
        return (f"listen {address} ssl http2 backlog=4096; ssl_protocols TLSv1.3;"
                f"ssl_certificate {self.tls[0]}; ssl_certificate_key {self.tls[1]};"
                "http2_max_concurrent_streams 128;")

    def write(self, target, content):
        path = os.path.join(self.data, "files") + target
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content)

    def push_blob(self, content):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.write(f"/v2/{REPOSITORY}/blobs/{digest}", content)

    def push_manifest(self, reference, content, media_type):
        self.write(f"/v2/{REPOSITORY}/manifests/{reference}", content)


KINDS = {kind.name: kind for kind in (Berth, Nginx, Registry)}

"""Certificates for tests, made by openssl, and client contexts that trust them."""

import datetime
import ssl
import subprocess
from pathlib import Path

CONFIG = """
[ca]
default_ca = own
[own]
database = {0}/index
new_certs_dir = {0}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = copy
[any]
organizationName = optional
commonName = optional
[req]
distinguished_name = none
[none]
"""


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"openssl {args}: {done.stderr}"
    return done.stdout


def key_arguments(kind="ec"):
    if kind == "ec":
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    return ["-newkey", "rsa:2048", "-nodes"]


class Authority:
    """Issues certificates; `pem` is the path of its own."""

    def __init__(self, directory, name="Test Root"):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        (self.directory / "index").touch()
        self.config = self.directory / "openssl.cnf"
        self.config.write_text(CONFIG.format(self.directory))
        self.pem, self.key = self.directory / "root.crt", self.directory / "root.key"
        openssl("req", "-x509", "-config", self.config, *key_arguments(), "-keyout", self.key,
                "-out", self.pem, "-subj", f"/O=Acme/CN={name}", "-days", 30,
                "-addext", "basicConstraints=critical,CA:TRUE")

    def issue(self, name, names=(), begins=-1, ends=30, kind="ec"):
        """(path of certificate, path of key), valid from and until so many days from now."""
        base = self.directory / name.replace("/", "_")
        cert, key, request = (base.with_suffix(s) for s in (".crt", ".key", ".csr"))
        more = ["-addext", "subjectAltName=" + ",".join(names)] if names else []
        openssl("req", "-new", "-config", self.config, *key_arguments(kind), "-keyout", key, "-out",
                request, "-subj", f"/O=Acme/CN={name}", *more)
        openssl("ca", "-batch", "-notext", "-config", self.config, "-cert", self.pem, "-keyfile",
                self.key, "-in", request, "-out", cert, "-startdate", stamp(begins), "-enddate",
                stamp(ends))
        return cert, key

    def server(self, name="localhost", **more):
        return self.issue(name, ["DNS:localhost", "IP:127.0.0.1"], **more)


def stamp(days):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


def context(trusted, certificate=None, version=None, ciphers=None, alpn=None):
    """A client that trusts the file `trusted` and shows the certificate, a (path, path)."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(trusted)
    if certificate:
        made.load_cert_chain(*certificate)
    if version:
        made.minimum_version = made.maximum_version = version
    if ciphers:
        made.set_ciphers(ciphers)
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


def serial(certificate):
    """Serial number of a certificate file, as ssl.SSLSocket.getpeercert has it."""
    return openssl("x509", "-in", certificate, "-noout", "-serial").strip().split("=")[1]

"""TLS as clients and operators meet it: versions, certificates of both sides, what is refused and
how it is said, certificates that change while the server runs."""

import os
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from lib import h2, raw, tls
from lib.oci import FLAVOURS, Client, challenge, digest, randbytes
from lib.server import run

MB = 1 << 20
V2 = raw.request("GET", "/v2/")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return tls.Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.server()


@pytest.fixture(scope="module")
def trust(authority):
    return tls.context(authority.pem)


def settings(certificate, **more):
    return {"tls.cert": certificate[0], "tls.key": certificate[1],
            **{key.replace("__", "."): value for key, value in more.items()}}


@pytest.fixture(scope="module")
def server(berths, certificate):
    return berths(settings(certificate))


@pytest.fixture(scope="module")
def admin(server, trust):
    client = Client(server, tls=trust)
    yield client
    client.close()


def shown(server, context):
    """Serial number of the certificate a new connection is shown."""
    with raw.Conn(server.address, tls=context) as conn:
        return conn.sock.getpeercert()["serialNumber"]


def refused(server, context):
    """The client's error; the server turns it away in the handshake, or, in TLS 1.3, after it."""
    with pytest.raises((ssl.SSLError, ConnectionResetError)) as caught:
        with raw.Conn(server.address, tls=context) as conn:
            conn.sock.sendall(V2)
            if not conn.sock.recv(1):
                raise ConnectionResetError("closed")
    return str(caught.value)


# ---- the protocol

def test_speaks_the_best(server, trust):
    with raw.Conn(server.address, tls=trust) as conn:
        assert conn.sock.version() == "TLSv1.3"
        assert conn.sock.cipher()[0] == "TLS_AES_128_GCM_SHA256"
        conn.send(V2)
        response = conn.read()
        assert response.status == 401
        assert conn.sock.compression() is None
    line = server.access(response.header("x-request-id"))
    assert line["tls"] == "1.3" and line["http"] == "1.1"


def test_versions(server, authority):
    for ciphers in ("ECDHE+AESGCM", "ECDHE+CHACHA20"):
        old = tls.context(authority.pem, version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)
        with raw.Conn(server.address, tls=old) as conn:
            assert conn.sock.version() == "TLSv1.2"
            conn.send(V2)
            response = conn.read()
            assert response.status == 401
            assert server.access(response.header("x-request-id"))["tls"] == "1.2"
    since = server.log_mark()
    for version, ciphers in ((ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
                             (ssl.TLSVersion.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM"),
                             (ssl.TLSVersion.TLSv1_2, "kRSA"), (ssl.TLSVersion.TLSv1_2, "DHE")):
        assert "alert" in refused(server, tls.context(authority.pem, None, version, ciphers)).lower()
    assert server.waits(lambda: len(server.events("tls_failed", since)) == 4)
    reasons = {f["reason"] for f in server.events("tls_failed", since)}
    assert reasons == {"unsupported protocol", "no shared cipher"}


def test_rsa(berth, authority):
    server = berth(settings(authority.server("rsa", kind="rsa")))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with raw.Conn(server.address, tls=tls.context(authority.pem, version=version)) as conn:
            conn.send(V2)
            assert conn.read().status == 401


def test_application_protocol(server, authority):
    with raw.Conn(server.address, tls=tls.context(authority.pem, alpn=["foo", "http/1.1"])) as conn:
        assert conn.sock.selected_alpn_protocol() == "http/1.1"
    assert "alert" in refused(server, tls.context(authority.pem, alpn=["imap"])).lower()


def test_no_renegotiation(server, authority):
    """TLS 1.2's way to make a server work for nothing."""
    host, port = server.address
    done = subprocess.run(["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2", "-CAfile",
                           authority.pem], input="R\nGET /v2/ HTTP/1.0\r\n\r\n", text=True,
                          capture_output=True, timeout=20)
    assert "no renegotiation" in done.stderr


def test_url_is_https(server, admin):
    response = admin.once("GET", "/v2/")
    assert challenge(response)["realm"] == f"https://{server.name}/service/token"
    assert server.events("ready")[0]["scheme"] == "https"
    assert any(f"https://{server.name}" in line for line in server.printed("serves"))


@pytest.mark.parametrize("data", [
    raw.request("GET", "/v2/"), raw.request("PATCH", "/v2/a/blobs/uploads/1", body=b"x" * 200_000),
    b"G", b"\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n"], ids=["get", "patch", "byte", "blank", "ssh"])
def test_cleartext_to_tls(server, data):
    with raw.Conn(server.address) as conn:
        conn.send(data)
        response = conn.read()
        assert response.status == 400
        assert "this port speaks HTTPS" in response.message
        assert response.header("connection") == "close"
        conn.half_close()
        assert conn.closed()


def test_tls_to_cleartext(berth, trust):
    server = berth()
    with raw.Conn(server.address) as conn:
        hello = ssl.MemoryBIO()
        client = trust.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        conn.send(hello.read())
        response = conn.read()
    assert response.status == 400 and "looks like TLS" in response.message
    assert server.waits(lambda: any(f["status"] == "400" for f in server.events("request")))


def test_handshake_takes_too_long(berth, certificate, trust):
    server = berth(settings(certificate, timeouts__handshake="200ms"))
    for start in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"):
        with raw.Conn(server.address) as conn:
            conn.send(start)
            assert conn.closed()
    with raw.Conn(server.address, tls=trust) as conn:  # done in time, it has all the time
        conn.send(V2)
        assert conn.read().status == 401


def test_garbage(server, trust):
    since = server.log_mark()
    for data in (b"\x16" + b"\0" * 100, b"\x16\x03\x01\x00\x05hello" * 10, b"\x16" + b"\xff" * 20000):
        with raw.Conn(server.address) as conn:
            conn.send(data)
            conn.half_close()
            conn.rest()
    assert server.waits(lambda: len(server.events("tls_failed", since)) == 3)
    assert shown(server, trust)


def test_leaving_is_no_failure(server, trust):
    """Health checks of balancers connect and go."""
    since = server.log_mark()
    for _ in range(5):
        socket.create_connection(server.address).close()
    assert shown(server, trust)
    server.log_mark()
    assert not server.events("tls_failed", since)


def test_resumes(server, trust):
    with raw.Conn(server.address, tls=trust) as conn:
        conn.send(V2)
        conn.read()
        session = conn.sock.session
    for _ in range(3):
        with raw.Conn(server.address, tls=trust, session=session) as conn:
            conn.send(V2)
            assert conn.read().status == 401
            assert conn.sock.session_reused
            session = conn.sock.session


# ---- bodies

@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 65536, 65537, 300_000, 3 * MB + 11])
def test_round(admin, size, flavour):
    """Around the sizes of records and buffers."""
    data = randbytes(size, f"{flavour}/{size}")
    name = admin.push(f"tls/{flavour}", data, flavour)
    assert admin.blob(f"tls/{flavour}", name).body == data


def test_in_small_records(server, admin, trust):
    """A head and a body cut anywhere, each piece a record of its own; then two requests in one."""
    data = randbytes(40_000, "pieces")
    location = admin.start("tls/pieces")
    auth = [("Authorization", "Bearer " + admin.token(["repository:tls/pieces:pull,push"]))]
    head = raw.request("PUT", f"{location}?digest={digest(data)}",
                       [*auth, ("Content-Length", str(len(data)))])
    with raw.Conn(server.address, tls=trust) as conn:
        whole = head + data
        for at in range(0, len(whole), 997):
            conn.send(whole[at:at + 997])
        assert conn.read().status == 201
        get = raw.request("GET", f"/v2/tls/pieces/blobs/{digest(data)}", auth)
        conn.send(get * 5)
        assert [conn.read().body == data for _ in range(5)] == [True] * 5


def test_pipelined_behind_bodies(server, admin, trust):
    """Requests that came in one record with a body, and are in nobody's socket any more."""
    auth = [("Authorization", "Bearer " + admin.token(["repository:tls/pipe:pull,push"]))]
    admin.push("tls/pipe", b"")
    parts = [randbytes(n, n) for n in (10, 1000, 5000)]
    data = b"".join(
        raw.request("POST", f"/v2/tls/pipe/blobs/uploads/?digest={digest(p)}", auth, p) +
        raw.request("GET", "/healthz") for p in parts)
    with raw.Conn(server.address, tls=trust) as conn:
        conn.send(data)
        assert [conn.read().status for _ in range(6)] == [201, 200] * 3


@pytest.mark.parametrize("method, target", [("PUT", "manifests/v1"), ("POST", "blobs/uploads/")])
def test_the_end_is_not_in_the_socket(server, admin, trust, method, target):
    """After half a MiB (behind one record) others have their turn; what was then taken from the socket already, and not
    from OpenSSL, no event will announce. All is sent before the server may read on."""
    auth = [("Authorization", "Bearer " + admin.token(["repository:tls/end:pull,push"]))]
    for tail in range(-64, 320, 32):
        data = randbytes(528 * 1024 - 1024 + tail, tail)
        query = "?digest=" + digest(data) if method == "POST" else ""
        head = raw.request(method, f"/v2/tls/end/{target}{query}",
                           [*auth, ("Content-Length", str(len(data)))])
        head = head[:-2] + b"X-Pad: " + b"x" * (1024 - len(head) - 9) + b"\r\n\r\n"
        assert len(head) == 1024
        with raw.Conn(server.address, tls=trust) as conn:
            conn.send(head + data[:15 * 1024])
            server.process.send_signal(signal.SIGSTOP)
            try:
                conn.send(data[15 * 1024:])
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert conn.read().status == (201 if method == "POST" else 400)


def test_slow_reader(server, admin, trust):
    """The server has to wait for the socket again and again, in the middle of records."""
    data = randbytes(5 * MB, "slow")
    name = admin.push("tls/slow", data)
    auth = [("Authorization", "Bearer " + admin.token(["repository:tls/slow:pull"]))]
    with raw.Conn(server.address, tls=trust, receive_buffer=4096) as conn:
        conn.send(raw.request("GET", f"/v2/tls/slow/blobs/{name}", auth))
        assert conn.read().body == data
        conn.send(raw.request("GET", f"/v2/tls/slow/blobs/{name}",
                              [*auth, ("Range", "bytes=100-70000,1000000-1200000")]))
        body = conn.read().body
        assert data[100:70001] in body and data[1000000:1200001] in body


def test_refused_while_sending(server, trust):
    """The answer arrives though the client has not sent all, and the server does not wait for it."""
    with raw.Conn(server.address, tls=trust) as conn:
        conn.send(raw.request("PUT", "/v2/tls/none/blobs/uploads/none?digest=" + digest(b""),
                              [("Content-Length", str(50 * MB))]))
        conn.send(b"x" * 100_000)
        assert conn.read().status == 401
        assert conn.sock.recv(1) == b""


def test_closes_with_a_goodbye(server, trust):
    """A client must be able to tell the end from a cut (python's ssl raises otherwise)."""
    with raw.Conn(server.address, tls=trust) as conn:
        conn.send(raw.request("GET", "/healthz", [("Connection", "close")]))
        assert conn.read().status == 200
        assert conn.sock.recv(1) == b""


# ---- client certificates

@pytest.fixture(scope="module")
def bot(authority):
    return authority.issue("build bot")


def test_client_certificate_required(berth, authority, certificate, bot, tmp_path):
    server = berth(settings(certificate, tls__client_ca=authority.pem, tls__client_auth="required"))
    client = Client(server, mode="none", tls=tls.context(authority.pem, bot))
    request = client.once("GET", "/v2/").header("x-request-id")
    assert server.access(request)["subject"] == "CN=build bot,O=Acme"
    client.close()
    stranger = tls.Authority(tmp_path / "other", "Other Root").issue("bot")
    old = authority.issue("old bot", begins=-9, ends=-2)
    for shows, alert, reason in (
            (None, "certificate required", "peer did not return a certificate"),
            (stranger, "unknown ca", "unable to get local issuer certificate"),
            (old, "certificate expired", "certificate has expired")):
        since = len(server.lines)
        text = refused(server, tls.context(authority.pem, shows)).lower().replace("_", " ")
        assert alert in text
        assert server.waits(lambda: server.events("tls_failed", since))
        assert reason in server.events("tls_failed", since)[0]["reason"]


def test_client_certificate_optional(berth, authority, certificate, bot, tmp_path):
    server = berth(settings(certificate, tls__client_ca=authority.pem, tls__client_auth="optional"))
    for shows, subject in ((None, None), (bot, "CN=build bot,O=Acme")):
        client = Client(server, mode="none", tls=tls.context(authority.pem, shows))
        request = client.once("GET", "/v2/").header("x-request-id")
        assert server.access(request).get("subject") == subject
        client.close()
    stranger = tls.Authority(tmp_path / "other", "Other Root").issue("bot")
    assert "unknown ca" in refused(server, tls.context(authority.pem, stranger)).lower()


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_who_it_was_outlives_the_connection(berth, authority, certificate, bot, http):
    """A client that leaves in the midst of a request is in the log as one that stays."""
    server = berth(settings(certificate, tls__client_ca=authority.pem, tls__client_auth="required",
                            auth__anonymous="push"))
    target = "/v2/tls/left/blobs/uploads/?digest=" + digest(b"all of it")
    context = tls.context(authority.pem, bot, alpn=["h2" if http == "2" else "http/1.1"])
    since = server.log_mark()
    if http == "2":
        with h2.H2(server.address, tls=context) as conn:
            number = conn.open(h2.fields("POST", target, scheme="https"), end=False)
            conn.send(h2.frame(h2.DATA, 0, number, b"all"))
            assert conn.ask("/v2/").status == 200
    else:
        with raw.Conn(server.address, tls=context) as conn:
            conn.send(V2)
            assert conn.read().status == 200
            conn.send(raw.request("POST", target, [("Content-Length", "9")]) + b"all")
    assert server.waits(lambda: [f for f in server.events("request", since) if f["method"] == "POST"])
    line, = (f for f in server.events("request", since) if f["method"] == "POST")
    assert (line["subject"], line["tls"], line["http"]) == ("CN=build bot,O=Acme", "1.3", http)


def test_client_ca_is_replaced(berth, authority, certificate, bot, tmp_path):
    """Who was trusted comes back with a session of that time: no longer let in."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority.pem.read_bytes())
    server = berth(settings(certificate, tls__client_ca=roots, tls__client_auth="required"))
    context = tls.context(authority.pem, bot)
    with raw.Conn(server.address, tls=context) as conn:
        conn.send(V2)
        conn.read()
        session = conn.sock.session
    with raw.Conn(server.address, tls=context, session=session) as conn:
        assert conn.sock.session_reused
        conn.send(V2)
        conn.read()
        session = conn.sock.session
    replace(roots, tls.Authority(tmp_path / "other", "Other Root").pem.read_bytes())
    assert server.waits(lambda: server.events("tls_reloaded"), 20)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        with raw.Conn(server.address, tls=context, session=session) as conn:
            conn.sock.sendall(V2)
            if not conn.sock.recv(1):
                raise ConnectionResetError


# ---- what is refused at start

def one_line(tmp_path, given, *words):
    done = run("serve", "--data", tmp_path / "d", "--listen", "127.0.0.1:0",
               *[f"--set={key}={value}" for key, value in given.items()])
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("time=")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert str(word) in lines[0], (word, lines[0])


def test_start_errors(tmp_path, authority, certificate):
    cert, key = certificate
    other = authority.server("other")
    none, text = tmp_path / "none.pem", tmp_path / "text.pem"
    text.write_text("not a certificate\n")
    der, locked, chain = tmp_path / "c.der", tmp_path / "locked.key", tmp_path / "chain.pem"
    tls.openssl("x509", "-in", cert, "-outform", "DER", "-out", der)
    tls.openssl("pkey", "-in", key, "-aes128", "-passout", "pass:secret", "-out", locked)
    chain.write_bytes(authority.pem.read_bytes() + cert.read_bytes())
    ca = {"tls.client_auth": "required"}
    for given, words in (
            ({"tls.cert": cert}, ["tls.cert is set, but tls.key is not"]),
            ({"tls.key": key}, ["tls.key is set, but tls.cert is not"]),
            ({"tls.cert": none, "tls.key": key}, ["tls.cert", none, "No such file"]),
            ({"tls.cert": cert, "tls.key": none}, ["tls.key", none, "No such file"]),
            ({"tls.cert": tmp_path, "tls.key": key}, ["tls.cert", tmp_path, "is not a file"]),
            ({"tls.cert": text, "tls.key": key}, ["tls.cert", text, "no certificate in PEM form"]),
            ({"tls.cert": der, "tls.key": key}, ["tls.cert", der, "no certificate in PEM form"]),
            ({"tls.cert": cert, "tls.key": text}, ["tls.key", text, "no private key in PEM form"]),
            ({"tls.cert": cert, "tls.key": cert}, ["tls.key", cert, "no private key in PEM form"]),
            ({"tls.cert": cert, "tls.key": locked}, ["tls.key", locked, "encrypted", "openssl pkey"]),
            ({"tls.cert": cert, "tls.key": other[1]}, ["tls.key", other[1], "does not belong", cert]),
            ({"tls.cert": chain, "tls.key": key}, ["tls.cert", chain, "number 2", "first"]),
            ({**settings(certificate), **ca}, ["tls.client_auth", "tls.client_ca"]),
            ({**settings(certificate), **ca, "tls.client_ca": none}, ["tls.client_ca", none]),
            ({**settings(certificate), **ca, "tls.client_ca": text}, ["tls.client_ca", text]),
            ({**settings(certificate), "tls.client_ca": authority.pem}, ["tls.client_auth is off"]),
            ({**ca, "tls.client_ca": authority.pem}, ["tls.client_auth", "tls.cert"]),
            ({**settings(certificate), "tls.self_signed": "true"}, ["tls.self_signed", "tls.cert"]),
            ({**settings(certificate), "tls.min_version": "1.1"}, ["tls.min_version", "1.2", "1.3"]),
            ({"tls.client_auth": "maybe"}, ["tls.client_auth", "off, optional or required"])):
        one_line(tmp_path, given, *words)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become somebody else")
def test_unreadable(tmp_path, certificate):
    secret = tmp_path / "secret.key"
    secret.write_bytes(certificate[1].read_bytes())
    secret.chmod(0o600)
    for path in (tmp_path, *tmp_path.parents):
        if os.stat(path).st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    cert = tmp_path / "readable.crt"
    cert.write_bytes(certificate[0].read_bytes())
    (tmp_path / "d").mkdir()
    os.chown(tmp_path / "d", 65534, 65534)
    from lib.server import BINARY
    done = subprocess.run([BINARY, "serve", "--data", tmp_path / "d", "--listen", "127.0.0.1:0",
                           "--set", f"tls.cert={cert}", "--set", f"tls.key={secret}"],
                          capture_output=True, text=True, timeout=20, user=65534, group=65534,
                          extra_groups=[])
    assert f'tls.key: "{secret}" cannot be read by the server, which runs as user 65534' in done.stderr


@pytest.mark.parametrize("begins, ends, event", [
    (-9, -2, "tls_certificate_expired"), (2, 9, "tls_certificate_not_yet_valid"),
    (-9, 13, "tls_certificate_expires"), (-9, 16, None)])
def test_time_of_certificate(berth, authority, begins, ends, event):
    certificate = authority.server(f"time{begins}{ends}", begins=begins, ends=ends)
    server = berth(settings(certificate))
    server.process.send_signal(signal.SIGHUP)
    assert server.waits(lambda: server.events("reloaded"))
    told = [f for f in server.events() if f.get("event", "").startswith("tls_certificate")]
    assert [f["event"] for f in told] == ([event] * 2 if event else [])
    assert all(f["file"] == str(certificate[0]) and f["level"] == "warn" for f in told)


# ---- certificates that change

def replace(path, data):
    """As certbot and Kubernetes do: the new one appears at once."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    os.rename(fresh, path)


def install(directory, certificate):
    directory.mkdir(exist_ok=True)
    for name, source in zip(("tls.crt", "tls.key"), certificate):
        replace(directory / name, Path(source).read_bytes())
    return directory / "tls.crt", directory / "tls.key"


def test_reload_in_mid_transfer(berth, authority, trust, tmp_path):
    first, second = authority.server("first"), authority.server("second")
    paths = install(tmp_path / "live", first)
    server = berth(settings(paths))
    admin = Client(server, tls=trust)
    data = randbytes(20 * MB, "transfer")
    name = admin.push("tls/transfer", data)
    auth = [("Authorization", "Bearer " + admin.token(["repository:tls/transfer:pull"]))]
    assert shown(server, trust) == tls.serial(first[0])
    with raw.Conn(server.address, tls=trust, receive_buffer=65536) as conn:
        conn.send(raw.request("GET", f"/v2/tls/transfer/blobs/{name}", auth))
        got = conn.sock.recv(1000)
        install(tmp_path / "live", second)
        assert server.waits(lambda: server.events("tls_reloaded"), 20)
        assert shown(server, trust) == tls.serial(second[0])
        conn.buffer = got
        assert conn.read().body == data
        conn.send(raw.request("GET", "/healthz"))
        assert conn.read().status == 200
    admin.close()


def test_reload_by_link(berth, authority, trust, tmp_path):
    """Kubernetes: tls.crt -> ..data/tls.crt, and ..data is what changes."""
    first, second = authority.server("third"), authority.server("fourth")
    install(tmp_path / "v1", first)
    install(tmp_path / "v2", second)
    data = tmp_path / "..data"
    data.symlink_to("v1")
    paths = []
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
        paths.append(tmp_path / name)
    server = berth(settings(paths))
    assert shown(server, trust) == tls.serial(first[0])
    (tmp_path / "..new").symlink_to("v2")
    os.rename(tmp_path / "..new", data)
    assert server.waits(lambda: server.events("tls_reloaded"), 20)
    assert shown(server, trust) == tls.serial(second[0])


def test_reload_by_link_to_another_directory(berth, authority, trust, tmp_path):
    """certbot: live/cert.pem -> ../archive/cert1.pem, and live/cert.pem is what changes."""
    live, archive = tmp_path / "live", tmp_path / "archive"
    live.mkdir()
    archive.mkdir()
    pairs = [authority.server("seventh"), authority.server("eighth")]
    for n, pair in enumerate(pairs, 1):
        for source, name in zip(pair, ("cert", "key")):
            (archive / f"{name}{n}.pem").write_bytes(source.read_bytes())
    paths = [live / "cert.pem", live / "key.pem"]

    def lead_to(n):
        for path in paths:
            path.with_suffix(".new").symlink_to(f"../archive/{path.stem}{n}.pem")
            os.rename(path.with_suffix(".new"), path)

    lead_to(1)
    server = berth(settings(paths))
    lead_to(2)
    assert server.waits(lambda: server.events("tls_reloaded"), 20)
    assert shown(server, trust) == tls.serial(pairs[1][0])


def test_broken_certificate_is_not_taken(berth, authority, trust, tmp_path):
    first, second = authority.server("fifth"), authority.server("sixth")
    paths = install(tmp_path / "live", first)
    server = berth(settings(paths))
    replace(paths[0], second[0].read_bytes())  # and the key not
    assert server.waits(lambda: server.events("tls_reload_failed"), 20)
    assert shown(server, trust) == tls.serial(first[0])
    replace(paths[1], second[1].read_bytes())
    assert server.waits(lambda: server.events("tls_reloaded"), 20)
    assert shown(server, trust) == tls.serial(second[0])
    os.unlink(paths[0])
    assert server.waits(lambda: len(server.events("tls_reload_failed")) == 2, 20)
    assert shown(server, trust) == tls.serial(second[0])
    server.process.send_signal(signal.SIGHUP)  # asked to, it says it again
    assert server.waits(lambda: len(server.events("tls_reload_failed")) == 3)
    failures = server.events("tls_reload_failed")
    assert "does not belong to the certificate" in failures[0]["reason"]
    assert "No such file" in failures[1]["reason"] and "No such file" in failures[2]["reason"]


# ---- SIGHUP

def hup(server):
    since = len(server.lines)
    server.process.send_signal(signal.SIGHUP)
    assert server.waits(lambda: server.events("reloaded", since) or
                        server.events("reload_failed", since))
    return since


def test_configuration_is_read_again(berth, authority, trust, tmp_path):
    first, second = authority.server("seventh"), authority.server("eighth")
    path = tmp_path / "berth.yaml"

    def write(level="info", access="true", page="100", cert=first, version="1.2"):
        path.write_text(f"log:\n  level: {level}\n  access: {access}\nlimits:\n  page: {page}\n"
                        f"tls:\n  cert: {cert[0]}\n  key: {cert[1]}\n  min_version: {version}\n")

    write()
    server = berth(args=["--config", str(path)])
    assert shown(server, trust) == tls.serial(first[0])
    since = hup(server)  # nothing is new
    assert not server.events("option_changed", since) and not server.events("restart_needed", since)

    write(access="false", page="7", cert=second, version="1.3")
    since = hup(server)
    changed = {f["option"]: f["value"] for f in server.events("option_changed", since)}
    assert changed == {"log.access": "false", "tls.cert": str(second[0]),
                       "tls.key": str(second[1]), "tls.min_version": "1.3"}
    assert [f["option"] for f in server.events("restart_needed", since)] == ["limits.page"]
    assert shown(server, trust) == tls.serial(second[0])
    assert "alert" in refused(server, tls.context(authority.pem,
                                                  version=ssl.TLSVersion.TLSv1_2)).lower()
    with raw.Conn(server.address, tls=trust) as conn:
        conn.send(V2)
        assert conn.read().status == 401
    since = hup(server)  # said again as long as it is so; what was applied is not new
    assert [f["option"] for f in server.events("restart_needed", since)] == ["limits.page"]
    assert not server.events("option_changed", since)
    assert not server.events("request"), "log.access is false"

    path.write_text("log:\n  level: loud\n")
    since = hup(server)
    reason = server.events("reload_failed", since)[0]["reason"]
    assert f"{path}:2" in reason and "loud" in reason and "debug" in reason
    assert shown(server, trust) == tls.serial(second[0])

    write(level="error", cert=second)
    since = len(server.lines)
    server.process.send_signal(signal.SIGHUP)
    assert server.waits(lambda: len(server.events("option_changed", since)) == 3)
    Path(second[0]).unlink()  # an error is still told
    server.process.send_signal(signal.SIGHUP)
    assert server.waits(lambda: server.events("tls_reload_failed", since))
    assert not server.events("reloaded", since), "log.level is error"


def test_encryption_needs_a_restart(berth, certificate, trust, tmp_path):
    path = tmp_path / "berth.yaml"
    path.write_text("")
    server = berth(args=["--config", str(path)])
    path.write_text(f"tls:\n  cert: {certificate[0]}\n  key: {certificate[1]}\n")
    since = hup(server)
    told = server.events("restart_needed", since)
    assert [f["option"] for f in told] == ["tls.cert"] and "no encryption" in told[0]["effect"]
    assert raw.exchange(server.address, V2).status == 401
    server.restart()
    assert shown(server, trust) == tls.serial(certificate[0])
    path.write_text("tls:\n  self_signed: true\n")  # another certificate does not
    hup(server)
    assert curl(server, server.data / "tls/cert.pem").returncode == 0
    path.write_text("")
    since = hup(server)
    told = server.events("restart_needed", since)
    assert [f["option"] for f in told] == ["tls.cert"] and "stays" in told[0]["effect"]
    assert curl(server, server.data / "tls/cert.pem").returncode == 0


# ---- self-signed

def curl(server, trusted, host="localhost"):
    port = server.address[1]
    return subprocess.run(["curl", "-sS", "--cacert", trusted, "--resolve",
                           f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/v2/"],
                          capture_output=True, text=True, timeout=20)


def test_self_signed(berth, tmp_path):
    server = berth({"tls.self_signed": "true", "server.hosts": "registry.test:5000"})
    cert, key = server.data / "tls/cert.pem", server.data / "tls/key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    for host in ("localhost", "127.0.0.1", "registry.test"):
        assert "UNAUTHORIZED" in curl(server, cert, host).stdout, host
    assert "no alternative certificate subject name" in curl(server, cert, "elsewhere.test").stderr
    text = tls.openssl("x509", "-in", cert, "-noout", "-text")
    assert "CA:FALSE" in text and "TLS Web Server Authentication" in text
    printed = "\n".join(server.printed("certs.d"))
    assert f"cp {cert} /etc/docker/certs.d/{server.name}/ca.crt" in printed
    assert "/etc/containers/certs.d" in printed

    before = cert.read_bytes(), key.read_bytes()
    server.restart()
    assert (cert.read_bytes(), key.read_bytes()) == before
    server.settings["server.url"] = "https://other.test"
    server.restart()
    assert cert.read_bytes() != before[0]
    assert server.events("tls_self_signed_renewed")[-1]["because"] == "it does not name other.test"
    assert "UNAUTHORIZED" in curl(server, cert, "other.test").stdout

    # Cut short between the two files: made anew.
    cert.unlink()
    server.restart()
    assert "UNAUTHORIZED" in curl(server, cert, "other.test").stdout


def test_self_signed_is_renewed_in_time(berth, authority):
    """By the day: one that expires within a month is replaced at start."""
    server = berth({"tls.self_signed": "true"})
    server.stop()
    short = authority.server("short", ends=29)
    for name, source in zip(("cert.pem", "key.pem"), short):
        (server.data / "tls" / name).write_bytes(source.read_bytes())
    server.start()
    assert server.events("tls_self_signed_renewed")[-1]["because"] == "it expires soon"
    assert "UNAUTHORIZED" in curl(server, server.data / "tls/cert.pem").stdout

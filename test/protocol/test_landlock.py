"""Confinement by Landlock, tried from inside the running server."""

import os
import signal

import pytest

from lib import probe, raw
from lib.oci import Client, digest, randbytes
from lib.server import run

ABI = probe.landlock_abi()
pytestmark = pytest.mark.skipif(ABI < 2, reason=f"Landlock of this kernel: ABI {ABI}; 2 is needed")


def inside(berth, tmp_path, probes, settings=None, **more):
    server = berth(settings, env=probe.environment(tmp_path, probes), **more)
    return server, probe.results(server, probes)


def test_files(berth, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    data = tmp_path / "data"
    refused = ["read /etc/shadow", f"read {outside}/file", f"write {outside}/file",
               f"make {outside}/new", f"list {outside}", "list /", "list /home", "make /tmp/berth-probe",
               "read /proc/1/environ", "run /bin/true", "write /etc/hosts"]
    allowed = [f"make {data}/new", f"read {data}/new", f"list {data}", "read /etc/hosts",
               "read /dev/urandom", "read /proc/self/stat", "write /dev/null"]
    server, found = inside(berth, tmp_path, refused + allowed, data=data)
    assert {p: found[p] for p in refused} == {p: "EACCES" for p in refused}
    assert {p: found[p] for p in allowed} == {p: "ok" for p in allowed}
    assert not (outside / "new").exists()
    line, = server.events("confined")
    assert line["landlock"] == str(ABI) and line["write"] == str(data)


@pytest.mark.skipif(ABI < 4, reason="Landlock has no rules for ports before ABI 4")
def test_no_further_ports(berth, tmp_path):
    assert inside(berth, tmp_path, ["bind"])[1]["bind"] == "EACCES"


@pytest.mark.skipif(ABI < 6, reason="Landlock has no rules for signals before ABI 6")
def test_no_signals_to_others(berth, tmp_path):
    probes = [f"signal {os.getpid()}"]
    assert inside(berth, tmp_path, probes)[1][probes[0]] == "EPERM"


def test_off(berth, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    probes = [f"make {outside}/new", "bind"]
    server, found = inside(berth, tmp_path, probes, {"confine": "off"})
    assert set(found.values()) == {"ok"}
    assert server.events("not_confined")


def test_required(berth):
    assert berth({"confine": "required"}).events("confined")


def test_what_runs_later_still_works(berth, tmp_path):
    """Pushes, pulls, collection, backup into a directory the server may not reach, metrics."""
    server = berth({"confine": "required", "gc.interval": "1s", "scrub.rate": "1GiB"})
    client = Client(server)
    data = randbytes(3 << 20, 1)
    client.push("library/app", data)
    assert client.blob("library/app", digest(data)).body == data
    done = run("gc", "--now", "--data", server.data)
    assert done.returncode == 0, done
    done = run("backup", tmp_path / "backup", "--data", server.data)
    assert done.returncode == 0, done
    assert raw.exchange(server.address, raw.request("GET", "/readyz", [("Connection", "close")])
                        ).status == 200
    assert server.restart().events("confined")


def test_reload_says_when_a_path_is_out_of_reach(berth, tmp_path):
    near, far = tmp_path / "near", tmp_path / "far"
    for folder in (near, far):
        folder.mkdir()
    maker = berth({"tls.self_signed": "true"})
    for folder in (near, far):
        for name in ("cert.pem", "key.pem"):
            (folder / name).write_bytes((maker.data / "tls" / name).read_bytes())
    config = tmp_path / "etc" / "berth.yaml"
    config.parent.mkdir()

    def write(folder):
        config.write_text(f"tls:\n  cert: {folder}/cert.pem\n  key: {folder}/key.pem\n")

    write(near)
    server = berth(args=["--config", str(config)])
    write(far)
    os.kill(server.process.pid, signal.SIGHUP)
    assert server.waits(lambda: server.events("tls_reload_failed"))
    assert {f["option"] for f in server.events("restart_needed")} == {"tls.cert", "tls.key"}
    write(near)
    os.kill(server.process.pid, signal.SIGHUP)
    assert server.waits(lambda: server.events("tls_reloaded"))

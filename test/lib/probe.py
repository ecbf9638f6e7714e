"""What a running server may do: test/protocol/probe.c, preloaded, tries it from the inside."""

import ctypes
import errno
import os
import signal
from pathlib import Path

from lib.server import preload, sanitized

SOURCE = Path(__file__).resolve().parents[1] / "protocol" / "probe.c"
CREATE_RULESET = 444  # landlock_create_ruleset(2), the same number on every architecture


def landlock_abi():
    """Of this kernel; 0 without Landlock."""
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if abi < 0:
        assert ctypes.get_errno() in (errno.ENOSYS, errno.EOPNOTSUPP), os.strerror(ctypes.get_errno())
        return 0
    return abi


def environment(directory, probes):
    """For a server that shall try the probes; the library has to be readable for its user."""
    env = {"LD_PRELOAD": preload(SOURCE, directory), "PROBES": "\n".join(probes)}
    if sanitized() == "address":  # its leak check needs what is tested to be impossible
        env["ASAN_OPTIONS"] = "detect_leaks=0"
    return env


def results(server, probes):
    """{probe: "ok" or the name of the error}."""
    os.kill(server.process.pid, signal.SIGUSR1)
    last = f"probe {probes[-1]}: "
    assert server.waits(lambda: any(line.startswith(last) for line in server.lines)), server.text()
    found = [line[len("probe "):].rsplit(": ", 1) for line in server.lines
             if line.startswith("probe ")]
    return dict(found)

"""The recorder, compiled once."""

import subprocess
from pathlib import Path

import pytest

from lib.server import BINARY


@pytest.fixture(scope="session")
def recorder(tmp_path_factory):
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    source = Path(__file__).with_name("recorder.c")
    subprocess.run(["cc", "-std=gnu17", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-o", library,
                    source], check=True)
    preload = [str(library)]
    needed = subprocess.run(["ldd", BINARY], capture_output=True, text=True).stdout
    for line in needed.splitlines():
        if "libasan" in line:  # it insists on coming first
            preload.insert(0, line.split("=>")[1].split()[0])
    return ":".join(preload)

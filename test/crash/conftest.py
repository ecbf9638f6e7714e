"""What the crash tests share: the recorder, compiled once; the page that arms faults; scratch space."""

import shutil
import tempfile
from pathlib import Path

import pytest

from lib.faults import Faults
from lib.server import preload


@pytest.fixture(scope="session")
def recorder(tmp_path_factory):
    return preload(Path(__file__).with_name("recorder.c"), tmp_path_factory.mktemp("recorder"))


@pytest.fixture
def scratch():
    """Where hundreds of states are built, or syncs are counted: in memory where there is room. What a
    sync is worth is decided by the recorder; the server's own here need not cost anything."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="berth-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def control(tmp_path, recorder):
    """Faults of the programs below tmp_path."""
    return Faults(tmp_path / "control", tmp_path, recorder)

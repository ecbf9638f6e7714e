"""The recorder, compiled once."""

from pathlib import Path

import pytest

from lib.server import preload


@pytest.fixture(scope="session")
def recorder(tmp_path_factory):
    return preload(Path(__file__).with_name("recorder.c"), tmp_path_factory.mktemp("recorder"))

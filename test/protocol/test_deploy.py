"""The files for systemd, as far as a machine without a running systemd can tell."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lib.server import BINARY, ROOT, run

FOLDER = ROOT / "deploy" / "systemd"
UNIT = FOLDER / "berth.service"
EXPOSURE_MAX = 20  # of 100; systemd-analyze calls this "OK"


def analyze(*args):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *map(str, args)], capture_output=True, text=True,
                          timeout=60)


def test_units_are_valid(tmp_path):
    text = UNIT.read_text()
    (tmp_path / "berth.service").write_text(text.replace("/usr/bin/berth", str(BINARY)))
    shutil.copy(FOLDER / "berth.socket", tmp_path)
    for unit in ("berth.service", "berth.socket"):
        done = analyze("verify", "--man=no", "--recursive-errors=no", tmp_path / unit)
        assert done.returncode == 0 and "berth" not in done.stderr, done.stderr


def test_unit_is_closed():
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", UNIT)
    assert done.returncode == 0, done.stdout[-400:]


def test_unit_names_options_that_exist(tmp_path):
    """As the unit starts it: its variables are options, its flags are flags."""
    text = UNIT.read_text()
    env = dict(pair.split("=", 1) for line in re.findall(r"^Environment=(.*)$", text, re.M)
               for pair in line.split())
    assert env
    config = tmp_path / "berth.yaml"
    config.write_text("listen: ['https://[::]:443']\n")
    command = re.search(r"^ExecStart=/usr/bin/berth serve (.*)$", text, re.M)[1]
    done = run("config", "check", *command.replace("/etc/berth/berth.yaml", str(config)).split(),
               env=env)
    assert done.returncode == 0 and "no option" not in done.stderr, done.stderr


def test_stop_is_not_cut_short():
    """systemd waits longer than transfers may go on."""
    grace = re.search(r"grace: (\d+)s", run("config", "show").stdout)
    assert int(re.search(r"^TimeoutStopSec=(\d+)s", UNIT.read_text(), re.M)[1]) > int(grace[1])

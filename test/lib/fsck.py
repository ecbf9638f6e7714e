"""berth fsck, run on a data directory no server uses."""

import json

from lib.server import run


class Report:
    def __init__(self, code, data, errors):
        self.code = code
        self.text = errors
        self.findings = data["findings"]
        self.counts = {k: v for k, v in data.items() if k != "findings"}

    def words(self, severity=None):
        return {f["finding"] for f in self.findings
                if severity is None or f["severity"] == severity}

    def __repr__(self):
        lines = [f"{f['severity']} {f['finding']}: {f['where']} ({f['detail']}) {f['outcome']}"
                 for f in self.findings]
        return "\n".join([f"exit code {self.code}", *lines, self.text])


def fsck(data, *flags):
    done = run("fsck", "--json", "--data", data, *flags, timeout=120)
    assert done.stdout.startswith("{"), done
    return Report(done.returncode, json.loads(done.stdout), done.stderr)


def assert_sound(data, *flags):
    """Nothing acknowledged is missing or wrong; leftovers of interrupted work are fine."""
    report = fsck(data, *flags)
    assert report.code == 0 and not report.words("error"), report
    return report

#!/usr/bin/env python3
"""Runs one stage of ./dev test, bounded in time, and counts what it reported.

    stage.py run NAME BUDGET REPORT RESULTS TITLE COMMAND...
    stage.py summary RESULTS    prints a table and, last, "N passed, N failed"; exit 1 on failures

BUDGET is the seconds the stage should take on two cores; it is stopped only after four times that.
REPORT is meson's testlog.json (TAP inside), pytest's JUnit XML, or a text of "ok NAME" lines. A
stage that fails without a failed test counts as one failure, and so does one that ran nothing.
RESULTS collects a line "name seconds budget passed failed skipped" for each stage.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

STOP_SECONDS = 20  # for pytest to take its servers down after an interrupt

TAP = re.compile(r"^(not )?ok\b[^#\n]*(# *skip)?", re.IGNORECASE | re.MULTILINE)


def tap(text):
    """(passed, failed, skipped) of TAP lines."""
    passed = failed = skipped = 0
    for bad, skip in TAP.findall(text):
        if skip:
            skipped += 1
        elif bad:
            failed += 1
        else:
            passed += 1
    return passed, failed, skipped


def meson(text):
    """One line of JSON a test program. One that died after its last good point failed."""
    total = (0, 0, 0)
    for line in text.splitlines():
        program = json.loads(line)
        passed, failed, skipped = tap(program.get("stdout") or "")
        if program["result"] == "SKIP":
            skipped = skipped or 1
        elif program["result"] not in ("OK", "EXPECTEDFAIL"):
            failed = failed or 1
        elif not passed + failed + skipped:
            passed = 1
        total = (total[0] + passed, total[1] + failed, total[2] + skipped)
    return total


def junit(text):
    """By test, not by pytest's sums: a test that fails and whose teardown fails is in both."""
    verdicts = {}
    for case in xml.fromstring(text).iter("testcase"):
        key = (case.get("classname"), case.get("name"))
        kinds = {child.tag for child in case}
        verdict = 2 if kinds & {"failure", "error"} else 1 if "skipped" in kinds else 0
        verdicts[key] = max(verdict, verdicts.get(key, 0))
    found = list(verdicts.values())
    return found.count(0), found.count(2), found.count(1)


def count(status, path):
    """Counts of a report, made to agree with the exit status."""
    readers = {".json": meson, ".xml": junit, ".tap": tap}
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            passed, failed, skipped = readers[os.path.splitext(path)[1]](f.read())
    except (OSError, ValueError, xml.ParseError):
        passed = failed = skipped = 0
    if failed == 0 and (status != 0 or passed + skipped == 0):
        failed = 1
    return passed, failed, skipped


def stop(process, first):
    """Interrupts the whole group, so that tests clean up after themselves, then kills it."""
    for number in (first, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def run(name, budget, report, results, title, command):
    budget = int(budget)
    print(f"\n== {name}: {title} (budget {budget} s)", flush=True)
    if os.path.exists(report):
        os.unlink(report)
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        status = process.wait(budget * 4)
    except subprocess.TimeoutExpired:
        print(f"== {name}: stopped after {budget * 4} s", flush=True)
        stop(process, signal.SIGINT)
        status = 124
    except KeyboardInterrupt:
        stop(process, signal.SIGINT)
        return 130
    took = round(time.monotonic() - start)
    counts = count(status, report)
    with open(results, "a", encoding="utf-8") as f:
        print(name, took, budget, *counts, file=f)
    over = ", over budget" if took > budget else ""
    print(f"== {name}: {took} s of {budget} s{over}; {counts[0]} passed, {counts[1]} failed",
          flush=True)
    return 0


def summary(path):
    row = "{:<10} {:>7} {:>7} {:>7} {:>7} {:>7}".format
    print("\n" + row("stage", "passed", "failed", "skipped", "seconds", "budget"))
    passed = failed = 0
    with open(path, encoding="utf-8") as f:
        for line in f:
            name, took, budget, good, bad, skipped = line.split()
            print(row(name, good, bad, skipped, took, budget))
            passed += int(good)
            failed += int(bad)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def main(argv):
    if len(argv) >= 8 and argv[1] == "run":
        return run(*argv[2:7], argv[7:])
    if len(argv) == 3 and argv[1] == "summary":
        return summary(argv[2])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))

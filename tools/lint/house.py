#!/usr/bin/env python3
"""The house checks on the whole tree (tools/lint/checks.py), after a test of the checks themselves.

    house.py        prints "path:line: check: message" a finding; exit 1 when there is one
"""
import sys

from checks import CHECKS
from source import Source, tree


def self_test():
    """Names of the samples that a check judges wrongly."""
    for name, function, bad, good in CHECKS:
        for n, (path, text) in enumerate(bad, 1):
            if not list(function(Source(path, text))):
                yield f"{name}: bad sample {n} is not caught"
        for n, (path, text) in enumerate(good, 1):
            for line, message in function(Source(path, text)):
                yield f"{name}: good sample {n} is refused at line {line}: {message}"


def main():
    wrong = list(self_test())
    for message in wrong:
        print(f"tools/lint/checks.py: {message}")
    findings = 0
    for source in tree():
        for name, function, _, _ in CHECKS:
            for line, message in function(source):
                print(f"{source.path}:{line}: {name}: {message}")
                findings += 1
    return 1 if wrong or findings else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Prints the translation units of a build that are ours, one path a line.

    units.py BUILDDIR
"""
import json
import os
import sys


def main(build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    paths = {os.path.relpath(os.path.join(c["directory"], c["file"])) for c in commands}
    generated = os.path.relpath(build) + os.sep
    print(*sorted(p for p in paths if p.endswith(".c") and not p.startswith(generated)), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])

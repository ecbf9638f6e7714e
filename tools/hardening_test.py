#!/usr/bin/env python3
"""Checks hardening.py on small programs, each with one protection less."""
import subprocess
import sys
import tempfile
from pathlib import Path

from hardening import missing

PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char text[64], more[16];
    snprintf(text, sizeof text, "%s", argv[0]);
    memcpy(more, text, (size_t)argc);
    return (int)read(0, more, (size_t)argc) + more[0];
}
"""
GOOD = ["-O2", "-g", "-std=gnu17", "-fPIE", "-pie", "-fstack-protector-strong",
        "-fstack-clash-protection", "-fcf-protection", "-ftrivial-auto-var-init=zero",
        "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro,-z,now"]
WORSE = [  # flags in place of, flags, a word of the complaint
    ("-pie", "-no-pie", "position independent"),
    ("-Wl,-z,relro,-z,now", "-Wl,-z,relro,-z,lazy", "bound late"),
    ("-Wl,-z,relro,-z,now", "-Wl,-z,norelro,-z,now", "stay writable"),
    ("-fstack-protector-strong", "-fno-stack-protector", "checks its stack"),
    ("-D_FORTIFY_SOURCE=2", "-O2", "_FORTIFY_SOURCE"),
    ("-fcf-protection", "-fcf-protection=none", "-fcf-protection"),
    ("-ftrivial-auto-var-init=zero", "-O2", "-ftrivial-auto-var-init"),
    ("-O2", "-O2 -z execstack", "executable"),
    ("-O2", "-O2 -Wl,-rpath,/tmp", "path of its own"),
]


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        source, program = Path(directory, "p.c"), Path(directory, "p")
        source.write_text(PROGRAM)

        def build(flags):
            subprocess.run(["gcc", *flags, "-o", program, source], check=True)
            return missing(program.read_bytes())

        if build(GOOD):
            print("hardening_test: what is good is refused:", build(GOOD))
            failed += 1
        for old, new, word in WORSE:
            flags = [part for flag in GOOD for part in (new.split() if flag == old else [flag])]
            if not any(word in line for line in build(flags)):
                print(f"hardening_test: {new} in place of {old} is not noticed")
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

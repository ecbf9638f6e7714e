#!/usr/bin/env python3
"""Whether a program was built with the protections meson.build asks for, read from its ELF file.

    hardening.py PROGRAM     prints what is missing; exit 1 when something is
"""
import struct
import sys
from pathlib import Path

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
PT_GNU_STACK, PT_GNU_RELRO = 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
DT_RPATH, DT_BIND_NOW, DT_RUNPATH, DT_FLAGS, DT_FLAGS_1 = 15, 24, 29, 30, 0x6FFFFFFB
EM_X86_64, ET_DYN = 62, 3
FLAGS = (b"-ftrivial-auto-var-init=zero", b"-fstack-clash-protection",
         b"-fstack-protector-strong")


def segments(data):
    offset, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, flags, at, _, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        yield kind, flags, data[at:at + length]


def dynamic(data):
    """{tag: last value}"""
    found = {}
    for kind, _, content in segments(data):
        if kind == PT_DYNAMIC:
            for at in range(0, len(content) - 15, 16):
                tag, value = struct.unpack_from("<qQ", content, at)
                if tag == 0:
                    break
                found[tag] = value
    return found


def missing(data):
    """What is not as it should be, one line each."""
    if data[:6] != b"\x7fELF\x02\x01":
        return ["it is no ELF file of 64 bits, little endian"]
    kind, machine = struct.unpack_from("<HH", data, 16)
    parts, tags = list(segments(data)), dynamic(data)
    found = []

    def want(condition, text):
        if not condition:
            found.append(text)

    kinds = {p[0] for p in parts}
    want(kind == ET_DYN and PT_INTERP in kinds, "it is not position independent (-fPIE, -pie)")
    want(PT_GNU_RELRO in kinds, "relocations stay writable (-z relro)")
    want(tags.get(DT_FLAGS, 0) & 8 or tags.get(DT_FLAGS_1, 0) & 1 or DT_BIND_NOW in tags,
         "functions are bound late (-z now)")
    want(any(k == PT_GNU_STACK and not f & PF_X for k, f, _ in parts), "the stack is executable")
    want(not any(k == PT_LOAD and f & PF_X and f & PF_W for k, f, _ in parts),
         "memory is writable and executable")
    want(DT_RPATH not in tags and DT_RUNPATH not in tags, "it looks for libraries in a path of its own")
    want(b"__stack_chk_fail\0" in data, "no function checks its stack (-fstack-protector-strong)")
    want(b"__memcpy_chk\0" in data or b"__snprintf_chk\0" in data or b"__read_chk\0" in data,
         "no call is checked (_FORTIFY_SOURCE)")
    if b"GNU C17" in data:  # the compiler's command line is part of the debug information
        # The ELF note about jumps stays empty: the start files of Debian's libc carry none.
        flags = FLAGS + ((b"-fcf-protection",) if machine == EM_X86_64 else ())
        for flag in flags:
            want(flag in data and flag + b"=none" not in data,
                 f"it was compiled without {flag.decode()}")
    return found


def main():
    found = missing(Path(sys.argv[1]).read_bytes())
    for line in found:
        print(f"{sys.argv[1]}: {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

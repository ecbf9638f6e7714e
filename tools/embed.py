"""Writes a C file with the contents of text files: embed.py OUT SYMBOL FILE...

The files are sorted by name; src/db/embed.h declares the result."""
import os
import sys

ESCAPES = {"\\": "\\\\", '"': '\\"', "?": "\\?", "\n": "\\n", "\t": "\\t"}


def literal(line):
    """The line as a C string literal: ASCII, other bytes in octal."""
    chars = (ESCAPES.get(chr(b)) or (chr(b) if 32 <= b < 127 else "\\%03o" % b)
             for b in line.encode("utf-8"))
    return '"' + "".join(chars) + '"'


def main(out, symbol, paths):
    with open(out, "w", encoding="ascii") as c:
        c.write('#include "db/embed.h"\n\nconst struct embedded_file %s[] = {\n' % symbol)
        for path in sorted(paths, key=os.path.basename):
            with open(path, encoding="utf-8", newline="\n") as f:
                lines = f.read().split("\n")
            if "\0" in "".join(lines):
                sys.exit("%s: has a NUL, which would end its text" % path)
            c.write("    {%s,\n" % literal(os.path.basename(path)))
            for line in lines[:-1]:
                c.write("     %s\n" % literal(line + "\n"))
            c.write("     %s},\n" % literal(lines[-1]))
        c.write("    {0, 0},\n};\n")


main(sys.argv[1], sys.argv[2], sys.argv[3:])

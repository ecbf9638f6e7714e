"""Writes a C file with the bytes of text files: embed.py OUT SYMBOL FILE..."""
import os
import sys

out, symbol, files = sys.argv[1], sys.argv[2], sorted(sys.argv[3:])
with open(out, "w") as c:
    c.write('#include "db/embed.h"\n\n')
    c.write("const struct embedded_file %s[] = {\n" % symbol)
    for path in files:
        with open(path) as f:
            text = f.read()
        c.write('    {"%s",\n' % os.path.basename(path))
        for line in text.splitlines(keepends=True):
            line = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            c.write('     "%s"\n' % line)
        c.write("    },\n")
    c.write("    {0, 0},\n};\n")

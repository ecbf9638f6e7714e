"""What the house checks look at: the files of the tree, and C with its comments and strings apart."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOP = ("src", "bench", "test", "tools", "docs", "deploy", "web", ".ci")
SKIP = {"corpus", "node_modules", "__pycache__"}
TEXT = (".c", ".h", ".def", ".sql", ".py", ".sh", ".md", ".build", ".yml", ".yaml", ".ts", ".css")

# Alternatives in the order they must be tried; what matches none of them is code.
TOKEN = re.compile(
    r"""(?P<comment>/\*.*?(?:\*/|\Z)|//(?:\\\n|[^\n])*)
      |(?P<include>^[ \t]*\#[ \t]*include[ \t]*[<"][^>"\n]*[>"])
      |(?P<string>"(?:\\.|[^"\\\n])*")
      |(?P<char>'(?:\\.|[^'\\\n])*')""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


class Source:
    """One file. `code` has comments, strings and character constants blanked out, newlines kept;
    `strings` are (line, text) with adjacent literals joined as the compiler joins them;
    `includes` are (line, "path" or <path>)."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.splitlines()
        self.is_c = path.endswith((".c", ".h", ".def"))
        self.strings = []
        self.includes = []
        self.code = self._split() if self.is_c else ""

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def _split(self):
        out = []
        last = end_of_string = 0
        for m in TOKEN.finditer(self.text):
            between = self.text[last:m.start()]
            out.append(between)
            if m.lastgroup == "include":
                name = m.group().split("include", 1)[1].strip()
                self.includes.append((self.line_of(m.start()), name))
            elif m.lastgroup == "string":
                body = m.group()[1:-1]
                joined = end_of_string and not self._code_since(out, end_of_string)
                if joined:
                    line, text = self.strings[-1]
                    self.strings[-1] = (line, text + body)
                else:
                    self.strings.append((self.line_of(m.start()), body))
            out.append(re.sub(r"[^\n]", " ", m.group()))
            if m.lastgroup == "string":
                end_of_string = len(out)
            last = m.end()
        out.append(self.text[last:])
        return "".join(out)

    @staticmethod
    def _code_since(out, start):
        return "".join(out[start:]).strip()

    def functions(self):
        """(name, first line, last line) of each function. clang-format puts the braces of a
        function, and no others, alone into column 0."""
        code = self.code.splitlines()
        start = None
        for n, line in enumerate(code):
            if line == "{" and start is None:
                start = n
            elif line == "}" and start is not None:
                first = start
                while first > 0 and re.match(r"[^#}\s].*[^;{]\s*$|\s+\S.*[^;{}]\s*$",
                                             code[first - 1]):
                    first -= 1
                head = " ".join(code[first:start])
                name = re.search(r"(\w+)\s*\(", head)
                yield (name.group(1) if name else "?", first + 1, n + 1)
                start = None


def tree():
    """Every text file of the project that people write."""
    for name in sorted(os.listdir(ROOT)):
        if os.path.isfile(os.path.join(ROOT, name)) and (name == "dev" or name.endswith(TEXT)):
            yield load(name)
    for top in TOP:
        for folder, folders, names in os.walk(os.path.join(ROOT, top)):
            folders[:] = sorted(set(folders) - SKIP)
            for name in sorted(names):
                if name.endswith(TEXT):
                    yield load(os.path.relpath(os.path.join(folder, name), ROOT))


def load(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return Source(path, f.read())

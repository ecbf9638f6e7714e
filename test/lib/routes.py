"""Every route of the program, read out of the tables of src/api, so that a new one is abused like
the others without anybody thinking of it."""

import re

from lib.server import ROOT

_ROW = re.compile(r'\{METHOD_(\w+),\s*((?:\w+\s*)?(?:"[^"]*")?),\s*\w+,\s*(BODY_\w+)')
_DEFINE = re.compile(r'#define (\w+)\s+("[^"]*")')
_QUERY = re.compile(r'request_query(?:_nth)?\(req, STR\("([^"]+)"\)')


class Route:
    def __init__(self, method, pattern, body):
        self.method, self.pattern, self.body = method, pattern, body
        self.arguments = re.findall(r"\{(\w+)(?:\.\.\.)?\}", pattern)

    def target(self, values, **instead):
        """The path with each argument's value in its place; "x" for one that is not known here."""
        return re.sub(r"\{(\w+)(?:\.\.\.)?\}", lambda m: instead.get(m[1], values.get(m[1], "x")),
                      self.pattern)

    def __repr__(self):
        return f"{self.method} {self.pattern}"


def _text(source, words):
    defines = dict(_DEFINE.findall(source))
    parts = re.findall(r'"[^"]*"|\w+', words)
    return "".join((part if part[0] == '"' else defines[part])[1:-1] for part in parts)


def _sources():
    return [path.read_text() for path in sorted((ROOT / "src/api").glob("*.c"))
            if not path.stem.endswith(("_test", "_fuzz"))]


def routes():
    found = []
    for source in _sources():
        rows = _ROW.findall(source)
        assert len(rows) == source.count("{METHOD_"), "a route that this cannot read"
        found += [Route(method, _text(source, words), body) for method, words, body in rows]
    assert len(found) >= 29
    return found


def query_names():
    """Every parameter that a handler asks the query for."""
    found = {name for source in _sources() for name in _QUERY.findall(source)}
    assert {"n", "last", "digest", "at"} <= found
    return sorted(found | {"scope", "service", "account", "page", "page_size", "offset",
                           "expires_in", "access_type", "grant_type"})

"""The house checks. Each is a function of one Source that yields (line, message), with samples it
must catch and samples it must pass: house.py tries those before it looks at the tree.

    @check("name", bad=[(path, text), ...], good=[(path, text), ...])
"""
import re

CHECKS = []


def check(name, bad, good):
    def register(function):
        CHECKS.append((name, function, bad, good))
        return function
    return register


def in_src(source):
    return source.is_c and source.path.startswith("src/")


def is_test(path):
    return path.endswith(("_test.c", "_fuzz.c", "_fixture.c", "_fixture.h", "/test.c", "/test.h",
                          "/fuzz_replay.c"))


# --- banned calls ------------------------------------------------------------------------------

BANNED = {
    "strcpy": "copies until a NUL: use buf_add or arena_str",
    "strcat": "appends until a NUL: use buf_add",
    "strncpy": "may leave out the NUL: use memcpy with a known length",
    "stpcpy": "copies until a NUL: use buf_add or arena_str",
    "sprintf": "unbounded: use snprintf, buf_printf or arena_printf",
    "vsprintf": "unbounded: use vsnprintf",
    "gets": "unbounded",
    "strtok": "hidden state: use str_next or str_cut",
    "strtok_r": "writes into its input: use str_next or str_cut",
    "atoi": "hides errors: use str_u64",
    "atol": "hides errors: use str_u64",
    "atoll": "hides errors: use str_u64",
    "atof": "hides errors",
    "localtime": "shared buffer and local time: use clock.h",
    "gmtime": "shared buffer: use clock.h",
    "ctime": "shared buffer: use clock.h",
    "asctime": "shared buffer: use clock.h",
    "system": "starts a shell",
    "popen": "starts a shell",
    "alloca": "unbounded stack: use an arena",
    "tmpnam": "races: use O_TMPFILE or mkostemp",
    "mktemp": "races: use O_TMPFILE or mkostemp",
    "rand": "use random_bytes",
    "srand": "use random_bytes",
    "setjmp": "skips cleanup handlers",
    "longjmp": "skips cleanup handlers",
}
CALL = re.compile(r"(?<![\w.>])(?P<name>" + "|".join(BANNED) + r")\s*\(")


@check("banned call",
       bad=[("src/http/x.c", f"void f(char *a)\n{{\n    {name}(a);\n}}\n") for name in BANNED],
       good=[("src/http/x.c", '/* strcpy(a) */ const char *s = "sprintf(x)"; a->rand(); my_rand();')])
def banned_calls(source):
    if source.is_c:
        for m in CALL.finditer(source.code):
            name = m.group("name")
            yield source.line_of(m.start()), f"{name}: {BANNED[name]}"


# --- allocation --------------------------------------------------------------------------------

ALLOCATORS = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|reallocarray|strdup|strndup|asprintf"
                        r"|vasprintf|posix_memalign|aligned_alloc)\s*\(")
CONSTRUCTOR = re.compile(r"_(new|open|start)(_\w+)?$")
# Functions outside base/ that own heap memory without being the constructor of their object.
# "path function": why.
MAY_ALLOCATE = {
    "src/db/db_hot.c reserve": "rows are gathered before their number is known; freed by who asked",
    "src/blob/upload_state.c upload_checkout": "the state of an upload outlives its requests",
    "src/db/db_hot.c reserve": "rows that are remembered outlive the query, bounded by cache.memory",
    "src/http/conn.c append_input": "input that waits lives with its connection, bounded by limits.head",
    "src/http/conn.c conn_put_back": "the same",
    "src/http/h2_send.c keep_output": "what the socket does not take yet, bounded by one gathering",
    "src/http/server.c make_shards": "a part of http_server_new",
    "src/http/server.c open_listeners": "a part of http_server_new",
    "src/http/server.c parse_proxies": "a part of http_server_new",
    "src/http/server.c shard_init": "a part of http_server_new",
    "src/net/tls.c take_client_subject": "a name of at most 1 KiB that lives with its connection",
    "src/db/db_sqlite.c sqlite_connect": "the constructor of a driver's connection",
}


@check("allocation",
       bad=[("src/http/x.c", "int f(void)\n{\n    p = malloc(3);\n}\n"),
            ("src/db/x.c", "enum err name_copy(int a)\n{\n    p = strdup(s);\n}\n")],
       good=[("src/base/x.c", "int f(void)\n{\n    p = malloc(3);\n}\n"),
             ("src/http/x.c", "enum err server_new(void)\n{\n    p = calloc(1, 2);\n}\n"),
             ("src/http/x_test.c", "int f(void)\n{\n    p = malloc(3);\n}\n"),
             ("bench/x.c", "int f(void)\n{\n    p = malloc(3);\n}\n")])
def allocation(source):
    if not in_src(source) or source.path.startswith("src/base/") or is_test(source.path):
        return
    functions = list(source.functions())
    for m in ALLOCATORS.finditer(source.code):
        line = source.line_of(m.start())
        owner = next((name for name, a, b in functions if a <= line <= b), "?")
        if not CONSTRUCTOR.search(owner) and f"{source.path} {owner}" not in MAY_ALLOCATE:
            yield line, (f"{m.group(1)} in {owner}: memory comes from an arena, or from a "
                         "constructor (x_new, x_open, x_start); else name it in MAY_ALLOCATE")


# --- SQL ---------------------------------------------------------------------------------------

# Upper case, as all our SQL is; in lower case only what no sentence contains.
SQL = re.compile(
    r"\bSELECT\b.*\bFROM\b|\bINSERT\s+(OR\s+\w+\s+)?INTO\b|\bUPDATE\s+\w+\s+SET\b|\bDELETE\s+FROM\b"
    r"|\b(CREATE|DROP|ALTER)\s+(TABLE|INDEX|VIEW|TRIGGER|UNIQUE)\b|\bPRAGMA\s+\w+|\bVACUUM\b"
    r"|^\s*(BEGIN|COMMIT|ROLLBACK)\b|^\s*(RELEASE|SAVEPOINT)\s+\w+"
    r"|\bselect\s+[\w*,. ()]+\s+from\s+\w+\s+where\b|\binsert\s+into\b|\bcreate\s+table\b")


@check("SQL outside src/db",
       bad=[("src/registry/x.c", 'q = "SELECT name "\n    "FROM tag";'),
            ("src/api/x.c", 'q = "DELETE FROM blob WHERE id = $1";'),
            ("src/api/x.h", '#define Q "UPDATE tag SET until = $1"'),
            ("src/cli/x.c", 'q = "BEGIN IMMEDIATE";')],
       good=[("src/db/sqlite.c", 'q = "PRAGMA optimize";'),
             ("src/cli/x.c", 'h = "Delete from the store; select a tag from the list"; /* SELECT a FROM b */'),
             ("src/api/x.c", 'a = "SELECT"; f(b, "FROM");')])
def sql_outside_db(source):
    if in_src(source) and not source.path.startswith("src/db/") and not is_test(source.path):
        for line, text in source.strings:
            if SQL.search(text.replace("\\n", " ")):
                yield line, f'SQL belongs into src/db: "{text[:40]}"'


# --- layers ------------------------------------------------------------------------------------

LAYERS = ("base json conf loop net http db blob auth event policy registry jobs scan trust sync api "
          "cli").split()
# Libraries that exactly one folder hides from the others.
HIDDEN = {"sqlite3.h": "db", "libpq-fe.h": "db", "jansson.h": "json", "yaml.h": "conf",
          "crypt.h": "auth", "sys/epoll.h": "loop", "ldap.h": "auth"}


@check("layer",
       bad=[("src/base/x.c", '#include "json/read.h"'), ("src/http/x.h", '#include "db/db.h"'),
            ("src/auth/x_test.c", '#include "api/api.h"'), ("src/http/x.c", '#include "../db/db.h"'),
            ("src/http/x.c", "#include <sqlite3.h>"), ("src/web/x.c", '#include "base/str.h"'),
            ("src/http/x.c", "#include <base/str.h>")],
       good=[("src/api/x.c", '#include "api/api.h"\n#include "base/str.h"\n#include <stdio.h>'),
             ("src/db/x.c", "#include <sqlite3.h>\n#include <sys/stat.h>"),
             ("src/http/x.c", '/* #include "cli/x.h" */')])
def layers(source):
    if not in_src(source):
        return
    own = source.path.split("/")[1]
    if own not in LAYERS:
        yield 1, f"src/{own} is no layer; the order is {' '.join(LAYERS)} (tools/lint/checks.py)"
        return
    for line, name in source.includes:
        path, quoted = name[1:-1], name[0] == '"'
        folder = path.split("/")[0]
        if path.startswith("."):
            yield line, f"{path}: includes are relative to src/"
        elif folder in LAYERS and "/" in path and not quoted:
            yield line, f"{path}: our own headers are included with quotes"
        elif folder in LAYERS and "/" in path and LAYERS.index(folder) > LAYERS.index(own):
            yield line, f"{own}/ is below {folder}/ and cannot include {path}"
        elif HIDDEN.get(path, own) != own and not is_test(source.path):
            yield line, f"only src/{HIDDEN[path]} includes <{path}>"


# --- size --------------------------------------------------------------------------------------

FILE_LINES = 800
FUNCTION_LINES = 70


def long_function(lines):
    return "int f(void)\n{\n" + "    g();\n" * (lines - 3) + "}\n"


@check("size",
       bad=[("src/base/x.c", long_function(FUNCTION_LINES + 1)),
            ("src/base/x.c", "static\n" + long_function(FUNCTION_LINES)),
            ("bench/x.py", "a = 1\n" * (FILE_LINES + 1))],
       good=[("src/base/x.c", "struct a {\n    int b;\n};\n\n" + long_function(FUNCTION_LINES)
              + "\n" + long_function(FUNCTION_LINES)),
             ("src/base/x.c", "/* why */\n\n#define A 1\n" + long_function(FUNCTION_LINES)),
             ("src/base/x.h", "int a;\n" * FILE_LINES)])
def size(source):
    if not source.path.endswith(".md") and len(source.lines) > FILE_LINES:
        yield FILE_LINES, f"{len(source.lines)} lines; {FILE_LINES} is the most"
    if source.is_c:
        for name, first, last in source.functions():
            if last - first + 1 > FUNCTION_LINES:
                yield first, f"{name} has {last - first + 1} lines; {FUNCTION_LINES} is the most"


# --- unfinished work ---------------------------------------------------------------------------

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


@check("unfinished",
       bad=[("src/base/x.c", "/* TO" "DO: later */"), ("README.md", "FIX" "ME")],
       good=[("src/base/x.c", '/* to do this, hack away */ char t[] = "/tmp/aXX' 'XXXX";')])
def unfinished(source):
    for n, line in enumerate(source.lines, 1):
        m = UNFINISHED.search(line)
        if m:
            yield n, f"{m.group()}: finish it, or open an issue"

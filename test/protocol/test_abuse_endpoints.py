"""Every endpoint, told wrong things in every place where it takes something: encodings in paths,
numbers in queries and headers, JSON that means harm, line ends on the way to headers and log. No
answer is a 5xx or malformed, the server goes on, and nothing is left behind."""

import json
import re

import pytest

from lib import abuse, raw
from lib.oci import INDEX, Client, basic, digest
from lib.routes import query_names, routes
from lib.server import PASSWORD, logfmt

ROUTES = routes()
QUERY = query_names()
ADMIN = [("Authorization", basic("admin", PASSWORD))]
REPO = "abuse/app"

SETTINGS = {"auth.anonymous": "push", "gc.interval": "24h"}


@pytest.fixture(scope="module")
def values(server, admin):
    """An argument of each kind that leads somewhere."""
    body, name = admin.push_image(REPO, "latest")
    location = admin.start(REPO)
    return {"name": REPO, "reference": "latest", "tag": "latest", "digest": name, "id": "1",
            "uuid": location.split("?")[0].rsplit("/", 1)[1]}


@pytest.fixture(scope="module", autouse=True)
def judged(server, values):
    answers = [ask(server, r.method, r.target(values), body=b"{}") for r in ROUTES]
    assert {a.status for a in answers if a} & {200, 202}
    before = abuse.Before(server)
    yield
    abuse.judge(server, before)


class Line:
    """A connection that is opened again when the server has closed it."""

    def __init__(self, server):
        self.server, self.conn = server, None

    def close(self):
        if self.conn:
            self.conn.close()
            self.conn = None

    def ask(self, method, target, headers=(), body=None):
        """The answer; well-formed, and no 5xx but 501 and 507 (which this machine may deserve)."""
        data = raw.request(method, target, [*ADMIN, *headers],
                           body if method in ("POST", "PUT", "PATCH") else None)
        for _ in range(2):
            fresh = self.conn is None
            self.conn = self.conn or raw.Conn(self.server.address)
            self.conn.send(data)
            try:
                answer = self.conn.read(head=method == "HEAD")
                break
            except raw.Closed:
                self.close()
                assert not fresh, f"{method} {target} {headers}: closed without an answer"
        assert answer.status < 500 or answer.status == 501, (method, target, headers, answer)
        if answer.status >= 400 and answer.body and "json" in (answer.header("content-type") or ""):
            answer.json()
        if (answer.header("connection") or "").lower() == "close":
            self.close()
        return answer


def ask(server, method, target, headers=(), body=b""):
    line = Line(server)
    try:
        return line.ask(method, target, headers, body)
    finally:
        line.close()


@pytest.fixture
def line(alive):
    line = Line(alive)
    yield line
    line.close()


def ids(value):
    return re.sub(r"[^\w.%-]", "_", repr(value)[:24])


# -- paths

# In place of an argument. What "name" may be made of, none of these is.
TRICKS = ["%2f", "%2F..%2F", "..", ".", "%2e%2e", "%2e", "..%2f..%2fetc%2fpasswd", "%00", "a%00b",
          "a%0a", "a%0d%0aX-Injected:1", "%c0%ae%c0%ae", "%c0%af", "%e0%80%af", "%f0%80%80%af",
          "%252f", "%252e%252e", "%25", "..%5c..%5c", "a%5cb", "%EF%BC%8F", "e%cc%81", "%c3%a9",
          "%ed%a0%80", "%fe%ff", "%", "%4", "%zz", "%u002f", "a%20b", "%7f", "%1b[31m", "~", "-",
          "_", "A", "a__" + "_" * 50, "a" * 1000, "%61" * 2000, "sha256:", "sha256:%00", ":",
          "SHA256:" + "a" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 65,
          "sha256:" + "g" * 64, "sha256%3A" + "a" * 64 + "%00", "sha512:" + "a" * 64,
          "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:../" + "a" * 61, "+", "a+b:c", "@", "a@b",
          "00000000-0000-0000-0000-000000000000", "0", "-1", "9" * 40, "1e3", "0x1", "'--", "%27%3b",
          "${jndi:ldap://x}", "{{7*7}}", "%3Cscript%3E", "*", "%2a"]
# May be a tag, a repository, or the digest of a subject: then nothing is there, or something is made.
MAY_BE_GOOD = {"_", "A", "0", "9" * 40, "1e3", "0x1", "%61" * 2000,
               "00000000-0000-0000-0000-000000000000", "md5:d41d8cd98f00b204e9800998ecf8427e",
               "a+b:c"}


def test_tricks_in_every_argument(line, values):
    for route in ROUTES:
        for argument in route.arguments:
            for trick in TRICKS:
                target = route.target(values, **{argument: trick})
                answer = line.ask(route.method, target, body=b"")
                if trick not in MAY_BE_GOOD:
                    assert 400 <= answer.status < 500, (route, target, answer)
                assert answer.header("x-injected") is None
                assert b"root:" not in answer.body


def test_tricks_around_every_path(line, values):
    """A path with one thing more is another path, and no other spelling of the same."""
    for route in ROUTES:
        good = route.target(values)
        others = [good + "/", good + "/.", good + "/..", good + "%2f", good + "%00", good + "%20",
                  good + ";a=b", good + "\\", good + "%5c", "/" + good, "/." + good, "/x/.." + good,
                  good.replace("/", "//", 2), good.replace("/", "/./", 2), good.replace("/", "\\"),
                  good.replace("/", "%2f"), good.replace("v2", "V2").replace("api", "Api"),
                  good.replace("v2", "%762").replace("api", "%61pi").replace("ser", "s%65r")]
        for target in set(others) - {good}:
            if target.rstrip("/") == good or target + "/" == good or target == "/v2/":
                continue  # the tables say which of these are the same
            answer = line.ask(route.method, target, body=b"")
            assert 400 <= answer.status < 500 or target.endswith(values["reference"]), (
                target, answer)


def test_mixed_case_is_another_digest(line, values):
    upper = values["digest"].upper().replace("SHA256", "sha256")
    for target in (f"/v2/{REPO}/manifests/{upper}", f"/v2/{REPO}/blobs/{upper}",
                   f"/v2/{REPO}/manifests/{values['digest'].upper()}"):
        assert line.ask("GET", target).status in (400, 404), target
    assert line.ask("GET", f"/v2/{REPO}/manifests/{values['digest']}").status == 200
    encoded = values["digest"].replace(":", "%3A")  # of which clients make use
    assert line.ask("GET", f"/v2/{REPO}/manifests/{encoded}").status == 200


# -- queries

NUMBERS = ["", "0", "-0", "-1", "+1", "%2b1", "1.5", "1e9", "0x10", "0b1", "010", "1_000", "%201",
           "1%20", "1%00", "%d9%a1", "%ef%bc%91", "2147483648", "4294967296",
           "9223372036854775807", "9223372036854775808", "-9223372036854775808",
           "18446744073709551615", "18446744073709551616", "9" * 400, "NaN", "Infinity", "null",
           "[]", "1,2", "1%26n=2", "true", "2024-13-45T99:99:99Z", "9999-12-31T23:59:59Z",
           "0000-00-00T00:00:00Z", "2024-01-01T00:00:00.999999999999999999999Z", "sha256:",
           "%0d%0aX-Injected:1", "%ff%fe", "%", "%%%", "%1b%5b31m", "\\u0000", "/etc/passwd",
           "repository:a:pull%00", "repository:" + "a" * 500 + ":pull", ":::", "..%2f.."]


@pytest.mark.parametrize("value", NUMBERS, ids=ids)
def test_numbers_in_every_query(line, values, value):
    for route in ROUTES:
        target = route.target(values)
        for name in QUERY:
            answer = line.ask(route.method, f"{target}?{name}={value}", body=b"")
            assert answer.header("x-injected") is None
            restore(line, values, answer, route)
        every = "&".join(f"{name}={value}" for name in QUERY)
        restore(line, values, line.ask(route.method, f"{target}?{every}", body=b""), route)


def restore(line, values, answer, route):
    """What a wrong request was right to delete comes again; uploads it began end."""
    if answer.status in (202, 204) and route.method == "DELETE" and "uploads" not in route.pattern:
        push(line, values)
    if answer.status == 202 and route.method == "POST" and answer.header("location"):
        line.ask("DELETE", answer.header("location"))


def push(line, values):
    client = Client(line.server, mode="none")
    client.push_image(REPO, "latest")
    client.close()


QUERIES = ["?", "??", "?&", "?&&&&", "?=", "?=&=", "?n", "?n=1&n=2&n=3", "?n[]=1", "?n=1;last=2",
           "?" + "n=1&" * 1900, "?" + "a" * 8000, "?n=" + "%31" * 2000, "?%6e=1", "?N=1", "?n=1#a",
           "?n=1%23", "?tag=a&" * 300, "?last=" + "%" * 3000]


@pytest.mark.parametrize("query", QUERIES, ids=ids)
def test_shapes_of_queries(line, values, query):
    for route in ROUTES:
        restore(line, values, line.ask(route.method, route.target(values) + query, body=b""), route)


# -- header fields

FIELDS = {
    "Content-Range": ["", "0-0", "-1-0", "0--1", "5-1", "0-18446744073709551615",
                      "18446744073709551615-18446744073709551616", "9" * 400 + "-1", "bytes 0-0/1",
                      "bytes=0-0", "bytes */*", "0 - 1", "0x0-0x1", "+0-1", "0-1-2", "a-b", "-", "0",
                      "9223372036854775807-9223372036854775807", "0-9223372036854775807"],
    "Range": ["", "bytes", "bytes=", "bytes=-", "bytes=--1", "bytes=5-1", "bytes=-0",
              "bytes=0-18446744073709551615", "bytes=18446744073709551616-", "bytes=-" + "9" * 400,
              "bytes=" + "9" * 400 + "-", "bytes=0-0," * 2000, "bytes=0-," * 500 + "0-",
              "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 2000, 2)), "bytes = 0-0", "items=0-0",
              "bytes=0x0-0x1", "bytes=+0-1", "bytes=0-0;", "bytes=\t0-0", "none", "bytes=1-0,0-0"],
    "If-Match": ["", "*", '"', '""', "W/", '"' + "a" * 9000 + '"', '"a",' * 900, "sha256:", "*, *"],
    "If-None-Match": ["", "*", '"', "W/\"x", '"a' + "\\" * 100, '"a",' * 900],
    "If-Range": ["", '"', "W/\"\"", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 99 Foo 99999 99:99:99"],
    "If-Modified-Since": ["", "0", "Thu, 99 Foo 99999 99:99:99 GMT", "9" * 400],
    "Accept": ["", ",", "*/*;q=", "a/b;q=9e999," * 300, "/", ";;;"],
    "Accept-Encoding": ["gzip;q=1e999", "identity;q=0, *;q=0", "," * 2000],
    "Content-Type": ["", "/", ";", "a/b;c", "application/json; charset=utf-7", "application/json;" * 300,
                     "multipart/form-data; boundary=", "text/html\t", "application/" + "x" * 5000],
    "Content-Encoding": ["gzip", "identity", "x" * 900],
    "Authorization": ["", "Basic", "Basic ", "Basic :", "Basic ====", "Basic " + "A" * 30000,
                      "Basic AAAA", "Basic Og==", "Bearer", "Bearer ", "Bearer ..", "Bearer a.b.c",
                      "Bearer " + "." * 9000, "Bearer " + "a" * 30000, "Digest a=b", "basic\tOg==",
                      "Negotiate x", "Basic " + "/w" * 100],
    "X-Forwarded-For": ["1.2.3.4", "a" * 5000, "1," * 2000, "::::"],
    "Forwarded": ["for=", "for=\"", "for=\"[::1]:99999\";" * 300, "host=a b;proto=x"],
    "X-Forwarded-Proto": ["javascript", "https,http", "\"><script>"],
    "X-Forwarded-Host": ["evil.example", "a b", "@" * 3000],
    "Expect": ["100-continue, 100-continue", "", "99-continue"],
    "Digest": ["sha-256=", "x" * 4000],
    "OCI-Subject": ["x"], "Docker-Content-Digest": ["sha256:zz"],
    "traceparent": ["00", "00-" + "g" * 32 + "-" + "0" * 16 + "-01", "ff-" + "0" * 70, "x" * 3000],
    "X-Request-Id": ["a b", "\"'><", "x" * 5000, "../../x"],
    "User-Agent": ["", "docker/" + "9" * 400 + " os/linux arch/", "UpstreamClient(" * 500, "{}%n%s"],
    "Upgrade": ["h2c", "websocket", "TLS/1.0, h2c"], "HTTP2-Settings": ["AAMAAABkAAQAAP__"],
    "Cookie": ["a=" * 3000], "Origin": ["null"], "Via": ["1.1 x," * 900], "Max-Forwards": ["-1"],
    "TE": ["trailers, chunked;q=0.5"], "Trailer": ["Content-Length"], "Connection": ["close, close"],
    "Keep-Alive": ["timeout=999999999999999999, max=-1"],
}


@pytest.mark.parametrize("field", FIELDS)
def test_numbers_and_nonsense_in_every_header(line, values, field):
    for route in ROUTES:
        target = route.target(values)
        for value in FIELDS[field]:
            answer = line.ask(route.method, target, [(field, value)], b"")
            assert answer.status != 101
            restore(line, values, answer, route)


# -- JSON

DEEP = 200_000
BOMBS = {
    "empty": b"", "nul": b"\0", "brackets": b"[" * (4 << 20), "braces": b'{"a":' * 400_000,
    "deep": b"[" * DEEP + b"]" * DEEP, "deep-objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "at-the-limit": b"[" * 64 + b"]" * 64, "many": b"[" + b"0," * 1_500_000 + b"0]",
    "many-keys": b"{" + b",".join(b'"%d":0' % i for i in range(250_000)) + b"}",
    "many-strings": b"[" + b'"",' * 1_000_000 + b'""]',
    "duplicate": b'{"schemaVersion":2,"schemaVersion":2,"now":true,"now":false}',
    "duplicate-escaped": b'{"now":true,"n\\u006fw":false,"digest":"a","d\\u0069gest":"b"}',
    "long-string": b'{"digest":"' + b"a" * (3 << 20) + b'"}',
    "huge-integer": b'{"schemaVersion":' + b"9" * 100_000 + b',"now":' + b"9" * 400 + b"}",
    "huge-exponent": b'{"schemaVersion":1e999999999,"at":1e-999999999,"now":1E400}',
    "negative": b'{"schemaVersion":-2,"config":{"size":-1},"layers":[{"size":-9223372036854775809}]}',
    "fraction": b'{"schemaVersion":2.0,"now":0.1}', "nan": b'{"now":NaN,"at":Infinity}',
    "wrong-types": b'{"now":[],"dry_run":{},"digest":1,"at":true,"schemaVersion":"2","layers":{}}',
    "array": b"[]", "string": b'"x"', "number": b"1", "null": b"null", "true": b"true",
    "trailing": b"{} {}", "comment": b"{/**/}", "single-quotes": b"{'now':true}",
    "bom": b"\xef\xbb\xbf{}", "utf-16": '{"now":true}'.encode("utf-16"), "overlong": b'{"a":"\xc0\xaf"}',
    "surrogate": b'{"a":"\\ud800"}', "escaped-nul": b'{"digest":"a\\u0000b","now":"\\u0000"}',
    "control": b'{"a":"\x01\n"}', "bad-escape": b'{"a":"\\x41"}', "proto": b'{"__proto__":{"now":true}}',
    "open-string": b'{"a":"' + b"\\" * 100_001, "open-object": b'{"a":1', "minus": b"-", "e": b"1e",
    "many-layers": json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": "a/b", "digest": "sha256:" + "0" * 64, "size": 1}] * 20_000}).encode(),
    "annotations": json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [],
                               "annotations": {str(i): "x" * 20 for i in range(40_000)}}).encode(),
    "percent": b"%7b%7d&now=true&=&&" * 100, "form": b"a=" * 100_000,
}
KINDS = ["application/json", INDEX, "application/x-www-form-urlencoded"]


@pytest.mark.parametrize("bomb", BOMBS)
def test_json_bombs(line, values, bomb):
    """Wherever a body is collected before it is read."""
    tried = 0
    for route in ROUTES:
        if route.body != "BODY_SMALL":
            continue
        for kind in KINDS:
            tried += 1
            answer = line.ask(route.method, route.target(values), [("Content-Type", kind)],
                              BOMBS[bomb])
            if bomb in ("empty", "annotations"):  # {}, or a good index
                continue
            assert 400 <= answer.status < 500 or "gc" in route.pattern and answer.status in (
                200, 202), (route, kind, answer)
    assert tried >= 5 * len(KINDS)


def test_a_bomb_as_a_blob_is_a_blob(line, values):
    """What is not read is only bytes, even where a config is read for its labels."""
    client = Client(line.server, mode="none")
    bomb = b"[" * (1 << 20)
    client.push(REPO, bomb)
    for kind in ("application/vnd.oci.image.config.v1+json",
                 "application/vnd.docker.container.image.v1+json"):
        body = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": kind, "digest": digest(bomb), "size": len(bomb)},
                "layers": []}
        assert client.put_manifest(REPO, "bomb", body).status == 201
        assert client.manifest(REPO, "bomb").status == 200
    client.close()


# -- the log

def test_the_log_has_one_line_for_each_event(line, values):
    """However a client spells line ends, quotes and terminal sequences."""
    first = len(line.server.lines)
    evil = ["%0aevent=forged", "%0d%0atime=2000", "%1b[2J", "%00", '"quoted"', "%22 status=200",
            "%e2%80%a8", "%c2%85", "%7f", "a\\nb", "%5cn"]
    for text in evil:
        quoted = text.replace('"', "%22").replace(" ", "%20")
        line.ask("GET", f"/v2/{REPO}/manifests/{quoted}",
                 [("User-Agent", f"x {text} event=forged \x80\xff"), ("X-Forwarded-For", text),
                  ("Authorization", basic(f"a{text}\n\"b\x1b[31m", "x")), ("traceparent", text)])
        line.ask("GET", f"/v2/a{quoted}/tags/list?last={quoted}")
        line.ask("GET", f"/service/token?account={quoted}&service={quoted}&scope={quoted}")
    answer = line.ask("GET", "/healthz")
    line.server.access(answer.header("x-request-id"))
    for text in line.server.lines[first:]:
        assert re.fullmatch(r"[\x20-\x7e\x80-\U0010ffff]*", text), text
        assert not re.search("[\x7f-\x9f\u2028\u2029]", text), text
        fields = logfmt(text)
        assert fields.get("event") in ("request", "gc", "request_failed"), text
        assert list(fields)[:2] == list(logfmt(line.server.lines[first]))[:2]

"""Messages two parsers could read differently. Each gets one refusal and the end of the connection:
what follows in the same bytes is never taken for a request."""

import pytest

from lib import raw
from lib.routes import routes

# Sent behind every case. Were it read as a request, a second answer would come.
NEXT = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

H = b"Host: localhost\r\n"


def post(*fields, body=b"", target=b"/service/token", version=b"HTTP/1.1"):
    return (b"POST " + target + b" " + version + b"\r\n" + H + b"".join(f + b"\r\n" for f in fields)
            + b"\r\n" + body)


def get(*fields, target=b"/healthz", version=b"HTTP/1.1", host=H):
    return (b"GET " + target + b" " + version + b"\r\n" + host + b"".join(f + b"\r\n" for f in fields)
            + b"\r\n")


TE = b"Transfer-Encoding: chunked"

CASES = {
    # Content-Length against Transfer-Encoding
    "cl-te": (post(b"Content-Length: 4", TE, body=b"0\r\n\r\n"), 400),
    "te-cl": (post(TE, b"Content-Length: 4", body=b"0\r\n\r\n"), 400),
    "cl-0-te": (post(b"Content-Length: 0", TE, body=b"0\r\n\r\n"), 400),
    "te-cl-get": (get(TE, b"Content-Length: 5"), 400),
    # Content-Length
    "cl-twice-different": (post(b"Content-Length: 0", b"Content-Length: 5", body=b"12345"), 400),
    "cl-twice-equal": (post(b"Content-Length: 5", b"Content-Length: 5", body=b"12345"), 400),
    "cl-list-equal": (post(b"Content-Length: 5, 5", body=b"12345"), 400),
    "cl-list-different": (post(b"Content-Length: 5, 6", body=b"12345"), 400),
    "cl-plus": (post(b"Content-Length: +5", body=b"12345"), 400),
    "cl-minus": (post(b"Content-Length: -1"), 400),
    "cl-minus-zero": (post(b"Content-Length: -0"), 400),
    "cl-hex": (post(b"Content-Length: 0x5", body=b"12345"), 400),
    "cl-underscore": (post(b"Content-Length: 1_0", body=b"1234567890"), 400),
    "cl-fraction": (post(b"Content-Length: 5.0", body=b"12345"), 400),
    "cl-exponent": (post(b"Content-Length: 5e0", body=b"12345"), 400),
    "cl-words": (post(b"Content-Length: 5 5", body=b"12345"), 400),
    "cl-empty": (post(b"Content-Length: "), 400),
    "cl-overflow-64": (post(b"Content-Length: 18446744073709551616"), 400),
    "cl-overflow-wrap": (post(b"Content-Length: 18446744073709551621", body=b"12345"), 400),
    "cl-many-digits": (post(b"Content-Length: " + b"9" * 400), 400),
    "cl-arabic-digit": (post(b"Content-Length: \xd9\xa5", body=b"12345"), 400),
    "cl-vertical-tab": (post(b"Content-Length: \x0b5", body=b"12345"), 400),
    "cl-quoted": (post(b'Content-Length: "5"', body=b"12345"), 400),
    "cl-trailing-comma": (post(b"Content-Length: 5,", body=b"12345"), 400),
    "cl-leading-comma": (post(b"Content-Length: ,5", body=b"12345"), 400),
    "cl-form-feed": (post(b"Content-Length: 5\x0c", body=b"12345"), 400),
    "cl-tab": (post(b"Content-Length:\t5", body=b"12345"), 400),
    "cl-tab-behind": (post(b"Content-Length: 5\t", body=b"12345"), 400),
    "te-tab": (post(b"Transfer-Encoding:\tchunked", body=b"0\r\n\r\n"), 400),
    "te-tab-behind": (post(b"Transfer-Encoding: chunked\t", body=b"0\r\n\r\n"), 400),
    "cl-octal": (post(b"Content-Length: 0o5", body=b"12345"), 400),
    "cl-hex-letters": (post(b"Content-Length: a", body=b"1234567890"), 400),
    "cl-thousands": (post(b"Content-Length: 1,000"), 400),
    "cl-bytes": (post(b"Content-Length: bytes=5", body=b"12345"), 400),
    "cl-no-break-space": (post(b"Content-Length: \xc2\xa05", body=b"12345"), 400),
    "cl-overflow-63": (post(b"Content-Length: 9223372036854775808"), (400, 413)),
    "cl-twice-case": (post(b"Content-Length: 5", b"content-length: 6", body=b"12345"), 400),
    "cl-twice-one-empty": (post(b"Content-Length: 5", b"Content-Length:", body=b"12345"), 400),
    "cl-get-te-1.0": (get(b"Content-Length: 5", TE, version=b"HTTP/1.0"), 400),
    # Transfer-Encoding
    "te-cl-case": (post(b"tRANSFER-eNCODING: chunked", b"cONTENT-lENGTH: 4", body=b"0\r\n\r\n"), 400),
    "te-space-before-colon": (post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), 400),
    "te-folded-value": (post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), 400),
    "te-folded-tab": (post(b"Transfer-Encoding:\r\n\tchunked", body=b"0\r\n\r\n"), 400),
    "te-bare-lf-before": (post(b"X-A: 1\nTransfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "te-bare-cr-before": (post(b"X-A: 1\rTransfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "te-nul-before": (post(b"\0Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "te-leading-space-line": (post(b" Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "te-cow": (post(TE, b"Transfer-Encoding: cow", body=b"0\r\n\r\n"), (400, 501)),
    "te-cow-first": (post(b"Transfer-Encoding: cow", TE, body=b"0\r\n\r\n"), (400, 501)),
    "te-trailing-comma": (post(b"Transfer-Encoding: chunked,", body=b"0\r\n\r\n"), (400, 501)),
    "te-form-feed": (post(b"Transfer-Encoding: chunked\x0c", body=b"0\r\n\r\n"), 400),
    "te-no-break-space": (post(b"Transfer-Encoding: \xc2\xa0chunked", body=b"0\r\n\r\n"), (400, 501)),
    "te-single-quotes": (post(b"Transfer-Encoding: 'chunked'", body=b"0\r\n\r\n"), (400, 501)),
    "te-kelvin": (post("Transfer-Encoding: chun\u212aed".encode(), body=b"0\r\n\r\n"), (400, 501)),
    "te-and-upgrade": (post(TE, b"Content-Length: 4", b"Upgrade: h2c", b"Connection: Upgrade",
                            body=b"0\r\n\r\n"), 400),
    "te-identity": (post(b"Transfer-Encoding: identity", body=b"12345"), (400, 501)),
    "te-gzip-chunked": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), (400, 501)),
    "te-chunked-identity": (post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
                            (400, 501)),
    "te-chunked-chunked": (post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
                           (400, 501)),
    "te-twice": (post(TE, TE, body=b"0\r\n\r\n"), (400, 501)),
    "te-twice-other": (post(TE, b"Transfer-Encoding: identity", body=b"0\r\n\r\n"), (400, 501)),
    "te-xchunked": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), (400, 501)),
    "te-parameter": (post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), (400, 501)),
    "te-quoted": (post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), (400, 501)),
    "te-empty": (post(b"Transfer-Encoding: ", body=b"0\r\n\r\n"), (400, 501)),
    "te-leading-comma": (post(b"Transfer-Encoding: , chunked", body=b"0\r\n\r\n"), (400, 501)),
    "te-vertical-tab": (post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), (400, 501)),
    "te-trailing-nul": (post(b"Transfer-Encoding: chunked\0", body=b"0\r\n\r\n"), 400),
    "te-1.0": (post(TE, body=b"0\r\n\r\n", version=b"HTTP/1.0"), 400),
    # field names and separators
    "space-before-colon": (post(b"Content-Length : 5", body=b"12345"), 400),
    "tab-before-colon": (post(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"), 400),
    "no-colon": (get(b"Nonsense"), 400),
    "empty-name": (get(b": value"), 400),
    "nul-in-name": (get(b"X-A\0B: 1"), 400),
    "nul-in-value": (get(b"X-A: 1\0002"), 400),
    "bell-in-value": (get(b"X-A: \x07"), 400),
    "delete-in-value": (get(b"X-A: \x7f"), 400),
    "bracket-in-name": (get(b"X[A]: 1"), 400),
    "high-byte-in-name": (get(b"X-\xc3\xa4: 1"), 400),
    "fold-space": (get(b"X-A: 1\r\n 2"), 400),
    "fold-tab": (get(b"X-A: 1\r\n\tTransfer-Encoding: chunked"), 400),
    "fold-first": (b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
    # line ends
    "bare-lf-request-line": (b"GET /healthz HTTP/1.1\n" + H + b"\r\n", 400),
    "bare-lf-field": (b"GET /healthz HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n", 400),
    "bare-lf-end": (b"GET /healthz HTTP/1.1\r\n" + H + b"\n\r\n\r\n", 400),
    "bare-cr-field": (b"GET /healthz HTTP/1.1\r\nHost: localhost\rX-A: 1\r\n\r\n", 400),
    "bare-cr-in-value": (get(b"X-A: 1\r2"), 400),
    "cr-cr-lf": (get(b"X-A: 1\r"), 400),
    # request line
    "two-spaces": (b"GET  /healthz HTTP/1.1\r\n" + H + b"\r\n", 400),
    "tab-separator": (b"GET\t/healthz\tHTTP/1.1\r\n" + H + b"\r\n", (400, 501)),
    "leading-space": (b" GET /healthz HTTP/1.1\r\n" + H + b"\r\n", (400, 501)),
    "trailing-space": (b"GET /healthz HTTP/1.1 \r\n" + H + b"\r\n", (400, 505)),
    "space-in-target": (b"GET /heal thz HTTP/1.1\r\n" + H + b"\r\n", (400, 505)),
    "no-version": (b"GET /healthz\r\n" + H + b"\r\n", (400, 505)),
    "lower-case-version": (get(version=b"http/1.1"), (400, 505)),
    "version-2": (get(version=b"HTTP/2.0"), 505),
    "version-1.2": (get(version=b"HTTP/1.2"), 505),
    "version-0.9": (get(version=b"HTTP/0.9"), (400, 505)),
    "version-long": (get(version=b"HTTP/1.10"), (400, 505)),
    "lower-case-method": (b"get /healthz HTTP/1.1\r\n" + H + b"\r\n", (400, 501)),
    "unknown-method": (b"BREW /healthz HTTP/1.1\r\n" + H + b"\r\n", 501),
    "connect": (b"CONNECT localhost:80 HTTP/1.1\r\n" + H + b"\r\n", (400, 501)),
    "trace": (b"TRACE /healthz HTTP/1.1\r\n" + H + b"\r\n", (405, 501)),
    "h2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501, 505)),
    "two-empty-lines": (b"\r\n\r\n" + get(), 400),
    "tls-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)) + b"\r\n\r\n",
                  (400, 501)),
    "nul-in-method": (b"GE\0T /healthz HTTP/1.1\r\n" + H + b"\r\n", (400, 501)),
    "nul-in-target": (get(target=b"/heal\0thz"), 400),
    "nul-in-version": (get(version=b"HTTP/1.1\0"), 400),
    "cr-in-target": (get(target=b"/heal\rthz"), 400),
    "lf-in-target": (get(target=b"/healthz\nX-A: 1"), 400),
    "empty-method": (b" /healthz HTTP/1.1\r\n" + H + b"\r\n", 400),
    "method-with-colon": (b"GET: /healthz HTTP/1.1\r\n" + H + b"\r\n", 400),
    "method-long": (b"A" * 5000 + b" /healthz HTTP/1.1\r\n" + H + b"\r\n", (400, 501)),
    "version-comma": (get(version=b"HTTP/1,1"), 400),
    "version-spaces": (get(version=b"HTTP/ 1.1"), 400),
    "version-ftp": (get(version=b"FTP/1.1"), 400),
    "version-wide-digit": (get(version="HTTP/1.\u0661".encode()), 400),
    "connect-path": (b"CONNECT /healthz HTTP/1.1\r\n" + H + b"\r\n", (400, 405, 501)),
    "trace-with-body": (b"TRACE /healthz HTTP/1.1\r\n" + H + b"Content-Length: 4\r\n\r\nbody",
                        (400, 405, 501)),
    "only-empty-lines": (b"\r\n" * 50, 400),
    # target
    "target-empty": (get(target=b""), 400),
    "target-backslash-host": (get(target=b"http:\\\\localhost\\healthz"), 400),
    "target-authority": (get(target=b"localhost:80"), 400),
    "target-https-no-host": (get(target=b"http:///healthz"), 400),
    "target-port-huge": (get(target=b"http://localhost:99999999999/healthz"), 400),
    "target-asterisk": (get(target=b"*"), 400),
    "target-relative": (get(target=b"healthz"), 400),
    "target-fragment": (get(target=b"/healthz#a"), 400),
    "target-control": (get(target=b"/heal\x01thz"), 400),
    "target-high-byte": (get(target=b"/heal\xffthz"), 400),
    "target-quote": (get(target=b'/heal"thz'), 400),
    "target-ftp": (get(target=b"ftp://localhost/healthz"), 400),
    "target-user": (get(target=b"http://user@localhost/healthz"), 400),
    # Host
    "host-missing": (get(host=b""), 400),
    "host-twice": (get(host=H + H), 400),
    "host-twice-other": (get(host=H + b"Host: other\r\n"), 400),
    "host-with-path": (get(host=b"Host: localhost/v2\r\n"), 400),
    "host-with-space": (get(host=b"Host: local host\r\n"), 400),
    "host-with-user": (get(host=b"Host: user@localhost\r\n"), 400),
    "host-list": (get(host=b"Host: localhost, other\r\n"), 400),
    # expectations
    "expect-other": (post(b"Expect: 200-ok", b"Content-Length: 0"), 417),
}

# Bodies in chunked coding, sent to a route that reads its body.
CHUNKS = {
    "size-sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "size-minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size-0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size-empty": b"\r\nhello\r\n0\r\n\r\n",
    "size-not-hex": b"5g\r\nhello\r\n0\r\n\r\n",
    "size-leading-space": b" 5\r\nhello\r\n0\r\n\r\n",
    "size-overflow": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size-endless": b"0" * 5_000 + b"5\r\nhello\r\n0\r\n\r\n",
    "size-trailing-tab-lf": b"5\t\nhello\r\n0\r\n\r\n",
    "size-underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size-nul": b"5\0\r\nhello\r\n0\r\n\r\n",
    "size-wide-digit": "\u0665\r\nhello\r\n0\r\n\r\n".encode(),
    "size-overflow-32": b"100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "size-comma": b"5,5\r\nhello\r\n0\r\n\r\n",
    "extension-bare-cr": b"5;a=\rb\r\nhello\r\n0\r\n\r\n",
    "extension-cr-cr-lf": b"5;a\r\r\nhello\r\n0\r\n\r\n",
    "extension-nul": b"5;\0\r\nhello\r\n0\r\n\r\n",
    "extension-quoted-lf": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "data-cr-only": b"5\r\nhello\r0\r\n\r\n",
    "data-lf-cr": b"5\r\nhello\n\r0\r\n\r\n",
    "data-too-short": b"6\r\nhello\r\n0\r\n\r\n",
    "last-no-end": b"5\r\nhello\r\n0\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "last-signed": b"5\r\nhello\r\n-0\r\n\r\n",
    "trailer-bare-cr": b"5\r\nhello\r\n0\r\nX-A: 1\rX-B: 2\r\n\r\n",
    "trailer-bare-lf": b"5\r\nhello\r\n0\r\nX-A: 1\nX-B: 2\r\n\r\n",
    "size-bare-lf": b"5\nhello\r\n0\r\n\r\n",
    "size-bare-cr": b"5\rhello\r\n0\r\n\r\n",
    "data-too-long": b"5\r\nhelloX\r\n0\r\n\r\n",
    "data-bare-lf": b"5\r\nhello\n0\r\n\r\n",
    "data-no-end": b"5\r\nhello0\r\n\r\n",
    "last-bare-lf": b"5\r\nhello\r\n0\n\n",
    "extension-control": b"5;a=\x01\r\nhello\r\n0\r\n\r\n",
    "extension-bare-lf": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "extension-long": b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
    "trailer-no-colon": b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
    "trailer-nul": b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n",
    "trailer-space-colon": b"5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n",
    "trailer-fold": b"5\r\nhello\r\n0\r\nX-A: 1\r\n b\r\n\r\n",
    "trailer-long": b"5\r\nhello\r\n0\r\n" + b"X-A: 1\r\n" * 5_000 + b"\r\n",
}


def refused(server, data, statuses):
    statuses = statuses if isinstance(statuses, tuple) else (statuses,)
    with raw.Conn(server.address) as conn:
        conn.send(data + NEXT)
        response = conn.read()
        assert response.status in statuses, response
        assert response.header("connection") == "close"
        assert conn.rest() == b"", "something was sent after the refusal"
    return response


@pytest.mark.parametrize("case", CASES)
def test_head(alive, case):
    refused(alive, *CASES[case])


SETTINGS = {"auth.anonymous": "push"}


@pytest.mark.parametrize("case", CHUNKS)
def test_chunks(alive, nobody, case):
    """On an upload, where bytes could be stored, and on a manifest, which is collected first."""
    for method, target in (("PATCH", nobody.start("smuggling/a")),
                           ("PUT", "/v2/smuggling/a/manifests/latest")):
        head = raw.request(method, target, [("Transfer-Encoding", "chunked")])
        refused(alive, head + CHUNKS[case], 400)


def test_refusal_is_an_oci_error(server):
    response = refused(server, CASES["cl-te"][0], 400)
    assert response.header("content-type") == "application/json"
    (code, message), = response.errors()
    assert code.isupper() and "Content-Length" in message


def test_good_requests_pass(alive):
    """The strictness refuses nothing that is in order: otherwise the tests above prove little."""
    good = [
        get(),
        b"\r\n" + get(),  # one empty line first: RFC 9112 2.2
        get(b"X-A:", b"X-B:b", b"X-C: \t c \t"),
        get(b"X-A: \x80\xff"),  # obs-text
        get(b"Connection: Keep-Alive", b"Connection: x-other"),
        get(target=b"/healthz?a=b&c=%20~!$'()*+,;:@/?"),
        get(target=b"http://localhost/healthz"),
        get(target=b"HTTP://localhost/healthz"),
        get(host=b"hOsT:localhost:5000\r\n"),
        get(host=b"Host: [::1]:5000\r\n"),
        get(b"Accept: a", b"Accept: b", b"Accept: a"),
    ]
    with raw.Conn(alive.address) as conn:
        for data in good:
            conn.send(data)
            response = conn.read()
            assert response.status == 200, (data, response)


def test_good_chunks_pass(server, nobody):
    """Extensions, trailers, upper-case sizes, leading zeros, chunks cut anywhere."""
    body = b"5\r\nhello\r\n" + b"0A;name=\"v\"\r\n0123456789\r\n" + b"000;x\r\nX-Trailer: 1\r\n\r\n"
    location = nobody.start("smuggling/a")
    with raw.Conn(server.address) as conn:
        conn.send(raw.request("PATCH", location, [("Transfer-Encoding", "Chunked")]))
        for i in range(len(body)):
            conn.send(body[i:i + 1])
        response = conn.read()
        assert response.status == 202 and response.header("range") == "0-14"
        conn.send(NEXT)
        assert conn.read().status == 200


# -- bodies that look like requests

def answers_to(server, data):
    """Every answer until the server closes, or has answered what this ends with."""
    found = []
    with raw.Conn(server.address) as conn:
        conn.send(data + NEXT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        while True:
            try:
                found.append(conn.read(head=not found and data.startswith(b"HEAD ")))
            except raw.Closed:
                break
        assert not conn.buffer
    return found


@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("route", routes(), ids=str)
def test_a_body_is_never_a_request(alive, route, coding):
    """Whatever a route does with a body it did not ask for, or refuses: never is it read as the next
    request. With and without a right to be there, and where the method is wrong."""
    target = route.target({"name": "smuggling/a", "digest": "sha256:" + "0" * 64})
    for method in {route.method, "HEAD", "DELETE", "PUT"}:
        for headers in ([], [("Authorization", "Basic eDp4")], [("Expect", "100-continue")]):
            if coding == "length":
                framing, body = [("Content-Length", str(len(NEXT)))], NEXT
            else:
                framing, body = [("Transfer-Encoding", "chunked")], raw.chunked(NEXT, NEXT)
            found = answers_to(alive, raw.request(method, target, framing + headers) + body)
            # The first, and, where the connection went on, that of the request behind it.
            assert 1 <= len(found) <= 2, (method, target, headers, found)
            if len(found) == 1:
                assert found[0].header("connection") == "close", (method, target, found)
            else:
                assert found[1].status == 200 and b"ok" in found[1].body.lower(), found


def test_nothing_is_upgraded(alive):
    """h2c, WebSocket, TLS: the answer is to the request, and the next one is read as before."""
    for protocol in (b"h2c", b"websocket", b"TLS/1.2, HTTP/1.1", b"h2c,\x0ch2c"):
        if b"\x0c" in protocol:
            refused(alive, get(b"Upgrade: " + protocol), 400)
            continue
        found = answers_to(alive, get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + protocol,
                                      b"HTTP2-Settings: AAMAAABkAAQAAP__"))
        assert [a.status for a in found] == [200, 200]
        assert all(a.header("upgrade") is None for a in found)


def test_names_that_only_look_like_framing(alive):
    """Not Transfer-Encoding and not Content-Length, so there is no body: what stands there is the
    next request, and a bad one."""
    for field in (b"Transfer_Encoding: chunked", b"Transfer-Encodin: chunked", b"X: chunked",
                  b"Transfer.Encoding: chunked", b"Content_Length: 5"):
        found = answers_to(alive, post(field, body=b"0\r\n\r\n", target=b"/healthz"))
        assert len(found) == 2 and found[0].status == 405 and found[1].status == 400, (field, found)


def test_absolute_form_agrees_with_host(alive):
    """A proxy may route by one and we by the other, so the two must say the same."""
    for target, host in ((b"http://localhost/healthz", b"localhost"),
                         (b"http://LOCALHOST:5000/healthz", b"localhost:5000"),
                         (b"http://[::1]:5000/healthz", b"[::1]:5000")):
        found = answers_to(alive, get(target=target, host=b"Host: " + host + b"\r\n"))
        assert [a.status for a in found] == [200, 200], (target, found)
        refused(alive, get(target=target, host=b"Host: third.example\r\n"), 400)
        refused(alive, get(target=target, host=b"Host:\r\n"), 400)

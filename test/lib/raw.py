"""HTTP/1.1 as bytes: send exactly what a test says, read answers one by one."""

import socket
import ssl
import time
from collections import defaultdict

answered = defaultdict(list)  # {address: ids of the requests whose answers were read}


class Response:
    def __init__(self, version, status, reason, headers, body=b"", interim=()):
        self.version = version
        self.status = status
        self.reason = reason
        self.headers = headers  # [(name as sent, value)]
        self.body = body
        self.interim = list(interim)

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def header(self, name):
        """The value, None without; a repeated header is an error here."""
        found = self.all(name)
        assert len(found) <= 1, f"{name} is repeated: {found}"
        return found[0] if found else None

    def json(self):
        import json
        return json.loads(self.body)

    def errors(self):
        """[(code, message)] of an OCI error body."""
        return [(e["code"], e.get("message", "")) for e in self.json()["errors"]]

    @property
    def code(self):
        return self.errors()[0][0]

    @property
    def message(self):
        return self.errors()[0][1]

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r}>"


class Closed(Exception):
    """The server closed (or reset) the connection before a whole answer."""


class Conn:
    """One connection. Reads are buffered, so pipelined answers come one by one.

    `address`: (host, port), or the path of a unix socket. `tls`: an ssl.SSLContext to speak it
    with; `session`: one to resume."""

    def __init__(self, address, timeout=15, receive_buffer=None, tls=None, session=None):
        unix = isinstance(address, str)
        self.sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        if not unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = address
        self.buffer = b""
        if tls:
            try:
                self.sock = tls.wrap_socket(self.sock, server_hostname="localhost", session=session)
            except BaseException:
                self.sock.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        """Sends all, or as much as the server takes before it closes. True when all was sent."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            return False

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def _until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise Closed(f"closed after {self.buffer[:200]!r}")
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def _exactly(self, n):
        parts, have = [self.buffer[:n]], min(n, len(self.buffer))
        self.buffer = self.buffer[n:]
        while have < n:
            try:
                data = self.sock.recv(min(1 << 20, n - have))
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed(f"closed {n - have} bytes before the end of the body")
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def read_head(self):
        """Status line and headers of one answer, interim or final."""
        lines = self._until(b"\r\n\r\n").split(b"\r\n")
        version, status, reason = (lines[0].decode("latin-1").split(" ", 2) + [""])[:3]
        headers = []
        for line in lines[1:]:
            name, value = line.decode("latin-1").split(":", 1)
            assert name == name.strip(), f"white space around the header name {name!r}"
            headers.append((name, value.strip()))
        return Response(version, int(status), reason, headers)

    def read(self, head=False):
        """The next final answer. `head`: it answers HEAD, so has no body."""
        interim = []
        while True:
            response = self.read_head()
            if response.status >= 200:
                break
            interim.append(response)
        response.interim = interim
        length = response.header("content-length")
        coding = response.header("transfer-encoding")
        assert not (length is not None and coding), "both Content-Length and Transfer-Encoding"
        if head or response.status in (204, 304):
            pass
        elif coding:
            assert coding == "chunked"
            response.body = self._chunks()
        elif length is not None:
            response.body = self._exactly(int(length))
        else:
            while self._more():
                pass
            response.body, self.buffer = self.buffer, b""
        if response.header("x-request-id"):
            answered[self.address].append(response.header("x-request-id"))
        return response

    def _chunks(self):
        body = b""
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                assert self._until(b"\r\n") == b"", "unexpected trailers"
                return body
            body += self._exactly(size)
            assert self._exactly(2) == b"\r\n"

    def closed(self, timeout=10):
        """True when the server closes within the time and sends nothing more first."""
        if self.buffer:
            return False
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def rest(self, timeout=10):
        """Everything until the server closes; None when it stays open."""
        end = time.monotonic() + timeout
        while True:
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            try:
                if not self._more():
                    data, self.buffer = self.buffer, b""
                    return data
            except TimeoutError:
                return None


def exchange(address, data, head=False, timeout=15):
    """One request on its own connection: the answer, or None when the server just closed."""
    with Conn(address, timeout) as conn:
        conn.send(data)
        try:
            return conn.read(head=head)
        except Closed:
            return None


def request(method, target, headers=(), body=None, version="HTTP/1.1", host="localhost"):
    """Bytes of a well-formed request."""
    lines = [f"{method} {target} {version}", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None and not any(n.lower() in ("content-length", "transfer-encoding")
                                    for n, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def chunked(*parts):
    """The parts in chunked coding, with the final chunk."""
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"

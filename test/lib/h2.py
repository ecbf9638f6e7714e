"""HTTP/2 as frames: send exactly what a test says, read answers stream by stream."""

import socket
import ssl
import struct
from collections import namedtuple

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS, PADDED = 4, 8
NO_ERROR, PROTOCOL_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 8, 11
FLOW_CONTROL_ERROR, STREAM_CLOSED, REFUSED_STREAM, COMPRESSION_ERROR = 3, 5, 7, 9
INITIAL_WINDOW, MAX_FRAME_SIZE = 4, 5

Frame = namedtuple("Frame", "type flags stream payload")


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", i, v) for i, v in values.items()))


def literal(name, value, indexed=False):
    """One HPACK field, not compressed; `indexed`: it goes into the table."""
    def text(s):
        s = s if isinstance(s, bytes) else s.encode("latin-1")
        n = len(s)
        if n < 127:
            return bytes([n]) + s
        n, out = n - 127, b"\x7f"
        while n >= 128:
            out, n = out + bytes([n % 128 | 128]), n >> 7
        return out + bytes([n]) + s
    return (b"\x40" if indexed else b"\x00") + text(name) + text(value)


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def fields(method, path, more=(), authority="localhost", scheme="http"):
    found = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
    return [(n, v) for n, v in found if v is not None] + list(more)


class Closed(Exception):
    """The connection ended; `goaway` is the error code of the last GOAWAY, None without."""

    def __init__(self, goaway):
        super().__init__(f"closed, GOAWAY {goaway}")
        self.goaway = goaway


class Stream:
    def __init__(self, number):
        self.id = number
        self.heads = []  # of each HEADERS frame
        self.body = bytearray()
        self.frames = 0  # of DATA
        self.ended = False
        self.reset = None

    @property
    def headers(self):
        return self.heads[-1]

    @property
    def status(self):
        return int(dict(self.headers)[":status"])

    def header(self, name):
        return dict(self.headers).get(name)


def trusting():
    """A TLS client that asks for HTTP/2 and trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


class H2:
    """One connection. Windows are opened by what is read, unless `windows` is False. `tls`: the
    server speaks it; its certificate is not looked at, unless this is an ssl.SSLContext."""

    def __init__(self, address, timeout=20, preface=True, windows=True, receive_buffer=None, tls=False,
                 **initial):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = trusting() if tls is True else tls
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
            assert self.sock.selected_alpn_protocol() == "h2"
        self.buffer = bytearray()
        self.decoder = hpack.Decoder()
        self.windows = windows
        self.streams = {}
        self.next = 1
        self.seen = []  # every frame that is not DATA
        self.goaways = []  # (last stream, error code)
        self.send_window = 65535
        self.stream_windows = {}
        self.initial_window = 65535
        self.max_frame = 16384
        if preface:
            known = {INITIAL_WINDOW: initial.get("window"), MAX_FRAME_SIZE: initial.get("frame")}
            chosen = b"".join(struct.pack(">HI", i, v) for i, v in known.items() if v is not None)
            self.send(PREFACE + frame(SETTINGS, payload=chosen))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        """True when all was sent."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    # -- requests

    def open(self, head, end=True):
        """Sends HEADERS; the number of the stream."""
        number, self.next = self.next, self.next + 2
        self.streams[number] = Stream(number)
        self.stream_windows[number] = self.initial_window
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), number, block(head)))
        return number

    def get(self, path, more=(), method="GET"):
        return self.open(fields(method, path, more))

    def ask(self, path, more=(), method="GET"):
        return self.wait(self.get(path, more, method))

    def data(self, number, body, end=True, size=16384):
        """Sends a body within the windows; stops when the server has answered or reset it."""
        at = 0
        stream = self.streams[number]
        while True:
            room = min(self.send_window, self.stream_windows[number], size, len(body) - at)
            if room <= 0 and at < len(body):
                if stream.ended or stream.reset is not None:
                    return at
                self.step()
                continue
            part = body[at:at + room]
            at += room
            self.send_window -= room
            self.stream_windows[number] -= room
            last = at == len(body)
            self.send(frame(DATA, END_STREAM if end and last else 0, number, part))
            if last:
                return at

    def put(self, path, body, more=(), method="PUT"):
        head = fields(method, path, [("content-length", str(len(body))), *more])
        number = self.open(head, end=not body)
        if body:
            self.data(number, body)
        return self.wait(number)

    # -- answers

    def _exactly(self, n):
        while len(self.buffer) < n:
            try:
                got = self.sock.recv(1 << 16)
            except ConnectionResetError:
                got = b""
            if not got:
                raise Closed(self.goaways[-1][1] if self.goaways else None)
            self.buffer += got
        found = bytes(self.buffer[:n])
        del self.buffer[:n]
        return found

    def read(self):
        """The next frame."""
        head = self._exactly(9)
        length = int.from_bytes(head[:3], "big")
        assert length <= self.max_frame, "a frame larger than allowed"
        return Frame(head[3], head[4], int.from_bytes(head[5:], "big") & 0x7fffffff,
                     self._exactly(length))

    def step(self):
        """Reads a frame and does what it asks for."""
        f = self.read()
        stream = self.streams.get(f.stream)
        if f.type != DATA:
            self.seen.append(f)
        if f.type == DATA:
            stream.body += f.payload
            stream.frames += 1
            if self.windows and f.payload:
                more = struct.pack(">I", len(f.payload))
                self.send(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, f.stream, more))
        elif f.type == HEADERS:
            assert f.flags & END_HEADERS, "the server splits its heads"
            stream.heads.append(self.decoder.decode(f.payload))
        elif f.type == SETTINGS and not f.flags & ACK:
            for at in range(0, len(f.payload), 6):
                key, value = struct.unpack(">HI", f.payload[at:at + 6])
                if key == INITIAL_WINDOW:
                    self.initial_window = value
            self.send(frame(SETTINGS, ACK))
        elif f.type == PING and not f.flags & ACK:
            self.send(frame(PING, ACK, 0, f.payload))
        elif f.type == WINDOW_UPDATE:
            more = int.from_bytes(f.payload, "big")
            if f.stream:
                self.stream_windows[f.stream] += more
            else:
                self.send_window += more
        elif f.type == RST_STREAM and stream:
            stream.reset = int.from_bytes(f.payload, "big")
        elif f.type == GOAWAY:
            self.goaways.append(struct.unpack(">II", f.payload[:8]))
        if stream and f.type in (DATA, HEADERS) and f.flags & END_STREAM:
            stream.ended = True
        return f

    def wait(self, number):
        """The stream, once it was answered whole or reset."""
        stream = self.streams[number]
        while not stream.ended and stream.reset is None:
            self.step()
        return stream

    def until(self, condition):
        while not condition():
            self.step()

    def rest(self):
        """Reads to the end of the connection: the error code of the last GOAWAY, None without."""
        try:
            while True:
                self.step()
        except Closed as closed:
            return closed.goaway

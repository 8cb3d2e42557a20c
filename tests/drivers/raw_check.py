"""A client of raw sockets: pressure that no driver makes, and where it must be felt."""

import hashlib
import select
import socket
import struct
import time
from base64 import b64decode, b64encode
from hmac import digest
from os import urandom
from urllib.parse import unquote, urlsplit

from checks import DIRECT, POSTERN, Check, equal, seal, until


class Wire:
    """Just enough of the protocol."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.address = (parts.hostname, parts.port)
        self.socket = socket.create_connection(self.address, 30)
        self.buffer = b""
        user, secret = unquote(parts.username), unquote(parts.password or "")
        database = parts.path.lstrip("/")
        body = struct.pack("!i", 196608) + b"".join(
            text.encode() + b"\0" for text in ("user", user, "database", database, "application_name", "raw")
        ) + b"\0"
        self.send(struct.pack("!i", len(body) + 4) + body)
        while True:
            tag, body = self.read()
            if tag == b"R":
                self.authenticate(body, secret)
            elif tag == b"K":
                self.key = body
                self.pid = struct.unpack("!i", body[:4])[0]
            elif tag == b"Z":
                return
            elif tag == b"E":
                raise AssertionError(body)

    def authenticate(self, body, secret):
        kind = struct.unpack("!i", body[:4])[0]
        if kind == 10:
            self.first = b"n=,r=" + b64encode(urandom(18))
            self.message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(self.first) + 3) + b"n,," + self.first)
        elif kind == 11:
            given = dict(part.split(b"=", 1) for part in body[4:].split(b","))
            salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), b64decode(given[b"s"]), int(given[b"i"]))
            bare = b"c=biws,r=" + given[b"r"]
            client = digest(salted, b"Client Key", "sha256")
            signature = digest(hashlib.sha256(client).digest(), b",".join([self.first, body[4:], bare]), "sha256")
            proof = b64encode(bytes(a ^ b for a, b in zip(client, signature)))
            self.message(b"p", bare + b",p=" + proof)
        elif kind == 3:
            self.message(b"p", secret.encode() + b"\0")

    def send(self, data):
        self.socket.sendall(data)

    def message(self, tag, body=b""):
        self.send(tag + struct.pack("!i", len(body) + 4) + body)

    def read(self):
        while True:
            if len(self.buffer) >= 5:
                size = struct.unpack("!i", self.buffer[1:5])[0] + 1
                if len(self.buffer) >= size:
                    tag, body, self.buffer = self.buffer[:1], self.buffer[5:size], self.buffer[size:]
                    return tag, body
            more = self.socket.recv(1 << 16)
            if not more:
                raise AssertionError("the connection was closed")
            self.buffer += more

    def ready(self, times=1):
        """The tags up to so many ReadyForQuery, counted, and the errors."""
        tags, errors = {}, []
        while times:
            tag, body = self.read()
            tags[tag] = tags.get(tag, 0) + 1
            times -= tag == b"Z"
            if tag == b"E":
                errors.append(dict((field[:1], field[1:]) for field in body.split(b"\0") if field)[b"C"])
        return tags, errors

    def query(self, text):
        self.message(b"Q", text.encode() + b"\0")
        rows = []
        while True:
            tag, body = self.read()
            if tag == b"D":
                size = struct.unpack("!i", body[2:6])[0]
                rows.append(body[6 : 6 + size].decode())
            elif tag == b"E":
                raise AssertionError(body)
            elif tag == b"Z":
                return rows

    def cancel(self):
        with socket.create_connection(self.address, 10) as other:
            other.sendall(struct.pack("!ii", 12 + len(self.key) - 4, 80877102) + self.key)
            equal(other.recv(1), b"", "what a cancel request is answered with")


def frame(tag, body=b""):
    return tag + struct.pack("!i", len(body) + 4) + body


def statement(text, sync=True):
    run = frame(b"P", b"\0" + text.encode() + b"\0\0\0") + frame(b"B", b"\0\0\0\0\0\0\0\0")
    return run + frame(b"D", b"P\0") + frame(b"E", b"\0\0\0\0\0") + (frame(b"S") if sync else b"")


def until_it_must(wire, data):
    """Writes, and reads nothing, until nothing more goes out for a while; what it got rid of."""
    wire.socket.setblocking(False)
    sent = 0
    while sent < len(data):
        if not select.select([], [wire.socket], [], 1)[1]:
            break
        sent += wire.socket.send(data[sent : sent + (1 << 18)])
    wire.socket.setblocking(True)
    return sent


def full_duplex(url):
    """Reads as it writes from then on."""
    wire = Wire(url)
    count = 20_000
    data = statement("select repeat('x', 2000) --" + "y" * 2000) * count
    sent = until_it_must(wire, data)
    assert sent < len(data), "a client that does not read was never made to"
    # ParseComplete, BindComplete, RowDescription, DataRow, CommandComplete, ReadyForQuery: counting bytes is enough.
    answer = 5 + 5 + (5 + 2 + 7 + 18) + (5 + 2 + 4 + 2000) + (5 + 9) + 6
    got, tail = 0, b""
    wire.socket.setblocking(False)
    while got < answer * count:
        readable, writable, _ = select.select([wire.socket], [wire.socket] if sent < len(data) else [], [], 30)
        assert readable or writable, f"stuck after {got} bytes of answers"
        if writable:
            sent += wire.socket.send(data[sent : sent + (1 << 18)])
        if readable:
            more = wire.socket.recv(1 << 18)
            assert more, "closed"
            got += len(more)
            tail = (tail + more)[-6:]
    wire.socket.setblocking(True)
    equal(got, answer * count, "bytes of answers")
    equal(tail, frame(b"Z", b"I"), "the end")
    equal(wire.query("select 'after'"), ["after"])


def one_sync(url):
    """20,000 statements with one Sync at their end; an error among them discards the rest."""
    wire = Wire(url)
    run = statement("select 1", sync=False)
    wire.send(run * 20_000 + frame(b"S"))
    good = wire.ready()
    wire.send(run * 100 + statement("select 1/0", sync=False) + run * 10_000 + frame(b"S") + run + frame(b"S"))
    bad = wire.ready(2)
    return good, bad, wire.query("select 'after'")


def byte_by_byte(url):
    wire = Wire(url)
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in statement("select 'in pieces'") + frame(b"Q", b"select 1; select 2\0"):
        wire.send(bytes([byte]))
    return wire.ready(2)


def cancel_under_pressure(url):
    """A statement runs, more is queued behind it than anything on the way can hold; the cancel must still arrive."""
    wire, other = Wire(url), Wire(DIRECT)
    filler = statement("select repeat('x', 10) -- " + "y" * 500)
    sent = until_it_must(wire, statement("select pg_sleep(600)") + filler * 40_000)
    running = f"select count(*) from pg_stat_activity where pid = {wire.pid} and query like '%pg_sleep%' and state = 'active'"
    until("the statement runs", lambda: other.query(running) == ["1"])
    start = time.monotonic()
    wire.cancel()
    wire.socket.settimeout(20)
    _, errors = wire.ready()
    equal(errors, [b"57014"])
    assert time.monotonic() - start < 10
    wire.socket.close()
    assert sent


def a_late_cancel(url):
    """Once a cancel request's connection is closed, it hits nothing that begins later."""
    wire = Wire(url)
    for i in range(60):
        equal(wire.query("select 1"), ["1"])
        wire.cancel()
        equal(wire.query("select 'not cancelled', pg_sleep(0.003)"), ["not cancelled"])
    # A wrong secret hits nobody.
    right = wire.key
    wire.key = right[:4] + bytes(b ^ 0x55 for b in right[4:])
    wire.message(b"Q", b"select pg_sleep(0.3)\0")
    wire.cancel()
    equal(wire.ready()[1], [])


def a_slow_reader(url):
    """Someone who does not read holds up nobody else, and gets everything in the end."""
    slow, quick = Wire(url), Wire(url)
    slow.message(b"Q", b"select repeat('z', 10000) from generate_series(1, 5000)\0")
    for _ in range(200):
        equal(quick.query("select 'quick'"), ["quick"])
    tags, errors = slow.ready()
    equal((tags[b"D"], errors), (5000, []))


if __name__ == "__main__":
    seal()
    for name, check in [("20,000 statements with one Sync, and an error among them", one_sync),
                        ("messages byte by byte", byte_by_byte)]:
        with Check(name):
            equal(check(POSTERN), check(DIRECT))
    with Check("a client that pipelines without reading until it must"):
        full_duplex(POSTERN)
    with Check("a client that does not read holds up nobody else"):
        a_slow_reader(POSTERN)
    with Check("a cancel request passes a full pipeline"):
        cancel_under_pressure(POSTERN)
    with Check("a cancel request hits nothing that begins after it"):
        a_late_cancel(POSTERN)

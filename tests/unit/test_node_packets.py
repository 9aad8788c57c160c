"""The buffers between umqtt and the socket: whole packets only, whatever comes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.unit.node_modules import dns, packets


class Connection:
    """A non-blocking socket that hands out what a test put in, in pieces."""

    def __init__(self, *pieces: bytes, takes: int = 10_000) -> None:
        self.pieces = list(pieces)
        self.takes = takes
        self.sent: list[bytes] = []

    def readinto(self, buffer: memoryview) -> int | None:
        if not self.pieces:
            return None
        piece = self.pieces[0][: len(buffer)]
        self.pieces[0] = self.pieces[0][len(buffer) :]
        if not self.pieces[0]:
            del self.pieces[0]
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, buffer: memoryview) -> int | None:
        if not self.takes:
            return None
        self.sent.append(bytes(buffer[: self.takes]))
        return len(self.sent[-1])


def publish(topic: bytes, body: bytes) -> bytes:
    content = len(topic).to_bytes(2, "big") + topic + body
    size, head = len(content), bytearray(b"\x30")
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(head) + bytes([size]) + content


def taken(pipe: Any, connection: Connection) -> list[bytes]:
    bodies = []
    while pipe.receive(connection):
        while pipe.packet():
            bodies.append(bytes(pipe.body()))
            pipe.done()
    return bodies


def test_packets_come_whole_in_whatever_pieces_they_arrive() -> None:
    chance = random.Random(3)
    wanted = [publish(b"a/b", chance.randbytes(chance.randint(0, 600))) for _ in range(300)]
    stream, pieces = b"".join(wanted), []
    while stream:
        size = chance.randint(1, 900)
        pieces.append(stream[:size])
        stream = stream[size:]
    bodies = taken(packets.Pipe(), Connection(*pieces))
    assert [body[5:] for body in bodies] == [packet[packet.index(b"a/b") + 3 :] for packet in wanted]


def test_half_a_packet_is_not_there_yet() -> None:
    pipe, whole = packets.Pipe(), publish(b"t", b"body")
    for end in range(1, len(whole)):
        pipe.reset()
        pipe.receive(Connection(whole[:end]))
        assert pipe.packet() == 0


def test_an_oversized_packet_is_skipped_and_counted_and_the_next_one_comes() -> None:
    pipe = packets.Pipe()
    bodies = taken(pipe, Connection(publish(b"t", bytes(50_000)), publish(b"t", b"small")))
    assert bodies == [b"\0\1tsmall"]
    assert pipe.oversized == 1


def test_what_is_no_packet_ends_the_connection() -> None:
    pipe = packets.Pipe()
    pipe.receive(Connection(b"\x30\xff\xff\xff\xff\xff"))
    with pytest.raises(packets.BrokenError):
        pipe.packet()


def test_umqtt_cannot_read_beyond_the_packet() -> None:
    pipe = packets.Pipe()
    pipe.receive(Connection(publish(b"t", b"x") + publish(b"u", b"next")))
    assert pipe.packet() == packets.PUBLISH
    assert pipe.read(1000) == publish(b"t", b"x")
    assert pipe.read(1) == b""
    pipe.done()
    assert pipe.packet() == packets.PUBLISH
    assert bytes(pipe.body()) == b"\0\1unext"


def test_many_small_writes_leave_as_one() -> None:
    pipe, connection = packets.Pipe(), Connection()
    for part in (b"\x30", b"abcdef", b"gh"):
        pipe.write(part)
    pipe.write(b"XYZ", 1)
    assert pipe.send(connection)
    assert connection.sent == [b"\x30abcdefghX"]


def test_what_the_socket_does_not_take_stays_for_later() -> None:
    pipe, connection = packets.Pipe(), Connection(takes=4)
    pipe.write(b"0123456789")
    assert not pipe.send(connection)
    assert not pipe.send(connection)
    assert pipe.send(connection)
    assert b"".join(connection.sent) == b"0123456789"
    connection.takes = 0
    pipe.write(b"rest")
    assert not pipe.send(connection)


def test_a_dns_answer_is_read_through_its_aliases() -> None:
    asked = dns.question("broker.example.org", 0x1234)
    alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01x\xc0\x13"
    address = b"\x01x\xc0\x13\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\x01\x02\x03"
    reply = asked[:2] + b"\x81\x80\0\x01\0\x02\0\0\0\0" + asked[12:] + alias + address
    assert dns.answer(reply, asked) == "10.1.2.3"
    for end in range(len(asked), len(reply)):
        assert dns.answer(reply[:end], asked) is None


def test_a_dns_answer_to_somebody_else_is_refused() -> None:
    asked = dns.question("broker.example.org", 0x1234)
    good = asked[:2] + b"\x81\x80" + asked[4:]
    for wrong in (b"", asked, b"\0\0" + good[2:], good.replace(b"broker", b"bro-er")):
        with pytest.raises(ValueError, match="answer"):
            dns.answer(wrong, asked)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".org"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        dns.question(name, 1)

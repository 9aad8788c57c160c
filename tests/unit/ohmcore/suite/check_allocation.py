"""What the hot paths of a node take from its heap: nothing. Only MicroPython can tell (gc.mem_alloc)."""

import gc

from ohmcore import pdu, rtu, server, tcp
from ohmcore.crc import crc16
from ohmcore.frames import add_range, begin_data
from ohmcore.limits import Budget, Rule, integer
from ohmcore.pack import Packer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TURNS = 1000


def taken(turn: "Any") -> int:
    """How many bytes `TURNS` calls of `turn` leave on the heap while nothing is collected."""
    turn()
    gc.collect()
    gc.disable()
    try:
        before: int = gc.mem_alloc()  # type: ignore[attr-defined] # MicroPython
        for _ in range(TURNS):
            turn()
        after: int = gc.mem_alloc()  # type: ignore[attr-defined] # MicroPython
        return after - before
    finally:
        gc.enable()


def test_the_measure_sees_a_single_tuple() -> None:
    number = len(str(TURNS))
    assert taken(lambda: (number, number)) >= 16 * TURNS


def test_a_checksum_takes_nothing() -> None:
    buf = bytearray(256)
    assert taken(lambda: crc16(buf, 0, 256)) == 0


def test_a_request_takes_nothing() -> None:
    buf = bytearray(16)
    assert taken(lambda: rtu.build(buf, 252, pdu.build_read(buf, 1, 3, 10000, 15))) == 0


def test_watching_and_checking_a_reply_takes_nothing() -> None:
    buf = bytearray(256)
    n = rtu.build(buf, 252, server.build_read_reply(buf, 1, 3, bytes(120)))

    def turn() -> None:
        assert rtu.expected_length(buf, 3) == n
        end = rtu.verify(buf, n, 252, 3)
        assert pdu.check_reply(buf, rtu.PDU_START, end, 3, 11000, 60) == 3

    assert taken(turn) == 0


def test_checking_the_echo_of_a_write_takes_nothing() -> None:
    buf = bytearray(16)
    n = rtu.build(buf, 252, server.build_write_reply(buf, 1, 6, 25103, 1000))
    assert taken(lambda: pdu.check_reply(buf, 1, rtu.verify(buf, n, 252, 6), 6, 25103, 1000)) == 0


def test_checking_a_reply_over_tcp_takes_nothing() -> None:
    buf = bytearray(260)
    n = tcp.build(buf, 7, 255, server.build_read_reply(buf, 7, 3, bytes(120)))
    assert taken(lambda: pdu.check_reply(buf, 7, tcp.verify(buf, n, 7, 255, 3), 3, 11000, 60)) == 0


def test_a_data_frame_takes_its_two_names_as_bytes() -> None:
    """And no more. Looked at by its characters a text would take nothing, but those would stay for ever, as names of MicroPython."""
    packer = Packer(bytearray(1024))
    words = bytes(120)

    def turn() -> None:
        begin_data(packer, 0x7FFFFFF, 123456, 86400000, "mtec", "10s", 0, 3)
        add_range(packer, 3, 10000, words)
        add_range(packer, 3, 11000, words)
        add_range(packer, 3, 33000, words)

    octets = taken(lambda: b"mtec".decode().encode())
    assert taken(turn) <= 2 * octets
    assert packer.length > 360


def test_evaluating_a_limit_takes_nothing() -> None:
    spec = {"name": "hot", "above": 600, "clear": 550, "hold_ms": 1000, "stale_ms": 5000, "kind": "i16", "offset": 3, "trip": True}
    rule = Rule(spec)
    images = (bytes(6) + b"\x02\xbc", bytes(6) + b"\xff\x00", bytes(6) + b"\x02\x30")
    state = [0, 0]

    def turn() -> None:
        state[0] += 1
        if state[0] % 7:
            rule.read(images[state[0] % 3], 0)
        rule.advance(250 if state[0] % 50 else 6000)
        if rule.blocks() or rule.tripped() or rule.lost():
            state[1] += 1

    assert taken(turn) == 0
    assert state[1] > 0


def test_counting_writes_takes_nothing() -> None:
    budget = Budget(100)

    def turn() -> None:
        budget.advance(250)
        if budget.left() > 5:
            budget.spend(1)

    assert taken(turn) == 0


def test_a_number_takes_nothing() -> None:
    raw = b"\xff\xf6\x00\x01"
    assert taken(lambda: integer(raw, 0, 1, True) + integer(raw, 2, 1, False, True)) == 0


def test_a_range_out_of_a_reply_takes_one_view_of_it() -> None:
    packer = Packer(bytearray(1024))
    reply = bytearray(256)

    def turn() -> None:
        packer.reset()
        add_range(packer, 3, 10000, reply, 3, 123)

    assert taken(turn) <= 128 * TURNS

from ohmcore import frames, gateway
from ohmcore.errors import FrameError, PackError
from ohmcore.pack import Packer, unpack
from tests.unit.ohmcore.suite.expect import raises, says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DATA = [1, 77, 5, 120000, "mtec", "10s", 0, [[3 << 16 | 10000, b"\x01\x02"], [3 << 16 | 11000, b"\x01\x02\x03\x04"]]]
EVENT = [1, 77, 6, 120001, "mtec", "bus", {"requests": 9, "ok": 8, "crc": 1}]
HELLO = [1, "0.1.0", 77, 1000, b"12345678", "a", "power on", ["modbus", "spool"], 1]
ACK = [1, 77, 6, 1735689600000]
COMMAND = [1, "c-1", 3, "mtec", "grid_inject_limit", b"\x03\xe8", 5000, 60000]


def packed(pack: "Any", *arguments: object) -> bytes:
    packer = Packer(bytearray(1024))
    packer.int(99)
    pack(packer, *arguments)
    return packer.message()


def changed(frame: "list[Any]", index: int, value: object) -> "list[Any]":
    copy = list(frame)
    copy[index] = value
    return copy


def refused(parse: "Any", frame: object, words: str) -> None:
    says(words, raises(FrameError, parse, frame))


def test_a_data_frame_is_the_array_of_the_protocol() -> None:
    ranges = ((3, 10000, b"\x01\x02"), (3, 11000, b"\x01\x02\x03\x04"))
    raw = packed(gateway.pack_data, 77, 5, 120000, "mtec", "10s", 0, ranges)
    assert unpack(raw) == DATA
    assert gateway.parse_data(DATA) == (77, 5, 120000, "mtec", "10s", 0, ranges)


def test_a_data_frame_may_be_packed_piece_by_piece() -> None:
    packer = Packer(bytearray(1024))
    reply = b"\xfc\x03\x02\x01\x02\x00\x00"
    frames.begin_data(packer, 77, 5, 120000, "mtec", "10s", 0, 2)
    frames.add_range(packer, 3, 10000, reply, 3, 5)
    frames.add_range(packer, 3, 11000, b"\x01\x02\x03\x04")
    assert unpack(packer.message()) == DATA


def test_an_event_an_ack_a_hello_and_a_command() -> None:
    assert unpack(packed(frames.pack_event, 77, 6, 120001, "mtec", "bus", EVENT[6])) == EVENT
    assert gateway.parse_event(EVENT) == (77, 6, 120001, "mtec", "bus", EVENT[6])
    assert unpack(packed(frames.pack_hello, ("0.1.0", 77, 1000, b"12345678", "a", "power on", ["modbus", "spool"], 1))) == HELLO
    assert gateway.parse_hello(HELLO) == ("0.1.0", 77, 1000, b"12345678", "a", "power on", ("modbus", "spool"), 1)
    assert unpack(packed(gateway.pack_ack, 77, 6, 1735689600000)) == ACK
    assert frames.parse_ack(ACK) == (77, 6, 1735689600000)
    assert unpack(packed(gateway.pack_command, "c-1", 3, "mtec", "grid_inject_limit", b"\x03\xe8", 5000, 60000)) == COMMAND
    assert frames.parse_command(COMMAND) == ("c-1", 3, "mtec", "grid_inject_limit", b"\x03\xe8", 5000, 60000)


def test_tuples_are_as_good_as_lists() -> None:
    assert frames.parse_ack(tuple(ACK)) == (77, 6, 1735689600000)
    assert gateway.parse_data(tuple(changed(DATA, 7, ((0x30005, b"\0\0"),))))[6] == ((3, 5, b"\0\0"),)


def test_an_event_may_concern_the_node_itself() -> None:
    assert gateway.parse_event(changed(EVENT, 4, ""))[3] == ""


def test_a_command_to_the_node_itself_may_have_no_words() -> None:
    reset = [1, 7, 4, "", "reset", b"", 5000, 0]
    assert unpack(packed(gateway.pack_command, 7, 4, "", "reset", b"", 5000)) == reset
    assert frames.parse_command(reset) == (7, 4, "", "reset", b"", 5000, 0)
    refused(frames.parse_command, changed(COMMAND, 5, b""), "words: not registers")


def test_a_command_may_have_a_number() -> None:
    assert frames.parse_command(changed(COMMAND, 1, 12))[0] == 12


def test_another_protocol_is_named() -> None:
    for parse, frame in (
        (gateway.parse_data, DATA),
        (gateway.parse_event, EVENT),
        (gateway.parse_hello, HELLO),
        (frames.parse_ack, ACK),
        (frames.parse_command, COMMAND),
    ):
        refused(parse, changed(frame, 0, 2), "protocol: 2 is not in 1..1")
        refused(parse, changed(frame, 0, True), "protocol: not an integer")
        refused(parse, tuple(frame) * 2, "fields: ")
        refused(parse, frame[:-1], "fields: ")
        everything: Any = (None, 5, "text", b"bytes", {}, [], {0: 1})
        for nonsense in everything:
            raises(FrameError, parse, nonsense)


def test_every_field_is_checked() -> None:
    wrong: Any = (None, -1, 1.5, True, {}, [None], ["x"], b"x", "A B", "x" * 65)
    for parse, frame in (
        (gateway.parse_data, DATA),
        (gateway.parse_event, EVENT),
        (frames.parse_ack, ACK),
        (frames.parse_command, COMMAND),
        (gateway.parse_hello, HELLO),
    ):
        for index in range(1, len(frame)):
            for value in wrong:
                if type(value) is type(frame[index]) and value != -1 and (parse, index) not in _NAMES:
                    continue
                raises(FrameError, parse, changed(frame, index, value))


_NAMES = ((gateway.parse_data, 4), (gateway.parse_data, 5), (gateway.parse_event, 4), (gateway.parse_event, 5), (frames.parse_command, 3))


def test_the_text_says_which_field_and_why() -> None:
    refused(gateway.parse_data, changed(DATA, 1, 0), "boot: 0 is not in 1..2147483647")
    refused(gateway.parse_data, changed(DATA, 1, 1 << 31), "boot: 2147483648 is not in")
    refused(gateway.parse_data, changed(DATA, 2, 0), "seq: 0 is not in")
    refused(gateway.parse_data, changed(DATA, 4, ""), "device: not a name")
    refused(gateway.parse_data, changed(DATA, 4, "M-TEC"), "device: not a name")
    refused(gateway.parse_data, changed(DATA, 4, "../x"), "device: not a name")
    refused(gateway.parse_data, changed(DATA, 6, 2), "quality: 2 is not in 0..1")
    refused(gateway.parse_hello, changed(HELLO, 4, b"1234567"), "config_hash: not 8 bytes")
    refused(gateway.parse_hello, changed(HELLO, 7, [1]), "capabilities: not text")
    refused(gateway.parse_event, changed(EVENT, 6, {1: 2}), "detail: a key that is no text")


def test_a_frame_without_ranges_is_not_good() -> None:
    refused(gateway.parse_data, changed(DATA, 7, []), "ranges: none")
    partial = changed(changed(DATA, 7, []), 6, frames.PARTIAL)
    assert gateway.parse_data(partial)[5:] == (1, ())


def test_ranges_are_registers_that_exist() -> None:
    for item, words in (
        ([0x30000, b"\0"], "half a register"),
        ([0x3FFFF, b"\0\0\0\0"], "beyond address 65535"),
        ([0x50000, b"\0\0"], "is not in"),
        ([10000, b"\0\0"], "is not in"),
        ([0x30000, b""], "not 1 to 250 bytes"),
        ([0x30000, bytes(252)], "not 1 to 250 bytes"),
        ([0x30000, "\0\0"], "not 1 to 250 bytes"),
        ([0x30000], "not [range, bytes]"),
        (5, "not an array"),
    ):
        refused(gateway.parse_data, changed(DATA, 7, [item]), words)
    assert gateway.parse_data(changed(DATA, 7, [[0x3FFFF, b"\0\1"]]))[6] == ((3, 65535, b"\0\1"),)
    assert gateway.parse_data(changed(DATA, 7, [[0x10000, b"\1"]]))[6] == ((1, 0, b"\1"),)


def test_dropped_spans_run_forward() -> None:
    dropped = changed(EVENT, 5, "dropped")
    assert gateway.parse_event(changed(dropped, 6, {"ranges": [[1, 1], [3, 9]]}))[5] == {"ranges": [[1, 1], [3, 9]]}
    for ranges in (None, 5, [5], [[1]], [[3, 2]], [[0, 2]], [[1, 2, 3]], [["1", 2]]):
        raises(FrameError, gateway.parse_event, changed(dropped, 6, {"ranges": ranges}))
    raises(FrameError, gateway.parse_event, changed(dropped, 6, {}))


def test_a_command_writes_whole_registers() -> None:
    for words in (b"", b"\0", b"\0\0\0", bytes(248)):
        refused(frames.parse_command, changed(COMMAND, 5, words), "words: not registers")
    refused(frames.parse_command, changed(COMMAND, 6, 0), "ttl_ms: 0 is not in")
    refused(frames.parse_command, changed(COMMAND, 2, 0), "counter: 0 is not in")
    refused(frames.parse_command, changed(COMMAND, 7, -1), "lease_ms: -1 is not in")
    refused(frames.parse_command, changed(COMMAND, 7, 86400001), "lease_ms: 86400001 is not in")


def test_a_frame_that_does_not_fit_is_no_frame() -> None:
    packer = Packer(bytearray(40))
    raises(PackError, gateway.pack_data, packer, 77, 5, 120000, "mtec", "10s", 0, ((3, 10000, bytes(30)),))
    assert packer.length == 0
    gateway.pack_ack(packer, 77, 5, 0)
    assert frames.parse_ack(unpack(packer.message())) == (77, 5, 0)


def test_sixty_registers_take_less_than_160_bytes() -> None:
    assert len(packed(gateway.pack_data, 2147483647, 100000, 86400000, "mtec", "10s", 0, ((3, 11000, bytes(120)),))) < 160


def test_the_edges_of_every_field() -> None:
    name = "x" * 64
    data = [1, 0x7FFFFFFF, 1, 0, name, name, 0, [[0x4FFFF, b"\0\0"], [0x20000, bytes(250)]]]
    assert gateway.parse_data(data) == (0x7FFFFFFF, 1, 0, name, name, 0, ((4, 65535, b"\0\0"), (2, 0, bytes(250))))
    assert gateway.parse_data(changed(data, 7, [[0x2FFFF, b"\0\0\0"]]))[6] == ((2, 65535, b"\0\0\0"),)
    assert gateway.parse_data(changed(data, 2, (1 << 63) - 1))[1] == (1 << 63) - 1
    refused(gateway.parse_data, changed(data, 2, 1 << 63), "seq: 9223372036854775808 is not in")
    assert gateway.parse_hello(changed(changed(HELLO, 2, 1), 3, 0))[1:3] == (1, 0)
    assert frames.parse_ack([1, 1, 0, 0]) == (1, 0, 0)
    assert frames.parse_command([1, 0, 1, "a", "b", bytes(246), 1, 86400000]) == (0, 1, "a", "b", bytes(246), 1, 86400000)
    refused(frames.parse_command, changed(COMMAND, 5, bytes(248)), "words")


def test_an_ack_is_read_as_it_came_over_the_air() -> None:
    for boot, seq, ms in ((77, 6, 1735689600000), (1, 0, 0), (0x7FFFFFFF, (1 << 63) - 1, 5), (128, 255, 65535), (65536, 70000, 1 << 40)):
        assert frames.read_ack(packed(gateway.pack_ack, boot, seq, ms)) == (boot, seq)
        assert frames.read_ack(memoryview(packed(gateway.pack_ack, boot, seq, ms))) == (boot, seq)
    whole = packed(gateway.pack_ack, 77, 70000, 1735689600000)
    for end in range(len(whole)):
        raises(FrameError, frames.read_ack, whole[:end])
    for broken in (whole + b"\0", b"\x95" + whole[1:], b"\x94\x02" + whole[2:]):
        raises(FrameError, frames.read_ack, broken)
    for broken in (b"\x94\x01\xa1a\0\0", b"\x94\x01\0\0\0", b"\x94\x01\x01\xff\0"):
        raises(FrameError, frames.read_ack, broken)

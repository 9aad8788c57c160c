from ohmcore import pdu, server, tcp
from ohmcore.errors import ModbusException, ModbusPartial, ModbusTimeout, ModbusWrongReply
from tests.unit.ohmcore.suite.expect import raises, says


def reply(transaction: int = 7, unit: int = 255, payload: bytes = b"\x01\x02") -> bytes:
    buf = bytearray(tcp.MAX_FRAME)
    return bytes(buf[: tcp.build(buf, transaction, unit, server.build_read_reply(buf, tcp.PDU_START, 3, payload))])


def test_a_request_has_its_header() -> None:
    buf = bytearray(16)
    n = tcp.build(buf, 0x0102, 255, pdu.build_read(buf, tcp.PDU_START, 3, 10000, 15))
    assert bytes(buf[:n]) == b"\x01\x02\x00\x00\x00\x06\xff\x03\x27\x10\x00\x0f"


def test_transactions_wrap_after_65535() -> None:
    assert tcp.next_transaction(0) == 1
    assert tcp.next_transaction(65534) == 65535
    assert tcp.next_transaction(65535) == 0


def test_a_unit_is_a_byte() -> None:
    raises(ValueError, tcp.build, bytearray(16), 1, 256, 12)


def test_the_length_is_in_the_header() -> None:
    frame = reply()
    assert [tcp.expected_length(frame, n) for n in range(7)] == [0, 0, 0, 0, 0, 0, 11]


def test_what_is_not_modbus_has_lost_its_step() -> None:
    raises(ModbusWrongReply, tcp.expected_length, b"\0\7\0\1\0\5\xff", 7)
    raises(ModbusWrongReply, tcp.expected_length, b"\0\7\0\0\0\1\xff", 7)
    raises(ModbusWrongReply, tcp.expected_length, b"\0\7\0\0\0\xff\xff", 7)


def test_a_sound_reply_gives_its_pdu() -> None:
    assert tcp.verify(reply(), 11, 7, 255, 3) == 11
    assert tcp.transaction(reply(0xFFFE)) == 0xFFFE
    assert pdu.check_reply(reply(), 7, 11, 3, 0, 1) == 9


def test_silence_and_cut_off_replies() -> None:
    raises(ModbusTimeout, tcp.verify, reply(), 0, 7, 255, 3)
    for n in range(1, 11):
        raises(ModbusPartial, tcp.verify, reply(), n, 7, 255, 3)


def test_the_reply_to_another_transaction_or_of_another_unit_is_wrong() -> None:
    says("transaction 6 answered, 7 asked", raises(ModbusWrongReply, tcp.verify, reply(6), 11, 7, 255, 3))
    says("unit 1 answered, 255 asked", raises(ModbusWrongReply, tcp.verify, reply(7, 1), 11, 7, 255, 3))
    raises(ModbusWrongReply, tcp.verify, reply(), 11, 7, 255, 4)
    raises(ModbusWrongReply, tcp.verify, reply() + b"x", 12, 7, 255, 3)


def test_a_refusal_has_its_code() -> None:
    buf = bytearray(16)
    n = tcp.build(buf, 7, 255, server.build_exception(buf, tcp.PDU_START, 3, 11))
    refusal = raises(ModbusException, tcp.verify, buf, n, 7, 255, 3)
    assert (refusal.code, refusal.name) == (11, "gateway target device failed to respond")


def test_units_and_transactions_up_to_their_last() -> None:
    for transaction, unit in ((0, 0), (65535, 255), (0x0102, 1)):
        assert tcp.verify(reply(transaction, unit), 11, transaction, unit, 3) == 11


def test_the_shortest_and_the_longest_frame() -> None:
    assert tcp.expected_length(b"\0\7\0\0\0\2", 6) == 8
    assert tcp.expected_length(b"\0\7\0\0\0\xfe", 6) == tcp.MAX_FRAME == 260
    raises(ModbusWrongReply, tcp.expected_length, b"\0\7\0\0\0\xff", 6)
    says("protocol 258 is not MODBUS", raises(ModbusWrongReply, tcp.expected_length, b"\0\7\1\2\0\5", 6))
    raises(ModbusWrongReply, tcp.expected_length, b"\0\7\1\0\0\5", 6)

from ohmcore import pdu, rtu, server
from ohmcore.errors import ModbusCrcError, ModbusException, ModbusPartial, ModbusTimeout, ModbusWrongReply
from tests.unit.ohmcore.suite.expect import raises, says


def reply(unit: int = 252, function: int = 3, payload: bytes = b"\x01\x02\x03\x04") -> bytes:
    buf = bytearray(256)
    return bytes(buf[: rtu.build(buf, unit, server.build_read_reply(buf, rtu.PDU_START, function, payload))])


def test_a_request_is_unit_pdu_and_checksum_low_byte_first() -> None:
    buf = bytearray(16)
    n = rtu.build(buf, 252, pdu.build_read(buf, rtu.PDU_START, 3, 10000, 15))
    assert bytes(buf[:n]) == b"\xfc\x03\x27\x10\x00\x0f\x1b\x52"


def test_a_unit_is_a_byte() -> None:
    raises(ValueError, rtu.build, bytearray(16), 256, 6)
    raises(ValueError, rtu.build, bytearray(16), -1, 6)


def test_a_sound_reply_gives_its_pdu() -> None:
    assert reply() == b"\xfc\x03\x04\x01\x02\x03\x04" + reply()[-2:]
    assert rtu.PDU_START == 1
    assert rtu.verify(reply(), 9, 252, 3) == 7


def test_the_length_is_known_from_the_third_byte() -> None:
    frame = reply()
    assert [rtu.expected_length(frame, n) for n in range(5)] == [0, 0, 0, 9, 9]


def test_the_length_of_refusals_and_echoes_is_known_from_the_second_byte() -> None:
    assert rtu.expected_length(b"\xfc\x83", 2) == 5
    assert rtu.expected_length(b"\xfc\x06", 2) == 8
    assert rtu.expected_length(b"\xfc\x2b\x00\x00\x00", 5) == 0


def test_the_length_of_each_function_is_known() -> None:
    for function in (1, 2, 3, 4):
        assert rtu.expected_length(bytes([252]), 1) == 0
        assert rtu.expected_length(bytes([252, function]), 2) == 0
        assert rtu.expected_length(bytes([252, function, 6]), 3) == 11
        assert rtu.expected_length(bytes([252, function | 0x80]), 2) == 5
    for function in (5, 6, 15, 16):
        assert rtu.expected_length(bytes([252, function]), 2) == 8
    for function in (0, 7, 14, 17, 0x2B, 0x7F):
        assert rtu.expected_length(bytes([252, function, 6]), 3) == 0


def test_bytes_beyond_n_do_not_count() -> None:
    assert rtu.expected_length(b"\xfc\x03\x04", 2) == 0


def test_silence_is_a_timeout() -> None:
    says("no answer", raises(ModbusTimeout, rtu.verify, bytearray(256), 0, 252, 3))


def test_a_reply_cut_off_anywhere_is_partial() -> None:
    frame = reply()
    for n in range(1, len(frame)):
        raises(ModbusPartial, rtu.verify, frame, n, 252, 3)


def test_a_wrong_bit_anywhere_in_the_payload_is_a_crc_error() -> None:
    for byte in range(3, 9):
        for bit in range(8):
            frame = bytearray(reply())
            frame[byte] ^= 1 << bit
            raises(ModbusCrcError, rtu.verify, frame, 9, 252, 3)


def test_the_checksum_is_judged_before_the_unit() -> None:
    frame = bytearray(reply())
    frame[0] ^= 1
    raises(ModbusCrcError, rtu.verify, frame, 9, 252, 3)


def test_a_sound_reply_of_another_unit_or_function_is_wrong() -> None:
    says("unit 1 answered, 252 asked", raises(ModbusWrongReply, rtu.verify, reply(1), 9, 252, 3))
    says("function 4 answered, 3 asked", raises(ModbusWrongReply, rtu.verify, reply(252, 4), 9, 252, 3))


def test_a_late_echo_is_wrong_for_a_read() -> None:
    buf = bytearray(16)
    n = rtu.build(buf, 252, server.build_write_reply(buf, 1, 6, 1, 2))
    assert rtu.expected_length(buf, n) == n
    raises(ModbusWrongReply, rtu.verify, buf, n, 252, 3)


def test_a_refusal_has_its_code() -> None:
    buf = bytearray(16)
    n = rtu.build(buf, 252, server.build_exception(buf, 1, 3, 2))
    assert raises(ModbusException, rtu.verify, buf, n, 252, 3).code == 2


def test_a_refusal_of_another_unit_is_not_ours() -> None:
    buf = bytearray(16)
    n = rtu.build(buf, 1, server.build_exception(buf, 1, 3, 2))
    raises(ModbusWrongReply, rtu.verify, buf, n, 252, 3)


def test_a_good_checksum_does_not_excuse_a_wrong_byte_count() -> None:
    buf = bytearray(b"\xfc\x03\x02\x01\x02\x03\x04\0\0")
    n = rtu.build(buf, 252, 7)
    says("length 9 answered, 7 asked", raises(ModbusWrongReply, rtu.verify, buf, n, 252, 3))


def test_each_error_names_its_counter() -> None:
    assert [e.counter for e in (ModbusTimeout, ModbusPartial, ModbusCrcError, ModbusWrongReply, ModbusException)] == [
        "no_answer",
        "partial",
        "crc",
        "wrong",
        "exception",
    ]


def test_the_silence_between_frames() -> None:
    assert rtu.silence_us(9600) == 4011
    assert rtu.silence_us(19200) == 2006
    assert rtu.silence_us(38400) == rtu.silence_us(115200) == 1750


def test_how_long_a_character_takes() -> None:
    assert rtu.char_us(9600) == 1146
    assert rtu.char_us(9600, 10) == 1042


def test_units_0_and_255_are_units() -> None:
    for unit in (0, 255):
        frame = reply(unit)
        assert frame[0] == unit
        assert rtu.verify(frame, 9, unit, 3) == 7

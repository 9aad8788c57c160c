from ohmcore import coils, pdu
from ohmcore.errors import ModbusException, ModbusPartial, ModbusWrongReply
from tests.unit.ohmcore.suite.expect import raises, says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def built(builder: "Any", *arguments: object) -> bytes:
    buf = bytearray(260)
    end = builder(buf, 3, *arguments)
    assert buf[:3] == bytes(3), "wrote before its position"
    assert buf[end:] == bytes(260 - end), "wrote beyond its end"
    return bytes(buf[3:end])


# The examples of the application protocol, sections 6.1 to 6.12.


def test_reads_are_function_address_count() -> None:
    assert built(pdu.build_read, coils.READ_COILS, 0x13, 0x13) == b"\x01\x00\x13\x00\x13"
    assert built(pdu.build_read, coils.READ_DISCRETE_INPUTS, 0xC4, 0x16) == b"\x02\x00\xc4\x00\x16"
    assert built(pdu.build_read, pdu.READ_HOLDING_REGISTERS, 0x6B, 3) == b"\x03\x00\x6b\x00\x03"
    assert built(pdu.build_read, 4, 8, 1) == b"\x04\x00\x08\x00\x01"


def test_a_coil_is_on_or_off() -> None:
    assert built(pdu.build_write_single, coils.WRITE_SINGLE_COIL, 0xAC, 1) == b"\x05\x00\xac\xff\x00"
    assert built(pdu.build_write_single, coils.WRITE_SINGLE_COIL, 0xAC, 0) == b"\x05\x00\xac\x00\x00"
    assert built(pdu.build_write_single, coils.WRITE_SINGLE_COIL, 0xAC, 0xFF00) == b"\x05\x00\xac\xff\x00"


def test_one_register() -> None:
    assert built(pdu.build_write_single, pdu.WRITE_SINGLE_REGISTER, 1, 3) == b"\x06\x00\x01\x00\x03"


def test_several_registers_as_they_go_over_the_line() -> None:
    wanted = b"\x10\x00\x01\x00\x02\x04\x00\x0a\x01\x02"
    for raw in (b"\0\x0a\x01\x02", bytearray(b"\0\x0a\x01\x02"), memoryview(b"\0\x0a\x01\x02")):
        assert built(pdu.build_write_multiple_registers, 1, raw) == wanted


def test_several_coils_lowest_bit_first() -> None:
    wanted = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]
    assert built(coils.build_write_multiple_coils, 0x13, wanted) == b"\x0f\x00\x13\x00\x0a\x02\xcd\x01"


def test_coils_overwrite_what_was_in_the_buffer() -> None:
    buf = bytearray(b"\xff" * 20)
    end = coils.build_write_multiple_coils(buf, 0, 0, [0, 1, 0])
    assert bytes(buf[6:end]) == b"\x02"


def test_the_most_that_fits_a_request() -> None:
    assert len(built(pdu.build_write_multiple_registers, 0, b"\xff" * 246)) == 252
    assert len(built(coils.build_write_multiple_coils, 0, [1] * 1968)) == 252
    assert built(pdu.build_read, 3, 65411, 125) == b"\x03\xff\x83\x00\x7d"
    assert built(pdu.build_read, 1, 63536, 2000) == b"\x01\xf8\x30\x07\xd0"


def test_what_the_protocol_cannot_carry_is_refused() -> None:
    buf = bytearray(300)
    for function in (0, 5, 6, 16, 23):
        raises(ValueError, pdu.build_read, buf, 0, function, 0, 1)
    for function, address, count in ((3, 0, 0), (3, 0, 126), (4, 0, -1), (1, 0, 2001), (3, -1, 1), (3, 65535, 2), (3, 65536, 1)):
        raises(ValueError, pdu.build_read, buf, 0, function, address, count)
    for function, address, value in ((6, 0, 65536), (6, 0, -1), (6, -1, 0), (6, 65536, 0), (3, 0, 1), (5, 65536, 1)):
        raises(ValueError, pdu.build_write_single, buf, 0, function, address, value)
    for words in (b"", b"\0", b"\0\0\0", bytes(248)):
        raises(ValueError, pdu.build_write_multiple_registers, buf, 0, 0, words)
    raises(ValueError, pdu.build_write_multiple_registers, buf, 0, 65535, bytes(4))
    for states in ([], [0] * 1969):
        raises(ValueError, coils.build_write_multiple_coils, buf, 0, 0, states)


def test_a_read_is_answered_with_its_bytes() -> None:
    assert pdu.check_reply(b"..\x03\x04\x00\x01\x00\x02", 2, 8, 3, 100, 2) == 4
    assert pdu.check_reply(b"\x01\x03\xcd\x6b\x05", 0, 5, 1, 0x13, 0x13) == 2


def test_a_byte_count_that_was_not_asked_for_is_a_wrong_reply() -> None:
    says("byte count 4 answered, 6 asked", raises(ModbusWrongReply, pdu.check_reply, b"\x03\x04\0\0\0\0", 0, 6, 3, 0, 3))
    raises(ModbusWrongReply, pdu.check_reply, b"\x01\x02\0\0", 0, 4, 1, 0, 8)


def test_a_reply_cut_short_is_partial() -> None:
    reply = b"\x03\x04\0\0\0\0"
    for end in range(6):
        raises(ModbusPartial, pdu.check_reply, reply, 0, end, 3, 0, 2)
    for end in range(5):
        raises(ModbusPartial, pdu.check_reply, b"\x06\0\1\0\2", 0, end, 6, 1, 2)


def test_more_bytes_than_the_reply_has_are_a_wrong_reply() -> None:
    raises(ModbusWrongReply, pdu.check_reply, b"\x03\x02\0\0\0", 0, 5, 3, 0, 1)
    raises(ModbusWrongReply, pdu.check_reply, b"\x06\0\1\0\2\0", 0, 6, 6, 1, 2)
    raises(ModbusWrongReply, pdu.check_reply, b"\x83\x02\0", 0, 3, 3, 0, 1)


def test_the_reply_of_another_function_is_a_wrong_reply() -> None:
    says("function 4 answered, 3 asked", raises(ModbusWrongReply, pdu.check_reply, b"\x04\x02\0\0", 0, 4, 3, 0, 1))
    raises(ModbusWrongReply, pdu.check_reply, b"\x84\x02", 0, 2, 3, 0, 1)


def test_a_refusal_has_its_code_and_name() -> None:
    refusal = raises(ModbusException, pdu.check_reply, b"\x83\x02", 0, 2, 3, 0, 1)
    assert (refusal.function, refusal.code, refusal.name) == (3, 2, "illegal data address")
    assert refusal.counter == "exception"
    says("function 3 refused: illegal data address (2)", refusal)
    assert raises(ModbusException, pdu.check_reply, b"\x90\x06", 0, 2, 16, 0, 1).name == "server device busy"
    assert raises(ModbusException, pdu.check_reply, b"\x83\x63", 0, 2, 3, 0, 1).name == "unknown"


def test_a_write_is_answered_by_its_echo() -> None:
    assert pdu.check_reply(b"\x06\x62\x0f\x03\xe8", 0, 5, 6, 25103, 1000) == 1
    assert pdu.check_reply(b"\x05\x00\x01\xff\x00", 0, 5, 5, 1, 1) == 1
    assert pdu.check_reply(b"\x05\x00\x01\x00\x00", 0, 5, 5, 1, 0) == 1
    assert pdu.check_reply(b"\x10\x00\x01\x00\x02", 0, 5, 16, 1, 2) == 1
    assert pdu.check_reply(b"\x0f\x00\x01\x00\x0a", 0, 5, 15, 1, 10) == 1


def test_an_echo_of_something_else_is_a_wrong_reply() -> None:
    says("address 2 answered, 1 asked", raises(ModbusWrongReply, pdu.check_reply, b"\x06\0\2\0\3", 0, 5, 6, 1, 3))
    says("value 4 answered, 3 asked", raises(ModbusWrongReply, pdu.check_reply, b"\x06\0\1\0\4", 0, 5, 6, 1, 3))
    raises(ModbusWrongReply, pdu.check_reply, b"\x05\0\1\0\0", 0, 5, 5, 1, 1)
    raises(ModbusWrongReply, pdu.check_reply, b"\x10\0\1\0\1", 0, 5, 16, 1, 2)


def test_the_edges_of_what_fits() -> None:
    assert built(pdu.build_read, 2, 63536, 2000) == b"\x02\xf8\x30\x07\xd0"
    assert built(pdu.build_read, 4, 65535, 1) == b"\x04\xff\xff\x00\x01"
    assert built(pdu.build_write_single, 6, 65535, 65535) == b"\x06\xff\xff\xff\xff"
    assert built(pdu.build_write_single, 6, 0, 0) == b"\x06\x00\x00\x00\x00"
    assert built(pdu.build_write_multiple_registers, 65534, b"\0\0\xff\xff") == b"\x10\xff\xfe\x00\x02\x04\x00\x00\xff\xff"


def test_bits_and_registers_are_counted_each_their_way() -> None:
    assert pdu.check_reply(b"\x02\x01\x00", 0, 3, 2, 0, 8) == 2
    assert pdu.check_reply(b"\x02\x02\x00\x00", 0, 4, 2, 0, 9) == 2
    assert pdu.check_reply(b"\x04\x02\x00\x00", 0, 4, 4, 0, 1) == 2
    says("4 bytes of 6 came", raises(ModbusPartial, pdu.check_reply, b"\x04\x04\x00\x00", 0, 4, 4, 0, 2))
    says("length 5 answered, 4 asked", raises(ModbusWrongReply, pdu.check_reply, b"\x04\x02\x00\x00\x00", 0, 5, 4, 0, 1))

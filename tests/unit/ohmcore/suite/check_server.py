from ohmcore import coils, pdu, server
from ohmcore.errors import ModbusException, ModbusPartial
from tests.unit.ohmcore.suite.expect import raises


def refused(request: bytes) -> int:
    refusal = raises(ModbusException, server.parse_request, request, 0, len(request))
    assert refusal.function == request[0]
    return int(refusal.code)


def test_a_server_reads_what_a_client_builds() -> None:
    buf = bytearray(300)
    for function in (1, 2, 3, 4):
        end = pdu.build_read(buf, 1, function, 500, 7)
        assert server.parse_request(buf, 1, end) == (function, 500, 7, end)
        assert server.request_length(buf, 1, end) == end - 1
    end = pdu.build_write_single(buf, 1, 5, 500, 1)
    assert server.parse_request(buf, 1, end) == (5, 500, 0xFF00, end)
    end = pdu.build_write_single(buf, 1, 6, 500, 77)
    assert server.parse_request(buf, 1, end) == (6, 500, 77, end)
    end = pdu.build_write_multiple_registers(buf, 1, 500, bytes(6))
    assert server.parse_request(buf, 1, end) == (16, 500, 3, 7)
    assert server.request_length(buf, 1, end) == end - 1
    end = coils.build_write_multiple_coils(buf, 1, 500, [1] * 9)
    assert server.parse_request(buf, 1, end) == (15, 500, 9, 7)


def test_a_client_accepts_what_a_server_builds() -> None:
    buf = bytearray(300)
    assert pdu.check_reply(buf, 1, server.build_read_reply(buf, 1, 3, b"\1\2\3\4"), 3, 9, 2) == 3
    assert bytes(buf[3:7]) == b"\1\2\3\4"
    assert pdu.check_reply(buf, 1, server.build_read_reply(buf, 1, 1, b"\xff"), 1, 9, 5) == 3
    for function in (5, 6, 15, 16):
        value = 0xFF00 if function == 5 else 12
        assert pdu.check_reply(buf, 1, server.build_write_reply(buf, 1, function, 9, value), function, 9, value) == 2
    end = server.build_exception(buf, 1, 3, 4)
    assert raises(ModbusException, pdu.check_reply, buf, 1, end, 3, 9, 1).code == 4


def test_an_unknown_function_is_refused_with_code_1() -> None:
    for function in (0, 7, 8, 23, 43, 0x83):
        assert refused(bytes([function, 0, 0, 0, 1])) == 1


def test_a_bad_count_or_length_is_refused_with_code_3() -> None:
    for request in (b"\x03\0\0\0\0", b"\x03\0\0\0\x7e", b"\x01\0\0\x07\xd1", b"\x03\0\0\0", b"\x03\0\0\0\1\0", b"\x05\0\0\0\1"):
        assert refused(request) == 3
    for request in (b"\x10\0\0\0\1\2\0", b"\x10\0\0\0\1\4\0\0\0\0", b"\x10\0\0\0\0\0", b"\x10\0\0\0\1", b"\x0f\0\0\0\x09\1\0"):
        assert refused(request) == 3


def test_a_span_beyond_the_last_address_is_refused_with_code_2() -> None:
    assert refused(b"\x03\xff\xff\0\2") == 2
    assert refused(b"\x10\xff\xff\0\2\4\0\0\0\0") == 2


def test_an_empty_request_is_partial() -> None:
    raises(ModbusPartial, server.parse_request, b"", 0, 0)
    assert server.request_length(b"") is None
    assert server.request_length(b"\x10\0\0\0\1") is None


def test_a_reply_that_fits_no_frame_is_refused() -> None:
    raises(ValueError, server.build_read_reply, bytearray(300), 0, 3, b"")
    raises(ValueError, server.build_read_reply, bytearray(300), 0, 3, bytes(251))


def test_the_most_that_a_server_gives() -> None:
    for function, most in ((1, 2000), (2, 2000), (3, 125), (4, 125)):
        for count in (1, most):
            request = bytes([function, 0, 0, count >> 8, count & 0xFF])
            assert server.parse_request(request, 0, 5) == (function, 0, count, 5)
        assert refused(bytes([function, 0, 0, (most + 1) >> 8, (most + 1) & 0xFF])) == 3
    for function, most, size in ((15, 1968, 246), (16, 123, 246)):
        request = bytes([function, 0, 0, most >> 8, most & 0xFF, size]) + bytes(size)
        assert server.parse_request(request, 0, len(request)) == (function, 0, most, 6)
    assert refused(bytes([15, 0, 0, 1969 >> 8, 1969 & 0xFF, 247]) + bytes(247)) == 3
    assert refused(bytes([16, 0, 0, 0, 124, 248]) + bytes(248)) == 3


def test_a_span_up_to_the_last_address() -> None:
    assert server.parse_request(b"\x03\xff\xfe\0\2", 0, 5) == (3, 65534, 2, 5)

"""ohmcore beside pymodbus: the same requests byte for byte, the same replies understood, the same checksums."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu import bit_message as bits
from pymodbus.pdu import register_message as registers
from pymodbus.pdu.exceptionresponse import ExceptionResponse

from ohmcore import pdu, rtu, server, tcp
from ohmcore.coils import build_write_multiple_coils
from ohmcore.crc import crc16
from ohmcore.errors import ModbusCrcError, ModbusError, ModbusException, ModbusPartial, ModbusTimeout, ModbusWrongReply

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

CLIENT = DecodePDU(False)
SERVER = DecodePDU(True)

units = st.integers(1, 247)
transactions = st.integers(1, 65535)
words = st.integers(0, 65535)

Request = tuple[ModbusPDU, Callable[[bytearray, int], int]]
"""A request of pymodbus, and the same built by ohmcore into a buffer at a position."""


@st.composite
def requests(draw: st.DrawFn) -> Request:
    function = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16]))
    address = draw(words)
    room = 65536 - address
    if function <= 4:
        count = draw(st.integers(1, min(room, 2000 if function < 3 else 125)))
        kind = (
            bits.ReadCoilsRequest,
            bits.ReadDiscreteInputsRequest,
            registers.ReadHoldingRegistersRequest,
            registers.ReadInputRegistersRequest,
        )
        return kind[function - 1](address=address, count=count), lambda buf, pos: pdu.build_read(buf, pos, function, address, count)
    if function == 5:
        on = draw(st.booleans())
        return bits.WriteSingleCoilRequest(address=address, bits=[on]), lambda buf, pos: pdu.build_write_single(buf, pos, 5, address, on)
    if function == 6:
        value = draw(words)
        single = registers.WriteSingleRegisterRequest(address=address, registers=[value])
        return single, lambda buf, pos: pdu.build_write_single(buf, pos, 6, address, value)
    if function == 15:
        coils = draw(st.lists(st.booleans(), min_size=1, max_size=min(room, 1968)))
        several = bits.WriteMultipleCoilsRequest(address=address, bits=coils)
        return several, lambda buf, pos: build_write_multiple_coils(buf, pos, address, coils)
    values = draw(st.lists(words, min_size=1, max_size=min(room, 123)))
    many = registers.WriteMultipleRegistersRequest(address=address, registers=values)
    raw = b"".join(value.to_bytes(2, "big") for value in values)
    return many, lambda buf, pos: pdu.build_write_multiple_registers(buf, pos, address, raw)


Reply = tuple[ModbusPDU, int, int, int]
"""A reply of pymodbus, and the function, address and count or value that were asked."""


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    function = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16]))
    address = draw(st.integers(0, 60000))
    if function <= 2:
        coils = draw(st.lists(st.booleans(), min_size=1, max_size=2000))
        return (bits.ReadCoilsResponse, bits.ReadDiscreteInputsResponse)[function - 1](bits=coils), function, address, len(coils)
    if function <= 4:
        values = draw(st.lists(words, min_size=1, max_size=125))
        kind = (registers.ReadHoldingRegistersResponse, registers.ReadInputRegistersResponse)[function - 3]
        return kind(registers=values), function, address, len(values)
    if function == 5:
        on = draw(st.booleans())
        return bits.WriteSingleCoilResponse(address=address, bits=[on]), 5, address, int(on)
    if function == 6:
        value = draw(words)
        return registers.WriteSingleRegisterResponse(address=address, registers=[value]), 6, address, value
    count = draw(st.integers(1, 1968 if function == 15 else 123))
    several = bits.WriteMultipleCoilsResponse if function == 15 else registers.WriteMultipleRegistersResponse
    return several(address=address, count=count), function, address, count


def over_rtu(message: ModbusPDU, unit: int) -> bytes:
    message.dev_id = unit
    return FramerRTU(CLIENT).buildFrame(message)


def over_tcp(message: ModbusPDU, unit: int, transaction: int) -> bytes:
    message.dev_id = unit
    message.transaction_id = transaction
    return FramerSocket(CLIENT).buildFrame(message)


def understood(frame: bytes, unit: int, function: int, address: int, asked: int) -> bytes:
    """The payload, as a node reads a reply: no byte more than `expected_length` says, then the checks."""
    buf = bytearray(256)
    n = 0
    while n < len(frame):
        expected = rtu.expected_length(buf, n)
        if expected and n >= expected:
            break
        buf[n] = frame[n]
        n += 1
    start, end = rtu.PDU_START, rtu.verify(buf, n, unit, function)
    return bytes(buf[pdu.check_reply(buf, start, end, function, address, asked) : end])


@given(st.binary(max_size=300))
def test_checksums_are_the_same(raw: bytes) -> None:
    crc = crc16(raw, 0, len(raw))
    assert (crc & 0xFF) << 8 | crc >> 8 == FramerRTU.compute_CRC(raw)


@given(requests(), units)
def test_requests_over_rtu_are_the_same(request: Request, unit: int) -> None:
    theirs, build = request
    buf = bytearray(256)
    n = rtu.build(buf, unit, build(buf, rtu.PDU_START))
    assert bytes(buf[:n]) == over_rtu(theirs, unit)


@given(requests(), units, transactions)
def test_requests_over_tcp_are_the_same(request: Request, unit: int, transaction: int) -> None:
    theirs, build = request
    buf = bytearray(tcp.MAX_FRAME)
    n = tcp.build(buf, transaction, unit, build(buf, tcp.PDU_START))
    assert bytes(buf[:n]) == over_tcp(theirs, unit, transaction)


@given(requests(), units)
def test_a_server_of_ours_understands_requests_of_pymodbus(request: Request, unit: int) -> None:
    theirs, _ = request
    frame = over_rtu(theirs, unit)
    assert server.request_length(frame, 1, 8) == len(frame) - 3
    function, address, value, values = server.parse_request(frame, 1, len(frame) - 2)
    assert (function, address) == (theirs.function_code, theirs.address)
    if function == 6:
        assert value == theirs.registers[0]
    elif function == 5:
        assert value == (0xFF00 if theirs.bits[0] else 0)
    else:
        assert value == (len(theirs.bits) if function == 15 else theirs.count)
    if function == 16:
        assert frame[values:-2] == b"".join(word.to_bytes(2, "big") for word in theirs.registers)


@given(replies(), units)
def test_replies_over_rtu_say_the_same(reply: Reply, unit: int) -> None:
    theirs, function, address, asked = reply
    frame = over_rtu(theirs, unit)
    payload = understood(frame, unit, function, address, asked)
    used, decoded = FramerRTU(CLIENT).handleFrame(frame, unit, 0)
    assert used == len(frame)
    assert decoded is not None
    same(payload, decoded, function, asked)


@given(replies(), units, transactions)
def test_replies_over_tcp_say_the_same(reply: Reply, unit: int, transaction: int) -> None:
    theirs, function, address, asked = reply
    frame = over_tcp(theirs, unit, transaction)
    assert tcp.expected_length(frame, 6) == len(frame)
    start, end = tcp.PDU_START, tcp.verify(frame, len(frame), transaction, unit, function)
    payload = frame[pdu.check_reply(frame, start, end, function, address, asked) : end]
    _, decoded = FramerSocket(CLIENT).handleFrame(frame, unit, transaction)
    assert decoded is not None
    same(payload, decoded, function, asked)


def same(payload: bytes, decoded: ModbusPDU, function: int, asked: int) -> None:
    if function <= 2:
        assert [bool(payload[i >> 3] >> (i & 7) & 1) for i in range(asked)] == list(decoded.bits)[:asked]
    elif function <= 4:
        assert [int.from_bytes(payload[i : i + 2], "big") for i in range(0, len(payload), 2)] == list(decoded.registers)
    else:
        assert int.from_bytes(payload[:2], "big") == decoded.address


@given(replies(), units)
def test_pymodbus_understands_replies_of_ours(reply: Reply, unit: int) -> None:
    theirs, function, address, asked = reply
    frame = over_rtu(theirs, unit)
    buf = bytearray(256)
    if function <= 4:
        end = server.build_read_reply(buf, rtu.PDU_START, function, frame[3:-2])
    else:
        end = server.build_write_reply(buf, rtu.PDU_START, function, address, asked * 0xFF00 if function == 5 else asked)
    assert bytes(buf[: rtu.build(buf, unit, end)]) == frame


@given(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16]), st.integers(1, 255), units, transactions)
def test_refusals_are_the_same(function: int, code: int, unit: int, transaction: int) -> None:
    frame = over_rtu(ExceptionResponse(function, code), unit)
    with pytest.raises(ModbusException) as refusal:
        understood(frame, unit, function, 0, 1)
    assert (refusal.value.function, refusal.value.code) == (function, code)
    buf = bytearray(16)
    assert bytes(buf[: rtu.build(buf, unit, server.build_exception(buf, 1, function, code))]) == frame
    frame = over_tcp(ExceptionResponse(function, code), unit, transaction)
    with pytest.raises(ModbusException):
        tcp.verify(frame, len(frame), transaction, unit, function)


@given(replies(), units)
def test_a_reply_cut_off_anywhere_is_partial(reply: Reply, unit: int) -> None:
    theirs, function, address, asked = reply
    frame = over_rtu(theirs, unit)
    with pytest.raises(ModbusTimeout):
        understood(b"", unit, function, address, asked)
    for n in range(1, len(frame)):
        with pytest.raises(ModbusPartial):
            understood(frame[:n], unit, function, address, asked)


@given(replies(), units)
def test_a_wrong_bit_anywhere_is_seen(reply: Reply, unit: int) -> None:
    """A checksum error; or partial where the bit made the reply look longer than it is, so that the node waits in vain."""
    theirs, function, address, asked = reply
    frame = over_rtu(theirs, unit)
    for byte in range(min(len(frame), 12)):
        for bit in range(8):
            broken = bytearray(frame)
            broken[byte] ^= 1 << bit
            length = rtu.expected_length(broken, 3) or len(frame)
            if length < len(frame) and crc16(broken, 0, length) == 0:
                continue  # the bit made it look shorter, and one in 65536 of such beginnings has a right checksum
            with pytest.raises(ModbusPartial if length > len(frame) else ModbusCrcError):
                understood(bytes(broken), unit, function, address, asked)


@given(replies(), replies(), units, units)
def test_a_late_reply_is_never_taken_for_ours(late: Reply, ours: Reply, its_unit: int, our_unit: int) -> None:
    theirs, function, address, asked = late
    _, our_function, our_address, our_asked = ours
    size = 2 + len(theirs.encode())
    if (its_unit, function, size) == (our_unit, our_function, _size(our_function, our_asked)) and function <= 4:
        return  # nothing in RTU tells two such replies apart: the bus must have fallen silent before
    if (its_unit, function, address, asked) == (our_unit, our_function, our_address, our_asked):
        return
    with pytest.raises(ModbusWrongReply):
        understood(over_rtu(theirs, its_unit), our_unit, our_function, our_address, our_asked)


def _size(function: int, asked: int) -> int:
    return 3 + ((asked + 7) // 8 if function <= 2 else 2 * asked)


@given(replies(), transactions, transactions, units)
def test_a_late_reply_over_tcp_is_never_taken_for_ours(reply: Reply, its: int, ours: int, unit: int) -> None:
    theirs, function, _, _ = reply
    frame = over_tcp(theirs, unit, its)
    if its == ours:
        tcp.verify(frame, len(frame), ours, unit, function)
    else:
        with pytest.raises(ModbusWrongReply):
            tcp.verify(frame, len(frame), ours, unit, function)


@given(st.binary(max_size=300), st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16]), units)
def test_noise_is_a_modbus_error_and_nothing_else(noise: bytes, function: int, unit: int) -> None:
    with pytest.raises(ModbusError):
        understood(noise[:256], unit, function, 0, 1)


@given(st.binary(max_size=260), st.booleans(), units)
def test_noise_over_tcp_is_a_modbus_error_and_nothing_else(noise: bytes, header: bool, unit: int) -> None:
    frame = b"\0\1\0\0" + noise if header else noise
    with pytest.raises(ModbusError):
        pdu.check_reply(frame, tcp.PDU_START, tcp.verify(frame, len(frame), 1, unit, 3), 3, 0, 130)


@given(st.binary(max_size=260))
def test_noise_is_a_refused_request_or_one_that_pymodbus_reads_too(noise: bytes) -> None:
    try:
        function, address, _, _ = server.parse_request(noise, 0, len(noise))
    except (ModbusException, ModbusPartial):
        return
    theirs = SERVER.decode(noise)
    assert theirs is not None
    assert (theirs.function_code, theirs.address) == (function, address)

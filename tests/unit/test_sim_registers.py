"""The simulated device answers as a device does: also when it is asked nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pymodbus.pdu import DecodePDU

from ohmstead.sim.faults import Faults, parse
from ohmstead.sim.mtec import WRITABLE
from ohmstead.sim.registers import RegisterImage, Writable, Write, read_image, respond
from ohmstead.sim.station import Station

READ_TWO = bytes.fromhex("03 2af8 0002")


@pytest.fixture
def image() -> RegisterImage:
    return RegisterImage({11000: 0, 11001: 2506, 25103: 700, 50000: 257}, WRITABLE, clock=lambda: 1_750_000_000.0)


def test_a_read_is_answered_with_the_words_of_the_image(image: RegisterImage) -> None:
    assert respond(image, READ_TWO) == bytes.fromhex("03 04 0000 09ca")


def test_pymodbus_understands_the_answer(image: RegisterImage) -> None:
    parsed = DecodePDU(is_server=False).decode(respond(image, READ_TWO))
    assert parsed is not None
    assert parsed.registers == [0, 2506]


@pytest.mark.parametrize(
    ("request_hex", "code"),
    [
        ("03 2af8 0003", 2),  # one register further than the image goes
        ("03 ffff 0002", 2),  # past the last address there is
        ("03 2af8 0000", 3),
        ("03 2af8 007e", 3),  # 126 registers
        ("03 2af8", 3),  # cut short
        ("04 2af8 0001", 1),  # a device without input registers
        ("2b 0e01 00", 1),
        ("06 2af8 0001", 2),  # readable, not writable
        ("06 620f 03e9", 3),  # 100.1 %
        ("06 c350 0001", 3),  # no such mode
        ("10 620f 0001 04 0001", 3),  # byte count does not fit
    ],
)
def test_nonsense_is_refused_with_the_right_code(image: RegisterImage, request_hex: str, code: int) -> None:
    request = bytes.fromhex(request_hex)
    assert respond(image, request) == bytes([request[0] | 0x80, code])
    assert image.writes == []


def test_a_write_is_echoed_recorded_with_its_time_and_read_back(image: RegisterImage) -> None:
    assert respond(image, bytes.fromhex("06 620f 022b")) == bytes.fromhex("06 620f 022b")
    assert image.writes == [Write(1_750_000_000.0, 6, 25103, (555,))]
    assert respond(image, bytes.fromhex("03 620f 0001")) == bytes.fromhex("03 02 022b")


def test_a_multiple_write_takes_all_words_or_none() -> None:
    image = RegisterImage({1: 0, 2: 0}, {1: Writable(), 2: Writable(0, 5)})
    assert respond(image, bytes.fromhex("10 0001 0002 04 0007 0006")) == bytes.fromhex("90 03")
    assert image[1] == 0
    assert respond(image, bytes.fromhex("10 0001 0002 04 0007 0005")) == bytes.fromhex("10 0001 0002")
    assert (image[1], image[2]) == (7, 5)


def test_input_registers_are_a_table_of_their_own() -> None:
    image = RegisterImage({1: 10}, input_registers={1: 20})
    assert respond(image, bytes.fromhex("04 0001 0001")) == bytes.fromhex("04 02 0014")


@pytest.mark.parametrize("content", ['{"x": 1}', '{"70000": 1}', '{"1": 65536}', '{"1": -1}', '{"1": true}', "[1]"])
def test_an_image_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "image.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"image\.json"):
        read_image(path)


def test_the_recorded_image_answers_every_register_it_holds(goldens: Path) -> None:
    path = goldens / "mtec" / "image_A.json"
    image = RegisterImage.from_file(path, WRITABLE)
    for address, word in json.loads(path.read_text()).items():
        request = b"\x03" + int(address).to_bytes(2, "big") + b"\x00\x01"
        assert respond(image, request) == b"\x03\x02" + word.to_bytes(2, "big")


def test_a_broadcast_write_is_obeyed_in_silence(image: RegisterImage) -> None:
    assert Station(image).answer(0, bytes.fromhex("06 620f 022b")) is None
    assert image[25103] == 555


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no-answer", ("no-answer", 0.0, 0, 65535, 1.0, None)),
        ("no-answer:20%", ("no-answer", 0.0, 0, 65535, 0.2, None)),
        ("late=1.5s", ("late", 1.5, 0, 65535, 1.0, None)),
        ("slow=80ms", ("slow", 0.08, 0, 65535, 1.0, None)),
        ("exception=4@11000..11041", ("exception", 4.0, 11000, 11041, 1.0, None)),
        ("crc@11000x3", ("crc", 0.0, 11000, 11000, 1.0, 3)),
    ],
)
def test_a_fault_is_read_from_its_text(text: str, expected: tuple[object, ...]) -> None:
    fault = parse(text)
    assert (fault.kind, fault.value, fault.first, fault.last, fault.chance, fault.times) == expected


@pytest.mark.parametrize("text", ["", "nonsense", "crc=", "crc:many%", "late=soon"])
def test_what_is_no_fault_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no fault"):
        parse(text)


def test_a_fault_with_a_count_strikes_that_often(image: RegisterImage) -> None:
    station = Station(image, Faults("no-answerx2"))
    assert [station.answer(252, READ_TWO) is None for _ in range(4)] == [True, True, False, False]


def test_a_fault_on_a_range_leaves_the_others_alone(image: RegisterImage) -> None:
    station = Station(image, Faults("exception=4@11001..11010"))
    struck, spared = station.answer(252, READ_TWO), station.answer(252, bytes.fromhex("03 2af8 0001"))
    assert struck is not None
    assert spared is not None
    assert (struck.pdu, spared.pdu) == (b"\x83\x04", bytes.fromhex("03 02 0000"))


def test_a_fault_by_chance_strikes_about_that_often(image: RegisterImage) -> None:
    station = Station(image, Faults("no-answer:20%"))
    silent = sum(station.answer(252, READ_TWO) is None for _ in range(2000))
    assert 300 < silent < 500

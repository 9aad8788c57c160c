"""The simulated line and the simulated socket, met by an independent client over the real terminal and the real network."""

from __future__ import annotations

import asyncio
import os
import select
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient, ModbusSerialClient
from pymodbus.exceptions import ModbusException

from ohmstead.sim.faults import Faults
from ohmstead.sim.mtec import WRITABLE
from ohmstead.sim.registers import RegisterImage
from ohmstead.sim.rtu import Line, check_sum
from ohmstead.sim.station import Station
from ohmstead.sim.tcp import TcpServer
from tests.conftest import wait_for

UNIT = 252
READ_120 = bytes([UNIT, 3, 0x2A, 0xF8, 0, 120])
READ_120 += check_sum(READ_120)


@pytest.fixture
def station() -> Station:
    return Station(RegisterImage({**dict.fromkeys(range(11000, 11120), 7), 25103: 700}, WRITABLE))


@pytest.fixture
def line(station: Station, tmp_path: Path) -> Iterator[Line]:
    with Line({UNIT: station}, baud=9600, link=tmp_path / "rs485") as running:
        yield running


BUSY_S = 30.0
"""How long a moment is waited for in which the machine lets the line be as true as it is."""


class Master:
    """The other end of the terminal, byte by byte."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)

    def send(self, frame: bytes) -> float:
        os.write(self.fd, frame)
        return time.perf_counter()

    def receive(self, length: int, seconds: float) -> tuple[bytes, float]:
        """What came until `length` bytes were there or the time was over, and when its last byte came."""
        received, at = b"", time.perf_counter()
        deadline = at + seconds
        while len(received) < length:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.perf_counter()))
            if not ready:
                break
            received += os.read(self.fd, 512)
            at = time.perf_counter()
        return received, at

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def master(line: Line) -> Iterator[Master]:
    opened = Master(line.path)
    yield opened
    opened.close()


def test_120_registers_at_9600_baud_take_287_ms(line: Line, master: Master) -> None:
    """8 + 245 characters of 10 bits, 3.5 characters of silence, 20 ms turnaround: 287.2 ms."""
    expected = (8 + 3.5 + 245) * 10 / 9600 + 0.020
    measured: list[float] = []
    deadline = time.monotonic() + BUSY_S
    while len(measured) < 3 or (min(measured) > expected + 0.002 and time.monotonic() < deadline):
        sent = master.send(READ_120)
        answer, ended = master.receive(245, 20.0)
        assert answer[:3] == bytes([UNIT, 3, 240])
        assert check_sum(answer[:-2]) == answer[-2:]
        measured.append(ended - sent)
    assert expected - 0.001 < min(measured) < expected + 0.002, measured


def test_the_answer_comes_byte_after_byte_and_not_at_once(line: Line, master: Master) -> None:
    deadline = time.monotonic() + BUSY_S
    while True:
        sent = master.send(READ_120)
        _, first = master.receive(1, 20.0)
        early, _ = master.receive(245, 0.1)
        if (first - sent < 0.060 and 60 < len(early) < 130) or time.monotonic() > deadline:
            break
        master.receive(245 - 1 - len(early), 1.0)
    assert first - sent < 0.060
    assert 60 < len(early) < 130


def test_a_write_in_two_pieces_is_one_request(line: Line, master: Master) -> None:
    master.send(READ_120[:4])
    time.sleep(0.002)
    master.send(READ_120[4:])
    assert len(master.receive(245, 1.0)[0]) == 245


def test_a_pause_inside_a_request_ends_it(line: Line, master: Master) -> None:
    master.send(READ_120[:4])
    time.sleep(0.050)
    master.send(READ_120[4:])
    assert master.receive(1, 0.2)[0] == b""
    assert line.damaged == 2


def test_a_request_during_the_answer_destroys_both(line: Line, master: Master) -> None:
    master.send(READ_120)
    master.receive(20, 1.0)
    master.send(READ_120)
    answer, _ = master.receive(500, 0.6)
    assert check_sum(answer[:-2]) != answer[-2:]
    assert line.collisions == 1
    master.send(READ_120)
    assert len(master.receive(245, 1.0)[0]) == 245


def test_wrong_unit_and_wrong_check_sum_meet_silence(line: Line, master: Master) -> None:
    other = bytes([1]) + READ_120[1:-2]
    master.send(other + check_sum(other))
    assert master.receive(1, 0.15)[0] == b""
    master.send(READ_120[:-1] + b"\x00")
    assert master.receive(1, 0.15)[0] == b""
    assert line.damaged == 1


def test_a_broadcast_is_obeyed_and_not_answered(line: Line, master: Master, station: Station) -> None:
    write = bytes.fromhex("00 06 620f 0064")
    master.send(write + check_sum(write))
    assert master.receive(1, 0.15)[0] == b""
    assert isinstance(station.registers, RegisterImage)
    assert station.registers[25103] == 100


def test_the_terminal_survives_masters_that_come_and_go(line: Line) -> None:
    for _ in range(3):
        visitor = Master(line.path)
        visitor.send(READ_120)
        assert len(visitor.receive(245, 1.0)[0]) == 245
        visitor.close()


def test_the_link_is_removed_at_the_end_and_a_file_in_its_place_is_spared(tmp_path: Path) -> None:
    link = tmp_path / "rs485"
    with Line({}, link=link):
        assert link.is_symlink()
    assert not link.is_symlink()
    link.write_text("mine")
    with pytest.raises(FileExistsError):
        Line({}, link=link).start()
    assert link.read_text() == "mine"


def test_an_idle_line_sleeps_until_somebody_speaks(line: Line) -> None:
    assert line._next_moment() is None


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("no-answer", b""),
        ("unplugged", b""),
        ("half", bytes([UNIT, 3, 2])),
        ("wrong-unit", bytes([6, 3, 2, 0, 7])),
        ("wrong-function", bytes([UNIT, 4, 2, 0, 7])),
        ("exception=4", bytes([UNIT, 0x83, 4])),
    ],
)
def test_faults_show_on_the_line(line: Line, master: Master, station: Station, fault: str, seen: bytes) -> None:
    request = bytes([UNIT, 3, 0x2A, 0xF8, 0, 1])
    station.faults.on(fault)
    master.send(request + check_sum(request))
    answer, _ = master.receive(7, 0.12)
    assert answer[: len(seen)] == seen
    assert len(answer) == 3 if fault == "half" else True
    if not seen:
        assert answer == b""
    station.faults.clear()
    master.send(request + check_sum(request))
    assert master.receive(7, 0.5)[0][:5] == bytes([UNIT, 3, 2, 0, 7])


def test_a_spoilt_check_sum_noise_and_a_late_answer(line: Line, master: Master, station: Station) -> None:
    request = bytes([UNIT, 3, 0x2A, 0xF8, 0, 1])
    request += check_sum(request)
    station.faults.on("crcx1")
    master.send(request)
    answer, _ = master.receive(7, 0.5)
    assert check_sum(answer[:-2]) != answer[-2:]
    station.faults.on("noise=5x1")
    master.send(request)
    assert len(master.receive(12, 0.5)[0]) == 12
    station.faults.on("late=300msx1")
    sent = master.send(request)
    answer, at = master.receive(7, 1.0)
    assert len(answer) == 7
    assert 0.320 < at - sent < 0.400


def test_a_pymodbus_serial_client_reads_and_writes(line: Line, station: Station) -> None:
    client = ModbusSerialClient(line.path, baudrate=9600, timeout=1)
    assert client.connect()
    try:
        assert client.read_holding_registers(11000, count=120, device_id=UNIT).registers == [7] * 120
        assert client.read_holding_registers(12000, count=1, device_id=UNIT).exception_code == 2
        assert not client.write_register(25103, 55, device_id=UNIT).isError()
        assert client.read_holding_registers(25103, count=1, device_id=UNIT).registers == [55]
    finally:
        client.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped


async def test_a_tcp_client_that_waits_keeps_no_other_waiting(station: Station) -> None:
    async with TcpServer({255: station}) as server:
        slow, *quick = [AsyncModbusTcpClient(server.host, port=server.port, retries=0, timeout=60) for _ in range(4)]
        assert all([await client.connect() for client in (slow, *quick)])
        station.faults.on("slow=60sx1")
        waiting = asyncio.ensure_future(slow.read_holding_registers(11000, count=2, device_id=255))
        while not server.requests:  # noqa: ASYNC110 - a count is no event
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*(client.read_holding_registers(11000, count=2, device_id=255) for client in quick))
        assert [answer.registers for answer in answers] == [[7, 7]] * 3
        assert not waiting.done()
        waiting.cancel()
        for client in (slow, *quick):
            client.close()


async def test_tcp_checks_unit_and_header(station: Station) -> None:
    async with TcpServer({255: station}) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(bytes.fromhex("0001 0000 0006 01 03 2af8 0001"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        writer.write(bytes.fromhex("ffff 0000 0006 ff 03 2af8 0001"))
        assert await asyncio.wait_for(reader.readexactly(11), 1) == bytes.fromhex("ffff 0000 0005 ff 03 02 0007")
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await asyncio.wait_for(reader.read(1), 1) == b""
        writer.close()


async def test_a_tcp_device_that_is_unplugged_is_silent_until_it_is_back(station: Station) -> None:
    async with TcpServer({255: station}) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        request = bytes.fromhex("0001 0000 0006 ff 03 2af8 0001")
        station.faults.on("unplugged")
        writer.write(request)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        station.faults.off("unplugged")
        writer.write(request)
        assert len(await asyncio.wait_for(reader.readexactly(11), 1)) == 11
        writer.close()


def test_two_devices_share_a_line(tmp_path: Path, station: Station) -> None:
    other = Station(RegisterImage({1: 9}), Faults("no-answerx1"))
    with Line({UNIT: station, 7: other}, baud=115200) as line:
        client = ModbusSerialClient(line.path, baudrate=115200, timeout=0.3, retries=0)
        assert client.connect()
        try:
            assert client.read_holding_registers(11000, count=1, device_id=UNIT).registers == [7]
            wait_for(lambda: _answers(client), 3, "the second device")
        finally:
            client.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped


def _answers(client: ModbusSerialClient) -> bool:
    try:
        return client.read_holding_registers(1, count=1, device_id=7).registers == [9]
    except ModbusException:
        return False

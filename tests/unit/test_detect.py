"""A search of the network, against simulated devices on the loopback interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ohmstead.cli import main
from ohmstead.config import load
from ohmstead.detect import modbus
from ohmstead.detect.addresses import MOST, nameless, spread
from ohmstead.detect.finding import Finding, distinct, proposal
from ohmstead.detect.survey import Ports, Survey
from ohmstead.profiles import library
from ohmstead.sim.growatt import MIN, SPH, Family, Growatt
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sim.hoymiles import Mood as DtuMood
from ohmstead.sim.luxtronik import LuxtronikPump
from ohmstead.sim.luxtronik import Mood as PumpMood
from ohmstead.sim.meter import Meter
from ohmstead.sim.mtec import UNIT_TCP
from ohmstead.sim.registers import RegisterImage
from ohmstead.sim.shelly import Shelly, ShellyServer
from ohmstead.sim.station import Station
from ohmstead.sim.sunspec import SunSpec
from ohmstead.sim.tcp import TcpServer
from tests.conftest import free_port

HERE = "127.0.0.1"
PATIENCE_S = 10.0
"""Where an answer is expected, however busy the machine is."""

HASTE_S = 0.1
"""Where none is."""

NOTHING = RegisterImage({})
"""A unit that refuses everything, which costs no time."""

MTEC_SERIAL = "MTEC12K3P4012345"


DTU = {0x2000: 0x10F8, 0x2001: 0xA1B2, 0x2002: 0xC3D4, 0x1000: 0x0C11, 0x1001: 0x4182, 0x1002: 0xA0B1, 0x1003: 0xC201}
"""A DTU with one port, as far as a search looks."""


def mtec_image() -> RegisterImage:
    words = {10000 + index: int.from_bytes(MTEC_SERIAL[2 * index : 2 * index + 2].encode(), "big") for index in range(8)}
    return RegisterImage(words)


@pytest.fixture
async def around() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def behind(around: AsyncExitStack, **stations: object) -> int:
    """The port of a server with these registers; the keys are `unit_<number>`."""
    served = {int(name.removeprefix("unit_")): Station(registers, turnaround=0.0) for name, registers in stations.items()}  # type: ignore[arg-type]  # any registers
    server = await around.enter_async_context(TcpServer(served))
    return server.port


async def recognised(port: int, *units: int, patience_s: float = PATIENCE_S) -> list[Finding]:
    return await modbus.recognised(HERE, port, patience_s, units)


async def test_an_energybutler_says_its_serial_number(around: AsyncExitStack) -> None:
    port = await behind(around, unit_1=NOTHING, **{f"unit_{UNIT_TCP}": mtec_image()})
    (found,) = await recognised(port)
    assert found.keys == {"profile": "mtec-energybutler", "via": f"tcp://{HERE}:{port}"}
    assert found.serial == MTEC_SERIAL


async def test_an_energybutler_at_another_unit_is_proposed_with_it(around: AsyncExitStack) -> None:
    port = await behind(around, unit_1=NOTHING, unit_255=NOTHING, unit_252=mtec_image())
    (found,) = await recognised(port)
    assert found.keys["unit"] == 252


async def test_a_dtu_is_asked_twice_and_no_more(around: AsyncExitStack) -> None:
    dtu = await around.enter_async_context(Dtu(image=DTU))
    (found,) = await recognised(dtu.port)
    assert found.keys == {"profile": "hoymiles-dtu", "via": f"tcp://{HERE}:{dtu.port}"}
    assert found.serial == "10f8a1b2c3d4"
    assert "114182a0b1c2" in found.said
    assert (dtu.requests, dtu.connections) == (2, 1)


@pytest.mark.parametrize("mood", [DtuMood(silent=True), DtuMood(cut=5), DtuMood(other_function=True), DtuMood(registers=-1)])
async def test_a_dtu_that_does_not_answer_as_it_should_is_none(around: AsyncExitStack, mood: DtuMood) -> None:
    dtu = await around.enter_async_context(Dtu(image=DTU))
    dtu.mood = mood
    assert await recognised(dtu.port, patience_s=HASTE_S) == []


@pytest.mark.parametrize(("family", "profile"), [(SPH, "growatt-sph"), (MIN, "growatt-min")])
async def test_a_growatt_is_known_by_what_it_measures(around: AsyncExitStack, family: Family, profile: str) -> None:
    (found,) = await recognised(await behind(around, unit_1=Growatt(family=family)))
    assert found.keys["profile"] == profile
    assert "node" in found.doubt


@pytest.mark.parametrize("profile", ["eastron-sdm630", "eastron-sdm120", "carlo-gavazzi-em340", "carlo-gavazzi-em24"])
async def test_a_meter_is_known_by_what_it_measures(around: AsyncExitStack, profile: str) -> None:
    meter = Meter(library.load(profile), watts=lambda _: (300.0, 200.0, 100.0))
    (found,) = await recognised(await behind(around, unit_1=meter))
    assert found.keys["profile"] == profile


@pytest.mark.parametrize("base", [40000, 0, 50000])
async def test_a_sunspec_device_says_who_it_is(around: AsyncExitStack, base: int) -> None:
    device = SunSpec([1, 103], {"1.1.Mn": "Acme", "1.1.Md": "Hybrid 10", "1.1.SN": "A123"}, base=base)
    (found,) = await recognised(await behind(around, unit_1=device))
    assert found.keys["profile"] == "sunspec"
    assert found.said == "SunSpec: Acme Hybrid 10 A123"


async def test_all_that_is_behind_a_bridge_is_found_when_its_units_are_said(around: AsyncExitStack) -> None:
    meter = Meter(library.load("eastron-sdm120"), watts=lambda _: (300.0,))
    port = await behind(around, unit_1=meter, unit_2=meter, unit_3=NOTHING)
    assert [found.keys.get("unit") for found in await recognised(port, 1, 2, 3)] == [None, 2]


@pytest.mark.parametrize("words", [{}, dict.fromkeys(range(0x1000, 0x3000), 0), dict.fromkeys(range(10000, 10020), 0xFFFF)])
async def test_a_device_that_is_unknown_is_not_taken_for_another(around: AsyncExitStack, words: dict[int, int]) -> None:
    registers = RegisterImage(words, input_registers=words)
    assert await recognised(await behind(around, **{f"unit_{unit}": registers for unit in modbus.UNITS})) == []


async def test_a_search_finds_each_kind_once_and_its_proposal_passes_the_check(around: AsyncExitStack, tmp_path: Path) -> None:
    image = await behind(around, unit_1=NOTHING, **{f"unit_{UNIT_TCP}": mtec_image()})
    meter = await behind(around, unit_1=Meter(library.load("eastron-sdm630"), watts=lambda _: (300.0, 200.0, 100.0)))
    pump = await around.enter_async_context(LuxtronikPump())
    shelly = await around.enter_async_context(ShellyServer(Shelly()))
    ticks: list[None] = []
    ports = Ports((image, meter, free_port()), pump.port, shelly.port)
    survey = Survey([HERE, "localhost"], ports, patience_s=PATIENCE_S, listening_s=0, tick=lambda: ticks.append(None))
    found = await survey.run()
    assert len(ticks) == survey.steps == 10
    assert [one.name for one in found if one.host == HERE] == ["mtec", "meter", "heatpump", "house"]
    (tmp_path / "ohmstead.yaml").write_text(proposal([one for one in found if one.host == HERE]))
    config = await asyncio.to_thread(load, tmp_path / "ohmstead.yaml")
    assert list(config.devices) == ["mtec", "meter", "heatpump", "house"]
    assert "Luxtronik, software V" in (tmp_path / "ohmstead.yaml").read_text()


async def test_nobody_and_somebody_else_are_nothing(around: AsyncExitStack) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n<html>")
        writer.close()

    other = await asyncio.start_server(mute, HERE, 0)
    port = other.sockets[0].getsockname()[1]
    async with other:
        survey = Survey([HERE, "no-such-host.invalid"], Ports((port, free_port()), port, port), patience_s=HASTE_S, listening_s=0)
        assert await survey.run() == []


async def test_a_pump_that_says_nothing_is_none(around: AsyncExitStack) -> None:
    pump = await around.enter_async_context(LuxtronikPump(mood=PumpMood(silent=True)))
    survey = Survey([HERE], Ports((free_port(),), pump.port, free_port()), patience_s=HASTE_S, listening_s=0)
    assert await survey.run() == []


async def test_a_shelly_that_wants_a_password_is_proposed_and_that_is_said(around: AsyncExitStack) -> None:
    class Locked(Shelly):
        def info(self) -> dict[str, object]:
            return super().info() | {"auth_en": True}

    server = await around.enter_async_context(ShellyServer(Locked(), password="secret"))
    survey = Survey([HERE], Ports((free_port(),), free_port(), server.port), patience_s=PATIENCE_S, listening_s=0)
    (found,) = await survey.run()
    assert "password_file" in found.doubt


async def test_a_shelly_that_measures_nothing_is_left_out(around: AsyncExitStack) -> None:
    shelly = Shelly("switch")
    server = await around.enter_async_context(ShellyServer(shelly))
    survey = Survey([HERE], Ports((free_port(),), free_port(), server.port), patience_s=PATIENCE_S, listening_s=0)
    assert [one.serial for one in await survey.run()] == [shelly.mac]
    shelly.generation = 1
    assert await survey.run() == []


def test_a_device_that_was_found_twice_is_proposed_once() -> None:
    one = Finding("house", "192.0.2.12", {"source": "shelly", "host": "192.0.2.12"}, "Shelly", "AABB")
    two = one._replace(host="shelly.lan", keys={"source": "shelly", "host": "shelly.lan"})
    other = one._replace(serial="CCDD")
    assert distinct([one, two, other]) == [one, other]
    assert "house_2:" in proposal([one, other])


def test_networks_become_their_hosts() -> None:
    assert spread(["192.0.2.0/30", "192.0.2.1", "dtu.lan"]) == ["192.0.2.1", "192.0.2.2", "dtu.lan"]


@pytest.mark.parametrize(("written", "said"), [("10.0.0.0/8", str(MOST)), ("192.0.2.0/99", "no network"), ("a b", "not an address")])
def test_what_cannot_be_searched_is_said(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spread([written])
    result = call(written, "--yes")
    assert result.exit_code == 2
    assert said in result.stderr


def call(*arguments: str | Path, answer: str = "") -> Result:
    return CliRunner().invoke(main, ["detect", *(str(argument) for argument in arguments)], input=answer)


def test_it_asks_before_it_searches(tmp_path: Path) -> None:
    result = call(HERE, answer="n\n")
    assert result.exit_code == 1
    assert "Go on?" in result.stderr
    assert "nothing was asked" in result.stderr


def test_the_command_proposes_what_it_finds_and_overwrites_nothing(tmp_path: Path) -> None:
    server = TcpServer({1: Station(NOTHING, turnaround=0.0), UNIT_TCP: Station(mtec_image(), turnaround=0.0)})
    with server.in_thread():
        nobody = free_port()
        options = (HERE, "--yes", "--no-listen", "--patience", PATIENCE_S, "--modbus", server.port, "--luxtronik", nobody, "--http", nobody)
        result = call(*map(str, options))
        assert result.exit_code == 0, result.stderr
        assert "No response" not in result.stderr
        assert f"via: tcp://{HERE}:{server.port}" in result.stdout
        assert MTEC_SERIAL in result.stdout
        assert "1 device found" in result.stderr
        output = tmp_path / "found.yaml"
        assert call(*map(str, options), "-o", output).exit_code == 0
        assert output.read_text() in result.stdout
        asked = server.requests
        assert call(*map(str, options), "-o", output).exit_code == 1
        assert server.requests == asked


def test_finding_nothing_is_said_with_what_to_do() -> None:
    nobody = str(free_port())
    result = call(HERE, "--yes", "--no-listen", "--modbus", nobody, "--luxtronik", nobody, "--http", nobody)
    assert result.exit_code == 1
    assert "Is it switched on" in result.stderr


def test_a_name_of_nothing_is_said_before_anything_is_asked() -> None:
    assert nameless(["127.0.0.1", "localhost", "nobody.invalid"]) == ["nobody.invalid"]
    result = CliRunner().invoke(main, ["detect", "nobody.invalid", "--yes", "--no-listen"])
    assert result.exit_code == 1
    assert "nobody.invalid: there is no such name; give the address" in result.stderr


def test_without_a_network_it_is_this_machine_s_own_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ohmstead.detect.addresses.own_network", lambda: "192.0.2.0/30")
    result = call(answer="n\n")
    assert "2 addresses (192.0.2.0/30)" in result.stderr
    monkeypatch.setattr("ohmstead.detect.addresses.own_network", lambda: None)
    result = call(answer="n\n")
    assert result.exit_code == 2
    assert "say which" in result.stderr

"""The power limit of a SunSpec device: it ends by itself when nobody renews it, and a device that would keep it gets none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.errors import NoAnswer, Refused, SourceError
from ohmstead.profiles import library
from ohmstead.sim.sunspec import SunSpec, inverter
from ohmstead.sources.polling import FieldHolder, FieldWriter
from ohmstead.sources.sunspec_limit import FIELD, RENEW_S, REVERSION_S
from tests.unit.sunspec_rig import Rig, rig_of

CONTROLS = {"123.1.WMaxLimPct": 100.0, "123.1.WMaxLimPct_RvrtTms": 0, "123.1.WMaxLim_Ena": 0, "123.1.Conn": 1}


class Clock:
    """The device's, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def device(clock: Clock) -> SunSpec:
    return SunSpec((1, 103, 123), inverter() | CONTROLS, factors={"WMaxLimPct_SF": -2}, clock=clock)


def passes(rig: Rig, clock: Clock, seconds: float) -> None:
    rig.now += seconds
    clock.now += seconds


async def test_a_limit_is_one_write_with_an_end_and_is_read_back(device: SunSpec) -> None:
    async with rig_of(device) as (rig, reader):
        assert isinstance(reader, FieldWriter)
        assert isinstance(reader, FieldHolder)
        assert await reader.held(FIELD) == 100
        assert await reader.write(FIELD, 60) == 60
        (write,) = device.writes
        assert (write.function, write.address, write.words) == (16, device.chain[2].address + 5, (6000, 0, REVERSION_S, 0, 1))
        values = await rig.poll(reader)
        assert (values["power_limit_percent"], values["power_limit_enabled"], values["power_limit_reversion"]) == (
            60,
            "enabled",
            REVERSION_S,
        )
        assert await reader.write(FIELD, 60) == 60
        assert len(device.writes) == 1, "it reads so already"


async def test_it_is_renewed_while_the_gateway_lives_and_ends_after_it(device: SunSpec, clock: Clock) -> None:
    async with rig_of(device) as (rig, reader):
        await reader.write(FIELD, 60)
        for _ in range(10):
            passes(rig, clock, RENEW_S)
            assert (await rig.poll(reader))["power_limit_enabled"] == "enabled"
        assert len(device.writes) == 11
        passes(rig, clock, REVERSION_S)
        assert await rig.reader().held(FIELD) == 100, "the gateway was away for five minutes"


async def test_100_percent_is_no_limit_and_nothing_is_renewed(device: SunSpec, clock: Clock) -> None:
    async with rig_of(device) as (rig, reader):
        await reader.write(FIELD, 0)
        assert await reader.held(FIELD) == 0
        assert await reader.write(FIELD, 100) == 100
        assert device.writes[-1].words == (10000, 0, 0, 0, 0)
        passes(rig, clock, RENEW_S)
        assert (await rig.poll(reader))["power_limit_enabled"] == "disabled"
        assert await reader.write(FIELD, 100) == 100
        assert len(device.writes) == 2


async def test_a_device_that_keeps_no_reversion_time_is_not_limited(device: SunSpec) -> None:
    device.reverts = False
    async with rig_of(device) as (_, reader):
        with pytest.raises(Refused, match="nobody would end it"):
            await reader.write(FIELD, 60)
        assert await reader.held(FIELD) == 100


async def test_nor_is_one_that_has_none(device: SunSpec) -> None:
    device["123.1.WMaxLimPct_RvrtTms"] = None
    async with rig_of(device) as (_, reader):
        with pytest.raises(Refused, match="has no reversion time"):
            await reader.write(FIELD, 60)
    assert device.writes == []


async def test_a_write_that_is_not_obeyed_is_seen_and_not_renewed(device: SunSpec, clock: Clock) -> None:
    device.obeys = False
    async with rig_of(device) as (rig, reader):
        assert await reader.write(FIELD, 60) == 100
        passes(rig, clock, RENEW_S)
        await reader.read()
        assert len(device.writes) == 1


async def test_what_somebody_else_has_changed_is_left_alone(device: SunSpec, clock: Clock) -> None:
    async with rig_of(device) as (rig, reader):
        await reader.write(FIELD, 60)
        device["123.1.WMaxLimPct"] = 30.0
        for _ in range(2):
            passes(rig, clock, RENEW_S)
            assert (await rig.poll(reader))["power_limit_percent"] == 30
        assert len(device.writes) == 1


@pytest.mark.parametrize("field", ["123.1.Conn", "103.1.W", "124.1.InWRte"])
async def test_nothing_else_is_written(device: SunSpec, field: str) -> None:
    async with rig_of(device) as (_, reader):
        with pytest.raises(Refused, match="nothing that may be written"):
            await reader.write(field, 0)
        assert await reader.held(field) is None
    assert device.writes == []


async def test_without_model_123_there_is_nothing_to_write() -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, reader):
        with pytest.raises(Refused, match="nothing that may be written"):
            await reader.write(FIELD, 50)
        await reader.read()
        assert rig.members[-1].profile.controls == {}


@pytest.mark.parametrize("exponent", [None, 1, -5])
async def test_a_scale_factor_that_makes_no_percents_is_no_limit(device: SunSpec, exponent: int | None) -> None:
    device.factor(123, "WMaxLimPct_SF", exponent)
    async with rig_of(device) as (_, reader):
        with pytest.raises(SourceError, match="has no power limit"):
            await reader.write(FIELD, 50)
    assert device.writes == []


async def test_a_write_whose_answer_is_lost_is_not_sent_again_and_not_renewed(device: SunSpec, clock: Clock) -> None:
    async with rig_of(device, timeout_s=0.5, retries=1) as (rig, reader):
        await reader.read()
        answer = rig.station.answer
        rig.station.answer = lambda unit, request: None if answer(unit, request) and request[0] == 16 else answer(unit, request)  # type: ignore[method-assign]  # obeys silently
        with pytest.raises(NoAnswer):
            await reader.write(FIELD, 50)
        rig.station.answer = answer  # type: ignore[method-assign]  # speaks again
        assert len(device.writes) == 1
        passes(rig, clock, REVERSION_S)
        assert await reader.held(FIELD) == 100


def home(folder: Path, more: str) -> Path:
    path = folder / "ohmstead.yaml"
    text = f"site: home\nmqtt: {{url: mqtt://localhost}}\ndevices:\n  roof: {{profile: sunspec, via: tcp://192.0.2.20{more}}}\n"
    path.write_text(text, encoding="utf-8")
    return path


def test_it_is_off_unless_its_owner_names_it(tmp_path: Path) -> None:
    assert "power_limit" in library.load("sunspec").controls
    assert load(home(tmp_path, "")).profile("roof").controls == {}
    assert list(load(home(tmp_path, ", control: {power_limit: {}}")).profile("roof").controls) == ["power_limit"]

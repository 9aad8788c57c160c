"""What the gateway holds for a device that has no node: leases, limits, the way back, and somebody else who writes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import pytest

from ohmstead.control.dispatch import Outcome
from ohmstead.control.guarded import LOOK_S, MOST_FIGHTS, GuardedActuator, watches
from ohmstead.control.target import Target, targets
from ohmstead.errors import OhmsteadError, Reason, Rejected
from ohmstead.profiles import library
from ohmstead.profiles.layout import limit_ends
from ohmstead.readings import Quality, Snapshot, Value

PROFILE = library.load("growatt-sph")
ENDS = limit_ends(PROFILE, {"soc": "15..95 %", "grid_import": "11 kW"})
TARGETS = targets(
    "growatt", PROFILE, {name: PROFILE.raw_limits(name) for name in PROFILE.controls}, periods=PROFILE.groups, ends=ENDS, lease_s=3600
)
CHARGE, DISCHARGE, EXPORT = TARGETS["charge"], TARGETS["discharge"], TARGETS["export_limit"]
SLOT_OF_CHARGE = (1100, 1101, 1102)


class LostError(OhmsteadError):
    """Nobody answered."""


class Put(NamedTuple):
    stands: Mapping[int, int]
    met: Mapping[int, int]
    commands: int


class Inverter:
    """Registers that take what they get, unless `lost` commands are still to be lost. `puts` is what was asked for, `ends` how."""

    def __init__(self) -> None:
        self.registers = {1070: 100, 1071: 10, 1080: 0, 1081: 5947, 1082: 0, 1090: 100, 1091: 100, 1092: 0, 1100: 0, 1101: 5947, 1102: 0}
        self.registers[123] = 1000
        self.online: bool | None = True
        self.lost = 0
        self.writes = 0
        self.ends: list[bool] = []
        self.sent: list[Mapping[int, int]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def put(self, wanted: Mapping[int, int], *, ends: bool = False) -> Put:
        self.asked += 1
        await asyncio.sleep(0)
        await self.answers.wait()
        if self.lost:
            self.lost -= 1
            raise LostError("no result")
        self.ends.append(ends)
        met = dict(self.registers)
        self.registers.update(wanted)
        written = int(self.registers != met)
        self.writes += written
        return Put(dict(wanted), met, written)

    async def read(self, addresses: Sequence[int]) -> Mapping[int, int]:
        if self.lost:
            self.lost -= 1
            raise LostError("no result")
        return dict(self.registers)

    def let_go(self, wanted: Mapping[int, int], there: Mapping[int, int]) -> None:
        self.sent.append(wanted)


class House:
    """A guarded inverter whose clock is moved on by hand, with telemetry once a second while it is."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.inverter = Inverter()
        self.ended: list[tuple[str, str]] = []
        self.values: dict[str, Value] = {"battery_soc": 50, "battery_temperature": 25.0, "inverter_temperature": 40.0, "grid_import": 300.0}
        self.actuator = GuardedActuator(
            "growatt",
            TARGETS,
            watches(PROFILE, ENDS, PROFILE.groups),
            self.inverter,
            lambda _device, control, reason, _time: self.ended.append((control, reason)),
            mono=lambda: self.now,
            wall=lambda: self.now,
        )

    async def passes(self, seconds: float, *, telemetry: bool = True) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 1.0, until)
            if telemetry:
                self.told()
            await self.actuator.step()

    def told(self, **values: Value) -> None:
        self.values |= values
        self.actuator.take(Snapshot("growatt", "telemetry", self.now, Quality.GOOD, dict(self.values)))

    async def command(self, target: Target, raw: int, lease_s: float = 120.0) -> Outcome:
        return await self.actuator.write(target, raw, 1, lease_s)

    @property
    def charging(self) -> bool:
        return self.inverter.registers[1102] == 1


@pytest.fixture
async def house() -> House:
    made = House()
    await made.passes(1)
    return made


async def test_a_command_that_is_renewed_stays_and_costs_no_more_writes(house: House) -> None:
    assert (await house.command(CHARGE, 60)).kind == "done"
    assert {at: house.inverter.registers[at] for at in (1090, 1091, 1092, 1102)} == {1090: 60, 1091: 95, 1092: 1, 1102: 1}
    writes = house.inverter.writes
    for _ in range(5):
        await house.passes(40)
        assert (await house.command(CHARGE, 60)).kind == "unchanged"
    assert (house.charging, house.ended, house.inverter.writes) == (True, [], writes)


async def test_one_that_nobody_renews_is_taken_back(house: House) -> None:
    await house.command(CHARGE, 60)
    await house.passes(119)
    assert house.charging
    await house.passes(3)
    assert not house.charging
    assert {at: house.inverter.registers[at] for at in (1090, 1092)} == {1090: 100, 1092: 0}
    assert house.ended == [("charge", "nobody renewed it")]


async def test_a_stop_takes_back_at_once_whoever_holds_it(house: House) -> None:
    await house.command(CHARGE, 60)
    house.actuator.stop()
    await house.actuator.step()
    assert not house.charging
    assert house.ended == [("charge", "stop")]


async def waiting(house: House, target: Target, raw: int) -> asyncio.Task[Outcome]:
    """A command whose answer does not come."""
    house.inverter.answers.clear()
    asked = house.inverter.asked
    task = asyncio.create_task(house.command(target, raw))
    async with asyncio.timeout(20):
        while house.inverter.asked == asked:  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0)
    return task


async def test_a_stop_goes_out_at_once_whoever_s_answer_is_waited_for(house: House) -> None:
    await house.command(CHARGE, 60)
    other = await waiting(house, EXPORT, 500)
    house.actuator.stop()
    (sent,) = house.inverter.sent
    assert (sent[1102], sent[1092]) == (0, 0)
    assert house.ended == [("charge", "stop")]
    house.inverter.answers.set()
    assert (await other).kind == "done", "what a stop is not about goes on"
    assert house.charging, "as far as anybody knows: nothing was heard of it"
    await house.passes(1)
    assert not house.charging
    house.actuator.stop()
    assert len(house.inverter.sent) == 1, "nothing is in force"


async def test_a_stop_that_is_said_again_and_again_is_sent_once(house: House) -> None:
    await house.command(CHARGE, 60)
    house.inverter.lost = 1000
    for _ in range(5):
        house.actuator.stop()
        await house.passes(1)
    assert len(house.inverter.sent) == 1
    assert house.actuator.homeward == ["charge"]


async def test_what_is_about_to_begin_when_a_stop_comes_does_not(house: House) -> None:
    first = await waiting(house, CHARGE, 60)
    second = asyncio.create_task(house.command(DISCHARGE, 40))
    await asyncio.sleep(0)
    house.actuator.stop()
    assert [next(iter(sent)) in range(1070, 1083) for sent in house.inverter.sent].count(False) == 1
    assert len(house.inverter.sent) == 2
    house.inverter.answers.set()
    for task in (first, second):
        outcome = await task
        assert (outcome.kind, outcome.detail) == ("failed", "an emergency stop came before it was through")
    await house.passes(1)
    assert (house.charging, house.inverter.registers[1082], house.actuator.homeward) == (False, 0, [])


async def test_what_is_in_force_and_just_looked_at_when_a_stop_comes_does_not_begin_anew(house: House) -> None:
    await house.command(CHARGE, 60, lease_s=600)
    house.now += LOOK_S + 1
    house.told()
    house.inverter.answers.clear()
    asked = house.inverter.asked
    looking = asyncio.create_task(house.actuator.step())
    async with asyncio.timeout(20):
        while house.inverter.asked == asked:  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0)
    house.inverter.registers[1102] = 0  # the stop has got there
    house.actuator.stop()
    house.inverter.answers.set()
    await looking
    assert not house.charging


async def test_a_command_that_is_given_up_may_be_in_force(house: House) -> None:
    assert (await house.command(CHARGE, 40)).kind == "done"
    given_up = await waiting(house, CHARGE, 60)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    house.actuator.let_go()
    assert [sent[1102] for sent in house.inverter.sent] == [0], "by the end of the gateway, too"
    house.inverter.answers.set()
    house.inverter.registers[1090] = 60
    assert (await house.command(CHARGE, 40)).kind == "done", "nobody knows that it is so already"
    await house.passes(2)
    assert (house.charging, house.inverter.registers[1090]) == (True, 40)


async def test_the_way_back_is_tried_until_it_reads_back_with_pauses_up_to_30_s(house: House) -> None:
    await house.command(CHARGE, 60, lease_s=10)
    house.inverter.lost = 12
    tried = []
    for _ in range(400):
        left = house.inverter.lost
        await house.passes(1)
        if house.inverter.lost != left:
            tried.append(house.now)
        if not house.charging:
            break
    assert not house.charging
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses == sorted(pauses)
    assert (pauses[0], max(pauses)) == (2.0, 30.0)
    assert house.actuator.homeward == []


async def test_after_a_start_everything_that_must_end_is_brought_home_whatever_anybody_remembers() -> None:
    house = House()
    house.inverter.registers |= {1102: 1, 1092: 1, 1082: 1}
    assert house.actuator.homeward == ["charge", "discharge"]
    await house.passes(1)
    assert (house.inverter.registers[1102], house.inverter.registers[1082], house.inverter.registers[1092]) == (0, 0, 0)
    assert house.actuator.homeward == []
    assert house.ended == [], "nobody held it"


async def test_what_is_at_home_already_is_not_written() -> None:
    house = House()
    house.inverter.registers |= {1071: 15, 1091: 95}
    await house.passes(5)
    assert house.inverter.writes == 0


async def test_a_command_that_failed_leaves_nothing_to_chance(house: House) -> None:
    house.inverter.lost = 1
    outcome = await house.command(CHARGE, 60)
    assert (outcome.kind, outcome.detail) == ("failed", "no result")
    house.inverter.registers[1102] = 1  # it had arrived all the same
    await house.passes(1)
    assert not house.charging
    assert house.actuator.homeward == []


async def test_a_newer_command_overtakes_the_way_back(house: House) -> None:
    house.inverter.lost = 1
    await house.command(CHARGE, 60)
    assert house.actuator.homeward == ["charge"]
    assert (await house.command(CHARGE, 40)).kind == "done"
    await house.passes(5)
    assert (house.charging, house.inverter.registers[1090]) == (True, 40)


@pytest.mark.parametrize(
    ("control", "values", "reason"),
    [
        (DISCHARGE, {"battery_soc": 15}, "soc floor"),
        (CHARGE, {"battery_soc": 95}, "soc ceiling"),
        (CHARGE, {"grid_import": 11_500.0}, "grid import ceiling"),
        (CHARGE, {"battery_temperature": -1.0}, "battery temperature floor"),
        (DISCHARGE, {"inverter_temperature": 86.0}, "inverter temperature ceiling"),
    ],
)
async def test_a_limit_ends_what_it_is_about_and_refuses_it_while_it_lasts(
    house: House, control: Target, values: dict[str, Value], reason: str
) -> None:
    other = CHARGE if control is DISCHARGE else DISCHARGE
    await house.command(control, 60)
    house.told(**values)
    assert house.ended == [(control.control, reason)]
    await house.passes(1)
    assert house.inverter.registers[1102] == house.inverter.registers[1082] == 0
    with pytest.raises(Rejected) as rejected:
        await house.command(control, 60)
    assert (rejected.value.reason, reason in rejected.value.detail) == (Reason.LIMIT, True)
    assert (await house.command(control, 0)).kind in ("done", "unchanged"), "the way home is always open"
    if "soc" in reason:
        assert (await house.command(other, 60)).kind == "done"


async def test_an_unknown_or_old_soc_is_no_soc(house: House) -> None:
    await house.command(DISCHARGE, 60)
    await house.passes(29, telemetry=False)
    assert house.inverter.registers[1082] == 1
    await house.passes(3, telemetry=False)
    assert house.inverter.registers[1082] == 0
    assert house.ended == [("discharge", "stale")]
    with pytest.raises(Rejected) as rejected:
        await house.command(DISCHARGE, 60)
    assert rejected.value.reason is Reason.STALE
    with pytest.raises(Rejected):
        await House().command(CHARGE, 60)


async def test_what_an_old_frame_says_is_not_fresh(house: House) -> None:
    late = Snapshot("growatt", "telemetry", house.now, Quality.GOOD, dict(house.values), live=False)
    for _ in range(35):
        house.now += 1
        house.actuator.take(late)
        house.actuator.take(late._replace(device="another", live=True))
    with pytest.raises(Rejected) as rejected:
        await house.command(CHARGE, 60)
    assert rejected.value.reason is Reason.STALE


async def test_an_inverter_that_is_away_takes_no_new_command(house: House) -> None:
    house.inverter.online = False
    with pytest.raises(Rejected) as rejected:
        await house.command(CHARGE, 60)
    assert rejected.value.reason is Reason.OFFLINE


async def test_a_rival_is_fought_so_often_and_no_more(house: House) -> None:
    await house.command(CHARGE, 60, lease_s=86_400)
    for fight in range(MOST_FIGHTS):
        assert house.charging, fight
        house.inverter.registers[1102] = 0
        await house.passes(LOOK_S + 1)
    assert house.ended == [("charge", "external")] * MOST_FIGHTS
    assert not house.charging
    writes = house.inverter.writes
    await house.passes(5 * LOOK_S)
    assert house.inverter.writes == writes


async def test_the_inverter_s_own_end_of_it_is_put_off_while_it_is_wanted(house: House) -> None:
    await house.command(CHARGE, 60, lease_s=86_400)
    before = len(house.inverter.ends)
    await house.passes(3 * LOOK_S)
    assert house.inverter.ends[before:] == [True, True, True]
    assert house.ended == []


async def test_a_setting_stays_and_one_for_a_time_goes_back(house: House) -> None:
    assert (await house.command(EXPORT, 0, lease_s=0)).kind == "done"
    await house.passes(500)
    assert house.inverter.registers[123] == 0
    assert (await house.command(EXPORT, 500, lease_s=60)).kind == "done"
    await house.passes(62)
    assert house.inverter.registers[123] == 1000


async def test_holding_is_what_the_inverter_itself_says(house: House) -> None:
    await house.command(EXPORT, 500, lease_s=0)
    assert await house.actuator.holds(EXPORT, 500)
    assert not await house.actuator.holds(EXPORT, 0)
    house.inverter.lost = 1
    assert not await house.actuator.holds(EXPORT, 500)


async def test_the_end_of_the_gateway_sends_what_takes_everything_back(house: House) -> None:
    await house.command(CHARGE, 60)
    await house.command(EXPORT, 0, lease_s=60)
    house.actuator.let_go()
    (sent,) = house.inverter.sent
    assert (sent[1102], sent[1092], 123 in sent) == (0, 0, False)


async def test_what_is_on_its_way_back_is_sent_there_once_more_by_the_end_of_the_gateway(house: House) -> None:
    await house.command(CHARGE, 60, lease_s=5)
    house.inverter.lost = 1000
    await house.passes(10)
    assert house.actuator.homeward == ["charge"]
    house.actuator.let_go()
    assert [sent[1102] for sent in house.inverter.sent] == [0]


async def test_a_device_that_is_read_only_is_not_even_brought_home() -> None:
    read_only = {name: replace(target, read_only=True) for name, target in TARGETS.items()}
    inverter = Inverter()
    inverter.registers[1102] = 1
    actuator = GuardedActuator("growatt", read_only, [], inverter, lambda *_: None)
    await actuator.step()
    assert (inverter.writes, inverter.registers[1102]) == (0, 1)


async def test_run_goes_on_until_it_is_cancelled() -> None:
    house = House()
    task = asyncio.create_task(house.actuator.run())
    async with asyncio.timeout(20):
        while house.actuator.homeward:  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

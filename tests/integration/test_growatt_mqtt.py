"""A Growatt behind a simulated OpenInverterGateway on a real broker: kind, unkind, and gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from paho.mqtt import publish

from ohmstead.mqtt import BrokerAddress, MqttClient
from ohmstead.profiles import library
from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.growatt import MIN, SPH, Family, Growatt
from ohmstead.sim.inverter_gateway import BASE, LAST_WILL, InverterGateway
from ohmstead.sources.growatt_commands import Command
from ohmstead.sources.growatt_mqtt import GrowattMqtt, NoAnswer, NotTaken, Refused, Timing, back_off
from ohmstead.tasks import end
from tests.conftest import Broker

QUICK = Timing(timeout_s=10.0, pause_s=0.0, settle_s=0.05, settings_s=600.0, tries=3, again_s=0.05)
CHARGE = {1090: 40, 1091: 95, 1092: 1, 1100: 0, 1101: 5947, 1102: 1}
REST = CHARGE | {1090: 100, 1092: 0, 1102: 0}


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0.01)
    assert condition(), what


class Rig:
    """The gateway's side, and the stick when it is there."""

    def __init__(self, broker: Broker, family: Family, timing: Timing) -> None:
        self.broker = broker
        self.snapshots: list[Snapshot] = []
        self.mqtt = MqttClient(BrokerAddress(broker.host, broker.port, client_id="gateway"), "ohm/test/bridge/online")
        profile = library.load("growatt-min" if family is MIN else "growatt-sph")
        self.source = GrowattMqtt("growatt", BASE, profile, self.mqtt, self.snapshots.append, timing=timing)
        self.source.start()
        self.inverter = Growatt(family=family, soc=50, sun=lambda _: 0.0, demand=lambda _: 500.0)
        self.stick = InverterGateway(self.inverter, broker.host, broker.port, every=0.1)

    def of(self, group: str) -> list[Snapshot]:
        return [snapshot for snapshot in self.snapshots if snapshot.group == group]

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        publish.single(topic, payload, hostname=self.broker.host, port=self.broker.port, retain=retain, qos=1)

    async def online(self) -> None:
        await until(lambda: self.source.online is True and self.of("settings"), "telemetry and settings")


@asynccontextmanager
async def rig_of(broker: Broker, family: Family = SPH, timing: Timing = QUICK) -> AsyncIterator[Rig]:
    rig = Rig(broker, family, timing)
    tasks = [asyncio.create_task(rig.mqtt.run()), asyncio.create_task(rig.source.run())]
    try:
        await until(lambda: rig.mqtt.connected, "the broker")
        yield rig
    finally:
        rig.stick.stop()
        await end(tasks)
        await rig.mqtt.close()


# What it says


@pytest.mark.parametrize("family", [SPH, MIN], ids=["sph", "min"])
async def test_telemetry_and_settings_have_the_values_that_modbus_has(broker: Broker, family: Family) -> None:
    async with rig_of(broker, family) as rig:
        rig.stick.start()
        await rig.online()
        values = rig.of("telemetry")[-1].values
        assert rig.of("telemetry")[-1].quality is Quality.GOOD
        assert {name: values[name] for name in ("battery_soc", "discharge_power", "battery", "grid", "consumption", "inverter")} == {
            "battery_soc": 50, "discharge_power": 500, "battery": 500, "grid": 0, "consumption": 500, "inverter": 500,
        }  # fmt: skip
        settings = rig.of("settings")[0].values
        wanted = {"export_limit": 100, "export_limit_mode": "CT", "battery_first_rate": 100, "charge": 0, "discharge": 0}
        assert {name: settings[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("told", "name", "value"),
    [
        ({"OutputPower": 429496629.6, "SOC": 50}, "inverter", -100.0),
        ({"OutputPower": -100.0, "SOC": 50}, "inverter", -100.0),
        ({"BatteryTemperature": "warm", "SOC": 50}, "battery_temperature", None),
        ({"BatteryTemperature": True, "SOC": 50}, "battery_temperature", None),
        ({"SOC": 101, "InputPower": 1}, "battery_soc", None),
        ({"SOC": -3, "InputPower": 1}, "battery_soc", None),
        ({"SOC": 1e309, "InputPower": 1}, "battery_soc", None),
    ],
)
async def test_a_strange_value_is_absent_and_a_wrapped_one_is_what_it_was(
    broker: Broker, told: dict[str, object], name: str, value: float | None
) -> None:
    async with rig_of(broker) as rig:
        rig.publish(BASE, json.dumps(told))
        await until(lambda: rig.snapshots, "a reading")
        assert rig.snapshots[0].values.get(name) == value
        assert rig.snapshots[0].quality is (Quality.GOOD if value is not None else Quality.PARTIAL)


async def test_what_is_no_telemetry_is_counted_and_changes_nothing(broker: Broker) -> None:
    async with rig_of(broker) as rig:
        for payload in ("", "{", "[1]", '{"Uptime": 3}', "1" * 20_000, '{"a":' * 2000):
            rig.publish(BASE, payload)
        await until(lambda: rig.source.counters["wrong"] == 6, "six counted")
        assert (rig.snapshots, rig.source.online) == ([], None)


async def test_a_retained_reading_is_none_but_a_retained_absence_is_one(broker: Broker) -> None:
    publish.single(BASE, '{"InverterStatus": 1, "SOC": 50}', hostname=broker.host, port=broker.port, retain=True)
    async with rig_of(broker) as rig:
        rig.publish("ohm/x", "")
        await asyncio.sleep(0)
        assert (rig.snapshots, rig.source.online) == ([], None)
    publish.single(BASE, LAST_WILL, hostname=broker.host, port=broker.port, retain=True)
    async with rig_of(broker) as rig:
        await until(lambda: rig.source.online is False, "offline")
        assert "away" in rig.source.trouble


async def test_a_stick_that_goes_is_away_by_its_last_will_and_back_with_its_first_word(broker: Broker) -> None:
    async with rig_of(broker) as rig:
        rig.stick.start()
        await rig.online()
        rig.stick.stop()
        await until(lambda: rig.source.online is False, "the last will")
        rig.stick.start()
        await until(lambda: rig.source.online is True, "the first word")
        assert rig.source.trouble == ""


async def test_an_inverter_that_does_not_answer_its_stick_is_away(broker: Broker) -> None:
    async with rig_of(broker) as rig:
        rig.stick.start()
        await rig.online()
        rig.stick.faults.on("unplugged")
        await until(lambda: rig.source.online is False, "offline")
        rig.stick.faults.clear()
        await until(lambda: rig.source.online is True, "online")


# What it is told


@pytest.mark.parametrize("family", [SPH, MIN], ids=["sph", "min"])
async def test_what_is_put_is_written_read_back_and_shown(broker: Broker, family: Family) -> None:
    wanted = CHARGE if family is SPH else {3047: 40, 3048: 95, 3049: 1, 3038: 0xA000, 3039: 5947}
    async with rig_of(broker, family) as rig:
        rig.stick.start()
        await rig.online()
        put = await rig.source.put(wanted)
        assert (put.stands, put.commands) == (wanted, 4)
        assert {at: rig.inverter[at] for at in wanted} == wanted
        await until(lambda: rig.of("settings")[-1].values.get("charge") == 40, "the new value, at once")
        again = await rig.source.put(wanted)
        assert (again.stands, again.commands, again.met.items() >= wanted.items()) == (wanted, 0, True)


async def test_a_slot_that_must_end_ends_by_the_inverter_s_own_clock_and_is_put_off(broker: Broker) -> None:
    async with rig_of(broker) as rig:
        now = [0.0]
        rig.inverter = Growatt(start=1_782_036_000.0, clock=lambda: now[0], sun=lambda _: 0.0, demand=lambda _: 500.0)  # 12:00 in Prague
        rig.stick = InverterGateway(rig.inverter, broker.host, broker.port, every=0.1)
        rig.stick.drift_s = 0
        rig.stick.start()
        await rig.online()
        first = (await rig.source.put(CHARGE, ends=True)).stands
        assert (first[1100], first[1101], first[1102]) == (11 << 8 | 59, 13 << 8, 1)
        assert (await rig.source.put(CHARGE, ends=True)).commands == 0, "there is an hour left"
        now[0] = 50 * 60
        later = (await rig.source.put(CHARGE, ends=True)).stands
        assert (later[1100], later[1101]) == (12 << 8 | 49, 13 << 8 | 50)
        now[0] = 120 * 60
        assert rig.inverter.priority == 0 or rig.inverter[1044] == 0, "nobody came: the inverter ends it"
        now[0] = (11 * 60 + 30) * 60  # 23:30
        night = (await rig.source.put(CHARGE, ends=True)).stands
        assert night[1101] == 5947, "no slot goes past midnight"
        assert (await rig.source.put(CHARGE, ends=True)).commands == 0
        now[0] = (12 * 60 + 1) * 60
        assert (await rig.source.put(CHARGE, ends=True)).stands[1101] == 1 << 8 | 1


async def test_a_write_that_is_taken_and_forgotten_is_not_believed(broker: Broker) -> None:
    async with rig_of(broker) as rig:
        rig.stick.start()
        await rig.online()
        rig.stick.faults.on("ignored-write@1100..1102")
        with pytest.raises(NotTaken, match="1102 is 0 instead of 1"):
            await rig.source.put(CHARGE)


async def test_what_the_stick_refuses_for_good_is_asked_once_and_what_it_could_not_do_again(broker: Broker) -> None:
    async with rig_of(broker) as rig:
        rig.stick.start()
        await rig.online()
        before = len(rig.stick.commands)
        with pytest.raises(Refused, match="Unknown command: register/get"):
            await rig.source.ask(Command("register/get", {"register": 1044}))
        assert len(rig.stick.commands) == before + 1
        rig.stick.faults.on("refused-write=4x2")
        await rig.source.ask(Command("batteryfirst/set/stopsoc", {"value": 90}))
        assert (rig.inverter[1091], len(rig.stick.commands)) == (90, before + 4)
        rig.stick.faults.on("refused-write=4")
        with pytest.raises(Refused, match="Failed to write"):
            await rig.source.ask(Command("batteryfirst/set/stopsoc", {"value": 80}))
        assert len(rig.stick.commands) == before + 7


@pytest.mark.parametrize("kind", ["silent", "unheard", "miscorrelated", "uncorrelated"])
async def test_without_an_answer_of_its_own_a_command_is_asked_again(broker: Broker, kind: str) -> None:
    async with rig_of(broker, timing=QUICK._replace(timeout_s=1.0)) as rig:
        rig.stick.start()
        await rig.online()
        before = len(rig.stick.commands)
        setattr(rig.stick.mood, kind, 1)
        assert (await rig.source.ask(Command("batteryfirst/get", {})))["powerRate"] == 100
        assert len(rig.stick.commands) >= before + 2
        assert rig.source.counters["no_answer"] >= 1


async def test_a_stick_that_stays_silent_is_given_up_after_so_many_tries(broker: Broker) -> None:
    async with rig_of(broker, timing=QUICK._replace(timeout_s=0.2)) as rig:
        rig.stick.mood.silent = 1_000_000
        rig.stick.start()
        await until(lambda: rig.source.online is True, "telemetry")
        with pytest.raises(NoAnswer, match="no result of gridfirst/set/stopsoc within"):
            await rig.source.ask(Command("gridfirst/set/stopsoc", {"value": 20}))
        assert [name for name, _ in rig.stick.commands].count("gridfirst/set/stopsoc") == 3
        assert rig.inverter[1071] == 20, "obeyed it was, and nobody knows"


async def test_the_same_answer_twice_answers_one_command(broker: Broker) -> None:
    async with rig_of(broker) as rig:
        rig.stick.start()
        await rig.online()
        rig.stick.mood.twice = 1000
        for name, key in (("batteryfirst/get", "acChargeEnabled"), ("gridfirst/get", "stopSOC"), ("datetime/get", "value")):
            assert key in await rig.source.ask(Command(name, {}))
        await until(lambda: rig.source.counters["wrong"] >= 2, "the second copies")
        assert rig.source.counters["no_answer"] == 0


async def test_a_result_of_yesterday_answers_nothing(broker: Broker) -> None:
    stale = {"command": "batteryfirst/get", "success": True, "powerRate": 1, "stopSOC": 1, "acChargeEnabled": True, "timeSlots": []}
    publish.single(f"{BASE}/result", json.dumps(stale), hostname=broker.host, port=broker.port, retain=True)
    async with rig_of(broker, timing=QUICK._replace(timeout_s=0.3, tries=1)) as rig:
        asked = asyncio.create_task(rig.source.ask(Command("batteryfirst/get", {})))
        await until(lambda: rig.source.counters["requests"] == 1, "the command")
        rig.publish(f"{BASE}/result", json.dumps(stale))
        rig.publish(f"{BASE}/result", json.dumps(stale | {"correlationId": "ohm-00000000-1"}))
        with pytest.raises(NoAnswer):
            await asked
        assert rig.source.counters["retained"] == 1


async def test_one_command_at_a_time(broker: Broker) -> None:
    async with rig_of(broker) as rig:
        rig.stick.start()
        await rig.online()
        rig.stick.mood.late_s = 0.05
        under_way: list[int] = []
        heard = rig.stick.obey

        def obey(name: str, request: object) -> object:
            under_way.append(len(rig.stick.commands) - rig.source.counters["ok"] - rig.source.counters["no_answer"])
            return heard(name, request)  # type: ignore[arg-type]  # handed through as it came

        rig.stick.obey = obey  # type: ignore[method-assign,assignment]  # watched, not changed
        await asyncio.gather(*(rig.source.ask(Command("batteryfirst/get", {})) for _ in range(5)))
        assert under_way == [1] * 5


async def test_what_ends_a_mode_at_once_waits_for_nobody_s_answer(broker: Broker) -> None:
    async with rig_of(broker, timing=QUICK._replace(timeout_s=60.0, tries=1)) as rig:
        rig.stick.start()
        await rig.online()
        await rig.source.put(CHARGE)
        rig.stick.mood.silent = 1
        asked = asyncio.create_task(rig.source.ask(Command("power/set/activerate", {"value": 50})))
        await until(lambda: not rig.stick.mood.silent, "a command whose answer is lost")
        wrong = rig.source.counters["wrong"]
        rig.source.let_go(REST, CHARGE)
        await until(lambda: rig.inverter[1102] == 0, "the end of the charge")
        assert not asked.done()
        asked.cancel()
        await rig.source.ask(Command("batteryfirst/get", {}))
        assert rig.source.counters["wrong"] == wrong, "its answers are known for what they are"


async def test_while_the_broker_is_away_nothing_is_sent_then_or_later(broker: Broker) -> None:
    async with rig_of(broker, timing=QUICK._replace(tries=1)) as rig:
        rig.stick.start()
        await rig.online()
        before = len(rig.stick.commands)
        broker.stop()
        await until(lambda: not rig.mqtt.connected, "the broker's end")
        with pytest.raises(NoAnswer, match="the broker is away, nothing was sent"):
            await rig.source.ask(Command("export/disable", {}))
        rig.source.let_go(REST, CHARGE)
        broker.start()
        await until(lambda: rig.mqtt.connected, "the broker")
        await until(lambda: len(rig.of("telemetry")) > 0, "telemetry")
        assert not {"export/disable", "batteryfirst/set/timeslot"} & {name for name, _ in rig.stick.commands[before:]}


def test_pauses_grow_by_half_and_end_at_30_s() -> None:
    assert [round(back_off(failures), 2) for failures in (1, 2, 3, 4, 8, 9, 100)] == [2, 3, 4.5, 6.75, 30, 30, 30]

"""A Shelly over HTTP and over a broker: against one that behaves, and against one that does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from ohmstead.errors import NoAnswer, Refused, SourceError, Unauthorised, Unreachable, WrongAnswer
from ohmstead.messages import Message
from ohmstead.profiles import library
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.sim.cli import simulate
from ohmstead.sim.shelly import Mood, Shelly, ShellyServer
from ohmstead.sources.polling import Member, PolledSource
from ohmstead.sources.shelly import ShellyReader
from ohmstead.sources.shelly_energy import Sums
from ohmstead.sources.shelly_rpc import Channel, HttpChannel, MqttChannel
from ohmstead.tasks import end
from tests.conftest import free_port
from tests.publishing import Recorder

NOON = 1_790_000_000.0


class Kept(dict[str, str]):
    """A memory that counts how often it is written to."""

    writes = 0

    def read(self, key: str) -> str | None:
        return self.get(key)

    def write(self, key: str, value: str) -> None:
        self.writes += 1
        self[key] = value


class Rig:
    """A reader and what came of it; `now` is everybody's clock."""

    def __init__(self, shelly: Shelly | None = None) -> None:
        self.now = NOON
        self.shelly = shelly or Shelly(clock=lambda: self.now)
        self.memory = Kept()
        self.members: list[Member] = []
        self.emitted: list[Snapshot] = []

    def reader(self, channel: Channel) -> ShellyReader:
        reader = ShellyReader("house", channel, self.members.append, self.emitted.append, self.memory, wall=lambda: self.now)
        reader.start()
        return reader

    async def poll(self, reader: ShellyReader) -> dict[str, Value]:
        (snapshot,) = await reader.read()
        return dict(snapshot.values)

    @property
    def points(self) -> set[str]:
        return set(self.members[-1].profile.points)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def channel(server: ShellyServer, password: str | None = None, timeout_s: float = 20.0) -> HttpChannel:
    return HttpChannel("127.0.0.1", server.port, password, timeout_s=timeout_s)


async def test_three_phases_are_read_with_signs_and_in_kilowatt_hours(rig: Rig) -> None:
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        (snapshot,) = await reader.read()
        await reader.close()
    values = snapshot.values
    assert (snapshot.device, snapshot.time, snapshot.quality) == ("house", NOON, Quality.GOOD)
    assert (values["power"], values["power_l1"], values["power_l3"]) == (400.0, 300.0, -100.0)
    assert (values["voltage_l2"], values["current_l1"], values["frequency_l3"]) == (230.0, 1.304, 50.0)
    assert (values["energy_import"], values["counter_import"], values["energy_import_l2"]) == (3000.0, 3000.0, 1000.0)
    assert values["energy_export"] == 0.0
    assert "current_neutral" not in values, "there is no clamp on the neutral: unknown, not 0"
    assert (values["serial_no"], values["firmware_version"], values["model_code"]) == ("AABBCCDDEEFF", "1.4.4", "SPEM-003CEBEU")
    (member,) = rig.members
    assert (member.device, member.name, member.serial, member.period_s) == ("house", "Shelly 3EM", "AABBCCDDEEFF", 10.0)
    assert member.profile.model == "Pro3EM"
    assert rig.shelly.calls == ["Shelly.GetDeviceInfo", "Shelly.GetStatus"]


async def test_who_it_is_is_asked_once_and_after_a_restart(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.now += 10
        await reader.read()
        assert rig.shelly.calls.count("Shelly.GetDeviceInfo") == 1
        rig.now += 10
        rig.shelly.restart()
        rig.shelly.version = "1.5.0"
        assert (await rig.poll(reader))["firmware_version"] == "1.5.0"
        assert rig.shelly.calls.count("Shelly.GetDeviceInfo") == 2
        await reader.close()


async def test_channels_of_their_own_and_only_those_that_are_there(rig: Rig) -> None:
    rig.shelly = Shelly("monophase", watts=lambda _: (500.0, -2000.0), clock=lambda: rig.now)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        values = await rig.poll(reader)
        await reader.close()
    assert (values["power_1"], values["power_2"]) == (500.0, -2000.0)
    assert rig.members[-1].profile.id == "shelly-em1"
    assert "energy_import_2" in rig.points
    assert not {"power_3", "temperature"} & rig.points


async def test_a_switch_with_a_meter(rig: Rig) -> None:
    rig.shelly = Shelly("switch", clock=lambda: rig.now)
    rig.shelly.counts(1234.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        values = await rig.poll(reader)
        rig.shelly.said["switch:0", "output"] = False
        assert (await rig.poll(reader))["output_1"] == "off"
        await reader.close()
    assert (values["power_1"], values["output_1"], values["energy_1"]) == (60.0, "on", 1.234)
    assert rig.members[-1].profile.id == "shelly-pm1"
    assert not {"power_2", "counter_returned_1"} & rig.points


async def test_one_that_is_switched_to_another_profile_is_made_known_anew(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.kind = "monophase"
        (snapshot,) = await reader.read()
        await reader.close()
    assert [member.profile.id for member in rig.members] == ["shelly-em", "shelly-em1"]
    assert snapshot.values["power_3"] == -100.0
    assert snapshot.quality is Quality.GOOD
    assert "power_l3" not in snapshot.values


async def test_what_it_says_later_joins_its_points(rig: Rig) -> None:
    rig.shelly = Shelly("monophase", watts=lambda _: (500.0,), clock=lambda: rig.now)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        assert "temperature" not in rig.points
        rig.shelly.said["temperature:0", "tC"] = 40.0
        assert (await rig.poll(reader))["temperature"] == 40.0
        assert "temperature" in rig.points
        await reader.close()


async def test_what_its_own_meter_calls_broken_is_absent_and_the_rest_stays(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.said["em:0", "b_errors"] = ["power_meter_failure"]
        rig.shelly.said["em:0", "c_errors"] = ["out_of_range:voltage"]
        (snapshot,) = await reader.read()
        await reader.close()
    assert snapshot.quality is Quality.PARTIAL
    assert {"power_l1", "power_l3", "current_l3", "energy_import"} <= snapshot.values.keys()
    assert not {"power", "power_l2", "voltage_l2", "voltage_l3"} & snapshot.values.keys()


@pytest.mark.parametrize("nonsense", [None, "n/a", True, 1e300, float("nan"), float("inf"), -1e9, [1], {"a": 1}])
async def test_what_is_no_plausible_number_is_absent(rig: Rig, nonsense: object) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.said["em:0", "total_act_power"] = nonsense
        rig.shelly.said["emdata:0", "total_act"] = nonsense
        (snapshot,) = await reader.read()
        await reader.close()
    assert not {"power", "energy_import"} & snapshot.values.keys()
    assert snapshot.values["power_l1"] == 300.0
    assert snapshot.quality is Quality.PARTIAL


# Counters


async def test_a_sum_goes_on_where_its_counter_begins_anew(rig: Rig) -> None:
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.reset()
        first = await rig.poll(reader)
        assert (first["energy_import"], first["counter_import"]) == (3000.0, 0.0)
        rig.now += 3600
        then = await rig.poll(reader)
        assert (then["energy_import"], then["counter_import"]) == (3000.5, 0.5)
        await reader.close()


async def test_a_sum_survives_the_gateway_and_a_reset_meanwhile(rig: Rig) -> None:
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.reset()
        await reader.read()
        await reader.close()
        rig.now += 7200
        again = rig.reader(channel(server))
        assert (await rig.poll(again))["energy_import"] == 3001.0, "what it counted meanwhile is in it"
        rig.shelly.reset()
        await again.close()
        assert (await rig.poll(rig.reader(channel(server))))["energy_import"] == 3001.0


def test_sums_never_fall_and_nothing_is_made_up() -> None:
    now = NOON
    sums = Sums(Kept(), "shelly/house/energy", "house", wall=lambda: now)
    sums.load()
    story = [
        (1000.0, 1000.0),
        (1010.0, 1010.0),
        (0.0, 1010.0),  # for a moment it says 0 …
        (1_000_000.0, 1010.0),  # … and then more than anybody can use in ten seconds
        (1_000_020.0, 1030.0),
        (1_000_015.0, 1030.0),  # a restart takes it back to what it had kept last
        (1_000_025.0, 1040.0),
    ]
    for reading, total in story:
        assert sums.add({"emdata:0.total_act": reading}, "AA") == {"emdata:0.total_act": pytest.approx(total)}
        now += 10.0


def test_another_device_in_its_place_begins_where_the_first_one_ended() -> None:
    memory = Kept()
    sums = Sums(memory, "key", "house", wall=lambda: NOON)
    sums.load()
    sums.add({"a": 5000.0}, "AA")
    assert sums.add({"a": 5100.0}, "BB") == {"a": 5000.0}
    assert sums.add({"a": 5150.0}, "BB") == {"a": 5050.0}


def test_sums_are_kept_now_and_then_and_a_reset_at_once() -> None:
    now, memory = NOON, Kept()
    sums = Sums(memory, "key", "house", wall=lambda: now)
    sums.load()
    for reading in range(60):
        sums.add({"a": float(reading)}, "AA")
        if sums.due:
            sums.save()
        now += 10.0
    assert memory.writes == 2, "600 s"
    sums.add({"a": 3.0}, "AA")
    assert sums.due
    sums.save()
    again = Sums(memory, "key", "house", wall=lambda: now)
    again.load()
    assert again.add({"a": 4.0}, "AA") == {"a": 60.0}


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"serial":"A","counts":{"a":[1]}}', '{"serial":"A","counts":{"a":["x",1,1]}}', "\0"])
def test_an_unreadable_memory_is_no_reason_to_stop(kept: str) -> None:
    sums = Sums(Kept(key=kept), "key", "house", wall=lambda: NOON)
    sums.load()
    assert sums.add({"a": 7.0}, "AA") == {"a": 7.0}


# HTTP


async def test_digest_authentication_asks_once_for_a_challenge(rig: Rig) -> None:
    async with ShellyServer(rig.shelly, password="über secret") as server:
        reader = rig.reader(channel(server, "über secret"))
        for _ in range(3):
            assert (await rig.poll(reader))["power"] == 400.0
        assert server.challenges == 1
        server.nonce_lasts = 0
        with pytest.raises(Unauthorised):
            await reader.read()
        server.nonce_lasts = 1
        assert (await rig.poll(reader))["power"] == 400.0, "a nonce that is worn out is replaced"
        await reader.close()


@pytest.mark.parametrize(("password", "says"), [(None, "wants a password"), ("wrong", "does not take the password")])
async def test_a_wrong_password_or_none_is_told_without_it(rig: Rig, password: str | None, says: str) -> None:
    async with ShellyServer(rig.shelly, password="right") as server:
        reader = rig.reader(channel(server, password))
        with pytest.raises(Unauthorised, match=says) as refused:
            await reader.read()
        assert refused.value.status == 401
        assert "wrong" not in str(refused.value)
        await reader.close()


@pytest.mark.parametrize(
    ("mood", "error"),
    [
        (Mood(status=500), Refused),
        (Mood(status=503), Refused),
        (Mood(status=429), Refused),
        (Mood(status=404), Refused),
        (Mood(status=302), Refused),
        (Mood(status=403), Unauthorised),
        (Mood(html=True), WrongAnswer),
        (Mood(wrong_id=True), WrongAnswer),
        (Mood(garbage=b""), WrongAnswer),
        (Mood(garbage=b"[]"), WrongAnswer),
        (Mood(garbage=b'{"id":1}'), WrongAnswer),
        (Mood(garbage=b'{"id":1,"result":7}'), WrongAnswer),
        (Mood(garbage=b"\xff\xfe"), WrongAnswer),
        (Mood(garbage=b"[" * 60_000), WrongAnswer),
        (Mood(garbage=b'{"id":1,"result":{"x":"' + b"x" * 200_000 + b'"}}'), WrongAnswer),
        (Mood(garbage=b'{"id":1,"error":{"code":-109,"message":"busy"}}'), Refused),
        (Mood(garbage=b'{"id":1,"error":{"code":401,"message":"{}"}}'), Unauthorised),
        (Mood(garbage=b'{"id":1,"result":{"gen":1,"mac":"AA"}}'), WrongAnswer),
        (Mood(garbage=b'{"id":1,"result":{}}'), WrongAnswer),
    ],
)
async def test_each_wrong_answer_is_its_own_error_and_gives_no_reading(rig: Rig, mood: Mood, error: type[SourceError]) -> None:
    async with ShellyServer(rig.shelly) as server:
        server.mood = mood
        reader = rig.reader(channel(server))
        with pytest.raises(SourceError) as raised:
            await reader.read()
        assert type(raised.value) is error
        assert f"127.0.0.1:{server.port}" in str(raised.value)
        server.mood = Mood()
        assert (await rig.poll(reader))["power"] == 400.0, "the next one is read"
        await reader.close()


@pytest.mark.parametrize("length", [True, False])
async def test_an_answer_that_breaks_off_anywhere_is_none(rig: Rig, length: bool) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        server.mood = Mood(length=length)
        await reader.read()
        whole = server.length
        for cut in (*range(40), *range(40, whole - 40, 29), *range(whole - 40, whole)):
            server.mood.cut = cut
            with pytest.raises((NoAnswer, WrongAnswer)):
                await reader.read()
        server.mood = Mood(length=length)
        assert (await rig.poll(reader))["power"] == 400.0
        await reader.close()


async def test_silence_and_slowness_end_with_the_time_out(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server, timeout_s=0.2))
        server.mood = Mood(silent=True)
        with pytest.raises(NoAnswer, match=r"within 0\.2 s"):
            await reader.read()
        server.mood = Mood(slow_s=30.0)
        with pytest.raises(NoAnswer):
            await reader.read()
        await reader.close()


async def test_a_poll_that_is_cancelled_closes_its_connection(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        server.mood = Mood(silent=True)
        task = asyncio.create_task(reader.read())
        await until(lambda: server.requests == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: server.connections == 0)
        server.mood = Mood()
        assert (await rig.poll(reader))["power"] == 400.0
        await reader.close()


async def test_nobody_there_is_unreachable(rig: Rig) -> None:
    reader = rig.reader(HttpChannel("127.0.0.1", free_port()))
    with pytest.raises(Unreachable, match=r"no connection to 127\.0\.0\.1"):
        await reader.read()
    await reader.close()


async def test_one_that_measures_nothing_is_told_to_be_that(rig: Rig) -> None:
    rig.shelly = Shelly("switch", clock=lambda: rig.now)
    status = rig.shelly.status()
    del status["switch:0"]["apower"]
    rig.shelly.status = lambda: status  # type: ignore[method-assign]  # a relay without a meter
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        with pytest.raises(WrongAnswer, match="SNSW-001P16EU measures nothing"):
            await reader.read()
        await reader.close()
    assert rig.members == []


async def test_a_shelly_that_goes_away_comes_back_and_missed_intervals_stay_missed(rig: Rig) -> None:
    snapshots: list[Snapshot] = []
    async with ShellyServer(rig.shelly) as server:
        source = PolledSource("house", rig.reader(channel(server)), snapshots.append, period_s=0.1, timeout_s=20.0)
        task = asyncio.create_task(source.run())
        try:
            await until(lambda: len(snapshots) >= 2)
            await server.stop()
            await until(lambda: source.online is False)
            seen = len(snapshots)
            rig.now += 3600
            await server.start()
            await until(lambda: source.online is True and len(snapshots) > seen)
        finally:
            await end([task])
    assert {snapshot.time for snapshot in snapshots} == {NOON, NOON + 3600}
    assert snapshots[seen].values["energy_import"] == pytest.approx(0.5), "the counter tells what went by, no reading does"


# A broker


class Broker(Recorder):
    """A broker with a Shelly at it."""

    def __init__(self, shelly: Shelly) -> None:
        super().__init__()
        self.shelly = shelly
        self.deaf = False
        self.spoil: Callable[[dict[str, Any]], bytes] = lambda frame: json.dumps(frame).encode()
        self.connected = True

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        super().publish(topic, payload, retain=retain, qos=qos)
        assert not retain
        if topic == f"{self.shelly.name}/rpc" and not self.deaf:
            answer = self.shelly.answer(json.loads(payload))
            self.arrive(f"{answer['dst']}/rpc", self.spoil(answer))

    def tells(self, method: str, changed: object, *, retain: bool = False) -> None:
        frame = {"src": self.shelly.name, "dst": f"{self.shelly.name}/events", "method": method, "params": changed}
        self.arrive(f"{self.shelly.name}/events/rpc", json.dumps(frame).encode(), retain)


@pytest.fixture
def broker(rig: Rig) -> Broker:
    return Broker(rig.shelly)


@pytest.fixture
def mqtt(rig: Rig, broker: Broker) -> ShellyReader:
    return rig.reader(MqttChannel(rig.shelly.name, broker, "ohm-house", timeout_s=0.2))


async def test_over_a_broker_it_is_the_same(rig: Rig, broker: Broker, mqtt: ShellyReader) -> None:
    assert (await rig.poll(mqtt))["power"] == 400.0
    assert broker.subscriptions() == ["ohm-house/rpc", "shellypro3em-aabbccddeeff/events/rpc", "shellypro3em-aabbccddeeff/online"]
    asked = [json.loads(sent.payload) for sent in broker.sent]
    assert [question["method"] for question in asked] == ["Shelly.GetDeviceInfo", "Shelly.GetStatus"]
    assert {question["src"] for question in asked} == {"ohm-house"}
    assert len({question["id"] for question in asked}) == 2
    await mqtt.close()


async def test_a_change_it_tells_is_partial_and_what_is_absent_is_not_zero(rig: Rig, broker: Broker, mqtt: ShellyReader) -> None:
    rig.shelly.counts(1000.0)
    broker.tells("NotifyStatus", {"ts": NOON, "em:0": {"id": 0, "a_act_power": 1.0}})
    assert rig.emitted == [], "nobody knows yet what it is"
    await mqtt.read()
    rig.now += 2
    broker.tells("NotifyStatus", {"ts": NOON, "em:0": {"id": 0, "a_act_power": 2500.5, "total_act_power": 2600.0}})
    broker.tells("NotifyStatus", {"ts": NOON, "emdata:0": {"id": 0, "total_act": 3001.5}})
    broker.tells("NotifyStatus", {"ts": NOON, "wifi": {"rssi": -60}})
    broker.tells("NotifyEvent", {"ts": NOON, "events": []})
    broker.tells("NotifyStatus", {"ts": NOON, "em:0": {"a_act_power": 1.0}}, retain=True)
    broker.tells("NotifyStatus", ["nonsense"])
    assert [dict(snapshot.values) for snapshot in rig.emitted] == [
        {"power_l1": 2500.5, "power": 2600.0},
        {"counter_import": 3.0015, "energy_import": 3.0015},
    ]
    assert {snapshot.time for snapshot in rig.emitted} == {NOON + 2}, "the collector stamps the time"


async def test_a_phase_that_is_broken_stays_so_until_the_device_takes_it_back(rig: Rig, broker: Broker, mqtt: ShellyReader) -> None:
    rig.shelly.said["em:0", "a_errors"] = ["power_meter_failure"]
    await mqtt.read()
    broker.tells("NotifyStatus", {"em:0": {"a_act_power": 0.0, "b_act_power": 7.0, "total_act_power": 7.0}})
    del rig.shelly.said["em:0", "a_errors"]
    await mqtt.read()
    broker.tells("NotifyStatus", {"em:0": {"a_act_power": 5.0}})
    assert [dict(snapshot.values) for snapshot in rig.emitted] == [{"power_l2": 7.0}, {"power_l1": 5.0}]


async def test_silence_on_the_broker_and_a_last_will(rig: Rig, broker: Broker, mqtt: ShellyReader) -> None:
    await mqtt.read()
    broker.deaf = True
    with pytest.raises(NoAnswer):
        await mqtt.read()
    broker.arrive(f"{rig.shelly.name}/online", b"false", retain=True)
    with pytest.raises(Unreachable, match="is not connected to the broker"):
        await mqtt.read()
    broker.deaf = False
    assert (await rig.poll(mqtt))["power"] == 400.0, "whatever a broker has kept: one that answers is there"
    broker.connected = False
    with pytest.raises(Unreachable, match="the broker is away"):
        await mqtt.read()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: b"",
        lambda frame: b"{",
        lambda frame: b"null",
        lambda frame: json.dumps(frame | {"id": "7"}).encode(),
        lambda frame: json.dumps(frame | {"id": frame["id"] + 1}).encode(),
        lambda frame: json.dumps(frame | {"id": [1]}).encode(),
        lambda frame: b"x" * 100_000,
    ],
)
async def test_an_answer_that_is_none_is_not_taken_for_one(
    rig: Rig, broker: Broker, mqtt: ShellyReader, spoil: Callable[..., bytes]
) -> None:
    broker.spoil = spoil
    with pytest.raises(NoAnswer):
        await mqtt.read()


async def test_a_kept_answer_is_of_yesterday(rig: Rig, broker: Broker, mqtt: ShellyReader) -> None:
    broker.deaf = True
    reading = asyncio.create_task(mqtt.read())
    await until(lambda: len(broker.sent) == 1)
    answer = rig.shelly.answer(json.loads(broker.sent[0].payload))
    broker.arrive("ohm-house/rpc", json.dumps(answer).encode(), retain=True)
    with pytest.raises(NoAnswer):
        await reading


def test_the_profiles_say_what_positive_means() -> None:
    for name, sign in (("shelly-em", "import positive"), ("shelly-em1", "import positive"), ("shelly-pm1", "consumption positive")):
        powers = [point for point in library.load(name).points.values() if point.unit == "W"]
        assert powers
        assert {point.sign for point in powers} == {sign}


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0.005)


def test_a_message_of_a_broker_is_what_the_channel_takes() -> None:
    recorder = Recorder()
    channel = MqttChannel("shelly", recorder, "ohm-x")
    heard: list[object] = []
    channel.start(heard.append)
    assert channel.online is None
    recorder.arrive("shelly/online", b"true", True)
    assert channel.online is True
    recorder.arrive("shelly/online", b"yes", True)
    assert channel.online is True
    channel._take_events([Message("shelly/events/rpc", b'{"method":"NotifyFullStatus","params":{"em:0":{}}}', False)])
    assert heard == [{"em:0": {}}]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nobody would see it"),
        (("--port", "0", "--unkind", "rude"), "known are silent, html"),
        (("--port", "0", "--unkind", "cut=x"), "cut=BYTES"),
        (("--broker", "http://nas"), "write it mqtt://host"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(simulate, ["shelly", *arguments])
    assert result.exit_code == 2
    assert says in result.output

"""A Shelly over a broker: RPC, what it tells by itself, its last will, and what is none of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from ohmstead.errors import NoAnswer, Unreachable
from ohmstead.messages import Message
from ohmstead.sim.shelly import Shelly
from ohmstead.sources.shelly import ShellyReader
from ohmstead.sources.shelly_rpc import MqttChannel
from tests.publishing import Recorder
from tests.unit.shelly_rig import NOON, Rig, until


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
def rig() -> Rig:
    return Rig()


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


async def test_after_a_poll_that_failed_nobody_knows_who_speaks(
    rig: Rig, broker: Broker, mqtt: ShellyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shelly, "name", "shellypro3em-aabbccddeeff")  # its prefix, whichever device it is
    rig.shelly.counts(1000.0)
    await mqtt.read()
    broker.deaf = True
    with pytest.raises(NoAnswer):
        await mqtt.read()
    rig.now += 3600
    broker.tells("NotifyStatus", {"emdata:0": {"total_act": 90_000.0}, "em:0": {"total_act_power": 7.0}})  # another one by this name
    assert rig.emitted == []
    broker.deaf = False
    rig.shelly.mac = "112233445566"
    rig.shelly.counts(30_000.0)
    assert (await rig.poll(mqtt))["energy_import"] == 3.0, "what another one counted nobody has used here"
    broker.tells("NotifyStatus", {"em:0": {"total_act_power": 7.0}})
    assert [dict(snapshot.values) for snapshot in rig.emitted] == [{"power": 7.0}]


async def test_a_phase_that_is_broken_stays_so_until_the_device_takes_it_back(rig: Rig, broker: Broker, mqtt: ShellyReader) -> None:
    await mqtt.read()
    rig.shelly.said["em:0", "a_errors"] = ["power_meter_failure"]
    await mqtt.read()
    broker.tells("NotifyStatus", {"em:0": {"a_act_power": 0.0, "b_act_power": 7.0, "total_act_power": 7.0}})
    del rig.shelly.said["em:0", "a_errors"]
    await mqtt.read()
    broker.tells("NotifyStatus", {"em:0": {"a_act_power": 5.0}})
    assert [dict(snapshot.values) for snapshot in rig.emitted] == [{"power_l2": 7.0}, {"power_l1": 5.0}]
    assert [set(snapshot.gone) for snapshot in rig.emitted] == [{"power_l1", "power"}, set()]


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


async def test_a_broker_that_is_a_moment_late_is_waited_for(rig: Rig, broker: Broker) -> None:
    broker.connected = False
    reader = rig.reader(MqttChannel(rig.shelly.name, broker, "ohm-house", timeout_s=20.0))
    reading = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    assert broker.sent == []
    broker.connect()
    (snapshot,) = await reading
    assert snapshot.values["power"] == 400.0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: b"",
        lambda frame: b"{",
        lambda frame: b"null",
        lambda frame: json.dumps(frame | {"id": "7"}).encode(),
        lambda frame: json.dumps(frame | {"id": frame["id"] + 1}).encode(),
        lambda frame: json.dumps(frame | {"id": [1]}).encode(),
        lambda frame: json.dumps(frame).encode() + b" " * 100_000,
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

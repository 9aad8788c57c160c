"""A Shelly at a real broker, through the gateway's own connection to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ohmstead.mqtt import BrokerAddress, MqttClient
from ohmstead.readings import Snapshot
from ohmstead.sim.shelly import Shelly
from ohmstead.sim.shelly_mqtt import ShellyAtBroker
from ohmstead.sources.polling import PolledSource
from ohmstead.sources.shelly import ShellyReader
from ohmstead.sources.shelly_rpc import MqttChannel
from ohmstead.tasks import end
from tests.conftest import Broker


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0.01)
    assert condition(), what


class Nothing:
    """A memory that keeps nothing."""

    def read(self, key: str) -> str | None:
        return None

    def write(self, key: str, value: str) -> None:
        """Forgets it."""


async def test_it_is_polled_tells_what_changes_and_goes_with_its_last_will(broker: Broker) -> None:
    powers = [100.0, 200.0, 300.0]
    shelly = Shelly(watts=lambda _: powers)
    device = ShellyAtBroker(shelly, broker.host, broker.port, every=0.1)
    snapshots: list[Snapshot] = []
    mqtt = MqttClient(BrokerAddress(broker.host, broker.port, client_id="gateway"), "ohm/test/bridge/online")
    channel = MqttChannel(shelly.name, mqtt, "ohm-test-house", timeout_s=0.5)
    reader = ShellyReader("house", channel, lambda _: None, snapshots.append, Nothing())
    source = PolledSource("house", reader, snapshots.append, period_s=1.0, timeout_s=20.0)
    tasks = [asyncio.create_task(mqtt.run()), asyncio.create_task(source.run())]

    def heard(power: float) -> bool:
        return any(snapshot.values.get("power_l1") == power for snapshot in snapshots)

    try:
        await until(lambda: mqtt.connected and source.online is False, "nobody is there yet")
        device.start()
        await until(lambda: source.online and heard(100.0), "a poll")
        powers[0] = 150.0
        await until(lambda: heard(150.0), "a notification or a poll")
        partial = [snapshot for snapshot in snapshots if "voltage_l1" not in snapshot.values and "power_l1" in snapshot.values]
        assert partial, "only what changes is told, and nothing of the rest is made up"
        assert 0 not in [snapshot.values.get("voltage_l1") for snapshot in snapshots]
        device.stop()
        await until(lambda: channel.online is False and source.online is False, "its last will")
        device.start()
        await until(lambda: source.online, "it is back")
    finally:
        device.stop()
        await end(tasks)
        await mqtt.close()

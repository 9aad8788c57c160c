"""The demo's broker, whichever it is: it can be killed and comes back at the same port, and a listener hears on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.sim.broker import LocalBroker, NoBrokerError, find_mosquitto
from ohmstead.sim.children import free_port
from ohmstead.sim.listener import Listener
from tests.conftest import wait_for


@pytest.mark.parametrize("mosquitto", [True, False], ids=["mosquitto", "amqtt"])
def test_a_listener_hears_before_and_after_the_brokers_death(tmp_path: Path, mosquitto: bool) -> None:
    if mosquitto and find_mosquitto() is None:
        pytest.skip("no mosquitto on this machine")
    broker = LocalBroker(tmp_path, free_port(), mosquitto=mosquitto)
    assert broker.stands_in is not mosquitto
    broker.start()
    try:
        with Listener(broker.host, broker.port) as listener:
            for round_number in range(2):
                wait_for(lambda: listener.connected, what="the connection")
                topic = f"round/{round_number}"
                _publish_until_heard(listener, topic)
                assert listener.last(topic) == b"x"
                assert {message.topic for message in listener.all("round/+")} >= {topic}
                if round_number == 0:
                    broker.process.kill()
                    wait_for(lambda: not listener.connected, what="the disconnection")
                    broker.start()
    finally:
        broker.process.stop()


def _publish_until_heard(listener: Listener, topic: str) -> None:
    """A subscription may stand a moment after the connection."""

    def heard() -> bool:
        listener.publish(topic, "x")
        return bool(listener.all(topic))

    wait_for(heard, what="the message")


def test_without_any_broker_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ohmstead.sim.broker.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(NoBrokerError, match="apt install mosquitto"):
        LocalBroker(tmp_path, free_port(), mosquitto=False)

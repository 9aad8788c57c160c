"""What the gateway says about itself on MQTT."""

from __future__ import annotations

from ohmstead.publish.bridge import Bridge
from tests.publishing import Recorder, Sent


def test_it_introduces_itself_at_each_connection_and_reports_its_health_when_that_changes() -> None:
    broker = Recorder()
    health = {"state": "ok"}
    bridge = Bridge("home", broker, {"version": "1.2.3"}, lambda: health)
    bridge.start()
    bridge.tick(0.0)
    assert broker.take() == []

    broker.connect()
    bridge.tick(1.0)
    bridge.tick(2.0)
    introduced = [Sent("ohm/home/bridge/info", '{"version": "1.2.3"}', True, 0), Sent("ohm/home/bridge/health", '{"state": "ok"}', True, 0)]
    assert broker.take() == introduced

    health["state"] = "degraded"
    bridge.tick(3.0)
    assert broker.take() == [Sent("ohm/home/bridge/health", '{"state": "degraded"}', True, 0)]

    health["state"] = "ok"
    broker.connect()
    bridge.tick(4.0)
    assert broker.take() == introduced

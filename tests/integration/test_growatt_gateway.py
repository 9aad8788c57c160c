"""The whole gateway with a Growatt behind an OpenInverterGateway: whoever commands does not know which way it goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ohmstead.sim.growatt import Growatt
from ohmstead.sim.inverter_gateway import BASE, InverterGateway
from tests.conftest import Broker, wait_for
from tests.processes import Ear, Gateway

HOME = """
site: test
mqtt: {{url: "mqtt://127.0.0.1:{broker}"}}
store: {{path: test.db, flush: 100 ms}}
web: {{host: 127.0.0.1, port: {web}}}
log: {{format: json, level: debug}}
devices:
  growatt:
    profile: growatt-sph
    via: growatt-mqtt:{base}
    rated: 5 kW
    limits: {{soc: 15..95 %}}
    line: {{gap: 10 ms}}
"""
RESULT = "ohm/test/device/growatt/control/charge/result"


@pytest.fixture
def stick(broker: Broker) -> Iterator[InverterGateway]:
    inverter = Growatt(soc=50, sun=lambda _: 0.0, demand=lambda _: 500.0)
    inverter[1102] = 1
    inverter[1092] = 1
    with InverterGateway(inverter, broker.host, broker.port, every=0.5) as simulated:
        yield simulated


@pytest.fixture
def gateway(tmp_path: Path, broker: Broker) -> Iterator[Gateway]:
    with Gateway(tmp_path, broker, 0) as process:
        process.file.write_text(HOME.format(broker=broker.port, web=process.web, base=BASE))
        yield process


def command(ear: Ear, **said: object) -> None:
    ear.client.publish("ohm/test/bridge/request/command", json.dumps({"device": "growatt", **said}))


def answers(ear: Ear) -> list[tuple[str, str]]:
    told = [json.loads(payload) for topic, payload in list(ear.heard) if topic == RESULT]
    return [(answer["outcome"], answer["reason"]) for answer in told]


def test_a_charge_ends_with_its_lease_and_with_the_gateway_and_the_start_ends_what_was_there(
    gateway: Gateway, stick: InverterGateway, broker: Broker
) -> None:
    inverter = stick.inverter
    with Ear(broker) as ear:
        gateway.start()
        wait_for(lambda: inverter[1102] == 0 and inverter[1092] == 0, 40, "the end of what nobody wants any more")
        wait_for(lambda: ear.last("ohm/test/device/growatt/battery_soc") == b"50", 20, "telemetry as plain values")
        assert ear.last("ohm/test/device/growatt/online") == b"online"

        command(ear, control="charge", value="60", seconds=4)
        wait_for(lambda: ("done", "") in answers(ear), 40, "the result")
        assert {at: inverter[at] for at in (1090, 1091, 1092, 1102)} == {1090: 60, 1091: 95, 1092: 1, 1102: 1}
        assert inverter[1101] != 5947, "a slot that ends by itself"
        assert inverter[122] == 3
        wait_for(lambda: inverter[1102] == 0 and inverter[1092] == 0 and inverter[1090] == 100, 60, "the lease's end")
        wait_for(lambda: answers(ear)[-1][0] == "ended", 20, "the word of it")

        command(ear, control="charge", value="101", seconds=15)
        wait_for(lambda: answers(ear)[-1] == ("rejected", "out of range"), 20, "a rejection")
        _, stats = gateway.get("/stats")
        assert stats["devices"]["growatt"]["via"] == f"growatt-mqtt:{BASE}"
        assert stats["devices"]["growatt"]["bus"]["ok"] > 5

        command(ear, control="charge", value="60", seconds=600)
        wait_for(lambda: inverter[1102] == 1 and answers(ear)[-1] == ("done", ""), 40, "one more charge")
        assert gateway.end() == 0
        wait_for(lambda: inverter[1102] == 0 and inverter[1092] == 0, 20, "the end of it with the gateway's")

"""The whole gateway between a Miniserver and a Growatt: what Loxone says ends in the inverter's registers, and goes back by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ohmstead.sim.growatt import Growatt
from ohmstead.sim.inverter_gateway import BASE, InverterGateway
from tests.conftest import Broker, wait_for
from tests.integration.test_growatt_gateway import HOME
from tests.processes import Ear, Gateway

STATUS = "loxone/growatt/status"
RATE, AC, SLOT = 1090, 1092, 1102
PATIENCE_S = 60


@pytest.fixture
def inverter(broker: Broker) -> Iterator[Growatt]:
    simulated = Growatt(soc=50, sun=lambda _: 0.0, demand=lambda _: 500.0)
    with InverterGateway(simulated, broker.host, broker.port, every=0.5):
        yield simulated


@pytest.fixture
def gateway(tmp_path: Path, broker: Broker) -> Iterator[Gateway]:
    with Gateway(tmp_path, broker, 0) as process:
        process.file.write_text(HOME.format(broker=broker.port, web=process.web, base=BASE) + "loxone: {heartbeat: 1 s}\n")
        yield process


def test_a_miniserver_commands_a_charge_that_ends_by_itself_and_a_stop(gateway: Gateway, inverter: Growatt, broker: Broker) -> None:
    with Ear(broker) as ear:

        def say(topic: str, text: str) -> None:
            ear.client.publish(f"loxone/growatt/{topic}", text)

        def heard(key: str) -> bytes | None:
            return ear.last(f"{STATUS}/{key}")

        gateway.start()
        wait_for(lambda: heard("soc") == b"50" and heard("charge") == b"0", PATIENCE_S, "the state of charge, and nothing forced")
        say("timeout", "0,1")
        wait_for(lambda: heard("timeout") == b"0.1", PATIENCE_S, "the time that a command holds")
        say("charge/power", "2,5 kW")
        say("charge/enable", "ON")
        wait_for(lambda: (inverter[RATE], inverter[AC], inverter[SLOT]) == (50, 1, 1), PATIENCE_S, "the registers of a charge")
        wait_for(lambda: (heard("charge"), heard("charge_author")) == (b"2.5", b"loxone"), PATIENCE_S, "the word of it")
        wait_for(lambda: (inverter[AC], inverter[SLOT]) == (0, 0), PATIENCE_S, "the end of its time")
        wait_for(lambda: (heard("charge"), heard("charge_author")) == (b"0", b""), PATIENCE_S, "the word of that")

        say("charge/power", "-1")
        wait_for(lambda: heard("rejection") == b"out of range", PATIENCE_S, "the rejection")
        assert json.loads(ear.last("loxone/rejected") or b"{}")["topic"] == "loxone/growatt/charge/power"

        say("timeout", "60")
        say("export/power", "2,5")
        say("export/enable", "1")
        wait_for(lambda: inverter[123] == 500 and heard("export") == b"2.5", PATIENCE_S, "half of 5 kW may be exported")
        say("export/enable", " 0 ")
        wait_for(lambda: inverter[123] == 0 and heard("export") == b"0", PATIENCE_S, "no export")
        say("mode", "manual")
        say("mode", "AUTO")
        wait_for(lambda: inverter[123] == 1000 and heard("export") == b"5", PATIENCE_S, "the end of what was wished by hand")
        packed = dict(part.split("=", 1) for part in (ear.last(STATUS) or b"").decode().split(";"))
        whole = json.loads(ear.last(f"{STATUS}/json") or b"{}")
        assert (packed["mode"], packed["export"], whole["mode"], whole["export"]) == ("auto", "5", "auto", 5), "all ways say the same"

        say("discharge/enable", "1")
        wait_for(lambda: inverter[1082] == 1 and heard("discharge") == b"5", PATIENCE_S, "a discharge")
        say("stop", "1")
        wait_for(lambda: inverter[1082] == 0 and heard("mode") == b"stopped", PATIENCE_S, "the stop")
        say("stop", "0")
        say("reset", "1")
        wait_for(lambda: heard("mode") == b"auto", PATIENCE_S, "the release")
        _, stats = gateway.get("/stats")
        assert (stats["loxone"]["commands"], stats["loxone"]["commands_rejected"]) == (14, 1)
        assert 'ohmstead_loxone_total{kind="commands"} 14.0' in gateway.get("/metrics")[1]
        beats = int(heard("heartbeat") or 0)
        wait_for(lambda: int(heard("heartbeat") or 0) > beats, PATIENCE_S, "the heartbeat")
        assert gateway.end() == 0

"""From a Miniserver's word to the frame on the bus: `loxone/growatt/charge/power` at the broker, until the first bit of that frame.

All of it is real but the inverter: mosquitto, the gateway with its audit on disk, the node on MicroPython, a line of 9600 baud. The line
is idle when it is said: the node reads every ten seconds, and each wish comes well between two of these.

The first frame looks what the control's registers hold; a Growatt has two blocks of them and wants 250 ms between two frames, so that the
write comes two such reads later. What is left of its time without these is shown as well.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ohmstead.config import load
from ohmstead.sim.growatt import Growatt
from ohmstead.sim.listener import Listener
from ohmstead.sim.node import node_process, why_none
from ohmstead.sim.rtu import Line
from tests.bench.figures import Figure
from tests.bench.guard_rig import BAUD, Exchange, Recorded, load_now
from tests.bench.rig import OHMSTEAD, get, started, workplace
from tests.conftest import free_port, wait_for

BUDGET_MS = 150.0
PAUSE_S = 0.25
"""Between two frames of a Growatt."""

PERIOD_S = 10.0
SETTLED_S = 1.5
"""After the last exchange the line is idle: what follows a write (the other block, reading back) is over by then."""

ROOT = "loxone/growatt"
CONTROLS = {"charge": 1090, "discharge": 1070}
HOME = """\
mqtt: {{url: "mqtt://127.0.0.1:{broker}"}}
nodes:
  cellar: {{bus: {{port: {line}, baud: {baud}}}, key: "{key}"}}
devices:
  growatt:
    profile: growatt-sph
    via: cellar
    every: {{live: 10 s, energy: 1 h, settings: 1 h, static: 1 h}}
    rated: 5 kW
    limits: {{soc: 15..95 %}}
loxone: {{}}
store: {{path: bench.db}}
web: {{host: 127.0.0.1, port: {web}}}
log: {{level: warning}}
"""


@dataclass
class House:
    """A house in which a Miniserver says how much is to be charged or discharged."""

    station: Recorded
    miniserver: Listener

    def say(self, topic: str, text: str) -> None:
        self.miniserver.publish(f"{ROOT}/{topic}", text)

    def heard(self, key: str) -> str:
        return (self.miniserver.last(f"{ROOT}/status/{key}") or b"").decode()

    def since(self, moment: float) -> list[Exchange]:
        """What has been on the line since a moment of the monotonic clock."""
        return [seen for seen in list(self.station.exchanges) if seen.begin >= moment]

    def frames_of(self, address: int, rate: int, sent: float) -> tuple[Exchange, Exchange] | None:
        """The first frame of a command and the one that writes its rate (%); None: not yet."""
        at = address.to_bytes(2, "big")
        of_control = [seen for seen in self.since(sent) if seen.pdu[1:3] == at]
        writes = [seen for seen in of_control if seen.pdu[:1] == b"\x10" and seen.pdu[6:8] == rate.to_bytes(2, "big")]
        return (of_control[0], writes[0]) if writes else None

    def wait_for_silence(self) -> None:
        """Until the line has been idle for a while, and stays so for long enough."""
        wait_for(lambda: self._next_poll() - time.monotonic() > 3.0 and self._quiet_s() > SETTLED_S, 60, "an idle line")

    def _quiet_s(self) -> float:
        exchanges = self.station.exchanges
        return time.monotonic() - exchanges[-1].end if exchanges else 0.0

    def _next_poll(self) -> float:
        polls = [seen.begin for seen in list(self.station.exchanges) if seen.pdu[:1] == b"\x04"]
        return polls[-1] + PERIOD_S - 0.5 if polls else 0.0


def measure(quick: bool) -> list[Figure]:
    reason = why_none()
    if reason is not None:
        raise SystemExit(f"Loxone to the bus is not measured: {reason}")
    times = 10 if quick else 30
    chance = random.Random(1)
    firsts: list[float] = []
    writes: list[float] = []
    busy = 0
    with ExitStack() as parts:
        parts.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(0.0005)
        folder, broker = parts.enter_context(workplace())
        house = _house(parts, folder, broker.port)
        for control in CONTROLS:
            house.say(f"{control}/enable", "1")
            _wait_until_heard(house, control, "5")
            for rate in chance.sample(range(10, 100), times):
                house.wait_for_silence()
                time.sleep(chance.uniform(0.0, 0.5))
                first, write, idle = _commanded(house, control, rate)
                busy += not idle
                if idle:
                    firsts.append(first)
                    writes.append(write)
            house.say(f"{control}/enable", "0")
            _wait_until_heard(house, control, "0")
    return [
        Figure(
            "loxone: topic to the frame on an idle line, 99 of 100",
            _p99(firsts),
            "ms",
            BUDGET_MS,
            note=f"{_note(firsts)}, {busy} left out: not idle",
        ),
        Figure("loxone: topic to the write, without the reads and pauses before it", _p99(writes), "ms", note=_note(writes)),
    ]


def _commanded(house: House, control: str, rate: int) -> tuple[float, float, bool]:
    """Milliseconds until the first frame, and until the write without what the line needed for the frames before it; whether the line was
    idle: nothing else was on it from a pause before the word until that frame (the node also looks after its controls now and then)."""
    address, sent = CONTROLS[control], time.monotonic()
    house.say(f"{control}/power", f"{rate * 0.05:.2f}")
    wait_for(lambda: house.frames_of(address, rate, sent), 40, "the write")
    found = house.frames_of(address, rate, sent)
    assert found is not None
    first, write = found
    before = [seen for seen in house.since(sent) if first.begin <= seen.begin < write.begin]
    idle = not [seen for seen in house.since(sent - 2 * PAUSE_S) if seen.end > sent - PAUSE_S and seen.begin < first.begin]
    needed = sum(seen.end - seen.begin + PAUSE_S for seen in before)
    return 1000 * (first.begin - sent), 1000 * (write.begin - sent - needed), idle


def _wait_until_heard(house: House, key: str, text: str) -> None:
    wait_for(lambda: house.heard(key) == text, 40, f"{key} = {text}")


def _p99(waits: list[float]) -> float:
    return sorted(waits)[min(len(waits) - 1, int(len(waits) * 0.99))]


def _note(waits: list[float]) -> str:
    return f"of {len(waits)}, median {statistics.median(waits):.0f}, most {max(waits):.0f} ms; {load_now()}"


def _house(parts: ExitStack, folder: Path, broker: int) -> House:
    station = Recorded(Growatt(soc=50, sun=lambda _: 0.0, demand=lambda _: 500.0))
    line = parts.enter_context(Line({1: station}, baud=BAUD))
    web = free_port()
    file = folder / "ohmstead.yaml"
    file.write_text(HOME.format(broker=broker, line=line.path, baud=BAUD, key="5a" * 32, web=web))
    miniserver = parts.enter_context(Listener("127.0.0.1", broker))
    parts.enter_context(started(OHMSTEAD, "run", "-c", file, folder=folder))
    wait_for(lambda: get(f"http://127.0.0.1:{web}/ready")[0] == 200, 20, "the gateway")
    node = node_process(load(file), "cellar", folder)
    node.start()
    parts.callback(node.stop)
    house = House(station, miniserver)
    wait_for(
        lambda: house.heard("soc") == "50" and house.heard("charge") == "0" and house.heard("discharge") == "0", 60, "the first readings"
    )
    return house

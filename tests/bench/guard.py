"""The guard: how regularly it looks at its limits whatever happens around it, and how fast a safe value is on the wire.

The image that is flashed, on MicroPython's unix port in a heap of 200 kB; a real mosquitto; simulated inverters on lines of 9600 baud. What
an ESP32's flash and processor add is not in these figures.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgpack  # type: ignore[import-untyped] # it comes without types
import psutil

from ohmstead.config.model import Config
from ohmstead.nodes import package
from ohmstead.nodes.compile import node_config
from ohmstead.nodes.direct import Direct
from ohmstead.nodes.transfer import Transfer
from ohmstead.sim.growatt import UNIT, Growatt, PacedStation
from ohmstead.sim.rtu import Line
from tests.bench import reaction
from tests.bench.figures import Figure
from tests.bench.guard_rig import BAUD, content_of, evaluations, house, intervals_ms, load_now, probed, running, spread
from tests.bench.rig import workplace
from tests.bench.stalls import BlackHole, SilentNameServer, Stalling
from tests.conftest import Broker, wait_for
from tests.integration.node_harness import KEY, NODE, SITE, Gateway, seal
from tests.integration.node_slots import Board, changed

EVERY_MS = 250.0
TOLERANCE_MS = 50.0
COMMANDS_A_SECOND = 100
KEEPALIVE_S = 10
"""Shorter than a node's in a house, so that losing the connection and looking for a new one falls into the measurement."""


class Home(NamedTuple):
    """Everything but the node: where it is set up, the broker, a Growatt on its line, what was compiled for the node."""

    folder: Path
    broker: Broker
    gateway: Gateway
    config: Config
    compiled: bytes
    private_key: Path
    seconds: float

    def content(self, servers: list[tuple[str, int]]) -> bytes:
        """The node's configuration with other brokers, and without a budget: every command is carried out."""
        said = msgpack.unpackb(self.compiled[36:], strict_map_key=False)
        for control in content_of(said)["controls"]:
            del control["budget"]
        mqtt = said["mqtt"] | {"servers": [list(server) for server in servers], "keepalive": KEEPALIVE_S}
        return changed(self.compiled, mqtt=mqtt, buses=said["buses"], bus_report_ms=5000)

    @property
    def server(self) -> tuple[str, int]:
        return self.broker.host, self.broker.port


@contextmanager
def home(seconds: float) -> Iterator[Home]:
    with ExitStack() as parts:
        parts.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(0.0005)
        folder, broker = parts.enter_context(workplace())
        inverter = Growatt(soc=60, sun=lambda _: 1500.0, demand=lambda _: 500.0)
        line = parts.enter_context(Line({UNIT: PacedStation(inverter)}, baud=BAUD))
        gateway = parts.enter_context(Gateway(broker.host, broker.port))
        private, public = package.new_key_pair()
        (folder / "update.pem").write_bytes(private)
        (folder / "update.pub").write_bytes(public)
        config = house(folder, broker.port, line.path, folder / "update.pub")
        yield Home(folder, broker, gateway, config, node_config(config, NODE), folder / "update.pem", seconds)


def quiet(at: Home) -> list[float]:
    with running(at.folder / "quiet", at.content([at.server])) as board:
        return watched(board, at.seconds)


def black_hole(at: Home) -> list[float]:
    with BlackHole() as hole, running(at.folder / "hole", at.content([("127.0.0.1", hole.port)])) as board:
        found = watched(board, at.seconds)
        assert hole.accepted, "the node has to have met it"
        return found


def stopped_broker(at: Home) -> list[float]:
    """SIGSTOP: the connection stands, what is sent piles up, nothing comes back."""
    with running(at.folder / "stopped", at.content([at.server])) as board:
        connected(at)
        pid = next(c.pid for c in psutil.net_connections("tcp4") if c.laddr.port == at.broker.port and c.status == psutil.CONN_LISTEN)
        mosquitto = psutil.Process(pid)
        mosquitto.send_signal(signal.SIGSTOP)
        try:
            return watched(board, at.seconds)
        finally:
            mosquitto.send_signal(signal.SIGCONT)


def silent_names(at: Home) -> list[float]:
    with SilentNameServer() as server:
        names = server.write(at.folder / "resolv.conf")
        content = at.content([("broker.example.org", 1883), ("other.example.org", 1883)])
        with running(at.folder / "names", content, OHM_NODE_RESOLV_CONF=names) as board:
            found = watched(board, at.seconds)
        assert server.asked() > 1, "the node has to have asked"
        return found


def half_a_packet(at: Home) -> list[float]:
    with Stalling(at.broker.port) as proxy, running(at.folder / "half", at.content([("127.0.0.1", proxy.port)])) as board:
        connected(at)
        proxy.stalling = True
        found = watched(board, at.seconds)
        assert proxy.halves, "half a packet has to have arrived"
        return found


def commands(at: Home) -> list[float]:
    """Authentic ones, each another value: forced discharging at 20 to 60 % for a minute."""
    with running(at.folder / "commands", at.content([at.server])) as board:
        connected(at)
        layout, context = at.config.layout("growatt", "discharge"), f"{SITE}/{NODE}/command".encode()
        begin = time.monotonic()
        for number in range(round(at.seconds * COMMANDS_A_SECOND)):
            time.sleep(max(begin + number / COMMANDS_A_SECOND - time.monotonic(), 0.0))
            _, body = at.gateway.body("discharge", layout.octets(20 + number % 41), name="growatt", lease_ms=60_000)
            at.gateway.publish("down/command", seal(KEY, context, body))
        end = time.monotonic()
        assert end - begin < at.seconds * 1.05, "commands were not sent at the rate that is to be measured"
        wait_for(lambda: at.gateway.heard("result"), 20, "results of commands")
        return intervals_ms(evaluations(board.lines), begin, end)


def update(at: Home) -> list[float]:
    """An image of the node's own size, over and over: from the offer until the node has verified it. What follows is a restart."""
    signed = package.sign(package.pack(probed()), package.read_private_key(at.private_key))
    found: list[float] = []
    with running(at.folder / "update", at.content([at.server])) as board:
        over = time.monotonic() + at.seconds
        while time.monotonic() < over:
            slot = board.boot[0]
            wait_for(lambda: board.boot[3] == "1", 30, "a confirmed image")
            connected(at)
            with Direct(at.config, f"{NODE}/up/event") as direct:
                begin = time.monotonic()
                Transfer(direct, at.config, NODE, "update", signed).send()
                end = time.monotonic()
            found += intervals_ms(evaluations(board.lines), begin, end)
            wait_for(partial(another, board, slot), 30, f"the new image; the node says {board.log}")
    return found


def another(board: Board, slot: str) -> bool:
    """Whether the node has left this slot for the other one, for good."""
    return board.boot[0] != slot and board.boot[3] == "1"


def connected(at: Home) -> None:
    """Until the node that was just started is heard."""
    before = len(at.gateway.frames)
    wait_for(lambda: len(at.gateway.frames) > before, 20, "a frame of the node")


def watched(board: Board, seconds: float) -> list[float]:
    begin = time.monotonic()
    time.sleep(seconds)  # the length of the measurement
    return intervals_ms(evaluations(board.lines), begin, time.monotonic())


SITUATIONS: dict[str, Callable[[Home], list[float]]] = {
    "nothing happens": quiet,
    "the broker is a black hole": black_hole,
    "the broker is stopped": stopped_broker,
    "no name server answers": silent_names,
    "half a packet has come": half_a_packet,
    "100 commands a second": commands,
    "an update is received": update,
}


def measure(quick: bool) -> list[Figure]:
    figures: list[Figure] = []
    for words, situation in SITUATIONS.items():
        with home(10.0 if quick else 40.0) as at:
            try:
                found = situation(at)
            except BaseException:
                print(f"  in the situation: {words}", flush=True)
                raise
            done = sum(event.detail["stage"] == "done" for event in at.gateway.heard("result"))
            answered = len(at.gateway.heard("result"))
        worst = max(abs(interval - EVERY_MS) for interval in found)
        note = f"{spread(found)}; {len(found)} intervals, {load_now()}"
        figures.append(Figure(f"guard, {words}: limit check off its 250 ms by", worst, "ms", TOLERANCE_MS, note=note))
        if situation is commands:
            note = f"of {answered} answered; the inverter wants 250 ms between two frames, so three or four exchanges are a command"
            figures.append(Figure(f"guard, {words}: carried out", done, "", 1, "at least", note))
    return figures + reaction.measure(quick)

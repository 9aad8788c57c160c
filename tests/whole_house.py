"""A whole house on one machine: every source simulated, a broker, and the gateway as a process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ohmstead.sim.children import Child, free_port
from ohmstead.sim.listener import Listener
from ohmstead.sim.neighbours import Neighbours

DAY, HOUR = "2026-06-21", 11.0

_CONFIGURATION = """\
mqtt: {{url: 'mqtt://{broker}'}}
store: {{path: house.db}}
web: {{port: {page}}}
home_assistant: {{entities: {entities}}}
devices:
{devices}
"""


class WholeHouse:
    """`periods`: seconds between the polls of a device, where they are not the simulation's own. Use it as a context."""

    def __init__(self, folder: Path, broker: str, periods: Mapping[str, float] | None = None, entities: str = "contract") -> None:
        self.neighbours = Neighbours(DAY, HOUR)
        if periods is not None:
            known = self.neighbours.known.items()
            self.neighbours.known = {name: one._replace(every_s=periods.get(name, one.every_s)) for name, one in known}
        self.page = free_port()
        self._folder = folder
        self._broker = broker
        self._entities = entities
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        self._parts.enter_context(self.neighbours)
        host, _, port = self._broker.partition(":")
        self.listener = self._parts.enter_context(Listener(host, int(port)))
        path = self._folder / "ohmstead.yaml"
        devices = "\n".join(self.neighbours.configuration())
        path.write_text(
            _CONFIGURATION.format(broker=self._broker, page=self.page, devices=devices, entities=self._entities), encoding="utf-8"
        )
        command = [sys.executable, "-m", "ohmstead", "run", "-c", str(path)]
        self.gateway = Child("the gateway", command, self._folder / "gateway.log", folder=self._folder)
        self._parts.callback(self.gateway.stop)
        self.gateway.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._parts.close()

    @property
    def devices(self) -> list[str]:
        return list(self.neighbours.known)

    def online(self, device: str, since: float = 0.0) -> str | None:
        """What was last said of it."""
        said = self.listener.last(f"ohm/home/device/{device}/online", since)
        return None if said is None else said.decode()

    def value(self, device: str, since: float = 0.0) -> str | None:
        """Its telling point, if it was published since a moment."""
        said = self.listener.last(f"ohm/home/device/{device}/{self.neighbours.known[device].point}", since)
        return None if said is None else said.decode()

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> float:
        """Seconds until it came true. Raises TimeoutError, and ChildEndedError when the gateway ends."""
        began = time.monotonic()
        while not condition():
            self.gateway.check()
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{what} did not come within {seconds:g} s")
            time.sleep(0.02)
        return time.monotonic() - began

    def log(self) -> str:
        return (self._folder / "gateway.log").read_text(encoding="utf-8")

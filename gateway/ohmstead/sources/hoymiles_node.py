"""A Hoymiles DTU that a node reads: its frames carry so many records as its owner said, at places that never change.

Where the list ends only its content tells: behind the last record is one without a serial number, or nothing. A frame that was read before
the newest one that was taken says nothing any more: energies would fall.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from ohmcore.errors import FrameError
from ohmstead.errors import SourceError
from ohmstead.profiles.hoymiles import FIRST_RECORD, RECORD_STEP, SERIAL_AT, reads_of
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.hoymiles_figures import PollFigures
from ohmstead.sources.hoymiles_plant import DtuPlant, PortList
from ohmstead.sources.hoymiles_records import Record, parse, serial_of

log = structlog.get_logger(service="hoymiles")

_SAME_S = 5.0
"""A frame that comes again after a restart may have another time by so much: the node's clock is known better or worse by then."""
_AHEAD_S = 60.0
"""What was remembered from later than now by more than this has its time from a clock that was wrong."""


class DtuTaker:
    """Takes the frames of one DTU with `ports` PV ports. `start` before the first `take`; `run`, until cancelled, keeps the production."""

    def __init__(self, plant: DtuPlant, ports: int) -> None:
        self.figures = PollFigures()
        self.partial = False
        """Whether something was missing in the last frame."""
        self._plant = plant
        self._ports = ports
        self._planned = {(read.function, read.address, 2 * read.count) for read in reads_of(ports)}
        self._began = False
        self._news = asyncio.Event()
        self._told = False

    async def start(self) -> None:
        """Where what was produced so far cannot be read, frames are worth nothing until it can be."""
        try:
            await self._plant.restore()
        except SourceError as error:
            if not self._told:
                advice = "mend what the reason says; it is tried again with each frame"
                log.error("its readings are left out", device=self._plant.device, reason=str(error), advice=advice)
            self._told = self.partial = True
            return
        if self._told:
            log.info("its readings are taken again", device=self._plant.device)

    async def run(self) -> None:
        """Remembers what was produced, after each frame."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                if self._plant.restored:
                    await self._plant.keep()
                else:
                    await self.start()
        finally:
            await self._plant.close()

    def take(self, ranges: Sequence[tuple[int, int, bytes]], at: float, *, live: bool, age: float) -> Sequence[Snapshot]:
        """What the ranges of a frame say that was read at `at` (UTC seconds), the plant first; nothing where not one record came, of a
        time before what was known at the start, or while that cannot be read. `live` and `age` as in Snapshot.

        Frames have to come in the order of their times. Raises FrameError for ranges that are not the DTU's.
        """
        octets = self._sorted(ranges)
        if not self._plant.restored:
            self._news.set()
            return []
        if not self._began and at + _SAME_S < self._plant.seen <= at + age + _AHEAD_S:
            return []
        faults = []
        if SERIAL_AT in octets:
            self._plant.serial = serial_of(octets[SERIAL_AT])
        else:
            faults.append("the DTU does not tell its serial number")
        found = self._list(octets)
        if found is None:
            return []
        self._began = True
        snapshots = self._plant.snapshots(found, faults, at, live=live, age=age)
        self.figures.succeeded(at, None)
        self.partial = any(snapshot.quality is not Quality.GOOD for snapshot in snapshots)
        self._news.set()
        return snapshots

    def _sorted(self, ranges: Sequence[tuple[int, int, bytes]]) -> dict[int, bytes]:
        """The ranges by their address."""
        octets: dict[int, bytes] = {}
        for function, address, came in ranges:
            if (function, address, len(came)) not in self._planned:
                raise FrameError(
                    f"function {function}, {len(came) // 2} registers from {address}: nothing of a DTU with {self._ports} ports"
                )
            octets[address] = came
        return octets

    def _list(self, octets: dict[int, bytes]) -> PortList | None:
        """The records until the first that has no serial number. None if the very first did not come: that says nothing."""
        records: list[Record] = []
        for place in range(self._ports + 1):
            came = octets.get(FIRST_RECORD + RECORD_STEP * place)
            if came is None:
                if place == self._ports:
                    return PortList(records)  # nothing is mapped behind the last one
                if not records:
                    return None
                return PortList(records, f"record {place + 1} did not come; if there are only {place} ports write `ports: {place}`")
            record = parse(came)
            if record is None:
                return PortList(records)
            records.append(record)
        return PortList(records, f"there are more than the `ports: {self._ports}` of the configuration")

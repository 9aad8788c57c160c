"""Puts together what a Miniserver has to do with this home: its commands, the status that it hears, UDP both ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from ohmstead.config.loxone import Loxone as Section
from ohmstead.control.arbitration import Arbitration
from ohmstead.messages import Messenger
from ohmstead.publish.loxone_answers import LoxoneAnswers
from ohmstead.publish.loxone_commands import LoxoneCommands, Memory, Reset
from ohmstead.publish.loxone_status import LoxoneStatus
from ohmstead.publish.loxone_udp import LoxoneBridge
from ohmstead.publish.outlet import Outlet
from ohmstead.readings import Snapshot
from ohmstead.sources.loxone_udp import LoxoneUdp


class Loxone:
    """The parts. `outlets` are to be treated like all others; `start` before the broker connection, `close` before the arbiter's.

    `record` takes readings for the store, `memory` keeps what is to be known after a restart, `reset` ends what a stop latched;
    `wall` and `mono` in seconds.
    """

    def __init__(
        self,
        section: Section,
        zone: ZoneInfo,
        messenger: Messenger,
        arbitration: Arbitration,
        record: Callable[[Snapshot], None],
        *,
        memory: Memory | None = None,
        reset: Reset | None = None,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._section = section
        self.answers = LoxoneAnswers(messenger, mono=mono)
        self.commands = LoxoneCommands(messenger, arbitration, self.answers, memory, reset)
        self.status = LoxoneStatus(messenger, arbitration, self.answers, section.heartbeat)
        self.outlets: list[Outlet] = [self.status]
        self.readings: LoxoneUdp | None = None
        self.bridge: LoxoneBridge | None = None
        if section.udp_in is not None:
            self.readings = LoxoneUdp(zone, messenger, record, wall=wall, senders=section.udp_in.senders)
            self.outlets.append(self.readings)
        if section.udp_out is not None:
            self.bridge = LoxoneBridge(messenger, section.udp_out.topics, section.udp_out.host, section.udp_out.port)
            self.outlets.append(self.bridge)

    async def start(self) -> None:
        """Listens. Raises OSError where the UDP port cannot be had."""
        await self.commands.recall()
        self.commands.start()
        if self.readings is not None and self._section.udp_in is not None:
            await self.readings.listen(self._section.udp_in.host, self._section.udp_in.port)

    async def close(self) -> None:
        """Takes no more commands. The outlets say goodbye by themselves."""
        await self.commands.close()

    def figures(self) -> Mapping[str, int]:
        """What was counted, for whoever shows it."""
        commands, readings, bridge = self.commands, self.readings, self.bridge
        found = {
            "commands": commands.received,
            "commands_retained": commands.retained,
            "commands_coalesced": commands.coalesced,
            "commands_rejected": sum(self.answers.rejected.values()),
        }
        if readings is not None:
            found |= {"udp_readings": readings.received, "udp_malformed": readings.malformed}
            found |= {"udp_strangers": readings.strangers, "udp_crowded": readings.crowded}
        if bridge is not None:
            found |= {"udp_sent": bridge.sent, "udp_dropped": bridge.dropped}
        return found

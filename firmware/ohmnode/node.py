"""Puts the node together and runs it."""

import asyncio
import gc
import sys

from ohmcore import const, frames
from ohmnode import VERSION, configuration
from ohmnode.bus import Bus
from ohmnode.link import Link, root_of
from ohmnode.mailbox import Mailbox
from ohmnode.supervisor import Supervisor
from ohmnode.vitals import Vitals

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal
    from ohmnode.commands import Commands
    from ohmnode.configuration import Configuration
    from ohmnode.outbox import Outbox
    from ohmnode.packets import Pipe
    from ohmnode.supervisor import Ward

_BUS_LIMIT_MS = const(20000)
_LINK_LIMIT_MS = const(25000)
_REPORT_LIMIT_MS = const(10000)
_GOOD_AFTER_MS = const(60000)


class Node:
    def __init__(self, hal: "Hal", configured: "Configuration", outbox: "Outbox", pipe: "Pipe") -> None:
        content = configured.content
        self._hal = hal
        self._configured = configured
        self._outbox = outbox
        self._vitals = Vitals()
        key = content.get("key")
        self._commands: "Commands | None" = None
        if key:
            from ohmnode.commands import Commands  # memory that a node without a key need not spend

            self._commands = Commands(hal, self._outbox, key, "{}/{}/command".format(content["site"], content["node"]).encode())
        self._capabilities = ["rtu", "vitals"] + (["commands"] if key else [])
        self._buses = [Bus(hal, bus, self._outbox, self._vitals, self._commands) for bus in content["buses"]]
        self._mailbox = Mailbox(root_of(content), outbox, self._commands)
        self._link = Link(hal, content, outbox, pipe, self._vitals, self._mailbox, self._hello)
        self._supervisor = Supervisor(hal, self._outbox)
        self._report_ms = max(content["bus_report_ms"], 100)
        self._wifi = content.get("wifi")
        configured.content = {}  # all that is needed of it has been taken

    async def run(self) -> int:
        """For ever; returns an exit code where the machine has somebody to give up to."""
        outbox = self._outbox
        configured = self._configured
        outbox.log("node", f"ohmstead node {VERSION} on {self._hal.name}, boot {outbox.boot}, configuration {configured.source}")
        if configured.complaint:
            outbox.log("node", f"not the current configuration: {configured.complaint}")
        cause = {"cause": self._hal.reset_cause(), "firmware": VERSION, "configuration": configured.source}
        if configured.complaint:
            cause["complaint"] = configured.complaint[:120]
        outbox.event("", "restart", cause)
        self._hal.network_start(self._wifi)
        for bus in self._buses:
            self._supervisor.add(bus.name, bus.run, _BUS_LIMIT_MS)
        self._supervisor.add("link", self._link.run, _LINK_LIMIT_MS)
        self._supervisor.add("report", self._report, _REPORT_LIMIT_MS)
        gc.collect()
        return await self._supervisor.run()

    def _hello(self) -> memoryview:
        outbox = self._outbox
        frames.pack_hello(
            outbox.packer,
            (
                "{} {} {}".format(VERSION, self._hal.name, ".".join([str(part) for part in sys.implementation.version[:3]])),
                outbox.boot,
                self._outbox.uptime_ms(),
                self._configured.fingerprint,
                "-",
                self._hal.reset_cause(),
                self._capabilities,
                outbox.spool.first_seq(),
            ),
        )
        return memoryview(outbox.packer.buffer)[: outbox.packer.length]

    async def _report(self, ward: "Ward") -> None:
        """Counters now and then; the configuration becomes the last good one when it has worked for a while."""
        good_after = self._hal.setting("good_after_ms", _GOOD_AFTER_MS)
        good = self._configured.source != configuration.CURRENT
        due = self._outbox.uptime_ms() + self._report_ms
        while True:
            ward.beat()
            await asyncio.sleep_ms(min(self._report_ms, 500))
            now = self._outbox.uptime_ms()
            if not good and now >= good_after and self._link.connected and not self._supervisor.restarts():
                good = True
                if configuration.keep_as_good(self._hal, self._configured.fingerprint):
                    self._outbox.log("node", "this configuration works: kept as the last good one")
            if now >= due:
                due += self._report_ms * ((now - due) // self._report_ms + 1)
                self._report_counters()

    def _report_counters(self) -> None:
        """Not while nobody takes them: they only grow, and would push out of the spool what happened."""
        spool = self._outbox.spool
        if not self._link.connected or spool.crowded():
            return
        lag_ms = self._supervisor.take_lag()
        for bus in self._buses:
            bus.report(lag_ms)
        link = {
            "connections": self._link.connections,
            "acks": self._mailbox.acks,
            "refused": dict(self._mailbox.refused),
            "oversized": self._link.pipe.oversized,
            "held": len(spool),
            "dropped": spool.dropped_count,
            "restarts": self._supervisor.restarts(),
            "memory_free": self._hal.memory_free(),
        }
        self._outbox.event("", "link", link)

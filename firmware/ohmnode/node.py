"""Puts the node together and runs it."""

import asyncio
import gc
import sys

from ohmcore import const, frames
from ohmnode import VERSION, overlay
from ohmnode.bus import Bus
from ohmnode.link import Link, root_of
from ohmnode.mailbox import Mailbox
from ohmnode.supervisor import Supervisor
from ohmnode.vitals import Vitals

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal
    from ohmnode.commands import Commands
    from ohmnode.guard import Guard
    from ohmnode.start import Life
    from ohmnode.supervisor import Ward
    from ohmnode.transfer import Transfers

_BUS_LIMIT_MS = const(20000)
_LINK_LIMIT_MS = const(25000)
_REPORT_LIMIT_MS = const(10000)
_GUARD_LIMIT_MS = const(5000)
_AGAIN_MS = const(2000)
_SAFE = "safe"  # as in `slots`
_PARK_TURNS = const(500)
_PARK_MS = const(10)


class Node:
    """`content`: the configuration's map. The image of the last resort talks to the gateway and leaves the buses alone."""

    def __init__(self, hal: "Hal", content: "dict[str, Any]", life: "Life") -> None:
        outbox = life.outbox
        if life.slot == _SAFE:
            content["buses"] = []
        self._hal = hal
        self._life = life
        self._outbox = outbox
        self._vitals = Vitals()
        key = content.get("key")
        self._guard: "Guard | None" = None
        devices = [device for bus in content["buses"] for device in bus["devices"]]
        if any(device["controls"] and not device.get("read_only") for device in devices):
            from ohmnode.guard import Guard  # memory that a node which only reads need not spend

            overlay.lay("arm")
            self._guard = Guard(hal, outbox, content)
        self._commands: "Commands | None" = None
        self._key: "bytes | None" = key
        self._read_only = [device["name"] for device in devices if device.get("read_only")]
        self._buses = [Bus(hal, bus, self._outbox, self._vitals, self._guard) for bus in content["buses"]]
        self._mailbox = Mailbox(root_of(content), outbox, None, self._guard)
        self._transfers: "Transfers | None" = None
        self._root = "{}/{}/".format(content["site"], content["node"])
        self._update_key = content.get("update_key")
        if key:
            self._mailbox.transfer = self._transfer
            self._mailbox.pause = self.pause
        self._link = Link(hal, content, outbox, life.pipe, self._vitals, self._mailbox, self)
        if self._guard is not None:
            self._guard.connected = self._link.is_connected
            self._guard.bind([device for bus in self._buses for device in bus.devices])
            overlay.lift("arm")
        supervisor = self._supervisor = Supervisor(hal, self._outbox)
        for bus in self._buses:
            supervisor.add(bus.name, bus.run, _BUS_LIMIT_MS)
        supervisor.add("link", self._link.run, _LINK_LIMIT_MS)
        if self._guard is not None:
            supervisor.add("guard", self._guard.run, _GUARD_LIMIT_MS)
        supervisor.add("report", self._report, _REPORT_LIMIT_MS)
        self._report_ms = max(content["bus_report_ms"], 100)
        self._wifi = content.get("wifi")

    def _restart(self, _identity: "int | str", _words: bytes) -> str:
        self.leave("")
        return ""

    def _scan(self, _identity: "int | str", words: bytes) -> str:
        """`words`: first unit, last unit, and which bus, from 0 on."""
        if len(words) != 6 or words[5] >= len(self._buses) or words[0] or words[2] or words[4]:
            return "malformed"
        return self._buses[words[5]].scan(words[1], words[3])

    def leave(self, outcome: str) -> None:
        """Makes `run` return this at the next opportunity: the configuration to go on with, or nothing ("") for a restart."""
        self._supervisor.leave = outcome

    def _transfer(self, kind: str, message: bytes) -> None:
        try:
            if self._transfers is None and self._commands is not None:
                from ohmnode.transfer import Transfers

                overlay.lay("transfers")  # memory that is spent by whoever gets one
                self._transfers = Transfers(
                    self._hal, self._outbox, self._commands, self._root, self._update_key, self._life.slot, self.leave
                )
            if self._transfers is not None:
                overlay.lay("incoming", overlay.SPARE)
                self._transfers.take(kind, message)
        except MemoryError:  # whoever sends it sends it again
            self.pause()
            self._outbox.spool.put_off()

    def pause(self) -> None:
        """What is coming down goes on with the next offer of it, from where it is."""
        if self._transfers is not None and self._transfers.pause():
            self._transfers = None
            overlay.lift("incoming")
            overlay.lift("finish")
            overlay.lift("transfers")
        overlay.lift("fetch")

    async def run(self) -> "int | str":
        """Until it is to be left, see `leave`; or an exit code where the machine has somebody to give up to."""
        if self._guard is not None:
            overlay.lay("duty")
            overlay.lay("resume")
            self._guard.start()
            overlay.lift("resume")
        if self._key:
            from ohmnode.commands import Commands  # memory that a node without a key need not spend

            commands = Commands(self._hal, self._outbox, self._key, f"{self._root}command".encode(), self._guard, self._read_only)
            commands.system["restart"] = self._restart
            commands.system["scan"] = self._scan
            self._commands = self._mailbox.commands = commands
        self._outbox.recall()
        self._hal.network_start(self._wifi)
        gc.collect()
        overlay.reserve(True)
        outcome = await self._supervisor.run()
        if isinstance(outcome, str):
            self.pause()
            overlay.lift("authority")
            overlay.reserve(False)
            overlay.lay("leave")
            await self._end(outcome)
            overlay.lift("leave")
            overlay.lift("duty")
        return outcome

    async def _end(self, outcome: str) -> None:
        """Before a restart what waits goes to flash. Leases end, each bus finishes what it is at; then everything is let go. A device that
        does not answer is not waited for.
        """
        spool = self._outbox.spool
        waits = -1
        while not outcome and spool.fresh != waits and spool.fresh:
            waits = spool.fresh
            spool.away = True
            spool.retry_s = 0
            spool.tend(self._outbox.uptime_ms() // 1000, True)
        for _ in range(_PARK_TURNS):
            if self._guard is None or self._guard.end("restart"):
                break
            await asyncio.sleep_ms(_PARK_MS)
        for bus in self._buses:
            bus.hold = True
            bus.wake()
        for _ in range(_PARK_TURNS):
            if all(bus.parked for bus in self._buses):
                break
            await asyncio.sleep_ms(_PARK_MS)
        await self._supervisor.end()
        self._outbox.added = None

    def hello(self) -> memoryview:
        outbox = self._outbox
        capabilities = ["rtu", "vitals"] + (["commands"] if self._key else []) + (["leases"] if self._guard else [])
        frames.pack_hello(
            outbox.packer,
            (
                "{} {} {}".format(VERSION, self._hal.name, ".".join([str(part) for part in sys.implementation.version[:3]])),
                outbox.boot,
                self._outbox.uptime_ms(),
                self._life.fingerprint,
                self._life.slot or "-",
                self._hal.reset_cause(),
                capabilities,
                outbox.spool.first_seq(),
            ),
        )
        return memoryview(outbox.packer.buffer)[: outbox.packer.length]

    async def _report(self, ward: "Ward") -> None:
        """Counters now and then; and a look at what has yet to prove itself."""
        proof: "Proof | None" = None
        proven = False
        full: "int | None" = None  # why the flash took nothing, as far as that was told
        began = self._outbox.uptime_ms()
        due = began + self._report_ms
        while True:
            ward.beat()
            await asyncio.sleep_ms(min(self._report_ms, 500))
            now = self._outbox.uptime_ms()
            overlay.reserve(True)
            self._outbox.tend()
            if self._transfers is not None and self._transfers.idle():
                self.pause()
            if self._commands is not None:
                self._commands.rest()
            try:
                if now >= due:
                    next_ms = due + self._report_ms * ((now - due) // self._report_ms + 1)
                    due = now + _AGAIN_MS  # if it finds no memory
                    overlay.lay("report")
                    self._report_counters()
                    overlay.lift("report")
                    due = next_ms
                if not proven:
                    if proof is None:  # now, when what the start takes has been given back
                        from ohmnode.proof import Proof  # memory that is given back when all is proven

                        proof = Proof(self._hal, self._life, began)
                    outcome = proof.step(self._link.connected, self._supervisor.restarts())
                    if outcome is not None:
                        self.leave(outcome)
                    if proof.done():
                        proven = True
                        proof = None
            except MemoryError:
                self._outbox.spool.put_off()
                overlay.lift("report")
            except OSError as failure:  # the flash takes nothing just now
                if failure.errno != full:
                    full = failure.errno
                    self._outbox.log("node", f"nothing can be proven: {failure}")

    def _report_counters(self) -> None:
        """Not while nobody takes them: they only grow, and would push out of the spool what happened."""
        spool = self._outbox.spool
        if not self._link.connected or spool.crowded():
            return
        lag_ms = self._supervisor.take_lag()
        for bus in self._buses:
            bus.report(lag_ms)
        hal = self._hal
        temperature = hal.temperature()
        link = {
            "connections": self._link.connections,
            "acks": self._mailbox.acks,
            "refused": dict(self._mailbox.refused),
            "oversized": self._link.pipe.oversized,
            "held": len(spool),
            "dropped": spool.dropped_count,
            "flash": spool.flash.report() if spool.flash is not None else [0, 0] + spool.lost if spool.opener is not None else None,
            "restarts": self._supervisor.restarts(),
            "lag_max_ms": lag_ms,
            "memory_free": hal.memory_free(),
            "postponed": spool.postponed,
            "stack": hal.stack(),
            "flash_writes": hal.flash_writes,
            "flash_bytes": hal.flash_bytes,
            "reset_cause": hal.reset_cause(),
            "latched": None if self._guard is None else self._guard.cause,
            "rssi": hal.rssi(),
            "temperature": None if temperature is None else round(temperature),
        }
        for name in [name for name in link if link[name] is None]:
            del link[name]  # what this machine cannot tell is not there
        self._outbox.event("", "link", link)

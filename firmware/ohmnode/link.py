"""The link task: one session with a broker after the other. umqtt.simple makes and reads the packets, in memory (`packets.py`)."""

import asyncio

from ohmcore import const
from ohmnode import overlay
from ohmnode.waiter import Waiter

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal
    from ohmnode.mailbox import Mailbox
    from ohmnode.node import Node
    from ohmnode.outbox import Outbox
    from ohmnode.packets import Pipe
    from ohmnode.supervisor import Ward
    from ohmnode.vitals import Vitals

_STEADY_MS = const(10000)
_FIRST_MS = const(1000)
_MOST_MS = const(30000)
_STEP_MS = const(500)
_STARVED = const(10)


class Link:
    """`connections` counts the sessions that came about."""

    def __init__(
        self,
        hal: "Hal",
        content: "dict[str, Any]",
        outbox: "Outbox",
        pipe: "Pipe",
        vitals: "Vitals",
        mailbox: "Mailbox",
        node: "Node",
    ) -> None:
        mqtt = content["mqtt"]
        self.root = root_of(content)
        self.name = "ohm-{}-{}".format(content["site"], content["node"]).encode()
        self.user = mqtt["user"].encode() if mqtt.get("user") else None
        self.password = (mqtt.get("password") or "").encode()
        self.tls = bool(mqtt.get("tls"))
        self.keepalive_ms = int(mqtt.get("keepalive") or 30) * 1000
        self.connected = False
        self.connections = 0
        self.pipe = pipe
        self.node = node
        self.mailbox = mailbox
        self.vitals = vitals
        self._hal = hal
        self.outbox = outbox
        self._servers = mqtt["servers"]
        self._found: "dict[str, str]" = {}
        self._waiter: "Waiter | None" = None
        outbox.added = self.wake

    def is_connected(self) -> bool:
        """For the guard, which knows no link."""
        return self.connected

    def log(self, words: str) -> None:
        self.outbox.log("link", words)

    def wake(self) -> None:
        """Something waits to be sent."""
        if self._waiter is not None:
            self._waiter.wake()

    def joined(self) -> None:
        """A session has come about: what is held is sent again, since nobody knows how much of it arrived."""
        self.connected = True
        self.connections += 1
        self.outbox.spool.connected()
        self.vitals.refresh()
        self.outbox.report_dropped()

    async def run(self, ward: "Ward") -> None:
        """For ever, with growing pauses while no session lasts."""
        waiter = self._waiter = Waiter()
        turn = starved = 0
        backoff = _FIRST_MS
        try:
            while True:
                server = self._servers[turn % len(self._servers)]
                turn += 1
                began = self.outbox.uptime_ms()
                before = self.connections
                try:
                    starved = starved + 1 if await self._session(server[0], server[1], ward, waiter) else 0
                except MemoryError:  # not even for the beginning of it
                    starved += 1
                    self.outbox.spool.put_off()
                if starved >= _STARVED:  # what is free lies in too many pieces: a start finds it whole
                    self.node.leave("")
                if self.connections > before and self.outbox.uptime_ms() - began > _STEADY_MS:
                    backoff = _FIRST_MS
                # Some jitter, so that many nodes do not come back to a broker in the same instant.
                await self._rest(ward, backoff // 2 + backoff * self._hal.random(1)[0] // 512)
                backoff = min(2 * backoff, _MOST_MS)
        finally:
            self._waiter = None
            waiter.close()

    async def _session(self, host: str, port: int, ward: "Ward", waiter: "Waiter") -> bool:
        """From signing in to the end of the connection. True: there was no memory to sign in."""
        from umqtt.simple import MQTTException

        from ohmnode.session import Session  # not before the node is built, for which memory is needed as well

        session = None
        try:
            while not self._hal.network_ready():
                await self._rest(ward, _STEP_MS)
            ward.beat()
            self.node.pause()
            overlay.lift("authority")  # nobody commands until there is a connection
            overlay.lay("join", overlay.FEW)
            address = self._hal.address(await self._address(host, waiter), port)
            session = Session(self._hal, self, ward, waiter)
            await session.join(address, host)
            overlay.lift("join")
            await session.run()
        except (OSError, MQTTException) as failure:
            self.log(f"{host}:{port}: {failure}")
            self._found.pop(host, None)
        except MemoryError as failure:
            self.outbox.spool.put_off()
            if not self.connected:
                return True
            self.log(repr(failure))
            overlay.reserve(False)
        finally:
            overlay.lift("join")
            overlay.lift("fetch")
            self.connected = False
            self.outbox.spool.away = True
            self.outbox.spool.linked = False
            if session is not None:
                session.close()
        return False

    async def _address(self, host: str, waiter: Waiter) -> str:
        if host.replace(".", "").isdigit():
            return host
        from ohmnode.resolver import Resolver  # memory that is needed for a moment

        overlay.room(overlay.FEW)
        return await Resolver(self._hal, self._found).resolve(host, waiter)

    async def _rest(self, ward: "Ward", ms: int) -> None:
        while ms > 0:
            ward.beat()
            await asyncio.sleep_ms(min(ms, _STEP_MS))
            ms -= _STEP_MS


def root_of(content: "dict[str, Any]") -> bytes:
    """The node's own part of all its topics, with the slash at its end."""
    return "ohm/{}/node/{}/".format(content["site"], content["node"]).encode()

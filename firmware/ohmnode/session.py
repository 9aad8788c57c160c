"""One connection to a broker, from its beginning to its end. Every wait is asyncio's and has a limit."""

import asyncio
import errno

import umqtt.simple

from ohmcore import const
from ohmnode import overlay, packets
from ohmnode.packets import BrokenError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal, Socket
    from ohmnode.link import Link
    from ohmnode.supervisor import Ward
    from ohmnode.waiter import Waiter

_CONNECT_MS = const(5000)
_TLS_MS = const(15000)
_ANSWER_MS = const(5000)  # what a broker may take for one
_PACE_MS = const(20)  # between frames of the backlog, so that what is new goes first
_IDLE_MS = const(500)
_HELLO_MS = const(30000)
_BURST = const(3)  # takes from the socket before others get their turn
_EVENT = const(0x97)  # how an event begins: an array of seven
_LONG_MS = const(0x1FFFFFFF)  # what the tick counter cannot tell any more: it wraps


class Session:
    def __init__(self, hal: "Hal", link: "Link", ward: "Ward", waiter: "Waiter") -> None:
        self._hal = hal
        self._link = link
        self._ward = ward
        self._waiter = waiter
        self._pipe = link.pipe
        self._connection: "Socket" = hal.open_socket(True)
        self._tls = False
        self._client: "Any" = umqtt.simple.MQTTClient(
            link.name, "", user=link.user, password=link.password, keepalive=link.keepalive_ms // 1000
        )
        self._client.set_callback(link.mailbox.take)
        self._client.set_last_will(link.root + b"up/online", b"offline", retain=True)
        now = hal.ticks_ms()
        self._heard = self._spoke = self._backlog = self._told = now
        self._pinged: "int | None" = None
        self._gaps_told = 0
        self._answer_ms = hal.setting("answer_ms", _ANSWER_MS)
        self._more = False

    def close(self) -> None:
        self._connection.close()

    async def join(self, address: object, host: str) -> None:
        """From the first packet to the last subscription. Raises BrokenError or another OSError."""
        await self._connect(address, host)
        await self._sign_in()
        await self._announce()

    async def run(self) -> None:
        """Until the connection ends, which it does by BrokenError or another OSError."""
        self._link.joined()
        while True:
            self._ward.beat()
            for _ in range(_BURST):
                if not self._receive():
                    break
            self._keep_alive()
            if self._gaps_told != self._link.outbox.spool.dropped_count and self._since(self._told) > _HELLO_MS:
                try:
                    overlay.lay("join")
                except MemoryError:  # in a while, then
                    self._link.outbox.spool.put_off()
                    self._told = self._hal.ticks_ms()
                else:
                    await self._hello()
                overlay.lift("join")
            if self._pipe.send(self._connection) and self._next():
                await asyncio.sleep_ms(0)
            elif self._pipe.empty():
                await self._waiter.readable(self._connection, _PACE_MS if self._more else _IDLE_MS)
            else:
                await self._waiter.writable(self._connection, _IDLE_MS)

    async def _connect(self, address: object, host: str) -> None:
        try:
            self._connection.connect(address)
        except OSError as pending:
            if pending.errno != errno.EINPROGRESS:
                raise
        if not await self._ready(True, _CONNECT_MS):
            raise BrokenError("no connection")
        if self._link.tls:
            self._tls = True
            self._connection = self._hal.wrap_tls(self._connection, host)

    async def _sign_in(self) -> None:
        """umqtt is told that the broker agrees, to make it write its packet; then the broker is asked."""
        self._pipe.reset()
        setattr(umqtt.simple, "socket", self._pipe)  # where umqtt finds its connection
        self._pipe.expect(b"\x20\x02\x00\x00")
        self._client.connect()
        await self._flush(_TLS_MS if self._tls else self._answer_ms)
        code = await self._answer(packets.CONNACK, 1)
        if code:
            raise BrokenError(f"the broker refuses this node, code {code}")

    async def _announce(self) -> None:
        link = self._link
        self._client.publish(link.root + b"up/online", b"online", retain=True)
        await self._flush(self._answer_ms)
        await self._hello()
        for topic in (b"stop", b"down/+"):  # a stop that stands is known before anything is commanded
            pid = self._client.pid + 1
            self._pipe.expect(bytes((packets.SUBACK, 3, pid >> 8, pid & 0xFF, 0)))
            self._client.subscribe(link.root + topic)
            await self._flush(self._answer_ms)
            if await self._answer(packets.SUBACK, 2) & 0x80:
                raise BrokenError("the broker refuses a subscription")

    async def _hello(self) -> None:
        self._told = self._hal.ticks_ms()
        self._gaps_told = self._link.outbox.spool.dropped_count
        self._client.publish(self._link.root + b"up/hello", self._link.node.hello(), retain=True)
        await self._flush(self._answer_ms)

    async def _flush(self, ms: int) -> None:
        deadline = self._hal.ticks_add(self._hal.ticks_ms(), ms)
        while not self._pipe.send(self._connection):
            left = self._hal.ticks_diff(deadline, self._hal.ticks_ms())
            if left <= 0:
                raise BrokenError("the broker takes nothing")
            # While TLS shakes hands a socket is writable and yet takes nothing: what it waits for comes in.
            await self._ready(not self._tls, min(left, 50) if self._tls else left)
        self._spoke = self._hal.ticks_ms()

    async def _answer(self, kind: int, position: int) -> int:
        """Waits for a packet of this kind and returns a byte of its body; other packets are dealt with on the way."""
        deadline = self._hal.ticks_add(self._hal.ticks_ms(), self._answer_ms)
        while True:
            while True:
                got = self._pipe.packet()
                if not got:
                    break
                if got == kind:
                    body = self._pipe.body()
                    value = body[position] if len(body) > position else 0xFF
                    self._pipe.done()
                    return value
                self._deliver(got)
            left = self._hal.ticks_diff(deadline, self._hal.ticks_ms())
            if left <= 0:
                raise BrokenError("the broker does not answer")
            await self._ready(False, min(left, 50) if self._tls else left)
            self._pipe.receive(self._connection)

    async def _ready(self, write: bool, ms: int) -> bool:
        """Waits for the socket and lets nobody cut that short. False: the time is over."""
        self._ward.beat()
        waiter = self._waiter
        deadline = self._hal.ticks_add(self._hal.ticks_ms(), ms)
        while True:
            left = max(self._hal.ticks_diff(deadline, self._hal.ticks_ms()), 0)
            await (waiter.writable(self._connection, left) if write else waiter.readable(self._connection, left))
            if waiter.timed_out:
                return False
            if not waiter.woken:
                return True

    def _receive(self) -> bool:
        """Takes what has come and deals with every packet that is whole. False: nothing came."""
        if not self._pipe.receive(self._connection):
            return False
        self._heard = self._hal.ticks_ms()
        self._pinged = None
        while True:
            kind = self._pipe.packet()
            if not kind:
                return True
            self._deliver(kind)

    def _deliver(self, kind: int) -> None:
        """Lets umqtt read the packet; whatever is wrong with it stays within its bounds. MemoryError where there is none for it: an
        emergency stop stands on the broker, and comes with a new connection.
        """
        link = self._link
        for last in (False, True):
            try:
                if kind == packets.PUBLISH:
                    self._client.wait_msg()
                elif kind != packets.PINGRESP:
                    link.mailbox.refuse("unexpected packet")
                break
            except MemoryError:  # what can wait gives its memory to this
                link.node.pause()
                overlay.reserve(False)
                link.outbox.spool.put_off()
                if last:
                    raise
                self._pipe.packet()  # once more from its beginning
            except Exception as broken:  # noqa: BLE001 - what somebody sends must not end the task, whatever it does to the decoder
                link.mailbox.refuse("broken packet")
                link.log(f"a packet that cannot be read: {broken!r}")
                break
        self._pipe.done()

    def _keep_alive(self) -> None:
        half = self._link.keepalive_ms // 2
        if self._pinged is not None:
            if self._since(self._pinged) > half:
                raise BrokenError(f"the broker has been silent for {self._since(self._heard)} ms")
        elif self._since(self._heard) > half or self._since(self._spoke) > half:
            self._pinged = self._spoke = self._hal.ticks_ms()
            if self._pipe.empty():
                self._client.ping()

    def _next(self) -> bool:
        """Hands umqtt one message to send, the most urgent. False: nothing waits, or only what has to wait for its turn."""
        link = self._link
        spool = link.outbox.spool
        now_s = link.outbox.uptime_ms() // 1000
        frame = spool.due(now_s, True)
        if frame is None:
            vital = link.vitals.take()
            if vital is not None:
                self._publish(f"up/vital/{vital.device}/{vital.point}".encode(), vital.text.encode(), True)
                return True
            if self._since(self._backlog) < _PACE_MS:
                return False
            frame = spool.due(now_s, False)
            size = 0 if frame is not None else link.outbox.replay(now_s)
            self._more = frame is not None or size != 0
            if self._more:
                self._backlog = self._hal.ticks_ms()
            if frame is None:
                if size > 0:
                    body = memoryview(link.outbox.packer.buffer)[:size]
                    self._publish(b"up/event" if body[0] == _EVENT else b"up/data", body, False)
                return size != 0
        ring, position = frame
        self._publish(b"up/event" if ring is spool.events else b"up/data", ring.frame(position), False)
        spool.sent(frame, now_s)
        return True

    def _publish(self, topic: bytes, body: "bytes | memoryview", retain: bool) -> None:
        self._client.publish(self._link.root + topic, body, retain)
        self._spoke = self._hal.ticks_ms()

    def _since(self, moment: int) -> int:
        ms = self._hal.ticks_diff(self._hal.ticks_ms(), moment)
        return ms if ms >= 0 else _LONG_MS

"""A node with two controls between a hostile device and a hostile broker, in virtual time. Runs on CPython and on MicroPython.

Every answer of the bus and every message that comes down may be anything: mutated, cut, doubled, replayed, or noise. Nothing may be
raised, and nothing be written on the bus but what an authorised command, or the configuration itself, said. What is authorised is known
here independently of the code under test, which can only make it less: what it told the author was rejected or failed is never written.
"""

from ohmcore.crc import crc16
from ohmcore.gateway import pack_command, seal
from ohmcore.pack import Packer
from tests.chaos import virtual

# isort: split
from ohmnode import bus, commands, guard, line, mailbox, transfer, vitals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KEY = bytes(range(32))
CONTEXT = b"home/cellar/command"
ROOT = b"ohm/home/node/cellar/"
UNIT = 1
SAFE_LIMIT = b"\x00\x64"
SAFE_POWER = b"\x00\x00\x00\x00"
_TOPICS = (b"down/ack", b"down/command", b"down/config", b"down/update", b"down/command", b"stop", b"down/", b"down/command/", b"")
_STRUCTURE = (
    0x00,
    0x01,
    0x7F,
    0x80,
    0x81,
    0x90,
    0x93,
    0x98,
    0xA1,
    0xC0,
    0xC1,
    0xC4,
    0xC6,
    0xCB,
    0xCF,
    0xD3,
    0xD9,
    0xDB,
    0xDC,
    0xDD,
    0xDF,
    0xFF,
)


class Broken(Exception):  # noqa: N818 - a finding, not an error of this program
    """What must hold does not."""


class Ended(Exception):  # noqa: N818 - the count is reached
    pass


def mutated(chance: virtual.Random, octets: bytes) -> bytes:
    """Something else made of `octets`, nearly always of the same kind."""
    kind = chance.number(8)
    if kind == 0 or not octets:
        return chance.octets(chance.number(48))
    at = chance.number(len(octets))
    if kind == 1:
        return octets[:at]
    if kind == 2:
        return octets[:at] + chance.octets(1 + chance.number(4)) + octets[at:]
    if kind == 3:
        return octets + octets[at:]
    if kind == 4:
        return octets[:at] + octets[at + 1 + chance.number(4) :]
    if kind == 5:
        return octets[:at] + bytes([_STRUCTURE[chance.number(len(_STRUCTURE))]]) + octets[at + 1 :]
    return octets[:at] + bytes([octets[at] ^ (1 << chance.number(8))]) + octets[at + 1 :]


class Outbox:
    """As much of one as the bus, the guard and the mailbox need. Counts what happens."""

    boot = 7

    def __init__(self) -> None:
        self.spool = self
        self.packer = Packer(bytearray(1104))
        self.kinds: dict[str, int] = {}
        self.told: Callable[[str, Any], object] = lambda kind, detail: None  # is told of every event
        self.ended: Callable[[int | str], object] = lambda identity: None  # is told which commands were rejected or have failed

    def acknowledge(self, seq: int) -> bool:
        return seq < 1000

    def acknowledge_earlier(self, boot: int, seq: int) -> bool:
        return False

    def report_dropped(self) -> None:
        pass

    def log(self, task: str, words: str) -> None:
        pass

    def event(self, device: str, kind: str, detail: "Any") -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.told(kind, detail)
        if kind == "result" and detail["stage"] in ("rejected", "failed"):
            self.ended(detail["id"])

    def refuse(self, kind: str, device: str, reason: str, detail: "Any") -> None:
        self.kinds[reason] = self.kinds.get(reason, 0) + 1

    def snapshot(self, device: "Any", group: "Any") -> bool:
        self.kinds["snapshot"] = self.kinds.get("snapshot", 0) + 1
        return True


class House:
    """A node with two controls, a hostile device on its bus and a hostile broker, in virtual time."""

    def __init__(self, seed: int) -> None:
        self.chance = virtual.Random(seed)
        self.world = virtual.adopt(virtual.World((1 << 30) - 60_000), line, bus, guard)
        self.outbox = Outbox()
        self.registers: dict[int, int] = {}
        self.hostile = True
        self.answers = self.messages = self.writes = self.accepted = self.hostile_answers = self.hostile_messages = 0
        self._goal = 0
        self._counter = 100
        self._packer = Packer(bytearray(512))
        self._sent: list[bytes] = []  # authentic messages, for replays
        self._authorised = {"limit": [(0, SAFE_LIMIT)], "power": [(0, SAFE_POWER)]}  # by command; the safe values always are
        self.outbox.ended = self._withdraw
        content = {"limits": [], "link_loss_ms": 60000}
        self.guard = guard.Guard(self.world, self.outbox, content)
        self.wire = virtual.Wire(self.world, self._answer)
        self.world.wires["line"] = self.wire
        device = {
            "name": "mtec",
            "unit": UNIT,
            "timeout_ms": 100,
            "retries": 1,
            "turnaround_ms": 5,
            "groups": [{"name": "1s", "period_ms": 1000, "priority": 0, "reads": [[3, 100, 10], [4, 0, 6], [3, 200, 10]]}],
            "vitals": [],
            "controls": [
                {"name": "limit", "blocks": [[6, 1000, 1]], "fields": [[0, 1, 0, 0, 1000, 1, None]], "safe": SAFE_LIMIT},
                {
                    "name": "power",
                    "blocks": [[16, 2000, 2]],
                    "fields": [[0, 1, 0, 0, 5000, 1, None], [1, 1, 0, 0, 1, 1, None]],
                    "safe": SAFE_POWER,
                    "lease": 1,
                },
            ],
        }
        spec = {"name": "rs485-1", "port": "line", "baud": 9600, "devices": [device]}
        self.bus = bus.Bus(self.world, spec, self.outbox, vitals.Vitals(), self.guard)
        self.guard.bind(self.bus.devices)
        self.guard.start()
        self.commands = commands.Commands(self.world, self.outbox, KEY, CONTEXT, self.guard, [])
        self.mailbox = mailbox.Mailbox(ROOT, self.outbox, self.commands, self.guard)
        self.left: list[str] = []
        transfers = transfer.Transfers(self.world, self.outbox, self.commands, "home/cellar/", KEY, "a", self.left.append)
        self.mailbox.transfer = transfers.take

    # The device

    def _answer(self, request: bytes) -> "list[tuple[int, bytes]]":
        self.answers += 1
        function = request[1]
        address = request[2] << 8 | request[3]
        value = request[4] << 8 | request[5]
        if request[0] != UNIT or crc16(request, 0, len(request) - 2) != request[-2] | request[-1] << 8:
            raise Broken("a request that is not ours: " + request.hex())
        if function in (3, 4):
            words = b"".join([self.registers.get(address + i, 0).to_bytes(2, "big") for i in range(value)])
            reply = bytes([function, len(words)]) + words
        else:
            self._check(function, address, request)
            self.writes += 1
            reply = request[1:6]
        frame = bytes([UNIT]) + reply
        frame += crc16(frame, 0, len(frame)).to_bytes(2, "little")
        chance = self.chance
        delay = 5
        if self.hostile and chance.number(3):
            self.hostile_answers += 1
            kind = chance.number(6)
            if kind == 0:
                return []
            if kind == 1:
                delay += chance.number(3000)
            elif kind == 2:  # sound, and of another unit, function, size or content
                frame = mutated(chance, frame[:-2])[:250]
                frame += crc16(frame, 0, len(frame)).to_bytes(2, "little")
            elif kind == 3:
                frame = bytes([UNIT, function | 0x80, chance.number(256)])
                frame += crc16(frame, 0, len(frame)).to_bytes(2, "little")
            else:
                frame = mutated(chance, frame)
        return [(delay, frame)] if frame else []

    def _check(self, function: int, address: int, request: bytes) -> None:
        """A write: it has to be a value that was said for exactly this control."""
        if function == 6 and address == 1000:
            name, raw = "limit", request[4:6]
        elif function == 16 and address == 2000 and request[4:7] == b"\x00\x02\x04":
            name, raw = "power", request[7:11]
        else:
            raise Broken("written where nothing may be: " + request.hex())
        if raw not in [value for _, value in self._authorised[name]]:
            raise Broken(f"{name}: {raw.hex()} was never authorised, or is not any more")
        for i in range(0, len(raw), 2):
            self.registers[address + i // 2] = raw[i] << 8 | raw[i + 1]

    # The broker

    def _message(self) -> None:
        self.messages += 1
        chance = self.chance
        kind = chance.number(64)
        self.hostile_messages += kind > 4 or kind == 2
        if kind == 0:
            self._command("power", (1 + chance.number(5000)).to_bytes(2, "big") + b"\x00\x01", 1 + chance.number(600_000))
        elif kind == 1:
            self._command("limit", chance.number(1001).to_bytes(2, "big"), 0)
        elif kind == 2:
            self._command("power", (5001 + chance.number(60_000)).to_bytes(2, "big") + chance.octets(2), 60_000, False)
        elif kind == 3 and chance.number(50) == 0:
            self._take(b"stop", b"1")
            self._take(b"stop", b"0")
        elif kind == 4:
            self._send(self._sealed("", "reset", b"", 0))
        elif kind < 16 and self._sent:  # replayed
            self._take(b"down/command", self._sent[chance.number(len(self._sent))])
        elif kind < 40 and self._sent:  # nearly authentic
            original = self._sent[chance.number(len(self._sent))]
            changed = mutated(chance, original)
            topic = _TOPICS[chance.number(len(_TOPICS))]
            if topic != b"stop" or changed != b"1":
                self._take(topic, changed)
        elif kind < 48:  # well made, with another key or for another node
            body = self._body("power", chance.octets(4), chance.number(1 << 30))
            self._take(b"down/command", seal(chance.octets(32), CONTEXT, body) if kind & 1 else seal(KEY, b"home/attic/command", body))
        else:
            body = chance.octets(chance.number(80))
            if body != b"1":
                self._take(_TOPICS[chance.number(len(_TOPICS))], body)
        if self.commands.last > self._counter:
            raise Broken("a counter was believed that nobody sent")
        if self.left or [name for name in self.world.files if name not in ("command.counter", "control.state")]:
            raise Broken("something was stored, or the node left, without authority")

    def _take(self, topic: bytes, body: bytes) -> None:
        self.mailbox.take(ROOT + topic, body)

    def _body(self, name: str, words: bytes, counter: int, lease_ms: int = 60_000, device: str = "mtec") -> bytes:
        pack_command(self._packer, self.messages, counter, device, name, words, 1 + self.chance.number(20_000), lease_ms)
        return self._packer.message()

    def _sealed(self, device: str, name: str, words: bytes, lease_ms: int) -> bytes:
        self._counter += 1
        return seal(KEY, CONTEXT, self._body(name, words, self._counter, lease_ms, device))

    def _send(self, sealed: bytes) -> None:
        self._sent.append(sealed)
        if len(self._sent) > 40:
            del self._sent[0]
        self._take(b"down/command", sealed)

    def _command(self, name: str, words: bytes, lease_ms: int, good: bool = True) -> None:
        """An authentic one. Its value may be written from now on, until the author is told otherwise or three newer ones are under way."""
        if good:
            self.accepted += 1
            known = self._authorised[name]
            known.append((self.messages, words))
            if len(known) > 4:
                del known[1]
        self._send(self._sealed("mtec", name, words, lease_ms))

    def _withdraw(self, identity: "int | str") -> None:
        for known in self._authorised.values():
            known[1:] = [entry for entry in known[1:] if entry[0] != identity]

    # The node

    def beat(self) -> None:
        """The bus task shows that it lives: the moment for the others."""
        self.wire.written = []
        self.wire.sent_at = []
        for _ in range(self.chance.number(4)):
            self._message()
        self.guard.evaluate()
        if self.answers + self.messages >= self._goal:
            raise Ended

    def run(self, count: int) -> None:
        """As many answers and messages as that, together."""
        self._goal = self.answers + self.messages + count
        try:
            self.world.run(self.bus.run(self))
        except Ended:
            pass

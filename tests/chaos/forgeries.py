"""Commands that must not be obeyed, against the node's own code in virtual time. On CPython and on MicroPython; `commands.py` drives it.

The house of `fuzz_house.py` with a sound device: every now and then an honest command comes and is carried out, and between them come
those that nobody with the key has just said for this node. Honest commands and others ask for different values, so what is on the bus
tells who was obeyed.
"""

import sys

from ohmcore.gateway import seal
from tests.chaos.fuzz_house import CONTEXT, KEY, Broken, Ended, House

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = (
    "forged",
    "bit-flipped",
    "cut or longer",
    "replayed",
    "reordered",
    "for another node",
    "for another purpose",
    "expired before its turn",
    "expired in its turn",
)
_FOREIGN = 2500  # values above are nobody's wish
_PAUSE_MS = 5  # on the line before a request, which may be the last of a command's time
_REASONS = {
    "forged": ("unauthorised",),
    "bit-flipped": ("unauthorised", "malformed"),
    "cut or longer": ("unauthorised", "malformed"),
    "replayed": ("duplicate", "replayed"),
    "reordered": ("replayed",),
    "for another node": ("unauthorised",),
    "for another purpose": ("unauthorised",),
}


class Fort(House):
    """`tried`: by kind. `accepted`: what was obeyed and must not have been, in words. `done`: honest commands that were carried out."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.hostile = False
        self.tried: dict[str, int] = {}
        self.wrong: list[str] = []
        self.done = self.expired = 0
        self._value = 0
        self._until: dict[int, tuple[int, int]] = {}  # value → (ms at which its command ends, its time to live), until it is written
        self._ambush = False
        self._deaf = 0
        self._wanted = 0
        self.outbox.told = self._heard

    def _heard(self, kind: str, detail: "Any") -> None:
        if kind == "result":
            self.done += detail["stage"] == "done"
            self.expired += detail["reason"] == "expired"

    # The device

    def _answer(self, request: bytes) -> "list[tuple[int, bytes]]":
        if self._ambush:  # the command comes when the bus has just become busy, and is over before it is free again
            self._ambush = False
            self._honest(1 + self.chance.number(20))
            self._count("expired before its turn")
            return [(60 + delay, frame) for delay, frame in super()._answer(request)]
        if self._deaf and request[1] == 3 and request[2:4] == b"\x07\xd0":
            self._deaf -= 1
            return []
        return super()._answer(request)

    def _check(self, function: int, address: int, request: bytes) -> None:
        if function == 16 and address == 2000:
            value = request[7] << 8 | request[8]
            if value > _FOREIGN:
                self.wrong.append(f"{value} was written, and nobody said so")
            elif value in self._until:
                until, ttl_ms = self._until.pop(value)
                if self.world.now > until + _PAUSE_MS:
                    self.wrong.append(f"a command of {ttl_ms} ms was begun on the wire {self.world.now - until} ms after its end")
        for i in range(0, len(request) - 9, 2):
            self.registers[address + i // 2] = request[7 + i] << 8 | request[8 + i]

    # The broker

    def beat(self) -> None:
        self.wire.written = []
        self.wire.sent_at = []
        chance = self.chance
        kind = chance.number(24)
        if kind < 4:
            self._honest(5000)
        elif kind == 4:
            self._ambush = True
        elif kind == 5:
            self._deaf = 1 + chance.number(3)
            self._honest(20 + chance.number(150))
            self._count("expired in its turn")
        else:
            for _ in range(1 + chance.number(6)):
                self._attack(KINDS[chance.number(7)])
        self.guard.evaluate()
        if sum(self.tried.values()) >= self._wanted:
            raise Ended

    def _honest(self, ttl_ms: int) -> None:
        self._value = self._value % _FOREIGN + 1
        self._until[self._value] = (self.world.now + ttl_ms, ttl_ms)
        self._counter += 1
        sealed = seal(KEY, CONTEXT, self._fresh(self._value, self._counter, ttl_ms))
        self._sent.append(sealed)
        if len(self._sent) > 40:
            del self._sent[0]
        self._take(b"down/command", sealed)

    def _fresh(self, value: int, counter: int, ttl_ms: int = 5000) -> bytes:
        """What a command says that has never been sent."""
        self.messages += 1
        packer = self._packer
        packer.reset()
        packer.value((1, self.messages, counter, "mtec", "power", value.to_bytes(2, "big") + b"\x00\x01", ttl_ms, 60_000))
        return packer.message()

    def _attack(self, kind: str) -> None:
        chance = self.chance
        body = self._fresh(_FOREIGN + 1 + chance.number(2500), self._counter + 1 + chance.number(1000))
        sealed = seal(KEY, CONTEXT, body)
        if kind == "forged":
            how = chance.number(3)
            if how:
                sealed = seal(chance.octets(32) if how == 1 else bytes(32), CONTEXT, body)
            else:
                sealed = sealed[: len(sealed) - 32] + chance.octets(32)
        elif kind == "bit-flipped":
            at = chance.number(len(sealed))
            sealed = sealed[:at] + bytes([sealed[at] ^ 1 << chance.number(8)]) + sealed[at + 1 :]
        elif kind == "cut or longer":
            sealed = sealed[: chance.number(len(sealed))] if chance.number(2) else sealed + chance.octets(1 + chance.number(40))
        elif kind == "for another node":
            sealed = seal(KEY, (b"home/attic/command", b"house/cellar/command", b"home/cellarx/command")[chance.number(3)], body)
        elif kind == "for another purpose":
            sealed = seal(KEY, (b"home/cellar/config", b"home/cellar/update", b"home/cellar/", b"")[chance.number(4)], body)
        elif not self._sent:
            return
        elif kind == "replayed":
            sealed = self._sent[chance.number(len(self._sent))]
        else:  # the newer one has come before
            sealed = seal(
                KEY, CONTEXT, self._fresh(_FOREIGN + 1 + chance.number(2500), self._counter - chance.number(min(self._counter, 50)))
            )
        self._count(kind)
        reasons = _REASONS[kind]
        kinds = self.outbox.kinds
        refused = sum([kinds.get(reason, 0) for reason in reasons])
        last = self.commands.last
        waiting = [control.waiting for control in self.guard.controls]
        self._take(b"down/command", sealed)
        if sum([kinds.get(reason, 0) for reason in reasons]) != refused + 1:
            self.wrong.append(f"{kind}: not refused as {reasons}: {sealed.hex()}")
        if self.commands.last != last or [control.waiting for control in self.guard.controls] != waiting:
            self.wrong.append(f"{kind}: it was accepted: {sealed.hex()}")

    def _count(self, kind: str) -> None:
        self.tried[kind] = self.tried.get(kind, 0) + 1

    def run(self, count: int) -> None:
        self._wanted = count
        try:
            self.world.run(self.bus.run(self))
        except Ended:
            pass


def campaign(count: int, seed: int) -> Fort:
    """As many commands that must not be obeyed as that. Raises Broken when honest ones are not obeyed either."""
    fort = Fort(seed)
    fort.run(count)
    if fort.done < count // 100 or not fort.expired:
        raise Broken("hardly anybody is obeyed, or nothing ever expires")
    return fort


if __name__ == "__main__":
    fort = campaign(int(sys.argv[1]), int(sys.argv[2]))
    for kind, number in fort.tried.items():
        print("fuzz", kind, "=", number)
    print("fuzz obeyed =", fort.done)
    for finding in fort.wrong:
        print("found", finding)

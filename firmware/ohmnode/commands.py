"""Who may write, what, and how much: the last checks before a register changes.

A command is authentic → newer than any before it, over restarts too → not seen → for a control that exists → within its limits, or it is
refused with a word. A newer command for the same control replaces one that still waits; one that waited longer than its time to
live is not written any more.
"""

from ohmcore import const
from ohmcore.errors import FrameError, PackError
from ohmcore.frames import parse_command
from ohmcore.pack import unpack
from ohmcore.seal import unseal

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hal import Hal
    from ohmnode.outbox import Outbox
    from ohmnode.schedule import Device

_FILE = "command.counter"
_AHEAD = const(64)
_OFTEN_MS = const(60000)
_IDS = const(32)


class Control:
    """A writable target: `function` 6 or 16, limits in raw register values. `allowed`: the only values, where it is a choice."""

    def __init__(self, device: "Device", spec: "dict[str, Any]") -> None:
        self.device = device
        self.name = str(spec["name"])
        self.function = int(spec["function"])
        self.address = int(spec["address"])
        self.words = int(spec["words"])
        self._least = int(spec["min"])
        self._most = int(spec["max"])
        self._step = int(spec.get("step") or 1)
        self._allowed = spec.get("allowed")

    def refusal(self, raw: bytes) -> str:
        """Why these register bytes must not be written; empty: they may."""
        if len(raw) != 2 * self.words:
            return "malformed"
        value = number(raw, self._least < 0)
        if not self._least <= value <= self._most:
            return "out of range"
        if (value - self._least) % self._step:
            return "off step"
        if self._allowed is not None and value not in self._allowed:
            return "not allowed"
        return ""


class Command:
    def __init__(self, identity: "int | str", control: Control, raw: bytes, expires: int) -> None:
        self.identity = identity
        self.control = control
        self.raw = raw
        self.expires = expires


class Commands:
    """`key`: the node's own. `context`: what a command is sealed for."""

    def __init__(self, hal: "Hal", outbox: "Outbox", key: bytes, context: bytes) -> None:
        self._hal = hal
        self._outbox = outbox
        self._key = key
        self._context = context
        self._controls: "dict[tuple[str, str], Control]" = {}
        self._waiting: "list[Command]" = []
        self._wake: "dict[str, Callable[[], None]]" = {}
        self._ids: "list[int | str]" = []
        self.last = self._reserved = self._stored()
        self._stored_at: "int | None" = None

    def add(self, device: "Device", spec: "dict[str, Any]", wake: "Callable[[], None]") -> None:
        """A control of a device; `wake` is called when something waits to be written there."""
        control = Control(device, spec)
        self._controls[device.name, control.name] = control
        self._wake[device.name] = wake

    def accept(self, sealed: bytes) -> None:
        """Takes a message from `down/command`; puts it in the queue of its bus or refuses it. Raises nothing."""
        try:
            body = unseal(self._key, self._context, sealed)
        except FrameError:
            self._outbox.refuse("rejected", "", "unauthorised", {})
            return
        try:
            identity, counter, device, name, raw, ttl_ms = parse_command(unpack(body))
        except (FrameError, PackError) as broken:
            self._outbox.refuse("rejected", "", "malformed", {"detail": str(broken)[:80]})
            return
        if identity in self._ids:
            self._outbox.refuse("rejected", "", "duplicate", {"id": identity})
            return
        if counter <= self.last:
            # The counter tells an honest gateway whose own was lost where to go on.
            self._outbox.refuse("result", device, "replayed", {"id": identity, "stage": "rejected", "counter": self.last})
            return
        if not self.remember(identity, counter):
            self.result(identity, device, name, "rejected", "no storage")
            return
        control = self._controls.get((device, name))
        refusal = "unknown control" if control is None else control.refusal(raw)
        if control is None or refusal:
            self.result(identity, device, name, "rejected", refusal)
            return
        for waiting in self._waiting:
            if waiting.control is control:
                self._waiting.remove(waiting)
                self.result(waiting.identity, device, name, "rejected", "replaced")
                break
        expires = self._hal.ticks_add(self._hal.ticks_ms(), min(ttl_ms, 3_600_000))
        self._waiting.append(Command(identity, control, raw, expires))
        self._wake[device]()

    def take(self, devices: "list[Device]") -> "Command | None":
        """The oldest that waits for one of these devices; those whose time is over are refused on the way."""
        position = 0
        while position < len(self._waiting):
            command = self._waiting[position]
            if command.control.device not in devices:
                position += 1
                continue
            del self._waiting[position]
            if self._hal.ticks_diff(command.expires, self._hal.ticks_ms()) > 0:
                return command
            self.result(command.identity, command.control.device.name, command.control.name, "rejected", "expired")
        return None

    def result(self, identity: "int | str", device: str, control: str, stage: str, reason: str, value: "int | None" = None) -> None:
        """Tells what became of a command; `value`: what was read back, raw."""
        detail = {"id": identity, "control": control, "stage": stage, "reason": reason}
        if value is not None:
            detail["value"] = value
        self._outbox.log("command", f"{device} {control} {identity}: {stage} {reason}")
        self._outbox.event(device, "result", detail)

    def unseal(self, context: bytes, sealed: bytes) -> bytes:
        """What somebody with the node's key sealed for this context; FrameError for anything else."""
        return unseal(self._key, context, sealed)

    def remember(self, identity: "int | str", counter: int) -> bool:
        """The counter is on flash before anything is written. Where commands come often, 64 at a time, to save the flash."""
        if counter > self._reserved:
            now = self._hal.ticks_ms()
            often = self._stored_at is not None and self._hal.ticks_diff(now, self._stored_at) < _OFTEN_MS
            reserved = counter + _AHEAD if often else counter
            try:
                self._hal.write(_FILE, str(reserved).encode())
            except OSError as failure:
                self._outbox.log("command", f"cannot keep the counter: {failure}")
                return False
            self._reserved = reserved
            self._stored_at = now
        self.last = counter
        self._ids.append(identity)
        if len(self._ids) > _IDS:
            del self._ids[0]
        return True

    def _stored(self) -> int:
        """A file that cannot be read refuses everything: better no commands than old ones."""
        content = self._hal.read(_FILE)
        if content is None:
            return 0
        try:
            return int(content)
        except ValueError:
            self._outbox.log("command", f"{_FILE} is damaged; commands are refused until it is removed")
            return 0x7FFFFFFFFFFFFFFF


def number(raw: bytes, signed: bool) -> int:
    """Register bytes, high word first, as an integer."""
    value = int.from_bytes(raw, "big")
    return value - (1 << (8 * len(raw))) if signed and raw[0] & 0x80 else value

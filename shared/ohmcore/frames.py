"""Protocol 1 between node and gateway, the node's side: what it packs for `up/…`, and what it takes apart of `down/…`.

The other side is in `ohmcore.gateway`. Packing goes into a `Packer` (reset by the function); checking takes an unpacked object, so that
each side may unpack as it likes. Every message is an array that begins with the protocol. The `parse_…` functions return plain tuples
without it; whatever is not exactly a message raises FrameError.

A range is `function << 16 | first address` with the registers' bytes as they came over the line (coils: 8 a byte, lowest bit first).
"""

from ohmcore import const
from ohmcore.errors import FrameError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ohmcore.pack import Buffer, Packer

    Hello = tuple[str, int, int, Buffer, str, str, Sequence[str], int]
    Ack = tuple[int, int, int]
    Command = tuple[int | str, int, str, str, bytes, int, int]

PROTOCOL = 1

GOOD = 0
PARTIAL = 1

MAX_BOOT = 0x7FFFFFFF

_PROTOCOL = const(1)
_MAX_BOOT = const(0x7FFFFFFF)
_MAX_COUNT = const(0x7FFFFFFFFFFFFFFF)
_MAX_NAME = const(64)
_MAX_LEASE = const(86400000)


def begin_data(packer: "Packer", boot: int, seq: int, uptime_ms: int, device: str, group: str, quality: int, ranges: int) -> None:
    """The head of a data frame; exactly `ranges` calls of `add_range` follow. Allocates nothing."""
    packer.reset()
    packer.array(8)
    packer.int(_PROTOCOL)
    packer.int(boot)
    packer.int(seq)
    packer.int(uptime_ms)
    packer.str(device)
    packer.str(group)
    packer.int(quality)
    packer.array(ranges)


def add_range(packer: "Packer", function: int, address: int, raw: "Buffer", start: int = 0, end: "int | None" = None) -> None:
    """One range of a data frame: `raw[start:end]` from `address` on."""
    packer.array(2)
    packer.int(function << 16 | address)
    packer.bin(raw, start, end)


def pack_event(packer: "Packer", boot: int, seq: int, uptime_ms: int, device: str, kind: str, detail: "Mapping[str, object]") -> None:
    """Something that happened on `device` (empty: on the node itself), numbered together with the data frames."""
    packer.reset()
    packer.value((_PROTOCOL, boot, seq, uptime_ms, device, kind, detail))


def pack_hello(packer: "Packer", hello: "Hello") -> None:
    """What the node is; the fields as `gateway.parse_hello` gives them.

    The configuration's hash is the first 8 bytes of its SHA-256, the first seq the lowest that the node still holds.
    """
    packer.reset()
    packer.value((_PROTOCOL,) + hello)


def parse_ack(frame: object) -> "Ack":
    """(boot, seq, unix ms); seq 0: nothing is stored yet."""
    _, boot, seq, unix_ms = fields(frame, "ack", 4)
    return integer(boot, "boot", 1, _MAX_BOOT), integer(seq, "seq", 0), integer(unix_ms, "unix_ms", 0)


def read_ack(message: "Buffer") -> "tuple[int, int]":
    """(boot, seq) of an ack as it came over the air; the same as `parse_ack` of the unpacked message, without an unpacker."""
    numbers = [0, 0]
    pos = 0
    for i in range(-2, 3):
        head = message[pos] if pos < len(message) else 0xC0
        size = 0
        if i == -2:
            head -= 0x90  # an array of
        elif head >= 0x80:
            size = 1 << (head - 0xCC) if 0xCC <= head <= 0xCF else len(message)
        pos += 1 + size
        if pos > len(message) or (i < 0 and (head, i) not in ((4, -2), (_PROTOCOL, -1))):
            raise wrong("ack", "one")
        if i in (0, 1):
            numbers[i] = int.from_bytes(message[pos - size : pos], "big") if size else head
    boot, seq = numbers
    if pos != len(message):
        raise wrong("ack", "one")
    return integer(boot, "boot", 1, _MAX_BOOT), integer(seq, "seq", 0)


def parse_command(frame: object) -> "Command":
    """(id, counter, device, control, words, ttl ms, lease ms). Device "": a command to the node itself, which may have no words.

    A lease is at most a day long, 0 means none.
    """
    _, identity, counter, device, control, words, ttl_ms, lease_ms = fields(frame, "command", 8)
    if not isinstance(words, bytes) or not (2 if device else 0) <= len(words) <= 246 or len(words) & 1:
        raise wrong("words", "registers")
    return (
        text(identity, "id") if isinstance(identity, str) else integer(identity, "id", 0),
        integer(counter, "counter", 1),
        name(device, "device") if device else text(device, "device"),
        name(control, "control"),
        words,
        integer(ttl_ms, "ttl_ms", 1),
        integer(lease_ms, "lease_ms", 0, _MAX_LEASE),
    )


def fields(frame: object, kind: str, count: int) -> "Sequence[object]":
    """The `count` fields of a message, the protocol included."""
    found = array(frame, kind)
    integer(found[0] if found else None, "protocol", _PROTOCOL, _PROTOCOL)
    integer(len(found), "fields", count, count)
    return found


def array(value: object, key: str) -> "Sequence[object]":
    if not isinstance(value, (list, tuple)):
        raise wrong(key, "an array")
    return value


def integer(value: object, key: str, least: int, most: int = _MAX_COUNT) -> int:
    if type(value) is not int:
        raise wrong(key, "an integer")
    if value < least or value > most:
        raise FrameError(f"{key}: {value} is not in {least}..{most}")
    return value


def text(value: object, key: str, least: int = 0) -> str:
    if not isinstance(value, str) or not least <= len(value) <= _MAX_NAME:
        raise wrong(key, "text" if least == 0 else "a name")
    return value


def name(value: object, key: str) -> str:
    """What devices, controls, groups and kinds are called: 1 to 64 of a-z, 0-9, _, - and ."""
    found = text(value, key, 1)
    for character in found:
        if not ("a" <= character <= "z" or character in "0123456789_-."):
            raise wrong(key, "a name")
    return found


def wrong(key: str, kind: str) -> FrameError:
    return FrameError(f"{key}: not {kind}")

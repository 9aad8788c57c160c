"""Protocol 1 between node and gateway: the messages of `up/…` and `down/…`, packed and checked.

Packing goes into a `Packer` (reset by the function); checking takes an unpacked object, so that each side may unpack as it likes.
Every message is an array that begins with the protocol. The `parse_…` functions return plain tuples without it; whatever is not
exactly a message raises FrameError.

A range is `function << 16 | first address` with the registers' bytes as they came over the line (coils: 8 a byte, lowest bit first).
"""

from ohmcore.errors import FrameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ohmcore.pack import Buffer, Packer

    DataFrame = tuple[int, int, int, str, str, int, tuple[tuple[int, int, bytes], ...]]
    EventFrame = tuple[int, int, int, str, str, dict[str, object]]
    Hello = tuple[str, int, int, bytes, str, str, tuple[str, ...], int]
    Ack = tuple[int, int, int]
    Command = tuple[int | str, int, str, str, bytes, int]

PROTOCOL = 1

GOOD = 0
PARTIAL = 1

MAX_NAME = 64
MAX_BOOT = 0x7FFFFFFF
MAX_COUNT = 0x7FFFFFFFFFFFFFFF
MAX_RANGE_BYTES = 250

_NAME = "abcdefghijklmnopqrstuvwxyz0123456789_-."


def begin_data(packer: "Packer", boot: int, seq: int, uptime_ms: int, device: str, group: str, quality: int, ranges: int) -> None:
    """The head of a data frame; exactly `ranges` calls of `add_range` follow. Allocates nothing."""
    packer.reset()
    packer.array(8)
    packer.int(PROTOCOL)
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


def pack_data(
    packer: "Packer",
    boot: int,
    seq: int,
    uptime_ms: int,
    device: str,
    group: str,
    quality: int,
    ranges: "Sequence[tuple[int, int, Buffer]]",
) -> None:
    """One group of a device, read as one snapshot at `uptime_ms`; `ranges` as (function, first address, bytes)."""
    begin_data(packer, boot, seq, uptime_ms, device, group, quality, len(ranges))
    for function, address, raw in ranges:
        add_range(packer, function, address, raw)


def parse_data(frame: object) -> "DataFrame":
    """(boot, seq, uptime ms, device, group, quality, ranges) with ranges as (function, first address, bytes).

    `quality` PARTIAL: a range could not be read and is absent. GOOD has at least one range.
    """
    fields = _fields(frame, "data", 8)
    boot, seq, uptime_ms = _stamp(fields)
    device = _name(fields[4], "device")
    group = _name(fields[5], "group")
    quality = _integer(fields[6], "quality", GOOD, PARTIAL)
    ranges = tuple(_range(item) for item in _list(fields[7], "ranges"))
    if quality == GOOD and not ranges:
        raise FrameError("ranges: none, and yet the quality is good")
    return boot, seq, uptime_ms, device, group, quality, ranges


def pack_event(packer: "Packer", boot: int, seq: int, uptime_ms: int, device: str, kind: str, detail: "Mapping[str, object]") -> None:
    """Something that happened on `device` (empty: on the node itself), numbered together with the data frames."""
    packer.reset()
    packer.array(7)
    packer.int(PROTOCOL)
    packer.int(boot)
    packer.int(seq)
    packer.int(uptime_ms)
    packer.str(device)
    packer.str(kind)
    packer.value(detail)


def parse_event(frame: object) -> "EventFrame":
    """(boot, seq, uptime ms, device or "", kind, detail). A "dropped" event carries `ranges`: [[first seq, last seq], …]."""
    fields = _fields(frame, "event", 7)
    boot, seq, uptime_ms = _stamp(fields)
    device = _name(fields[4], "device", True)
    kind = _name(fields[5], "kind")
    detail = fields[6]
    if not isinstance(detail, dict):
        raise FrameError("detail: not a map")
    for key in detail:
        if not isinstance(key, str):
            raise FrameError("detail: a key that is no text")
    if kind == "dropped":
        for item in _list(detail.get("ranges"), "detail.ranges"):
            span = _list(item, "detail.ranges")
            if len(span) != 2:
                raise FrameError("detail.ranges: not [first, last]")
            _integer(span[1], "detail.ranges", _integer(span[0], "detail.ranges", 1), MAX_COUNT)
    return boot, seq, uptime_ms, device, kind, detail


def pack_hello(
    packer: "Packer",
    firmware: str,
    boot: int,
    uptime_ms: int,
    config_hash: "Buffer",
    slot: str,
    reset_cause: str,
    capabilities: "Sequence[str]",
    first_seq: int,
) -> None:
    """What the node is. `config_hash`: the first 8 bytes of its configuration's SHA-256; `first_seq`: the lowest it still holds."""
    packer.reset()
    packer.array(9)
    packer.int(PROTOCOL)
    packer.str(firmware)
    packer.int(boot)
    packer.int(uptime_ms)
    packer.bin(config_hash)
    packer.str(slot)
    packer.str(reset_cause)
    packer.value(capabilities)
    packer.int(first_seq)


def parse_hello(frame: object) -> "Hello":
    """(firmware, boot, uptime ms, configuration hash, slot, reset cause, capabilities, first seq)."""
    fields = _fields(frame, "hello", 9)
    config_hash = fields[4]
    if not isinstance(config_hash, bytes) or len(config_hash) != 8:
        raise FrameError("config_hash: not 8 bytes")
    return (
        _text(fields[1], "firmware"),
        _integer(fields[2], "boot", 1, MAX_BOOT),
        _integer(fields[3], "uptime_ms", 0),
        config_hash,
        _text(fields[5], "slot"),
        _text(fields[6], "reset_cause"),
        tuple(_text(item, "capabilities") for item in _list(fields[7], "capabilities")),
        _integer(fields[8], "first_seq", 1),
    )


def pack_ack(packer: "Packer", boot: int, seq: int, unix_ms: int) -> None:
    """Everything up to `seq` of that boot is in the store. `unix_ms`: the gateway's clock, ms since 1970 UTC."""
    packer.reset()
    packer.array(4)
    packer.int(PROTOCOL)
    packer.int(boot)
    packer.int(seq)
    packer.int(unix_ms)


def parse_ack(frame: object) -> "Ack":
    """(boot, seq, unix ms); seq 0: nothing is stored yet."""
    fields = _fields(frame, "ack", 4)
    return _integer(fields[1], "boot", 1, MAX_BOOT), _integer(fields[2], "seq", 0), _integer(fields[3], "unix_ms", 0)


def pack_command(packer: "Packer", identity: "int | str", counter: int, device: str, control: str, words: "Buffer", ttl_ms: int) -> None:
    """A write to a control: `words` are the registers' bytes, high byte first; void `ttl_ms` after it came. To be sealed."""
    packer.reset()
    packer.array(7)
    packer.int(PROTOCOL)
    packer.value(identity)
    packer.int(counter)
    packer.str(device)
    packer.str(control)
    packer.bin(words)
    packer.int(ttl_ms)


def parse_command(frame: object) -> "Command":
    """(id, counter, device, control, words, ttl ms)."""
    fields = _fields(frame, "command", 7)
    identity = fields[1]
    words = fields[5]
    if not isinstance(words, bytes) or not 2 <= len(words) <= 246 or len(words) & 1:
        raise FrameError("words: not 1 to 123 registers")
    return (
        _text(identity, "id") if isinstance(identity, str) else _integer(identity, "id", 0),
        _integer(fields[2], "counter", 1),
        _name(fields[3], "device"),
        _name(fields[4], "control"),
        words,
        _integer(fields[6], "ttl_ms", 1),
    )


def _fields(frame: object, kind: str, count: int) -> "Sequence[object]":
    if not isinstance(frame, list) and not isinstance(frame, tuple):
        raise FrameError(f"{kind}: not an array")
    if not frame or type(frame[0]) is not int:
        raise FrameError(f"{kind}: no protocol")
    if frame[0] != PROTOCOL:
        raise FrameError(f"{kind}: protocol {frame[0]}, not {PROTOCOL}")
    if len(frame) != count:
        raise FrameError(f"{kind}: {len(frame)} fields, not {count}")
    return frame


def _stamp(fields: "Sequence[object]") -> "tuple[int, int, int]":
    return _integer(fields[1], "boot", 1, MAX_BOOT), _integer(fields[2], "seq", 1), _integer(fields[3], "uptime_ms", 0)


def _integer(value: object, field: str, least: int, most: int = MAX_COUNT) -> int:
    if type(value) is not int:
        raise FrameError(f"{field}: not an integer")
    if value < least or value > most:
        raise FrameError(f"{field}: {value} is not in {least}..{most}")
    return value


def _list(value: object, field: str) -> "Sequence[object]":
    if not isinstance(value, list) and not isinstance(value, tuple):
        raise FrameError(f"{field}: not an array")
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise FrameError(f"{field}: not text")
    if len(value) > MAX_NAME:
        raise FrameError(f"{field}: longer than {MAX_NAME} characters")
    return value


def _name(value: object, field: str, empty: bool = False) -> str:
    text = _text(value, field)
    if not text and not empty:
        raise FrameError(f"{field}: empty")
    for character in text:
        if character not in _NAME:
            raise FrameError(f"{field}: not of a-z, 0-9, _, - and .")
    return text


def _range(item: object) -> "tuple[int, int, bytes]":
    pair = _list(item, "ranges")
    if len(pair) != 2:
        raise FrameError("ranges: not [range, bytes]")
    span = _integer(pair[0], "ranges", 0x10000, 0x4FFFF)
    raw = pair[1]
    if not isinstance(raw, bytes) or not 1 <= len(raw) <= MAX_RANGE_BYTES:
        raise FrameError(f"ranges: not 1 to {MAX_RANGE_BYTES} bytes")
    function = span >> 16
    address = span & 0xFFFF
    if function > 2 and len(raw) & 1:
        raise FrameError("ranges: half a register")
    if function > 2 and address + (len(raw) >> 1) > 0x10000:
        raise FrameError("ranges: beyond address 65535")
    return function, address, raw

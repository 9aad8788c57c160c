"""Protocol 1 between node and gateway, the gateway's side: what it takes apart of `up/…`, and what it packs for `down/…`.

See `ohmcore.frames`; a node never loads this.
"""

from ohmcore.errors import FrameError
from ohmcore.frames import GOOD, MAX_BOOT, PARTIAL, PROTOCOL, add_range, array, begin_data, fields, integer, name, text, wrong
from ohmcore.pack import Packer
from ohmcore.seal import hmac_sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ohmcore.pack import Buffer

    DataFrame = tuple[int, int, int, str, str, int, tuple[tuple[int, int, bytes], ...]]
    EventFrame = tuple[int, int, int, str, str, dict[str, object]]
    Hello = tuple[str, int, int, bytes, str, str, tuple[str, ...], int]

MAX_COUNT = 0x7FFFFFFFFFFFFFFF
MAX_RANGE_BYTES = 250
MAX_AGO_S = 20 * 366 * 86400


def parse_data(frame: object) -> "DataFrame":
    """(boot, seq, uptime ms, device, group, quality, ranges) with ranges as (function, first address, bytes).

    `quality` PARTIAL: a range could not be read and is absent. GOOD has at least one range.
    """
    found = fields(frame, "data", 8)
    boot, seq, uptime_ms = _stamp(found)
    device = name(found[4], "device")
    group = name(found[5], "group")
    quality = integer(found[6], "quality", GOOD, PARTIAL)
    ranges = tuple(_range(item) for item in array(found[7], "ranges"))
    if quality == GOOD and not ranges:
        raise FrameError("ranges: none, and yet the quality is good")
    return boot, seq, uptime_ms, device, group, quality, ranges


def parse_event(frame: object) -> "EventFrame":
    """(boot, seq, uptime ms, device or "", kind, detail).

    A "dropped" event carries `ranges`: [[first seq, last seq], …], of an earlier `boot` if it names one. Before the frames of that boot
    come it also says `first`, the first number that was not settled in that life, and `ago_s`: it began that long before this one at least.
    """
    found = fields(frame, "event", 7)
    boot, seq, uptime_ms = _stamp(found)
    device = text(found[4], "device")
    if device:
        name(device, "device")
    kind = name(found[5], "kind")
    detail = found[6]
    if not isinstance(detail, dict):
        raise wrong("detail", "a map")
    for key in detail:
        if not isinstance(key, str):
            raise FrameError("detail: a key that is no text")
    if kind == "dropped":
        for item in array(detail.get("ranges"), "detail.ranges"):
            span = array(item, "detail.ranges")
            if len(span) != 2:
                raise wrong("detail.ranges", "[first, last]")
            integer(span[1], "detail.ranges", integer(span[0], "detail.ranges", 1), MAX_COUNT)
        for key, least, most in (("boot", 1, MAX_BOOT), ("first", 1, MAX_COUNT), ("ago_s", 0, MAX_AGO_S)):
            if key in detail:
                integer(detail[key], key, least, most)
    return boot, seq, uptime_ms, device, kind, detail


def parse_hello(frame: object) -> "Hello":
    """(firmware, boot, uptime ms, configuration hash, slot, reset cause, capabilities, first seq)."""
    found = fields(frame, "hello", 9)
    config_hash = found[4]
    if not isinstance(config_hash, bytes) or len(config_hash) != 8:
        raise wrong("config_hash", "8 bytes")
    return (
        text(found[1], "firmware"),
        integer(found[2], "boot", 1, MAX_BOOT),
        integer(found[3], "uptime_ms", 0),
        config_hash,
        text(found[5], "slot"),
        text(found[6], "reset_cause"),
        tuple(text(item, "capabilities") for item in array(found[7], "capabilities")),
        integer(found[8], "first_seq", 1),
    )


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
    """What a node packs piece by piece: one group of a device, read as one snapshot at `uptime_ms`; for simulated nodes and tests.

    `ranges` as (function, first address, bytes).
    """
    begin_data(packer, boot, seq, uptime_ms, device, group, quality, len(ranges))
    for function, address, raw in ranges:
        add_range(packer, function, address, raw)


def pack_ack(packer: "Packer", boot: int, seq: int, unix_ms: int) -> None:
    """Everything up to `seq` of that boot is in the store. `unix_ms`: the gateway's clock, ms since 1970 UTC."""
    packer.reset()
    packer.value((PROTOCOL, boot, seq, unix_ms))


def pack_command(
    packer: "Packer",
    identity: "int | str",
    counter: int,
    device: str,
    control: str,
    words: "Buffer",
    ttl_ms: int,
    lease_ms: int = 0,
) -> None:
    """A write to a control: `words` are the registers' bytes, high byte first; void `ttl_ms` after it came. To be sealed.

    `lease_ms`: for how long the author owns the control then, at most a day; 0: without a lease, a setting that stays.
    Device "" and control "reset", "restart" or "scan": a command to the node itself.
    """
    packer.reset()
    packer.value((PROTOCOL, identity, counter, device, control, words, ttl_ms, lease_ms))


def seal(key: "Buffer", context: "Buffer", body: "Buffer") -> bytes:
    """`[body, mac]` as MessagePack; the mac covers context, a zero byte and body. `ohmcore.seal.unseal` opens it."""
    packer = Packer(bytearray(len(body) + 40))
    packer.value((body, hmac_sha256(key, context, b"\0", body)))
    return packer.message()


def _stamp(found: "Sequence[object]") -> "tuple[int, int, int]":
    return integer(found[1], "boot", 1, MAX_BOOT), integer(found[2], "seq", 1), integer(found[3], "uptime_ms", 0)


def _range(item: object) -> "tuple[int, int, bytes]":
    pair = array(item, "ranges")
    if len(pair) != 2:
        raise wrong("ranges", "[range, bytes]")
    span = integer(pair[0], "ranges", 0x10000, 0x4FFFF)
    raw = pair[1]
    if not isinstance(raw, bytes) or not 1 <= len(raw) <= MAX_RANGE_BYTES:
        raise wrong("ranges", f"1 to {MAX_RANGE_BYTES} bytes")
    function = span >> 16
    address = span & 0xFFFF
    if function > 2 and len(raw) & 1:
        raise FrameError("ranges: half a register")
    if function > 2 and address + (len(raw) >> 1) > 0x10000:
        raise FrameError("ranges: beyond address 65535")
    return function, address, raw

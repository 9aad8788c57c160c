"""The node's configuration: one file with a checksum, a copy of the last one that worked, and one that has yet to prove itself.

`config.ohm` is `OHM1`, the SHA-256 of the rest, and the rest as a MessagePack map; its keys are in `firmware/README.md`.
"""

from hashlib import sha256

from ohmcore import const
from ohmcore.errors import ConfigurationError, PackError
from ohmcore.pack import unpack

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal

CURRENT = "config.ohm"
LAST_GOOD = "config.good"
NEXT = "config.next"
ONCE = "config.once"  # what is to be `NEXT` after a restart

_MAGIC = b"OHM1"
_HEAD = const(36)
_MOST = const(8192)
_DEPTH = const(10)
_ITEMS = const(2048)
_NEEDED = (("site", str), ("node", str), ("mqtt", dict), ("buses", list), ("spool", dict), ("bus_report_ms", int))


def load(hal: "Hal", names: "tuple[str, ...]" = (CURRENT, LAST_GOOD)) -> "tuple[dict[str, Any], bytes, str, str]":
    """The first of these files that is sound (the current one, else the last good one), else ConfigurationError.

    Its map; 8 bytes of its checksum, by which the gateway knows which one runs; its name; what is wrong with those before it.
    """
    complaint = ""
    for name in names:
        try:
            raw = hal.read(name)
            if raw is None:
                raise ConfigurationError("is not there")
            return read(raw), raw[4:12], name, complaint
        except (ConfigurationError, OSError) as wrong:
            complaint += f"{'; ' if complaint else ''}{name} {wrong}"
    raise ConfigurationError(complaint)


def read(raw: bytes) -> "dict[str, Any]":
    """What a configuration file says; ConfigurationError when it is damaged or of another protocol."""
    if len(raw) > _MOST:
        raise ConfigurationError(f"has {len(raw)} bytes, more than {_MOST}")
    if raw[:4] != _MAGIC:
        raise ConfigurationError("is no configuration")
    body = memoryview(raw)[_HEAD:]
    if sha256(body).digest() != raw[4:_HEAD]:
        raise ConfigurationError("is damaged: its checksum does not fit")
    try:
        content = unpack(body, _DEPTH, _ITEMS, _MOST)
    except PackError as broken:
        raise ConfigurationError(f"is damaged: {broken}") from None
    if not isinstance(content, dict) or content.get("protocol") != 1:
        raise ConfigurationError("is of another protocol")
    for key, kind in _NEEDED:
        if not isinstance(content.get(key), kind):
            raise ConfigurationError(f"says nothing sensible about {key}")
    return content

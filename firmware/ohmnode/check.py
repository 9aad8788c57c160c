"""Whether a configuration that came over the air is one: every part of it that has to be there, of which type. Loaded for that alone."""

from ohmcore import const
from ohmcore.errors import ConfigurationError
from ohmnode import configuration

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

# A type, a map of what has to be there (`?` at the end: or not, or nil), or a list of things that are alike.
_GROUP = {"name": str, "period_ms": int, "priority": int, "reads": [[int]]}
_VITAL = {"point": str, "group": str, "read": int, "offset": int, "kind": str, "words": int, "order": str, "divisor": int, "decimals": int}
_DEVICE = {
    "name": str,
    "unit": int,
    "timeout_ms": int,
    "retries": int,
    "turnaround_ms": int,
    "groups": [_GROUP],
    "controls": [{"name": str}],
    "vitals": [_VITAL],
    "baud?": int,
    "parity?": str,
    "stop?": int,
}
_RULE = {"name": str, "device": str, "group": str, "read": int, "offset": int, "kind": str, "controls": [[str]], "hold_ms?": int}
_NODE = {
    "site": str,
    "node": str,
    "key?": bytes,
    "mqtt": {"servers": [list], "user?": str, "password?": str, "keepalive?": int, "tls?": bool},
    "wifi?": {"ssid": str, "password": str},
    "buses": [{"name": str, "kind?": str, "baud?": int, "parity?": str, "stop?": int, "devices": [_DEVICE]}],
    "spool": {"frames": int, "bytes": int},
    "bus_report_ms": int,
    "limits?": [_RULE],
    "link_loss_ms?": int,
    "update_key?": bytes,
    "flash_spool?": int,
    "frame?": int,
}


def refusal(raw: bytes) -> str:
    """What is wrong with a configuration file; empty: nothing that can be told beforehand. Too little memory to look is no reason."""
    try:
        return _wrong(configuration.read(raw), _NODE, "")
    except ConfigurationError as wrong:
        return str(wrong)
    except MemoryError:
        return ""


def _wrong(value: "Any", shape: "Any", path: str) -> str:
    """Where the value is not what it has to be; empty: nowhere."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{path} is no map"
        for key in shape:
            name = key.rstrip("?")
            found = value.get(name)
            if found is None and name != key:
                continue
            wrong = _wrong(found, shape[key], f"{path}.{name}")
            if wrong:
                return wrong
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return f"{path} is no list"
        for i in range(len(value)):
            wrong = _wrong(value[i], shape[0], f"{path}[{i}]")
            if wrong:
                return wrong
    elif not isinstance(value, shape) or (shape is int and isinstance(value, bool)):
        return f"{path} is missing" if value is None else f"{path} is of the wrong type"
    return ""

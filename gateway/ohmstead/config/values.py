"""What single values of `ohmstead.yaml` may look like: addresses, names, keys, durations, sizes.

Scalars arrive as they were written (see `load`): a password of digits stays the text it is. Sizes carry their unit and are kept in
the base unit (seconds, W, bytes).
"""

from __future__ import annotations

import base64
import binascii
import re
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from ohmstead.config.rsa import public_modulus
from ohmstead.units import duration, quantity

MQTT_PORT, MQTTS_PORT = 1883, 8883
KEY_BYTES = 32
MAX_NAME = 32
MAX_TOPIC = 200
MAX_FLASH_SPOOL = 8 << 20
GROWATT_MQTT = "growatt-mqtt:"
"""How the way begins to an inverter behind an OpenInverterGateway; its base topic follows."""
EVERY_GROUP = "*"
"""The key under which `every` keeps a duration that was given for the whole device."""

_ID = re.compile(r"[a-z0-9_-]+")
_ADDRESS = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?|[A-Za-z0-9-]+:[0-9]+")
"""A host that is an IPv4 address or has a domain, or has a port."""
_TOPIC = re.compile(r"[^\s/+#\0$][^\s/+#\0]*(?:/[^\s/+#\0]+)*")
DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|min|h|d)(\s*\d+\s*(ms|s|min|h|d))*\s*$",
    "examples": ["60 s", "10 min"],
}


class BrokerAddress(NamedTuple):
    """Where the broker listens."""

    host: str
    port: int
    tls: bool


class Via(NamedTuple):
    """How a device is reached: by a node (over one of its buses, or over Modbus TCP when there is a `host`), or by the gateway itself
    (over Modbus TCP, or over the broker by an OpenInverterGateway with this base `topic`).

    `port` is None where the profile's own port is meant, `bus` where the node has only one.
    """

    node: str | None
    host: str | None = None
    port: int | None = None
    bus: str | None = None
    topic: str | None = None

    def __str__(self) -> str:
        if self.topic is not None:
            return GROWATT_MQTT + self.topic
        address = "" if self.host is None else f"tcp://{self.host}" + ("" if self.port is None else f":{self.port}")
        return "/".join(part for part in (self.node, self.bus, address) if part)


def _id(written: str) -> str:
    if not _ID.fullmatch(written):
        raise ValueError("a name here is made of a-z, 0-9, _ and - only")
    if len(written) > MAX_NAME:
        raise ValueError(f"a name here has at most {MAX_NAME} characters")
    return written


def _address(written: object, schemes: Mapping[str, int | None], example: str) -> tuple[str, str, int | None]:
    """(scheme, host, port) of a URL that holds nothing else. Raises ValueError."""
    text = str(written)
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(f"not an address; write it like {example}") from None
    if url.scheme not in schemes or not host or not re.fullmatch(r"[\w.:%-]+", host) or port == 0 or not _can_be_asked(host):
        raise ValueError(f"not an address; write it like {example}")
    if url.username is not None or url.password is not None:
        raise ValueError("user and password have keys of their own, `user` and `password` or `password_file`")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError(f"nothing may follow host and port; write it like {example}")
    return url.scheme, host, port if port is not None else schemes[url.scheme]


def _can_be_asked(host: str) -> bool:
    """Whether a name server can be asked for it: no label empty or longer than 63 characters."""
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def listening(host: str) -> str:
    if not _can_be_asked(host):
        raise ValueError("not an address; write it like 127.0.0.1, 0.0.0.0 or ::1")
    return host


def broker(written: object) -> BrokerAddress:
    scheme, host, port = _address(written, {"mqtt": MQTT_PORT, "mqtts": MQTTS_PORT}, "mqtt://nas or mqtts://nas:8883")
    return BrokerAddress(host, port or MQTT_PORT, scheme == "mqtts")


def way(written: object) -> Via:
    if not isinstance(written, str):
        raise ValueError("the name of a node, or tcp://host")  # noqa: TRY004 - pydantic turns ValueError into a mistake
    if written.startswith(GROWATT_MQTT):
        topic = written.removeprefix(GROWATT_MQTT)
        if not _TOPIC.fullmatch(topic) or len(topic) > MAX_TOPIC:
            raise ValueError(f"the base topic of the OpenInverterGateway is missing or none; write it like {GROWATT_MQTT}energy/solar")
        return Via(None, topic=topic)
    node, slash, rest = written.partition("/")
    if node.endswith(":"):
        node, slash, rest = "", "", written
    if "://" in rest:
        _, host, port = _address(rest, {"tcp": None}, f"{node}{slash}tcp://192.0.2.10 or {node}{slash}tcp://192.0.2.10:502")
        return Via(_id(node) if slash else None, host, port)
    if not slash and _ADDRESS.fullmatch(node):
        raise ValueError(f"no node is called like that; for Modbus TCP write tcp://{node}")
    return Via(_id(node), bus=_id(rest) if slash else None)


def timezone_name(written: object) -> str:
    try:
        zoneinfo.ZoneInfo(str(written))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a time zone; write it like Europe/Prague") from None
    return str(written)


def node_key(written: object) -> bytes:
    text = str(written).strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("a key is 32 random bytes, as 64 hexadecimal digits or as base64")
    return key


def uart(written: object) -> str | int:
    text = str(written)
    if text.isdecimal():
        return int(text)
    if not text.startswith("/"):
        raise ValueError("the path of a serial device (/dev/ttyUSB0), or the number of a UART (1)")
    return text


def octets(written: object) -> int:
    size = quantity(int(written) if isinstance(written, str) and written.isdecimal() else written, "B")
    if not 0 <= size <= MAX_FLASH_SPOOL or size != int(size):
        raise ValueError(f"from 0 to {MAX_FLASH_SPOOL >> 20} MiB, e.g. 256 KiB")
    return int(size)


def rated_power(written: str) -> str:
    """As it was written, when it is a power (W or VA) above 0. Raises ValueError."""
    if quantity(written, "W") <= 0:
        raise ValueError("must be more than 0")
    return written


def period(written: object) -> float:
    seconds = duration(written)
    if seconds < 0.1:
        raise ValueError("shorter than 100 ms, which no device answers")
    return seconds


def every_group(written: object, handler: Callable[[object], dict[str, float]]) -> dict[str, float]:
    return handler(written) if isinstance(written, dict) else {EVERY_GROUP: period(written)}


def host_name(written: object) -> str:
    """A host's name or address, and nothing else. Raises ValueError."""
    text = str(written).strip()
    if not re.fullmatch(r"[\w.-]+|[0-9a-fA-F:]+(%\w+)?", text) or not _can_be_asked(text):
        raise ValueError("not an address; write it like 192.0.2.10 or shelly.lan")
    return text


Host = Annotated[str, AfterValidator(host_name)]
Id = Annotated[str, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": f"^{_ID.pattern}$", "maxLength": MAX_NAME})]
Duration = Annotated[float, PlainValidator(duration), WithJsonSchema(DURATION_SCHEMA)]
Period = Annotated[float, PlainValidator(period), WithJsonSchema(DURATION_SCHEMA)]
Bytes = Annotated[int, PlainValidator(octets), WithJsonSchema({"type": ["string", "integer"], "examples": ["256 KiB", "1 MB", 0]})]
"""A size in bytes."""
Modulus = Annotated[bytes, PlainValidator(public_modulus), WithJsonSchema({"type": "string"})]
"""The modulus of an RSA key, high byte first, from its PEM text."""
Text = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""A text that may look like a number or a truth value: it is taken as it is written."""
Secret = Text
Parity = Literal["none", "even", "odd"]
Baud = Annotated[int, Field(ge=1200, le=921600)]
TcpPort = Annotated[int, Field(ge=1, le=65535)]
StopBits = Annotated[int, Field(ge=1, le=2)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

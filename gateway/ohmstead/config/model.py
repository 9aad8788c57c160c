"""What an owner writes in `ohmstead.yaml`, section by section. Everything has a default that is safe; nothing unknown is accepted.

Scalars arrive as they were written (see `load`): a password of digits stays the text it is. Sizes carry their unit and are kept in
the base unit (seconds, W). The texts of the field descriptions go into the JSON schema that editors use.
"""

from __future__ import annotations

import base64
import binascii
import re
import zoneinfo
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from ohmstead.config.limits import narrowed
from ohmstead.profiles.compiler import PollGroup, line_cost, periods, poll_groups
from ohmstead.profiles.model import Profile, RawLimits
from ohmstead.profiles.planner import TcpCost
from ohmstead.units import duration

MQTT_PORT, MQTTS_PORT = 1883, 8883
KEY_BYTES = 32
MAX_NAME = 32
EVERY_GROUP = "*"
"""The key under which `every` keeps a duration that was given for the whole device."""

_ID = re.compile(r"[a-z0-9_-]+")
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
    """How a device is reached: through a node (then `host` is None), or by the gateway itself over Modbus TCP.

    `port` is None where the profile's own port is meant.
    """

    node: str | None
    host: str | None = None
    port: int | None = None


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


def _listening(host: str) -> str:
    if not _can_be_asked(host):
        raise ValueError("not an address; write it like 127.0.0.1, 0.0.0.0 or ::1")
    return host


def _broker(written: object) -> BrokerAddress:
    scheme, host, port = _address(written, {"mqtt": MQTT_PORT, "mqtts": MQTTS_PORT}, "mqtt://nas or mqtts://nas:8883")
    return BrokerAddress(host, port or MQTT_PORT, scheme == "mqtts")


def _via(written: object) -> Via:
    if not isinstance(written, str):
        raise ValueError("the name of a node, or tcp://host")  # noqa: TRY004 - pydantic turns ValueError into a mistake
    if "://" in written:
        _, host, port = _address(written, {"tcp": None}, "tcp://192.0.2.10 or tcp://192.0.2.10:502")
        return Via(None, host, port)
    return Via(_id(written))


def _timezone(written: object) -> str:
    try:
        zoneinfo.ZoneInfo(str(written))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a time zone; write it like Europe/Prague") from None
    return str(written)


def _key(written: object) -> bytes:
    text = str(written).strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("a key is 32 random bytes, as 64 hexadecimal digits or as base64")
    return key


def _port(written: object) -> str | int:
    text = str(written)
    if text.isdecimal():
        return int(text)
    if not text.startswith("/"):
        raise ValueError("the path of a serial device (/dev/ttyUSB0), or the number of a UART (1)")
    return text


def _period(written: object) -> float:
    seconds = duration(written)
    if seconds < 0.1:
        raise ValueError("shorter than 100 ms, which no device answers")
    return seconds


def _every(written: object, handler: Callable[[object], dict[str, float]]) -> dict[str, float]:
    return handler(written) if isinstance(written, dict) else {EVERY_GROUP: _period(written)}


Id = Annotated[str, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": f"^{_ID.pattern}$", "maxLength": MAX_NAME})]
Duration = Annotated[float, PlainValidator(duration), WithJsonSchema(DURATION_SCHEMA)]
Period = Annotated[float, PlainValidator(_period), WithJsonSchema(DURATION_SCHEMA)]
Text = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""A text that may look like a number or a truth value: it is taken as it is written."""
Secret = Text
Parity = Literal["none", "even", "odd"]
Baud = Annotated[int, Field(ge=1200, le=921600)]
TcpPort = Annotated[int, Field(ge=1, le=65535)]
StopBits = Annotated[int, Field(ge=1, le=2)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Mqtt(Section):
    """The broker, and who we are there."""

    url: Annotated[
        BrokerAddress,
        PlainValidator(_broker),
        WithJsonSchema({"type": "string", "pattern": "^mqtts?://", "examples": ["mqtt://nas", "mqtts://nas:8883"]}),
    ] = Field(default_factory=lambda: BrokerAddress("localhost", MQTT_PORT, False), description="mqtt://host[:port], or mqtts:// for TLS.")
    user: Text | None = None
    password: Secret | None = Field(None, repr=False)
    password_file: Path | None = Field(None, description="A file that holds the password (a secret of Docker or systemd).")
    client_id: Text | None = Field(None, description="How the gateway calls itself at the broker; `ohmstead-<site>` unless given.")

    @property
    def host(self) -> str:
        return self.url.host

    @property
    def port(self) -> int:
        return self.url.port

    @property
    def tls(self) -> bool:
        return self.url.tls


class NodeMqtt(Section):
    """What a node uses instead of the gateway's own `mqtt`: another address of the broker, a user of its own."""

    url: Annotated[
        BrokerAddress | None,
        PlainValidator(_broker),
        WithJsonSchema({"type": "string", "pattern": "^mqtts?://", "examples": ["mqtt://192.0.2.2"]}),
    ] = None
    user: Text | None = None
    password: Secret | None = Field(None, repr=False)
    password_file: Path | None = None


class Pins(Section):
    """GPIO numbers of an ESP32: transmit, receive, and the transceiver's driver enable (DE, tied to RE) if it has one."""

    tx: Annotated[int, Field(ge=0, le=48)]
    rx: Annotated[int, Field(ge=0, le=48)]
    de: Annotated[int, Field(ge=0, le=48)] | None = None


class Bus(Section):
    """An RS485 line at a node. Speed and format are those of the profile unless said here."""

    pins: Pins | None = None
    port: Annotated[str | int, PlainValidator(_port), WithJsonSchema({"type": ["string", "integer"]})] | None = Field(
        None, description="The serial device of a node that runs on Linux (/dev/ttyUSB0), or the number of the UART (default 1)."
    )
    baud: Baud | None = None
    parity: Parity | None = None
    stop: StopBits | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.pins is None and not isinstance(self.port, str):
            raise ValueError("where is the bus? give `pins: {tx: 17, rx: 16, de: 4}` (ESP32) or `port: /dev/ttyUSB0`")
        if self.pins is not None and isinstance(self.port, str):
            raise ValueError("either `pins` (ESP32) or the path of a `port`, not both")
        return self


class Wifi(Section):
    ssid: Text
    password: Secret | None = Field(None, repr=False)
    password_file: Path | None = None


class NodeConfig(Section):
    """A small computer on an RS485 bus that reads for the gateway."""

    bus: Bus
    key: (
        Annotated[
            bytes, PlainValidator(_key), WithJsonSchema({"type": "string", "description": "32 bytes: 64 hexadecimal digits, or base64."})
        ]
        | None
    ) = Field(None, repr=False)
    key_file: Path | None = None
    wifi: Wifi | None = None
    mqtt: NodeMqtt = Field(default_factory=NodeMqtt)


class Line(Section):
    """What differs at this home from the line in the device's profile."""

    baud: Baud | None = None
    parity: Parity | None = None
    stop: StopBits | None = None
    max_read: Annotated[int, Field(ge=1, le=125)] | None = Field(None, description="Registers in one request, at most.")
    turnaround: Duration | None = Field(None, description="From the end of a request to the begin of the answer.")
    gap: Duration | None = Field(None, description="Pause between an answer and the next request.")
    timeout: Duration | None = None
    retries: Annotated[int, Field(ge=0, le=10)] | None = None


class DeviceConfig(Section):
    """An inverter, a meter, …: which model it is and how it is reached."""

    profile: str = Field(description="The device's model: a file of shared/profiles, or of `profiles/` beside this file.")
    via: Annotated[
        Via, PlainValidator(_via), WithJsonSchema({"type": "string", "examples": ["cellar", "tcp://192.0.2.10", "tcp://192.0.2.10:502"]})
    ] = Field(description="The name of a node, or tcp://host[:port] for Modbus TCP by the gateway itself.")
    name: Text | None = Field(None, description="What people call it; the profile's name unless given.")
    unit: Annotated[int, Field(ge=0, le=255)] | None = Field(None, description="Modbus unit; the profile's unless given.")
    every: Annotated[
        dict[str, Period],
        WrapValidator(_every),
        WithJsonSchema({"anyOf": [DURATION_SCHEMA, {"type": "object", "additionalProperties": DURATION_SCHEMA}]}),
    ] = Field(
        default_factory=dict,
        description="How often it is read: one duration for the fastest groups (none is read more often), or one for each group.",
    )
    contract: Literal["json", "state", "none"] | None = Field(
        None, description="The MQTT contract of the device's make: `json` where the profile has one, `state`, or `none`."
    )
    line: Line = Field(default_factory=Line)
    read_only: bool = Field(False, description="Nothing is ever written to this device.")
    limits: dict[str, str] = Field(
        default_factory=dict, description="Narrower ranges for controls, e.g. {grid_inject_limit: 0..50 %}. They hold whoever commands."
    )


class Store(Section):
    path: Path = Field(Path("ohmstead.db"), description="The SQLite file; relative to the folder of this file.")
    flush: Duration = Field(1.0, description="How long readings may wait for a commit (and nodes for their acknowledgement).")
    keep_raw: Duration = Field(7 * 86400.0, description="How long the frames of the nodes are kept as they came.")


class Web(Section):
    enabled: bool = True
    host: Annotated[str, AfterValidator(_listening)] = Field(
        "127.0.0.1", description="The address the page listens on; 0.0.0.0 for the whole home network."
    )
    port: TcpPort = 8080


class Log(Section):
    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class HomeAssistant(Section):
    enabled: bool = True
    prefix: Text = "homeassistant"
    birth: Text | None = Field(None, description="The topic on which Home Assistant says `online`; `<prefix>/status` unless given.")
    entities: Literal["contract", "native", "both"] = Field(
        "contract",
        description="For a device with a contract: its contract's entities and natively what that lacks; only native ones; or both, twice.",
    )
    grace: Duration = Field(1.0, description="How long discovery waits after the start and after Home Assistant's birth, e.g. 15 s.")

    @property
    def birth_topic(self) -> str:
        return self.birth or f"{self.prefix}/status"


class Publish(Section):
    values: bool = Field(True, description="Each value plain under ohm/<site>/device/<device>/<point>.")


class Config(Section):
    """A home: `ohmstead.yaml` with the environment's overrides, checked against the profiles it names."""

    site: Id = "home"
    timezone: Annotated[str, PlainValidator(_timezone), WithJsonSchema({"type": "string", "examples": ["Europe/Prague"]})] = "Europe/Prague"
    mqtt: Mqtt = Field(default_factory=Mqtt)
    nodes: dict[Id, NodeConfig] = Field(default_factory=dict)
    devices: dict[Id, DeviceConfig] = Field(default_factory=dict)
    store: Store = Field(default_factory=Store)
    web: Web = Field(default_factory=Web)
    log: Log = Field(default_factory=Log)
    home_assistant: HomeAssistant = Field(default_factory=HomeAssistant)
    publish: Publish = Field(default_factory=Publish)

    _profiles: dict[str, Profile] = PrivateAttr(default_factory=dict)

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.timezone)

    @property
    def client_id(self) -> str:
        return self.mqtt.client_id or f"ohmstead-{self.site}"

    def profile(self, device: str) -> Profile:
        """The profile of a device; its `line` is the one of this home (profile, then bus, then the device's own `line`)."""
        return self._profiles[device]

    def unit(self, device: str) -> int:
        """The Modbus unit of a device, on the way it is reached."""
        line, chosen = self._profiles[device].line, self.devices[device]
        if chosen.unit is not None:
            return chosen.unit
        return line.unit_tcp if chosen.via.host is not None and line.unit_tcp is not None else line.unit

    def periods(self, device: str) -> dict[str, float]:
        """How often each group of a device is read, in seconds."""
        return periods(self._profiles[device], self.devices[device].every)

    def poll_groups(self, device: str) -> list[PollGroup]:
        """What is polled of a device: planned for its serial line behind a node, for the network when the gateway itself reads it."""
        profile, chosen = self._profiles[device], self.devices[device]
        if chosen.via.node is None:
            return poll_groups(profile, TcpCost(), chosen.every, device, max_frame=None)
        return poll_groups(profile, line_cost(profile.line), chosen.every, device)

    def raw_limits(self, device: str, control: str) -> RawLimits:
        """What the register of a control may be set to, after the owner's `limits`. Raises KeyError for an unknown control."""
        return narrowed(self._profiles[device], control, self.devices[device].limits.get(control))

    def devices_of(self, node: str) -> list[str]:
        """The devices that are reached through a node, in the order of the file."""
        return [name for name, device in self.devices.items() if device.via.node == node]

    def completed(self, devices: Mapping[str, DeviceConfig], profiles: Mapping[str, Profile]) -> Config:
        """The same with what only the profiles say (called once, by `load`)."""
        config = self.model_copy(update={"devices": dict(devices)})
        config._profiles = dict(profiles)
        return config

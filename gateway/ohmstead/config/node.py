"""Nodes in `ohmstead.yaml`: their buses, how they reach the broker, and what they hold on to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from ohmstead.config.values import (
    Baud,
    BrokerAddress,
    Bytes,
    Duration,
    Id,
    Modulus,
    Parity,
    Secret,
    Section,
    StopBits,
    Text,
    broker,
    node_key,
    uart,
)

ONLY_BUS = "rs485-1"
"""What the bus of a node with one bus is called."""


class NodeMqtt(Section):
    """What a node uses instead of the gateway's own `mqtt`: another address of the broker, a user of its own."""

    url: Annotated[
        BrokerAddress | None,
        PlainValidator(broker),
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

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        used = [pin for pin in (self.tx, self.rx, self.de) if pin is not None]
        if len(set(used)) < len(used):
            raise ValueError("tx, rx and de each need a GPIO of their own")
        return self


class Bus(Section):
    """An RS485 line at a node. Speed and format are those of the profile unless said here."""

    pins: Pins | None = None
    port: Annotated[str | int, PlainValidator(uart), WithJsonSchema({"type": ["string", "integer"]})] | None = Field(
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


def _pin(written: object) -> object:
    return {"pin": written} if isinstance(written, str | int) else written


class StopPin(Section):
    """An input that is the emergency stop. `high` fits a switch that opens (a broken wire stops as well), pulled up at the board."""

    pin: Annotated[int, Field(ge=0, le=48)]
    active: Literal["high", "low"] = "high"


class NodeConfig(Section):
    """A small computer on an RS485 bus that reads for the gateway."""

    bus: Bus | None = Field(None, description="Its RS485 line, where it has one.")
    buses: dict[Id, Bus] = Field(
        default_factory=dict, description="Its RS485 lines by name, where it has several; devices then say `via: node/bus`."
    )
    key: (
        Annotated[
            bytes,
            PlainValidator(node_key),
            WithJsonSchema({"type": "string", "description": "32 bytes: 64 hexadecimal digits, or base64."}),
        ]
        | None
    ) = Field(None, repr=False)
    key_file: Path | None = None
    wifi: Wifi | None = None
    mqtt: NodeMqtt = Field(default_factory=NodeMqtt)
    stop_pin: Annotated[StopPin, BeforeValidator(_pin)] | None = Field(
        None, description="A GPIO that is the emergency stop, e.g. {pin: 27, active: high} for a switch that opens."
    )
    link_loss: Duration = Field(60.0, description="How long the broker may be away until the node ends what was commanded for a time.")
    flash_spool: Bytes = Field(262144, description="Room on its flash for readings while the gateway is away, e.g. 256 KiB; 0 for none.")
    update_key: Modulus | None = Field(None, description="The public key (PEM, RSA-2048) that its updates are signed with.")
    update_key_file: Path | None = None

    def lines(self) -> Mapping[str, Bus]:
        """Its RS485 lines by name."""
        return {ONLY_BUS: self.bus} if self.bus is not None else self.buses

    @model_validator(mode="after")
    def _has_one_or_several(self) -> Self:
        if self.bus is not None and self.buses:
            raise ValueError("either one `bus` or several `buses`, not both")
        return self

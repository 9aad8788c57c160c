"""What an owner says of a Shelly meter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from ohmstead.config.device import SourceConfig
from ohmstead.config.values import Host, Secret, TcpPort, Text

_PREFIX = re.compile(r"[^\s/+#]+(?:/[^\s/+#]+)*")
_MOST = 128


class ShellyDevice(SourceConfig):
    """A Shelly of the second generation or later that measures: over HTTP by its `host`, or over the broker by its `mqtt` prefix."""

    source: Literal["shelly"]
    host: Host | None = Field(None, description="Its address in the home network, e.g. 192.0.2.12.")
    port: TcpPort = 80
    mqtt: Text | None = Field(None, description="Its MQTT prefix on the broker, e.g. shellypro3em-a0b1c2.")
    password: Secret | None = Field(None, repr=False)
    password_file: Path | None = Field(None, description="A file that holds the device's password.")

    @model_validator(mode="after")
    def _is_reached_one_way(self) -> Self:
        if (self.host is None) == (self.mqtt is None):
            raise ValueError("how is it reached? give either `host: 192.0.2.12` or `mqtt: shellypro3em-a0b1c2`, its prefix on the broker")
        if self.mqtt is not None and (not _PREFIX.fullmatch(self.mqtt) or len(self.mqtt) > _MOST):
            raise ValueError(f"mqtt: {self.mqtt!r} is no prefix of topics; write it as the Shelly's MQTT settings have it")
        if self.mqtt is not None and (self.password is not None or self.password_file is not None):
            raise ValueError("a `password` is for `host`: on the broker a Shelly asks for none")
        return self

    @property
    def profile(self) -> str:
        return "shelly-em"

    @property
    def address(self) -> str:
        return self.mqtt or f"{self.host}:{self.port}"

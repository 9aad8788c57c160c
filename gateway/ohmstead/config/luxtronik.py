"""What an owner says of a heat pump with a Luxtronik controller."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ohmstead.config.device import SourceConfig
from ohmstead.config.values import Host, TcpPort


class LuxtronikDevice(SourceConfig):
    """A Luxtronik 2.x controller in the home network."""

    source: Literal["luxtronik"]
    host: Host = Field(description="Its address in the home network, e.g. 192.0.2.13.")
    port: TcpPort = 8889

    @property
    def profile(self) -> str:
        return "luxtronik"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

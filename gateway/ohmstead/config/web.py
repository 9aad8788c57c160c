"""The section `web`: who may look at the gateway, and for whom it looks like what was there before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ohmstead.config.values import Secret, Section, TcpPort, listening
from ohmstead.profiles.model import Profile

Former = Literal["aiomtec2mqtt", "hoymiles-mqtt"]


def is_mtec(profile: Profile) -> bool:
    """Whether aiomtec2mqtt would read such a device."""
    return "state" in profile.contracts


def is_dtu(profile: Profile) -> bool:
    """Whether hoymiles-mqtt would."""
    return profile.reader == "hoymiles"


class Web(Section):
    """The page, the API, `/health`, `/ready`, `/stats` and `/metrics`."""

    enabled: bool = True
    host: Annotated[str, AfterValidator(listening)] = Field(
        "127.0.0.1", description="The address the page listens on; 0.0.0.0 for the whole home network."
    )
    port: TcpPort = 8080
    token: Secret | None = Field(None, repr=False, description="What a program must show to command over the API; without it, nobody may.")
    token_file: Path | None = Field(None, description="A file that holds the token.")
    compatible: list[Former] = Field(
        default_factory=list,
        description="Former services whose dashboards and probes go on: their metrics beside ours, and of `hoymiles-mqtt` what its fork"
        " answers under /health, /ready and /stats (ours stay under /api/health, /api/ready and /api/stats).",
    )

    def unfit(self, profiles: Iterable[Profile]) -> Iterator[tuple[Former, str]]:
        """Former services that read nothing of what this home has, and what is missing."""
        known = list(profiles)
        if "aiomtec2mqtt" in self.compatible and not any(map(is_mtec, known)):
            yield "aiomtec2mqtt", "there is no M-TEC under `devices` whose figures it would have"
        if "hoymiles-mqtt" in self.compatible and not any(map(is_dtu, known)):
            yield "hoymiles-mqtt", "there is no Hoymiles DTU under `devices` whose figures it would have"

"""What an owner says of a Viessmann heating that is reached through its maker's cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from ohmstead.config.device import SourceConfig
from ohmstead.config.prices import Address
from ohmstead.config.values import Duration, Secret, Section, Text
from ohmstead.units import UnitError, quantity

_PERIOD_S = 1800.0
_DAY_S = 86_400.0


def _margin(written: object) -> float:
    share = quantity(written, "%")
    if not 0 <= share <= 90:
        raise UnitError("from 0 to 90 %")
    return share / 100


class Requests(Section):
    """How many requests the account grants, and how many of them are never used."""

    day: Annotated[int, Field(ge=10)] = Field(1450, description="Within 24 hours; 1450 for a free account, newer ones have 3000.")
    ten_minutes: Annotated[int, Field(ge=5)] = Field(120, description="Within 10 minutes.")
    margin: Annotated[float, PlainValidator(_margin), WithJsonSchema({"type": "string", "examples": ["10 %"]})] = Field(
        default_factory=lambda: 0.1, description="The share of both that is left for the owner's app and other programs, e.g. 10 %."
    )


class VicareDevice(SourceConfig):
    """An account at Viessmann, and the heating in it; its other devices appear by themselves."""

    source: Literal["vicare"]
    client_id: Text = Field(description="What app.developer.viessmann-climatesolutions.com gives the account: its client ID.")
    user: Text | None = Field(None, description="The account's e-mail address; not needed after `ohmstead vicare login`.")
    password: Secret | None = Field(
        None, repr=False, description="Sent once, for the first token; not needed after `ohmstead vicare login`."
    )
    password_file: Path | None = Field(None, description="A file that holds the password.")
    token_path: Path | None = Field(
        None, description="Where the token is kept; vicare-<device>.json unless given, relative to the folder of the store."
    )
    requests: Requests = Field(default_factory=Requests)
    stale: Duration = Field(7200.0, description="A heating of which the cloud has heard nothing for so long says nothing, e.g. 2 h.")
    each_device: bool = Field(False, description="A request for each device instead of one for each gateway.")
    cloud: Address | None = Field(None, description="Another address of the cloud, for a simulated one.")

    @property
    def profile(self) -> str:
        return "vicare"

    @property
    def address(self) -> str:
        return self.cloud or "Viessmann's cloud"

    @property
    def identity(self) -> tuple[str, ...] | None:
        """An account; which one it is only its token knows where no `user` is given."""
        return None if self.user is None else (self.profile, self.address, self.client_id, self.user)

    def token_kept(self, device: str, store: Path) -> Path:
        """Where the token of `device` is kept; `store` is the file of the store."""
        return store.parent / (self.token_path.expanduser() if self.token_path is not None else f"vicare-{device}.json")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.user is None) != (self.password is None and self.password_file is None):
            raise ValueError("give both `user` and `password` (or `password_file`), or neither and run `ohmstead vicare login`")
        every = min(self.every.values(), default=_PERIOD_S)
        usable = int(self.requests.day * (1 - self.requests.margin))
        if _DAY_S / every > usable:
            raise ValueError(
                f"`every: {every:g} s` needs {_DAY_S / every:.0f} requests a day for each gateway, and {usable} may be used;"
                f" at least {_DAY_S / usable:.0f} s, or a larger `requests: {{day: …}}` if the account grants it"
            )
        if self.stale < every:
            raise ValueError(f"`stale: {self.stale:g} s` is less than `every`: nothing would ever be fresh")
        return self

"""What an owner says of a heat pump with a Luxtronik controller."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ohmstead.config.device import SourceConfig
from ohmstead.config.values import Host, TcpPort
from ohmstead.profiles import library
from ohmstead.profiles.model import Profile
from ohmstead.profiles.point import Shown


class LuxtronikDevice(SourceConfig):
    """A Luxtronik 2.x controller in the home network. Nothing is written to it but what `control` names."""

    source: Literal["luxtronik"]
    host: Host = Field(description="Its address in the home network, e.g. 192.0.2.13.")
    port: TcpPort = 8889
    further: Shown = Field(
        "never",
        description="The some 1500 numbers beside the usual points: `never` (only kept), `on-request` (topics, and entities that are"
        " disabled at first) or `always`. Single ones are wanted under `points`, by the library's name: {temperatur_rfv: {name: Cellar}}.",
    )

    @model_validator(mode="after")
    def _calls_points_by_their_name(self) -> Self:
        """The library's name is for what has no name of ours."""
        usual = library.load(self.profile).points if self.points else {}
        unknown = [name for name in self.points if name not in usual]
        if unknown:
            from ohmstead.profiles.luxtronik import called

            fields = {point.field: point.id for point in usual.values()}
            ours = {name: fields.get(one.field) for name in unknown if (one := called(name)) is not None}
            if told := "; ".join(f"the point {name} is called {id_} here" for name, id_ in ours.items() if id_ is not None):
                raise ValueError(told)
        return self

    @property
    def profile(self) -> str:
        return "luxtronik"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def fitted(self, profile: Profile) -> Profile:
        """With the further points that are wanted, and with no control that `control` does not name."""
        from ohmstead.profiles.luxtronik import called, entries, extended  # the library is for who has such a pump

        wanted = [one for name in self.points if name not in profile.points and (one := called(name)) is not None]
        profile = extended(profile, wanted)
        if self.further != "never":
            profile = extended(profile, entries().values(), self.further)
        allowed = {name: control for name, control in profile.controls.items() if name in self.control.ranges}
        return profile.model_copy(update={"controls": allowed})

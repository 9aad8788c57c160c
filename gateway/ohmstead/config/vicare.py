"""What an owner says of a Viessmann heating that is reached through its maker's cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ohmstead.config.device import SourceConfig
from ohmstead.config.values import Secret, Text


class VicareDevice(SourceConfig):
    """An account at Viessmann, and the installation in it."""

    source: Literal["vicare"]
    user: Text | None = Field(None, description="The account's e-mail address; not needed after `ohmstead vicare login`.")
    password: Secret | None = Field(None, repr=False)
    password_file: Path | None = Field(None, description="A file that holds the password.")
    client_id: Text | None = Field(None, description="The API key of the account's developer portal.")

    @property
    def profile(self) -> str:
        return "vicare"

    @property
    def address(self) -> str:
        return "Viessmann's cloud"

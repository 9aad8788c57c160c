"""What an owner may say of a Hoymiles DTU."""

from __future__ import annotations

from ohmstead.config.values import Section


class Hoymiles(Section):
    """A DTU and the inverters behind it."""

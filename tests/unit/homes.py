"""Homes to load in tests of the configuration."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.errors import ConfigurationError

Write = Callable[[str], Path]
"""Writes a text as the `ohmstead.yaml` of a test, and says where it is."""

SMALLEST = """
    devices:
      mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}
"""
WITH_NODE = """
    mqtt: {url: mqtt://nas}
    nodes:
      cellar: {bus: {pins: {tx: 17, rx: 16, de: 4}}}
    devices:
      mtec: {profile: mtec-energybutler, via: cellar}
"""


def writer(folder: Path) -> Write:
    def write(text: str) -> Path:
        path = folder / "ohmstead.yaml"
        path.write_text(textwrap.dedent(text).strip("\n") + "\n", encoding="utf-8")
        return path

    return write


def mistakes(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    """What is told about the file, without its folder."""
    with pytest.raises(ConfigurationError) as error:
        load(path, environ or {})
    return [str(mistake).replace(f"{path.parent}/", "") for mistake in error.value.mistakes]

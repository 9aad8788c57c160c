"""A Luxtronik controller on its port: one block of calculations is asked for, which say its software version."""

from __future__ import annotations

from ohmstead.detect.finding import Finding
from ohmstead.errors import SourceError
from ohmstead.migrate.home import Value
from ohmstead.sources.luxtronik_wire import CALCULATIONS, PORT, Endpoint, connected

_VERSION = slice(81, 91)
"""The calculations that are the characters of the software version (the luxtronik library: ID_WEB_SoftStand)."""


async def recognised(host: str, port: int, patience_s: float) -> list[Finding]:
    """The heat pump behind a port; nothing where nobody listens, or somebody else."""
    try:
        async with connected(Endpoint(host, port, patience_s)) as conversation:
            calculations = await conversation.block(CALCULATIONS)
    except SourceError:
        return []
    version = "".join(chr(letter) for letter in calculations[_VERSION] if 32 < letter < 127)
    keys: dict[str, Value] = {"source": "luxtronik", "host": host}
    if port != PORT:
        keys["port"] = port
    return [Finding("heatpump", host, keys, f"Luxtronik, software {version}" if version else "Luxtronik")]

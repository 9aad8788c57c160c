"""A Shelly: it says at `/shelly`, without a password, who it is; whether it measures is seen from its status."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ohmstead.detect.finding import Finding
from ohmstead.errors import SourceError
from ohmstead.migrate.home import Value
from ohmstead.sources.shelly_rpc import HttpChannel

PORT = 80
_MOST = 4096
_SECOND = 2
_MEASURES = (("em:", ""), ("em1:", ""), ("pm1:", ""), ("switch:", "apower"))
"""Components that measure, and the key that says so where the name does not."""


async def recognised(host: str, port: int, patience_s: float) -> list[Finding]:
    """The Shelly behind a port, if it measures; nothing where nobody listens, or somebody else."""
    told = await _told(host, port, patience_s)
    generation, mac = told.get("gen"), str(told.get("mac", ""))
    if not isinstance(generation, int) or generation < _SECOND or not mac:
        return []
    keys: dict[str, Value] = {"source": "shelly", "host": host}
    if port != PORT:
        keys["port"] = port
    said = f"Shelly {told.get('app') or told.get('model')}, {told.get('id') or mac}"
    if told.get("auth_en"):
        return [Finding("house", host, keys, said, mac, "wants a password: add `password_file`")]
    return [Finding("house", host, keys, said, mac)] if await _measures(host, port, patience_s) else []


async def _told(host: str, port: int, patience_s: float) -> dict[str, Any]:
    """What it says of itself; empty where nothing comes, or no JSON."""
    try:
        async with asyncio.timeout(patience_s):
            reader, writer = await asyncio.open_connection(host, port)
    except (TimeoutError, OSError, UnicodeError):
        return {}
    try:
        async with asyncio.timeout(patience_s):
            writer.write(f"GET /shelly HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii", "replace"))
            await writer.drain()
            answer = b""
            while len(answer) < _MOST and (piece := await reader.read(_MOST)):
                answer += piece
    except (TimeoutError, OSError):
        return {}
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        return {}
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


async def _measures(host: str, port: int, patience_s: float) -> bool:
    channel = HttpChannel(host, port, timeout_s=patience_s)
    try:
        status = await channel.call("Shelly.GetStatus")
    except SourceError:
        return False
    finally:
        await channel.close()
    for component, value in status.items():
        for begins, key in _MEASURES:
            if component.startswith(begins) and (not key or (isinstance(value, dict) and key in value)):
                return True
    return False

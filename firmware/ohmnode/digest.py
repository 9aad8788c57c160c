"""The SHA-256 of a file on the flash, found out in pieces, so that nothing else has to wait."""

import asyncio
from hashlib import sha256

from ohmcore import const
from ohmnode import overlay

_PIECE = const(512)


async def digest_of(path: str, start: int, size: int) -> bytes:
    """The SHA-256 of `size` bytes of a file from `start` on, or of fewer where it ends. Lets others run all the time.

    MemoryError where these have no memory.
    """
    total = sha256()
    piece = memoryview(bytearray(_PIECE))
    with open(path, "rb") as file:
        file.seek(start)
        while size > 0:
            got = file.readinto(piece[: min(size, _PIECE)]) or 0
            if not got:
                break
            total.update(piece[:got])
            size -= got
            overlay.calm()
            await asyncio.sleep_ms(0)
    digest: bytes = total.digest()
    return digest

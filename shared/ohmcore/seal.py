"""Sealed messages: a body and its HMAC-SHA256 (RFC 2104) over context and body. Sealed by `ohmcore.gateway`, opened here.

The context says where the body belongs (`<site>/<node>/command`), so that what was sealed for one node means nothing to another.
"""

from hashlib import sha256

from ohmcore import const
from ohmcore.errors import FrameError, PackError
from ohmcore.pack import unpack

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ohmcore.pack import Buffer

_BLOCK = const(64)
_MAC = const(32)


def hmac_sha256(key: "Buffer", *parts: "Buffer") -> bytes:
    """The 32 bytes of HMAC-SHA256 over the concatenated `parts`. Raises ValueError for an empty key."""
    if not key:
        raise ValueError("no key")
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    pad = bytearray(_BLOCK)
    pad[: len(key)] = key
    for i in range(_BLOCK):
        pad[i] ^= 0x36
    digest = sha256(pad)
    for part in parts:
        digest.update(part)
    for i in range(_BLOCK):
        pad[i] ^= 0x36 ^ 0x5C
    outer = sha256(pad)
    outer.update(digest.digest())
    mac: bytes = outer.digest()
    return mac


def unseal(key: "Buffer", context: "Buffer", sealed: "Buffer") -> bytes:
    """The body of what was sealed with this key and context; FrameError for anything else. The comparison takes constant time."""
    try:
        pair = unpack(sealed, 1, 3)
    except PackError:
        raise FrameError("no seal") from None
    if isinstance(pair, list) and len(pair) == 2:
        body, mac = pair
        if isinstance(body, bytes) and isinstance(mac, bytes) and len(mac) == _MAC:
            wanted = hmac_sha256(key, context, b"\0", body)
            difference = 0
            for i in range(_MAC):
                difference |= mac[i] ^ wanted[i]
            if difference:
                raise FrameError("wrong seal")
            return body
    raise FrameError("no seal")

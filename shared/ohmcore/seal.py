"""Sealed messages: a body and its HMAC-SHA256 (RFC 2104) over context and body.

The context says where the body belongs (`<site>/<node>/command`), so that what was sealed for one node means nothing to another.
"""

from hashlib import sha256

from ohmcore.errors import FrameError, PackError
from ohmcore.pack import Packer, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ohmcore.pack import Buffer

_BLOCK = 64
_MAC = 32


def hmac_sha256(key: "Buffer", *parts: "Buffer") -> bytes:
    """The 32 bytes of HMAC-SHA256 over the concatenated `parts`. Raises ValueError for an empty key."""
    if not key:
        raise ValueError("an empty key")
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    inner = bytearray(_BLOCK)
    outer = bytearray(_BLOCK)
    for i in range(_BLOCK):
        byte = key[i] if i < len(key) else 0
        inner[i] = byte ^ 0x36
        outer[i] = byte ^ 0x5C
    digest = sha256(inner)
    for part in parts:
        digest.update(part)
    mac: bytes = sha256(bytes(outer) + digest.digest()).digest()
    return mac


def seal(key: "Buffer", context: "Buffer", body: "Buffer") -> bytes:
    """`[body, mac]` as MessagePack; the mac covers context, a zero byte and body."""
    packer = Packer(bytearray(len(body) + _MAC + 8))
    packer.array(2)
    packer.bin(body)
    packer.bin(hmac_sha256(key, context, b"\0", body))
    return packer.message()


def unseal(key: "Buffer", context: "Buffer", sealed: "Buffer") -> bytes:
    """The body of what `seal` made with this key and context; FrameError for anything else. The comparison takes constant time."""
    try:
        pair = unpack(sealed, max_depth=1, max_items=3)
    except PackError as broken:
        raise FrameError(f"seal: {broken}") from None
    if not isinstance(pair, list) or len(pair) != 2:
        raise FrameError("seal: not [body, mac]")
    body, mac = pair
    if not isinstance(body, bytes) or not isinstance(mac, bytes) or len(mac) != _MAC:
        raise FrameError("seal: not [body, mac]")
    wanted = hmac_sha256(key, context, b"\0", body)
    difference = 0
    for i in range(_MAC):
        difference |= mac[i] ^ wanted[i]
    if difference:
        raise FrameError("seal: the mac does not fit")
    return body

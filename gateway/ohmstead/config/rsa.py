"""The public half of an RSA key, from the text that people keep it in (PEM)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

MODULUS_BITS = 2048
EXPONENT = 65537

_PEM = re.compile(r"-----BEGIN (RSA )?PUBLIC KEY-----(.*?)-----END (?:RSA )?PUBLIC KEY-----", re.DOTALL)
_SEQUENCE, _INTEGER, _BIT_STRING = 0x30, 0x02, 0x03


def public_modulus(written: object) -> bytes:
    """The modulus (256 bytes, high byte first) of an RSA-2048 public key with the exponent 65537, in PEM: `PUBLIC KEY` (RFC 5280) or
    `RSA PUBLIC KEY` (RFC 8017). Raises ValueError, also for a private key."""
    text = str(written)
    if "PRIVATE KEY" in text:
        raise ValueError("this is the private key; it stays where you sign, a node gets the public one")
    match = _PEM.search(text)
    try:
        if match is None:
            raise ValueError
        modulus, exponent = _numbers(base64.b64decode("".join(match[2].split()), validate=True), spki=match[1] is None)
    except (ValueError, IndexError, binascii.Error):
        raise ValueError("no public key; `ohmstead keys` makes one (PEM, -----BEGIN PUBLIC KEY-----)") from None
    if modulus.bit_length() != MODULUS_BITS or exponent != EXPONENT:
        raise ValueError(f"a key of RSA-{modulus.bit_length()} with exponent {exponent}; a node takes RSA-{MODULUS_BITS} with {EXPONENT}")
    return modulus.to_bytes(MODULUS_BITS // 8, "big")


def _numbers(der: bytes, *, spki: bool) -> tuple[int, int]:
    (inner,) = [content for tag, content in _items(der) if tag == _SEQUENCE]
    if spki:
        (wrapped,) = [content for tag, content in _items(inner) if tag == _BIT_STRING]
        (inner,) = [content for tag, content in _items(wrapped[1:]) if tag == _SEQUENCE]
    modulus, exponent = (int.from_bytes(content, "big") for tag, content in _items(inner) if tag == _INTEGER)
    return modulus, exponent


def _items(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element (X.690, 8.1, definite lengths). Raises ValueError where one is cut off."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[at : at + octets], "big")
            at += octets
        if at + length > len(der):
            raise ValueError("cut off")
        yield tag, der[at : at + length]
        at += length

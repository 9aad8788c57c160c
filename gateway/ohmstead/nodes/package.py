"""A node's software as one file: what an update sends. The format is `firmware/ohmnode/update.py`'s.

The same files make the same bytes, and so do the same key and package: PKCS#1 v1.5 has no random part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ohmstead.errors import OhmsteadError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

MAGIC = b"OHMPACK1"
SIGNATURE_BYTES = 256
KEY_BITS = 2048
EXPONENT = 65537
MAX_BYTES = 524_288
"""The longest package, signature included, that a node takes."""

_NAME_BYTES = 99


class PackageError(OhmsteadError):
    """No package can be made, or the key cannot sign it."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """The unsigned package of these files, by relative name. Raises PackageError for names and sizes that a node refuses."""
    manifest, contents = bytearray(), bytearray()
    for name, content in sorted(files.items()):
        octets = name.encode()
        if not 0 < len(octets) <= _NAME_BYTES or any(part == "" or part.startswith(".") for part in name.split("/")):
            raise PackageError(f"{name!r} is no name for a file of a node's image")
        manifest += bytes([len(octets)]) + octets + len(content).to_bytes(4, "big") + hashlib.sha256(content).digest()
        contents += content
    package = MAGIC + len(manifest).to_bytes(4, "big") + manifest + contents
    if len(package) + SIGNATURE_BYTES > MAX_BYTES:
        raise PackageError(f"the image has {len(package)} bytes, a node takes {MAX_BYTES - SIGNATURE_BYTES}")
    return package


def image_id(package: bytes) -> str:
    """The first 16 hexadecimal digits of the unsigned package's SHA-256: by which people tell images apart."""
    return hashlib.sha256(package).hexdigest()[:16]


def sign(package: bytes, key: RSAPrivateKey) -> bytes:
    """The package with its signature."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return package + key.sign(package, PKCS1v15(), SHA256())


def read_private_key(file: Path) -> RSAPrivateKey:
    """The owner's signing key (PEM). Raises PackageError when it is not there or of another kind."""
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except OSError as error:
        raise PackageError(
            f"{file}: the key that updates are signed with cannot be read: {error.strerror}; `ohmstead keys` makes one"
        ) from None
    except (ValueError, TypeError) as error:
        raise PackageError(f"{file}: no private key (PEM, without a password): {error}") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size != KEY_BITS or key.public_key().public_numbers().e != EXPONENT:
        raise PackageError(f"{file}: a node verifies RSA-{KEY_BITS} with the exponent {EXPONENT}, this key is another")
    return key


def modulus_of(key: RSAPrivateKey) -> bytes:
    """What a node needs of the key to verify a signature (`update_key` of its configuration)."""
    return key.public_key().public_numbers().n.to_bytes(SIGNATURE_BYTES, "big")


def new_key_pair() -> tuple[bytes, bytes]:
    """A new signing key: the private part (PKCS#8) and the public part, both PEM."""
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(EXPONENT, KEY_BITS)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401 - whether it is there
    except ImportError:
        raise PackageError("keys and updates need the package `cryptography`: pip install 'ohmstead[node]'") from None

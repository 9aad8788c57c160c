from binascii import hexlify

from ohmcore.errors import FrameError
from ohmcore.gateway import seal
from ohmcore.pack import unpack
from ohmcore.seal import hmac_sha256, unseal
from tests.unit.ohmcore.suite.expect import raises, says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEY = bytes(range(32))
CONTEXT = b"home/cellar/command"
BODY = b"\x93\x01\x02\x03"


def mac(key: bytes, *parts: "Any") -> str:
    return hexlify(hmac_sha256(key, *parts)).decode()


# RFC 4231, test cases 1 to 4, 6 and 7.


def test_the_vectors_of_the_rfc() -> None:
    assert mac(b"\x0b" * 20, b"Hi There") == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    assert mac(b"Jefe", b"what do ya want for nothing?") == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert mac(b"\xaa" * 20, b"\xdd" * 50) == "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
    assert mac(bytes(range(1, 26)), b"\xcd" * 50) == "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"


def test_keys_longer_than_a_block_are_hashed_first() -> None:
    text = b"Test Using Larger Than Block-Size Key - Hash Key First"
    assert mac(b"\xaa" * 131, text) == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"


def test_parts_are_one_text() -> None:
    assert mac(b"Jefe", b"what do ya ", b"", bytearray(b"want for "), memoryview(b"nothing?")) == mac(
        b"Jefe", b"what do ya want for nothing?"
    )


def test_an_empty_key_is_refused() -> None:
    raises(ValueError, hmac_sha256, b"", b"text")


def test_a_seal_is_body_and_mac() -> None:
    opened: Any = unpack(seal(KEY, CONTEXT, BODY))
    body, proof = opened
    assert body == BODY
    assert proof == hmac_sha256(KEY, CONTEXT + b"\0" + BODY)


def test_what_was_sealed_comes_out() -> None:
    for size in (0, 1, 255, 256, 1000):
        assert unseal(KEY, CONTEXT, seal(KEY, CONTEXT, bytes(size))) == bytes(size)
    assert unseal(KEY, CONTEXT, bytearray(seal(KEY, CONTEXT, BODY))) == BODY


def test_another_key_or_context_opens_nothing() -> None:
    sealed = seal(KEY, CONTEXT, BODY)
    says("wrong seal", raises(FrameError, unseal, KEY[:-1] + b"x", CONTEXT, sealed))
    says("wrong seal", raises(FrameError, unseal, KEY, b"home/attic/command", sealed))


def test_context_and_body_cannot_trade_bytes() -> None:
    sealed = seal(KEY, b"home/a", b"bc")
    moved = b"\x92\xc4\x03\0bc" + sealed[5:]
    raises(FrameError, unseal, KEY, b"home/", moved)


def test_one_wrong_bit_anywhere_opens_nothing() -> None:
    sealed = seal(KEY, CONTEXT, BODY)
    for byte in range(len(sealed)):
        for bit in range(8):
            broken = bytearray(sealed)
            broken[byte] ^= 1 << bit
            raises(FrameError, unseal, KEY, CONTEXT, broken)


def test_garbage_opens_nothing() -> None:
    for garbage in (b"", b"\xc0", b"\x90", b"\x92\x01\x02", b"\x92\xc4\x00\xc4\x00", b"\x93\xc4\x00\xc4\x00\x00", b"\xff" * 50):
        raises(FrameError, unseal, KEY, CONTEXT, garbage)
    sealed = seal(KEY, CONTEXT, BODY)
    for size in range(len(sealed)):
        raises(FrameError, unseal, KEY, CONTEXT, sealed[:size])


def test_a_key_of_exactly_a_block_is_taken_as_it_is() -> None:
    assert mac(b"k" * 64, b"text") == "0414bb1d8c0c4556cdb2028727b16610ae377b1a194b6db1f853d4297f2329bc"

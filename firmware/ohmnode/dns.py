"""One question to a name server: the IPv4 address of a host (RFC 1035). Pure; the link sends and receives."""

from ohmcore import const

PORT = 53
MOST = 512

_A = const(1)
_CNAME_POINTER = const(0xC0)


def question(host: str, number: int) -> bytes:
    """The packet that asks for `host`; `number` comes back in the answer. ValueError for what cannot be a host name."""
    packet = bytearray(b"\0\0\1\0\0\1\0\0\0\0\0\0")  # recursion desired, one question
    packet[0] = number >> 8
    packet[1] = number & 0xFF
    for label in host.rstrip(".").split("."):
        octets = label.encode()
        if not 0 < len(octets) < 64:
            raise ValueError(f"no host name: {host}")
        packet.append(len(octets))
        packet.extend(octets)
    packet.extend(b"\0\0\1\0\1")
    return bytes(packet)


def answer(packet: bytes, asked: bytes) -> "str | None":
    """The address in the packet that answers `asked`; None when there is none in it. ValueError when it answers something else."""
    if len(packet) < len(asked) or packet[:2] != asked[:2] or not packet[2] & 0x80:
        raise ValueError("not the answer")
    if packet[12 : len(asked)].lower() != asked[12:].lower():
        raise ValueError("an answer to another question")
    count = packet[6] << 8 | packet[7]
    pos = len(asked)
    for _ in range(count):
        pos = _skip_name(packet, pos)
        if pos + 10 > len(packet):
            return None
        kind = packet[pos] << 8 | packet[pos + 1]
        size = packet[pos + 8] << 8 | packet[pos + 9]
        pos += 10
        if kind == _A and size == 4 and pos + 4 <= len(packet):
            return ".".join([str(octet) for octet in packet[pos : pos + 4]])
        pos += size
    return None


def _skip_name(packet: bytes, pos: int) -> int:
    """Where a name ends that begins at `pos`; beyond the packet when it does not."""
    while pos < len(packet):
        size = packet[pos]
        if size & _CNAME_POINTER == _CNAME_POINTER:
            return pos + 2
        pos += 1 + size
        if size == 0:
            return pos
    return len(packet)

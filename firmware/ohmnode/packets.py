"""MQTT packets between umqtt.simple and a socket that must never be waited for.

umqtt reads and writes in small steps and waits for each. Here it talks to two buffers instead: what it writes is collected, so that a
packet leaves in one piece, and it reads only while a whole packet is there. The link moves the bytes between buffers and socket.
"""

from ohmcore import const
from ohmnode import FRAME

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Socket

CONNACK = 0x20
PUBLISH = 0x30
SUBACK = 0x90
PINGRESP = 0xD0

_COMMANDED = const(832)  # bytes of the largest packet that makes sense: a command, its topic and its head
_AROUND = const(176)  # a frame: its topic and its head
_HEAD = const(5)  # of a packet, at most: type and four bytes of length


class BrokenError(OSError):
    """The connection is of no more use; the text says why."""


class Pipe:
    """The socket that umqtt gets. `frame`: bytes of the largest that is sent. `oversized` counts packets of more than `most` bytes, which
    were skipped.
    """

    def __init__(self, most: int = _COMMANDED, frame: int = FRAME) -> None:
        self.oversized = 0
        self._in = memoryview(bytearray(most))
        self._out = memoryview(bytearray(frame + _AROUND))
        self._start = self._arrived = self._first = self._last = self._skip = self._position = self._end = 0
        self._script = b""

    def reset(self) -> None:
        """For a new connection."""
        self._start = self._arrived = 0  # what has come and is not done with
        self._first = self._last = 0  # what is to be sent
        self._skip = 0
        self._script = b""
        self._position = self._end = 0  # what umqtt may read

    # What the link does

    def receive(self, connection: "Socket") -> bool:
        """Takes what has come; false when that is nothing. Raises BrokenError at the end of the connection, OSError as it comes."""
        if self._start:
            self._compact()
        got = connection.readinto(self._in[self._arrived :])
        if got is None:
            return False
        if got == 0:
            raise BrokenError("the broker closed the connection")
        self._arrived += got
        return True

    def send(self, connection: "Socket") -> bool:
        """Sends what is collected, as far as the socket takes it. True when all has gone."""
        if self._first < self._last:
            self._first += connection.write(self._out[self._first : self._last]) or 0
        if self._first < self._last:
            return False
        self._first = self._last = 0
        return True

    def empty(self) -> bool:
        """Nothing waits to be sent."""
        return self._first == self._last

    def packet(self) -> int:
        """The type of the packet that has come whole and is next (upper four bits), 0 while none has."""
        while True:
            dropped = min(self._skip, self._arrived - self._start)
            self._skip -= dropped
            self._start += dropped
            size = self._size()
            if size > len(self._in):
                self.oversized += 1
                self._skip = size
            elif not size or self._skip or size > self._arrived - self._start:
                return 0
            else:
                self._position = self._start
                self._end = self._start + size
                return self._in[self._start] & 0xF0

    def body(self) -> memoryview:
        """The packet that is next, without its head. Valid until `done`."""
        start = self._start + 2
        while self._in[start - 1] & 0x80:
            start += 1
        return self._in[start : self._end]

    def done(self) -> None:
        """Takes the packet that was next out of the buffer, however much of it umqtt has read."""
        self._start = self._end
        self._position = self._end

    def expect(self, answer: bytes) -> None:
        """umqtt is about to wait for this; it gets it now, and the link watches for the broker's own."""
        self._script = answer

    def _size(self) -> int:
        """How long the packet at the front is, 0 while that is not known."""
        length = 0
        for i in range(1, _HEAD):
            if self._start + i >= self._arrived:
                return 0
            octet = self._in[self._start + i]
            length |= (octet & 0x7F) << (7 * (i - 1))
            if not octet & 0x80:
                return 1 + i + length
        raise BrokenError("the broker sends what is no packet")

    def _compact(self) -> None:
        rest = bytes(self._in[self._start : self._arrived])
        self._in[: len(rest)] = rest
        self._start = 0
        self._arrived = len(rest)

    # What umqtt takes for the module `socket`: it leads to the pipe and nowhere else

    def socket(self) -> "Pipe":
        return self

    def getaddrinfo(self, host: str, port: int) -> "list[tuple[None]]":
        return [(None,)]

    # What umqtt does with a socket

    def connect(self, address: object) -> None:
        """The link has connected before."""

    def setblocking(self, blocking: bool) -> None:
        """Nothing ever waits here."""

    def close(self) -> None:
        """The link closes the socket."""

    def write(self, octets: "bytes | bytearray | memoryview", size: "int | None" = None) -> int:
        if size is None:
            size = len(octets)
        end = self._last + size
        if end > len(self._out):
            raise BrokenError("a packet that is too large to send")
        self._out[self._last : end] = octets if size == len(octets) else octets[:size]
        self._last = end
        return size

    def read(self, size: int) -> bytes:
        """What is expected, or of the packet that is next; never beyond its end."""
        if self._script:
            octets = self._script[:size]
            self._script = self._script[size:]
            return octets
        start = self._position
        self._position = min(start + size, self._end)
        return bytes(self._in[start : self._position])

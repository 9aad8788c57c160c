"""Hostile bus answers and messages for the node's own code. Runs on CPython and on MicroPython; `fuzz.py` drives it.

Beside the whole node (`fuzz_house.py`): Modbus TCP, frames, messages and packets each for itself. Nothing is raised that is not declared,
and what is taken for good is good.
"""

import sys

from ohmcore import frames, pdu, rtu, tcp
from ohmcore.crc import crc16
from ohmcore.errors import FrameError, ModbusError, PackError
from ohmcore.gateway import pack_command, seal
from ohmcore.pack import Packer, unpack
from ohmcore.seal import unseal
from tests.chaos import virtual
from tests.chaos.fuzz_house import CONTEXT, KEY, UNIT, Broken, House, mutated

# isort: split
from ohmnode import bus, dns, packets, tcpline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Socket:
    """A connection whose other end is hostile: answers to requests, mutated, in pieces."""

    def __init__(self, chance: virtual.Random, world: virtual.World) -> None:
        self.chance = chance
        self.world = world
        self.stream = self
        self.coming = b""
        self.ends = False

    def connect(self, address: "Any") -> None:
        if self.chance.number(8) == 0:
            raise OSError(111)

    def write(self, octets: memoryview) -> "int | None":
        if self.chance.number(20) == 0:
            return None
        request = bytes(octets)
        if len(request) < 12:
            return len(request)
        if request[7] != 3:
            raise Broken("a request that nobody made: " + request.hex())
        count = request[11]
        reply = request[:4] + (2 * count + 3).to_bytes(2, "big") + request[6:8] + bytes([2 * count]) + bytes(2 * count)
        if self.chance.number(3):
            reply = mutated(self.chance, reply)
        self.coming += reply
        return len(request)

    def due(self) -> "int | None":
        return self.world.now if self.coming or self.ends else None

    def readinto(self, buffer: memoryview) -> "int | None":
        if not self.coming:
            self.ends = self.ends or self.chance.number(40) == 0
            return 0 if self.ends else None
        size = min(len(buffer), len(self.coming), 1 + self.chance.number(20))
        buffer[:size] = self.coming[:size]
        self.coming = self.coming[size:]
        return size

    def close(self) -> None:
        pass


class Network(virtual.World):
    def __init__(self, chance: virtual.Random) -> None:
        super().__init__((1 << 30) - 10_000)
        self.chance = chance

    def open_socket(self, stream: bool) -> Socket:
        return Socket(self.chance, self)

    def address(self, ip: str, port: int) -> "Any":
        return (ip, port)


def fuzz_tcp(chance: virtual.Random, count: int) -> None:
    """Modbus TCP: whatever the other end sends, only ModbusError."""
    network = virtual.adopt(Network(chance), tcpline)
    connection = tcpline.TcpLine(network, "192.0.2.1", 502)
    device = bus.Device("c", UNIT, 100, 1, 5, [])
    for _ in range(count):
        words = 1 + chance.number(20)
        end = pdu.build_read(connection.tx, rtu.PDU_START, 3, 100, words)
        try:
            start = network.run(connection.ask(device, 3, 100, words, 2 * words, end))
            if connection.rx[start - 1] != 2 * words or connection.rx[start - 2] != 3:
                raise Broken("an answer of another shape was taken")
        except ModbusError:
            pass


def fuzz_frames(chance: virtual.Random, count: int) -> None:
    """The pure parsers: nothing but their own errors, and what passes is what it has to be."""
    buffer = bytearray(264)
    for _ in range(count):
        words = 1 + chance.number(10)
        frame = bytes([UNIT, 3, 2 * words]) + bytes(2 * words)
        frame += crc16(frame, 0, len(frame)).to_bytes(2, "little")
        frame = mutated(chance, frame)[:264]
        buffer[: len(frame)] = frame
        try:
            end = rtu.verify(buffer, len(frame), UNIT, 3)
            pdu.check_reply(buffer, rtu.PDU_START, end, 3, 100, words)
            if crc16(frame, 0, len(frame) - 2) != frame[-2] | frame[-1] << 8 or frame[:3] != bytes([UNIT, 3, 2 * words]):
                raise Broken("taken for an answer: " + frame.hex())
        except ModbusError:
            pass
        try:
            tcp.verify(buffer, len(frame), 1, UNIT, 3)
        except ModbusError:
            pass


def fuzz_messages(chance: virtual.Random, count: int) -> None:
    """MessagePack, the messages of the node protocol, seals."""
    packer = Packer(bytearray(512))
    for i in range(count):
        if i & 1:
            pack_command(packer, f"a-{i}", i + 1, "mtec", "power", chance.octets(4), 5000, 60_000)
        else:
            packer.reset()
            packer.value([1, 7, i, [{"a": None, "b": [True, -5, 1.5]}, b"xyz", "text"], 1 << 40])
        message = packer.message()
        if i & 2:
            message = seal(KEY, CONTEXT, message)
        message = mutated(chance, message)
        for parse in (frames.parse_ack, frames.parse_command):
            try:
                parse(unpack(message, 6, 64, 512))
            except (FrameError, PackError):
                pass
        try:
            body = unseal(KEY, CONTEXT, message)
            if seal(KEY, CONTEXT, body) != message:
                unpack(message, 1, 3)  # the same pair in other words
        except FrameError:
            pass


class Stream:
    """A socket from which MQTT packets, or what somebody takes for them, come in pieces."""

    def __init__(self) -> None:
        self.coming = b""

    def readinto(self, buffer: memoryview) -> "int | None":
        size = min(len(buffer), len(self.coming))
        if not size:
            return None
        buffer[:size] = self.coming[:size]
        self.coming = self.coming[size:]
        return size


def fuzz_packets(chance: virtual.Random, count: int) -> None:
    """MQTT packets and answers of name servers: BrokenError and ValueError, nothing else."""
    pipe = packets.Pipe()
    stream = Stream()
    asked = dns.question("broker.example", 0x1234)
    answered = (
        b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
        + asked[12:]
        + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"
    )
    for _ in range(count):
        size = chance.number(200)
        packet = (
            bytes([0x30 + 2 * chance.number(2)])
            + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7]))
            + chance.octets(size)
        )
        stream.coming = mutated(chance, packet) if chance.number(2) else packet
        try:
            while pipe.receive(stream):
                while pipe.packet():
                    if len(pipe.body()) > 1152:
                        raise Broken("a packet that is larger than the buffer")
                    pipe.read(chance.number(20))
                    pipe.done()
        except packets.BrokenError:
            pipe.reset()
        try:
            dns.answer(mutated(chance, answered), asked)
        except (OSError, ValueError):
            pass


def campaign(count: int, seed: int) -> "dict[str, int]":
    """About `count` hostile answers and messages; how many of each kind. Raises Broken, or what the code under test raised."""
    chance = virtual.Random(seed)
    house = House(seed)
    each = count // 10
    house.run(count - 4 * each)
    fuzz_tcp(chance, each)
    fuzz_frames(chance, each)
    fuzz_messages(chance, each)
    fuzz_packets(chance, each)
    return {
        "bus answers": house.answers,
        "hostile answers": house.hostile_answers,
        "messages": house.messages,
        "hostile messages": house.hostile_messages,
        "authentic commands": house.accepted,
        "writes on the bus": house.writes,
        "snapshots": house.outbox.kinds.get("snapshot", 0),
        "TCP answers": each,
        "frames": each,
        "packed messages": each,
        "MQTT packets": each,
    }


if __name__ == "__main__":
    for kind, number in campaign(int(sys.argv[1]), int(sys.argv[2])).items():
        print("fuzz", kind, "=", number)

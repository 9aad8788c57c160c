"""Questions to ohmcore as lines of JSON, answers as lines of JSON: the same program asks both interpreters.

Values travel as [type, text], so that neither interpreter's JSON can round or reorder them.
"""

import json
import sys
from binascii import hexlify, unhexlify
from struct import pack, unpack

from ohmcore import crc, errors, frames, gateway, kinds, pdu, registers, rtu
from ohmcore import pack as messagepack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PARSERS: "Any" = (gateway.parse_data, gateway.parse_event, gateway.parse_hello, frames.parse_ack, frames.parse_command)
_ERRORS = (ValueError, errors.ModbusError, errors.FrameError, errors.PackError)


def written(value: "Any") -> "list[Any]":
    if value is None:
        return ["nil"]
    if value is True or value is False:
        return ["bool", int(value)]
    if isinstance(value, int):
        return ["int", str(value)]
    if isinstance(value, float):
        return ["float", "nan" if value != value else hexlify(pack(">d", value)).decode()]
    if isinstance(value, str):
        return ["str", hexlify(value.encode()).decode()]
    if isinstance(value, bytes):
        return ["bytes", hexlify(value).decode()]
    if isinstance(value, dict):
        pairs = [[written(key), written(value[key])] for key in value]
        return ["map"] + sorted(pairs, key=json.dumps)  # noqa: RUF005 - not in MicroPython
    return ["list"] + [written(item) for item in value]


def read(text: "Any") -> "Any":
    kind = text[0]
    if kind == "nil":
        return None
    if kind == "bool":
        return bool(text[1])
    if kind == "int":
        return int(text[1])
    if kind == "float":
        return float("nan") if text[1] == "nan" else unpack(">d", unhexlify(text[1]))[0]
    if kind == "str":
        return unhexlify(text[1]).decode()
    if kind == "bytes":
        return unhexlify(text[1])
    if kind == "map":
        return {read(key): read(value) for key, value in text[1:]}
    return [read(item) for item in text[1:]]


def _crc(raw: bytes) -> int:
    return crc.crc16(raw, 0, len(raw))


def _encode(kind: str, value: "Any", words: int, order: str) -> bytes:
    return kinds.encode(kind, value, words, order)


def _pack(value: object, size: int) -> bytes:
    packer = messagepack.Packer(bytearray(size))
    packer.value(value)
    return packer.message()


def _around(value: object, size: int) -> object:
    """The order of a map's keys is each interpreter's own, and with it the byte where a small buffer ends."""
    try:
        raw = _pack(value, size)
    except errors.PackError:
        return "refused"
    return [len(raw), messagepack.unpack(raw, 60, 1 << 20, 1 << 20)]


def _frame(raw: bytes) -> "list[object]":
    frame = messagepack.unpack(raw)
    found: list[object] = []
    for parse in _PARSERS:
        try:
            found.append(parse(frame))
        except errors.FrameError as error:
            found.append(str(error))
    return found


def _reply(raw: bytes, unit: int, function: int, address: int, count: int) -> "list[int]":
    start, end = rtu.PDU_START, rtu.verify(raw, len(raw), unit, function)
    return [start, end, pdu.check_reply(raw, start, end, function, address, count)]


_ASKED: "dict[str, Any]" = {
    "crc": _crc,
    "around": _around,
    "decode": registers.decode,
    "encode": _encode,
    "pack": _pack,
    "unpack": messagepack.unpack,
    "frame": _frame,
    "reply": _reply,
}


def answer(line: str) -> str:
    question = [read(part) for part in json.loads(line)]
    try:
        value = _ASKED[question[0]](*question[1:])
    except _ERRORS as error:
        return json.dumps(["error", type(error).__name__, str(error)])
    return json.dumps(written(value))


def main() -> None:
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        print(answer(line))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()

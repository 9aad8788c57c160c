"""`ohmstead simulate meter`, `sunspec` and `shelly` as processes of their own: they say where they listen, answer, and end cleanly."""

from __future__ import annotations

import json
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from pymodbus.client import ModbusSerialClient, ModbusTcpClient

SIMULATE = [sys.executable, "-c", "from ohmstead.sim.cli import simulate; simulate()"]


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """What the command says before it serves; it must end cleanly."""
    process = subprocess.Popen([*SIMULATE, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = ""
    try:
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield said
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "Answered" in process.stdout.read()
        process.stdout.close()


def port_of(said: str) -> int:
    found = re.search(r"127\.0\.0\.1:(\d+)", said)
    assert found, said
    return int(found[1])


def test_a_meter_on_a_line_and_behind_a_port(tmp_path: Path) -> None:
    link = tmp_path / "rs485"
    arguments = ("--profile", "eastron-sdm120", "--tcp", "0", "--rtu", str(link), "--baud", "115200", "--unit", "7", "--watts", "-1500")
    with served("meter", *arguments) as said:
        tcp, serial = ModbusTcpClient("127.0.0.1", port=port_of(said)), ModbusSerialClient(str(link), baudrate=115200)
        assert tcp.connect()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        assert serial.connect()
        for client in (tcp, serial):
            words = client.read_input_registers(0x0C, count=2, device_id=7).registers
            assert struct.unpack(">f", struct.pack(">2H", *words)) == (-1500.0,)
        tcp.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        serial.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped


def test_a_sunspec_device() -> None:
    with served("sunspec", "--tcp", "0", "--kind", "hybrid", "--base", "50000") as said:
        client = ModbusTcpClient("127.0.0.1", port=port_of(said))
        assert client.connect()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        assert client.read_holding_registers(50000, count=4, device_id=1).registers == [0x5375, 0x6E53, 1, 66]
        client.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped


def test_a_shelly() -> None:
    with served("shelly", "--port", "0", "--watts", "900") as said:
        question = json.dumps({"id": 5, "src": "me", "method": "Shelly.GetStatus"}).encode()
        with urlopen(Request(f"http://127.0.0.1:{port_of(said)}/rpc", question), timeout=20) as response:
            answer = json.load(response)
    assert (answer["id"], answer["dst"], answer["result"]["em:0"]["total_act_power"]) == (5, "me", 900.0)

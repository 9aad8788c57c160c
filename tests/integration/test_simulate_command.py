"""`ohmstead simulate` as its own process: says where it listens, answers, ends cleanly."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

SIMULATE = [sys.executable, "-c", "from ohmstead.sim.cli import simulate; simulate()", "mtec"]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_a_line_and_a_port_and_ends_cleanly(tmp_path: Path, ending: signal.Signals) -> None:
    link = tmp_path / "rs485"
    arguments = ["--rtu", str(link), "--baud", "115200", "--tcp", "0", "--day", "2026-06-21", "--speed", "60"]
    process = subprocess.Popen([*SIMULATE, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    port = re.search(r"Modbus TCP: 127\.0\.0\.1:(\d+), unit 255", said)
    assert port, said
    tcp = ModbusTcpClient("127.0.0.1", port=int(port[1]))
    serial = ModbusSerialClient(str(link), baudrate=115200)
    assert tcp.connect()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
    assert serial.connect()
    words = tcp.read_holding_registers(10000, count=8, device_id=255).registers
    assert b"".join(word.to_bytes(2, "big") for word in words).startswith(b"SIM12K")
    assert len(serial.read_holding_registers(11000, count=42, device_id=252).registers) == 42
    tcp.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
    serial.close()
    process.send_signal(ending)
    assert process.wait(5) == 0
    assert "Answered 2 requests" in process.stdout.read()
    process.stdout.close()
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "nothing to serve"),
        (["--tcp", "0", "--fault", "bad-luck"], "is no fault"),
        (["--tcp", "0", "--image", "none.json"], "does not exist"),
    ],
)
def test_what_cannot_be_served_is_said(arguments: list[str], complaint: str) -> None:
    ended = subprocess.run([*SIMULATE, *arguments], capture_output=True, text=True, timeout=20)
    assert ended.returncode == 2
    assert complaint in ended.stderr


def test_a_growatt_is_served_as_well() -> None:
    command = [*SIMULATE[:-1], "growatt", "--tcp", "0", "--soc", "40"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        port = re.search(r"Modbus TCP: 127\.0\.0\.1:(\d+), unit 1", said)
        assert port, said
        client = ModbusTcpClient("127.0.0.1", port=int(port[1]))
        assert client.connect()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        assert client.read_input_registers(1014, count=1, device_id=1).registers == [40]
        client.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
    finally:
        process.terminate()
        assert process.wait(5) == 0
        process.stdout.close()

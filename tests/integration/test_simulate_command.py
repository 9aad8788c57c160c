"""`ohmstead simulate` as its own process: says where it listens, answers, ends cleanly."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

from ohmstead.sim.inverter_gateway import LAST_WILL
from tests.conftest import Broker, wait_for
from tests.processes import Ear

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
    assert process.wait(30) == 0
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


@pytest.mark.parametrize(("family", "register"), [("sph", 1014), ("min", 3171)])
def test_a_growatt_is_served_as_well(family: str, register: int) -> None:
    command = [*SIMULATE[:-1], "growatt", "--tcp", "0", "--soc", "40", "--family", family, "--rival", "123=0/0.1s"]
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
        client = ModbusTcpClient("127.0.0.1", port=int(port[1]), timeout=0.5, retries=40)
        assert client.connect()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        assert client.read_input_registers(register, count=1, device_id=1).registers == [40]
        assert client.read_holding_registers(123, count=1, device_id=1).registers == [0], "the rival's word"
        client.close()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


def test_a_growatt_behind_an_open_inverter_gateway_is_served_on_a_broker(broker: Broker) -> None:
    with Ear(broker) as ear:
        address = f"mqtt://{broker.host}:{broker.port}"
        options = ["--broker", address, "--base", "energy/shed", "--every", "0.1", "--soc", "40", "--unkind", "twice=1"]
        process = subprocess.Popen([*SIMULATE[:-1], "growatt-mqtt", *options], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            wait_for(lambda: b'"SOC": 40' in (ear.last("energy/shed") or b""), 20, "telemetry")
            ear.client.publish("energy/shed/command/echo", '{"text": "hello", "correlationId": "me"}')
            wait_for(lambda: ear.count("energy/shed/result") == 2, 20, "the answer, twice")
            answer = json.loads(ear.last("energy/shed/result") or b"{}")
            assert answer == {"correlationId": "me", "text": "Echo: hello", "command": "echo", "success": True, "message": ""}
        finally:
            process.terminate()
            assert process.wait(20) == 0
        assert "Obeyed 1 commands." in process.stdout.read()
        process.stdout.close()
        wait_for(lambda: ear.last("energy/shed") == LAST_WILL.encode(), 20, "the last will")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["growatt-mqtt", "--broker", "nas"], "write it mqtt://host"),
        (["growatt-mqtt", "--unkind", "rude"], "known are silent"),
        (["growatt-mqtt", "--unkind", "late=soon"], "known are silent"),
        (["growatt", "--tcp", "0", "--rival", "1102"], "write it REGISTER=WORD/SECONDSs"),
    ],
)
def test_what_a_growatt_cannot_be_is_said(options: list[str], complaint: str) -> None:
    ended = subprocess.run([*SIMULATE[:-1], *options], capture_output=True, text=True, timeout=40)
    assert ended.returncode == 2
    assert complaint in ended.stderr

"""The simulated DTU: a day on the roof, what it answers, and the command that starts it."""

from __future__ import annotations

import re
import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from ohmstead.sim.hoymiles_cli import hoymiles
from ohmstead.sim.hoymiles_plant import Plant, Roof, moment
from ohmstead.sources.hoymiles_line import DtuLine, Endpoint
from ohmstead.sources.hoymiles_records import parse
from tests.conftest import REPOSITORY
from tests.hoymiles_rig import PRAGUE


def test_a_day_on_the_roof_wakes_late_sleeps_early_and_loses_nothing() -> None:
    plant = Plant(Roof(), moment("2026-06-21", 0.0, PRAGUE))
    serial = plant.roof.inverters[0][0]
    powers, todays, totals, awake = [], [], [], []
    for hour in range(25):
        plant.advance(moment("2026-06-21", 0.0, PRAGUE) + 3600.0 * hour)
        state = plant.port(serial, 1)
        powers.append(state.power)
        todays.append(state.today)
        totals.append(state.total)
        awake.append(not plant.asleep(serial))

    assert not awake[0]
    assert awake[12]
    assert not awake[23]
    assert max(powers) > 150
    assert all(one <= other for one, other in pairwise(totals))
    assert all(one <= other for one, other in pairwise(todays[:24]))
    assert todays[24] == 0
    assert totals[24] - totals[0] == pytest.approx(todays[23], rel=0.01)


def test_asleep_a_record_has_nothing_but_its_name() -> None:
    plant = Plant(Roof(), moment("2026-06-21", 1.0, PRAGUE))
    found = parse(plant.records()[0])

    assert found is not None
    assert (found.serial, found.port) == ("116180123456", 1)
    assert not any(found[2:])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--inverter", "12"], "SERIAL:PORTS"),
        (["--unkind", "sulky"], "known are silent"),
        (["--unkind", "refuse=x"], "known are silent"),
        (["--unkind", "asleep=xyz"], "known are silent"),
        (["--serial", "roof"], "12 digits"),
    ],
)
def test_what_it_does_not_understand_it_says(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(hoymiles, arguments)

    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


async def test_the_command_serves_a_dtu_until_it_is_ended(tmp_path: Path) -> None:
    command = [str(REPOSITORY / ".venv/bin/ohmstead"), "simulate", "hoymiles", "--tcp", "0", "--inverter", "114182a0b1c2:2x380",
               "--day", "2026-06-21", "--hour", "12", "--unkind", "byte-count=80"]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 - it must live beside us
        try:
            assert process.stdout is not None
            port = None
            while port is None:
                line = process.stdout.readline()
                assert line, "it ended"
                port = re.match(r"Modbus TCP: 127\.0\.0\.1:(\d+)", line)
            dtu = DtuLine(Endpoint("127.0.0.1", int(port[1]), timeout_s=20.0))
            records = [parse(await dtu.registers(0x1000 + 40 * place, 20)) for place in range(3)]
            dtu.close()
        finally:
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=20)

    assert [(one.serial, one.port) for one in records if one is not None] == [("114182a0b1c2", 1), ("114182a0b1c2", 2)]
    assert records[2] is None
    assert "Answered 3 requests over 1 connections, obeyed 0 writes." in rest

"""`ohmstead simulate luxtronik`: what it is told to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ohmstead.sim.cli import simulate
from ohmstead.sim.luxtronik import made_up, read_dump


def test_a_made_up_pump_lives() -> None:
    """Heats and rests, and its counters only grow."""
    hours = [made_up(1_750_000_000 + 360 * step) for step in range(240)]
    assert {vectors.calculations[44] for vectors in hours} == {0, 1}
    assert {vectors.calculations[80] for vectors in hours} == {0, 1, 5}
    for counter in (56, 57, 151, 152):
        told = [vectors.calculations[counter] for vectors in hours]
        assert told == sorted(told)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"params": []}', '{"params": [0.5], "calcs": [], "visis": []}', '{"params": [], "calcs": [], "visis": [200]}']
)
def test_a_file_that_is_no_dump_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "dump.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"dump\.json"):
        read_dump(path)
    told = CliRunner().invoke(simulate, ["luxtronik", "--port", "0", "--dump", str(path)])
    assert told.exit_code == 2


@pytest.mark.parametrize("text", ["silent=1", "late", "sulky", "count=3003", "ends-after=x"])
def test_a_mood_that_there_is_not_is_refused(text: str) -> None:
    told = CliRunner().invoke(simulate, ["luxtronik", "--port", "0", "--unkind", text])
    assert told.exit_code == 2
    assert "known are splits" in told.output


def test_it_serves_a_dump_until_it_is_told_to_end(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps({"params": [0] * 100, "calcs": [1] * 101, "visis": [0] * 102}))
    command = [sys.executable, "-m", "ohmstead", "simulate", "luxtronik", "--port", "0", "--dump", str(path), "--unkind", "splits"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.stdout.readline()
        process.terminate()
        assert process.wait(60) == 0
    assert "100 parameters, 101 calculations, 102 visibilities" in said

"""A line of the campaign's table: a fault, how often it was tried, what was found, what had to hold. And the bar of its progress."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parents[2]

_SHOWN = 5


@dataclass
class Row:
    """`findings`: one text for each case in which `budget` did not hold, with what it takes to repeat it. `tried` below `least` is one as
    well, unless the campaign is a quick one. `note`: figures without a budget.
    """

    fault: str
    tried: int
    findings: list[str] = field(default_factory=list)
    budget: str = ""
    least: int = 0
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """What was asked for. `folder`: for everything that a campaign writes. `heap`: of the soaked node, as `-X heapsize` takes it."""

    folder: Path
    seed: int = 1
    quick: bool = False
    soak_minutes: float = 10.0
    heap: str = "128k"

    def of(self, full: int, quick: int) -> int:
        """How often something is tried."""
        return quick if self.quick else full

    def room(self, name: str) -> Path:
        """A folder for one campaign."""
        place = self.folder / name
        place.mkdir()
        return place


class RigError(Exception):
    """The campaign could not do what it wanted to; says nothing about the house."""


Tell = Callable[[int], object]
"""Is told of each step that is done: how many more."""


@contextlib.contextmanager
def bar(label: str, length: int) -> Iterator[Tell]:
    """A progress bar on the terminal; one line without one."""
    with click.progressbar(length=length, label=f"{label:<22}", show_pos=True) as shown:
        yield shown.update


def table(rows: list[Row]) -> str:
    """One line a row, and below it what was found."""
    head = ("fault", "tried", "findings", "budget", "")
    cells = [(row.fault, f"{row.tried:,}", str(len(row.findings)), row.budget, row.note) for row in rows]
    widths = [max(len(cell[column]) for cell in (head, *cells)) for column in range(4)]
    lines = [_line(head, widths)]
    for cell, row in zip(cells, rows, strict=True):
        lines.append(_line(cell, widths))
        lines += [f"    {finding}" for finding in row.findings[:_SHOWN]]
        if len(row.findings) > _SHOWN:
            lines.append(f"    and {len(row.findings) - _SHOWN} more")
    return "\n".join(lines)


def _line(cell: tuple[str, ...], widths: list[int]) -> str:
    fault, tried, findings, budget, note = cell
    return f"{fault:<{widths[0]}}  {tried:>{widths[1]}}  {findings:>{widths[2]}}  {budget:<{widths[3]}}  {note}".rstrip()


def micropython() -> str:
    """Where MicroPython is. Raises RigError."""
    return program("micropython", "there is no wheel for this machine; put one on PATH")


def program(name: str, otherwise: str) -> str:
    """Where a program is: beside our interpreter, on PATH or in /usr/sbin. Raises RigError."""
    for place in (str(REPOSITORY / ".venv/bin"), None, "/usr/sbin"):
        if found := shutil.which(name, path=place):
            return found
    raise RigError(f"no {name} here ({otherwise})")

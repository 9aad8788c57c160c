"""A measured figure, its budget, and the table that `just bench` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """`value` in `unit`; `budget` is the largest (or with `at_least` the smallest) value that is still good, None where there is none."""

    name: str
    value: float
    unit: str = ""
    budget: float | None = None
    bound: Literal["at most", "at least"] = "at most"
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.budget is None:
            return None
        return self.value <= self.budget if self.bound == "at most" else self.value >= self.budget


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: list[Figure]) -> str:
    """One line a figure: name, value, budget, whether it is met."""
    rows = []
    for figure in figures:
        budget = "" if figure.budget is None else f"{'≤' if figure.bound == 'at most' else '≥'} {number(figure.budget)}"
        verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
        rows.append((figure.name, f"{number(figure.value)} {figure.unit}".strip(), budget, verdict, figure.note))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3].ljust(widths[3]), row[4]]).rstrip()
        for row in rows
    )

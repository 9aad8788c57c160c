"""A Hoymiles DTU that fails in every way, hangs up, babbles, and a gateway that restarts: energies never fall and add up in the end."""

from __future__ import annotations

import asyncio
import logging

import structlog

from tests.chaos.rows import Plan, Row, bar
from tests.hoymiles_days import days, nonsense

_POLLS = 100


def rows(plan: Plan) -> list[Row]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # each fault is told, thousands of times
    try:
        return [_days(plan), _nonsense(plan)]
    finally:
        structlog.reset_defaults()


def _days(plan: Plan) -> Row:
    row = Row("DTU: a day with faults, restarts", 0, budget="no energy falls, all of it is counted", least=100)
    stories = plan.of(34, 3)
    with bar("a DTU's days", stories) as tell:
        for number in range(stories):
            row.findings += asyncio.run(days(1000 * plan.seed + number))
            row.tried += 3
            tell(1)
    return row


def _nonsense(plan: Plan) -> Row:
    row = Row("DTU: answers of anything", 0, budget="no energy falls, nothing breaks", least=3000)
    stories, read = plan.of(30, 3), 0
    with bar("a DTU that babbles", stories) as tell:
        for number in range(stories):
            came, findings = asyncio.run(nonsense(1000 * plan.seed + number, _POLLS))
            row.tried += _POLLS
            row.findings += findings
            read += came
            tell(1)
    row.note = f"{read:,} gave readings"
    return row

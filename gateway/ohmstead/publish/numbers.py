"""Values as text: the format of each topic family, made once per point so that publishing does no thinking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ohmstead.readings import Value

_UNROUNDED_DECIMALS = 6


def three_decimals(value: Value) -> str:
    """A float as `70.000`, an integer as `70`, a text as it is: contract `state`, whose format goes by type and not by point."""
    return f"{value:.3f}" if type(value) is float else str(value)


def plain(decimals: int | None) -> Callable[[Value], str]:
    """The formatter of a plain topic: at most `decimals` decimals (None: six), none that is needless, no `-0`."""
    return partial(_plain, f".{_UNROUNDED_DECIMALS if decimals is None else max(decimals, 0)}f")


def _plain(form: str, value: Value) -> str:
    if type(value) is not float:
        return str(value)
    text = format(value, form)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text

"""Days of a roof with a DTU that fails in every way and a gateway that restarts, and a DTU that answers anything: the energies hold."""

from __future__ import annotations

from tests.hoymiles_days import days, nonsense


async def test_energies_of_two_days_never_fall_and_add_up() -> None:
    assert await days(seed=1, number=2) == []


async def test_whatever_something_answers_nothing_breaks_and_nothing_falls() -> None:
    read, findings = await nonsense(seed=1, polls=40)

    assert read > 5
    assert findings == []

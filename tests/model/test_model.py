"""The arbiter in its small worlds: no state that can be reached breaks an invariant, and each mistake that is put in is found."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from ohmcore import events
from ohmcore.decide import decide, due
from ohmcore.records import Decision
from tests.model.invariants import INVARIANTS
from tests.model.mutants import MUTANTS, Mutant, mutated
from tests.model.search import World, begun, normal, obey, search
from tests.model.worlds import WORLDS


@pytest.mark.parametrize("name", WORLDS)
def test_no_state_that_can_be_reached_breaks_an_invariant(name: str, record_property: Callable[[str, object], None]) -> None:
    outcome = search(WORLDS[name](False))
    record_property("figures", f"model: {outcome}")
    assert outcome.violations == []
    assert outcome.complete
    assert outcome.states > 250


def test_each_mistake_is_found_and_each_invariant_finds_one(record_property: Callable[[str, object], None]) -> None:
    found = {mutant.name: search(WORLDS[mutant.world](False), mutated(mutant)).violations for mutant in MUTANTS}
    caught = sorted({violation.invariant for violations in found.values() for violation in violations})
    record_property("figures", f"model: {len(MUTANTS)} mutants, {sum(map(bool, found.values()))} caught, by {len(caught)} invariants")
    assert [name for name, violations in found.items() if not violations] == []
    assert sorted(INVARIANTS) == caught


def test_a_mutant_whose_passage_is_gone_is_told() -> None:
    with pytest.raises(ValueError, match="0 times"):
        mutated(Mutant("nothing", "decide", "not in there", "", "desk"))


@pytest.mark.parametrize("name", WORLDS)
def test_reducing_a_state_loses_nothing(name: str) -> None:
    """A long walk with the whole state, and the same walk with the reduced one: what is decided is the same at each step."""
    world, draw = WORLDS[name](True), random.Random(name)
    whole, small, now = begun(world.setup), normal(begun(world.setup)), 0
    for _ in range(3000):
        move = draw.choice(world.moves)
        whole_event, small_event = move.event(whole), move.event(small)
        assert (whole_event is None) == (small_event is None)
        if whole_event is None or small_event is None:
            continue
        now += move.ms
        whole, said = decide(whole, whole_event, now)
        small, said_of_small = decide(small, small_event, move.ms)
        assert alike(said) == alike(said_of_small), move.name
        whole, small = answered(world, whole, said, now), normal(answered(world, small, said_of_small, move.ms))


@pytest.mark.parametrize("name", WORLDS)
def test_nothing_is_missed_by_who_asks_when_it_is_due(name: str) -> None:
    world, draw = WORLDS[name](True), random.Random(name)
    state, now = decide(begun(world.setup), events.tick(), 0)[0], 0
    for _ in range(2000):
        moment = due(state)
        said = decide(state, events.tick(), now + 1_000_000 if moment is None else moment - 1)[1]
        assert [one for one in said if one.kind != "hold"] == []
        move = draw.choice(world.moves)
        event = move.event(state)
        if event is not None:
            now += move.ms
            state, said = decide(state, event, now)
            state = answered(world, state, said, now)


def answered(world: World, state: tuple[object, ...], said: list[Decision], now: int) -> tuple[object, ...]:
    answers = obey(state, said) if world.obedient else []
    while answers:
        state, more = decide(state, answers.pop(0), now)
        answers += obey(state, more)
    return state


def alike(said: list[Decision]) -> list[Decision]:
    """Decisions without their identities."""
    return [one._replace(identity=0) for one in said]

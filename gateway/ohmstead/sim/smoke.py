"""`ohmstead smoke`: the demo without a face. Goes through the chain once, breaks it twice, says what it found; ends within a minute."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import NoReturn

from ohmstead.errors import OhmsteadError

from .appliance import Appliance, Plan
from .broker import NoBrokerError
from .chain import Chain
from .children import ChildEndedError
from .listener import Listener
from .miniserver import Miniserver
from .story import Story

_LONGEST = 57.0
"""Seconds until the checks give up, all together; ending takes some more."""


class Verdicts:
    """One line for each thing verified."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.passed = self.failed = 0

    def __call__(self, what: str, passed: bool, figures: str = "") -> None:
        self._say(f"{'✓' if passed else '✗'} {what}{f': {figures}' if figures else ''}")
        if passed:
            self.passed += 1
        else:
            self.failed += 1


def run(plan: Plan, say: Callable[[str], None], examine: Callable[[Appliance, Verdicts, float], None] | None = None) -> int:
    """0 when everything was verified, else 1. `examine` gets the running appliance and when it began (monotonic clock); the whole chain
    unless it is given.
    """
    signal.signal(signal.SIGTERM, _terminated)
    began = time.monotonic()
    verdict = Verdicts(say)
    try:
        with Appliance(plan, say) as appliance:
            say("")
            (examine or _chain)(appliance, verdict, began)
            endings = appliance.stop()
            ended = ", ".join(f"{name} {code}" for name, code in endings.items())
            verdict("every process ended when asked", _clean(endings, appliance), f"exit codes: {ended}")
    except (ChildEndedError, NoBrokerError, OhmsteadError, OSError) as error:
        verdict("the appliance runs", False, str(error))
    except KeyboardInterrupt:
        say("interrupted; everything has ended")
        return 130
    say(f"\n{verdict.passed} verified, {verdict.failed} failed, {time.monotonic() - began:.1f} s")
    return 1 if verdict.failed else 0


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _clean(endings: dict[str, int | None], appliance: Appliance) -> bool:
    """The gateway and mosquitto end with 0 after SIGTERM; MicroPython and amqtt have no handler for it."""
    return endings.get(appliance.gateway.name) == 0 and all(code in (0, -signal.SIGTERM) for code in endings.values())


def _chain(appliance: Appliance, verdict: Verdicts, began: float) -> None:
    deadline = began + _LONGEST
    with Listener(appliance.broker.host, appliance.broker.port) as listener:
        chain = Chain(appliance, listener, verdict, deadline)
        chain.gateway_answers(began)
        miniserver = Miniserver(appliance, listener, verdict, deadline)
        if appliance.node_runs:
            chain.node_is_there()
            Story(appliance, listener, verdict, lambda _: None, deadline).in_short()  # the other inverter's groups come in meanwhile
            miniserver.commands_a_charge()
        chain.every_group_arrives()
        chain.neighbours_answer()
        chain.consumption_is_consistent()
        chain.home_assistant_finds_it()
        chain.commands_are_kept_to_their_range()
        if appliance.node_runs:
            chain.bus_is_clean()
        chain.unplugged_goes_offline_and_comes_back()
        if appliance.node_runs:
            miniserver.lets_it_end()
        chain.broker_dies_and_everything_arrives()
        chain.store_has_everything_once()

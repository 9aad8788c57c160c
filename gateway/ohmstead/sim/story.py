"""The story of a battery that nobody has to watch: what `ohmstead demo story` tells and `ohmstead smoke` goes through in short.

Everything is asked for as an owner's own programs would ask, over MQTT; everything is seen where it counts, in the inverter's registers.
"""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from msgpack import unpackb  # type: ignore[import-untyped] # it comes without types

from ohmcore.gateway import pack_command, seal
from ohmcore.pack import Packer

from .appliance import BATTERY, FLOOR, NODE, SITE, Appliance
from .chain import Verdict
from .children import Child, wait_for_port
from .listener import Listener

RATE, STOP_SOC, FORCED = 1070, 1071, 1082
"""Of grid first: how fast in % of the rated power, down to which SOC, whether its slot is in force."""
LEASE_S = 8.0
_SLOT = 1080
_ALL_DAY = (0, 23 << 8 | 59, 1)
_POLL_S = 0.02
_SETTLED_S = 1.5
_ANSWER_S = 3.0
"""For the gateway's answer to a request: it waits 2 s for the node's."""
_SLOW_S = 12.0
"""For anything that takes a few exchanges on the inverter's line, which wants 250 ms between two of them."""


class Story:
    """Each method a scene of a running appliance with a node; the next begins where it ends. None waits past `deadline` (monotonic clock).

    `tell` gets what happens, `verdict` what came of it. Raises `ChildEndedError` if a part ends that was not killed here.
    """

    def __init__(
        self, appliance: Appliance, listener: Listener, verdict: Verdict, tell: Callable[[str], None], deadline: float = float("inf")
    ) -> None:
        self._appliance = appliance
        self._inverter = appliance.battery
        self._listener = listener
        self._verdict = verdict
        self._tell = tell
        self._deadline = deadline
        self._dead: list[Child] = []
        self._node_root = f"ohm/{SITE}/node/{NODE}"
        self._bridge = f"ohm/{SITE}/bridge"
        self._result = f"ohm/{SITE}/device/{BATTERY}/control/discharge/result"
        self._ids = itertools.count(1)
        self._told = 0

    def whole(self) -> None:
        """All of it: less than a minute."""
        self.battery_is_read()
        self.discharge_is_obeyed(40, LEASE_S)
        self.gateway_dies_and_the_lease_ends(LEASE_S)
        self.gateway_returns()
        self.floor_holds()
        self.discharge_is_obeyed(60, 600)
        self.kill(self._appliance.gateway, "kill -9 of the gateway")
        self.stop_is_obeyed()
        self.power_cut_releases_nothing()
        self.forged_reset_is_refused()
        self.gateway_returns()
        self.only_an_authentic_reset_releases()
        self.discharge_is_obeyed(30, LEASE_S)

    def in_short(self) -> None:
        """Nobody is killed: what is left is six seconds."""
        self.battery_is_read()
        self.discharge_is_obeyed(40, 600)
        self.stop_is_obeyed()
        self.forged_reset_is_refused()
        self.only_an_authentic_reset_releases()

    # The scenes

    def battery_is_read(self) -> None:
        topic = f"ohm/{SITE}/device/{BATTERY}/battery_soc"
        came = self._until(lambda: self._listener.last(topic), _SLOW_S)
        soc = self._listener.last(topic) or b"?"
        self._tell("What the node finds at its start it puts back to where it goes by itself: nobody commands anything yet.")
        self._until(lambda: self._inverter.writes and time.time() - self._inverter.writes[-1].time > _SETTLED_S, _SLOW_S)
        self._bus()
        self._verdict("the battery on the node's second bus is read", came, f"{soc.decode()} % charged")

    def discharge_is_obeyed(self, percent: int, seconds: float) -> None:
        self._tell(f"\nThe owner wants the battery discharged at {percent} % of its power for {seconds:g} s.")
        asked = self._ask("command", {"device": BATTERY, "control": "discharge", "value": str(percent), "seconds": seconds})
        obeyed = self._until(lambda: self._inverter[RATE] == percent and self._inverter[FORCED] == 1, _SLOW_S)
        at = time.monotonic()
        self._until(lambda: self._listener.last(self._result, asked), _SLOW_S)
        self._bus()
        figures = f"{self._registers()} after {at - asked:.1f} s; the battery gives {self._inverter.powers.battery:.0f} W"
        self._verdict(f"a discharge at {percent} % is commanded, the registers change", obeyed and self._outcome() == "done", figures)

    def gateway_dies_and_the_lease_ends(self, seconds: float) -> None:
        """Begins right after `discharge_is_obeyed` with the same `seconds`."""
        asked = self._listener.all(f"{self._bridge}/request/command")[-1].at
        self.kill(self._appliance.gateway, "kill -9 of the gateway")
        reverted = self._until(lambda: self._inverter[FORCED] == 0 and self._inverter[RATE] == 100, seconds + _SLOW_S)
        took = time.monotonic() - asked
        self._bus()
        said = self._control_said("lapsed")
        self._verdict(
            "with the gateway dead the node reverts at the lease's end",
            reverted and took >= seconds and said == "lease",
            f"{self._registers()} {took:.1f} s after it was asked for {seconds:g} s",
        )

    def gateway_returns(self) -> None:
        self._tell("\nThe gateway is started again.")
        self._revive(self._appliance.gateway)
        wait_for_port(self._appliance.gateway, self._appliance.page)
        self._appliance.wait_until_ready()

    def floor_holds(self) -> None:
        low = FLOOR - 2
        self._tell(f"\nThe battery is down to {low} %, the owner's floor is {FLOOR} %. Somebody wants to discharge it nevertheless.")
        before = self._inverter.stored
        self._inverter.stored = before * low / self._inverter.soc
        topic = f"ohm/{SITE}/device/{BATTERY}/battery_soc"
        self._until(lambda: self._listener.last(topic) == str(low).encode(), _SLOW_S)
        refused, why = self._refused()
        self._bus()
        self._verdict("below the SOC floor a discharge is refused, with a reason", refused, why)
        self._inverter.stored = before
        self._until(lambda: self._listener.last(topic) not in (None, str(low).encode()), _SLOW_S)

    def stop_is_obeyed(self) -> None:
        alone = self._appliance.gateway in self._dead
        self._tell(f"\nEmergency stop: `1` on {self._node_root}/stop, plain and retained{', and no gateway lives' if alone else ''}.")
        pressed, before = time.monotonic(), len(self._inverter.writes)
        self._listener.publish(f"{self._node_root}/stop", "1", retain=True)
        began = self._until(lambda: len(self._inverter.writes) > before, _SLOW_S)
        first = time.monotonic() - pressed
        safe = began and self._until(lambda: self._inverter[FORCED] == 0, _SLOW_S)
        took = time.monotonic() - pressed
        self._until(lambda: self._control_said("safe") == "stop", _SLOW_S)
        self._bus()
        self._verdict(
            f"the emergency stop puts safe values on the bus{' with the gateway dead' if alone else ''}",
            safe and self._inverter[RATE] == 100,
            f"the first after {first:.1f} s, the last that matters after {took:.1f} s",
        )

    def power_cut_releases_nothing(self) -> None:
        node = self._appliance.node
        self.kill(node, "The node loses its power")
        self._tell("Meanwhile somebody sets the inverter to discharge by hand.")
        self._inverter.write(16, RATE, (80, 10))
        self._inverter.write(16, _SLOT, _ALL_DAY)
        assert self._inverter[FORCED] == 1  # noqa: S101 - the simulated inverter takes what a real one takes
        self._bus("by hand")
        started = time.monotonic()
        self._tell("The node has power again.")
        self._revive(node)
        safe = self._until(lambda: self._inverter[FORCED] == 0 and self._inverter[RATE] == 100, _SLOW_S)
        took = time.monotonic() - started
        self._bus()
        self._verdict("still latched after a power cut of the node: safe values again", safe, f"{took:.1f} s after the power's return")

    def forged_reset_is_refused(self) -> None:
        self._tell("\nSomebody who does not have the node's key sends a reset.")
        packer = Packer(bytearray(256))
        pack_command(packer, "forged", int(time.time()) + 1000, "", "reset", b"", 10_000)
        forged = seal(secrets.token_bytes(32), f"{SITE}/{NODE}/command".encode(), packer.message())
        sent = time.monotonic()
        self._listener.publish(f"{self._node_root}/down/command", forged)
        refused = self._until(lambda: "unauthorised" in [event.get("reason") for event in self._events("rejected", sent)], _SLOW_S)
        self._verdict("an unauthenticated reset is refused", refused and not self._events("reset", sent), "unauthorised, says the node")

    def only_an_authentic_reset_releases(self) -> None:
        refused, why = self._refused()
        self._verdict("what is commanded meanwhile is refused, with a reason", refused, why)
        standing = self._reset()
        self._tell(f"\nThe owner asks for a reset while the stop still stands at 1: {standing.get('detail')}.")
        levelled = time.monotonic()
        self._listener.publish(f"{self._node_root}/stop", "0", retain=True)
        self._until(lambda: 0 in [event.get("level") for event in self._events("stop", levelled)], _SLOW_S)
        held, why = self._refused()
        self._tell(
            f"The stop goes to 0. That alone releases nothing: {why}. Now the gateway, which has the node's key, is asked for a reset."
        )
        released = self._reset()
        self._verdict(
            "released only by an authenticated reset, and not while the stop stands at 1",
            standing.get("outcome") == "rejected" and held and released.get("outcome") == "done",
            f"first {standing.get('outcome')}, then {released.get('outcome')}",
        )

    def kill(self, part: Child, words: str) -> None:
        self._tell(f"\n{words} (process {part.pid}).")
        part.kill()
        self._dead.append(part)

    # What is asked, and what is seen

    def _revive(self, part: Child) -> None:
        part.start()
        self._dead.remove(part)

    def _ask(self, verb: str, asked: dict[str, Any]) -> float:
        """Asks the gateway over MQTT; returns when."""
        at = time.monotonic()
        self._listener.publish(f"{self._bridge}/request/{verb}", json.dumps(asked))
        return at

    def _answered(self, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        """What the gateway answers; empty if it does not. It is asked again where nothing comes: it may not listen yet."""
        for identity in itertools.islice(self._ids, round(_SLOW_S / _ANSWER_S)):
            at = self._ask(verb, asked | {"id": identity})
            if self._until(partial(self._answer, verb, at, identity), _ANSWER_S):
                return self._answer(verb, at, identity)
        return {}

    def _answer(self, verb: str, since: float, identity: int) -> dict[str, Any]:
        said = [json.loads(message.payload) for message in self._listener.all(f"{self._bridge}/response/{verb}", since)]
        return next((answer for answer in said if answer.get("id") == identity), {})

    def _reset(self) -> dict[str, Any]:
        return self._answered("reset", {"node": NODE})

    def _refused(self) -> tuple[bool, str]:
        """Whether a discharge is refused, and nothing written; and why."""
        asked = self._ask("command", {"device": BATTERY, "control": "discharge", "value": "40", "seconds": 600})
        answered = self._until(lambda: self._listener.last(self._result, asked), _SLOW_S)
        said = self._last_result()
        refused = said.get("outcome") in ("rejected", "limited")
        return answered and refused and self._inverter[FORCED] == 0, f"“{said.get('detail', 'no answer')}”"

    def _last_result(self) -> dict[str, Any]:
        payload = self._listener.last(self._result)
        said: dict[str, Any] = json.loads(payload) if payload else {}
        return said

    def _outcome(self) -> str:
        return str(self._last_result().get("outcome"))

    def _events(self, kind: str, since: float = 0.0) -> list[dict[str, Any]]:
        """Details of the node's events of a kind."""
        frames = [unpackb(message.payload) for message in self._listener.all(f"{self._node_root}/up/event", since)]
        return [frame[6] for frame in frames if frame[5] == kind]

    def _control_said(self, stage: str) -> str:
        """The reason in the last event of this stage of the discharge."""
        details = [detail for detail in self._events("control") if detail["control"] == "discharge" and detail["stage"] == stage]
        return str(details[-1]["reason"]) if details else ""

    def _registers(self) -> str:
        return f"{RATE} = {self._inverter[RATE]} %, {STOP_SOC} = {self._inverter[STOP_SOC]} %, {FORCED} = {self._inverter[FORCED]}"

    def _bus(self, by: str = "on the bus") -> None:
        """Tells what was written to the inverter since the last time."""
        writes = self._inverter.writes[self._told :]
        self._told += len(writes)
        for write in writes:
            at = time.strftime("%H:%M:%S", time.localtime(write.time))
            last = write.address + len(write.words) - 1
            self._tell(f"    {at}  {by}: {write.address}..{last} ← {', '.join(map(str, write.words))}")

    def _until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Whether it came true in time."""
        until = min(time.monotonic() + seconds, self._deadline)
        while not condition():
            self._appliance.check(self._dead)
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_S)
        return True

"""`ohmstead demo`: the appliance until Ctrl-C. `ohmstead demo story`: what it does in an emergency, told and verified."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ohmstead.errors import OhmsteadError

from . import smoke
from .appliance import BATTERY, DEVICE, NODE, SITE, Appliance, Plan
from .broker import NoBrokerError
from .children import ChildEndedError
from .listener import Listener
from .story import Story

_FIRST_READING = 20.0


def run(plan: Plan, say: Callable[[str], None]) -> int:
    """Starts everything, says what and where, and ends everything at SIGINT or SIGTERM. 0, or 1 when a part failed."""
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    began = time.monotonic()
    say("ohmstead: the whole appliance on this machine. What a home has is simulated, all else is real.\n")
    try:
        with Appliance(plan, say) as appliance:
            appliance.wait_until_ready()
            _introduce(appliance, say, began, asked_to_end)
            while not asked_to_end.wait(0.25):
                appliance.check()
            say("\nEnding …")
    except (ChildEndedError, NoBrokerError, OhmsteadError, OSError) as error:
        say(f"\n{error}")
        return 1
    say("Everything has ended, nothing is left behind.")
    return 0


def story(plan: Plan, say: Callable[[str], None]) -> int:
    """A discharge, a dead gateway, an empty battery, an emergency stop: each told, each seen on the bus. 0 when all of it held, else 1."""
    say("ohmstead: who looks after the battery when everything else is dead. What a home has is simulated, all else is real.\n")

    def tell(appliance: Appliance, verdict: smoke.Verdicts, _began: float) -> None:
        if not appliance.node_runs:
            verdict("a node runs", False, f"{appliance.without_node}; without it nobody looks after the battery")
            return
        with Listener(appliance.broker.host, appliance.broker.port) as listener:
            appliance.wait_until_ready()
            Story(appliance, listener, verdict, say).whole()

    return smoke.run(plan, say, tell)


def _introduce(appliance: Appliance, say: Callable[[str], None], began: float, asked_to_end: threading.Event) -> None:
    port = appliance.broker.port
    root = f"ohm/{SITE}/device/{DEVICE}"
    subscriptions = (
        (f"MTEC/{appliance.serial}/#", "what an M-TEC owner's Home Assistant reads"),
        (f"{root}/#", "each value by itself"),
        ("homeassistant/#", "Home Assistant's discovery"),
    )
    say(f"\nPage       {appliance.address}")
    subscribe, publish = _clients(port)
    for label, (topic, meaning) in zip(("Topics", "", ""), subscriptions, strict=True):
        line = f"{subscribe} -t '{topic}'"
        say(f"{label:10} {line:70} {meaning}")
    say(f"Command    {publish} -t {root}/grid_inject_limit/set -m 55")
    if appliance.node_runs:
        say(f"           {publish} -t ohm/{SITE}/device/{BATTERY}/discharge/set -m 40")
        say(f"Stop       {publish} -t ohm/{SITE}/node/{NODE}/stop -r -m 1       the story of it: ohmstead demo story")
    say(f"Files      {appliance.folder}   configuration, store, logs; removed at the end")
    say("Ctrl-C ends everything.\n")
    with Listener(appliance.broker.host, port) as listener:
        deadline = time.monotonic() + _FIRST_READING
        while not asked_to_end.is_set() and time.monotonic() < deadline:
            appliance.check()
            reading = listener.last(f"MTEC/{appliance.serial}/now-base")
            if reading is not None:
                say(f"{time.monotonic() - began:.1f} s after the start: {_in_words(json.loads(reading))}")
                return
            asked_to_end.wait(0.05)
    if not asked_to_end.is_set():
        say(f"No reading came within {_FIRST_READING:g} s; the logs are in {appliance.folder}.")


def _clients(port: int) -> tuple[str, str]:
    """How this machine subscribes and publishes: mosquitto's programs, or amqtt's where only those are there."""
    ours = Path(sys.executable).parent
    if shutil.which("mosquitto_sub") is None and (ours / "amqtt_sub").exists():
        return f"{ours}/amqtt_sub --url mqtt://127.0.0.1:{port}", f"{ours}/amqtt_pub --url mqtt://127.0.0.1:{port}"
    return f"mosquitto_sub -p {port} -v", f"mosquitto_pub -p {port}"


def _in_words(values: dict[str, float]) -> str:
    grid, battery = values["grid_power"], values["battery"]
    return (
        f"sun {values['pv']:.0f} W, house {values['consumption']:.0f} W, battery {values['battery_soc']:.0f} % "
        f"{'discharging' if battery > 0 else 'charging'} {abs(battery):.0f} W, {'to' if grid >= 0 else 'from'} the grid {abs(grid):.0f} W"
    )

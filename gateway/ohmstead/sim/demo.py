"""`ohmstead demo`: the appliance until Ctrl-C."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable

from ohmstead.errors import OhmsteadError

from .appliance import DEVICE, SITE, Appliance, Plan
from .broker import NoBrokerError
from .children import ChildEndedError
from .listener import Listener

_FIRST_READING = 20.0


def run(plan: Plan, say: Callable[[str], None]) -> int:
    """Starts everything, says what and where, and ends everything at SIGINT or SIGTERM. 0, or 1 when a part failed."""
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    began = time.monotonic()
    say("ohmstead: the whole appliance on this machine. The inverters are simulated, all else is real.\n")
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


def _introduce(appliance: Appliance, say: Callable[[str], None], began: float, asked_to_end: threading.Event) -> None:
    port = appliance.broker.port
    say(f"""
Page       {appliance.address}
Topics     mosquitto_sub -p {port} -v -t 'MTEC/{appliance.serial}/#'       what an M-TEC owner's Home Assistant reads
           mosquitto_sub -p {port} -v -t 'ohm/{SITE}/device/{DEVICE}/#'    each value by itself
           mosquitto_sub -p {port} -v -t 'homeassistant/#'                 discovery
Command    mosquitto_pub -p {port} -t ohm/{SITE}/device/{DEVICE}/grid_inject_limit/set -m 55
Files      {appliance.folder}   (configuration, store, logs; removed at the end)
Ctrl-C ends everything.
""")
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


def _in_words(values: dict[str, float]) -> str:
    grid, battery = values["grid_power"], values["battery"]
    return (
        f"sun {values['pv']:.0f} W, house {values['consumption']:.0f} W, battery {values['battery_soc']:.0f} % "
        f"{'discharging' if battery > 0 else 'charging'} {abs(battery):.0f} W, {'to' if grid >= 0 else 'from'} the grid {abs(grid):.0f} W"
    )

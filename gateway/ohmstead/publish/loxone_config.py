"""What is to be entered in Loxone Config: topics within the plugin's limits, command recognition, and templates to import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from ohmstead.control.views import ControlView, DeviceView
from ohmstead.publish.loxone_status import ROOT, pattern, word

MOST_TOPICS = 16
"""Subscriptions, and publications, that the Miniserver's MQTT plugin has."""

STATUS_PORT = 4000
LOXBERRY_PORT = 11884


class Input(NamedTuple):
    """A number of the status: its key there, what it is, its unit, and how many decimals it has."""

    key: str
    title: str
    unit: str
    decimals: int = 0


class Output(NamedTuple):
    """A topic to publish to: what it takes; `analog` is a number, otherwise 0 or 1."""

    topic: str
    title: str
    takes: str
    analog: bool = False


def inputs(view: DeviceView) -> list[Input]:
    """The numbers in the packed status of a device, the most important first."""
    found = [
        Input("heartbeat", "Heartbeat, counts up while the gateway lives", ""),
        Input("soc", "State of charge", "%", 1),
        Input("fresh", "State of charge is known (0/1)", ""),
        Input("age", "Age of the readings that limits need", "s"),
        Input("mode_number", "Mode: 0 auto, 1 manual, 2 stopped", ""),
    ]
    for control in view.controls.values():
        name = word(control)
        found.append(Input(f"{name}_on", f"{control.title}: commanded (0/1)", ""))
        if control.watts is not None:
            found.append(Input(name, f"{control.title}: as read back", "kW", 3))
            found.append(Input(f"{name}_wanted", f"{control.title}: wanted", "kW", 3))
            found.append(Input(f"{name}_acknowledged", f"{control.title}: acknowledged", "kW", 3))
        found.append(Input(f"{name}_left", f"{control.title}: left of its time", "min", 1))
    return [
        *found,
        Input("manual_left", "Left of mode manual", "min", 1),
        Input("timeout", "How long a command holds", "min", 1),
        Input("rejected", "Commands that were not taken, so far", ""),
        Input("failsafe", "The network operator's box is silent (0/1)", ""),
    ]


def outputs(view: DeviceView) -> list[Output]:
    """The topics that a device is commanded by, the most important first; none where it is only read."""
    if view.read_only:
        return []
    root, controls = f"{ROOT}/{view.name}", list(view.controls.values())
    return [
        Output(f"{root}/stop", "Emergency stop", "0 or 1, a level: 1 for as long as everything has to be off"),
        *(Output(f"{root}/{word(one)}/enable", f"{one.title}: on/off", _enable(one)) for one in controls),
        Output(f"{root}/mode", "Mode", "0 auto, 1 manual: the plan pauses"),
        *(Output(f"{root}/{word(one)}/power", f"{one.title}: power", _power(one), True) for one in controls if one.watts is not None),
        Output(f"{root}/reset", "Reset after a stop", "1 ends the stop, once its cause is gone"),
        Output(f"{root}/timeout", "How long a command holds", "minutes, at least 1 s and as long as the home allows", True),
    ]


def _enable(control: ControlView) -> str:
    return "0 none at all, 1 as much as was said" if control.home == control.most else "1 begins, 0 gives it back to the plan"


def _power(control: ControlView) -> str:
    return f"kW, from {control.kw(control.least) or 0:g} to {control.kw(control.most) or 0:g}, never negative"


def fitting(views: Iterable[DeviceView], stops: Sequence[str] = ()) -> tuple[list[Output], list[Output]]:
    """The publications of all devices that fit into one plugin, and those that do not. `stops` are the nodes' own stop topics.

    All stops come first, then of each device what comes first there.
    """
    ranked = [(rank, output) for view in views for rank, output in enumerate(outputs(view))]
    ordered = [output for _, output in sorted(ranked, key=lambda one: one[0])]
    own = [Output(topic, "Emergency stop at the node", "the same level: the node obeys it without the gateway") for topic in stops]
    at = sum(rank == 0 for rank, _ in ranked)
    ordered[at:at] = own
    return ordered[:MOST_TOPICS], ordered[MOST_TOPICS:]


def input_template(view: DeviceView, port: int, address: str = "") -> str:
    """A template of virtual UDP inputs with the command recognition of each number in the status."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<VirtualInUdp{_attributes({'Title': view.title, 'Comment': 'ohmstead', 'Address': address, 'Port': port})}>",
        '\t<Info templateType="1" minVersion="12000000"/>',
    ]
    for one in inputs(view):
        shown = f"<v.{one.decimals}>" if one.decimals else "<v>"
        said = {"Title": one.title, "Comment": one.key, "Address": "", "Check": pattern(one.key), "Signed": "true", "Analog": "true"}
        said |= {"SourceValLow": "0", "DestValLow": "0", "SourceValHigh": "100", "DestValHigh": "100", "DefVal": "0"}
        said |= {"MinVal": "-2147483648", "MaxVal": "2147483647", "Unit": f"{shown} {one.unit}".rstrip(), "HintText": ""}
        lines.append(f"\t<VirtualInUdpCmd{_attributes(said)}/>")
    return "\r\n".join([*lines, "</VirtualInUdp>", ""])


def output_template(view: DeviceView, host: str, port: int = LOXBERRY_PORT) -> str:
    """A template of virtual outputs for the MQTT gateway of a LoxBerry, which publishes what it gets by UDP."""
    head = {"Title": view.title, "Comment": "ohmstead", "Address": f"/dev/udp/{host}/{port}", "CmdInit": ""}
    head |= {"CloseAfterSend": "true", "CmdSep": "", "HintText": ""}
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<VirtualOut{_attributes(head)}>",
        '\t<Info templateType="3" minVersion="12000000"/>',
    ]
    for one in outputs(view):
        on = "<v>" if one.analog else "1"
        said = {"Title": one.title, "Comment": one.takes, "CmdOnMethod": "GET", "CmdOffMethod": "GET"}
        said |= {"CmdOn": f"publish {one.topic} {on}", "CmdOnHTTP": "", "CmdOnPost": ""}
        said |= {"CmdOff": "" if one.analog else f"publish {one.topic} 0", "CmdOffHTTP": "", "CmdOffPost": ""}
        said |= {"Analog": "true" if one.analog else "false", "Repeat": "0", "RepeatRate": "0", "HintText": ""}
        lines.append(f"\t<VirtualOutCmd{_attributes(said)}/>")
    return "\r\n".join([*lines, "</VirtualOut>", ""])


def _attributes(said: Mapping[str, object]) -> str:
    return "".join(f" {key}={quoteattr(str(value))}" for key, value in said.items())

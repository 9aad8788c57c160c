"""What is to be entered in Loxone Config: within the plugin's limits, found by its recognition, importable."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ohmstead.control.views import DeviceView
from ohmstead.publish.loxone_answers import LoxoneAnswers
from ohmstead.publish.loxone_commands import LoxoneCommands
from ohmstead.publish.loxone_config import MOST_TOPICS, fitting, input_template, inputs, output_template, outputs
from ohmstead.publish.loxone_status import fields, pattern
from ohmstead.topics import matches
from tests.publishing import Recorder
from tests.unit.loxone_home import Desk, home


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(home(tmp_path_factory.mktemp("home")))


@pytest.fixture
def view(desk: Desk) -> DeviceView:
    return desk.devices["growatt"]


def test_every_input_is_a_value_of_the_status(desk: Desk, view: DeviceView) -> None:
    said = fields(view, desk.status("growatt"), None, 0, 0)
    keys = [one.key for one in inputs(view)]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= set(said)
    assert not [key for key in keys if isinstance(said[key], str)]
    assert {"charge", "charge_wanted", "discharge_acknowledged", "export_on", "export", "soc", "heartbeat"} <= set(keys)


def test_every_output_is_a_topic_that_is_listened_to(desk: Desk, view: DeviceView) -> None:
    broker = Recorder()
    LoxoneCommands(broker, desk, LoxoneAnswers(broker)).start()
    topics = [one.topic for one in outputs(view)]
    assert {"loxone/growatt/charge/enable", "loxone/growatt/export/enable", "loxone/growatt/charge/power", "loxone/growatt/mode"} <= set(
        topics
    )
    assert [topic for topic in topics if not any(matches(pattern, topic) for pattern in broker.subscriptions())] == []


def test_one_battery_fits_into_the_plugin_with_its_node(view: DeviceView) -> None:
    fit, rest = fitting([view], ["ohm/home/node/cellar/stop"])
    assert rest == []
    assert len(fit) <= MOST_TOPICS
    assert [one.topic for one in fit[:2]] == ["loxone/growatt/stop", "ohm/home/node/cellar/stop"]


def test_of_many_batteries_all_stops_come_first_and_the_rest_is_named(view: DeviceView) -> None:
    views = [view._replace(name=f"g{number}") for number in range(4)]
    fit, rest = fitting(views)
    assert len(fit) == MOST_TOPICS
    assert [one.topic for one in fit[:4]] == [f"loxone/g{number}/stop" for number in range(4)]
    assert {one.topic for one in fit} | {one.topic for one in rest} == {one.topic for each in views for one in outputs(each)}


def test_who_may_not_command_is_offered_no_topic(view: DeviceView) -> None:
    assert fitting([view._replace(read_only=True)]) == ([], [])


def test_the_inputs_can_be_imported(view: DeviceView) -> None:
    found = ElementTree.fromstring(input_template(view._replace(title='A "b" & <c>'), 4001))  # noqa: S314 - our own text
    assert (found.tag, found.get("Title"), found.get("Port")) == ("VirtualInUdp", 'A "b" & <c>', "4001")
    assert [one.get("Check") for one in found.findall("VirtualInUdpCmd")] == [pattern(one.key) for one in inputs(view)]
    assert {one.get("Unit") for one in found.findall("VirtualInUdpCmd")} >= {"<v.1> %", "<v.3> kW", "<v>"}


def test_the_outputs_can_be_imported(view: DeviceView) -> None:
    found = ElementTree.fromstring(output_template(view, "192.0.2.30", 11884))  # noqa: S314 - our own text
    assert (found.tag, found.get("Address")) == ("VirtualOut", "/dev/udp/192.0.2.30/11884")
    said = {(one.get("CmdOn"), one.get("CmdOff"), one.get("Analog")) for one in found.findall("VirtualOutCmd")}
    assert ("publish loxone/growatt/charge/enable 1", "publish loxone/growatt/charge/enable 0", "false") in said
    assert ("publish loxone/growatt/charge/power <v>", "", "true") in said
    assert len(said) == len(outputs(view))

"""Both contracts: values that nobody could hear when they were read are said once more, though none is retained."""

from __future__ import annotations

import pytest

from ohmstead.profiles.model import Profile
from ohmstead.publish.mtec_json import MtecJson
from ohmstead.publish.mtec_state import MtecState
from ohmstead.readings import Quality, Snapshot
from tests.publishing import Recorder, Requests, decoded, mtec, snapshots

SERIAL = "MTEC12K3P4012345"


class Contract:
    """A contract without discovery, on a recording broker that is not connected yet."""

    def __init__(self, kind: str) -> None:
        self.profile = mtec()
        self.broker = Recorder()
        contract = self.profile.contracts[kind]
        self.outlet: MtecJson | MtecState = (
            MtecJson("mtec", self.profile, contract, self.broker)
            if kind == "json"
            else MtecState("mtec", self.profile, contract, self.broker, Requests())
        )
        self.outlet.start()

    def poll(self, image: dict[int, int]) -> None:
        """As after a start: the fastest group first, the serial number last."""
        for snapshot in reversed(snapshots(self.profile, decoded(self.profile, image))):
            self.outlet.take(snapshot)

    def read(self, *, group: str = "1h", live: bool = True, **values: str | float) -> None:
        self.outlet.take(Snapshot("mtec", group, 0.0, Quality.GOOD, values, live=live))

    def after(self, *seconds: float) -> None:
        for now in seconds:
            self.outlet.tick(now)

    def said(self) -> set[tuple[str, str]]:
        """Serial number and group of what was published since the last call."""
        topics = (message.topic.split("/") for message in self.broker.take())
        return {(parts[1], parts[2]) for parts in topics}


@pytest.fixture(params=["json", "state"])
def contract(request: pytest.FixtureRequest) -> Contract:
    return Contract(request.param)


@pytest.fixture
def everything() -> set[tuple[str, str]]:
    return {(SERIAL, group) for group in mtec().groups}


def test_what_was_read_before_the_serial_number_was_known_follows_it(
    contract: Contract, image: dict[int, int], everything: set[tuple[str, str]]
) -> None:
    contract.broker.connect()
    contract.poll(image)
    contract.said()
    contract.after(0.0, 1.0, 10.0)
    assert contract.said() == everything, "day and total too, which are read again only in five minutes"
    contract.after(20.0, 30.0)
    assert contract.said() == set(), "once"


def test_what_was_read_before_the_broker_was_there_is_said_to_it(
    contract: Contract, image: dict[int, int], everything: set[tuple[str, str]]
) -> None:
    contract.poll(image)
    contract.after(0.0, 10.0)
    contract.said()
    contract.broker.connect()
    contract.after(11.0, 12.0, 17.0)
    assert contract.said() == everything


def test_what_is_old_by_then_is_not_repeated(contract: Contract, image: dict[int, int], profile: Profile) -> None:
    contract.poll(image)
    contract.after(0.0, 10.0)
    contract.said()
    contract.broker.connect()
    contract.after(600.0, 606.0)
    slow = {(SERIAL, group) for group, period in profile.groups.items() if period >= 300}
    assert contract.said() == slow


def test_another_inverter_inherits_no_values(contract: Contract, image: dict[int, int]) -> None:
    contract.broker.connect()
    contract.poll(image)
    contract.after(0.0)
    contract.said()
    contract.read(serial_no="OTHER")
    contract.after(1.0, 2.0, 10.0)
    assert contract.said() == {("OTHER", "static")}


def test_the_serial_number_is_learnt_from_a_late_snapshot_too(contract: Contract) -> None:
    contract.read(serial_no=SERIAL, live=False)
    assert contract.said() == set(), "a late value is nothing for a state topic"
    contract.read(group="10s", pv_1=3490)
    assert contract.said() == {(SERIAL, "now-pv")}

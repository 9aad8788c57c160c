"""Of a talkative device the changes are kept."""

from __future__ import annotations

from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.store.changes import Changes


def told(time: float, device: str = "pump", **values: Value) -> Snapshot:
    return Snapshot(device, "live", time, Quality.GOOD, values)


def kept(*snapshots: Snapshot, again_s: float = 300.0) -> list[tuple[float, dict[str, Value]]]:
    found: list[tuple[float, dict[str, Value]]] = []
    changes = Changes(lambda snapshot: found.append((snapshot.time, dict(snapshot.values))), {"pump"}, again_s)
    for snapshot in snapshots:
        changes.record(snapshot)
    return found


def test_what_changed_is_kept_and_the_rest_is_not() -> None:
    assert kept(told(0, flow=30.1, mode="heating"), told(30, flow=30.2, mode="heating"), told(60, flow=30.2, mode="heating")) == [
        (0, {"flow": 30.1, "mode": "heating"}),
        (30, {"flow": 30.2}),
    ]


def test_what_stays_is_kept_again_after_a_while() -> None:
    assert kept(told(0, flow=30.1), told(299, flow=30.1), told(300, flow=30.1), told(301, flow=30.1)) == [
        (0, {"flow": 30.1}),
        (300, {"flow": 30.1}),
    ]


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    assert len(kept(told(10_000, flow=30.1), told(0, flow=30.1))) == 2


def test_other_devices_are_kept_whole() -> None:
    assert len(kept(told(0, "mtec", grid=5), told(1, "mtec", grid=5))) == 2

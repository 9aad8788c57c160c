"""Whatever Viessmann's cloud says, there is a sound reading or an error of the sources' own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ohmstead.errors import OhmsteadError, RetryLater, SourceError
from ohmstead.profiles import library
from ohmstead.sim.vicare_home import heat_pump, stamp
from ohmstead.sources.vicare import VicareReader
from ohmstead.sources.vicare_answers import Expired, Revoked, parsed, token_answer
from ohmstead.sources.vicare_budget import Allowance, Budget
from ohmstead.sources.vicare_device import Heard, ViessmannDevice
from ohmstead.sources.vicare_features import features_of
from ohmstead.sources.vicare_login import Flow
from tests.unit.vicare_account import NOON, PROFILES, Kept

TABLE = library.load("vicare-heating")
NAMES = [feature["feature"] for feature in heat_pump(NOON)]
WORDS = [
    "value",
    "status",
    "active",
    "entries",
    "day",
    "unit",
    "type",
    "enabled",
    "temperature",
    "mon",
    "start",
    "end",
    "mode",
    "constraints",
    "max",
]

DEVICE: dict[str, Any] = {"id": "0", "modelId": "Vitocal", "status": "Online", "deviceType": "heating", "roles": []}

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["connected", "on", "24:00", "celsius"])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)
properties = st.dictionaries(
    st.sampled_from(WORDS) | st.text(max_size=10),
    st.fixed_dictionaries({"value": values}, optional={"unit": values, "type": values}) | values,
    max_size=5,
)
features = st.fixed_dictionaries(
    {"feature": st.sampled_from(NAMES) | st.text(max_size=30), "properties": properties | values},
    optional={"commands": values, "isEnabled": values, "timestamp": st.just(stamp(NOON)) | values, "uri": values},
)


def device() -> ViessmannDevice:
    return ViessmannDevice("heating", "Vitocal", [], TABLE, period_s=1800.0, stale_s=7200.0, wanted=lambda profile: profile)


@given(st.lists(features | values, max_size=6))
@settings(max_examples=40)
@example([{"feature": "heating.circuits", "properties": {"enabled": {"value": [[], {}]}}, "timestamp": stamp(NOON)}])
@example([{"feature": "heating.dhw.schedule", "properties": {"active": {"value": True}, "entries": {"value": {"fri": 3}}}}])
def test_any_features_give_sound_readings(told: list[Any]) -> None:
    of = device()
    heard = Heard(features_of({"data": [*told, *heat_pump(NOON)[:2]]}), NOON, NOON, datetime.fromtimestamp(NOON, UTC))
    snapshots, learned = of.take(heard)
    assert learned is not None
    units = learned.profile.units()
    for snapshot in snapshots:
        for point, value in snapshot.values.items():
            assert point in units
            assert isinstance(value, str) or math.isfinite(value)
            assert not isinstance(value, str) or len(value) <= 255
    again, more = of.take(heard)
    assert more is None
    assert again == snapshots
    kept = json.loads(json.dumps(of.kept()))
    assert device().recall(kept) == learned


class _Says:
    """A cloud that lists these devices, and says these features of each of them."""

    skew = 0.0

    def __init__(self, listed: Any, told: Any) -> None:
        self.budget = Budget(Allowance(), Kept(), "requests", lambda: NOON)
        self._listed = listed
        self._told = told

    def get(self, url: str) -> Any:
        return {"data": self._told} if "features" in url else self._listed


devices = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "modelId", "status", "deviceType", "roles"), values))
gateways = st.fixed_dictionaries({}, optional={"serial": values, "devices": st.lists(devices | values, max_size=3) | values})
installations = st.fixed_dictionaries({}, optional={"id": values, "gateways": st.lists(gateways | values, max_size=3) | values})


@given(
    st.fixed_dictionaries({}, optional={"data": st.lists(installations | values, max_size=3) | values}) | values,
    st.lists(features | values, max_size=3) | values,
    st.booleans(),
)
@settings(max_examples=150)
@example({"data": [{"id": 1, "gateways": [{"serial": "2", "devices": [DEVICE]}]}]}, [{"feature": "a.b", "uri": None}], False)
@example({"data": [{"id": 1, "gateways": [{"serial": "2", "devices": [{**DEVICE, "roles": [[]]}]}]}]}, [], True)
@example({"data": [{"id": 1, "gateways": [{"serial": "2", "devices": [{**DEVICE, "roles": 3}]}]}]}, heat_pump(NOON)[:2], False)
def test_any_account_is_one_or_is_told_to_be_none(listed: Any, told: Any, one_by_one: bool) -> None:
    cloud: Any = _Says(listed, told)
    reader = VicareReader("house", cloud, lambda _member: None, Kept(), load=PROFILES, one_by_one=one_by_one, wall=lambda: NOON)
    try:
        snapshots = reader._snapshots(reader._poll())
    except SourceError:
        snapshots = []
    assert all(snapshot.values for snapshot in snapshots)
    parts = [one.part for one in reader._found]
    assert len(set(parts)) == len(parts)


@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["Date", "Retry-After"]), st.text(max_size=40)),
    st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()),
)
@settings(max_examples=150)
@example(429, {"Retry-After": "9" * 400}, b"")
@example(429, {"Date": "Wed, 01 Jan 9999 00:00:00 GMT"}, b'{"extendedPayload": {"limitReset": 1e308}}')
@example(200, {}, b"[" * 100_000)
def test_any_answer_is_an_object_or_an_error(status: int, headers: Mapping[str, str], body: bytes) -> None:
    for read in (parsed, token_answer):
        said: dict[str, Any] | Exception
        try:
            said = read(status, headers, body, NOON)
        except (Expired, Revoked, OhmsteadError) as error:
            said = error
        assert isinstance(said, dict | Expired | Revoked) or str(said)
        assert not isinstance(said, RetryLater) or 0 < said.after < math.inf


@given(st.text(max_size=200))
def test_any_address_that_was_copied_is_taken_or_refused(address: str) -> None:
    with pytest.raises(SourceError):
        Flow("client", "http://localhost:4200/", "state", "verifier").code(address)

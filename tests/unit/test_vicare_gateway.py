"""A Viessmann account in a gateway: made as `ohmstead.yaml` says, seen where everything is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ohmstead.app import Gateway
from ohmstead.config import load
from ohmstead.observe.metrics import Metrics
from ohmstead.sim.vicare import CLIENT_ID, PASSWORD, USER, ViessmannCloud
from ohmstead.sources.polling import PolledSource
from tests.unit.homes import writer
from tests.unit.vicare_account import until


@pytest.fixture
def cloud() -> Iterator[ViessmannCloud]:
    one = ViessmannCloud().start()
    yield one
    one.stop()


@pytest.fixture
async def gateway(cloud: ViessmannCloud, tmp_path: Path) -> Gateway:
    account = f'source: vicare, client_id: {CLIENT_ID}, user: {USER}, password: {PASSWORD}, cloud: "{cloud.url}", requests: {{day: 500}}'
    wishes = (
        "points: {volumetric_flow: {name: Water, scale: 0.001, unit: m³/h}, dhw_temperature: {above: 40}, circuit_0_name: {shown: never}}"
    )
    text = f"mqtt: {{url: mqtt://127.0.0.1:1}}\ndevices:\n  heating: {{{account}, {wishes}}}\n"
    return Gateway(load(writer(tmp_path)(text)))


async def polled(gateway: Gateway) -> PolledSource:
    """After its first poll."""
    source = gateway.sources["heating"]
    assert isinstance(source, PolledSource)
    running = asyncio.create_task(source.run())
    await until(lambda: source.online is not None, "the first poll")
    running.cancel()
    await asyncio.wait([running])
    assert source.online, source.trouble
    return source


async def test_its_devices_are_in_the_roster_with_what_their_owner_wants(gateway: Gateway) -> None:
    await polled(gateway)
    names = {listed.device: (listed.title, listed.parent) for listed in gateway.roster}
    assert names["heating"] == ("Viessmann Vitocal 16", None)
    assert names["heating-account"] == ("Viessmann account", "heating")
    assert names["heating-7571381000000001-zigbee-00158d0001abcdef"] == ("Living room", "heating")
    points = gateway.roster["heating"].profile.points
    assert (points["volumetric_flow"].name, points["volumetric_flow"].unit) == ("Water", "m³/h")
    assert points["circuit_0_name"].shown == "never"
    assert gateway.latest.values("heating")["volumetric_flow"].value in (0, pytest.approx(1.015))


async def test_the_metrics_show_what_is_left_of_the_budget(gateway: Gateway) -> None:
    await polled(gateway)
    said = Metrics(gateway.overview).text().decode()
    assert 'ohmstead_source_requests{device="heating",window="day"} 4.0' in said
    assert 'ohmstead_source_requests_usable{device="heating",window="day"} 450.0' in said
    assert 'ohmstead_source_requests_usable{device="heating",window="ten minutes"} 108.0' in said


async def test_what_was_found_is_in_the_store_and_known_before_the_cloud_is_asked(gateway: Gateway, cloud: ViessmannCloud) -> None:
    await polled(gateway)
    source, asked = gateway.sources["heating"], len(cloud.asked)
    assert isinstance(source, PolledSource)
    before = gateway.roster["heating"].profile
    source.reader.start()  # type: ignore[attr-defined]  # as `run` does at its begin
    assert gateway.roster["heating"].profile == before
    assert len(cloud.asked) == asked

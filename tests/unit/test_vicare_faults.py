"""A Viessmann account while its cloud is unkind: typed errors, time-outs, budgets, and nothing of before said again."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from ohmstead.errors import NoAnswer, RateLimited, Refused, SourceError, Unauthorised, Unreachable, WrongAnswer
from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.vicare import Kindness
from ohmstead.sim.vicare_home import heat_pump, home
from ohmstead.sources.polling import Budgeted, PolledSource
from ohmstead.sources.vicare_answers import Expired, parsed
from ohmstead.sources.vicare_budget import Allowance
from tests.unit.vicare_account import HEATING, NOON, Made, by_device, homes, until


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    async with homes(tmp_path) as make:
        yield make


@pytest.mark.parametrize(
    ("kindness", "error"),
    [
        (Kindness.DOWN, Refused),
        (Kindness.HTML, Refused),
        (Kindness.PAGE, WrongAnswer),
        (Kindness.HALF, NoAnswer),
        (Kindness.GATEWAY_OFFLINE, NoAnswer),
        (Kindness.DEVICE_OFFLINE, NoAnswer),
        (Kindness.NOT_PAID, Unauthorised),
        (Kindness.NO_TOKEN, Unauthorised),
    ],
)
async def test_what_goes_wrong_has_its_type_and_nothing_of_before_is_said_again(made: Made, kindness: str, error: type[Exception]) -> None:
    house = made()
    before = await house.values()
    house.cloud.be(kindness)
    with pytest.raises(error) as caught:
        await house.values()
    assert "access-" not in str(caught.value)
    assert "refresh-" not in str(caught.value)
    house.cloud.be(Kindness.KIND)
    assert (await house.values())[HEATING].keys() == before[HEATING].keys()


async def test_a_cloud_that_is_not_there_is_unreachable(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.stop()
    with pytest.raises(Unreachable, match="127"):
        await house.values()


async def test_an_account_that_says_nothing_of_its_devices_has_no_readings(made: Made) -> None:
    house = made([home()[0]._replace(features=lambda _now: [])])
    with pytest.raises(NoAnswer, match="says nothing of any device"):
        await house.values()


async def test_silence_ends_by_a_time_out_and_holds_up_nobody(made: Made) -> None:
    house = made()
    await house.values()
    house.restart(timeout_s=0.4)
    house.cloud.be(Kindness.LATE)
    ticks = 0
    reading = asyncio.create_task(house.reader.read())
    while not reading.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 2
    with pytest.raises(NoAnswer, match="no answer in time"):
        reading.result()
    house.cloud.be(Kindness.KIND)
    await until(lambda: not any("vicare-house" in thread.name for thread in threading.enumerate()), "the end of the thread")
    house.restart()
    assert HEATING in await house.values()


async def test_an_answer_an_octet_at_a_time_ends_as_well(made: Made) -> None:
    house = made()
    await house.values()
    house.restart(timeout_s=0.5)
    house.cloud.be(Kindness.DRIP)
    with pytest.raises(NoAnswer, match=r"still answering|no answer in time"):
        await house.values()
    house.cloud.be(Kindness.KIND)
    house.restart()
    assert HEATING in await house.values()


@pytest.mark.parametrize("cut", [0, 1, 100, 20_000])
async def test_an_answer_that_breaks_off_is_none(made: Made, cut: int) -> None:
    house = made()
    await house.values()
    house.cloud.cut = cut
    house.cloud.be(Kindness.HALF)
    with pytest.raises(NoAnswer, match="broke off"):
        await house.values()


async def test_a_poll_that_is_given_up_asks_for_nothing_more(made: Made) -> None:
    gateways = [one._replace(gateway=f"75713810000000{number:02}") for number in range(1, 4) for one in home()[:1]]
    house = made(gateways)
    await house.values()
    house.cloud.be(Kindness.LATE)
    asked = len(house.cloud.asked)
    reading = asyncio.create_task(house.reader.read())
    await until(lambda: len(house.cloud.asked) > asked, "a request")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(NoAnswer, match="has not ended yet"):
        await house.reader.read()
    house.cloud.be(Kindness.KIND)
    await until(lambda: not any("vicare-house" in thread.name for thread in threading.enumerate()), "the end of the thread")
    assert len(house.cloud.asked) == asked + 1
    assert HEATING in await house.values()


async def test_a_gateway_that_is_offline_does_not_take_the_others_with_it(made: Made) -> None:
    other = home()[0]._replace(gateway="7571381000000002", installation=77)
    house = made([*home(), other])
    assert {HEATING, "house-7571381000000002-0"} <= (await house.values()).keys()
    house.cloud.only = "7571381000000002"
    house.cloud.be(Kindness.GATEWAY_OFFLINE)
    snapshots = await house.reader.read()
    values = by_device(snapshots)
    assert HEATING in values
    assert "house-7571381000000002-0" not in values
    assert values["house-account"]["failed"] == 1
    assert [snapshot.quality for snapshot in snapshots if snapshot.device == "house-account"] == [Quality.PARTIAL]


async def test_our_own_budget_ends_before_that_of_the_cloud(made: Made) -> None:
    house = made(allowance=Allowance(day=40, ten_minutes=20), day_limit=40, short_limit=20)
    for _ in range(15):  # 18 requests in ten minutes, three of them for the login and the list
        await house.values()
    with pytest.raises(RateLimited) as caught:
        await house.values()
    assert 0 < caught.value.after <= 660
    asked = len(house.cloud.asked)
    with pytest.raises(RateLimited):
        await house.values()
    assert len(house.cloud.asked) == asked
    house.clock.now += caught.value.after
    assert HEATING in await house.values()


async def test_the_budget_is_there_to_be_seen(made: Made) -> None:
    house = made()
    assert house.reader.spent() == [("day", 0, 1305), ("ten minutes", 0, 108)]
    await house.values()
    house.clock.now += 1200
    assert isinstance(house.reader, Budgeted)
    assert house.reader.spent() == [("day", 4, 1305), ("ten minutes", 0, 108)]


async def test_a_refusal_for_too_many_requests_is_heeded_over_a_restart(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.limit_s = 5000.0
    house.cloud.be(Kindness.LIMIT)
    with pytest.raises(RateLimited) as caught:
        await house.values()
    assert caught.value.after == pytest.approx(5000, abs=2)
    house.restart()
    house.cloud.be(Kindness.KIND)
    asked = len(house.cloud.asked)
    with pytest.raises(RateLimited):
        await house.values()
    assert len(house.cloud.asked) == asked
    house.clock.now += 5001
    assert HEATING in await house.values()


@pytest.mark.parametrize("skew", [0.0, 7200.0, -7200.0])
async def test_the_end_of_a_refusal_is_told_by_the_clouds_clock(made: Made, skew: float) -> None:
    house = made()
    await house.values()
    house.cloud.skew = skew
    for kindness in (Kindness.LIMIT, Kindness.HTML_LIMIT):
        house.cloud.be(kindness)
        with pytest.raises(RateLimited) as caught:
            await house.values()
        assert caught.value.after == pytest.approx(600, abs=2)
        house.clock.now += 700


async def test_a_source_of_it_is_away_and_comes_back(made: Made) -> None:
    house = made()
    emitted: list[Snapshot] = []
    source = PolledSource("house", house.reader, emitted.append, period_s=0.5, timeout_s=60.0)
    running = asyncio.create_task(source.run())
    await until(lambda: source.online, "the first poll")
    house.cloud.be(Kindness.DOWN)
    await until(lambda: source.online is False, "being away")
    assert "HTTP 500" in source.trouble
    seen = len(emitted)
    house.cloud.be(Kindness.KIND)
    await until(lambda: source.online, "its return")
    assert len(emitted) > seen
    running.cancel()
    await asyncio.wait([running])


def test_an_answer_that_is_cut_off_anywhere_is_none() -> None:
    body = json.dumps({"data": heat_pump(NOON)[:3]}).encode()
    for length in range(len(body)):
        with pytest.raises(WrongAnswer):
            parsed(200, {}, body[:length], NOON)
    assert parsed(200, {}, body, NOON)["data"]


def test_recorded_errors_have_their_types(goldens: Path) -> None:
    def error(name: str, status: int) -> BaseException:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
            parsed(status, {}, (goldens / "vicare/errors" / f"{name}.json").read_bytes(), 1_584_460_000.0)
        return caught.value

    limited = error("rate_limit", 429)
    assert isinstance(limited, RateLimited)
    assert limited.after == pytest.approx(2010.106)
    assert isinstance(error("rate_limit", 200), RateLimited)  # the body says it
    assert isinstance(error("expired_token", 401), Expired)
    assert isinstance(error("device_offline", 400), NoAnswer)
    assert isinstance(error("gateway_offline", 404), NoAnswer)
    for name, status in (("error_500", 500), ("error_502", 502)):
        refused = error(name, status)
        assert isinstance(refused, Refused)
        assert refused.status == status


@pytest.mark.parametrize("reset", [1e300, 10**400, 9e15])
def test_a_refusal_holds_a_day_at_most(reset: float) -> None:
    body = json.dumps({"statusCode": 429, "errorType": "RATE_LIMIT_EXCEEDED", "extendedPayload": {"limitReset": reset}}).encode()
    with pytest.raises(RateLimited) as caught:
        parsed(429, {}, body, NOON)
    assert caught.value.after == 86_400.0
    for after in ("999999999", "Wed, 21 Oct 2099 07:28:00 GMT"):
        with pytest.raises(RateLimited) as caught:
            parsed(429, {"Retry-After": after}, b"", NOON)
        assert caught.value.after == 86_400.0


async def test_a_store_that_is_full_costs_no_reading_and_is_told_once(made: Made) -> None:
    house = made()
    house.kept.full = True
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert HEATING in await house.values()
            house.clock.now += 1800
        house.kept.full = False
        await house.values()
    assert sum("is not kept" in line["event"] for line in logs) == 1
    assert house.line.budget.used()[0] == len(house.cloud.asked)


async def test_a_store_that_cannot_be_read_asks_the_cloud_for_nothing(made: Made) -> None:
    house = made()
    house.kept.broken = True
    house.reader.start()
    with pytest.raises(SourceError, match="cannot be read: disk I/O error"):
        await house.values()
    assert house.cloud.asked == []
    assert list(house.reader.spent()) == []
    house.kept.broken = False
    assert HEATING in await house.values()


async def test_a_list_of_devices_that_is_none_does_not_take_the_known_ones_away(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    house = made()
    await house.values()
    get = house.line.get
    monkeypatch.setattr(house.line, "get", lambda url: {"data": [{"id": 1}]} if "equipment" in url else get(url))
    for _ in range(2):
        house.clock.now += 86_400
        assert HEATING in await house.values()

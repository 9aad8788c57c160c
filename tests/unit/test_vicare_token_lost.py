"""The token of a Viessmann account, when it does not reach the disk: it is full, spoiled, or the gateway ends in that moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ohmstead.errors import NoAnswer, Unauthorised
from ohmstead.sim.vicare import Kindness
from ohmstead.sources import vicare_cloud
from ohmstead.sources.vicare_login import Endpoints
from ohmstead.sources.vicare_token import Token, granted
from tests.unit.vicare_account import HEATING, Home, Made, homes, let_in_by_browser, log_in, log_in_by_hand, tokens_asked, until


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    async with homes(tmp_path) as make:
        yield make


async def test_a_token_that_could_not_be_written_is_renewed_and_written_later(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    house = await let_in_by_browser(made)
    write = house.tokens.write

    def full(_token: Token) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.tokens, "write", full)
    for _ in range(3):  # each renewal voids the refresh token before it; the one in the file is void as well
        house.clock.now += 3600
        assert HEATING in await house.values()
    monkeypatch.setattr(house.tokens, "write", write)
    await house.values()
    house.restart()
    house.clock.now += 3600
    assert HEATING in await house.values()


async def test_a_new_token_in_the_file_outweighs_one_that_could_not_be_written(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    house = await let_in_by_browser(made)
    write = house.tokens.write

    def full(_token: Token) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.tokens, "write", full)
    house.clock.now += 3600
    await house.values()
    asked = tokens_asked(house)
    other = granted(log_in_by_hand(Endpoints.of(house.cloud.url)), house.clock.now)
    write(other)
    await house.values()
    assert tokens_asked(house) == asked + 1
    monkeypatch.setattr(house.tokens, "write", write)
    await house.values()
    by_hand = house.tokens.read()
    assert by_hand is not None
    assert by_hand.access == other.access


async def test_a_file_that_was_spoiled_meanwhile_is_written_anew(made: Made) -> None:
    house = await let_in_by_browser(made)
    house.tokens.path.write_text("{")
    house.clock.now += 3600
    assert HEATING in await house.values()
    assert house.tokens.read() is not None


async def ended_in_a_renewal(house: Home) -> int:
    """Reads, and gives that up while a new token is on its way. How often one had been asked for before."""
    house.clock.now += 3600
    asked = tokens_asked(house)
    house.cloud.be(Kindness.LATE)
    reading = asyncio.create_task(house.reader.read())
    await until(lambda: tokens_asked(house) > asked, "the renewal")
    reading.cancel()
    return asked


async def test_a_token_that_is_on_its_way_at_the_end_is_waited_for(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vicare_cloud, "_LAST_S", 30.0)
    house = await let_in_by_browser(made)
    asked = await ended_in_a_renewal(house)
    closing = asyncio.create_task(house.reader.close())
    await asyncio.wait({closing}, timeout=0.1)
    assert not closing.done(), "the token before is void by then"
    house.cloud.be(Kindness.KIND)
    await closing
    house.restart()
    assert HEATING in await house.values()
    assert tokens_asked(house) == asked + 1


async def test_the_end_does_not_wait_for_a_token_for_ever(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vicare_cloud, "_LAST_S", 0.01)
    house = await let_in_by_browser(made)
    await ended_in_a_renewal(house)
    with capture_logs() as logs:
        await house.reader.close()
    assert any("somebody has to log in" in line["event"] for line in logs)
    house.cloud.be(Kindness.KIND)


async def test_who_lost_a_token_by_being_killed_is_told_what_to_do(made: Made) -> None:
    house = await let_in_by_browser(made)
    before = house.tokens.path.read_bytes()
    house.clock.now += 3600
    await house.values()
    house.tokens.path.write_bytes(before)  # as if the next one had never come to the disk
    house.restart()
    with pytest.raises(Unauthorised, match=r"no longer taken \(.*\), because .* killed .*; run `ohmstead vicare login`"):
        await house.values()
    log_in(house)
    assert HEATING in await house.values()


async def test_a_new_token_that_was_lost_on_its_way_costs_one_login(made: Made) -> None:
    """Its predecessor is void by then."""
    house = made()
    await house.values()
    house.clock.now += 3600
    house.cloud.be(Kindness.HALF)
    with pytest.raises(NoAnswer):
        await house.values()
    house.cloud.be(Kindness.KIND)
    assert HEATING in await house.values()
    assert house.cloud.logins == 2

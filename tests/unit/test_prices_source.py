"""Prices from services that are not always kind: asked again with growing pauses, never guessed, and nothing wrong is taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from ohmstead.prices import DayPrices, ExchangeRate, PriceError, WrongPrices, midnight, quarters
from ohmstead.sim import prices as sim
from ohmstead.sources.prices import PAUSES_S, PriceSource
from ohmstead.sources.prices_http import Http, Question
from ohmstead.sources.prices_rate import ExchangeRates, cnb_rate
from ohmstead.sources.prices_services import Awattar, EnergyCharts, EntsoE, Ote, PriceFile, Service, Web
from tests.unit.price_days import CLOCKS_BACK, CLOCKS_FORWARD, DAY, PRAGUE

TOMORROW = DAY + timedelta(days=1)
HTTP = Http(timeout_s=20)


@pytest.fixture
def services() -> Iterator[sim.PriceServices]:
    running = sim.PriceServices(PRAGUE).start()
    yield running
    running.stop()


class Home:
    """A source with a clock of its own that only moves when told."""

    def __init__(self, service: Service, clock: str, rates: ExchangeRates | None = None, known: tuple[DayPrices, ...] = ()) -> None:
        self.now = datetime.fromisoformat(clock).replace(tzinfo=PRAGUE).timestamp()
        self.new: list[date] = []
        self.source = PriceSource(service, PRAGUE, rates, wall=lambda: self.now, known=known, changed=self._changed, chance=lambda: 0.0)

    async def _changed(self, day: DayPrices) -> None:
        self.new.append(day.day)

    async def passes(self) -> float:
        """The time until the source wants to be woken passes, and it is; how long that was, in seconds."""
        begun = self.now
        self.now = await self.source.attend()
        return self.now - begun

    def days(self) -> list[date]:
        return [day.day for day in self.source.days()]


def ote(services: sim.PriceServices) -> Ote:
    return Ote(Web(PRAGUE, HTTP, f"{services.url}/ote"))


# A day


async def test_today_at_once_tomorrow_from_one_oclock(services: sim.PriceServices) -> None:
    home = Home(ote(services), "2025-10-23T08:00")
    assert await home.passes() == 5 * 3600
    assert home.days() == [DAY]
    assert home.source.trouble == ""
    assert await home.passes() == 11 * 3600, "nothing to do until the next day"
    assert home.days() == [TOMORROW]
    assert home.new == [DAY, TOMORROW]
    assert home.source.asked == 2


async def test_tomorrow_that_is_late_is_asked_for_again_and_again(services: sim.PriceServices) -> None:
    services.published = DAY
    home = Home(ote(services), "2025-10-23T13:00")
    assert [await home.passes() for _ in range(6)] == [120.0, 300.0, 300.0, 600.0, 900.0, 900.0]
    assert home.source.trouble == "OTE: no prices of 2025-10-24 yet"
    assert home.days() == [DAY]
    services.published = TOMORROW
    await home.source.attend()
    assert home.days() == [DAY, TOMORROW]
    assert home.source.trouble == ""


async def test_at_midnight_tomorrow_becomes_today_and_yesterday_is_nobodys(services: sim.PriceServices) -> None:
    services.published = DAY
    home = Home(ote(services), "2025-10-23T14:00")
    await home.source.attend()
    services.kindness = sim.DOWN
    home.now = midnight(TOMORROW, PRAGUE)
    await home.source.attend()
    assert home.days() == []
    assert home.source.trouble == "OTE: refused (HTTP 503)"


async def test_pauses_grow_while_a_service_is_down_and_it_is_not_asked_within_them(services: sim.PriceServices) -> None:
    services.kindness = sim.DOWN
    home = Home(ote(services), "2025-10-23T08:00")
    assert [await home.passes() for _ in range(7)] == [*PAUSES_S, PAUSES_S[-1]]
    asked = home.source.asked
    await home.source.attend()
    home.now += 1
    await home.source.attend()
    assert home.source.asked == asked + 1, "the second time was within the pause"
    services.kindness = ""
    home.now += PAUSES_S[-1]
    await home.passes()
    assert home.days() == [DAY]


async def test_a_clock_that_is_set_back_does_not_silence_the_source(services: sim.PriceServices) -> None:
    services.kindness = sim.DOWN
    home = Home(ote(services), "2025-10-23T08:00")
    await home.passes()
    home.now -= 7200
    services.kindness = ""
    await home.source.attend()
    assert home.days() == [DAY]


async def test_what_the_store_has_is_not_asked_for_unless_it_is_no_day_of_this_zone(services: sim.PriceServices) -> None:
    kept = await ote(services).prices(DAY, None)
    home = Home(ote(services), "2025-10-23T08:00", known=(kept,))
    await home.passes()
    assert (home.days(), home.source.asked) == ([DAY], 0)
    home = Home(ote(services), "2025-10-23T08:00", known=(kept._replace(start=kept.start + 3600),))
    await home.passes()
    assert (home.days(), home.source.asked) == ([DAY], 1)


# Every service, every day, every unkindness


def every_service(services: sim.PriceServices) -> dict[str, Service]:
    return {
        "ote": ote(services),
        "energy-charts": EnergyCharts(Web(PRAGUE, HTTP, f"{services.url}/energy-charts", "CZ")),
        "awattar": Awattar(Web(PRAGUE, HTTP, f"{services.url}/awattar", "at")),
        "entso-e": EntsoE(Web(PRAGUE, HTTP, f"{services.url}/entso-e", "10YCZ-CEPS-----N", "secret")),
    }


@pytest.mark.parametrize("name", ["ote", "energy-charts", "awattar", "entso-e"])
@pytest.mark.parametrize("day", [DAY, CLOCKS_FORWARD, CLOCKS_BACK])
async def test_each_service_has_all_periods_of_each_day(services: sim.PriceServices, name: str, day: date) -> None:
    prices = await every_service(services)[name].prices(day, None)
    count = quarters(day, PRAGUE)
    told = [sim.price_of(day, number, count) for number in range(1, count + 1)]
    assert list(prices.eur_mwh) == (told if name != "awattar" else [told[at // 4 * 4] for at in range(count)])
    assert prices.seconds == (3600 if name == "awattar" else 900)


UNKIND = [
    (name, kind)
    for name in ("ote", "energy-charts", "awattar", "entso-e")
    for kind in sim.UNKIND
    if kind not in (sim.LATE, sim.FAULT) and (name, kind) != ("entso-e", sim.GAP)  # a position that is left out has a meaning there
]


@pytest.mark.parametrize(("name", "unkind"), UNKIND)
async def test_an_unkind_service_gives_a_reason_and_no_prices(services: sim.PriceServices, name: str, unkind: str) -> None:
    services.kindness = unkind
    home = Home(every_service(services)[name], "2025-10-23T08:00")
    await home.passes()
    assert home.days() == []
    assert home.source.trouble
    assert services.url not in home.source.trouble
    assert "secret" not in home.source.trouble
    services.kindness = ""
    await home.passes()
    assert home.days() == [DAY]


async def test_an_answer_that_breaks_off_is_said_to_break_off(services: sim.PriceServices) -> None:
    services.kindness = sim.HALF
    with pytest.raises(PriceError, match="OTE: broke off in the middle of its answer"):
        await ote(services).prices(DAY, None)


async def test_a_soap_fault_is_told_in_its_own_words(services: sim.PriceServices) -> None:
    services.kindness = sim.FAULT
    with pytest.raises(WrongPrices, match="OTE: refuses the question: Internal error"):
        await ote(services).prices(DAY, None)


async def test_who_does_not_answer_in_time_is_given_up(services: sim.PriceServices) -> None:
    services.kindness = sim.LATE
    service = Ote(Web(PRAGUE, Http(timeout_s=0.2), f"{services.url}/ote"))
    with pytest.raises(PriceError, match=r"OTE: (cannot be reached: )?no answer in time"):
        await service.prices(DAY, None)


async def test_an_address_where_nobody_listens(services: sim.PriceServices) -> None:
    url = f"{services.url}/ote"
    services.stop()
    with pytest.raises(PriceError, match="OTE: cannot be reached: connection refused"):
        await Ote(Web(PRAGUE, HTTP, url)).prices(DAY, None)


async def test_only_http_is_asked() -> None:
    with pytest.raises(PriceError, match="must begin with https"):
        await HTTP(Question("x", "file:///etc/hostname"))


async def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    home = Home(PriceFile(path, PRAGUE), "2025-10-23T08:00")
    await home.passes()
    assert home.source.trouble == "the price file: cannot be read: no such file or directory"
    start = midnight(DAY, PRAGUE)
    lines = [f"{datetime.fromtimestamp(start + hour * 3600, PRAGUE).isoformat()},{50 + hour}" for hour in range(24)]
    path.write_text("start,EUR/MWh\n" + "\n".join(lines) + "\n")
    await home.passes()
    assert home.days() == [DAY]


# One exchange rate


async def test_the_rate_of_a_weekend_is_that_of_friday(services: sim.PriceServices) -> None:
    saturday = date(2025, 10, 25)
    rate = await cnb_rate(HTTP, saturday + timedelta(days=1), f"{services.url}/cnb")
    assert (rate.czk_eur, rate.day) == (sim.CZK_EUR, saturday - timedelta(days=1))
    assert len(services.asked) == 3


async def test_a_week_without_a_rate_is_no_rate(services: sim.PriceServices) -> None:
    services.kindness = sim.EMPTY
    with pytest.raises(PriceError, match="no rate from 2025-10-16 to 2025-10-23"):
        await cnb_rate(HTTP, DAY, f"{services.url}/cnb")


async def test_the_rate_is_asked_for_once_a_day_and_the_last_one_stays_while_the_bank_is_away(services: sim.PriceServices) -> None:
    told: list[ExchangeRate] = []

    async def changed(rate: ExchangeRate) -> None:
        told.append(rate)

    rates = ExchangeRates(HTTP, url=f"{services.url}/cnb", changed=changed)
    home = Home(ote(services), "2025-10-23T08:00", rates)
    assert home.source.rate() is None
    await home.passes()
    rate = home.source.rate()
    assert rate is not None
    assert (rate.czk_eur, rate.day) == (sim.CZK_EUR, DAY - timedelta(days=1)), "that of today is set in the afternoon"
    home.now = datetime(2025, 10, 23, 14, 45, tzinfo=PRAGUE).timestamp()
    services.kindness = sim.DOWN
    await home.source.attend()
    assert home.source.rate() == rate
    assert rates.trouble == "the Czech National Bank: refused (HTTP 503)"
    services.kindness = ""
    home.now += 60
    await home.source.attend()
    assert [one.day for one in told] == [DAY - timedelta(days=1), DAY]
    assert rates.trouble == ""
    assert rates.current(home.now + 20 * 86_400) is None, "too old to be believed"


async def test_an_owners_own_rate_is_never_asked_for(services: sim.PriceServices) -> None:
    rates = ExchangeRates(HTTP, url=f"{services.url}/cnb", fixed=25.0)
    home = Home(ote(services), "2025-10-23T08:00", rates)
    await home.passes()
    assert home.source.rate() == ExchangeRate(25.0, DAY, "the configuration")
    assert not any("cnb" in path for path in services.asked)

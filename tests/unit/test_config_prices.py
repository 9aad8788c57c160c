"""The sections `prices` and `plan` of ohmstead.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.config.prices import money
from tests.unit.homes import Write, mistakes, writer
from tests.unit.test_config_schema import schema_complaints

GROWATT = "devices: {growatt: {profile: growatt-sph, via: tcp://192.0.2.10, rated: 5 kW}}\n"
BATTERY = "battery: {capacity: 10 kWh, power: 5 kW}"
WHOLE = (
    GROWATT
    + """\
prices:
  source: ote
  currency: CZK
  buy: {add: 2.1 CZK/kWh, vat: 21 %}
  sell: {share: 90 %, add: -0.4 CZK/kWh}
plan:
  battery: {capacity: 10 kWh, power: 5 kW, soc: 15..95 %, efficiency: 88 %}
  charge: {cheapest_hours: 6, by: quarters, cheapest_quarter: true, cheapest_window: 3 h, power: 3 kW, fill_to: 90 %, before_sunrise: true}
  export: {above: 0}
  sell: {above: 6 CZK/kWh, floor: 40 %, power: 4 kW}
  pause_above: 8 kW
  place: {latitude: 50.08, longitude: 14.43}
"""
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_without_the_sections_nothing_is_asked_and_nothing_planned(write: Write) -> None:
    config = load(write(GROWATT))
    assert config.prices is None
    assert config.plan is None


def test_a_whole_plan_is_read_as_it_is_written(write: Write) -> None:
    config = load(write(WHOLE))
    assert config.prices is not None
    assert config.plan is not None
    assert config.plan.battery is not None
    assert config.plan.sell is not None
    assert config.plan.export is not None
    assert (config.prices.money, config.prices.buy.add.per_kwh, config.prices.buy.vat) == ("CZK", 2.1, 21.0)
    assert (config.prices.sell.share, config.prices.sell.add.per_kwh) == (90.0, -0.4)
    battery = config.plan.battery
    assert (battery.capacity, battery.power, battery.soc, battery.efficiency) == (10.0, 5000.0, (15.0, 95.0), 0.88)
    charge = config.plan.charge
    assert (charge.cheapest_hours, charge.by, charge.cheapest_quarter, charge.cheapest_window) == (6, "quarters", True, 10_800.0)
    assert (charge.power, charge.fill_to, charge.before_sunrise, charge.without_forecast) == (3000.0, 90.0, True, False)
    assert config.plan.export.above.per_kwh == 0.0
    assert (config.plan.sell.above.per_kwh, config.plan.sell.floor, config.plan.sell.power) == (6.0, 40.0, 4000.0)
    assert (config.plan.pause_above, config.plan.place.latitude if config.plan.place else None) == (8000.0, 50.08)
    assert schema_complaints(WHOLE) == []


def test_a_plan_without_rules_is_plain_self_use(write: Write) -> None:
    plan = load(write(GROWATT + "prices: {source: ote}\nplan: {}\n")).plan
    assert plan is not None
    assert not plan.charges
    assert plan.sell is None
    assert plan.export is None


def test_the_currency_is_that_of_the_market_unless_told(write: Write) -> None:
    for written, currency in (("source: ote", "CZK"), ("source: awattar", "EUR"), ("source: energy-charts, currency: CZK", "CZK")):
        prices = load(write(f"prices: {{{written}}}\n")).prices
        assert prices is not None
        assert prices.money == currency


def test_money_may_be_for_a_mwh() -> None:
    assert money("40 EUR/MWh") == (0.04, "EUR")
    assert money("-1.5 CZK/kWh") == (-1.5, "CZK")
    assert money("0") == (0.0, "")


def test_a_token_may_stand_in_a_file_and_is_never_shown(write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("very-secret\n")
    prices = load(write("prices: {source: entso-e, token_file: token}\n")).prices
    assert prices is not None
    assert prices.token == "very-secret"
    assert "very-secret" not in repr(prices)


def test_a_price_file_is_beside_the_configuration(write: Write, tmp_path: Path) -> None:
    prices = load(write("prices: {source: file, path: prices.csv}\n")).prices
    assert prices is not None
    assert prices.path == tmp_path / "prices.csv"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plan: {}\n", "2: plan — needs `prices`, e.g. prices: {source: ote}"),
        ("prices: {source: nordpool}\n", "2: prices.source: nordpool"),
        ("prices: {sorce: ote}\n", "2: prices.sorce — unknown; did you mean `source`?"),
        ("prices: {source: entso-e}\n", "2: prices.token — is missing: ENTSO-E answers only who has one"),
        ("prices: {source: file}\n", "2: prices.path — is missing: which file?"),
        ("prices: {url: ote.cz}\n", "2: prices.url: ote.cz — begins with https:// or http://"),
        ("prices: {rate: 2.4 CZK/EUR}\n", "2: prices.rate: 2.4 CZK/EUR — from 15 to 40 CZK/EUR"),
        ("prices: {buy: {add: 2.1}}\n", "2: prices.buy.add: 2.1 — say for how much energy and in which money, e.g. 1.0 CZK/kWh"),
        ("prices: {buy: {add: 0.1 EUR/kWh}}\n", "2: prices.buy.add: 0.1 EUR/kWh — the money of this home is CZK"),
        ("prices: {}\nplan: {export: {above: 0.04 EUR/kWh}}\n", "3: plan.export.above: 0.04 EUR/kWh — the money of this home is CZK"),
        ("prices: {}\nplan: {charge: {cheapest_hours: 6}}\n", "3: plan.battery — is missing: a rule that moves energy needs to know it"),
        ("prices: {}\nplan: {charge: {cheapest_hours: 25}}\n", "3: plan.charge.cheapest_hours: 25"),
        (f"prices: {{}}\nplan: {{{BATTERY}, charge: {{season_below: 8 °C}}}}\n", "plan.charge.season_below — needs `outside`"),
        (f"prices: {{}}\nplan: {{{BATTERY}, charge: {{before_sunrise: true}}}}\n", "plan.charge.before_sunrise — needs `place"),
        ("prices: {}\nplan: {outside: growatt.weather}\n", "3: plan.outside: growatt.weather — there is no such device and point"),
        ("prices: {}\nplan: {outside: growatt}\n", "a device and one of its points"),
        ("prices: {}\nplan: {device: grwatt}\n", "3: plan.device: grwatt — there is no such device; there are growatt"),
        (
            "prices: {}\nplan: {battery: {capacity: 10 kW, power: 5 kW}}\n",
            "3: plan.battery.capacity: 10 kW — the unit must be Wh or kWh or MWh",
        ),
        ("prices: {}\nplan: {battery: {capacity: 10 kWh}}\n", "3: plan.battery.power — is missing"),
        ("prices: {}\nplan: {battery: {capacity: 10 kWh, power: 5 kW, soc: 15..195 %}}\n", "within 0..100 %"),
        ("prices: {}\nplan: {sell: {above: 6 CZK}}\n", "3: plan.sell.above: 6 CZK — say for how much energy"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_to_do(write: Write, text: str, told: str) -> None:
    assert told in "\n".join(mistakes(write(GROWATT + text)))


def test_with_two_batteries_the_device_must_be_named(write: Write) -> None:
    two = "devices: {a: {profile: growatt-sph, via: tcp://192.0.2.1}, b: {profile: growatt-sph, via: tcp://192.0.2.2}}\nprices: {}\n"
    rule = f"{BATTERY}, charge: {{cheapest_hours: 6}}"
    assert "3: plan.device — whose battery?" in "\n".join(mistakes(write(f"{two}plan: {{{rule}}}\n")))
    assert load(write(f"{two}plan: {{device: b, {rule}}}\n")).plan

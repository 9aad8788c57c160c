"""What rules make of a day, and what keeps them from it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ohmstead.control.plan.author import RuleAuthor
from ohmstead.control.plan.model import CHARGE, DISCHARGE, EXPORT_LIMIT, Action, Battery, Plan, PlanAuthor
from ohmstead.control.plan.rules import cheapest_hours, cheapest_quarter_of_range
from ohmstead.control.plan.settings import ChargeRules, Place, Settings
from ohmstead.prices import QUARTER_S, Tariff
from tests.unit.price_days import CLOCKS_BACK, CLOCKS_FORWARD, at, made, situation, spread

BATTERY = Battery(capacity_kwh=10, power_w=4000, floor=10, ceiling=100, efficiency=1.0)
CHEAP_NIGHT = [50.0] * 16 + [100.0] * 40 + [150.0] * 40
"""The first four hours are cheap (the first two also the cheapest two hours), the evening is dear. Not all the same."""
TWO_HOURS = Settings("growatt", BATTERY, ChargeRules(cheapest_hours=2))


def planned(wanted: Settings, **known: object) -> Plan:
    day = made(CHEAP_NIGHT)
    return RuleAuthor(wanted).plan(situation(day, **{"soc": 10.0, **known}))  # type: ignore[arg-type] - any of its keywords


def controls(plan: Plan) -> set[str]:
    return {step.control for step in plan.steps}


# Plain self-use is the default


def test_without_a_rule_nothing_is_wanted() -> None:
    plan = planned(Settings("growatt", BATTERY))
    assert plan.steps == ()
    assert plan.notes == ("No rule is switched on: plain self-use.",)
    assert plan.saved == 0
    assert {quarter.action for quarter in plan.quarters} == {Action.SELF_USE}


def test_without_a_price_nothing_is_forced_and_the_plan_says_so() -> None:
    for told in (situation(trouble="OTE: refused (HTTP 503)"), situation(made(), now=made().end + 1, trouble="OTE: refused (HTTP 503)")):
        plan = RuleAuthor(TWO_HOURS).plan(told)
        assert plan.steps == ()
        assert plan.wishes(plan.made) == []
        assert plan.notes == (
            "No price: OTE: refused (HTTP 503); plain self-use: nothing is charged from the grid, nothing is forced out.",
        )  # fmt: skip


def test_prices_of_tomorrow_that_are_missing_are_said_with_todays_plan() -> None:
    plan = planned(TWO_HOURS, trouble="OTE: no prices of 2025-10-24 yet")
    assert plan.steps
    assert plan.notes == ("Prices are missing: OTE: no prices of 2025-10-24 yet.",)


def test_without_an_exchange_rate_there_is_no_price_either() -> None:
    plan = RuleAuthor(TWO_HOURS).plan(situation(made(), tariff=None))
    assert plan.steps == ()
    assert "no exchange rate" in plan.notes[0]


def test_an_unknown_state_of_charge_is_not_taken_for_any_number() -> None:
    plan = planned(replace(TWO_HOURS, sell_above=0.1), soc=None)
    assert plan.steps == ()
    assert plan.saved is None
    assert "state of charge is unknown" in plan.notes[0]


def test_an_unknown_sun_may_need_all_the_room() -> None:
    plan = planned(TWO_HOURS, forecast=False)
    assert plan.steps == ()
    assert "no forecast says how much room the sun will need" in plan.notes[0]
    assert plan.saved is None, "unknown is no zero"
    assert plan.savings[0].money is None


def test_an_owner_may_charge_without_a_forecast_and_the_battery_bounds_it() -> None:
    wanted = replace(TWO_HOURS, charge=replace(TWO_HOURS.charge, without_forecast=True, fill_to=50))
    plan = planned(wanted, forecast=False)
    (step,) = plan.steps
    assert (step.end - step.start) == 4 * QUARTER_S, "4 kWh to 50 %, 1 kWh in a quarter hour"
    assert plan.saved is None


# Conditions


def test_in_the_warm_season_nothing_is_charged_from_the_grid() -> None:
    wanted = replace(TWO_HOURS, charge=replace(TWO_HOURS.charge, season_below=8.0))
    assert controls(planned(wanted, outside=3.0)) == {CHARGE}
    warm = planned(wanted, outside=8.0)
    assert warm.steps == ()
    assert warm.notes[0] == "Nothing is charged from the grid: 8.0 °C outside over three days is not below 8 °C."
    unknown = planned(wanted, outside=None)
    assert unknown.steps == ()
    assert "is not known" in unknown.notes[0]


def test_between_sunrise_and_sunset_nothing_is_charged_from_the_grid() -> None:
    noon = [100.0] * 44 + [20.0] * 8 + [110.0] * 44
    wanted = Settings("growatt", BATTERY, ChargeRules(cheapest_hours=2), place=Place(50.08, 14.43))
    day = made(noon)
    assert controls(RuleAuthor(wanted).plan(situation(day))) == {CHARGE}
    dark = replace(wanted, charge=replace(wanted.charge, before_sunrise=True))
    assert RuleAuthor(dark).plan(situation(day)).steps == ()
    early = made([20.0] * 8 + [100.0] * 44 + [110.0] * 44)
    assert controls(RuleAuthor(dark).plan(situation(early))) == {CHARGE}


def test_a_house_that_draws_much_pauses_the_plan_as_foreseen_and_as_it_happens() -> None:
    wanted = replace(TWO_HOURS, pause_above_w=3000.0, export_above=0.1)
    house = spread(96, h0_1=5.0)
    plan = planned(wanted, house=house)
    charging = [step for step in plan.steps if step.control == CHARGE]
    day = made(CHEAP_NIGHT)
    assert min(step.start for step in charging) == at(day, "01:00"), "the first hour is expected to draw 5 kW"
    now = charging[0].start
    assert [wish.control for wish in plan.wishes(now)] == [CHARGE]
    assert [wish.control for wish in plan.wishes(now, house_w=2900.0)] == [CHARGE]
    assert plan.wishes(now, house_w=3100.0) == []


def test_selling_pauses_at_a_high_load_and_a_limit_of_the_export_does_not() -> None:
    day = made([-20.0] * 48 + [200.0] * 48)
    wanted = Settings("growatt", BATTERY, sell_above=4.0, sell_floor=20, export_above=0.0, pause_above_w=3000.0)
    plan = RuleAuthor(wanted).plan(situation(day, soc=90))
    assert [wish.control for wish in plan.wishes(at(day, "00:00"), house_w=9000.0)] == [EXPORT_LIMIT]
    assert [wish.control for wish in plan.wishes(at(day, "12:00"))] == [DISCHARGE]
    assert plan.wishes(at(day, "12:00"), house_w=9000.0) == []


# What is shown


def test_each_rule_is_shown_with_what_it_saves_alone_and_may_cost_more_than_self_use() -> None:
    """From 18 to 22 the house draws 4 kWh at 150 EUR/MWh; bought at 50 in the night they save 0.1 EUR/kWh. What is sold at 100 is bought
    back at 150, and with losses that costs."""
    day = made(CHEAP_NIGHT)
    lossy = BATTERY._replace(efficiency=0.81)
    wanted = Settings("growatt", lossy, ChargeRules(cheapest_hours=4, fill_to=50), sell_above=0.09, sell_floor=10)
    euros = Tariff("EUR")
    plan = RuleAuthor(wanted).plan(situation(day, soc=30, house=spread(96, h18_22=4.0), tariff=euros))
    by_rule = {saving.rule: saving for saving in plan.savings}
    assert by_rule["cheapest-hours"].money is not None
    assert by_rule["cheapest-hours"].money > 0
    assert by_rule["sell-above"].money is not None
    assert by_rule["sell-above"].money < 0, "an owner sees what a rule costs"
    assert by_rule["sell-above"].kwh > 0
    assert plan.currency == "EUR"


def test_rules_are_switched_on_one_by_one() -> None:
    every = ChargeRules(cheapest_hours=2, cheapest_quarter=True, window_s=3600)
    wanted = Settings("growatt", BATTERY, every, sell_above=100.0, export_above=0.0)
    assert RuleAuthor(wanted).rules == ["cheapest-hours", "cheapest-quarter", "cheapest-window", "sell-above", "export-above"]
    assert RuleAuthor(Settings("growatt", BATTERY)).rules == []
    assert RuleAuthor(TWO_HOURS).rules == ["cheapest-hours"]


def test_a_price_just_at_the_limit_is_in_the_lowest_quarter_of_the_range() -> None:
    """From 0 to 100 the limit is 25."""
    prices = [0.0, 25.0, 25.01, 100.0, *[60.0] * 92]
    assert cheapest_quarter_of_range(made(prices)) == {made().start, made().start + QUARTER_S}


def test_what_brings_just_the_threshold_may_flow_out_and_be_sold() -> None:
    day = made([0.0] * 4 + [-1.0] * 4 + [200.0] * 88)
    wanted = Settings("growatt", BATTERY, export_above=0.0, sell_above=Tariff("EUR").sell(200.0), sell_floor=20)
    plan = RuleAuthor(wanted).plan(situation(day, soc=90, tariff=Tariff("EUR")))
    (limit,) = [step for step in plan.steps if step.control == EXPORT_LIMIT]
    assert (limit.start, limit.end) == (at(day, "01:00"), at(day, "02:00"))
    assert DISCHARGE in controls(plan)


def test_charging_ends_where_the_owner_says() -> None:
    plan = planned(replace(TWO_HOURS, charge=replace(TWO_HOURS.charge, fill_to=45)))
    assert max(quarter.soc or 0.0 for quarter in plan.quarters) == pytest.approx(45.0)


def test_the_union_of_the_charging_rules_is_charged_cheapest_first() -> None:
    """Two cheapest hours: 02 and 05. The cheapest half hour: 10:00. Room for five quarter hours of 1 kWh."""
    prices = [100.0 + number / 100 for number in range(96)]
    prices[8:12] = prices[20:24] = [60.0] * 4
    prices[40:42] = [30.0] * 2
    wanted = Settings("growatt", BATTERY._replace(ceiling=60), ChargeRules(cheapest_hours=2, window_s=1800))
    day = made(prices)
    plan = RuleAuthor(wanted).plan(situation(day, soc=10))
    assert [(step.start, step.end, step.rule) for step in plan.steps] == [
        (at(day, "02:00"), at(day, "02:45"), "cheapest-hours"),
        (at(day, "10:00"), at(day, "10:30"), "cheapest-window"),
    ]


def test_a_plan_is_plain_json_with_columns_to_draw() -> None:
    plan = planned(replace(TWO_HOURS, export_above=0.1), house=spread(96, h18_22=4.0))
    said = json.loads(plan.as_json())
    assert {len(column) for column in said["series"].values()} == {96}
    assert said["series"]["market"][0] == pytest.approx(50 * 24.315 / 1000, abs=1e-4)
    assert said["series"]["soc"][-1] == pytest.approx(plan.quarters[-1].soc, abs=1e-3)
    assert said["steps"][0]["control"] == "charge"
    assert said["rules"][0]["rule"] == "cheapest-hours"
    assert said["saved"] == pytest.approx(plan.saved, abs=1e-3)
    unknown = json.loads(planned(TWO_HOURS, forecast=False).as_json())
    assert unknown["saved"] is None
    assert set(unknown["series"]["soc"]) == {None}


def test_a_reason_is_a_sentence_with_price_and_end() -> None:
    step = planned(TWO_HOURS).steps[0]
    assert step.why == "1.22 CZK/kWh is among the cheapest hours of the day, and the sun will not need the room until 02:00"


def test_what_is_sold_goes_where_it_brings_most() -> None:
    """3 kWh above the floor, 1 kWh in a quarter hour at 4 kW: the three dearest of the five above 4 CZK/kWh, not the first three."""
    prices = [100.0 + number / 100 for number in range(96)]
    prices[70:75] = [180.0, 170.0, 300.0, 190.0, 200.0]
    day = made(prices)
    for forecast in (True, False):
        plan = RuleAuthor(Settings("growatt", BATTERY, sell_above=4.0, sell_floor=50)).plan(situation(day, soc=80, forecast=forecast))
        (step,) = plan.steps
        assert (step.start, step.end) == (day.start + 72 * QUARTER_S, day.start + 75 * QUARTER_S)


# Wishes


def test_wishes_are_those_of_the_moment_and_end_with_their_step() -> None:
    plan = planned(TWO_HOURS)
    (step,) = plan.steps
    (wish,) = plan.wishes(step.start)
    assert (wish.author, wish.device, wish.control, wish.value, wish.unit) == ("plan", "growatt", "charge", 4000.0, "W")
    assert wish.until == step.end
    assert plan.wishes(step.end - 1) == [wish]
    assert plan.wishes(step.end) == []
    assert plan.wishes(step.start - 1) == []


def test_a_plan_made_later_wants_the_same_of_what_is_left() -> None:
    author, day = RuleAuthor(Settings("growatt", BATTERY, sell_above=3.0, sell_floor=20)), made(CHEAP_NIGHT)
    morning = author.plan(situation(day, soc=90))
    later = author.plan(situation(day, now=at(day, "09:07"), soc=90))
    assert later.start == at(day, "09:00")
    assert later.wants_the_same(morning, at(day, "09:07"))
    assert not author.plan(situation(day, now=at(day, "09:07"), soc=20)).wants_the_same(morning, at(day, "09:07"))
    assert not later.wants_the_same(None, 0)


def test_the_same_situation_gives_the_same_plan() -> None:
    assert planned(TWO_HOURS) == planned(TWO_HOURS)


def test_two_days_are_planned_together_and_a_missing_today_is_not_jumped_over() -> None:
    today, tomorrow = made(CHEAP_NIGHT), made(CHEAP_NIGHT, day=made().day.replace(day=24))
    author = RuleAuthor(TWO_HOURS)
    plan = author.plan(situation(today, tomorrow, soc=10))
    assert (plan.start, plan.end) == (today.start, tomorrow.end)
    alone = author.plan(situation(tomorrow, now=today.start, soc=10, trouble="today is missing"))
    assert alone.steps == ()
    assert "today is missing" in alone.notes[0]


@pytest.mark.parametrize(("date", "count"), [(CLOCKS_FORWARD, 92), (CLOCKS_BACK, 100)])
def test_a_day_of_a_clock_change_is_planned_whole(date: object, count: int) -> None:
    day = made([20.0 if number // 4 == 2 else 100.0 for number in range(count)], day=date)  # type: ignore[arg-type] - a date
    plan = RuleAuthor(replace(TWO_HOURS, charge=ChargeRules(cheapest_hours=1))).plan(situation(day, soc=10))
    assert len(plan.quarters) == count
    assert plan.steps[0].start == day.start + 8 * QUARTER_S
    assert plan.end == day.end


@given(
    prices=st.lists(st.floats(-500, 4000), min_size=96, max_size=96),
    sun=st.lists(st.floats(0, 2), min_size=96, max_size=96),
    house=st.lists(st.floats(0, 2), min_size=96, max_size=96),
    soc=st.one_of(st.none(), st.floats(0, 100)),
    hours=st.integers(0, 24),
    sell_above=st.one_of(st.none(), st.floats(0, 5)),
    export_above=st.one_of(st.none(), st.floats(-1, 3)),
    now=st.integers(0, 86_399),
    forecast=st.booleans(),
)
@examples(max_examples=40)
def test_whatever_the_day_is_like_a_plan_keeps_its_word(
    prices: list[float],
    sun: list[float],
    house: list[float],
    soc: float | None,
    hours: int,
    sell_above: float | None,
    export_above: float | None,
    now: int,
    forecast: bool,
) -> None:
    day = made(prices)
    charge = ChargeRules(cheapest_hours=hours, cheapest_quarter=True, fill_to=90, without_forecast=True)
    rules = Settings("growatt", BATTERY, charge, export_above=export_above, sell_above=sell_above, sell_floor=40)
    plan = RuleAuthor(rules).plan(situation(day, now=day.start + now, soc=soc, sun=sun, house=house, forecast=forecast))
    allowed = cheapest_hours(day, hours) | cheapest_quarter_of_range(day)
    for quarter in plan.quarters:
        assert quarter.action is not Action.CHARGE or quarter.start in allowed
        assert quarter.action is not Action.DISCHARGE or (sell_above is not None and quarter.sell >= sell_above)
        assert quarter.no_export is (export_above is not None and quarter.sell < export_above)
        assert not (quarter.no_export and quarter.action is Action.DISCHARGE)
        assert soc is not None or quarter.action is Action.SELF_USE
    for control in (CHARGE, DISCHARGE, EXPORT_LIMIT):
        own = [step for step in plan.steps if step.control == control]
        assert all(step.start < step.end for step in own)
        assert all(earlier.end <= later.start for earlier, later in pairwise(own))
    assert all(len(plan.steps_at(moment)) <= 2 for moment in range(plan.start, plan.end, QUARTER_S))
    json.loads(plan.as_json(), parse_constant=pytest.fail)


def test_another_author_fits_the_same_seam() -> None:
    class Sleeper:
        def plan(self, told: object) -> Plan:
            return Plan(made=0, device="growatt", start=0, end=0, currency="CZK")

    authors: list[PlanAuthor] = [Sleeper(), RuleAuthor(TWO_HOURS)]
    assert [bool(author.plan(situation(made(CHEAP_NIGHT), soc=10)).steps) for author in authors] == [False, True]

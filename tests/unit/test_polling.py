"""One life for every source: pauses, breaker, health, and nothing false while nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ohmstead.errors import NoAnswer, RateLimited, Refused, RetryLater, SourceError, Unauthorised, Unreachable, WrongAnswer
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.polling import PolledSource
from ohmstead.sources.resilience import OPENS_AFTER, BackOff, Breaker, Health

PERIOD = 0.02


class Scripted:
    """A reader that does what is next in its list, and its last step for ever."""

    def __init__(self, *steps: Exception | Quality | float) -> None:
        self.steps = list(steps)
        self.polls = 0
        self.closed = False
        self.cancelled = 0
        self.written: list[tuple[str, int]] = []

    async def read(self) -> Sequence[Snapshot]:
        step = self.steps[min(self.polls, len(self.steps) - 1)]
        self.polls += 1
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Quality):
            return [Snapshot("house", "live", 1.0, step, {"power": self.polls})]
        try:
            await asyncio.sleep(step)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return []

    async def close(self) -> None:
        self.closed = True


class Writing(Scripted):
    async def write(self, field: str, raw: int) -> int:
        self.written.append((field, raw))
        return raw


class Life:
    """A source in its own task, ended at the end of the test."""

    def __init__(self, reader: Scripted, **settings: float) -> None:
        self.reader = reader
        self.taken: list[Snapshot] = []
        self.source = PolledSource(
            "house", reader, self.taken.append, period_s=settings.get("period_s", PERIOD), timeout_s=settings.get("timeout_s", 5.0)
        )

    async def __aenter__(self) -> Life:
        self.task = asyncio.create_task(self.source.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})
        assert self.reader.closed, "the reader was left open"

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                assert not self.task.done(), "the source has ended"
                await asyncio.sleep(0.002)


async def test_what_answers_is_healthy_and_each_snapshot_goes_out() -> None:
    async with Life(Scripted(Quality.GOOD)) as life:
        assert life.source.health is Health.UNKNOWN
        await life.until(lambda: len(life.taken) >= 3)
        assert life.source.online is True
        assert life.source.health is Health.HEALTHY
        assert life.source.counters["ok"] == life.reader.polls == life.source.counters["requests"]


async def test_what_answers_in_part_is_degraded() -> None:
    async with Life(Scripted(Quality.PARTIAL)) as life:
        await life.until(lambda: life.taken)
        assert life.source.health is Health.DEGRADED
        assert life.source.counters["partial"] >= 1


@pytest.mark.parametrize(
    ("error", "counter"),
    [
        (Unreachable("no route"), "no_answer"),
        (NoAnswer("silence"), "no_answer"),
        (WrongAnswer("12 of 80 bytes"), "wrong"),
        (Refused("HTTP 500", 500), "exception"),
        (ZeroDivisionError("a mistake of ours"), "wrong"),
    ],
)
async def test_a_failed_poll_gives_nothing_and_the_next_good_one_is_enough(error: Exception, counter: str) -> None:
    async with Life(Scripted(error, error, error, error, Quality.GOOD)) as life:
        await life.until(lambda: life.reader.polls >= 4)
        assert life.source.counters[counter] >= 3
        assert life.source.online is False
        assert life.source.health is Health.UNHEALTHY
        assert str(error) in life.source.trouble
        await life.until(lambda: life.taken)
        assert life.taken[0].values == {"power": 5}, "one of the polls without an answer gave a reading"
        assert (life.source.online, life.source.trouble, life.source.breaker.state) == (True, "", "closed")


async def test_a_mistake_of_ours_is_told_once_with_all_it_carries() -> None:
    with capture_logs() as told:
        async with Life(Scripted(*[KeyError(f"{number}") for number in range(4)], Quality.GOOD, KeyError("anew"))) as life:
            await life.until(lambda: life.reader.polls >= 8)
    assert [line["event"] for line in told if line["log_level"] == "error"] == ["failed in a way that nobody foresaw"] * 2


async def test_going_away_and_coming_back_are_a_line_each() -> None:
    script = [Quality.GOOD, *[Unreachable("no route")] * 4, Quality.GOOD, *[NoAnswer("silence")] * 4, Quality.GOOD]
    with capture_logs() as told:
        async with Life(Scripted(*script)) as life:
            await life.until(lambda: life.reader.polls > len(script))
    assert [line["event"] for line in told] == ["answers", "away", "answers", "a poll failed", "away", "answers"]


async def test_one_lost_answer_does_not_make_a_device_be_away() -> None:
    async with Life(Scripted(Quality.GOOD, NoAnswer("silence"), Quality.GOOD)) as life:
        await life.until(lambda: life.source.trouble)
        assert life.source.online is True
        assert life.source.health is Health.DEGRADED
        await life.until(lambda: not life.source.trouble)


async def test_what_hangs_is_given_up_and_closed_in_time() -> None:
    async with Life(Scripted(3600.0, Quality.GOOD), timeout_s=0.05) as life:
        await life.until(lambda: life.taken)
        assert life.reader.cancelled == 1
        assert life.source.counters["no_answer"] == 1


async def test_who_asks_to_be_left_alone_is_and_is_not_away_for_that() -> None:
    async with Life(Scripted(Quality.GOOD, RateLimited("120 in 10 min", 3600.0))) as life:
        await life.until(lambda: life.source.counters["limited"])
        polls = life.reader.polls
        life.source.poll_soon()  # a hand of the owner's is no robot
        await life.until(lambda: life.reader.polls > polls)
        assert life.source.online is True
        assert "120 in 10 min" in life.source.trouble
        assert life.source.breaker.state == "closed"


@pytest.mark.parametrize("after", [float("inf"), float("nan"), 1e300, -5.0])
async def test_a_wait_that_is_none_ends_nothing(after: float) -> None:
    async with Life(Scripted(RateLimited("enough", after))) as life:
        await life.until(lambda: life.source.counters["limited"])
        await asyncio.sleep(0)
        assert life.source.counters["skipped"] <= 86_400 / PERIOD
        life.source.poll_soon()
        await life.until(lambda: life.reader.polls >= 2)


async def test_before_the_first_answer_being_sent_away_is_no_presence() -> None:
    async with Life(Scripted(RetryLater("asleep", 3600.0))) as life:
        await life.until(lambda: life.source.trouble)
        assert life.source.online is False


async def test_a_wrong_password_is_not_tried_again_and_again() -> None:
    async with Life(Scripted(Unauthorised("the password is not taken", 401))) as life:
        await life.until(lambda: life.source.online is False)
        assert life.source.counters["skipped"] > 1000, "it would ask again long before five minutes are over"


async def test_a_write_goes_between_polls_and_is_followed_by_one() -> None:
    async with Life(Writing(Quality.GOOD), period_s=3600.0) as life:
        await life.until(lambda: life.taken)
        assert await life.source.write("limit", 50) == 50
        assert life.reader.written == [("limit", 50)]
        await life.until(lambda: len(life.taken) == 2)


async def test_a_write_waits_for_the_poll_that_is_under_way() -> None:
    class Slow(Writing):
        def __init__(self) -> None:
            super().__init__(Quality.GOOD)
            self.answered = asyncio.Event()

        async def read(self) -> Sequence[Snapshot]:
            self.polls += 1
            await self.answered.wait()
            return []

    reader = Slow()
    async with Life(reader, period_s=3600.0, timeout_s=30.0) as life:
        await life.until(lambda: reader.polls)
        writing = asyncio.create_task(life.source.write("limit", 50))
        for _ in range(10):
            await asyncio.sleep(0)
        assert reader.written == [], "one connection, one request at a time"
        reader.answered.set()
        assert await writing == 50


async def test_a_reader_that_listens_is_told_to_before_its_first_poll() -> None:
    class Listening(Scripted):
        started = 0

        def start(self) -> None:
            assert not self.polls
            self.started += 1

    reader = Listening(Quality.GOOD)
    async with Life(reader) as life:
        await life.until(lambda: reader.polls > 2)
    assert reader.started == 1


async def test_a_reader_that_cannot_write_is_not_asked_to() -> None:
    with pytest.raises(TypeError):
        await Life(Scripted(Quality.GOOD)).source.write("limit", 50)


async def test_it_ends_at_once_also_in_the_middle_of_a_poll() -> None:
    async with Life(Scripted(3600.0)) as life:
        await life.until(lambda: life.reader.polls)
    assert life.reader.cancelled == 1


@given(st.floats(0.05, 3600), st.integers(1, 1000), st.floats(0, 1))
def test_what_comes_back_is_found_within_a_period(period_s: float, failures: int, chance: float) -> None:
    pause = BackOff.within(period_s).pause(failures, chance)
    assert 0 < pause <= max(period_s, 0.5)


def test_pauses_grow_and_are_spread() -> None:
    back_off = BackOff(1.0, 60.0)
    assert [back_off.pause(failures, 1.0) for failures in (1, 2, 3, 6, 7, 8)] == [1, 2, 4, 32, 60, 60]
    assert back_off.pause(3, 0.0) == 2


def test_the_breaker_opens_tries_and_closes() -> None:
    breaker = Breaker(BackOff(1.0, 8.0), chance=lambda: 1.0)
    for failures in range(1, OPENS_AFTER + 1):
        breaker.trying()
        assert breaker.state == "closed"
        breaker.failed()
        assert breaker.failures == failures
    assert breaker.state == "open"
    breaker.trying()
    assert breaker.state == "half-open"
    breaker.failed()
    assert (breaker.state, breaker.opened) == ("open", 1)
    breaker.trying()
    breaker.succeeded()
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_every_error_of_a_source_has_a_counter() -> None:
    kinds = [SourceError, *SourceError.__subclasses__()]
    assert {kind.counter for kind in kinds} <= {"no_answer", "wrong", "exception"}


async def test_how_a_field_stands_is_known_where_the_reader_knows_it() -> None:
    class Holding(Writing):
        async def held(self, field: str) -> int | None:
            if field == "broken":
                raise NoAnswer("silent")
            return {"limit": 50}.get(field)

    async with Life(Holding(Quality.GOOD)) as life:
        await asyncio.sleep(0)
        assert [await life.source.held(field) for field in ("limit", "other", "broken")] == [50, None, None]
    async with Life(Writing(Quality.GOOD)) as life:
        await asyncio.sleep(0)
        assert await life.source.held("limit") is None

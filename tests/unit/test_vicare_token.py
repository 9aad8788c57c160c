"""The token of a Viessmann account: got once, renewed, kept where nobody else reads it; and the password, which is sent once."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from PyViCare import PyViCareAbstractOAuthManager, PyViCareOAuthManager
from PyViCare.PyViCare import PyViCare

from ohmstead.errors import Refused, Unauthorised, WrongAnswer
from ohmstead.sim.vicare import CLIENT_ID, PASSWORD, USER, Kindness, ViessmannCloud
from ohmstead.sim.vicare_home import home
from ohmstead.sources.vicare_answers import Answer
from ohmstead.sources.vicare_cloud import Account
from ohmstead.sources.vicare_http import Http
from ohmstead.sources.vicare_login import Endpoints, Flow
from ohmstead.sources.vicare_token import Token, TokenFile, granted
from tests.unit.vicare_account import HEATING, NOON, Made, homes, log_in, tokens_asked


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    async with homes(tmp_path) as make:
        yield make


async def test_a_token_lasts_over_restarts_and_the_password_is_sent_once(made: Made) -> None:
    house = made()
    await house.values()
    for _ in range(3):
        house.clock.now += 3600
        house.restart()
        await house.values()
    assert house.cloud.logins == 1
    assert tokens_asked(house) == 4


async def test_nobody_else_reads_the_token(made: Made) -> None:
    house = made()
    await house.values()
    assert house.tokens.path.stat().st_mode & 0o777 == 0o600
    kept = json.loads(house.tokens.path.read_text())
    assert kept.keys() == {"access_token", "refresh_token", "expires_at"}
    house.tokens.path.chmod(0o644)
    house.restart()
    await house.values()
    assert house.tokens.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in house.tokens.path.parent.iterdir()] == ["token.json"]


async def test_a_token_that_ran_out_is_renewed_before_it_is_refused(made: Made) -> None:
    house = made()
    await house.values()
    house.clock.now += 3570
    asked = len(house.cloud.asked)
    await house.values()
    assert [one.rpartition("/")[2] for one in house.cloud.asked[asked:]] == ["token", "features"]


async def test_a_token_that_the_cloud_ends_early_is_renewed_once(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.expire()
    asked = len(house.cloud.asked)
    assert HEATING in await house.values()
    assert [one.rpartition("/")[2] for one in house.cloud.asked[asked:]] == ["features", "token", "features"]
    assert house.cloud.logins == 1


async def test_a_refresh_token_that_stays_is_used_again(made: Made) -> None:
    house = made()
    house.cloud.rotate = False
    for _ in range(3):
        await house.values()
        house.clock.now += 3600
    assert json.loads(house.tokens.path.read_text())["refresh_token"]
    assert house.cloud.logins == 1


async def test_tokens_that_nobody_takes_end_in_advice_and_not_in_a_storm(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.be(Kindness.NO_TOKEN)
    asked = len(house.cloud.asked)
    with pytest.raises(Unauthorised, match="ohmstead vicare login"):
        await house.values()
    assert len(house.cloud.asked) - asked == 3


async def test_a_revoked_token_without_a_password_needs_a_person_and_asks_for_nothing_meanwhile(made: Made) -> None:
    house = made()
    await house.values()
    house.account = Account(CLIENT_ID)
    house.restart()
    house.cloud.revoke()
    with pytest.raises(Unauthorised, match="run `ohmstead vicare login`"):
        await house.values()
    house.clock.now += 3600
    asked = len(house.cloud.asked)
    with pytest.raises(Unauthorised):
        await house.values()
    assert len(house.cloud.asked) == asked
    log_in(house)
    assert HEATING in await house.values()


async def test_a_revoked_token_with_a_password_costs_one_login(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.revoke()
    assert HEATING in await house.values()
    assert house.cloud.logins == 2


async def test_a_wrong_password_is_sent_once_until_it_is_another_one(made: Made) -> None:
    house = made(password="wrong")
    with pytest.raises(Unauthorised, match="does not take user and password"):
        await house.values()
    for _ in range(2):
        house.restart()
        with pytest.raises(Unauthorised, match="not sent again"):
            await house.values()
    assert house.cloud.logins == 1
    assert "wrong" not in str(house.kept.values)
    house.account = Account(CLIENT_ID, USER, PASSWORD)
    house.restart()
    assert HEATING in await house.values()
    assert house.cloud.logins == 2


async def test_a_cloud_that_is_down_is_no_wrong_password(made: Made) -> None:
    house = made()
    house.cloud.be(Kindness.DOWN)
    with pytest.raises(Refused) as caught:
        await house.values()
    assert not isinstance(caught.value, Unauthorised)
    house.cloud.be(Kindness.KIND)
    assert HEATING in await house.values()


async def test_without_token_and_password_there_is_advice_and_no_request(made: Made) -> None:
    house = made(user="")
    with pytest.raises(Unauthorised, match=r"there is no token at .*token\.json; run `ohmstead vicare login`"):
        await house.values()
    assert house.cloud.asked == []


async def test_a_wrong_client_id_is_said(made: Made) -> None:
    house = made()
    await house.values()
    house.account = Account("another")
    house.restart()
    house.clock.now += 3600
    with pytest.raises(Unauthorised):
        await house.values()


async def test_a_disk_that_is_full_costs_no_reading(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    house = made()
    await house.values()

    def full(_token: Token) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.tokens, "write", full)
    house.clock.now += 3600
    assert HEATING in await house.values()
    house.clock.now += 3600
    assert HEATING in await house.values()


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/nobody-unpickles-this",)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"access_token": 3}', b"[]", b"\x80\x04", pickle.dumps(_Bomb())])
def test_a_file_that_holds_no_token_is_said_and_never_unpickled(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token.json"
    path.write_bytes(content)
    with pytest.raises(Unauthorised, match="ohmstead vicare login"):
        TokenFile(path).read()
    assert not Path("/nobody-unpickles-this").exists()


def test_no_token_file_is_no_mistake(tmp_path: Path) -> None:
    assert TokenFile(tmp_path / "none.json").read() is None


@pytest.mark.parametrize(
    ("lasts", "seconds"), [(3600, 3600), ("1800", 1800), (None, 3600), (-5, 60), (float("nan"), 3600), (1e12, 30 * 86400)]
)
def test_how_long_a_token_lasts(lasts: object, seconds: float) -> None:
    token = granted({"access_token": "a", "refresh_token": "r", "expires_in": lasts}, NOON)
    assert token.expires == NOON + seconds


def test_an_answer_without_a_token_is_wrong() -> None:
    answers: tuple[Any, ...] = ({}, {"access_token": ""}, [], None)
    for answer in answers:
        with pytest.raises(WrongAnswer):
            granted(answer, NOON)


def test_a_token_and_an_account_are_not_told_by_accident() -> None:
    assert "secret" not in repr(Token("secret-a", "secret-r", NOON)) + repr(Account("id", "user", "secret"))


def test_the_answer_to_another_attempt_is_refused() -> None:
    flow = Flow.begin(CLIENT_ID)
    for address in ("http://localhost:4200/?code=1&state=other", "http://localhost:4200/?code=1", "http://localhost:4200/", "nonsense"):
        with pytest.raises(WrongAnswer):
            flow.code(address)
    with pytest.raises(WrongAnswer, match="not today"):
        flow.code("http://localhost:4200/?error=access_denied&error_description=not+today")
    assert flow.code(f"  http://localhost:4200/?code=7&state={flow.state}\n") == "7"


def test_the_library_itself_takes_the_simulated_cloud_for_the_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyViCare with its own login, token file and getters, nothing of ours between."""
    cloud = ViessmannCloud().start()
    endpoints = Endpoints.of(cloud.url)
    monkeypatch.setattr(PyViCareAbstractOAuthManager, "API_BASE_URL", endpoints.api)
    monkeypatch.setattr(PyViCareOAuthManager, "AUTHORIZE_URL", endpoints.authorise)
    monkeypatch.setattr(PyViCareOAuthManager, "TOKEN_URL", endpoints.token)
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    try:
        api = PyViCare()
        api.initWithCredentials(USER, PASSWORD, CLIENT_ID, str(tmp_path / "token"))
        heating = next(one for one in api.devices if one.device_type == "heating").asAutoDetectDevice()
        assert type(heating).__name__ == "HeatPump"
        assert isinstance(heating.getOutsideTemperature(), float)
        assert [circuit.getHeatingCurveSlope() for circuit in heating.circuits] == [0.6, 0.6]
        assert heating.getDomesticHotWaterSchedule()["mon"][0]["end"] == "22:00"
        assert heating.getPowerSummaryConsumptionHeatingLastYear() > 0
    finally:
        cloud.stop()


async def test_a_store_that_is_full_loses_no_token_and_no_refusal(made: Made) -> None:
    house = made()
    house.kept.full = True
    assert HEATING in await house.values()
    assert house.tokens.read() is not None
    house.cloud.revoke()
    house.account = house.account._replace(password="wrong")
    house.restart()
    for _ in range(2):
        house.clock.now += 3600
        with pytest.raises(Unauthorised):
            await house.values()
    assert house.cloud.logins == 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {}, b"<!DOCTYPE html><p>log in, please"),
        Answer(200, {}, b"{}"),
        Answer(200, {}, b'{"a": 1}'),
        Answer(302, {}, b""),
        Answer(302, {"Location": "vicare://oauth-callback/everest?error=access_denied&error_description=consent"}, b""),
        Answer(302, {"Location": "vicare://oauth-callback/everest?code=1&state=of-somebody-else"}, b""),
        Answer(302, {"Location": "http://[x"}, b""),
        Answer(400, {}, b'{"error": "invalid_request"}'),
        Answer(403, {}, b"<html>who are you?"),
    ],
)
async def test_a_password_that_is_answered_strangely_is_not_sent_again_and_again(
    made: Made, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    house = made()
    http = Http(20.0)
    monkeypatch.setattr(http, "request", lambda *_: answer)
    house.line._http = http
    with pytest.raises(Unauthorised):  # which the source pauses for
        await house.values()


async def test_one_poll_of_many_gateways_sends_a_password_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home()[0]
    house = made([first, *(first._replace(gateway=f"757138100000000{number}") for number in (2, 3))])
    await house.values()
    house.cloud.revoke()
    house.clock.now += 3600
    asked: list[str] = []
    http = Http(20.0)
    request = http.request

    def strange(method: Literal["GET", "POST"], url: str, *more: Any) -> Answer:
        asked.append(url)
        return Answer(200, {}, b"<html>") if "/authorize" in url else request(method, url, *more)

    monkeypatch.setattr(http, "request", strange)
    house.line._http = http
    with pytest.raises(Unauthorised):
        await house.values()
    assert sum("/authorize" in url for url in asked) == 1

"""What may be given away of a configuration, and of texts that its secrets turn up in."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from ohmstead.config import Config, load
from ohmstead.config.redacted import Scrubber, host, is_secret, redacted, secrets
from tests.unit.homes import writer

KEY = "00112233445566778899aabbccddeeff" * 2
SECRETS = ("pass wörd", "4711081508", "wifi-secret", "node-secret", "the-token", "heat-secret", "shelly-secret", KEY)


@pytest.fixture
def home(tmp_path: Path) -> Config:
    (tmp_path / "shelly.secret").write_text("shelly-secret\n")
    return load(
        writer(tmp_path)(f"""
        mqtt: {{url: "mqtts://broker.example.org:8883", user: petra.novakova, password: pass wörd}}
        web: {{token: "4711081508"}}
        nodes:
          cellar:
            bus: {{pins: {{tx: 17, rx: 16}}}}
            key: {KEY}
            wifi: {{ssid: Novakovi, password: wifi-secret}}
            mqtt: {{url: mqtt://192.0.2.2, user: ohmstead, password: node-secret}}
        prices: {{source: entso-e, token: the-token}}
        devices:
          mtec: {{profile: mtec-energybutler, via: cellar}}
          garage: {{profile: mtec-energybutler, via: "tcp://8.8.8.8"}}
          heating: {{source: vicare, client_id: c0ffee4711, user: petra@example.org, password: heat-secret}}
          house: {{source: shelly, host: 192.168.1.7, password_file: shelly.secret}}
          weather: {{source: open-meteo, latitude: 50.08743, longitude: 14.42123}}
    """)
    )


def test_every_secret_is_found_wherever_it_stands(home: Config) -> None:
    found = {secret.hex() if isinstance(secret, bytes) else secret for secret in secrets(home)}
    assert found == set(SECRETS)


def test_the_configuration_keeps_what_helps_and_hides_the_rest(home: Config) -> None:
    said = redacted(home)
    text = json.dumps(said, ensure_ascii=False)
    for hidden in (*SECRETS, "petra", "Novakovi", "c0ffee", "example.org", "8.8.8.8", "50.087"):
        assert hidden not in text
    assert said["devices"]["mtec"]["profile"] == "mtec-energybutler"
    assert said["devices"]["house"]["host"] == "192.168.1.7"
    assert said["devices"]["weather"]["latitude"] == 50.1
    assert said["mqtt"]["password"] == "•••"
    assert said["devices"]["garage"]["via"] == "tcp://a public address:502"
    assert said["store"]["path"] == "ohmstead.db"


def test_secrets_are_taken_out_of_any_text(home: Config) -> None:
    said = {
        "log": [f"connecting with {secret}" for secret in SECRETS],
        "url": "mqtt://petra.novakova:pass%20w%C3%B6rd@broker.example.org",
        "mail": "account someone.else@mail.example refused",
        "access_token": "not ours, but a token",
        "pin_key": 4711,
        "owner": {"firstName": "Petra", "city": "Praha", "name": "Roof"},
        bytes.fromhex(KEY).hex(): bytes.fromhex(KEY),
        "nothing": None,
        "unknown": float("nan"),
        "user": "ohmstead",
        "text": "ohmstead 1.0",
    }
    cleaned = Scrubber(home)(said)
    text = json.dumps(cleaned, ensure_ascii=False, allow_nan=False)
    for hidden in (*SECRETS, "pass%20", "petra", "Petra", "Praha", "broker.example", "someone.else", "not ours", "4711"):
        assert hidden not in text
    assert cleaned["owner"]["name"] == "Roof"
    assert cleaned["text"] == "ohmstead 1.0"
    assert cleaned["nothing"] is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::1", "::1"),
        ("nas", "nas"),
        ("nas.lan", "nas.lan"),
        ("8.8.8.8", "a public address"),
        ("home.example.org", "a public name"),
    ],
)
def test_addresses_of_the_home_network_are_shown_and_others_are_not(name: str, shown: str) -> None:
    assert host(name) == shown


class Account(BaseModel):
    user: str
    password: str


@given(st.text(min_size=4, max_size=40), st.text(max_size=8), st.binary(max_size=5))
def test_no_secret_is_in_a_text_however_it_is_spelled(secret: str, user: str, after: bytes) -> None:
    octets = secret.encode()
    basic = f"{user}:".encode() + octets + after
    spelled = {
        "plain": f"a {secret} b",
        "address": f"https://{user}:{quote(secret, safe='')}@cloud",
        "form": f"a=1&b={quote_plus(octets)}",
        "json": json.dumps({"x": secret}),
        "letters": json.dumps({"x": secret}, ensure_ascii=False),
        "shown": repr(octets.decode()),
    }
    cleaned = Scrubber(Account(user=user, password=secret))(spelled)
    assert {name: text for name, text in cleaned.items() if text == spelled[name] and "•••" not in text} == {}
    if len(octets) >= 6:
        for coded in (base64.b64encode(basic).decode(), base64.urlsafe_b64encode(basic).decode()):
            assert Scrubber(Account(user="", password=secret))({"header": f"Basic {coded}"})["header"] != f"Basic {coded}"


class Somewhere(BaseModel):
    url: str


def test_what_an_address_carries_is_a_secret_as_well() -> None:
    place = Somewhere(url="https://petra:wachtwoord@cloud.example/api?lang=cs&securityToken=4711-0815")
    assert redacted(place) == {"url": "https://•••@cloud.example/api?•••"}
    assert set(secrets(place)) == {"wachtwoord", "4711-0815"}
    assert redacted(Somewhere(url="http://192.0.2.7:8080/x")) == {"url": "http://192.0.2.7:8080/x"}


@pytest.mark.parametrize(
    "name", ["password", "wifi_password", "wifiPassword", "access-token", "refreshToken", "apiKey", "Set-Cookie", "psk"]
)
def test_a_secret_is_known_by_its_key(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["bypass", "compass", "monkey", "tokens_left", "token_path", "keyboard", "total_power"])
def test_what_only_looks_like_one_is_none(name: str) -> None:
    assert not is_secret(name)

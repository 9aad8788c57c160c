"""What an owner says of a Shelly, and what of it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import Config, load
from ohmstead.config.shelly import ShellyDevice
from ohmstead.errors import ConfigurationError


def home(folder: Path, device: str) -> Config:
    path = folder / "ohmstead.yaml"
    path.write_text(f"site: home\nmqtt: {{url: mqtt://localhost}}\ndevices:\n  house: {device}\n", encoding="utf-8")
    (folder / "secret").write_text("swordfish\n", encoding="utf-8")
    return load(path)


def test_a_shelly_has_a_host_and_perhaps_a_password(tmp_path: Path) -> None:
    device = home(tmp_path, "{source: shelly, host: 192.0.2.12, password_file: secret}").devices["house"]
    assert isinstance(device, ShellyDevice)
    assert (device.host, device.port, device.password, device.mqtt) == ("192.0.2.12", 80, "swordfish", None)
    assert device.address == "192.0.2.12:80"
    assert "swordfish" not in repr(device)


def test_or_a_prefix_on_the_broker(tmp_path: Path) -> None:
    config = home(tmp_path, "{source: shelly, mqtt: shellypro3em-a0b1c2, every: 30 s}")
    device = config.devices["house"]
    assert isinstance(device, ShellyDevice)
    assert device.address == "shellypro3em-a0b1c2"
    assert min(config.periods("house").values()) == 30.0


@pytest.mark.parametrize(
    ("device", "line", "says"),
    [
        ("{source: shelly}", 4, "devices.house — how is it reached? give either `host: 192.0.2.12`"),
        ("{source: shelly, host: 192.0.2.12, mqtt: shelly}", 4, "either"),
        ("{source: shelly, mqtt: shelly/+}", 4, "no prefix of topics"),
        ("{source: shelly, mqtt: 'a b'}", 4, "no prefix of topics"),
        ("{source: shelly, mqtt: /shelly}", 4, "no prefix of topics"),
        ("{source: shelly, mqtt: shelly, password: secret}", 4, "on the broker a Shelly asks for none"),
        ("{source: shelly, host: 192.0.2.12, unit: 1}", 4, "devices.house.unit — does not fit here"),
        ("{source: shelly, host: 192.0.2.12, exclude: [a]}", 4, "devices.house.exclude — does not fit here"),
        ("{source: shelly, host: 192.0.2.12, every: 0 s}", 4, "every"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(tmp_path: Path, device: str, line: int, says: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        home(tmp_path, device)
    (mistake,) = wrong.value.mistakes
    assert mistake.line == line
    assert says in str(mistake)


def test_a_point_that_only_another_shelly_has_may_be_wanted(tmp_path: Path) -> None:
    assert home(tmp_path, "{source: shelly, host: 192.0.2.12, points: {power_2: {name: Garage}}}").devices["house"].points

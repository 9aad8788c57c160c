"""What becomes of each service's keys: carried over, not needed any more, or not carried over with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config.device import DeviceConfig
from ohmstead.config.luxtronik import LuxtronikDevice
from ohmstead.config.weather import WeatherDevice
from ohmstead.errors import ConfigurationError
from ohmstead.migrate.settings import Fate
from ohmstead.migrate.upstreams import Moved, move

AIOMTEC2MQTT = """\
DEBUG: True
MODBUS_IP: 192.0.2.10
MODBUS_PORT: 502
MODBUS_SLAVE: 247
MODBUS_TIMEOUT: 5
MODBUS_FRAMER: socket
MODBUS_RETRIES: 3
MQTT_SERVER: nas
MQTT_PORT: 1884
MQTT_LOGIN: " "
MQTT_PASSWORD: ""
MQTT_TOPIC: MTEC
MQTT_FLOAT_FORMAT: "{:.3f}"
HASS_ENABLE: True
HASS_BASE_TOPIC: ha
HASS_BIRTH_GRACETIME: 15
REFRESH_NOW: 5
REFRESH_CONFIG: 30
REFRESH_DAY: 300
REFRESH_STATIC: 3600
REFRESH_TOTAL: 60
"""
FORK = """\
mqtt_broker: nas
mqtt_tls: true
mqtt_port: 8883
dtu_configs:
  - {name: DTU_East, host: 192.0.2.11}
  - {name: DTU_West, host: 192.0.2.12, port: 1502, unit_id: 2}
query_period: 60
expire_after: 120
reset_hour: 23
timezone: Europe/Berlin
mi_entities: [grid_voltage, link_status]
exclude_inverters: ["114182A0B1C2"]
value_multipliers: {pv_power: 0.001}
entity_friendly_names: {pv_power: Solar Power}
persistence_enabled: true
database_path: /data/hoymiles-smiles.db
health_host: 0.0.0.0
health_port: 8090
dtu_offline_threshold: 300
temperature_threshold: 80.0
log_level: CRITICAL
log_format: standard
exponential_backoff: true
dry_run: true
"""
LOXONE = """\
LOG_LEVEL=INFO
UDP_LISTENER_ENABLED=true
UDP_LISTENER_PORT=2000
MQTT_BROKER=nas
MQTT_USERNAME=me
MQTT_PASSWORD=secret
MQTT_TOPICS=energy/solar, teplomer/TC,weather
INFLUXDB_TOKEN=abc
LOXONE_HOST=192.0.2.20
LOXONE_PORT=4000
USE_SERVICE=openmeteo
LATITUDE=50.08
LONGITUDE=14.43
GROWATT_CONTROLLER_ENABLED=true
GROWATT_BATTERY_CAPACITY=10.0            # kWh
GROWATT_MIN_SOC=20.0
GROWATT_MAX_SOC=95.0
GROWATT_BATTERY_EFFICIENCY=0.85
GROWATT_EXPORT_PRICE_MIN=1.0
GROWATT_DISCHARGE_PRICE_MIN=5.0
GROWATT_DISCHARGE_MIN_SOC=30.0
GROWATT_BATTERY_CHARGE_BLOCKS=8
GROWATT_EUR_CZK_RATE=25.0
GROWATT_BATTERY_FIRST_TOPIC=roof/solar/command/batteryfirst/set/timeslot
PEMS_ENABLED=false
"""


def moved(folder: Path, text: str, name: str = "config.yaml") -> Moved:
    path = folder / name
    path.write_text(text)
    return move([path])


def fates(came: Moved) -> dict[str, Fate]:
    return {outcome.key: outcome.fate for outcome in came.services[0].outcomes}


def modbus(came: Moved, name: str) -> DeviceConfig:
    device = came.config.devices[name]
    assert isinstance(device, DeviceConfig)
    return device


def left(came: Moved) -> dict[str, str]:
    return {outcome.key: outcome.text for outcome in came.services[0].outcomes if outcome.fate is Fate.NOT_CARRIED}


def test_aiomtec2mqtt_becomes_an_inverter_with_its_contract(tmp_path: Path) -> None:
    came = moved(tmp_path, AIOMTEC2MQTT)
    device = modbus(came, "mtec")
    assert (device.profile, str(device.via), device.unit, device.contract) == ("mtec-energybutler", "tcp://192.0.2.10:502", 247, "state")
    assert (device.line.timeout, device.line.retries) == (5.0, 3)
    periods = came.config.periods("mtec")
    assert (periods["now-base"], periods["now-pv"], periods["total"], periods["day"], periods["config"]) == (5.0, 5.0, 60.0, 300.0, 30.0)
    assert (came.config.mqtt.host, came.config.mqtt.port, came.config.mqtt.user) == ("nas", 1884, None)
    assert (came.config.home_assistant.enabled, came.config.home_assistant.prefix) == (True, "ha")
    assert came.config.log.level == "debug"
    assert left(came) == {}


def test_its_environment_has_the_same_keys_and_wins(tmp_path: Path) -> None:
    came = moved(tmp_path, "MTEC_MODBUS_IP=192.0.2.10\nMTEC_REFRESH_NOW=2\nMTEC_HASS_ENABLE=false\n", ".env")
    assert came.config.periods("mtec")["now-grid"] == 2.0
    assert not came.config.home_assistant.enabled


def test_mtecmqtt_s_serial_frames_over_tcp_are_told(tmp_path: Path) -> None:
    came = moved(tmp_path, "MODBUS_IP: espressif\nMODBUS_PORT: 5743\nMODBUS_PORT2: 502\nMODBUS_SLAVE: 252\nMODBUS_FRAMER: rtu\n")
    device = modbus(came, "mtec")
    assert (str(device.via), device.unit) == ("tcp://espressif:502", None)
    assert left(came).keys() == {"MODBUS_PORT", "MODBUS_SLAVE", "MODBUS_FRAMER"}
    assert "unit: 252" in left(came)["MODBUS_SLAVE"]
    assert any("/state now" in note for note in came.notes)


def test_other_topics_than_the_contract_s_are_told(tmp_path: Path) -> None:
    came = moved(tmp_path, "MODBUS_IP: 192.0.2.10\nMQTT_TOPIC: SUN\nMQTT_FLOAT_FORMAT: .1f\n")
    assert left(came).keys() == {"MQTT_TOPIC", "MQTT_FLOAT_FORMAT"}


def test_hoymiles_mqtt_s_environment_becomes_a_dtu(tmp_path: Path) -> None:
    came = moved(
        tmp_path,
        "MQTT_BROKER=nas\nMQTT_USER=me\nDTU_HOST=192.0.2.11\nDTU_PORT=1502\nQUERY_PERIOD=30\nCOMM_TIMEOUT=5\nPORT_ENTITIES=[pv_power,pv_voltage]\n"
        "MI_ENTITIES=grid_voltage grid_frequency temperature operating_status alarm_code alarm_count link_status\n",
        "hoymiles.env",
    )
    device = modbus(came, "roof")
    assert (device.profile, str(device.via), device.contract) == ("hoymiles-dtu", "tcp://192.0.2.11:1502", "json")
    assert device.line.timeout == 5.0
    assert device.hoymiles.port_entities == ["pv_power", "pv_voltage"]
    assert device.hoymiles.inverter_entities is None
    assert came.config.home_assistant.enabled
    assert came.config.web.compatible == []
    assert left(came) == {}


def test_the_fork_s_dtus_each_become_one(tmp_path: Path) -> None:
    came = moved(tmp_path, FORK)
    east, west = modbus(came, "dtu_east"), modbus(came, "dtu_west")
    assert (str(east.via), east.unit, east.name) == ("tcp://192.0.2.11:502", None, "DTU_East")
    assert (str(west.via), west.unit, west.name) == ("tcp://192.0.2.12:1502", 2, "DTU_West")
    for device in (east, west):
        assert device.exclude == ["114182a0b1c2"]
        assert (device.hoymiles.reset_hour, device.hoymiles.expire_after, device.hoymiles.offline_after) == (23, 120.0, 300.0)
        assert (device.hoymiles.multipliers, device.hoymiles.hot_above) == ({"pv_power": 0.001}, 80.0)
        assert device.hoymiles.inverter_entities == ["grid_voltage", "link_status"]
        assert device.hoymiles.entity_names == {"pv_power": "Solar Power"}
    assert (came.config.mqtt.host, came.config.mqtt.tls, came.config.mqtt.port) == ("nas", True, 8883)
    assert (came.config.timezone, came.config.web.port, came.config.log.level) == ("Europe/Berlin", 8090, "error")
    assert came.config.web.compatible == ["hoymiles-mqtt"]
    assert left(came).keys() == {"database_path", "dry_run"}
    assert fates(came)["persistence_enabled"] is Fate.NOT_NEEDED


def test_what_would_expire_before_the_next_poll_lasts_for_two(tmp_path: Path) -> None:
    came = moved(tmp_path, "MQTT_BROKER=nas\nDTU_HOST=192.0.2.11\nEXPIRE_AFTER=60\nMQTT_TOPIC_PREFIX=solar\n", ".env")
    device = modbus(came, "roof")
    assert (device.hoymiles.expire_after, device.hoymiles.topics) == (120.0, "solar/hoymiles_mqtt")
    assert left(came) == {}


def test_the_fork_s_dtus_may_be_json_in_its_environment(tmp_path: Path) -> None:
    listed = '[{"name": "East", "host": "192.0.2.11"}, {"name": "East", "host": "192.0.2.12", "unit_id": 3}]'
    came = moved(tmp_path, f"MQTT_BROKER=nas\nDTU_CONFIGS='{listed}'\nDTU_HOST=192.0.2.99\n", ".env")
    assert [str(device.via) for device in came.config.devices.values()] == ["tcp://192.0.2.11:502", "tcp://192.0.2.12:502"]
    assert list(came.config.devices) == ["east", "east_2"]
    assert fates(came)["DTU_HOST"] is Fate.NOT_NEEDED


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("DTU_CONFIGS=[{]", "DTU_CONFIGS"),
        ('DTU_CONFIGS=[{"name": "East"}]', "has no host"),
        ('DTU_CONFIGS=[{"host": "a", "port": "b"}]', "must be numbers"),
        ("PORT_ENTITIES=pv_colour", "there is no pv_colour"),
        ('VALUE_MULTIPLIERS={"pv_power": "x"}', "is no number"),
        ('VALUE_MULTIPLIERS={"link_status": 2}', "has no multiplier"),
        ("VALUE_MULTIPLIERS=2", "is no map"),
        ("EXCLUDE_INVERTERS=123", "EXCLUDE_INVERTERS"),
        ("RESET_HOUR=24", "RESET_HOUR"),
        ("TIMEZONE=Nowhere/Else", "TIMEZONE"),
        ("LOG_LEVEL=LOUD", "must be one of"),
        ("COMM_RETRIES=2.5", "without decimals"),
    ],
)
def test_what_hoymiles_mqtt_would_not_take_either_is_a_mistake(tmp_path: Path, line: str, said: str) -> None:
    host = "" if line.startswith("DTU_CONFIGS") else "DTU_HOST=192.0.2.11\n"
    with pytest.raises(ConfigurationError, match=said):
        moved(tmp_path, f"{host}{line}\n", ".env")


def test_a_password_file_is_named_where_it_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    came = moved(tmp_path, "MQTT_BROKER=nas\nMQTT_PASSWORD_FILE=password\nDTU_HOST=192.0.2.11\n", ".env")
    assert came.config.mqtt.password == "secret"
    assert came.secrets == {}
    came = moved(tmp_path, "MQTT_BROKER=nas\nMQTT_PASSWORD_FILE=/nowhere/password\nDTU_HOST=192.0.2.11\n", ".env")
    assert "cannot be read here" in left(came)["MQTT_PASSWORD_FILE"]


def test_luxtronik_logger_becomes_a_heat_pump(tmp_path: Path) -> None:
    came = moved(tmp_path, "HOST=192.0.2.13\nPORT=8888\nINTERVAL_SEC=60\nCSV_TIME=07:00\nCACHE_PATH=/app/data/cache.db\n", ".env")
    device = came.config.devices["heatpump"]
    assert isinstance(device, LuxtronikDevice)
    assert (device.host, device.port, device.every) == ("192.0.2.13", 8889, {"*": 60.0})
    assert left(came).keys() == {"PORT", "CSV_TIME", "CACHE_PATH"}
    assert any("names a broker" in note for note in came.notes)


def test_loxonesmarthome_becomes_loxone_weather_and_a_planned_battery(tmp_path: Path) -> None:
    came = moved(tmp_path, LOXONE, ".env")
    config = came.config
    assert config.loxone is not None
    assert config.loxone.udp_in is not None
    assert config.loxone.udp_out is not None
    assert (config.loxone.udp_in.port, config.loxone.udp_out.host, config.loxone.udp_out.port) == (2000, "192.0.2.20", 4000)
    assert config.loxone.udp_out.topics == ["energy/solar", "teplomer/TC", "weather"]
    weather = config.devices["weather"]
    assert isinstance(weather, WeatherDevice)
    assert (weather.latitude, weather.longitude) == (50.08, 14.43)
    assert str(modbus(came, "growatt").via) == "growatt-mqtt:roof/solar"
    assert modbus(came, "growatt").limits == {"soc": "20..95 %"}
    assert config.prices is not None
    assert (config.prices.source, config.prices.money) == ("ote", "CZK")
    assert config.plan is not None
    assert config.plan.battery is not None
    assert (config.plan.battery.capacity, config.plan.battery.soc, config.plan.battery.efficiency) == (10.0, (20.0, 95.0), 0.85)
    assert (config.plan.charge.cheapest_hours, config.plan.charge.by) == (2, "quarters")
    assert config.plan.export is not None
    assert config.plan.export.above.per_kwh == 1.0
    assert config.plan.sell is not None
    assert (config.plan.sell.above.per_kwh, config.plan.sell.floor) == (5.0, 30.0)
    assert config.mqtt.password == "secret"
    assert not config.home_assistant.enabled
    assert left(came).keys() == {"INFLUXDB_TOKEN", "PEMS_ENABLED"}
    assert any("weather" in note for note in came.notes)
    assert "abc" not in came.text


@pytest.mark.parametrize(("interval", "period_s", "is_left"), [("900", 900.0, False), ("60", 1800.0, True)])
def test_the_weather_is_not_asked_for_more_often_than_it_changes(tmp_path: Path, interval: str, period_s: float, is_left: bool) -> None:
    came = moved(tmp_path, f"{LOXONE}\nWEATHER_SCRAPER_ENABLED=true\nWEATHER_UPDATE_INTERVAL={interval}\n", ".env")
    assert came.config.periods("weather")["now"] == period_s
    assert ("WEATHER_UPDATE_INTERVAL" in left(came)) is is_left


def test_what_was_off_in_loxonesmarthome_stays_off(tmp_path: Path) -> None:
    off = ("UDP_LISTENER_ENABLED", "MQTT_BRIDGE_ENABLED", "WEATHER_SCRAPER_ENABLED", "GROWATT_CONTROLLER_ENABLED")
    text = "".join(f"{key}=false\n" for key in off) + "LOXONE_HOST=192.0.2.20\nLATITUDE=50\nLONGITUDE=14\nGROWATT_MIN_SOC=20\n"
    came = moved(tmp_path, f"MQTT_BROKER=nas\n{text}", ".env")
    assert (came.config.devices, came.config.loxone, came.config.plan) == ({}, None, None)
    assert left(came) == {}


def test_a_simulated_growatt_is_only_read(tmp_path: Path) -> None:
    came = moved(tmp_path, "MQTT_BROKER=nas\nLOXONE_HOST=192.0.2.20\nGROWATT_SIMULATION_MODE=true\n", ".env")
    assert came.config.devices["growatt"].read_only
    assert came.config.loxone is not None
    assert came.config.loxone.udp_out is not None
    assert came.config.loxone.udp_out.topics == ["energy/solar", "teplomer/TC"]

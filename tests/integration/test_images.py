"""The deployable form: the broker's rights hold in a real mosquitto, the node image is the same twice."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import paho.mqtt.client as paho
import pytest
import yaml
from click.testing import CliRunner
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.cli import main
from ohmstead.config import load
from tests.conftest import REPOSITORY, free_port, wait_for

MOSQUITTO_PATHS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/sbin:/opt/homebrew/bin"


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[int]:
    """A mosquitto with the shipped rights and three users: ohmstead, the node cellar, the node attic. Yields its port."""
    mosquitto, passwords = (shutil.which(name, path=MOSQUITTO_PATHS) for name in ("mosquitto", "mosquitto_passwd"))
    if mosquitto is None or passwords is None:
        pytest.skip("no mosquitto on this machine (apt install mosquitto)")
    users = tmp_path / "users"
    users.touch(mode=0o600)
    for user in ("ohmstead", "cellar", "attic", "node"):
        subprocess.run([passwords, "-b", str(users), user, f"{user}-secret"], check=True, stderr=subprocess.DEVNULL)
    shutil.copy(REPOSITORY / "images/mosquitto/acl", tmp_path / "acl")
    port = free_port()
    shipped = (REPOSITORY / "images/mosquitto/mosquitto.conf").read_text()
    for ours, here in (
        ("listener 1883", f"listener {port} 127.0.0.1"),
        ("/mosquitto/data/users", str(users)),
        ("/mosquitto/config/acl", str(tmp_path / "acl")),
        ("/mosquitto/data/", f"{tmp_path}/"),
    ):
        assert ours in shipped
        shipped = shipped.replace(ours, here)
    (tmp_path / "mosquitto.conf").write_text(f"user root\n{shipped}")
    process = subprocess.Popen([mosquitto, "-c", str(tmp_path / "mosquitto.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: reason(port, "ohmstead", "ohmstead-secret") == 0, 5, "the broker")
    yield port
    process.terminate()
    process.wait(30)


def reason(port: int, user: str, password: str) -> int | None:
    """The CONNACK's reason for this user, 0 for accepted, None when nobody listens."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(user, password)
    answers: list[int] = []
    client.on_connect = lambda _c, _u, _f, code, _p: answers.append(code.value)
    try:
        client.connect("127.0.0.1", port)
    except ConnectionRefusedError:
        return None
    while not answers and client.loop(timeout=1.0) == 0:
        continue
    client.disconnect()
    return answers[0] if answers else None


def test_the_images_tool_is_the_one_of_the_lock_file() -> None:
    locked = tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
    version = next(package["version"] for package in locked if package["name"] == "uv")
    assert f"ARG UV_VERSION={version}\n" in (REPOSITORY / "images/Dockerfile").read_text()


def test_what_compose_sets_are_settings_that_the_gateway_knows(tmp_path: Path) -> None:
    """Each `OHM_…` of the compose file reaches the configuration; a misspelt one would be refused."""
    services = yaml.safe_load((REPOSITORY / "images/compose.yaml").read_text())["services"]
    environment = dict(services["gateway"]["environment"])
    secret = tmp_path / "mqtt_password"
    secret.write_text("a secret\n")
    environment |= {"OHM_MQTT__PASSWORD_FILE": str(secret), "OHM_TIMEZONE": "Europe/Prague"}
    file = tmp_path / "ohmstead.yaml"
    file.write_text("devices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}}\n")
    config = load(file, environment)
    assert (config.mqtt.host, config.mqtt.user, config.mqtt.password) == ("broker", "ohmstead", "a secret")
    assert (config.web.host, config.web.port, config.log.format) == ("0.0.0.0", 8080, "json")
    assert str(config.store.path) == "/var/lib/ohmstead/ohmstead.db"


def compose() -> dict[str, Any]:
    """The compose file as it is without any variable."""
    written = (REPOSITORY / "images/compose.yaml").read_text()
    services: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", written))["services"]
    return services


def test_without_variables_the_timezone_is_that_of_the_file(tmp_path: Path) -> None:
    environment = dict(compose()["gateway"]["environment"])
    del environment["OHM_MQTT__PASSWORD_FILE"]
    file = tmp_path / "ohmstead.yaml"
    file.write_text("timezone: Europe/Lisbon\ndevices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}}\n")
    assert load(file, {name: value or "" for name, value in environment.items()}).timezone == "Europe/Lisbon"


def test_a_missing_configuration_is_an_error_and_does_not_become_a_folder() -> None:
    (mounted,) = [volume for volume in compose()["gateway"]["volumes"] if isinstance(volume, dict)]
    assert (mounted["source"], mounted["target"]) == ("./ohmstead.yaml", "/etc/ohmstead/ohmstead.yaml")
    assert mounted["bind"] == {"create_host_path": False}


def test_the_image_hears_what_detect_listens_to() -> None:
    """Calls in the network need a library that the gateway itself does not; no container hears them but in the home's own network."""
    syncs = [line for line in (REPOSITORY / "images/Dockerfile").read_text().splitlines() if "uv sync" in line]
    assert syncs
    assert all("--extra detect" in line for line in syncs)
    service = compose()["detect"]
    assert (service["image"], service["build"]) == (compose()["gateway"]["image"], compose()["gateway"]["build"]), "asked before all else"
    assert (service["network_mode"], service["profiles"]) == ("host", ["tools"])
    program, *command = service["entrypoint"]
    assert program == "ohmstead"
    assert "Looks for inverters" in CliRunner().invoke(main, [*command, "--help"]).output


def test_the_images_commands_find_its_configuration_and_its_process_is_no_root(tmp_path: Path) -> None:
    written = (REPOSITORY / "images/Dockerfile").read_text()
    _, _, last = written.rpartition("\nFROM ")
    assert "\nUSER ohmstead\n" in last
    assert 'ENTRYPOINT ["ohmstead"]\nCMD ["run"]' in last
    named = re.search(r"(OHMSTEAD_CONFIG)=(\S+)", last)
    assert named is not None
    assert named[2] == "/etc/ohmstead/ohmstead.yaml"
    (tmp_path / "home.yaml").write_text("devices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}}\n")
    checked = CliRunner().invoke(main, ["check"], env={named[1]: str(tmp_path / "home.yaml")})
    assert "home.yaml: no mistakes (1 device" in checked.output


class Unwell(BaseHTTPRequestHandler):
    """A gateway at which one path answers 200."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == self.server.well else 503)  # type: ignore[attr-defined] # set by the test
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(("well", "code"), [("/api/health", 0), ("", 1)])
def test_the_images_health_is_that_of_the_gateway(well: str, code: int) -> None:
    found = re.search(r"HEALTHCHECK .*\\\n +CMD (\[.*\])\n", (REPOSITORY / "images/Dockerfile").read_text())
    assert found is not None
    _, *asks = json.loads(found[1])
    with HTTPServer(("127.0.0.1", 0), Unwell) as server:
        server.well = well  # type: ignore[attr-defined] # read by its handler
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = f"http://127.0.0.1:{free_port()}"  # as a home's Docker gives one to all its containers
        environment = {"OHM_WEB__PORT": str(server.server_port), "http_proxy": proxy}
        done = subprocess.run([sys.executable, *asks], env=environment, capture_output=True, timeout=60, check=False)
        server.shutdown()
    assert done.returncode == code, done.stderr


class Visitor:
    """A client that listens to everything its user may read."""

    def __init__(self, port: int, user: str) -> None:
        self.heard: list[str] = []
        self._ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.username_pw_set(user, f"{user}-secret")
        self.client.on_message = lambda _c, _u, message: self.heard.append(message.topic)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#")
        self.client.loop_start()
        assert self._ready.wait(30)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_the_brokers_rights_keep_nodes_apart_and_strangers_out(guarded_broker: int) -> None:
    assert reason(guarded_broker, "ohmstead", "wrong") not in (0, None)
    gateway, cellar, attic = (Visitor(guarded_broker, user) for user in ("ohmstead", "cellar", "attic"))
    for topic in (
        "ohm/home/node/attic/up/data",
        "ohm/home/node/attic/down/command",
        "MTEC/1/config/mode/set",
        "ohm/home/node/cellar/up/data",
    ):
        cellar.client.publish(topic, "x")
    wait_for(lambda: "ohm/home/node/cellar/up/data" in gateway.heard, 5, "what a node may say")
    assert gateway.heard == ["ohm/home/node/cellar/up/data"]
    gateway.client.publish("ohm/home/node/attic/down/command", "x")
    gateway.client.publish("ohm/home/node/cellar/down/ack", "x")
    wait_for(lambda: "ohm/home/node/cellar/down/ack" in cellar.heard and attic.heard, 5, "what the nodes may hear")
    assert attic.heard == ["ohm/home/node/attic/down/command"]
    assert "ohm/home/node/attic/down/command" not in cellar.heard
    for visitor in (gateway, cellar, attic):
        visitor.close()


@pytest.fixture
def image_builder() -> ModuleType:
    specification = importlib.util.spec_from_file_location("node_image", REPOSITORY / "images/node/build.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_node_image_is_the_same_bytes_twice_and_from_another_folder(image_builder: ModuleType, tmp_path: Path) -> None:
    first = image_builder.build(tmp_path / "first")
    second = image_builder.build(tmp_path / "somewhere" / "else")
    assert first == second
    names = [line.split("  ")[1] for line in first.splitlines()]
    assert {"main.py", "node.mpy", "hal_esp32.mpy", "commands.mpy"} <= set(names)
    assert not [name for name in names if "unix" in name], "the simulated machine does not go onto a board"
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "somewhere" / "else" / name).read_bytes()
    assert "= ohmnode.bus.Bus\n" in (tmp_path / "first.map").read_text(), "what a traceback's names were is told beside the image"


def test_the_image_imports_on_a_micropython_without_any_source(image_builder: ModuleType, tmp_path: Path, micropython: list[str]) -> None:
    image_builder.build(tmp_path / "image")
    (tmp_path / "image" / "main.py").rename(tmp_path / "main.py")
    parts = sorted(file.stem for file in (tmp_path / "image").glob("*.mpy") if file.stem != "hal_esp32")
    done = subprocess.run(
        [*micropython, "-c", f"import {', '.join(parts)}; print({len(parts)})"],
        env={"MICROPYPATH": f"{tmp_path / 'image'}:.frozen"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.strip() == str(len(parts)), done.stderr

"""A real Home Assistant: started on a folder of its own, spoken to over its REST and WebSocket APIs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.conftest import free_port, wait_for
from tests.ha.environment import hass

_ENTRY = "0123456789abcdef0123456789abcdef"
_CONFIGURATION = """\
homeassistant: {{name: Test, latitude: 50.1, longitude: 14.4, elevation: 200, unit_system: metric, currency: CZK, country: CZ,
                time_zone: Europe/Prague}}
http: {{server_host: 127.0.0.1, server_port: {port}}}
frontend:
logger: {{default: warning, logs: {{homeassistant.components.mqtt: info}}}}
"""
_START_S = 120.0
_COMPLAINT = re.compile(
    r"^\S+ \S+ (WARNING|ERROR|CRITICAL) \(\S+\) "
    r"\[homeassistant\.(components\.(mqtt|sensor|binary_sensor|number|select|switch)|helpers|core)\b"
)


def _mqtt_entry(broker_port: int) -> dict[str, Any]:
    """What a person makes with "Add integration: MQTT", as Home Assistant keeps it."""
    moment = "2025-04-01T00:00:00+00:00"
    entry: dict[str, Any] = {
        "created_at": moment, "modified_at": moment, "data": {"broker": "127.0.0.1", "port": broker_port}, "disabled_by": None,
        "discovery_keys": {}, "domain": "mqtt", "entry_id": _ENTRY, "minor_version": 2, "options": {}, "pref_disable_new_entities": False,
        "pref_disable_polling": False, "source": "user", "subentries": [], "title": "broker", "unique_id": None, "version": 1,
    }  # fmt: skip
    return {"version": 1, "minor_version": 5, "key": "core.config_entries", "data": {"entries": [entry]}}


class HomeAssistant:
    """Entered: running, set up, connected to the broker. Left: ended."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self._program = hass()
        self._folder = folder
        self._broker_port = broker_port
        self._port = free_port()
        self._output = folder / "hass.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._messages = 0
        self.base = f"http://127.0.0.1:{self._port}"
        self._http = httpx.Client(base_url=self.base, timeout=30)

    def __enter__(self) -> Self:
        storage = self._folder / ".storage"
        storage.mkdir(parents=True)
        (storage / "core.config_entries").write_text(json.dumps(_mqtt_entry(self._broker_port)))
        (self._folder / "configuration.yaml").write_text(_CONFIGURATION.format(port=self._port))
        with self._output.open("wb") as output:
            self._process = subprocess.Popen([self._program, "-c", self._folder, "--skip-pip"], stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_for(self._answers, _START_S, "Home Assistant")
            self._onboard()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._websocket.close()
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._http.close()

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            pytest.fail(f"Home Assistant ended with {self._process.returncode}: {self._output.read_text()[-2000:]}")
        try:
            return self._http.get("/api/onboarding").status_code == 200
        except httpx.TransportError:
            return False

    def _onboard(self) -> None:
        client = f"{self.base}/"
        owner = {"client_id": client, "name": "Test", "username": "test", "password": "test-only", "language": "en"}
        code = self._http.post("/api/onboarding/users", json=owner).raise_for_status().json()["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": client}
        token = self._http.post("/auth/token", data=grant).raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._websocket: ClientConnection = connect(f"ws://127.0.0.1:{self._port}/api/websocket", max_size=None)
        self._websocket.recv()
        self._websocket.send(json.dumps({"type": "auth", "access_token": token}))
        assert json.loads(self._websocket.recv())["type"] == "auth_ok"

    def _ask(self, **command: object) -> Any:
        self._messages += 1
        self._websocket.send(json.dumps({"id": self._messages, **command}))
        while True:
            answer = json.loads(self._websocket.recv(timeout=60))
            if answer.get("id") == self._messages:
                assert answer["success"], answer
                return answer["result"]

    def registered(self) -> list[dict[str, Any]]:
        """The MQTT entities of the registry, those that are disabled too."""
        return [entity for entity in self._ask(type="config/entity_registry/list") if entity["platform"] == "mqtt"]

    def devices(self) -> list[dict[str, Any]]:
        return list(self._ask(type="config/device_registry/list"))

    def enable_all(self) -> None:
        """Enables what is disabled by default, as an owner does, and reloads MQTT at once instead of in 30 s."""
        for entity in self.registered():
            if entity["disabled_by"] is not None:
                self._ask(type="config/entity_registry/update", entity_id=entity["entity_id"], disabled_by=None)
        self._http.post(f"/api/config/config_entries/entry/{_ENTRY}/reload").raise_for_status()

    def states(self) -> dict[str, dict[str, Any]]:
        """Entity id → state and attributes."""
        return {state["entity_id"]: state for state in self._http.get("/api/states").raise_for_status().json()}

    def call(self, domain: str, service: str, entity: str, **fields: object) -> None:
        self._http.post(f"/api/services/{domain}/{service}", json={"entity_id": entity, **fields}).raise_for_status()

    def complaints(self) -> list[str]:
        """What its MQTT component warned of, or whoever deals with the entities after it."""
        return [line for line in self._output.read_text(errors="replace").splitlines() if _COMPLAINT.match(line)]

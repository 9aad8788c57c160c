"""A simulated Shelly at a broker: answers RPC, tells what has changed, and has a last will."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from .shelly import Json, Shelly

_TURN_S = 0.05
_AGAIN_S = 0.2


class ShellyAtBroker:
    """Its MQTT side. Every `every` seconds it tells what of its status has changed, in `NotifyStatus`, unless it is 0. `silent`: it hears,
    and says nothing."""

    def __init__(self, shelly: Shelly, host: str, port: int = 1883, *, every: float = 0.0, keepalive: int = 60) -> None:
        self.shelly = shelly
        self.silent = False
        self._address = (host, port, keepalive)
        self._every = every
        self._told: Json = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Connects. Raises OSError where there is no broker."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.shelly.name)
        client.will_set(f"{self.shelly.name}/online", "false", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.connect(*self._address)
        self._ended.clear()
        self._thread = threading.Thread(target=self._live, args=(client,), name="shelly", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Power off: the broker tells its last will."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _live(self, client: paho.Client) -> None:
        due = time.monotonic() + self._every
        while not self._ended.is_set():
            if client.loop(_TURN_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._ended.wait(_AGAIN_S)
                with suppress(OSError):
                    client.reconnect()
            elif self._every and time.monotonic() >= due:
                due = time.monotonic() + self._every
                self._notify(client)
        socket = client.socket()
        if socket is not None:
            socket.close()  # without a farewell, as one that loses its power

    def _on_connect(self, client: paho.Client, _user: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        client.subscribe(f"{self.shelly.name}/rpc", qos=1)
        client.publish(f"{self.shelly.name}/online", "true", qos=1, retain=True)

    def _on_message(self, client: paho.Client, _user: Any, message: paho.MQTTMessage) -> None:
        try:
            question = json.loads(message.payload)
        except ValueError:
            return
        if isinstance(question, dict) and question.get("src") and not self.silent:
            client.publish(f"{question['src']}/rpc", json.dumps(self.shelly.answer(question)), qos=1)

    def _notify(self, client: paho.Client) -> None:
        """Only what is not as it was told last."""
        status = self.shelly.status()
        changed: Json = {}
        for component, state in status.items():
            before = self._told.get(component, {})
            different = {key: value for key, value in state.items() if before.get(key) != value}
            if ":" in component and different:
                changed[component] = {"id": state.get("id", 0)} | different
        if changed and not self.silent:
            self._told = status
            frame = {"src": self.shelly.name, "dst": f"{self.shelly.name}/events", "method": "NotifyStatus"}
            params = {"ts": round(time.time(), 2)} | changed
            client.publish(f"{self.shelly.name}/events/rpc", json.dumps(frame | {"params": params}), qos=1)

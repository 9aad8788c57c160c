"""Runs inside the environment of aiomtec2mqtt: its own decoding, formatting, discovery and command path on register images.

No connection is opened: the Modbus client answers from an image and notes writes, the MQTT client notes what is published.
One JSON job a line on standard input, one JSON answer a line on standard output:
`{"image": {address: word}, "repaired": bool}` → `{"messages": [[topic, payload, retain], …]}`;
`{"commands": [[topic, payload in latin-1], …]}` → `{"writes": [[[address, value], …], …]}`, one list for each command.

`repaired` gives its register list the two corrections that are ours (bit numbers instead of masks, signed battery temperatures),
so that everything else can be compared byte for byte.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import logging
import sys
from types import SimpleNamespace
from typing import Any

from aiomtec2mqtt import async_coordinator
from aiomtec2mqtt.const import RegisterGroup
from pymodbus.pdu.register_message import WriteSingleRegisterRequest

_SIGNED = ("33003", "33009", "33011")
_SENTINEL = 42405

_read_registers = functools.cache(async_coordinator.init_register_map)
async_coordinator.init_register_map = lambda: copy.deepcopy(_read_registers())  # parsed once, not for every image


class Inverter:
    """Stands for pymodbus's client, with its own check of what fits into a register."""

    def __init__(self) -> None:
        self.image: dict[int, int] = {}
        self.writes: list[tuple[int, int]] = []

    async def read_holding_registers(self, *, address: int, count: int, device_id: int) -> SimpleNamespace:
        words = [self.image.get(register, _SENTINEL) for register in range(address, address + count)]
        return SimpleNamespace(registers=words, isError=lambda: False)

    async def write_register(self, *, address: int, value: int, device_id: int) -> SimpleNamespace:
        WriteSingleRegisterRequest(address=address, registers=[value], dev_id=device_id).encode()
        self.writes.append((address, value))
        return SimpleNamespace(isError=lambda: False)


class Upstream:
    """A coordinator whose two clients are not connected to anything."""

    def __init__(self, repaired: bool = False) -> None:
        self.inverter = Inverter()
        self.messages: list[tuple[str, str, bool]] = []
        self.topics: set[str] = set()
        self.coordinator: Any = async_coordinator.AsyncMtecCoordinator()
        if repaired:
            for address, item in self.coordinator._register_map.items():
                if item["type"] == "BIT":
                    item["hass_value_items"] = {mask.bit_length() - 1: label for mask, label in item["hass_value_items"].items()}
                elif address in _SIGNED:
                    item["type"] = "I16"
        self.coordinator._modbus_client._client = self.inverter
        self.coordinator._mqtt_client.publish = self._publish
        self.coordinator._mqtt_client.subscribe = self._subscribe

    async def _publish(self, *, topic: str, payload: str, retain: bool = False, qos: int = 0) -> None:
        self.messages.append((topic, payload, retain))

    async def _subscribe(self, *, topic: str) -> None:
        self.topics.add(topic)

    async def poll(self, image: dict[int, int]) -> list[tuple[str, str, bool]]:
        """Everything it says about an image: discovery, then each group once."""
        self.inverter.image = image
        self.messages = []
        await self.coordinator._send_hass_discovery()
        for group in RegisterGroup:
            values = await self.coordinator._modbus_client.read_register_group(group_name=group)
            await self.coordinator._publish_register_data(data=values, group=group)
        return self.messages

    async def command(self, topic: str, payload: bytes) -> list[tuple[int, int]]:
        """What it writes when a message arrives, from its subscription to the register."""
        self.inverter.writes = []
        if topic not in self.topics:
            return []
        try:
            self.coordinator._on_mqtt_message(SimpleNamespace(topic=topic, payload=payload))
        except UnicodeDecodeError:  # its message loop reports any exception and goes on
            return []
        queue = self.coordinator._pending_write_queue
        while not queue.empty():
            name, value = queue.get_nowait()
            try:
                await self.coordinator._modbus_client.write_register_by_name(name=name, value=value)
            except Exception as error:  # noqa: BLE001 - its queue reports any exception and goes on
                sys.stderr.write(f"{name} = {value}: {error!r}\n")
        return self.inverter.writes


async def _main() -> None:
    listening: Upstream | None = None
    for line in sys.stdin:
        job = json.loads(line)
        image = {int(address): word for address, word in job.get("image", {}).items()}
        if "commands" not in job:
            messages = await Upstream(job["repaired"]).poll(image)
            answer: dict[str, Any] = {"messages": messages}
        else:
            if listening is None:
                listening = Upstream()
                await listening.poll(image)
            answer = {"writes": [await listening.command(topic, payload.encode("latin-1")) for topic, payload in job["commands"]]}
        sys.stdout.write(json.dumps(answer) + "\n")


logging.disable(logging.CRITICAL)
asyncio.run(_main())

"""A battery under the arbiter: its status on `ohm/<site>/device/<device>/arbiter` (retained JSON), and what Home Assistant needs to command
it.

Beside the controls themselves, which are entities of the device already: the mode, how long wishes last, the emergency stop, the reset, and
a sentence on each control. They are there as long as the gateway is, also while the device is away.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import ohmstead
from ohmcore.records import Decision
from ohmstead.control.arbitration import Arbitration
from ohmstead.control.document import document
from ohmstead.control.views import DeviceView, Status
from ohmstead.messages import Messenger
from ohmstead.publish.announcement import Announcement, Configuration, Discovery
from ohmstead.publish.commands import command_topic
from ohmstead.publish.home_assistant import bridge_topic
from ohmstead.publish.values import device_topic
from ohmstead.readings import Snapshot

AGAIN_S = 30.0
"""How often the status is published although nothing was decided: what is left of leases, ages."""

_LONGEST_STATE = 255
"""Characters; Home Assistant makes a longer state `unknown`."""


class BatteryTopic:
    """One battery. `discovery` None: no Home Assistant. `most_lease_s`: the longest that wishes may last."""

    def __init__(
        self,
        site: str,
        view: DeviceView,
        arbiter: Arbitration,
        messenger: Messenger,
        discovery: Discovery | None,
        most_lease_s: float,
    ) -> None:
        self._site = site
        self._view = view
        self._arbiter = arbiter
        self._messenger = messenger
        self._most_lease_s = most_lease_s
        self.status_topic = f"{device_topic(site, view.name)}/arbiter"
        self._id = f"{site}_{view.name}_arbiter"
        self.topic = "" if discovery is None else f"{discovery.prefix}/device/{self._id}/config"
        self._announcement = None if discovery is None else Announcement(messenger, discovery, self._configurations)
        self._due = 0.0
        self._said = ""

    def start(self) -> None:
        self._arbiter.subscribe(self._decided)
        self._messenger.on_connect(self._again)
        if self._announcement is not None:
            self._announcement.start()

    def take(self, snapshot: Snapshot) -> None:
        """Readings do not concern it: what follows from them is decided."""

    def tick(self, now: float) -> None:
        if self._announcement is not None:
            self._announcement.tick(now)
        if now >= self._due:
            self._due = now + AGAIN_S
            self._publish(self._arbiter.status(self._view.name))

    def close(self) -> None:
        """Nothing: the bridge says that nobody speaks."""

    def _again(self) -> None:
        self._said = ""
        self._due = 0.0

    def _decided(self, device: str, _decisions: Sequence[Decision], status: Status) -> None:
        if device == self._view.name:
            self._publish(status)

    def _publish(self, status: Status) -> None:
        if not self._messenger.connected:
            return
        text = json.dumps(document(self._view, status), ensure_ascii=False)
        if text != self._said:
            self._said = text
            self._messenger.publish(self.status_topic, text, retain=True)

    def _configurations(self) -> Sequence[Configuration]:
        body = {
            "dev": {"identifiers": [f"{self._site}_{self._view.name}"], "name": self._view.title},
            "o": {"name": "ohmstead", "sw_version": ohmstead.__version__},
            "availability": [{"topic": bridge_topic(self._site)}],
            "availability_mode": "all",
            "cmps": self._components(),
        }
        return [Configuration(self.topic, json.dumps(body, ensure_ascii=False))]

    def _components(self) -> dict[str, dict[str, object]]:
        components: dict[str, dict[str, object]] = {
            "stopped": {
                **self._entity("binary_sensor", "stopped", "Stopped", "{{ 'ON' if value_json.mode == 'stopped' else 'OFF' }}"),
                "device_class": "problem",
            },
            "author": self._entity("sensor", "mode_now", "Mode now", "{{ value_json.mode }}"),
        }
        for name, control in self._view.controls.items():
            template = f"{{{{ value_json.controls.{name}.reason[:{_LONGEST_STATE}] }}}}"
            components[f"{name}_why"] = self._entity("sensor", f"{name}_why", f"{control.title}: why", template)
        if self._view.read_only:
            return components
        known = "['auto', 'manual']"
        components["mode"] = {
            **self._command("select", "mode", "Mode", f"{{{{ value_json.mode if value_json.mode in {known} else none }}}}"),
            "options": ["auto", "manual"],
        }
        components["lease"] = {
            **self._command("number", "lease", "Wishes last", "{{ value_json.lease_min }}"),
            **{"min": 1, "max": max(self._most_lease_s // 60, 1), "step": 1, "mode": "box", "unit_of_measurement": "min"},
        }
        components["stop"] = {
            **self._command("switch", "stop", "Emergency stop", "{{ 1 if value_json.stop == 1 else 0 }}"),
            **{"payload_on": "1", "payload_off": "0", "state_on": "1", "state_off": "0", "retain": True},
        }
        reset = self._command("button", "reset", "Reset", "")
        components["reset"] = {key: part for key, part in reset.items() if not key.startswith(("state", "value"))} | {
            "payload_press": "reset"
        }
        return components

    def _entity(self, platform: str, key: str, name: str, template: str) -> dict[str, object]:
        return {
            "p": platform,
            "unique_id": f"{self._id}_{key}",
            "name": name,
            "state_topic": self.status_topic,
            "value_template": template,
            "entity_category": "diagnostic",
        }

    def _command(self, platform: str, key: str, name: str, template: str) -> dict[str, object]:
        entity = self._entity(platform, key, name, template)
        return entity | {"command_topic": command_topic(self._site, self._view.name, key), "entity_category": "config"}

"""Commands as plain text over MQTT: `ohm/<site>/device/<device>/<control or point>/set` takes what a person would say.

A retained message never commands; it is handed on as such and counted. Everything else is answered, names that nobody has and bytes
that are no text among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ohmstead.control.target import MAX_TEXT
from ohmstead.messages import Message, Messenger

AUTHOR = "mqtt"
_SET = "/set"


class Request(Protocol):
    """Takes a command as it came over MQTT. Validation, audit and rejection are behind it; it returns at once.

    `contract`: the text is in the words of an M-TEC contract, see `Target.raw_of`. `retained`: it is the copy that a broker kept, and
    must not be obeyed.
    """

    def __call__(self, device: str, control: str, text: str, author: str, *, contract: bool = False, retained: bool = False) -> None: ...


class ControlTopics:
    """Hands the text of each command to `request`."""

    def __init__(self, site: str, messenger: Messenger, request: Request) -> None:
        self._root = f"ohm/{site}/device/"
        self._messenger = messenger
        self._request = request

    def start(self) -> None:
        self._messenger.subscribe(f"{self._root}+/+{_SET}", self._take)

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            device, control = message.topic[len(self._root) : -len(_SET)].split("/")
            text = message.payload[: 4 * MAX_TEXT + 4].decode(errors="replace")
            self._request(device, control, text, AUTHOR, retained=message.retain)

"""Which handler gets which message: filters, handlers, and the fewest subscriptions that serve them all."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from ohmstead.messages import Handler, Message
from ohmstead.topics import disjoint, matches

log = structlog.get_logger(service="mqtt")

_CACHED_ROUTES = 10_000


class Router:
    """Handlers by topic filter. A handler gets a message once, however many of its filters match."""

    def __init__(self) -> None:
        self._handlers: list[tuple[str, Handler, int]] = []
        self._routes: dict[str, tuple[Handler, ...]] = {}

    def add(self, pattern: str, handler: Handler, qos: int) -> None:
        self._handlers.append((pattern, handler, qos))
        self._routes.clear()

    def subscriptions(self) -> dict[str, int]:
        """Filters that do not overlap, so that each message arrives once, and the QoS that the most demanding handler wants of each."""
        return {
            joined: max(qos for pattern, _, qos in self._handlers if disjoint([joined, pattern]) == [joined])
            for joined in disjoint(pattern for pattern, _, _ in self._handlers)
        }

    def hand_over(self, messages: Sequence[Message]) -> None:
        """Each handler gets what is for it as one batch, in the order of arrival."""
        batches: dict[Handler, list[Message]] = {}
        for message in messages:
            for handler in self._route(message.topic):
                batches.setdefault(handler, []).append(message)
        for handler, batch in batches.items():
            try:
                handler(batch)
            except Exception:  # whatever a handler makes of strange bytes, the others get theirs
                log.exception("a handler failed", topic=batch[0].topic, messages=len(batch))

    def _route(self, topic: str) -> tuple[Handler, ...]:
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= _CACHED_ROUTES:
                self._routes.clear()
            route = tuple(dict.fromkeys(handler for pattern, handler, _ in self._handlers if matches(pattern, topic)))
            self._routes[topic] = route
        return route

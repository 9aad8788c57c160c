"""Runs the gateway that `assembly` puts together, and takes it apart again.

Up: store, then everything that knows it, then broker connection and sources, the page last. Down, within five seconds: commands,
sources, the last commit and its acknowledgements, the publishers' goodbyes, the broker, the store.

A part that fails in a way it does not handle itself ends the process (orderly, exit code 1): whoever supervises it starts a
whole gateway again, which is better than a limping one.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

import structlog

import ohmstead
from ohmstead.assembly import Assembly
from ohmstead.clock import Clock
from ohmstead.config.model import Config
from ohmstead.control.dispatch import outcome_of
from ohmstead.errors import OhmsteadError, in_words
from ohmstead.lookup import Loop
from ohmstead.nodes.fleet import Event, ends_ownership
from ohmstead.sources.growatt_mqtt import GrowattMqtt
from ohmstead.tasks import asleep_until, end

log = structlog.get_logger(service="app")

_TICK_S = 1.0
_LAST_COMMIT_S = 1.5


def run(config: Config, make: Callable[[Config], Gateway] | None = None) -> int:
    """Runs a gateway, or what `make` makes in its place, until SIGTERM or SIGINT; the exit code. Logging is configured by then."""
    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            return runner.run(_run(config, make or Gateway))
    except OhmsteadError as error:
        log.critical("cannot start", reason=str(error))
        return 1


async def _run(config: Config, make: Callable[[Config], Gateway]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for ending in (signal.SIGTERM, signal.SIGINT):  # said explicitly: as PID 1 there is no default for them
        loop.add_signal_handler(ending, stop.set)
    return await make(config).run(stop)


class Gateway(Assembly):
    """One home's gateway. Construct and `run` it inside an event loop."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        """Opens the store. Raises StoreError."""
        super().__init__(config, clock)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop` is set (0) or a part fails (1)."""
        log.info("starting", version=ohmstead.__version__, site=self.config.site, devices=list(self.config.devices))
        code = 1
        web = None
        try:
            await self._start()
            web = await self._start_web()
            gc.collect()
            gc.freeze()  # what is here now stays: no need to look through it again and again
            code = await self._watch(stop)
        except OSError as error:
            log.critical("cannot start", reason=str(error))
        finally:
            await self._close(web)
        log.info("ended", exit_code=code)
        return code

    async def _start(self) -> None:
        await self.desk.start()
        await self.batteries.start()
        self.writer.start()
        self.ingest.on_event(self._on_node_event)
        self.ingest.start()
        for outlet in self.outlets:
            outlet.start()
        for device, taker in self.takers.items():  # before the first frame can come
            await taker.start()
            self._spawn(f"source-{device}", taker.run())
        self.commands.start()
        self.requests.start()
        if self.loxone is not None:
            await self.loxone.start()
        self._spawn("arbiter", self.batteries.run())
        self._spawn("mqtt", self.mqtt.run())
        for device, source in self.sources.items():
            if isinstance(source, GrowattMqtt):
                source.start()
            self._spawn(f"source-{device}", source.run())
        for device, guarded in self.guarded.items():
            self._spawn(f"guarded-{device}", guarded.run())
        if self.planning is not None:
            self._spawn("prices", self.planning.prices.run())
            self._spawn("plan", self.planning.planner.run())
        self._spawn("ticker", self._tick())

    async def _start_web(self) -> Any:
        """The page, if it is wanted. Its libraries are loaded here, when the broker and the devices are being called already, and in a
        thread, so that nobody's time-out ends meanwhile."""
        settings = self.config.web
        if not settings.enabled:
            return None
        await asyncio.to_thread(import_module, "ohmstead.web.api")
        from ohmstead.web.api import WebServer
        from ohmstead.web.control import Control

        control = Control(self.batteries.arbiter, self.entrance, self.store.trail, settings.token)
        web = WebServer(self.overview, settings.host, settings.port, control)
        try:
            web.listen()
        except OSError as error:
            advice = "end what listens there, or give another web.port or web.host"
            raise OSError(f"the page cannot have {settings.host}:{settings.port}: {in_words(error)}; {advice}") from error
        self._spawn("web", web.run())
        return web

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work, name=name))

    async def _watch(self, stop: asyncio.Event) -> int:
        """Waits for the end: asked for, or forced by a part that failed."""
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({stopping, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        failed = [task for task in done if task is not stopping]
        for task in failed:
            log.critical("a part failed, the gateway ends", part=task.get_name(), exc_info=task.exception())
        return 1 if failed else 0

    async def _tick(self) -> None:
        """Time passes for the publishers; devices that are known to be away are said to be.

        Full seconds of the loop's clock, as the sources have them: one wake-up does for both.
        """
        loop = asyncio.get_running_loop()
        while True:
            now = self.clock.mono()
            for device, outlets in self.devices.items():
                if outlets.values.online and self.overview.online(device) is False:
                    outlets.values.lost()
            for device, values in self.members.values():
                if values.online and self.overview.online(device) is False:
                    values.lost()
            for outlet in self.outlets:
                outlet.tick(now)
            self.desk.tick()
            self.batteries.tick(now)
            await asleep_until((loop.time() // _TICK_S + 1) * _TICK_S)

    def _on_node_event(self, event: Event) -> None:
        """A node's result finds the command that waits for it, or else its entry in the audit; what a node ended is nobody's any more."""
        self.batteries.tell(event, self.fleet.nodes[event.node].latched)
        if event.kind == "control" and ends_ownership(event.detail):
            self.desk.ended(event.device, str(event.detail.get("control")), str(event.detail.get("reason")), event.time)
        if event.kind != "result":
            return
        actuator = self.node_actuators.get(event.node)
        entry = event.detail.get("id")
        if actuator is not None and not actuator.result(event.detail) and isinstance(entry, int):
            self.desk.noted_late(entry, outcome_of(event.detail))

    async def _close(self, web: Any) -> None:
        """Takes the gateway apart in order; each step has its share of the five seconds."""
        log.info("ending")
        if web is not None:
            web.close()
        if self.loxone is not None:
            await self.loxone.close()
        await self.desk.close()
        await self.batteries.close()
        await self._ended("arbiter", _LAST_COMMIT_S)
        await self._cancel("source-", "guarded-", "ticker", "prices", "plan")
        for guarded in self.guarded.values():
            guarded.let_go()
        await asyncio.to_thread(self.writer.close, _LAST_COMMIT_S)
        await asyncio.sleep(0)  # the acknowledgements of the last commit come through the loop
        self.ingest.flush_acknowledgements()
        for outlet in self.outlets:
            outlet.close()
        await self._cancel("mqtt")
        await self.mqtt.close()
        await self._ended("web", 1.0)
        await self._cancel("")
        await self.notes.close(_LAST_COMMIT_S)
        await asyncio.to_thread(self.store.close)
        self._lock.release()

    async def _ended(self, name: str, seconds: float) -> None:
        """Gives a task that was told to end the time for it."""
        if ending := [task for task in self._tasks if task.get_name() == name]:
            await asyncio.wait(ending, timeout=seconds)

    async def _cancel(self, *prefixes: str) -> None:
        """Ends tasks by the beginning of their names."""
        ending = [task for task in self._tasks if task.get_name().startswith(prefixes)]
        await end(ending)
        self._tasks.difference_update(ending)

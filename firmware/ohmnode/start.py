"""What comes first: the configuration, and the large buffers while the memory is still in one piece. Then the node itself.

A node can be left for another one on the same buffers, the same boot id and the same numbers: that is how a new configuration begins.
"""

import asyncio
import gc

from ohmcore import const
from ohmnode import VERSION, configuration, slots
from ohmnode.configuration import ConfigurationError
from ohmnode.outbox import Outbox
from ohmnode.packets import Pipe
from ohmnode.spool import Spool

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal
    from ohmnode.node import Node

_RESEND_MS = const(15000)
_BAD_CONFIGURATION = const(78)  # EX_CONFIG of sysexits.h
_TIDY_BYTES = const(4096)
_FLASH_SPOOL = const(262144)
_SORT = (configuration.CURRENT, configuration.LAST_GOOD)


async def run(hal: "Hal") -> int:
    """The node with the configuration it finds. Without any it says so and, where there is nobody to give up to, stays up idle."""
    life = Life(hal, slots.running())
    lapsed = hal.remove(configuration.NEXT)  # the power went while it was being tried
    try:
        node = life.build(_SORT)
    except ConfigurationError as wrong:
        print(f"node: no configuration: {wrong}")
        while not hal.give_up(_BAD_CONFIGURATION):
            await asyncio.sleep_ms(1000)
            if life.slot and not slots.read(hal)[3]:
                hal.restart()  # an image that nothing has confirmed yet may be the reason
        return _BAD_CONFIGURATION
    life.begun()
    if lapsed:
        life.say("lapsed", "restarted before it was proven")
    while True:
        outcome = await node.run()
        del node  # before its successor needs the memory
        if outcome == "":
            hal.restart()
        elif not isinstance(outcome, str):
            return outcome
        elif outcome == configuration.NEXT:
            node = life.build((configuration.NEXT,) + _SORT)
            if life.configured.source == configuration.NEXT:
                life.say("trying", "")
            else:
                hal.remove(configuration.NEXT)
                life.say("refused", life.configured.complaint)
        else:
            hal.remove(configuration.NEXT)
            node = life.build(_SORT)
            life.say("reverted", "no connection")


class Life:
    """What stays while nodes come and go. `slot`: the image's, empty without slots."""

    configured: configuration.Configuration
    outbox: Outbox
    pipe: Pipe

    def __init__(self, hal: "Hal", slot: str) -> None:
        self.slot = slot
        self._hal = hal
        self._first = True

    def build(self, names: "tuple[str, ...]") -> "Node":
        """A node of the first of these configurations that makes one. Raises ConfigurationError when none is sound, else what the last
        one raised.
        """
        complaint = ""
        while True:
            gc.collect()
            configured = self.configured = configuration.load(self._hal, names)
            names = names[names.index(configured.source) + 1 :]
            if complaint:
                configured.complaint = f"{complaint}; {configured.complaint}"
            try:
                return self._node(configured)
            except (ConfigurationError, KeyError, TypeError, ValueError, AttributeError, IndexError, MemoryError) as wrong:
                if not names:
                    raise
                complaint = f"{configured.source} makes no node: {wrong!r}"

    def _node(self, configured: configuration.Configuration) -> "Node":
        hal = self._hal
        if self._first:
            size = configured.content["spool"]
            resend_ms = hal.setting("resend_ms", _RESEND_MS)
            resend_s = (resend_ms + resend_ms * hal.random(1)[0] // 1024) // 1000  # of many nodes each has its own
            self.outbox = Outbox(hal, Spool(size["frames"], size["bytes"], max(resend_s, 1)))
            self.outbox.use_flash(configured.content.get("flash_spool", _FLASH_SPOOL))
            self.pipe = Pipe()
            self._first = False

        # Loading code leaves garbage between what stays; collected often, it leaves no holes.
        gc.threshold(_TIDY_BYTES)
        from ohmnode.node import Node

        node = Node(hal, configured, self.outbox, self.pipe, self.slot)
        gc.collect()
        gc.threshold(-1)
        return node

    def begun(self) -> None:
        """Says that a life has begun."""
        hal = self._hal
        configured = self.configured
        outbox = self.outbox
        outbox.log("node", f"ohmstead node {VERSION} on {hal.name}, boot {outbox.boot}, configuration {configured.source} {self.slot}")
        cause = {"cause": hal.reset_cause(), "firmware": VERSION, "configuration": configured.source}
        if self.slot:
            cause["slot"] = self.slot
        if configured.complaint:
            outbox.log("node", f"not the current configuration: {configured.complaint}")
            cause["complaint"] = configured.complaint[:120]
        outbox.event("", "restart", cause)

    def say(self, stage: str, reason: str) -> None:
        """What became of a configuration that came over the air."""
        self.outbox.log("node", f"new configuration: {stage} {reason}")
        self.outbox.event("", "configuration", {"stage": stage, "reason": reason[:120], "hash": self.configured.fingerprint})

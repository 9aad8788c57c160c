"""What comes first: the configuration, and the large buffers while the memory is still in one piece. Then the node itself."""

import asyncio
import gc

from ohmcore import const
from ohmnode import configuration
from ohmnode.configuration import ConfigurationError
from ohmnode.outbox import Outbox
from ohmnode.packets import Pipe
from ohmnode.spool import Spool

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal

_RESEND_MS = const(15000)
_BAD_CONFIGURATION = const(78)  # EX_CONFIG of sysexits.h
_TIDY_BYTES = const(4096)


async def run(hal: "Hal") -> int:
    """The node with the configuration it finds. Without any it says so and, where there is nobody to give up to, stays up idle."""
    try:
        configured = configuration.load(hal)
    except ConfigurationError as wrong:
        print(f"node: no configuration: {wrong}")
        while not hal.give_up(_BAD_CONFIGURATION):
            await asyncio.sleep_ms(1000)
        return _BAD_CONFIGURATION
    size = configured.content["spool"]
    resend_ms = hal.setting("resend_ms", _RESEND_MS)
    resend_s = (resend_ms + resend_ms * hal.random(1)[0] // 1024) // 1000  # of many nodes each has its own
    outbox = Outbox(hal, Spool(size["frames"], size["bytes"], max(resend_s, 1)))
    pipe = Pipe()

    # Loading code leaves garbage between what stays; collected often, it leaves no holes.
    gc.threshold(_TIDY_BYTES)
    from ohmnode.node import Node

    node = Node(hal, configured, outbox, pipe)
    gc.collect()
    gc.threshold(-1)
    return await node.run()

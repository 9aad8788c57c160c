"""What comes first: the configuration, and the one large buffer while the memory is still in one piece. Then the node itself."""

import asyncio

from ohmnode import configuration
from ohmnode.configuration import ConfigurationError
from ohmnode.spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hal import Hal

_RESEND_MS = 15000
_BAD_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


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
    spool = Spool(size["frames"], size["bytes"], max(resend_s, 1))

    from ohmnode.node import Node

    return await Node(hal, configured, spool).run()

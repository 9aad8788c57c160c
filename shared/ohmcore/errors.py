"""What can go wrong on a bus and on the wire.

Every error of a bus names the counter it belongs to in the node's bus report.
"""

# By code, from 1 on.
_REFUSALS = (
    "illegal function|illegal data address|illegal data value|server device failure|acknowledge|server device busy||"
    "memory parity error||gateway path unavailable|gateway target device failed to respond"
)


class ModbusError(Exception):
    """A request that got no usable answer. `counter`: the counter of the bus report it belongs to."""

    counter = "wrong"


class ModbusTimeout(ModbusError):  # noqa: N818 - the name says what came, and is the field's word
    """Not one byte came."""

    counter = "no_answer"


class ModbusPartial(ModbusError):  # noqa: N818 - the name says what came, and is the field's word
    """The answer began and did not end."""

    counter = "partial"


class ModbusCrcError(ModbusError):
    """The answer is complete and its checksum is wrong."""

    counter = "crc"


class ModbusWrongReply(ModbusError):  # noqa: N818 - the name says what came, and is the field's word
    """A sound frame that does not answer this request: another unit, function, byte count, echo or transaction."""


class ModbusException(ModbusError):  # noqa: N818 - the name says what came, and is the field's word
    """The device understood the request and refused it (MODBUS application protocol V1.1b3, section 7).

    `function`: the request's function code. `code`: the exception code. `name`: the code in words.
    """

    counter = "exception"

    def __init__(self, function: int, code: int) -> None:
        names = _REFUSALS.split("|")
        self.function = function
        self.code = code
        self.name = (names[code - 1] if 0 < code <= len(names) else "") or "unknown"
        super().__init__(f"function {function} refused: {self.name} ({code})")


class FrameError(Exception):
    """A message of the node protocol that means nothing: the text says which field and why."""


class PackError(Exception):
    """MessagePack that does not fit, is broken or goes beyond a limit: the text says what and at which byte."""


class ConfigurationError(Exception):
    """A node can have no configuration; the text says what is wrong with each file."""

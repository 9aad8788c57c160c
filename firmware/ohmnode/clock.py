"""Time as the node knows it: milliseconds since it started. It needs no clock of the day."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hal import Hal


class Clock:
    """Counts on where the port's ticks wrap (every 2**30 ms on an ESP32). Ask it at least once in 2**29 ms."""

    def __init__(self, hal: "Hal") -> None:
        self._hal = hal
        self._last = hal.ticks_ms()
        self._ms = 0

    def uptime_ms(self) -> int:
        now = self._hal.ticks_ms()
        self._ms += self._hal.ticks_diff(now, self._last)
        self._last = now
        return self._ms

"""TLS around a socket. Loaded only by nodes that use it."""

import time

from ohmcore import const

try:
    import tls
except ImportError:  # in MicroPython 1.22 it has this name
    import ssl as tls  # type: ignore[no-redef] # the same by another name

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from hal import Socket

_COUNTER = "command.counter"  # as in `commands`
_SECONDS_1970_TO_2000 = const(946684800)
_MOST = 1 << 32  # s


def wrap(connection: "Socket", host: str, read: "Callable[[str], bytes | None]") -> "Socket":
    """The handshake happens with the first reads and writes. `read`: gives a file of the state directory; with `ca.der`, the certificate
    (DER) that the broker's must be signed by, it is verified.
    """
    authority = read("ca.der")
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.verify_mode = tls.CERT_NONE  # type: ignore[attr-defined] # the stub lacks it
    else:
        _advance_clock(read(_COUNTER))
        context.verify_mode = tls.CERT_REQUIRED  # type: ignore[attr-defined] # the stub lacks it
        context.load_verify_locations(authority)
    wrapped: "Socket" = context.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
    return wrapped


def _advance_clock(counter: "bytes | None") -> None:
    """A board's clock begins with 2000 when the power comes, and no certificate is valid then. It is later than the last command, whose
    number is at least the gateway's seconds since 1970.
    """
    try:
        from machine import RTC

        moment = int(counter or 0)
        if time.gmtime(0)[0] == 2000:  # the port's own epoch
            moment -= _SECONDS_1970_TO_2000
        if time.time() < moment < _MOST:
            date = time.gmtime(moment)
            RTC().datetime((date[0], date[1], date[2], date[6], date[3], date[4], date[5], 0))
    except ImportError:  # a machine whose clock somebody else sets
        return
    except (ValueError, OverflowError):  # a damaged counter, of which `commands` tells
        return

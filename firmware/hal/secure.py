"""TLS around a socket. Loaded only by nodes that use it."""

import tls

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Socket


def wrap(connection: "Socket", host: str, authority: "bytes | None") -> "Socket":
    """The handshake happens with the first reads and writes. `authority`: the certificate (DER) that the broker's must be signed by."""
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.verify_mode = tls.CERT_NONE  # type: ignore[attr-defined] # the stub lacks it
    else:
        context.verify_mode = tls.CERT_REQUIRED  # type: ignore[attr-defined] # the stub lacks it
        context.load_verify_locations(authority)
    wrapped: "Socket" = context.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
    return wrapped

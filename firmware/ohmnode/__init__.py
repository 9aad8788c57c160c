"""The node: reads the bus, keeps what it read until the gateway has it, and writes what an authorised gateway asks for."""

VERSION = "0.1.0"
LINKED = False
"""Whether this is the image, of which parts come and go (`overlay.py`). There the linker makes it true."""

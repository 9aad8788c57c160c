"""The node: reads the bus, keeps what it read until the gateway has it, and writes what an authorised gateway asks for."""

VERSION = "0.1.0"
FRAME = 1104
"""Bytes of the longest frame there can be; its buffers are as large where the configuration does not say."""

LINKED = False
"""Whether this is the image, of which parts come and go (`overlay.py`). There the linker makes it true."""

"""The node: reads the bus, keeps what it read until the gateway has it, and writes what an authorised gateway asks for."""

VERSION = "0.1.0"

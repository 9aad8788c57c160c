"""The gateway: readings get a meaning, a store, a voice; commands get an arbiter."""

__version__ = "0.1.0"

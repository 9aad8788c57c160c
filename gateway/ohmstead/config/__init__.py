"""The home's configuration: `ohmstead.yaml`, the environment, secrets."""

from ohmstead.config.device import DeviceConfig
from ohmstead.config.load import load, summary
from ohmstead.config.model import Config
from ohmstead.config.node import NodeConfig
from ohmstead.config.values import Via

__all__ = ["Config", "DeviceConfig", "NodeConfig", "Via", "load", "summary"]

"""The home's configuration: `ohmstead.yaml`, the environment, secrets."""

from ohmstead.config.load import load, summary
from ohmstead.config.model import Config, DeviceConfig, NodeConfig, Via

__all__ = ["Config", "DeviceConfig", "NodeConfig", "Via", "load", "summary"]

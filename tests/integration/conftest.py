"""What the tests of a node share: the node, somebody who listens to it as a gateway does, and the line it hangs on.

Each file has an `inverter` of its own, with the registers that its tests are about.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Broker
from tests.integration.node_harness import Gateway, Inverter, NodeProcess, line_of


@pytest.fixture
def bus(inverter: Inverter) -> Iterator[str]:
    """The path of a line on which the file's `inverter` is unit 252."""
    with line_of({252: inverter}) as line:
        yield line.path


@pytest.fixture
def gateway(broker: Broker) -> Iterator[Gateway]:
    """Listens to the node and acknowledges."""
    with Gateway(broker.host, broker.port) as listening:
        yield listening


@pytest.fixture
def node(micropython: list[str], tmp_path: Path) -> Iterator[NodeProcess]:
    """Not configured and not started; killed at the end."""
    process = NodeProcess(micropython, tmp_path)
    yield process
    process.kill()

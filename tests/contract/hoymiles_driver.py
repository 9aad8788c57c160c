"""Runs inside the environment of hoymiles-mqtt 0.11.0: its own decoding, sums, discovery and states of records, without DTU or broker.

One JSON job a line on standard input: `{"dtu": serial, "records": [hex of 40 bytes, …], "expire_after": seconds}`; one answer a line on
standard output: `{"messages": [[topic, payload], …]}`, discovery first.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hoymiles_modbus.client import HoymilesModbusTCP
from hoymiles_modbus.datatypes import InverterData
from hoymiles_mqtt import MI_ENTITIES, PORT_ENTITIES
from hoymiles_mqtt.ha import HassMqtt


class Recorded(HoymilesModbusTCP):  # type: ignore[misc]  # of another environment
    """Its client, with records in place of a connection."""

    def __init__(self, serial: str, records: list[str]) -> None:
        super().__init__("127.0.0.1")
        self._dtu_serial_number = serial
        self._records = [InverterData.unpack(bytes.fromhex(record)) for record in records]

    @property
    def inverters(self) -> list[Any]:
        return self._records


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        plant = Recorded(job["dtu"], job["records"]).plant_data
        builder = HassMqtt(MI_ENTITIES, PORT_ENTITIES, expire_after=job["expire_after"])
        messages = [*builder.get_configs(plant), *builder.get_states(plant)]
        print(json.dumps({"messages": messages}), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()

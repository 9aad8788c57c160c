"""`ohmstead run --dry-run` at a whole home: it reads and shows, and neither the broker nor the inverter nor the disk notices."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessageInfo

from tests.conftest import Broker, wait_for
from tests.processes import OHMSTEAD, Ear, Inverter

HOME = """
site: test
mqtt: {{url: "mqtt://127.0.0.1:{broker}", client_id: gateway}}
store: {{path: test.db}}
web: {{port: {web}}}
log: {{format: json, file: test.log}}
loxone: {{udp_out: {{host: 127.0.0.1, port: {udp}, topics: ["MTEC/#"]}}}}
nodes:
  cellar: {{bus: {{port: /dev/ttyUSB0}}, key: "{key}"}}
devices:
  mtec: {{profile: mtec-energybutler, via: "tcp://127.0.0.1:{modbus}", every: 200 ms, points: {{pv: {{above: 1}}}}}}
  growatt: {{profile: growatt-sph, via: cellar, rated: 5 kW}}
  garage: {{profile: growatt-sph, via: "growatt-mqtt:energy/solar", rated: 5 kW}}
"""


def said(client: Client, topic: str, payload: str, retain: bool = False) -> None:
    sent: MQTTMessageInfo = client.publish(topic, payload, qos=1, retain=retain)
    sent.wait_for_publish(20)


def test_it_reads_and_shows_and_nobody_notices(tmp_path: Path, broker: Broker, goldens: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    hears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    hears.bind(("127.0.0.1", 0))
    hears.setblocking(False)
    file = tmp_path / "ohmstead.yaml"
    with Inverter(goldens) as inverter, Ear(broker) as ear:
        text = HOME.format(broker=broker.port, web=taken.getsockname()[1], udp=hears.getsockname()[1], key="00" * 32, modbus=inverter.port)
        file.write_text(text)
        said(ear.client, "homeassistant/device/test_attic/config", '{"availability": [{"topic": "ohm/test/bridge/online"}]}', retain=True)
        said(ear.client, "energy/solar", '{"InverterStatus": 1, "SOC": 50}')
        ours = len(ear.heard)
        shown = tmp_path / "shown"
        complained = tmp_path / "complained"
        with shown.open("wb") as out, complained.open("wb") as err:
            process = subprocess.Popen([*OHMSTEAD, "run", "--dry-run", "-c", str(file)], stdout=out, stderr=err)
        try:
            wait_for(lambda: shown.read_text().count("\n") >= 15, 40, f"readings; {complained.read_text()[-2000:]}")
            wait_for(lambda: '"event": "connected"' in complained.read_text(), 20, "the broker")
            for topic in ("ohm/test/device/mtec/grid_inject_limit/set", "ohm/test/device/garage/charge/set", "energy/solar"):
                said(ear.client, topic, "50")
            lines = shown.read_text().count("\n")
            wait_for(lambda: shown.read_text().count("\n") >= lines + 10, 20, "more readings")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
        wait_for(lambda: len(ear.heard) >= ours + 3, 20, "what the test itself published")
        assert [topic for topic, _ in ear.heard[ours:]] == [
            "ohm/test/device/mtec/grid_inject_limit/set",
            "ohm/test/device/garage/charge/set",
            "energy/solar",
        ]
        assert inverter.image.writes == []
    log = complained.read_text()
    assert "no page: another program has its port" in log
    assert "nothing was published and nothing written" in log
    assert '"level": "error"' not in log
    first = shown.read_text().splitlines()[0]
    assert " mtec " in first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["complained", "mosquitto.conf", "ohmstead.yaml", "shown"]
    try:
        hears.recv(100)
    except BlockingIOError:
        pass
    else:
        raise AssertionError("something went out by UDP")
    hears.close()
    taken.close()

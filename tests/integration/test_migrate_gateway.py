"""A home that has moved in: the gateway on what `ohmstead migrate` wrote says on the same topics what the former services said."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

from ohmstead.sim.hoymiles import Dtu
from tests.conftest import Broker, free_port, wait_for
from tests.processes import OHMSTEAD, Ear, Inverter


def recorded(path: Path) -> dict[str, str]:
    """Topic → the last message on it."""
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    return {message["topic"]: message["payload"] for message in messages}


def unique_id(payload: str | bytes | None) -> str:
    return str(json.loads(payload or "{}").get("unique_id", ""))


def test_it_speaks_as_the_former_services_did(goldens: Path, tmp_path: Path, broker: Broker) -> None:
    image = {int(address): word for address, word in json.loads((goldens / "hoymiles" / "image_A1.json").read_text()).items()}
    readings = free_port()
    with Inverter(goldens) as inverter, Dtu(image=image).in_thread() as dtu, Ear(broker) as ear:
        (tmp_path / "config.yaml").write_text(
            f"MODBUS_IP: 127.0.0.1\nMODBUS_PORT: {inverter.port}\nMODBUS_SLAVE: 255\nMODBUS_FRAMER: socket\nMODBUS_TIMEOUT: 5\n"
            f"MQTT_SERVER: 127.0.0.1\nMQTT_PORT: {broker.port}\nMQTT_LOGIN: me\nMQTT_PASSWORD: 0815\nHASS_ENABLE: True\nREFRESH_NOW: 1\n"
        )
        (tmp_path / "hoymiles.env").write_text(
            f"MQTT_BROKER=127.0.0.1\nMQTT_PORT={broker.port}\nDTU_HOST=127.0.0.1\nDTU_PORT={dtu.port}\nQUERY_PERIOD=2\nHEALTH_PORT={free_port()}\n"
        )
        (tmp_path / "loxone.env").write_text(
            f"MQTT_BROKER=127.0.0.1\nMQTT_PORT={broker.port}\nUDP_LISTENER_HOST=127.0.0.1\nUDP_LISTENER_PORT={readings}\n"
            "MQTT_BRIDGE_ENABLED=false\nWEATHER_SCRAPER_ENABLED=false\nGROWATT_CONTROLLER_ENABLED=false\n"
        )
        files = [str(tmp_path / name) for name in ("config.yaml", "hoymiles.env", "loxone.env")]
        home = tmp_path / "ohmstead.yaml"
        moved = subprocess.run([*OHMSTEAD, "migrate", *files, "-o", str(home)], capture_output=True, text=True, timeout=60)
        assert moved.returncode == 0, moved.stderr
        log = tmp_path / "gateway.log"
        with log.open("wb") as out:
            gateway = subprocess.Popen([*OHMSTEAD, "run", "-c", str(home)], stdout=out, stderr=out)
        try:
            mtec = {topic: said for topic, said in recorded(goldens / "mtec" / "golden_A.jsonl").items() if not topic.endswith("/lwt")}
            former = mtec | recorded(goldens / "hoymiles" / "golden_A.jsonl")
            wait_for(lambda: not former.keys() - {topic for topic, _ in ear.heard}, 60, "all of their topics")
            for topic, said in former.items():
                if topic.endswith("/config"):
                    assert unique_id(ear.last(topic)) == unique_id(said), topic
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as miniserver:
                miniserver.sendto(b"2026-06-20 13:05:09;temperature;21.5;attic", ("127.0.0.1", readings))
            wait_for(lambda: ear.last("loxone/status") is not None, what="the Miniserver's reading")
        finally:
            gateway.terminate()
            assert gateway.wait(30) == 0

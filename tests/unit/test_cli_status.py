"""`ohmstead status`: what it says of devices that are well, old, away."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ohmstead.cli.status import age, status, table
from tests.conftest import free_port

DEVICE: dict[str, Any] = {"name": "mtec", "state": "ok", "age": 2.0, "via": "node cellar", "flow": None}
NOW: dict[str, Any] = {"devices": [DEVICE], "nodes": [], "broker": True, "store": {"healthy": True, "trouble": ""}, "alerts": []}


def lines(stats: dict[str, Any] | None = None, **device: Any) -> list[str]:
    return list(table({**NOW, "devices": [{**DEVICE, **device}]}, {"devices": {"mtec": stats or {}}}))


def test_what_is_well_says_its_figures_and_its_errors() -> None:
    flow = {"soc": 61.2, "grid": 2040.0, "pv": 3400.0}
    head, row = lines({"bus": {"requests": 17280, "no_answer": 2, "crc": 1}}, flow=flow)
    assert head.split() == ["device", "state", "age", "battery", "grid", "sun", "way"]
    assert row == "mtec    ok     2 s  61 %     +2.0 kW  3.4 kW  node cellar  3 errors in 17,280"


def test_what_is_old_or_unknown_has_no_figures() -> None:
    _, row = lines({"trouble": "connection refused"}, state="stale", age=250.0, flow={"soc": 61.2, "grid": None, "pv": 1.0})
    assert row == "mtec    stale  4 min  –        –     –    node cellar: connection refused"
    _, row = lines(state="waiting", age=None)
    assert row.split() == ["mtec", "waiting", "–", "–", "–", "–", "node", "cellar"]


def test_what_is_wrong_with_the_house_is_told_below() -> None:
    node = {"name": "cellar", "online": False, "age": 7300.0, "latched": True, "tripped": "temperature"}
    store = {"healthy": False, "trouble": "disk full"}
    alerts = ["Roof: PV power is above 9800 W"]
    said = list(table({**NOW, "nodes": [node], "broker": False, "store": store, "alerts": alerts}, {"devices": {}}))
    assert said[2:] == [
        "node cellar: offline, heard 2 h ago, stopped (temperature)",
        "the broker is away",
        "nothing is stored: disk full",
        "alert: Roof: PV power is above 9800 W",
    ]


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (7200, "2 h"), (200000, "2 d")])
def test_ages(seconds: float, said: str) -> None:
    assert age(seconds) == said


def test_without_a_gateway_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ohmstead.yaml"
    path.write_text(f"web: {{port: {free_port()}}}\ndevices: {{m: {{profile: mtec-energybutler, via: tcp://192.0.2.1}}}}\n")
    result = CliRunner().invoke(status, ["-c", str(path)])
    assert result.exit_code == 1
    assert "no gateway answers" in result.stderr


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port at which each request is answered with these octets."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def body(said: object) -> bytes:
    coded = json.dumps(said).encode()
    return b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(coded), coded)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (b"+OK POP3 server ready\r\n", 1, "no gateway answers"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 90\r\n\r\n{", 1, "no gateway answers"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", 1, "no gateway answers"),
        (body([]), 1, "is no gateway"),
        (body({"devices": {}}), 1, "is no gateway"),
    ],
)
def test_whatever_answers_there_has_a_word_and_an_exit_code(tmp_path: Path, answer: bytes, code: int, said: str) -> None:
    with answering(answer) as port:
        path = tmp_path / "ohmstead.yaml"
        path.write_text(f"web: {{port: {port}}}\ndevices: {{m: {{profile: mtec-energybutler, via: tcp://192.0.2.1}}}}\n")
        result = CliRunner().invoke(status, ["-c", str(path)])
    assert result.exit_code == code, result.output
    assert said in result.stderr


def test_the_exit_code_is_that_of_the_worst_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ohmstead.yaml"
    path.write_text("devices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.1}}\n")
    for state, healthy, code in (("ok", True, 0), ("waiting", True, 0), ("stale", True, 1), ("offline", True, 1), ("ok", False, 1)):
        now = {**NOW, "devices": [{**DEVICE, "state": state}], "store": {"healthy": healthy, "trouble": "full"}}
        answers = {"/api/now": now, "/api/stats": {"devices": {}}}
        monkeypatch.setattr("ohmstead.cli.status._asked", lambda _host, _port, path, answers=answers: answers[path])
        assert CliRunner().invoke(status, ["-c", str(path)]).exit_code == code, state


def test_trouble_is_told_once_not_of_all_that_is_behind_it() -> None:
    _, row = lines({"trouble": "connection refused"}, state="offline", parent="roof")
    assert "connection refused" not in row


@pytest.mark.parametrize(
    ("site", "running", "said"),
    [
        ("chalet", ["mtec"], "is another one (site chalet, mtec), not that of"),
        ("home", ["roof", "mains"], "is another one (site home, mains, roof), not that of"),
        ("home", ["mtec", "roof"], "has changed since it was started (roof): start it anew"),
        ("home", ["mtec", "roof behind"], ""),
    ],
)
def test_what_is_asked_is_the_gateway_of_this_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, running: list[str], said: str
) -> None:
    path = tmp_path / "ohmstead.yaml"
    path.write_text("devices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.1}}\n")
    devices = [{**DEVICE, "name": name, "parent": "mtec" if "behind" in name else None} for name in running]
    answers = {"/api/now": {**NOW, "site": site, "devices": devices}, "/api/stats": {"devices": {}}}
    monkeypatch.setattr("ohmstead.cli.status._asked", lambda _host, _port, path: answers[path])
    result = CliRunner().invoke(status, ["-c", str(path)])
    assert result.exit_code == (1 if said else 0)
    assert said in result.stderr
    assert ("way" in result.stdout) is ("another one" not in said)

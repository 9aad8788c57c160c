"""`ohmstead vicare login`, `ohmstead check` and `ohmstead simulate vicare`, as people use them."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from ohmstead.cli import main
from ohmstead.sim.vicare import CLIENT_ID, Kindness, ViessmannCloud
from ohmstead.sources.vicare_login import Endpoints, Flow
from ohmstead.sources.vicare_token import TokenFile
from tests.conftest import free_port


@pytest.fixture
def cloud() -> Iterator[ViessmannCloud]:
    one = ViessmannCloud().start()
    yield one
    one.stop()


def configuration(folder: Path, device: str) -> Path:
    path = folder / "ohmstead.yaml"
    path.write_text(f"mqtt: {{url: mqtt://127.0.0.1:1883}}\ndevices:\n  heating: {{{device}}}\n")
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def account(cloud: ViessmannCloud) -> str:
    return f'source: vicare, client_id: {CLIENT_ID}, cloud: "{cloud.url}"'


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[Flow]:
    """Each attempt that was begun: what a person reads off the terminal."""
    begun: list[Flow] = []
    begin = Flow.begin

    def remembered(client_id: str, redirect: str) -> Flow:
        begun.append(begin(client_id, redirect))
        return begun[-1]

    monkeypatch.setattr(Flow, "begin", remembered)
    return begun


def open_at(redirect: str) -> None:
    """Returns when the command listens; meanwhile the browser asks for the page's icon."""
    deadline = time.monotonic() + 30
    while True:
        try:
            assert requests.get(f"{redirect}favicon.ico", timeout=30).status_code == 404
        except requests.ConnectionError:
            assert time.monotonic() < deadline, "nobody listens"
        else:
            return


class Terminal:
    """`ohmstead vicare login` in a thread of its own."""

    def __init__(self, path: Path, redirect: str, *more: str) -> None:
        self.result: Result | None = None
        self._thread = threading.Thread(target=self._run, args=("vicare", "login", "-c", str(path), "--redirect", redirect, *more))
        self._thread.start()

    def _run(self, *words: str) -> None:
        self.result = run(*words)

    def end(self) -> Result:
        self._thread.join(60)
        assert self.result is not None
        return self.result


def test_the_browser_comes_back_and_the_token_is_kept(cloud: ViessmannCloud, tmp_path: Path, attempts: list[Flow]) -> None:
    redirect = f"http://localhost:{free_port()}/"
    terminal = Terminal(configuration(tmp_path, account(cloud)), redirect)
    open_at(redirect)
    page = requests.get(attempts[0].address(Endpoints.of(cloud.url)), timeout=30)
    result = terminal.end()
    assert page.text == "Done. The gateway may read this account; this window can be closed."
    assert result.exit_code == 0
    assert attempts[0].address(Endpoints.of(cloud.url)) in result.output
    token = TokenFile(tmp_path / "vicare-heating.json").read()
    assert token is not None
    assert token.access not in result.output
    assert (tmp_path / "vicare-heating.json").stat().st_mode & 0o777 == 0o600
    assert cloud.logins == 0


def test_the_browser_of_somebody_else_is_refused(cloud: ViessmannCloud, tmp_path: Path, attempts: list[Flow]) -> None:
    redirect = f"http://localhost:{free_port()}/"
    terminal = Terminal(configuration(tmp_path, account(cloud)), redirect)
    open_at(redirect)
    page = requests.get(f"{redirect}?code=code-1&state=guessed", timeout=30)
    result = terminal.end()
    assert page.status_code == 400
    assert result.exit_code == 1
    assert "another attempt" in result.stderr
    assert not (tmp_path / "vicare-heating.json").exists()


def test_nobody_comes_back(cloud: ViessmannCloud, tmp_path: Path) -> None:
    result = Terminal(configuration(tmp_path, account(cloud)), f"http://localhost:{free_port()}/", "--wait", "1").end()
    assert result.exit_code == 1
    assert "no browser came back within 1 s" in result.stderr


class Answers:
    """A person who copies what the browser shows."""

    def __init__(self, attempts: list[Flow], cloud: ViessmannCloud, changed: str = "") -> None:
        self._attempts = attempts
        self._cloud = cloud
        self._changed = changed

    def __call__(self, _text: str, **_options: object) -> str:
        sent = requests.get(self._attempts[-1].address(Endpoints.of(self._cloud.url)), allow_redirects=False, timeout=30)
        return self._changed or sent.headers["Location"]


def test_the_address_can_be_copied_from_another_computer(
    cloud: ViessmannCloud, tmp_path: Path, attempts: list[Flow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.prompt", Answers(attempts, cloud))
    path = configuration(tmp_path, account(cloud) + ", token_path: tokens/mine.json")
    result = run("vicare", "login", "heating", "-c", str(path), "--paste", "--redirect", "vicare://oauth-callback/everest")
    assert result.exit_code == 0, result.output
    assert TokenFile(tmp_path / "tokens/mine.json").read() is not None


def test_what_was_copied_wrongly_is_said(
    cloud: ViessmannCloud, tmp_path: Path, attempts: list[Flow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.prompt", Answers(attempts, cloud, changed="http://localhost:4200/"))
    result = run("vicare", "login", "-c", str(configuration(tmp_path, account(cloud))), "--paste")
    assert result.exit_code == 1
    assert "no code in this address" in result.stderr


def test_a_cloud_that_is_down_is_said(cloud: ViessmannCloud, tmp_path: Path, attempts: list[Flow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.prompt", Answers(attempts, cloud))
    answer = Answers.__call__

    def then_down(self: Answers, text: str, **options: object) -> str:
        sent = answer(self, text, **options)
        cloud.be(Kindness.HTML)
        return sent

    monkeypatch.setattr(Answers, "__call__", then_down)
    result = run("vicare", "login", "-c", str(configuration(tmp_path, account(cloud))), "--paste")
    assert result.exit_code == 1
    assert "HTTP 502" in result.stderr
    assert not (tmp_path / "vicare-heating.json").exists()


def test_without_an_account_there_is_advice(tmp_path: Path) -> None:
    path = tmp_path / "ohmstead.yaml"
    path.write_text("mqtt: {url: mqtt://127.0.0.1:1883}\ndevices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}}\n")
    result = run("vicare", "login", "-c", str(path))
    assert result.exit_code == 2
    assert "source: vicare" in result.stderr
    other = run("vicare", "login", "cellar", "-c", str(configuration(tmp_path, f"source: vicare, client_id: {CLIENT_ID}")))
    assert other.exit_code == 2
    assert "'cellar' is no Viessmann account; there is heating" in other.stderr


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("source: vicare", "client_id"),
        ("source: vicare, client_id: c, user: me@example.org", "give both `user` and `password`"),
        ("source: vicare, client_id: c, every: 30 s", "at least 66 s"),
        ("source: vicare, client_id: c, every: 60 s, requests: {day: 3000, margin: 60 %}", "at least 72 s"),
        ("source: vicare, client_id: c, stale: 10 min", "nothing would ever be fresh"),
        ("source: vicare, client_id: c, cloud: 127.0.0.1", "begins with https:// or http://"),
        ("source: vicare, client_id: c, requests: {margin: 95 %}", "from 0 to 90 %"),
    ],
)
def test_check_says_what_does_not_fit(tmp_path: Path, device: str, said: str) -> None:
    result = run("check", str(configuration(tmp_path, device)))
    assert result.exit_code == 2
    assert "ohmstead.yaml:3" in result.stderr
    assert said in result.stderr


@pytest.mark.parametrize(
    "device",
    [
        "source: vicare, client_id: c",
        "source: vicare, client_id: c, user: me@example.org, password: 1234, every: 10 min, requests: {day: 3000}, stale: 3 h",
        "source: vicare, client_id: c, points: {outside_temperature: {name: Outside, below: -10}, circuit_1_name: {shown: never}}",
    ],
)
def test_check_takes_what_fits(tmp_path: Path, device: str) -> None:
    result = run("check", str(configuration(tmp_path, device)))
    assert result.exit_code == 0, result.output


def test_the_simulated_cloud_says_how_it_is_configured(tmp_path: Path) -> None:
    help_text = run("simulate", "vicare", "--help").output
    assert "ohmstead simulate vicare --unkind limit" in help_text
    (tmp_path / "answer.json").write_text("[]")
    wrong = run("simulate", "vicare", "--answer", str(tmp_path / "answer.json"))
    assert wrong.exit_code == 2
    assert "no recorded answer" in wrong.stderr


@pytest.mark.parametrize("redirect", ["http://localhost:abc/", "http://localhost:99999/", "http://localhost:0/", "http://[x/"])
def test_a_redirect_that_is_no_address_is_said(cloud: ViessmannCloud, tmp_path: Path, redirect: str) -> None:
    result = run("vicare", "login", "-c", str(configuration(tmp_path, account(cloud))), "--redirect", redirect)
    assert result.exit_code == 1
    assert "http://localhost:4200/" in result.stderr


def test_what_is_no_address_at_all_is_said(cloud: ViessmannCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.prompt", lambda *_args, **_options: "http://[x?code=1")
    result = run("vicare", "login", "-c", str(configuration(tmp_path, account(cloud))), "--paste")
    assert result.exit_code == 1
    assert "no code in this address" in result.stderr


def test_a_browser_that_does_not_stay_for_the_page_has_been_there(cloud: ViessmannCloud, tmp_path: Path, attempts: list[Flow]) -> None:
    port = free_port()
    terminal = Terminal(configuration(tmp_path, account(cloud)), f"http://localhost:{port}/", "--wait", "60")
    open_at(f"http://localhost:{port}/")
    back = requests.get(attempts[0].address(Endpoints.of(cloud.url)), allow_redirects=False, timeout=30).headers["Location"]
    with socket.create_connection(("127.0.0.1", port), 30) as browser:
        browser.sendall(f"GET /{back.partition('/?')[2].join(('?', ''))} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert terminal.end().exit_code == 0
    assert TokenFile(tmp_path / "vicare-heating.json").read() is not None

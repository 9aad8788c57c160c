"""The two ways to a Shelly's RPC: HTTP with digest authentication, and a broker.

Sources: Shelly Gen2+ API, "RPC Protocol", "RPC Channels", "Authentication" (RFC 7616 with SHA-256, user `admin`; not over MQTT) and "MQTT".
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ohmstead.errors import NoAnswer, Refused, Unauthorised, Unreachable, WrongAnswer
from ohmstead.messages import Message, Messenger
from ohmstead.sources.http_errors import meant

if TYPE_CHECKING:
    import httpx

USER = "admin"
"""The only user a Shelly has."""

_MOST_BYTES = 65_536
_SURROGATE = b"\\ud"
_UNAUTHORISED = (401, 403)

Notified = Callable[[Mapping[str, Any]], None]
"""Takes what a device says by itself: component → what of its status has changed."""


class Channel(Protocol):
    """A way to one device. `address` is said to people."""

    address: str

    def start(self, notified: Notified) -> None:
        """Before the first call; listens where the device speaks by itself."""
        ...

    async def call(self, method: str) -> Mapping[str, Any]:
        """The result of an RPC without parameters. Raises SourceError."""
        ...

    async def close(self) -> None: ...


def result_of(frame: object, identity: int, address: str) -> Mapping[str, Any]:
    """The result in the answer to request `identity`. Raises Refused, Unauthorised, WrongAnswer."""
    if not isinstance(frame, dict) or frame.get("id") != identity:
        raise WrongAnswer(f"{address} answered something else than what was asked for")
    error = frame.get("error")
    if isinstance(error, dict):
        code, message = error.get("code"), str(error.get("message", ""))[:200]
        status = code if isinstance(code, int) else 0
        if status in _UNAUTHORISED:
            raise Unauthorised(f"{address} does not take the password: say the device's own as `password_file`", status)
        raise Refused(f"{address} refused: {message or 'no reason'} ({status})", status)
    result = frame.get("result")
    if not isinstance(result, dict):
        raise WrongAnswer(f"{address} answered without a result")
    return result


def parsed(octets: bytes, address: str) -> object:
    """What a frame says. Raises WrongAnswer for what is no JSON, or too long."""
    if len(octets) > _MOST_BYTES:
        raise WrongAnswer(f"{address} answered with more than {_MOST_BYTES} bytes")
    try:
        said: object = json.loads(octets)
        if _SURROGATE in octets.lower():
            json.dumps(said, ensure_ascii=False).encode()  # half a character is none, and cannot be passed on
    except (ValueError, RecursionError) as error:
        raise WrongAnswer(f"{address} answered something that is no JSON: {octets[:40]!r}") from error
    return said


class HttpChannel:
    """RPC over HTTP, a connection for each call: between two polls the device may have been restarted.

    `timeout_s` is for connecting, and for each piece of the answer.
    """

    def __init__(self, host: str, port: int = 80, password: str | None = None, *, timeout_s: float = 5.0) -> None:
        self.address = host if port == 80 else f"{host}:{port}"
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{port}/rpc"
        self._password = password
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None
        self._identity = 0

    def start(self, notified: Notified) -> None:
        """Over HTTP a Shelly says nothing by itself."""

    async def call(self, method: str) -> Mapping[str, Any]:
        import httpx  # a home without a Shelly does not pay for it

        self._identity += 1
        client = self._client = self._client or self._made()
        question = {"id": self._identity, "src": "ohmstead", "method": method}
        try:
            async with client.stream("POST", self._url, json=question) as response:
                octets = b""
                async for piece in response.aiter_bytes():
                    octets += piece
                    if len(octets) > _MOST_BYTES:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise meant(error, self.address, self._timeout_s) from error
        except (ValueError, KeyError, NotImplementedError) as error:  # httpx, of a challenge that it does not understand
            raise WrongAnswer(f"{self.address} asks for the password in a way that is not known here: {error!r}") from error
        self._check(response.status_code)
        return result_of(parsed(octets, self.address), self._identity, self.address)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _made(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(
            auth=httpx.DigestAuth(USER, self._password) if self._password else None,
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
            trust_env=False,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # plain HTTP only: spares the file of authorities
        )

    def _check(self, status: int) -> None:
        if status in _UNAUTHORISED:
            advice = "does not take the password" if self._password else "wants a password"
            raise Unauthorised(f"{self.address} {advice}: say the device's own as `password_file`", status)
        if status == 404:
            raise Refused(f"{self.address} knows no RPC (404): is it a Shelly of the second generation or later?", status)
        if status != 200:
            raise Refused(f"{self.address} answered with HTTP {status}", status)


class MqttChannel:
    """RPC over a broker: requests go to `<prefix>/rpc`, answers come on `<source>/rpc`, what the device says by itself on
    `<prefix>/events/rpc`. `<prefix>/online` is retained and `false` is the device's last will."""

    def __init__(self, prefix: str, messenger: Messenger, source: str, *, timeout_s: float = 5.0) -> None:
        self.address = prefix
        self.online: bool | None = None
        """As the device says; None while it has said nothing."""
        self._messenger = messenger
        self._source = source
        self._timeout_s = timeout_s
        self._identity = secrets.randbits(31)
        self._waiting: dict[int, asyncio.Future[object]] = {}
        self._notified: Notified | None = None
        self._arrived = asyncio.Event()

    def start(self, notified: Notified) -> None:
        self._notified = notified
        self._messenger.on_connect(self._arrived.set)
        self._messenger.subscribe(f"{self._source}/rpc", self._take_answers)
        self._messenger.subscribe(f"{self.address}/events/rpc", self._take_events)
        self._messenger.subscribe(f"{self.address}/online", self._take_online)

    async def call(self, method: str) -> Mapping[str, Any]:
        await self._connection()
        self._identity = identity = self._identity + 1
        question = json.dumps({"id": identity, "src": self._source, "method": method})
        answer = self._waiting[identity] = asyncio.get_running_loop().create_future()
        try:
            self._messenger.publish(f"{self.address}/rpc", question)
            async with asyncio.timeout(self._timeout_s):
                frame = await answer
        except TimeoutError:
            if self.online is False:
                raise Unreachable(f"{self.address} is not connected to the broker") from None
            raise NoAnswer(f"no answer from {self.address} within {self._timeout_s:g} s") from None
        finally:
            del self._waiting[identity]
        return result_of(frame, identity, self.address)

    async def close(self) -> None:
        """Its subscriptions end with the connection."""

    async def _connection(self) -> None:
        """At a start the broker may be reached a moment later than the first poll is due. Raises Unreachable."""
        try:
            async with asyncio.timeout(self._timeout_s):
                while not self._messenger.connected:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise Unreachable("the broker is away") from None

    def _take_answers(self, messages: Sequence[Message]) -> None:
        for message in messages:
            frame = self._frame(message)
            waiting = self._waiting.get(frame["id"]) if isinstance(frame.get("id"), int) else None
            if waiting is not None and not waiting.done():
                waiting.set_result(frame)

    def _take_events(self, messages: Sequence[Message]) -> None:
        for message in messages:
            frame = self._frame(message)
            changed = frame.get("params")
            if frame.get("method") in ("NotifyStatus", "NotifyFullStatus") and isinstance(changed, dict) and self._notified is not None:
                self._notified(changed)

    def _take_online(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.payload in (b"true", b"false"):
                self.online = message.payload == b"true"

    def _frame(self, message: Message) -> dict[str, Any]:
        """What a message says; nothing where the broker had kept it (it is of unknown age), or where it is no frame."""
        if message.retain:
            return {}
        try:
            frame = parsed(message.payload, self.address)
        except WrongAnswer:
            return {}  # whoever waits for an answer gets none, and says so
        return frame if isinstance(frame, dict) else {}

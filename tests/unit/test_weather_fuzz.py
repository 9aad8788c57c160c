"""Whatever a weather service answers, it is a forecast or a WrongAnswer; whatever a controller sends, it is read or a SourceError."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from ohmstead.errors import SourceError, WrongAnswer
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.sim.weather import OpenMeteo
from ohmstead.sources.luxtronik import LuxtronikReader
from ohmstead.sources.luxtronik_wire import Endpoint
from ohmstead.sources.weather_answer import CURRENT, DAILY, HOURLY, fields_of, forecast_of, on_all_roofs, parsed
from ohmstead.weather import from_json

NOW = 1_782_000_000.0
ASKED = {
    "latitude": "49.2",
    "longitude": "16.6",
    "current": ",".join(CURRENT.values()),
    "hourly": ",".join(HOURLY.values()),
    "daily": ",".join(DAILY.values()),
    "forecast_days": "2",
    "timezone": "Europe/Prague",
}
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.integers(-(10**20), 10**20), st.floats()), max_size=60),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def kind() -> dict[str, Any]:
    service = OpenMeteo(wall=lambda: NOW)
    return json.loads(json.dumps(service._forecast(ASKED)))  # type: ignore[no-any-return] # an object


KIND = kind()
WEATHER = Decoder(library.load("open-meteo"))
PUMP = Decoder(library.load("luxtronik"))
PLACES = [(key,) for key in KIND] + [(table, column) for table in ("current", "hourly", "daily") for column in KIND[table]]
PLACES += [(table, column, at) for table in ("hourly", "daily") for column in KIND[table] for at in (0, 1, -1)]


@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=3))
def test_an_answer_is_a_forecast_or_wrong(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    said = copy.deepcopy(KIND)
    for path, value in changes:
        inner: Any = said
        for key in path[:-1]:
            inner = inner[key] if isinstance(inner, dict) and key in inner else None
        if isinstance(inner, dict) or (
            isinstance(inner, list) and inner and isinstance(path[-1], int) and -len(inner) <= path[-1] < len(inner)
        ):
            inner[path[-1]] = value
    try:
        answer = on_all_roofs([parsed(json.dumps(said).encode(), 49.2, 16.6)] * 2, [1.0, 2.0])
        forecast = forecast_of(answer, NOW)
        values = WEATHER.decode_fields(fields_of(answer, forecast, NOW))
    except WrongAnswer:
        return
    assert from_json(forecast.as_json()) == forecast
    assert all(isinstance(value, str) or abs(value) < 1e6 for value in values.values())


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.sampled_from([b"\0\0\x0b\xbb", b"\0\0\x0b\xbc", b"\0\0\0\x64", b"\0\0\0\0", b"\0" * 400])),
        max_size=8,
    )
)
def test_whatever_a_controller_sends_is_read_or_wrong(pieces: list[bytes]) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
        writer.close()

    async def read() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], 20.0)
            reader = LuxtronikReader("pump", endpoint, PUMP, ZoneInfo("Europe/Prague"), lambda: NOW)
            try:
                await reader.read()
            except SourceError:
                return

    asyncio.run(read())

"""The models of what is behind a Hoymiles DTU: an inverter has as many ports as its DTU lists of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ohmstead.profiles.model import Profile
from ohmstead.profiles.point import Point
from ohmstead.sources.hoymiles_records import CurrentUnits, Record

_PATTERN = "port_1_"
"""How the points of a port begin in the file; they stand for those of every port."""


def inverter_model(pattern: Profile, ports: Iterable[int], names: Mapping[int, str] | None = None) -> Profile:
    """The model of an inverter with these ports: the points of port 1 once for each, and the sums over all of them.

    `names` are what the owner calls a port ("Garage left"); "Port 2" unless given.
    """
    numbers = sorted(set(ports))
    called = {number: (names or {}).get(number) or f"Port {number}" for number in numbers}
    points: dict[str, Point] = {}
    for point in pattern.points.values():
        if point.id.startswith(_PATTERN):
            continue
        if point.calc is not None:
            point = point.model_copy(update={"calc": " + ".join(point.calc.replace(_PATTERN, f"port_{number}_") for number in numbers)})
            point.__dict__.pop("formula", None)  # what was worked out from the pattern's
        points[point.id] = point
    of_port = [point for point in pattern.points.values() if point.id.startswith(_PATTERN)]
    for number in numbers:
        for point in of_port:
            own = point.id.replace(_PATTERN, f"port_{number}_")
            name = point.name.replace("Port 1", called[number])
            points[own] = point.model_copy(update={"id": own, "field": own, "name": name})
    return pattern.model_copy(update={"points": points})


def inverter_fields(
    records: Sequence[Record], units: CurrentUnits, produced: Mapping[int, tuple[int | None, int | None]], *, night: bool
) -> dict[str, object]:
    """What the records of one inverter say, by the names of its model. What it measures is absent while it sleeps.

    `produced` is each port's day and total in Wh. At `night`, when no inverter of the DTU is awake, the power is known: there is none.
    """
    first = records[0]
    fields: dict[str, object] = {
        "serial_no": first.serial,
        "operating_status": first.status,
        "alarm_code": first.alarm_code,
        "alarm_count": first.alarm_count,
        "link_status": first.link,
    }
    if first.awake:
        fields |= {"grid_voltage": first.grid_voltage, "grid_frequency": first.grid_frequency, "temperature": first.temperature}
    for record in records:
        for name, value in _of_port(record, units, produced.get(record.port, (None, None)), night):
            fields[f"port_{record.port}_{name}"] = value
    return fields


def _of_port(record: Record, units: CurrentUnits, produced: tuple[int | None, int | None], night: bool) -> Iterator[tuple[str, int | None]]:
    yield "operating_status", record.status
    yield "alarm_code", record.alarm_code
    yield from zip(("today_production", "total_production"), produced, strict=True)
    if record.awake:
        yield "pv_voltage", record.voltage
        yield "pv_current", units.hundredths(record)
    if record.awake or night:
        yield "pv_power", record.power

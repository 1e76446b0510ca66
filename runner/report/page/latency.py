"""The percentile spectrum: how slow the slow requests are, a chart for each server, a line for each setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.report.page.data import Cell, Database, RunData
from runner.report.page.scales import Linear, Log, log_ticks

#: Share of requests that are slower, for the places on the axis: each quantile a step further into the tail.
QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.1, "p95": 0.05, "p99": 0.01, "max": 0.001}
LEFT, TOP, WIDTH, HEIGHT = 40, 8, 270, 130
#: Lines that a chart can tell apart by colour and mark.
COLOURS = 7


@dataclass(frozen=True)
class Curve:
    """`style` numbers colour and mark. `service` is the path of service times, which the open model has."""

    cell: Cell
    style: int
    path: str
    dots: str
    service: str


@dataclass(frozen=True)
class Spectrum:
    server: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class DatabaseLatency:
    """`x_ticks` and `y_ticks` are shared by the database's charts."""

    database: Database
    spectra: Sequence[Spectrum]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    has_service: bool


def latency_section(data: RunData) -> list[DatabaseLatency]:
    """The databases of which any latency was measured."""
    return [found for database in data.databases if (found := _database(database)) is not None]


def _database(database: Database) -> DatabaseLatency | None:
    measured = {cell.id: values for cell in database.cells if (values := _values(cell, "latency_ms"))}
    services = {cell.id: values for cell in database.cells if (values := _values(cell, "service_ms"))}
    every = [value for values in [*measured.values(), *services.values()] for value in values.values() if value > 0]
    if not every:
        return None
    low, high = min(every) * 0.9, max(every) * 1.1
    across = Linear(0, len(QUANTILES) - 1, LEFT + 4, LEFT + WIDTH - 14)
    up = Log(low, high, TOP + HEIGHT, TOP)
    places = {name: across(number) for number, name in enumerate(QUANTILES)}
    spectra = []
    for server in database.servers:
        cells = [cell for cell in database.cells if cell.server == server and cell.id in measured]
        curves = [
            _curve(cell, database.settings.index(cell.setting) % COLOURS, measured, services, places, up)
            for cell in cells
        ]
        if curves:
            spectra.append(Spectrum(server, curves))
    return DatabaseLatency(
        database=database,
        spectra=spectra,
        x_ticks=[(x, name) for name, x in places.items()],
        y_ticks=[(up(tick), f"{tick:g}") for tick in log_ticks(low, high)],
        has_service=bool(services),
    )


def _values(cell: Cell, family: str) -> dict[str, float]:
    """Medians over blocks, milliseconds, by quantile."""
    found = {name: cell.number_of(f"{family}.{name}") for name in QUANTILES}
    return {name: number.value for name, number in found.items() if number is not None}


def _curve(
    cell: Cell,
    style: int,
    measured: Mapping[str, Mapping[str, float]],
    services: Mapping[str, Mapping[str, float]],
    places: Mapping[str, float],
    up: Log,
) -> Curve:
    points = [(places[name], up(value)) for name, value in measured[cell.id].items() if value > 0]
    service = [(places[name], up(value)) for name, value in services.get(cell.id, {}).items() if value > 0]
    return Curve(cell, style, _path(points), "".join(f"M{x:g} {y:g}h0" for x, y in points), _path(service))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points))

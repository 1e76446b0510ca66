"""A run's folder as a run would write it, made up from a seed: for tests of what is made of it."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from runner.matrix.cells import Prediction
from runner.results.schema import (
    Arrivals,
    AttemptRecord,
    Capacity,
    CellRecord,
    ClientConnections,
    CommandRun,
    ComponentUsage,
    Connections,
    DatabaseRecord,
    ErrorKind,
    Flag,
    HostRecord,
    Latency,
    Phase,
    Recovery,
    RunEnd,
    RunRecord,
    SamplerQuality,
    SkippedRecord,
    Verdict,
    Waterfall,
    WindowResult,
    WorkerShare,
)
from runner.results.store import RunFolder, write_json

COUNT, IDLE, WINDOW = 2.0, 2.0, 0.6
ROUNDS = 5
#: A large matrix runs in groups: the others of its own group are what an attempt waits for between its windows.
MOST_NEIGHBOURS = 28
POOL_ON_MYSQL = "Django's native pool exists for PostgreSQL alone: on MySQL the first query is a TypeError"
OTHER_HOST = HostRecord(
    fingerprint="cafe", system="Debian GNU/Linux 12", kernel="6.1.0", cpu="Other CPU", cores=8, memory_bytes=1 << 33
)


@dataclass(frozen=True)
class Model:
    """A made-up cell: `rps` and `p50` are its truth, noise comes on top; `lasts`: it keeps connections."""

    database: str
    server: str
    connection: str
    rps: float
    p50: float
    peak: int
    lasts: bool
    prediction: Prediction
    errors: Mapping[str, ErrorKind] = field(default_factory=dict)
    #: Verdicts by block, where they are not ok.
    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    name: str | None = None
    #: The app's connections to a pooler, where there is one.
    clients: int | None = None
    #: Its load is open: `capacity` is what the search finds; by block, None where the most that was tried was held.
    capacity: float | None = None
    failed: Mapping[int, float | None] = field(default_factory=dict)
    #: What its phases came to, the same in each block.
    recovery: tuple[Recovery, ...] = ()
    commands: tuple[CommandRun, ...] = ()

    @property
    def id(self) -> str:
        return self.name or f"{self.database}-{self.server}-{self.connection}"


def prediction(most: int | None, *, each: float | None = None, left: int = 0) -> Prediction:
    """`most` at the peak; `each` opened per request, otherwise at most `most`; `left` at most linger."""
    return Prediction(
        min=1,
        max=most,
        formula=f"4 processes, each keeps its own = {most}",
        opened_per_request=each,
        opened_max=most if each is None else None,
        lingering_min=0,
        lingering_max=left,
    )


def models() -> list[Model]:
    """Two databases, three servers, and settings that differ as such settings do."""
    found = []
    for database, speed in (("pg", 1.0), ("my", 1.3)):
        cost = 0.45 if database == "pg" else 0.85
        for server, rps, places in (("sync", 420.0, 4), ("gevent", 520.0, 16), ("uwsgi", 610.0, 16)):
            settings = {"per-request": cost, "persistent": 1.0, "forever": 1.004}
            if database == "pg":
                settings["pooled"] = 0.93
            for connection, factor in settings.items():
                lasts = connection != "per-request"
                each = None if lasts else 1.0
                found.append(
                    Model(
                        database=database,
                        server=server,
                        connection=connection,
                        rps=rps * speed * factor,
                        p50=16e3 / (rps * speed * factor) * 0.8,
                        peak=places,
                        lasts=lasts,
                        prediction=prediction(places, each=each, left=places if lasts else 0),
                    )
                )
    return found


def write_run(
    out: Path,
    cells: Iterable[Model] | None = None,
    *,
    blocks: int = 3,
    seed: int = 7,
    expect: Iterable[Mapping[str, Any]] = (),
    skipped: Iterable[SkippedRecord] = (),
    end: Literal["finished", "interrupted"] | None = "finished",
    **more: Any,
) -> RunFolder:
    """Writes a whole run and hands back its folder; `end` None is a run that was killed."""
    chosen = list(models() if cells is None else cells)
    folder = RunFolder.create(out, _run_record(chosen, blocks, seed, list(expect), list(skipped), more))
    for block in range(1, blocks + 1):
        for model in chosen:
            _write_attempt(folder, model, block, min(len(chosen), MOST_NEIGHBOURS), seed)
    if end is not None:
        write_json(folder.path / "end.json", _end(end, blocks * len(chosen)))
    return folder


def _run_record(
    cells: list[Model],
    blocks: int,
    seed: int,
    expect: list[Any],
    skipped: list[SkippedRecord],
    more: dict[str, Any],
) -> RunRecord:
    values: dict[str, Any] = {
        "name": "default",
        "started_at": "2025-11-21T12:00:00.000+00:00",
        "seed": seed,
        "quick": False,
        "blocks": blocks,
        "command": "connbench run",
        "matrix": {"name": "default", "expect": expect},
        "matrix_hash": "0123456789abcdef",
        "cells": [_cell_record(model) for model in cells],
        "skipped": skipped,
        "provider": "native",
        "host": HostRecord(
            fingerprint="f00d",
            system="Debian GNU/Linux 12",
            kernel="6.1.0",
            cpu="Example CPU 3 GHz",
            cores=2,
            memory_bytes=8_000_000_000,
        ),
        "versions": {"python": "3.11.2", "psycopg3/django": "5.2.8", "psycopg3/gunicorn": "23.0.0"},
    }
    return RunRecord.model_validate(values | more)


def _cell_record(model: Model) -> CellRecord:
    return CellRecord(
        id=model.id,
        axes={"database": model.database, "server": model.server, "connection": model.connection},
        params={
            "server": {"kind": "uwsgi" if model.server == "uwsgi" else "gunicorn", "workers": 4},
            "connection": {"conn_max_age": 60 if model.lasts else 0},
            "load": {"users": 16, "keep_alive": True},
        },
        reference=f"{model.database}-{model.server}-per-request",
        predicted=asdict(model.prediction),
    )


def _end(status: Literal["finished", "interrupted"], attempts: int) -> RunEnd:
    spent = {
        "set-up": 6.2,
        "up": 0.9 * attempts,
        "verify": 0.1 * attempts,
        "count": COUNT * attempts,
        "idle": IDLE * attempts,
        "windows": ROUNDS * (WINDOW + 0.15) * attempts,
        "down": 0.2 * attempts,
        "recording": 0.05 * attempts,
    }
    databases = [
        DatabaseRecord(name="pg", product="PostgreSQL 15.18", settings={"max_connections": "200", "fsync": "off"}),
        DatabaseRecord(name="my", product="MariaDB 10.11.19", settings={"max_connections": "200"}),
    ]
    return RunEnd(
        status=status,
        finished_at="2025-11-21T12:08:00.000+00:00",
        wall_seconds=sum(spent.values()) + 1.5,
        databases=databases,
        time_spent=spent,
    )


def _write_attempt(folder: RunFolder, model: Model, block: int, neighbours: int, seed: int) -> None:
    random = np.random.default_rng([seed, block, zlib.crc32(model.id.encode())])
    verdict = model.verdicts.get(block, Verdict(status="ok"))
    path = folder.begin_attempt(model.id, block, 0)
    if verdict.status == "failed":
        record = _basic(model, block, verdict)
    else:
        offsets = [0.8 + COUNT + IDLE + 3 + number * neighbours * 0.75 for number in range(ROUNDS)]
        record = _measured(model, block, verdict, offsets, random)
        _samples(model, record, random).to_parquet(path / "samples.parquet")
    folder.write_attempt(path, record)
    folder.commit_attempt(path)


def _basic(model: Model, block: int, verdict: Verdict) -> AttemptRecord:
    return AttemptRecord(
        cell=model.id,
        block=block,
        attempt=0,
        group=model.database,
        verdict=verdict,
        flags=model.flags,
        started_at="2025-11-21T12:00:00.000+00:00",
        clock_zero=0.0,
        errors=model.errors,
        server_command=[
            "gunicorn",
            "shop.wsgi:application",
            "--workers",
            "4",
            "--worker-class",
            model.server,
        ],
        django_databases={"default": {"ENGINE": f"django.db.backends.{model.database}", "PASSWORD": "********"}},
    )


def _measured(
    model: Model, block: int, verdict: Verdict, offsets: list[float], random: np.random.Generator
) -> AttemptRecord:
    luck = float(np.exp(random.normal(0, 0.01)))
    windows = [_window(model, number, offset, luck, random) for number, offset in enumerate(offsets)]
    served = int(model.rps * COUNT)
    opened = model.peak if model.lasts else served
    phases = [
        Phase(name="up", offset=0, seconds=0.7),
        Phase(name="verify", offset=0.7, seconds=0.1),
        Phase(name="count", offset=0.8, seconds=COUNT),
        Phase(name="idle", offset=0.8 + COUNT, seconds=IDLE),
        *(Phase(name="window", offset=o - 0.15, seconds=WINDOW + 0.15, index=i) for i, o in enumerate(offsets)),
        Phase(name="down", offset=offsets[-1] + 1, seconds=0.2),
    ]
    usage = {
        "app": ComponentUsage(cpu_seconds_per_request=0.9 / model.rps, peak_memory_bytes=210_000_000),
        "database": ComponentUsage(cpu_seconds_per_request=0.4 / model.rps, peak_memory_bytes=95_000_000),
        "load": ComponentUsage(cpu_seconds_per_request=0.0003, peak_memory_bytes=60_000_000),
    }
    if model.clients is not None:
        usage["pooler"] = ComponentUsage(cpu_seconds_per_request=0.0002, peak_memory_bytes=3_000_000)
    return _basic(model, block, verdict).model_copy(
        update={
            "phases": phases,
            "count_requests": served,
            "count_errors": 0,
            "connections": Connections(
                peak=model.peak,
                peak_slots=model.peak + (not model.lasts),
                opened=opened,
                refused=0,
                lingering=model.peak if model.lasts else 0,
                database_requests=served,
                opened_per_request=opened / served,
                transactions=served * 3,
                client=_clients(model.clients, served),
            ),
            "windows": windows,
            "latency_ms": _latency(model.p50 / luck),
            "waterfall_ms": _waterfall(model, luck),
            "throughput_rps": float(np.mean([(w.requests - w.errors) / w.seconds for w in windows])),
            "requests": served + sum(window.driven_requests for window in windows),
            "resources": usage,
            "workers": [WorkerShare(pid=100 + i, requests=served // 4, threads=1) for i in range(4)],
            "sampler": SamplerQuality(
                asked_per_second=20, taken=900, late=2, achieved_per_second=19.9, cpu_seconds=0.4
            ),
            "host": {"cpu_busy": 0.97, "steal": 0.001},
            "recovery": model.recovery,
            "commands": model.commands,
            **_open_figures(model, block, windows),
        }
    )


def _clients(clients: int | None, served: int) -> ClientConnections | None:
    if clients is None:
        return None
    return ClientConnections(
        peak=clients,
        opened=clients,
        refused=0,
        lingering=clients,
        opened_per_request=clients / served,
        waiting_max=clients // 2,
        waited_seconds=0.8,
    )


def _open_figures(model: Model, block: int, windows: list[WindowResult]) -> dict[str, Any]:
    if model.capacity is None:
        return {}
    arrivals = Arrivals(due=sum(window.requests for window in windows), late=7, dropped=2)
    failed = model.failed.get(block, model.capacity * 1.05)
    capacity = Capacity(held_rps=model.capacity, failed_rps=failed, steps=[])
    return {"service_ms": _latency(model.p50 / 2), "arrivals": arrivals, "capacity": capacity}


def _latency(p50: float) -> Latency:
    return Latency(p50=p50, p90=p50 * 1.9, p95=p50 * 2.4, p99=p50 * 4.1, max=p50 * 6)


def _waterfall(model: Model, luck: float) -> Waterfall:
    """Half of it spent outside the app; connecting where nothing is kept, the pool where there is one."""
    mean = model.p50 * 1.2 / luck
    pooled = model.connection == "pooled"
    parts = {"pool": 0.1 * pooled, "connect": 0.2 * (not model.lasts), "sql": 0.2}
    rest = {"queue": 0.5 * mean, "app": (0.5 - sum(parts.values())) * mean}
    return Waterfall(**rest, **{part: share * mean for part, share in parts.items()})


def _window(model: Model, number: int, offset: float, luck: float, random: np.random.Generator) -> WindowResult:
    noise = float(np.exp(random.normal(0, 0.04)))
    served = round(model.rps * WINDOW * luck * noise)
    return WindowResult(
        round=number,
        position=number,
        offset=offset,
        seconds=WINDOW,
        requests=served,
        errors=0,
        latency_ms=_latency(model.p50 / luck / noise),
        service_ms=None if model.capacity is None else _latency(model.p50 / 2 / luck / noise),
        driven_requests=round(served * 1.25),
        cpu_seconds={"app": served * 1.25 * 0.9 / model.rps, "database": 0.2, "load": 0.1},
    )


def _samples(model: Model, record: AttemptRecord, random: np.random.Generator) -> pd.DataFrame:
    """Twenty looks a second: busy under load, and what lasts stays idle in between."""
    end = record.phases[-1].offset
    offsets = np.arange(0.8, end, 0.05) + random.normal(0, 0.002, len(np.arange(0.8, end, 0.05)))
    loaded = np.zeros(len(offsets), dtype=bool)
    for phase in record.phases:
        if phase.name in ("count", "window"):
            loaded |= (offsets >= phase.offset) & (offsets < phase.offset + phase.seconds)
    total = np.where(loaded, model.peak if model.lasts else random.integers(1, model.peak + 1, len(offsets)), 0)
    if model.lasts:
        total[:] = model.peak
    busy = np.where(loaded, random.binomial(total, 0.6), 0)
    waiting = random.binomial(busy, 0.15)
    inside = random.binomial(busy - waiting, 0.2)
    frame = pd.DataFrame({"offset": offsets, "active": busy - waiting - inside, "idle": total - busy})
    return frame.assign(idle_in_transaction=inside, waiting=waiting, total=total)


def searched(cells: Iterable[Model], capacity: float = 300.0, **more: Any) -> list[Model]:
    """The same cells under open load, their rate searched."""
    return [replace(cell, capacity=capacity, **more) for cell in cells]


def recovery(failed: int, steady: float | None = 1.0) -> Recovery:
    """What a fault did that failed so many requests."""
    return Recovery(
        fault="kill-connections",
        offset=4.0,
        seconds=0.1,
        requests=100,
        failed_requests=failed,
        seconds_to_first_success=0.2,
        seconds_to_steady=steady,
    )


def command(exit_code: int, last_line: str = "") -> CommandRun:
    """A command that ended so."""
    return CommandRun(
        command="manage.py work",
        beside=True,
        offset=1.0,
        seconds=2.0,
        exit_code=exit_code,
        last_line=last_line,
        log="command-1.log",
    )


def phased(cells: Iterable[Model]) -> list[Model]:
    """The same cells, with a fault that failed three requests and a command that failed."""
    return [replace(cell, recovery=(recovery(3),), commands=(command(1, "OperationalError: gone"),)) for cell in cells]


def pooled(cells: Iterable[Model]) -> list[Model]:
    """The same cells behind a pooler: their connections are its own, and the app has three times as many to it."""
    return [
        replace(
            cell,
            prediction=replace(cell.prediction, clients=prediction(3 * cell.peak, left=3 * cell.peak)),
            clients=3 * cell.peak,
        )
        for cell in cells
    ]


def slower(cells: Iterable[Model], factor: float, *names: str) -> list[Model]:
    """The same cells, those of `names` at `factor` of their speed."""
    return [replace(c, rps=c.rps * factor, p50=c.p50 / factor) if c.id in names else c for c in cells]


def showcase(out: Path, **more: Any) -> RunFolder:
    """A matrix with what can go wrong in it: a failed cell, errors, skipped cells, broken bounds."""
    cells = models()
    by_id = {model.id: index for index, model in enumerate(cells)}

    def change(name: str, **fields: Any) -> None:
        cells[by_id[name]] = Model(**{**cells[by_id[name]].__dict__, **fields})

    down = "gunicorn did not come up within 10 s; its log ends: [ERROR] Connection in use: ('127.0.0.1', 8000)"
    change("my-gevent-forever", verdicts={2: Verdict(status="failed", reason=down)})
    refused = "FATAL: sorry, too many clients already"
    change(
        "pg-gevent-persistent",
        errors={"http-500": ErrorKind(count=12, example=refused)},
        flags=(Flag(code="worker-skew", text="the busiest worker answered 2.4 times its share"),),
    )
    change("pg-uwsgi-pooled", peak=18)
    skipped = [
        SkippedRecord(
            id=f"my-{server}-pooled",
            axes={"database": "my", "server": server, "connection": "pooled"},
            reason=POOL_ON_MYSQL,
        )
        for server in ("sync", "gevent", "uwsgi")
    ]
    expect = [
        {"where": {"server": "uwsgi"}, "metric": "connections.peak", "at_most": 16, "at_least": None},
        {"where": {}, "metric": "errors.total", "at_most": 0, "at_least": None},
    ]
    return write_run(out, cells, expect=expect, skipped=skipped, **more)

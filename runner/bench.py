"""`connbench run` from the matrix file to the exit code, as a list of steps with plain data between them."""

import hashlib
import importlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from runner.analysis.adaptive import is_tight
from runner.analysis.summary import Summary, write_summary
from runner.apps import for_app
from runner.errors import EnvironmentUnfit, UsageError
from runner.host import describe_host
from runner.matrix.cells import Cell
from runner.matrix.expansion import MOST_CELLS, Expansion, expand
from runner.matrix.prediction import predict
from runner.matrix.reading import read_matrix
from runner.matrix.spec import MatrixFile
from runner.plan import Plan, Shard, cell_params, make_plan
from runner.progress import reporter
from runner.report.html import write_report
from runner.report.tables import print_tables
from runner.results.schema import CellRecord, HostRecord, RunEnd, RunRecord, SkippedRecord
from runner.results.store import RunFolder, now_utc
from runner.run import Run
from runner.site import AUTO, NativeSite, Site, choose_site
from runner.stacks.app import load_app
from runner.stacks.environment import AppEnvironment
from runner.stacks.versions import Recipe
from runner.turn import own_turn


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    matrix: Path
    out: Path
    blocks: int | None = None
    only: str | None = None
    shard: Shard | None = None
    provider: str = AUTO
    quick: bool = False
    seed: int | None = None
    #: Wait for the end of another run on this machine, rather than refuse.
    wait: bool = False
    #: None: however many.
    most_cells: int | None = MOST_CELLS
    #: The Dask scheduler whose workers measure, instead of this machine.
    scheduler: str | None = None
    command: str = "connbench run"


@dataclass(frozen=True)
class Machine:
    """What a run's figures belong to."""

    host: HostRecord
    versions: Mapping[str, str]
    provider: str = NativeSite.kind


def this_machine(plan: Plan, environments: Mapping[Recipe, AppEnvironment], site: Site) -> Machine:
    """The machine that this process runs on, with all that the plan uses."""
    return Machine(describe_host(), site.versions(environments, plan.cells.values()), site.kind)


def bench(options: Options, results: Console, messages: Console) -> int:
    """Runs the matrix, prints the tables, writes the report; returns the exit code of the design."""
    if options.scheduler is None:
        folder, end = measure(options, messages)
    else:
        folder, end = spreading().measure(options, options.scheduler, messages)
    return conclude(folder, end, results)


def measure(options: Options, messages: Console) -> tuple[RunFolder, RunEnd]:
    """Runs the matrix into a folder of its own."""
    if options.shard is not None and options.seed is None:
        raise UsageError("--shard needs --seed: the shards of one run share its order and traffic")
    matrix = read_matrix(options.matrix)
    expansion = expand(matrix, options.most_cells)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    plan = make_plan(expansion, matrix, seed, options.only, options.quick, options.blocks, options.shard)
    site = choose_site(options.provider, plan)
    site.require(plan)
    app = load_app(matrix.app)
    plan = for_app(plan, app)
    apps = dict.fromkeys(plan.cells, app)
    environments = site.environments(plan.cells.values(), messages)
    with own_turn(wait=options.wait, say=partial(messages.print, highlight=False, soft_wrap=True)):
        record = run_record(options, matrix, expansion, plan, this_machine(plan, environments, site))
        folder = RunFolder.create(options.out, record)
        folder.write_plan(plan.rows())
        messages.print(f"{len(plan.cells)} cells, results in {folder.path}", highlight=False, soft_wrap=True)
        with reporter(messages, plan.planned_seconds) as progress:
            end = Run(plan, apps, environments, folder, progress, site.provider).execute(stop_rule(plan, folder))
    return folder, end


def spreading() -> ModuleType:
    """What a run over several hosts takes; Dask is no part of the base install."""
    try:
        return importlib.import_module("runner.spread.running")
    except ModuleNotFoundError as error:
        raise EnvironmentUnfit(f"--scheduler needs Dask ({error.name} is missing): make scheduler") from error


def stop_rule(plan: Plan, folder: RunFolder) -> Callable[[int], bool]:
    """Whether a block was the last that is needed: what the run asks, since it knows no statistics."""

    def enough(block: int) -> bool:
        wanted = plan.adaptive
        return wanted is not None and block >= wanted.min and is_tight(folder, wanted.until)

    return enough


def conclude(folder: RunFolder, end: RunEnd | None, results: Console) -> int:
    """Summary, tables and report of a run's folder; the exit code says how it went."""
    summary = write_summary(folder)
    report = write_report(folder, summary)
    print_tables(summary, results)
    results.print(f"Report: {report}", highlight=False, soft_wrap=True)
    if end is not None and end.status == "interrupted":
        return 130
    return 1 if has_failed(summary) else 0


def has_failed(summary: Summary) -> bool:
    """Whether a cell or an expectation failed."""
    cells = any(cell.status not in ("ok", "skipped") for cell in summary.cells)
    return cells or any(not expectation.holds for expectation in summary.expectations)


def run_record(
    options: Options,
    matrix: MatrixFile,
    expansion: Expansion,
    plan: Plan,
    machine: Machine,
) -> RunRecord:
    """What is known before anything is started."""
    resolved = matrix.model_dump(mode="json")
    return RunRecord(
        name=matrix.name,
        started_at=now_utc(),
        seed=plan.seed,
        quick=options.quick,
        blocks=plan.blocks,
        shard=str(options.shard or ""),
        adaptive=plan.adaptive is not None,
        command=options.command,
        matrix_file=str(options.matrix.absolute()),
        only=options.only,
        matrix=resolved,
        matrix_hash=matrix_hash(resolved),
        cells=[_cell_record(cell) for cell in plan.cells.values()],
        skipped=[SkippedRecord(id=cell.id, axes=cell.axes, reason=cell.reason) for cell in expansion.skipped],
        provider=machine.provider,
        host=machine.host,
        versions=machine.versions,
    )


def matrix_hash(resolved: Mapping[str, Any]) -> str:
    """The same for matrices that say the same, whatever their files look like."""
    return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()


def _cell_record(cell: Cell) -> CellRecord:
    predicted = asdict(predict(cell))
    return CellRecord(
        id=cell.id, axes=cell.axes, params=cell_params(cell), reference=cell.reference, predicted=predicted
    )

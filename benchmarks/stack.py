"""Stacks of the default matrix, up and warm, for benchmarks that drive them themselves."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.attempt import Attempt, Stage
from runner.bench import Options, run_record, this_machine
from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.plan import make_plan
from runner.preparation import prepare_database
from runner.provision.native import NativeProvider
from runner.results.store import RunFolder
from runner.sampling.host import HostSampler
from runner.site import NativeSite
from runner.stacks.app import ROOT, App, load_app
from runner.stacks.environment import build_environment


@contextmanager
def warm_stack(cell_id: str) -> Iterator[Attempt]:
    """An attempt of one cell after its count; nothing of it is left afterwards."""
    with warm_stacks(cell_id, [{}]) as (attempt,):
        yield attempt


@contextmanager
def warm_stacks(
    cell_id: str, loads: Sequence[Mapping[str, Any]], apps: Sequence[App] | None = None
) -> Iterator[list[Attempt]]:
    """The same for several attempts of one cell, alive together, each with its own changes to the cell's load.

    Each has its own app where `apps` says so; they share a database, so their tables have to be the same.
    """
    options = Options(matrix=ROOT / "matrix.yaml", out=Path(), only=cell_id, command="make benchmarks")
    matrix = read_matrix(options.matrix)
    expansion = expand(matrix)
    plan = make_plan(expansion, matrix, seed=1, only=cell_id)
    cell = plan.cells[cell_id]
    app, environment = load_app(matrix.app), build_environment(cell.environment)
    environments = {environment.recipe: environment}
    with ExitStack() as closing:
        out = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="connbench-benchmark-")))
        folder = RunFolder.create(
            out, run_record(options, matrix, expansion, plan, this_machine(plan, environments, NativeSite()))
        )
        provider = NativeProvider()
        closing.callback(provider.close)
        rate = plan.sampling.database
        prepared = prepare_database("db", cell.database, app, [environment], provider, folder.path, rate, closing)
        host_sampler = HostSampler(plan.sampling.host)
        closing.callback(host_sampler.close)
        stage = Stage(provider, folder, app, environments, prepared, host_sampler, "1")
        attempts = []
        for number, changes in enumerate(loads):
            changed = replace(cell, load=cell.load.model_copy(update=dict(changes)))
            planned = replace(plan.attempts[0], order=number, attempt=number)
            own = stage if apps is None else replace(stage, app=apps[number])
            attempts.append(Attempt(changed, planned, "benchmark", own))
            closing.callback(attempts[-1].down)
            attempts[-1].up()
            attempts[-1].count()
        yield attempts

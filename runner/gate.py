"""`connbench gate` from the command line's words to the exit code: base and candidate alive together, in turns.

What is measured is a run like any other, with a folder of its own; what is said of it is `runner.analysis.gate`'s.
"""

import random
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from runner.analysis.gate import BASE, CANDIDATE, LAST_LOOK, MOST_CONFIRMING, GateResult, judge_gate
from runner.analysis.summary import write_summary
from runner.apps import AppSource, find_app, take_app, with_app
from runner.bench import Options, run_record, this_machine
from runner.errors import UsageError
from runner.matrix.cells import Cell
from runner.matrix.expansion import Expansion
from runner.matrix.reading import read_matrix
from runner.matrix.spec import MatrixFile
from runner.matrix.variants import Variant, cell_of, parse_variant
from runner.plan import Plan, plan_of_two
from runner.progress import Reporter, reporter
from runner.report.gate import Sides, append_step_summary, block_line, print_gate, write_junit
from runner.report.html import write_report
from runner.results.schema import RunEnd
from runner.results.store import RunFolder, write_json
from runner.run import Run
from runner.site import Site, choose_site
from runner.stacks.app import App
from runner.stacks.interpreters import under_fitting_python
from runner.stacks.versions import PYTHON
from runner.turn import own_turn

#: A shared machine's speed wanders within a second, so turns are short. As many as bring a block's own noise down to
#: what starting anew brings into it, and let the 24 blocks that there may be end within ten minutes. Nothing is asked
#: about connections that idle.
GATE_LOAD = {"load.idle": "100ms", "load.windows": 12, "load.window": "400ms"}
#: What both looks can take, and some blocks that may not count.
MOST_BLOCKS = LAST_LOOK + MOST_CONFIRMING + 4
#: Most gates end after about so many; the bar is drawn for them.
LIKELY_BLOCKS = 8
#: Half of this is the largest limit: a confirmation is planned to find twice the limit.
LARGEST_LIMIT = 0.4


@dataclass(frozen=True)
class GateOptions:
    """What the command line asked for; `both` is what holds for base and candidate."""

    run: Options
    base: str
    candidate: str
    both: str = ""
    limit: float = 0.05
    junit: Path | None = None
    step_summary: Path | None = None


@dataclass(frozen=True)
class Side:
    """One side as it will run."""

    cell: Cell
    source: AppSource

    def under(self, python: str) -> "Side":
        """The same under another Python."""
        versions, axes = ({**words, PYTHON: python} for words in (self.cell.versions, self.cell.axes))
        return replace(self, cell=replace(self.cell, versions=versions, axes=axes))


@dataclass(frozen=True)
class Measured:
    """A gate's run and what it says."""

    folder: RunFolder
    end: RunEnd
    result: GateResult
    report: Path


def gate(options: GateOptions, results: Console, messages: Console) -> int:
    """Measures until there is a verdict; returns 1 for `fail` and a run that broke off, 130 for an interrupt, or 0."""
    if options.junit is not None and not options.junit.parent.is_dir():
        raise UsageError(f"--junit {options.junit}: there is no folder {options.junit.parent}")
    measured = measure_gate(options, messages)
    _tell(measured, options, results)
    if measured.end.status == "interrupted":
        return 130
    return 1 if measured.result.verdict in ("fail", None) else 0


def measure_gate(options: GateOptions, messages: Console) -> Measured:
    """Runs both sides until there is a verdict; gate.json and the report are in the run's folder."""
    matrix = read_matrix(options.run.matrix)
    sides = {name: _side(matrix, options, name) for name in (BASE, CANDIDATE)}
    say = partial(messages.print, highlight=False, soft_wrap=True)
    with ExitStack() as stack:
        apps = _take_apps(sides, stack)
        sides = {name: replace(side, cell=with_app(side.cell, apps[name])) for name, side in sides.items()}
        site = choose_site(options.run.provider, _plan(sides, matrix, options.run.seed))
        sides = under_one_python(sides, site, messages)
        plan = _plan(sides, matrix, options.run.seed)
        site.require(plan)
        environments = site.environments(plan.cells.values(), messages)
        stack.enter_context(own_turn(wait=options.run.wait, say=say))
        expansion = Expansion(tuple(plan.cells.values()), ())
        record = run_record(options.run, matrix, expansion, plan, this_machine(plan, environments, site))
        folder = RunFolder.create(options.run.out, record)
        folder.write_plan(plan.rows())
        say(f"base against candidate, at most {plan.blocks} blocks, results in {folder.path}")
        with reporter(messages, plan.planned_seconds * LIKELY_BLOCKS / plan.blocks) as progress:
            run = Run(plan, apps, environments, folder, progress, site.provider)
            end = run.execute(_until_decided(folder, options.limit, progress))
    return _conclude(folder, end, options)


def parse_limit(text: str) -> float:
    """`5%` or `0.05`; UsageError if it is no share that can be gated."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= LARGEST_LIMIT:
        raise UsageError(
            f"--limit: found {text!r}, allowed: a share such as 5%, more than 0, at most {LARGEST_LIMIT:.0%}"
        )
    return share


def _side(matrix: MatrixFile, options: GateOptions, name: str) -> Side:
    where, text = f"--{name}", {BASE: options.base, CANDIDATE: options.candidate}[name]
    gates_own = Variant(parameters=GATE_LOAD)
    variant = parse_variant(text, where).over(parse_variant(options.both, "--both")).over(gates_own)
    cell = cell_of(matrix, variant, name, where)
    if cell.load.model != "closed":
        raise UsageError(
            f"{where}: in the open model the schedule fixes the throughput, which is what is compared; "
            "add load.model=closed,load.rate=null to --both"
        )
    if cell.load.windows == 0:
        raise UsageError(f"{where}: load.windows=0: without windows there is no throughput to compare")
    source = find_app(variant.app or matrix.app, variant.revision, where)
    axes = {"side": name, **cell.axes, **cell.versions, "app": source.shown}
    return Side(replace(cell, axes=axes, reference=BASE if name == CANDIDATE else None), source)


def under_one_python(sides: dict[str, Side], site: Site, messages: Console) -> dict[str, Side]:
    """Both sides under the one Python for which the packages of either exist: two would be compared with each other."""
    cells = [side.cell for side in sides.values()]
    if any(PYTHON in cell.versions or cell.server.system_python for cell in cells):
        return sides

    def build(python: str) -> dict[str, Side]:
        found = {name: side.under(python) for name, side in sides.items()} if python else sides
        site.environments([side.cell for side in found.values()], messages)
        return found

    python, found = under_fitting_python(build)
    if python:
        messages.print(f"both sides under Python {python}: there are packages for no older one", highlight=False)
    return found


def _plan(sides: Mapping[str, Side], matrix: MatrixFile, seed: int | None) -> Plan:
    base, candidate = sides[BASE], sides[CANDIDATE]
    # Another app or Django may migrate to other tables.
    apart = base.source != candidate.source or base.cell.environment != candidate.cell.environment
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    return plan_of_two(base.cell, candidate.cell, matrix, seed, MOST_BLOCKS, apart=apart)


def _take_apps(sides: Mapping[str, Side], stack: ExitStack) -> dict[str, App]:
    """Each side's app; what is taken from a revision goes with the run."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connbench-apps-")))
    return {name: take_app(side.source, folder / name / side.source.folder.name) for name, side in sides.items()}


def _until_decided(folder: RunFolder, limit: float, progress: Reporter) -> Callable[[int], bool]:
    def decided(block: int) -> bool:
        result = judge_gate(folder, limit, finished=False)
        progress.line(block_line(block, result))
        return result.verdict is not None

    return decided


def _conclude(folder: RunFolder, end: RunEnd, options: GateOptions) -> Measured:
    result = judge_gate(folder, options.limit, finished=True)
    if end.status == "interrupted" or (end.status == "stopped" and result.verdict != "fail"):
        reason = f"{end.status}, so there is no verdict{end.finding and ': '}{end.finding}"
        result = result.model_copy(update={"verdict": None, "reason": reason})
    write_json(folder.path / "gate.json", result)
    return Measured(folder, end, result, write_report(folder, write_summary(folder)))


def _tell(measured: Measured, options: GateOptions, results: Console) -> None:
    """The verdict on the screen, in the summary of the CI's step, and as JUnit."""
    result = measured.result
    sides = Sides(options.base, options.candidate, options.both)
    print_gate(result, sides, results)
    results.print(f"Report: {measured.report}", highlight=False, soft_wrap=True)
    if options.step_summary is not None:
        append_step_summary(options.step_summary, result, sides)
    if options.junit is not None:
        write_junit(options.junit, result, sides, measured.end.wall_seconds or 0.0)


def result_of(folder: RunFolder) -> GateResult:
    """What a gate said of a run."""
    return GateResult.model_validate_json((folder.path / "gate.json").read_text("utf-8"))

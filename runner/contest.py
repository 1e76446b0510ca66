"""What `connbench advise` has to find out, before anything is started: candidates, budgets, the settings of today."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.analysis.advice_model import Candidate, Contest, Question
from runner.analysis.budget import Budget, budget_of, room_for
from runner.analysis.ratios import CAPACITY
from runner.analysis.simplicity import simplicity
from runner.apps import with_app
from runner.errors import UsageError
from runner.matrix.axes import PACKAGES, SECTIONS, SHARED
from runner.matrix.cells import Cell, SkippedCell
from runner.matrix.expansion import Expansion, expand, value_slug
from runner.matrix.limits import AdviseSpec
from runner.matrix.prediction import RESERVED, predict
from runner.matrix.spec import MatrixFile
from runner.matrix.variants import Variant, cell_of, parse_variant
from runner.report.paste import paste_of
from runner.stacks.app import App, slug

#: As good as any number of clients on one host, and of connections that a database lets in.
ANY_CLIENTS, ANY_CONNECTIONS = 10_000, 1_000_000
#: Nothing is asked about connections that idle.
IDLE = 0.1


@dataclass(frozen=True)
class Search:
    """`cells` are to be measured, those ruled out beforehand left out; `expansion` has those among the skipped."""

    question: Question
    cells: tuple[Cell, ...]
    expansion: Expansion


def make_search(matrix: MatrixFile, limits: AdviseSpec, app: App, looks: int) -> Search:
    """Of settings for this app. UsageError where the matrix asks for something of which none can be advised."""
    shorter = matrix.model_copy(update={"load": matrix.load.model_copy(update={"idle": IDLE})})
    expansion = expand(shorter)
    if not expansion.cells:
        raise UsageError(f"no cell of the matrix {matrix.name!r} can run; `connbench plan` lists the reasons")
    questions: dict[str, list[Cell]] = {}
    for cell in (with_app(cell, app) for cell in expansion.cells):
        _refuse_without_windows(cell)
        _refuse_what_no_schedule_asks(cell, limits)
        questions.setdefault(_question_of(cell), []).append(cell)
    contests, cells, ruled_out = [], [], []
    for name, asked in questions.items():
        present = with_app(_present(shorter, limits, asked), app)
        members = asked if present in asked else [present, *asked]
        contest = _contest(name, members, present, limits, app)
        out = contest.not_measured
        contests.append(contest)
        cells += [replace(cell, reference=present.id) for cell in members if cell.id not in out]
        ruled_out += [SkippedCell(cell.id, cell.axes, out[cell.id]) for cell in members if cell.id in out]
    kept = Expansion(tuple(cells), (*expansion.skipped, *ruled_out))
    return Search(Question(limits=limits, looks=looks, contests=contests), tuple(cells), kept)


def _refuse_without_windows(cell: Cell) -> None:
    if cell.phases or cell.load.windows == 0:
        raise UsageError(
            f"{cell.id}: it has no windows (load.windows: 0, or phases in their place), and settings are told apart by "
            "what they answer in windows that take turns; advise on a matrix with windows"
        )


def _refuse_what_no_schedule_asks(cell: Cell, limits: AdviseSpec) -> None:
    """A schedule of fixed rate is answered whole at the most."""
    scheduled = cell.load.rate
    if limits.rate is None or not isinstance(scheduled, float) or limits.rate <= scheduled * limits.hosts:
        return
    raise UsageError(
        f"{cell.id}: --rate {limits.rate:g}: its schedule (load.rate: {scheduled:g} on each host) asks for no more "
        f"than {scheduled * limits.hosts:g} requests/s, and so no setting answers more; drive it at "
        f"{limits.rate / limits.hosts:g} or above, or let the highest rate be found (load.rate: search)"
    )


def _question_of(cell: Cell) -> str:
    """What is no setting to choose: the database, the load, versions."""
    given = {axis: value for axis, value in cell.axes.items() if _is_given(axis)}
    return " ".join([cell.database_name, *(f"{axis}={value}" for axis, value in given.items() if axis != "database")])


def _is_given(axis: str) -> bool:
    section = axis.partition(".")[0]
    return axis in PACKAGES or section in ("database", SECTIONS["database"], *SHARED)


def _present(matrix: MatrixFile, limits: AdviseSpec, asked: Sequence[Cell]) -> Cell:
    """The settings of today under one question; the first of the matrix unless told."""
    if limits.present is None:
        reference = matrix.reference
        return next((cell for cell in asked if reference in (None, cell.connection_name)), asked[0])
    where, given = "--present", {axis: value for axis, value in asked[0].axes.items() if _is_given(axis)}
    wanted = parse_variant(limits.present, where)
    foreign = any(map(_is_given, (*wanted.names, *wanted.parameters)))
    if foreign or wanted.app or wanted.revision or wanted.versions:
        raise UsageError(f"{where}: {limits.present}: names server, connection, pooler and their parameters alone")
    names: Mapping[str, Any] = {"database": asked[0].database_name}
    parameters = {axis: value for axis, value in given.items() if axis not in SECTIONS}
    cell = cell_of(matrix, wanted.over(Variant(names, parameters)), _present_id(asked[0]), where)
    cell = replace(cell, versions=asked[0].versions)
    return next((one for one in asked if _settings(one) == _settings(cell)), cell)


def _present_id(cell: Cell) -> str:
    """Of today's settings under the question that a cell is asked: no other question's."""
    given = [axis for axis in cell.axes if _is_given(axis) and axis != "database"]
    values = (f"{slug(axis.rpartition('.')[2])}-{value_slug(cell.axes[axis])}" for axis in given)
    return "-".join([cell.database_name, "present", *values])


def _settings(cell: Cell) -> tuple[Any, ...]:
    return cell.server, cell.connection, cell.pooler


def _contest(name: str, members: Sequence[Cell], present: Cell, limits: AdviseSpec, app: App) -> Contest:
    metric = CAPACITY if present.load.searches else "throughput_rps"
    if present.load.model == "open" and not present.load.searches:
        # A schedule fixes the throughput.
        metric = "latency_ms.p95"
    candidates = [_candidate(cell, limits, app) for cell in members]
    return Contest(name=name, metric=metric, present=present.id, candidates=candidates)


def _candidate(cell: Cell, limits: AdviseSpec, app: App) -> Candidate:
    budget = budget_in(cell, limits)
    broken = predict(cell).broken
    return Candidate(
        cell=cell.id,
        budget=budget,
        simplicity=simplicity(cell, budget),
        paste=paste_of(cell, app.description),
        ruled_out=broken or budget.overdrawn,
    )


def budget_in(cell: Cell, limits: AdviseSpec) -> Budget:
    """A cell's connections on all hosts, predicted, with the matrix's clients on each of them."""
    # What the harness itself opens, and the limit of its own server, are none of the deployment's.
    open_ended = replace(cell, database=cell.database.model_copy(update={"max_connections": ANY_CONNECTIONS}))
    crowded = replace(open_ended, load=cell.load.model_copy(update={"users": ANY_CLIENTS}))
    room = room_for(_max_connections(cell, limits), RESERVED.get(cell.database.engine, 0), limits.headroom)
    return budget_of(
        predict(open_ended, checks=0),
        predict(crowded, checks=0),
        limits.hosts,
        room,
        behind_pooler=cell.pooler is not None,
        aliases=1 + cell.replicas,
    )


def _max_connections(cell: Cell, limits: AdviseSpec) -> int:
    if limits.max_connections is not None:
        return limits.max_connections
    if "max_connections" in cell.database.model_fields_set:
        return cell.database.max_connections
    return cell.database.own_max_connections

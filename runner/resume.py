"""`connbench resume`: a run that was cut off is brought to its end, with nothing measured twice that was whole.

The unit is the group: its cells are compared with each other, so they have to be alive together. A group of which
anything is missing is run again as a whole, under the next attempt number; what it had finished stays where it is,
and the analysis takes the last attempt of each cell and block.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from runner.apps import for_app
from runner.bench import conclude, matrix_hash, spreading, stop_rule
from runner.errors import ConnbenchError, UsageError
from runner.host import describe_host
from runner.matrix.expansion import MOST_CELLS, expand
from runner.matrix.reading import read_matrix
from runner.matrix.spec import MatrixFile
from runner.plan import Plan, PlannedGroup, make_plan, parse_shard
from runner.progress import reporter
from runner.results import repair
from runner.results.schema import RunEnd, RunRecord
from runner.results.store import RunFolder, now_utc, open_run, write_json
from runner.run import Run
from runner.site import SITES, Site, choose_site
from runner.stacks.app import load_app
from runner.turn import own_turn

SHOWN = 8


def finish(
    path: Path,
    *,
    force: bool,
    wait: bool,
    results: Console,
    messages: Console,
    most_cells: int | None = MOST_CELLS,
) -> int:
    """Runs what is missing, then concludes as `connbench run` does; returns its exit code.

    UsageError, naming the difference, where the matrix, a version or the host is not what it was when the run began;
    with `force` the difference is recorded instead.
    """
    say = partial(messages.print, markup=False, highlight=False, soft_wrap=True)
    folder = open_run(path)
    if folder.run().hosts:
        raise UsageError(
            f"{path}: its blocks were spread over several hosts: resume it with --scheduler tcp://HOST:PORT"
        )
    with own_turn(wait=wait, say=say):
        record = folder.run()
        app = load_app(str(record.matrix["app"]))
        plan = for_app(plan_of(folder, record, most_cells), app)
        site = _site(record, plan)
        site.require(plan)
        environments = site.environments(plan.cells.values(), messages)
        _refuse_or_record(folder, record, changes(record, site.versions(environments, plan.cells.values())), force)
        for line in repair.mend(folder, plan.groups):
            folder.event("mended", what=line)
            say(line)
        enough = stop_rule(plan, folder)
        groups = missing(plan, folder)
        if groups and enough(groups[0].block - 1):
            groups = ()
        if not groups:
            say("nothing is missing")
            return conclude(folder, _completed(folder), results)
        attempts = sum(len(group.attempts) for group in groups)
        say(f"{attempts} of {len(plan.attempts)} attempts are missing, results in {folder.path}")
        folder.event("resumed", attempts=attempts)
        rest = replace(plan, groups=groups)
        apps = dict.fromkeys(plan.cells, app)
        before = folder.end()
        with reporter(messages, rest.planned_seconds * len(groups) / len(plan.groups)) as progress:
            end = Run(rest, apps, environments, folder, progress, site.provider).execute(enough)
        end = _together(before, end)
        write_json(folder.path / "end.json", end)
    return conclude(folder, end, results)


def finish_spread(path: Path, scheduler: str, *, results: Console, messages: Console, most_cells: int | None) -> int:
    """The same for a run whose blocks were spread over hosts; the hosts have to be what they were.

    What a block lacks is no part of it: it is measured anew as a whole, on one host.
    """
    folder = open_run(path)
    record = folder.run()
    if not record.hosts:
        raise UsageError(f"{path}: it was measured on one host and goes on there: connbench resume {path}")
    plan = plan_of(folder, record, most_cells)
    for line in repair.mend(folder, plan.groups):
        folder.event("mended", what=line)
        messages.print(line, markup=False, highlight=False, soft_wrap=True)
    before = folder.end()
    now = spreading().finish(folder, record, plan, scheduler, messages)
    if now is None:
        return conclude(folder, _completed(folder), results)
    end = _together(before, now)
    write_json(folder.path / "end.json", end)
    return conclude(folder, end, results)


def plan_of(folder: RunFolder, record: RunRecord, most_cells: int | None = MOST_CELLS) -> Plan:
    """The run's plan, made again from its own copy of the matrix; refused if it is not what plan.jsonl says."""
    try:
        matrix = MatrixFile.model_validate(record.matrix)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{folder.path / 'run.json'}: matrix.{where}: {first['msg']}: it cannot be resumed") from error
    blocks = None if record.adaptive else record.blocks
    shard = parse_shard(record.shard) if record.shard else None
    plan = make_plan(expand(matrix, most_cells), matrix, record.seed, record.only, record.quick, blocks, shard)
    planned = folder.planned()
    if not planned:
        folder.write_plan(plan.rows())
    elif list(plan.rows()) != planned:
        raise UsageError(
            f"{folder.path / 'plan.jsonl'}: not the plan that `connbench run` makes of this run's matrix and seed: "
            "another command or another version made it, or it was edited; it cannot be resumed"
        )
    return plan


def changes(record: RunRecord, versions: Mapping[str, str]) -> list[str]:
    """What is not as it was when the run began, in words."""
    host = describe_host()
    parts = [*_matrix_changes(record)]
    parts += [f"host: {line}" for line in differences(record.host.model_dump(), host.model_dump())]
    parts += [f"version of {line}" for line in differences(record.versions, versions)]
    return parts


def _matrix_changes(record: RunRecord) -> list[str]:
    if not record.matrix_file:
        return []
    try:
        now = read_matrix(Path(record.matrix_file)).model_dump(mode="json")
    except ConnbenchError as error:
        return [f"matrix: {str(error).splitlines()[0]}"]
    if matrix_hash(now) == record.matrix_hash:
        return []
    return [f"matrix: {line}" for line in differences(record.matrix, now)]


def differences(before: Any, now: Any, place: str = "") -> list[str]:
    """Where two plain values differ: `servers.sync.workers: 4 → 2`."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = [*before, *(key for key in now if key not in before)]
        return [
            line
            for key in keys
            for line in differences(before.get(key), now.get(key), f"{place}.{key}" if place else str(key))
        ]
    return [] if before == now else [f"{place}: {before} → {now}"]


def _refuse_or_record(folder: RunFolder, record: RunRecord, found: Sequence[str], force: bool) -> None:
    if not found:
        return
    if not force:
        shown = [*found[:SHOWN], *([f"… and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])]
        raise UsageError(
            f"{folder.path} cannot be resumed, its parts would not compare:\n"
            + "\n".join(f"  {line}" for line in shown)
            + "\n--force resumes it all the same, and records this"
        )
    folder.event("forced", changes=list(found))
    despite = [*record.resumed_despite, *(line for line in found if line not in record.resumed_despite)]
    write_json(folder.path / "run.json", record.model_copy(update={"resumed_despite": despite}))


def missing(plan: Plan, folder: RunFolder) -> tuple[PlannedGroup, ...]:
    """The groups that are not whole, each to be run under the number after its last."""
    return tuple(found for group in plan.groups if (found := _again(group, folder)) is not None)


def _again(group: PlannedGroup, folder: RunFolder) -> PlannedGroup | None:
    last = repair.last_attempt(folder, group)
    if last and repair.is_whole(folder, group, last):
        return None
    return replace(group, attempts=tuple(replace(planned, attempt=last + 1) for planned in group.attempts))


def _completed(folder: RunFolder) -> RunEnd:
    """The end of a run that is whole, which it may not have come to write down: it was ended in its last moment."""
    before = folder.end()
    if before is not None and before.status == "finished":
        return before
    finished = {"status": "finished", "finding": "", "finished_at": now_utc()}
    if before is None:
        end = RunEnd.model_validate({**finished, "wall_seconds": None, "databases": [], "time_spent": {}})
    else:
        end = before.model_copy(update=finished)
    write_json(folder.path / "end.json", end)
    return end


def _site(record: RunRecord, plan: Plan) -> Site:
    if record.provider not in SITES:
        known = ", ".join(SITES)
        raise UsageError(f"run.json: the run was made under {record.provider!r}; this connbench knows {known}")
    return choose_site(record.provider, plan)


def _together(before: RunEnd | None, now: RunEnd) -> RunEnd:
    """Both parts of a run as one: what was spent adds up, as far as it was written down."""
    if before is None:
        return now
    spent = {**before.time_spent}
    for name, seconds in now.time_spent.items():
        spent[name] = spent.get(name, 0.0) + seconds
    databases = {database.name: database for database in [*before.databases, *now.databases]}
    return now.model_copy(
        update={
            "wall_seconds": (before.wall_seconds or 0.0) + (now.wall_seconds or 0.0),
            "time_spent": spent,
            "databases": _by_name(databases.values()),
        }
    )


def _by_name(databases: Iterable[Any]) -> list[Any]:
    return sorted(databases, key=lambda database: str(database.name))

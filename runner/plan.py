"""In which order: blocks, and in them groups of cells that are compared, shuffled anew for each block."""

import fnmatch
import hashlib
import heapq
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from runner.errors import UsageError
from runner.matrix.cells import Cell
from runner.matrix.document import nearest
from runner.matrix.expansion import Expansion
from runner.matrix.phases import SERVER_FAULTS, faults
from runner.matrix.prediction import predict, usable_connections
from runner.matrix.spec import BlockRange, MatrixFile, SamplingSpec
from runner.provision.roles import ANYTHING, Hosts, Roles

# --quick shows that every cell works and roughly what it does, in three minutes for some thirty cells on
# two cores. Windows of half a second are too short to rank cells that are near each other; two of them show
# a gross outlier. The idle time stays whole: what lingers is defined after two seconds, when gunicorn drops
# idle gevent clients too.
QUICK_COUNT = 1.2
QUICK_IDLE = 2.0
QUICK_WINDOWS = 2
QUICK_WINDOW = 0.5
QUICK_STEP = 0.5
QUICK_PRECISION = 0.1

# A group's stacks are all alive, at some 200 MB each with four workers.
MOST_TOGETHER = 16

# Seconds beyond count, idle and windows: database, app server and generator up and down, on two cores …
ATTEMPT_OVERHEAD = 1.5
# … telling a generator to drive and to stand still, …
WINDOW_OVERHEAD = 0.03
# … starting the database servers and making their templates, side by side, once a run.
DATABASE_SETUP = 8.0


@dataclass(frozen=True)
class PlannedAttempt:
    """One execution of one cell. `block`, `attempt` and `order` (of the count in its group) count from 1."""

    block: int
    group: str
    cell: str
    attempt: int
    order: int


@dataclass(frozen=True)
class PlannedGroup:
    """Cells that are alive together, in the order of their count.

    Groups of one `database_key` share a database server; `own_databases` has the key of each cell that wants another
    one. `seed` draws the order of windows in each round, unless the cells take `turns` as in ABBA: every other round
    the other way about, so that what drifts evenly hits both alike.
    """

    block: int
    name: str
    database_key: str
    seed: int
    attempts: tuple[PlannedAttempt, ...]
    turns: Literal["drawn", "ABBA"] = "drawn"
    own_databases: Mapping[str, str] = field(default_factory=dict)

    def database_of(self, cell: str) -> str:
        """The key of the database server that a cell of the group runs on."""
        return self.own_databases.get(cell, self.database_key)


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a plan that together are the whole; `number` from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """`2/4`."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard: found {text!r}, allowed: one of so many parts, such as 2/4")
    return Shard(int(number), int(count))


@dataclass(frozen=True)
class Plan:
    """What a run does: `blocks` passes, whose groups are listed in the order in which they run.

    `cells` are as they will run: with --quick their loads are shorter than the file's. With `adaptive`, `blocks` are
    the most that there will be.
    """

    seed: int
    quick: bool
    blocks: int
    cells: Mapping[str, Cell]
    sampling: SamplingSpec
    groups: tuple[PlannedGroup, ...]
    adaptive: BlockRange | None = None
    roles: Roles = ANYTHING
    hosts: Hosts | None = None

    @property
    def at_least(self) -> "Plan":
        """The same with the fewest blocks that it can come to."""
        fewest = self.adaptive.min if self.adaptive else self.blocks
        return replace(self, blocks=fewest, groups=tuple(group for group in self.groups if group.block <= fewest))

    @property
    def attempts(self) -> tuple[PlannedAttempt, ...]:
        """All attempts in order."""
        return tuple(attempt for group in self.groups for attempt in group.attempts)

    def rows(self) -> list[Mapping[str, Any]]:
        """The rows of plan.jsonl: attempts in order."""
        return [asdict(attempt) for attempt in self.attempts]

    @property
    def measuring_seconds(self) -> float:
        """Seconds under load: counts, and windows without their lead-ins."""
        return self.blocks * sum(cell.driven_seconds for cell in self.cells.values())

    @property
    def planned_seconds(self) -> float:
        """Seconds that are laid down: counts, idle times and windows."""
        return self.blocks * sum(cell.planned_seconds for cell in self.cells.values())

    @property
    def estimated_seconds(self) -> float:
        """Seconds from start to end, environments being there: planned ones and what comes with them."""
        windows = sum(cell.load.windows for cell in self.cells.values())
        overhead = len(self.cells) * ATTEMPT_OVERHEAD + windows * WINDOW_OVERHEAD
        return DATABASE_SETUP + self.planned_seconds + self.blocks * overhead


def make_plan(
    expansion: Expansion,
    matrix: MatrixFile,
    seed: int,
    only: str | None = None,
    quick: bool = False,
    blocks: int | None = None,
    shard: Shard | None = None,
    block: int | None = None,
) -> Plan:
    """The same plan for the same arguments, on every machine.

    `only` is a glob over cell ids. Raises UsageError where it matches none, or nothing in the matrix can run. With
    `shard` it is that part of the same plan: whole groups, in the order that they have in the whole. With `block` it
    has the groups of that one alone.
    """
    chosen = _chosen(expansion, matrix, only)
    cells = {cell.id: _quickened(cell) if quick else cell for cell in chosen}
    groups = _groups(list(cells.values()))
    own = groups if shard is None else _of_shard(groups, shard)
    names = {group.name for group in own}
    adaptive = matrix.blocks if isinstance(matrix.blocks, BlockRange) and not (blocks or quick) else None
    count = blocks or (1 if quick else _most(matrix.blocks))
    numbers = range(1, count + 1) if block is None else [block]
    planned = tuple(group for number in numbers for group in _block(number, groups, seed) if group.name in names)
    kept = {cell.id for group in own for cell in group.cells}
    cells = {name: cell for name, cell in cells.items() if name in kept}
    return Plan(seed, quick, count, cells, matrix.sampling, planned, adaptive, matrix.roles, matrix.hosts)


def _most(blocks: int | BlockRange) -> int:
    return blocks.max if isinstance(blocks, BlockRange) else blocks


def plan_as_json(expansion: Expansion, plan: Plan) -> dict[str, Any]:
    """What `connbench plan --json` prints: plain values only."""
    return {
        "blocks": plan.blocks,
        "adaptive": plan.adaptive.model_dump(mode="json") if plan.adaptive else None,
        "measuring_seconds": round(plan.measuring_seconds, 1),
        "estimated_seconds": round(plan.estimated_seconds, 1),
        "least_seconds": round(plan.at_least.estimated_seconds, 1),
        "cells": [
            {
                "id": cell.id,
                "axes": dict(cell.axes),
                "params": cell_params(cell),
                "reference": cell.reference,
                "predicted": asdict(predict(cell)),
            }
            for cell in plan.cells.values()
        ],
        "skipped": [asdict(cell) for cell in expansion.skipped],
        "attempts": plan.rows(),
    }


def cell_params(cell: Cell) -> dict[str, Any]:
    """A cell's parameters, resolved, as plain values."""
    pooler = {} if cell.pooler is None else {"pooler": cell.pooler.model_dump(mode="json")}
    return {
        "database": cell.database.model_dump(mode="json"),
        "server": cell.server.model_dump(mode="json"),
        "connection": cell.connection.model_dump(mode="json"),
        **pooler,
        "load": cell.load.model_dump(mode="json"),
        **(
            {"phases": [phase.model_dump(mode="json", exclude_defaults=True) for phase in cell.phases]}
            if cell.phases
            else {}
        ),
        "versions": dict(cell.versions),
    }


def derive_seed(seed: int, *parts: object) -> int:
    """A seed of its own for one part of a run, the same on every machine and Python."""
    text = ":".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _chosen(expansion: Expansion, matrix: MatrixFile, only: str | None) -> list[Cell]:
    if not expansion.cells:
        raise UsageError(f"no cell of the matrix {matrix.name!r} can run; `connbench plan` lists the reasons")
    if only is None:
        return list(expansion.cells)
    chosen = [cell for cell in expansion.cells if fnmatch.fnmatchcase(cell.id, only)]
    if not chosen:
        ids = [cell.id for cell in expansion.cells]
        skipped = next((cell for cell in expansion.skipped if fnmatch.fnmatchcase(cell.id, only)), None)
        why = f"; {skipped.id} is skipped: {skipped.reason}" if skipped else nearest(only, ids)
        shown = ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
        raise UsageError(f"--only {only}: matches none of the {len(ids)} cells ({shown}){why}")
    present = {cell.id for cell in chosen}
    # What is not measured beside a cell is nothing to compare it with.
    return [cell if cell.reference in present else replace(cell, reference=None) for cell in chosen]


def _quickened(cell: Cell) -> Cell:
    load = cell.load
    shorter = {
        "count": min(load.count, QUICK_COUNT),
        "idle": min(load.idle, QUICK_IDLE),
        "windows": min(load.windows, QUICK_WINDOWS),
        "window": min(load.window, QUICK_WINDOW),
        "search": load.search.model_copy(
            update={
                "step": min(load.search.step, QUICK_STEP),
                "precision": max(load.search.precision, QUICK_PRECISION),
            }
        ),
    }
    return replace(cell, load=load.model_copy(update=shorter))


@dataclass(frozen=True)
class _Group:
    name: str
    database_key: str
    cells: tuple[Cell, ...]


def _groups(cells: Sequence[Cell]) -> list[_Group]:
    """Cells of equal databases together, as far as database and machine can hold their stacks at once.

    Names of definitions have neither dots nor colons: no made name is another's.
    """
    variants: dict[str, dict[tuple[str, bool], list[Cell]]] = {}
    for cell in cells:
        same_name = variants.setdefault(cell.database_name, {})
        # What stops the server is kept from the one that the other cells depend on.
        stopped = bool(SERVER_FAULTS & faults(cell.phases))
        same_name.setdefault((cell.database.model_dump_json(), stopped), []).append(cell)
    groups = []
    for name, by_spec in variants.items():
        for number, members in enumerate(by_spec.values(), start=1):
            key = name if len(by_spec) == 1 else f"{name}.{number}"
            parts = _parts(members)
            names = [key] if len(parts) == 1 else [f"{key}:{part}" for part in range(1, len(parts) + 1)]
            groups += [_Group(part_name, key, tuple(part)) for part_name, part in zip(names, parts, strict=True)]
    return groups


def _of_shard(groups: Sequence[_Group], shard: Shard) -> list[_Group]:
    """Groups dealt out by size, each to the shard that has the fewest cells up to then."""
    dealt: list[list[_Group]] = [[] for _ in range(shard.count)]
    fewest = [(0, number) for number in range(shard.count)]
    for group in sorted(groups, key=lambda group: (-len(group.cells), group.name)):
        cells, number = fewest[0]
        dealt[number].append(group)
        heapq.heapreplace(fewest, (cells + len(group.cells), number))
    own = dealt[shard.number - 1]
    if not own:
        raise UsageError(
            f"--shard {shard}: nothing is left for it: compared cells stay together, and there are {len(groups)} groups"
        )
    return own


def _parts(cells: Sequence[Cell]) -> list[list[Cell]]:
    """One database's cells in groups that fit; those that are compared to one reference stay together.

    A cell that may exhaust the database's connections would starve the others, and one with phases of its own has no
    windows to take in turns: they run alone.
    """
    together: dict[str, list[Cell]] = {}
    alone: list[list[Cell]] = []
    for cell in cells:
        if cell.phases or predict(cell).refusals:
            alone.append([cell])
        else:
            together.setdefault(cell.reference or cell.id, []).append(cell)
    parts: list[list[Cell]] = []
    for family in together.values():
        if not _fit(family):
            alone += [[cell] for cell in family]
        elif parts and len(parts[-1]) + len(family) <= MOST_TOGETHER and _fit([*parts[-1], *family]):
            parts[-1] += family
        else:
            parts.append(list(family))
    return parts + alone


def _fit(cells: Sequence[Cell]) -> bool:
    """Whether the database holds what these cells keep while idle and what one of them needs under load."""
    predictions = [predict(cell) for cell in cells]
    kept = sum(prediction.lingering_max or 0 for prediction in predictions)
    more = max((prediction.max or 0) - (prediction.lingering_max or 0) for prediction in predictions)
    return kept + more <= usable_connections(cells[0].database)


def _block(number: int, groups: Sequence[_Group], seed: int) -> list[PlannedGroup]:
    ordered = list(groups)
    random.Random(derive_seed(seed, number)).shuffle(ordered)
    return [_planned(number, group, seed) for group in ordered]


def _planned(block: int, group: _Group, seed: int) -> PlannedGroup:
    own_seed = derive_seed(seed, block, group.name)
    order = [cell.id for cell in group.cells]
    random.Random(own_seed).shuffle(order)
    attempts = (PlannedAttempt(block, group.name, cell, 1, place) for place, cell in enumerate(order, start=1))
    return PlannedGroup(block, group.name, group.database_key, own_seed, tuple(attempts))


def plan_of_two(base: Cell, candidate: Cell, matrix: MatrixFile, seed: int, blocks: int, *, apart: bool) -> Plan:
    """Two cells held against each other: one group a block, their windows in turns as in ABBA.

    `apart`: each has a database server of its own, as where what is in the database may differ. The one that begins
    changes from block to block.
    """
    apart = apart or base.database != candidate.database or not _fit([base, candidate])
    own = {candidate.id: f"{candidate.database_name}.{candidate.id}"} if apart else {}
    groups = []
    for block in range(1, blocks + 1):
        order = (base, candidate) if block % 2 else (candidate, base)
        attempts = tuple(PlannedAttempt(block, "gate", cell.id, 1, place) for place, cell in enumerate(order, start=1))
        own_seed = derive_seed(seed, block)
        groups.append(PlannedGroup(block, "gate", base.database_name, own_seed, attempts, "ABBA", own))
    cells = {base.id: base, candidate.id: candidate}
    return Plan(seed, False, blocks, cells, matrix.sampling, tuple(groups), roles=matrix.roles, hosts=matrix.hosts)


def plan_of_rounds(cells: Sequence[Cell], matrix: MatrixFile, seed: int, blocks: int) -> Plan:
    """Cells that may be left out of later blocks (`regrouped`): at most `blocks` of all of them."""
    by_id = {cell.id: cell for cell in cells}
    assert len(by_id) == len(cells), "two cells of one id: one of them would be lost"
    keys = {cell.id: group.database_key for group in _groups(cells) for cell in group.cells}
    groups = [group for block in range(1, blocks + 1) for group in _drawn(block, cells, keys, seed)]
    return Plan(seed, False, blocks, by_id, matrix.sampling, tuple(groups), roles=matrix.roles, hosts=matrix.hosts)


def regrouped(plan: Plan, block: int, chosen: Collection[str]) -> tuple[PlannedGroup, ...]:
    """A block of a plan of rounds with these cells alone: who is left of several groups comes together."""
    keys = {planned.cell: group.database_key for group in plan.groups for planned in group.attempts}
    cells = [cell for name, cell in plan.cells.items() if name in chosen]
    return tuple(_drawn(block, cells, keys, plan.seed))


def _drawn(block: int, cells: Sequence[Cell], keys: Mapping[str, str], seed: int) -> list[PlannedGroup]:
    """Groups of one database each, their members drawn anew for each block, so that in time all meet."""
    groups = []
    for key in dict.fromkeys(keys[cell.id] for cell in cells):
        members = [cell for cell in cells if keys[cell.id] == key]
        random.Random(derive_seed(seed, block, key, "members")).shuffle(members)
        exhausting = [[cell] for cell in members if predict(cell).refusals]
        parts = [*_halved([cell for cell in members if not predict(cell).refusals]), *exhausting]
        names = [key] if len(parts) == 1 else [f"{key}:{number}" for number in range(1, len(parts) + 1)]
        groups += [
            _planned(block, _Group(name, key, tuple(part)), seed) for name, part in zip(names, parts, strict=True)
        ]
    return groups


def _halved(cells: Sequence[Cell]) -> list[list[Cell]]:
    """As few parts as machine and database can hold."""
    if not cells:
        return []
    if len(cells) == 1 or (len(cells) <= MOST_TOGETHER and _fit(cells)):
        return [list(cells)]
    half = len(cells) // 2
    return [*_halved(cells[:half]), *_halved(cells[half:])]

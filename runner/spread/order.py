"""What is asked of a worker, and what a worker says of itself: plain data, the same on every host."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runner.apps import for_app
from runner.matrix.expansion import expand
from runner.matrix.spec import MatrixFile
from runner.models import Strict
from runner.plan import Plan, PlannedGroup, make_plan
from runner.results.schema import HostRecord
from runner.source import CODE, code_digest
from runner.stacks.app import App, load_app

#: What has to be the same on hosts whose blocks are put together; memory counts in steps of 256 MiB, as the kernel
#: keeps a little of it for itself.
IDENTICAL = ("system", "kernel", "cpu", "cores")
MEMORY_STEP = 1 << 28


class Order(Strict):
    """One block of a run. Its plan is made where it is measured, from the same matrix and seed."""

    matrix: Mapping[str, Any]
    seed: int
    only: str | None
    quick: bool
    blocks: int | None
    provider: str
    block: int
    #: Under which number each cell is measured: above 1 where a resumed run does a block again.
    attempt: int = 1

    @property
    def app(self) -> App:
        """The app, as this host has it."""
        return load_app(str(self.matrix["app"]))

    def plan(self) -> Plan:
        """The plan of this block alone."""
        matrix = MatrixFile.model_validate(self.matrix)
        plan = make_plan(expand(matrix, None), matrix, self.seed, self.only, self.quick, self.blocks, block=self.block)
        groups = tuple(_numbered(group, self.attempt) for group in plan.groups)
        return for_app(replace(plan, groups=groups, blocks=1, adaptive=None), self.app)


class Description(Strict):
    """A host, and everything on it that bears on figures. `source` is a hash of connbench's and the app's code."""

    host: HostRecord
    versions: Mapping[str, str]
    source: str


def _numbered(group: PlannedGroup, attempt: int) -> PlannedGroup:
    return replace(group, attempts=tuple(replace(planned, attempt=attempt) for planned in group.attempts))


def source_hash(app: App) -> str:
    """The same for the same Python code and app.yaml, wherever connbench's checkout and the app's project are."""
    return code_digest((*CODE, (app.folder, app.folder)), app.source.read_bytes())


def differences(norm: Description, other: Description) -> Sequence[str]:
    """In what another host is not the norm's twin, in words."""
    mine, theirs = norm.host, other.host
    found = [
        f"{name} ({getattr(mine, name)} and {getattr(theirs, name)})"
        for name in IDENTICAL
        if getattr(mine, name) != getattr(theirs, name)
    ]
    if mine.memory_bytes // MEMORY_STEP != theirs.memory_bytes // MEMORY_STEP:
        found.append(f"memory ({mine.memory_bytes >> 20} and {theirs.memory_bytes >> 20} MiB)")
    for name in sorted({*norm.versions, *other.versions}):
        before, now = norm.versions.get(name), other.versions.get(name)
        if before != now:
            found.append(f"version of {name} ({before} and {now})")
    if norm.source != other.source:
        found.append("connbench's or the app's code")
    return found

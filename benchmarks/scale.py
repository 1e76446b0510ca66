"""A run of up to 1,000 hosts and 100,000 attempts through the planner, the store and the merge; nothing is started.

Each host has a shard of its own: ten cells that are compared with each other, in ten blocks. Attempts are written as
a run writes them, without requests in them. Each size is a process of its own, whose peak memory is its own too.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.bench import Machine, Options, run_record
from runner.host import describe_host
from runner.matrix.expansion import Expansion, expand
from runner.matrix.spec import MatrixFile
from runner.plan import Plan, PlannedGroup, Shard, make_plan
from runner.results.merge import merge
from runner.results.schema import AttemptRecord, RunEnd, Verdict
from runner.results.store import RunFolder, now_utc, write_json

#: Each is so many hosts, of so many attempts each.
HOSTS = (10, 40, 100, 400, 1000)
CELLS, BLOCKS = 10, 10
SEED = 7


def matrix_of(hosts: int) -> MatrixFile:
    """Two settings of the database multiply to `hosts` variants: one group each, with ten cells."""
    few = next(number for number in range(int(hosts**0.5), 0, -1) if hosts % number == 0)
    return MatrixFile.model_validate(
        {
            "name": "scale",
            "app": "shop",
            "load": {"profile": "read"},
            "blocks": BLOCKS,
            "databases": {"pg": {"engine": "postgres"}},
            "servers": {"sync": {"kind": "gunicorn", "worker_class": "sync", "workers": 1}},
            "connections": {"per-request": {"conn_max_age": 0}, "forever": {"conn_max_age": None}},
            "matrix": {
                "database": ["pg"],
                "server": ["sync"],
                "connection": ["per-request", "forever"],
                "servers.sync.workers": list(range(1, CELLS // 2 + 1)),
                "databases.pg.settings.work_mem": list(range(1000, 1000 + few)),
                "databases.pg.settings.temp_buffers": list(range(1000, 1000 + hosts // few)),
            },
        }
    )


class Simulation:
    """One size: seconds of each step, by the clock in `seconds` and of the processor in `cpu_seconds`."""

    def __init__(self, hosts: int, out: Path) -> None:
        self.hosts, self.out = hosts, out
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 3)
        self.cpu_seconds[name] = round(time.process_time() - cpu, 3)

    def run(self) -> Mapping[str, Any]:
        """Figures of the whole; the merged folder has every attempt, or this fails."""
        matrix = matrix_of(self.hosts)
        with self.step("plan"):
            expansion = expand(matrix, None)
            plan = make_plan(expansion, matrix, SEED)
        with self.step("plan_of_one_shard"):
            shard = make_plan(expansion, matrix, SEED, shard=Shard(1, self.hosts))
        assert len(shard.attempts) == CELLS * BLOCKS
        with self.step("store"):
            folders = self._write(matrix, expansion, plan)
        with self.step("merge"):
            merged = merge(folders, self.out / "merged", "simulated")
        with self.step("read"):
            found = {(one.cell, one.block) for _, one in merged.attempts()}
        assert found == {(one.cell, one.block) for one in plan.attempts}
        return {
            "hosts": self.hosts,
            "attempts": len(plan.attempts),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }

    def _write(self, matrix: MatrixFile, expansion: Expansion, plan: Plan) -> list[RunFolder]:
        """Every host's folder, as `connbench run --shard` leaves it."""
        machine = Machine(describe_host(), {})
        by_name: dict[str, list[PlannedGroup]] = {}
        for group in plan.groups:
            by_name.setdefault(group.name, []).append(group)
        assert len(by_name) == self.hosts
        folders = []
        for number, groups in enumerate(by_name.values(), start=1):
            cells = {one.cell: plan.cells[one.cell] for one in groups[0].attempts}
            part = replace(plan, groups=tuple(groups), cells=cells)
            shard, out = Shard(number, self.hosts), self.out / f"host-{number}"
            options = Options(matrix=Path("scale.yaml"), out=out, seed=SEED, shard=shard)
            folder = RunFolder.create(out, run_record(options, matrix, expansion, part, machine))
            write_shard(folder, part)
            folders.append(folder)
        return folders


def write_shard(folder: RunFolder, part: Plan) -> None:
    """What a run of this part of the plan would write, were there anything to measure."""
    folder.write_plan(part.rows())
    for group in part.groups:
        for planned in group.attempts:
            record = AttemptRecord(
                cell=planned.cell,
                block=planned.block,
                attempt=planned.attempt,
                group=group.name,
                verdict=Verdict(status="failed", reason="simulated"),
                started_at=now_utc(),
                clock_zero=0.0,
            )
            partial = folder.begin_attempt(planned.cell, planned.block, planned.attempt)
            folder.write_attempt(partial, record)
            folder.commit_attempt(partial)
            folder.event("failed", cell=planned.cell, block=planned.block)
    end = RunEnd(status="finished", finished_at=now_utc(), wall_seconds=1.0, databases=[], time_spent={"count": 1.0})
    write_json(folder.path / "end.json", end)


def measure(rounds: int = len(HOSTS)) -> dict[str, Any]:
    """The first `rounds` sizes, and each step's processor time for one attempt: equal where growth is linear.

    Clock time has the disk's in it: an attempt is on the disk before it is visible.
    """
    sizes = []
    for hosts in HOSTS[:rounds]:
        command = [sys.executable, "-m", "benchmarks.scale", str(hosts)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(done.stdout)
        each = {name: round(1e6 * spent / found["attempts"], 1) for name, spent in found["cpu_seconds"].items()}
        sizes.append({**found, "cpu_microseconds_per_attempt": each})
    return {"sizes": sizes}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="connbench-scale-") as scratch:
        print(json.dumps(Simulation(int(sys.argv[1]), Path(scratch)).run()))

"""Many hosts and attempts, simulated: all of them arrive, and the steps are those of the committed figures."""

from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.scale import BLOCKS, CELLS, Simulation, matrix_of
from runner.matrix.expansion import expand
from runner.plan import Shard, make_plan


@pytest.mark.parametrize("hosts", [1, 6, 7])
def test_every_attempt_arrives(hosts: int, tmp_path: Path) -> None:
    found = Simulation(hosts, tmp_path).run()
    assert (found["hosts"], found["attempts"]) == (hosts, hosts * CELLS * BLOCKS)
    assert list(found["seconds"]) == ["plan", "plan_of_one_shard", "store", "merge", "read"]
    assert found["peak_memory_mib"] > 0


def test_the_sizes_are_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "HOSTS", (1, 2))
    sizes = scale.measure(rounds=2)["sizes"]
    assert [one["attempts"] for one in sizes] == [100, 200]
    assert set(sizes[0]["cpu_microseconds_per_attempt"]) == set(sizes[0]["seconds"])


def test_a_thousand_shards_have_a_group_each() -> None:
    """What each host does by itself; ten thousand cells in it are no more work than once."""
    matrix = matrix_of(1000)
    expansion = expand(matrix, None)
    shards = [Shard(number, 1000) for number in (1, 500, 1000)]
    parts = [make_plan(expansion, matrix, 7, blocks=1, shard=shard) for shard in shards]
    assert [len(part.groups) for part in parts] == [1, 1, 1]
    assert len({cell for part in parts for cell in part.cells}) == 3 * CELLS

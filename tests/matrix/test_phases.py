"""Phases as the file says them: what one is, what may follow what, when load goes on, and where they run."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runner.errors import UsageError
from runner.matrix.expansion import expand
from runner.matrix.phases import PhaseSpec, segments
from runner.matrix.prediction import predict
from runner.matrix.reading import read_matrix
from runner.matrix.spec import MatrixFile
from runner.plan import cell_params, make_plan
from tests.matrix.examples import make_matrix

DRIVE, IDLE = {"drive": "3s"}, {"idle": "4s"}
RESTART, KILL = {"fault": "restart-database"}, {"fault": "kill-connections"}
BESIDE = {"command": ["seed"], "beside": True}
INSTEAD = {"command": ["seed"]}


def phases(*raw: dict[str, Any]) -> list[PhaseSpec]:
    return [PhaseSpec.model_validate(one, strict=True) for one in raw]


def matrix_with(*raw: dict[str, Any], axis: tuple[str | None, ...] = (None, "own")) -> MatrixFile:
    axes = {"database": ["pg"], "server": ["sync"], "connection": ["per-request", "forever"], "load.phases": axis}
    return make_matrix({**axes, "load.phases": list(axis)}, phases={"own": list(raw)})


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({}, "found none of them"),
        ({"drive": "3s", "idle": "4s"}, "found drive and idle"),
        ({"drive": "3s", "beside": True}, "`beside` belongs to a command"),
        ({"fault": "kill-connections", "lasts": "2s"}, "`lasts` belongs to the fault pause-database"),
        ({"fault": "earthquake"}, "restart-database"),
        ({"command": []}, "at least 1"),
    ],
)
def test_what_is_no_phase(raw: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        PhaseSpec.model_validate(raw, strict=True)


@pytest.mark.parametrize("later", [DRIVE, BESIDE, {"fault": "reload-workers"}])
def test_nothing_needs_the_app_server_once_a_command_has_taken_its_place(later: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"needs the app server, in whose place 'manage.py seed' has run"):
        matrix_with(DRIVE, INSTEAD, later)
    assert matrix_with(DRIVE, INSTEAD, IDLE, RESTART, INSTEAD).phases["own"]


@pytest.mark.parametrize(
    ("raw", "loaded"),
    [
        ([DRIVE], [(True, [0])]),
        ([DRIVE, RESTART, DRIVE], [(True, [0, 1, 2])]),
        ([DRIVE, IDLE, DRIVE], [(True, [0]), (False, [1]), (True, [2])]),
        ([RESTART, DRIVE, KILL, IDLE], [(False, [0]), (True, [1, 2]), (False, [3])]),
        ([BESIDE, DRIVE, BESIDE, DRIVE, INSTEAD], [(False, [0]), (True, [1, 2, 3]), (False, [4])]),
        ([IDLE, INSTEAD, KILL, INSTEAD], [(False, [0, 1, 2, 3])]),
    ],
)
def test_load_goes_on_until_something_ends_it(raw: list[dict[str, Any]], loaded: list[tuple[bool, list[int]]]) -> None:
    found = segments(phases(*raw))
    assert [(segment.loaded, [index for index, _ in segment.phases]) for segment in found] == loaded


def test_phases_are_an_axis_and_null_is_the_default_attempt() -> None:
    default, own = expand(matrix_with(DRIVE, IDLE, DRIVE)).cells[:2]
    assert (default.id, own.id) == ("pg-sync-per-request-phases-none", "pg-sync-per-request-phases-own")
    assert default.phases == ()
    assert default.load.windows == 8
    assert [phase.title for phase in own.phases] == ["drive 3 s", "idle 4 s", "drive 3 s"]
    assert (own.driven_seconds, own.planned_seconds, own.load.windows) == (6, 10, 0)
    assert cell_params(own)["phases"] == [{"drive": "3s"}, {"idle": "4s"}, {"drive": "3s"}]
    assert "phases" not in cell_params(default)


@pytest.mark.parametrize(("fault", "servers"), [(RESTART, 2), (KILL, 1), ({"fault": "pause-database"}, 2)])
def test_they_run_alone_and_away_from_others_if_the_server_is_hit(fault: dict[str, Any], servers: int) -> None:
    matrix = matrix_with(DRIVE, fault, DRIVE)
    groups = make_plan(expand(matrix), matrix, seed=1, blocks=1).groups
    assert sorted(len(group.attempts) for group in groups) == [1, 1, 2]
    assert len({group.database_key for group in groups}) == servers
    together = next(group.database_key for group in groups if len(group.attempts) == 2)
    assert all((group.database_key == together) == (servers == 1) for group in groups if len(group.attempts) == 1)


def test_faults_and_commands_are_part_of_the_prediction() -> None:
    persistent = expand(matrix_with(DRIVE, KILL, DRIVE, axis=("own",))).cells[1]
    assert (predict(persistent).max, predict(persistent).opened_max) == (8, 8)
    beside = expand(matrix_with(BESIDE, DRIVE, axis=("own",))).cells[1]
    assert (predict(beside).max, predict(beside).opened_max) == (5, None)
    alone = expand(matrix_with(INSTEAD, IDLE, axis=("own",))).cells[1]
    assert not alone.serves
    assert (predict(alone).min, predict(alone).max, predict(alone).lingering_max) == (0, 1, 1)


def test_a_list_that_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "matrix.yaml"
    file.write_text(
        "name: small\ndatabases: {pg: {engine: postgres}}\nservers: {sync: {kind: gunicorn}}\n"
        "connections: {none: {}}\nphases: {outage: [drive: 1s]}\nload: {phases: outag}\nmatrix: {database: [pg]}\n"
    )
    with pytest.raises(UsageError, match=r"matrix.yaml:6:16: load.phases: no such list.*did you mean 'outage'"):
        read_matrix(file)

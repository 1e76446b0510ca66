"""The loop over the plan, with databases that only take notes: what is prepared, given up, ended and written."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner import preparation
from runner import run as running
from runner.errors import EnvironmentUnfit, StackError
from runner.matrix.expansion import expand
from runner.plan import Plan, PlannedGroup, make_plan
from runner.provision.native import NativeProvider
from runner.provision.roles import Roles
from runner.provision.service import Address, Command, Usage
from runner.results.schema import RunEnd
from runner.results.store import RunFolder, read_json
from runner.run import Run
from runner.stacks.app import load_app
from runner.stacks.databases.base import Account, DatabaseSpec
from runner.stacks.environment import AppEnvironment
from runner.stacks.versions import Recipe
from tests.matrix.examples import make_matrix

AXES = {"database": ["pg", "my"], "server": ["sync"], "connection": ["per-request", "forever"]}


class World:
    """Stand-ins for everything that would start a server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.notes: list[tuple[str, str]] = []
        self.commands: list[Command] = []
        self.groups: list[tuple[str, Any]] = []
        self.stages: list[Mapping[str, Any]] = []
        self.faults: dict[tuple[str, str], Exception] = {}
        self.in_group: Callable[[PlannedGroup], object] = lambda _: None
        self.folder: Path | None = None
        world = self

        class Provider(NativeProvider):
            def __init__(self, roles: Roles) -> None:
                super().__init__(roles)
                world.folder = self.folder

            def run(self, command: Command, **_: Any) -> str:
                world.commands.append(command)
                return ""

        self.make_provider = Provider
        monkeypatch.setattr(preparation, "make_database", lambda spec: FakeDatabase(self, spec))
        monkeypatch.setattr(preparation, "DatabaseSampler", FakeSampler)
        monkeypatch.setattr(running, "run_group", self._run_group)

    def note(self, engine: str, what: str) -> None:
        self.notes.append((engine, what))
        if error := self.faults.get((engine, what)):
            raise error

    def of(self, engine: str) -> list[str]:
        return [what for name, what in self.notes if name == engine]

    def _run_group(self, group: PlannedGroup, cells: Mapping[str, Any], stages: Mapping[str, Any], *_: Any) -> None:
        assert list(stages) == [planned.cell for planned in group.attempts]
        self.groups.append((group.name, next(iter(stages.values()))))
        self.stages.append(stages)
        self.in_group(group)


class FakeDatabase:
    def __init__(self, world: World, spec: DatabaseSpec) -> None:
        self.world, self.spec = world, spec
        self.product = f"{spec.engine} 1.0"
        self.unknown = ""
        self.applied_settings = {"max_connections": "10"}
        self.driver_errors: tuple[type[Exception], ...] = ()
        self.service = SimpleNamespace(
            address=Address("127.0.0.1", 15001), usage=lambda: Usage(0.0, 12345), alive=lambda: True, stop=lambda: None
        )

    def ping(self) -> None:
        pass

    def start(self, provider: NativeProvider, name: str, log_folder: Path) -> None:
        assert log_folder.is_dir()
        self.world.note(self.spec.engine, "start")

    def create_empty(self, name: str) -> Account:
        self.world.note(self.spec.engine, "create_empty")
        return Account(name, "user", "secret")

    def count_rows(self, account: Account, table: str) -> int:
        self.world.note(self.spec.engine, f"count_rows {table}")
        return 2000

    def freeze(self, account: Account) -> None:
        self.world.note(self.spec.engine, "freeze")

    def close(self) -> None:
        self.world.note(self.spec.engine, "close")


class FakeSampler:
    alive = True

    def __init__(self, database: FakeDatabase, *_: object) -> None:
        self._database = database
        database.world.note(database.spec.engine, "sampler")

    def stop(self) -> None:
        self._database.world.note(self._database.spec.engine, "sampler stopped")


class Notes:
    """A reporter."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def phase(self, cell: str, phase: str) -> None:
        pass

    def advance(self, seconds: float) -> None:
        pass

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def reporter() -> Notes:
    return Notes()


@pytest.fixture
def plan() -> Plan:
    matrix = make_matrix(AXES)
    return make_plan(expand(matrix), matrix, seed=1, blocks=2)


@pytest.fixture
def run(plan: Plan, world: World, reporter: Notes, tmp_path: Path) -> Run:
    recipe = Recipe("psycopg3")
    environments = {recipe: AppEnvironment(recipe, Path("/environment"))}
    return Run(
        plan,
        dict.fromkeys(plan.cells, load_app("shop")),
        environments,
        RunFolder(tmp_path),
        reporter,
        world.make_provider,
    )


def test_each_database_is_prepared_once_and_every_group_runs(
    run: Run, world: World, plan: Plan, tmp_path: Path
) -> None:
    end = run.execute()
    for engine in ("postgres", "mysql"):
        prepared = ["start", "create_empty", "count_rows orders_order", "freeze", "sampler"]
        assert world.of(engine) == [*prepared, "sampler stopped", "close"]
    assert [name for name, _ in world.groups] == [group.name for group in plan.groups]
    assert len(world.groups) == 4
    assert end.status == "finished"
    assert read_json(tmp_path / "end.json", RunEnd) == end
    assert {database.name: database.product for database in end.databases} == {"pg": "postgres 1.0", "my": "mysql 1.0"}
    assert end.wall_seconds is not None
    assert 0 < end.time_spent["set-up"] <= end.wall_seconds


def test_the_template_is_made_by_the_apps_own_commands(run: Run, world: World) -> None:
    run.execute()
    assert len(world.commands) == 4
    app = load_app("shop")
    for command in world.commands:
        assert command.argv[:2] == ["/environment/bin/python", "manage.py"]
        assert command.cwd == app.folder
        assert command.env["DJANGO_SETTINGS_MODULE"] == "connbench_settings"
        assert '"NAME": "template_app_1"' in command.env["CONNBENCH_OVERLAY"]
    assert (
        sorted(tuple(command.argv[2:]) for command in world.commands)
        == [("migrate", "--no-input")] * 2 + [("seed",)] * 2
    )


def test_a_group_is_handed_its_own_database_and_seed(run: Run, world: World, plan: Plan) -> None:
    run.execute()
    for group, (_, stage) in zip(plan.groups, world.groups, strict=True):
        assert stage.prepared.name == group.database_key
        assert stage.prepared.database.spec == plan.cells[group.attempts[0].cell].database
        assert stage.prepared.templates[()].rows == {"orders_order": 2000}
        assert stage.prepared.memory_bytes == 12345
        assert stage.seed == str(group.seed)
    locks = {id(stage.prepared.lock) for _, stage in world.groups}
    assert len(locks) == 2, "one for each server, the same in both blocks"


def test_a_cell_may_have_a_database_and_an_app_of_its_own(run: Run, world: World, plan: Plan) -> None:
    group = next(group for group in plan.groups if group.name == "pg")
    own, other = (planned.cell for planned in group.attempts)
    apps = {**dict.fromkeys(plan.cells, load_app("shop")), own: replace(load_app("shop"), name="shop of another day")}
    run._apps = apps
    run._plan = replace(plan, groups=(replace(group, own_databases={own: "pg-2"}),))
    run.execute()
    assert world.of("postgres").count("start") == 2
    assert {cell: stage.prepared.name for cell, stage in world.stages[0].items()} == {own: "pg-2", other: "pg"}
    assert {cell: stage.app for cell, stage in world.stages[0].items()} == {cell: apps[cell] for cell in (own, other)}
    assert world.stages[0][own].stopping is world.stages[0][other].stopping


def test_it_ends_after_the_block_that_is_enough(run: Run, world: World, plan: Plan) -> None:
    asked = []

    def enough(block: int) -> bool:
        asked.append((block, len(world.groups)))
        return True

    assert run.execute(enough).status == "finished"
    assert asked == [(1, 2)], "asked once the block's groups have all run"
    assert [name for name, _ in world.groups] == [group.name for group in plan.groups if group.block == 1]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("start", StackError("it stays down")),
        ("start", EnvironmentUnfit("not installed")),
        ("freeze", StackError("it has views")),
        ("sampler", StackError("it cannot look")),
    ],
)
def test_a_database_that_fails_takes_its_own_groups_with_it(
    run: Run, world: World, reporter: Notes, tmp_path: Path, step: str, error: Exception
) -> None:
    world.faults["mysql", step] = error
    end = run.execute()
    assert end.status == "finished"
    assert [name for name, _ in world.groups] == ["pg", "pg"]
    records = {(record.cell, record.block): record for _, record in RunFolder(tmp_path).attempts()}
    assert set(records) == {(cell, block) for cell in ("my-sync-per-request", "my-sync-forever") for block in (1, 2)}
    assert {(record.verdict.status, record.verdict.reason) for record in records.values()} == {("failed", str(error))}
    assert reporter.lines == [f"my: {error}"] * 2
    if step != "start":
        assert "close" in world.of("mysql"), "what came up is closed"


def test_an_interrupt_is_an_orderly_end(run: Run, world: World, tmp_path: Path) -> None:
    def interrupt(_: PlannedGroup) -> None:
        raise KeyboardInterrupt

    world.in_group = interrupt
    end = run.execute()
    assert end.status == read_json(tmp_path / "end.json", RunEnd).status == "interrupted"
    assert len(world.groups) == 1, "no other group is begun"
    assert world.of("postgres")[-2:] == world.of("mysql")[-2:] == ["sampler stopped", "close"]
    assert '"event": "interrupted"' in (tmp_path / "events.jsonl").read_text()
    assert world.folder is not None
    assert not world.folder.exists()


def test_sigterm_is_taken_like_an_interrupt(run: Run, world: World) -> None:
    """CI cancels with it."""
    before = signal.getsignal(signal.SIGTERM)

    def terminate(_: PlannedGroup) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        pytest.fail("it was not taken")

    world.in_group = terminate
    assert run.execute().status == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before


def test_nothing_is_left_behind_by_an_error_of_our_own(run: Run, world: World, tmp_path: Path) -> None:
    def fail(_: PlannedGroup) -> None:
        raise ZeroDivisionError

    world.in_group = fail
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        run.execute()
    assert world.of("postgres")[-1] == world.of("mysql")[-1] == "close"
    assert world.folder is not None
    assert not world.folder.exists()
    assert threading.active_count() == threads
    assert not (tmp_path / "end.json").exists(), "a run that broke is not one that ended"

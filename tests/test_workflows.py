"""The CI's workflows: well formed, safe, and made of commands that work as they stand."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from runner.cli import app
from tests.processes import ROOT
from tests.results.shards import two_shards

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"actions/[a-z-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+")
BIN = Path(sys.executable).parent


def steps() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every step with its workflow and job."""
    for path in WORKFLOWS:
        for name, job in YAML(typ="safe").load(path)["jobs"].items():
            for step in job["steps"]:
                yield path.stem, name, step


RUNS = [(workflow, job, step) for workflow, job, step in steps() if "run" in step]
LINES = [
    (f"{workflow}, {job}", line.strip())
    for workflow, job, step in RUNS
    for line in step["run"].splitlines()
    if line.strip()
]
IDS = [f"{workflow}-{job}-{step['name']}" for workflow, job, step in RUNS]


def script(workflow: str, job: str, name: str) -> str:
    """The commands of one step."""
    return next(str(step["run"]) for *where, step in RUNS if where == [workflow, job] and step["name"] == name)


def test_there_are_both() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "nightly.yml"]


def checked(tool: str, *arguments: str) -> None:
    """Runs one of the checkers; what it says is the failure."""
    done = subprocess.run([str(BIN / tool), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_follow_the_schema_of_workflows() -> None:
    checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS))


def test_zizmor_finds_nothing() -> None:
    checked("zizmor", "--offline", "--no-progress", str(FOLDER))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_rights_are_given_one_by_one(path: Path) -> None:
    text = path.read_text()
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []
    workflow = YAML(typ="safe").load(path)
    assert workflow["permissions"] == {}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    scripts = "".join(step["run"] for name, _, step in RUNS if name == path.stem)
    assert "${{" not in scripts, "what an expression holds could be run"


@pytest.mark.parametrize(("workflow", "job", "step"), RUNS, ids=IDS)
def test_each_script_is_bash(workflow: str, job: str, step: dict[str, Any]) -> None:
    subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


#: What the CI would put in their place.
VARIABLES = {"$SHARD": "1/2", "$SEED": "7", "$BASE": "HEAD", "${base:-HEAD}": "HEAD"}


def filled(line: str) -> str:
    """A line with a value in place of each variable."""
    for variable, value in VARIABLES.items():
        line = line.replace(variable, value)
    return line


def connbench_lines() -> list[str]:
    return sorted({line for _, line in LINES if ".venv/bin/connbench " in line})


@pytest.mark.parametrize("line", connbench_lines())
def test_the_command_line_understands_each_of_our_commands(line: str) -> None:
    """Parsed in full, values checked, and not run."""
    words = shlex.split(filled(line).split("|", maxsplit=1)[0])[1:]
    group = typer.main.get_command(app)
    context = group.make_context("connbench", words)
    name, command, rest = group.resolve_command(context, words)  # type: ignore[attr-defined]
    assert command is not None
    if hasattr(command, "commands") and rest:
        name, command, rest = command.resolve_command(context, rest)
    command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("line", sorted({line for _, line in LINES if line.startswith("make ")}))
def test_make_has_each_target(line: str) -> None:
    subprocess.run([*shlex.split(line), "--dry-run", "SETUP=no"], cwd=ROOT, capture_output=True, check=True)


def test_nothing_else_is_run() -> None:
    known = (".venv/bin/connbench ", "make ", ".ci/run", "git ", "gh ", "base=$(git ")
    assert [line for _, line in LINES if not line.startswith(known)] == []


def run(commands: str, folder: Path, **env: str) -> str:
    """One step's commands as the CI runs them: `bash -e`, in the project's folder."""
    environment = {**os.environ, "GITHUB_STEP_SUMMARY": str(folder / "summary.md"), **env}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a remote, this project's environment in it, and `gh` written down instead of asked."""
    project = tmp_path / "project"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", tmp_path / "remote"], check=True)
    subprocess.run(["git", "clone", "--quiet", tmp_path / "remote", project], capture_output=True, check=True)
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, "commit", "--quiet", "--allow-empty", "-m", "first"], cwd=project, check=True)
    (project / ".venv").symlink_to(BIN.parent)
    (tmp_path / "bin").mkdir()
    gh = tmp_path / "bin" / "gh"
    gh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/gh.log\n')
    gh.chmod(0o755)
    return project


def test_the_nightly_merges_keeps_and_commits(checkout: Path) -> None:
    """The merge job's commands, one step after the other, on made-up shards where the download would put them."""
    for number, shard in enumerate(two_shards(checkout.parent / "made")):
        place = checkout / "shards" / f"shard-{number}"
        place.mkdir(parents=True)
        shard.path.rename(place / shard.path.name)
    path = f"{checkout.parent / 'bin'}:{os.environ['PATH']}"
    for name in ("Merge", "Keep the night", "What changed over the nights", "Commit the history"):
        run(script("nightly", "merge", name), checkout, PATH=path, GH_TOKEN="no token")
    assert len(list((checkout / "results").glob("2*"))) == 1
    pushed = subprocess.run(
        ["git", "--git-dir", checkout.parent / "remote", "ls-tree", "-r", "--name-only", "main"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"results/history/[0-9-]{10}\.json\n", pushed.stdout)
    assert "1 night" in (checkout / "summary.md").read_text()
    assert (checkout.parent / "gh.log").read_text() == "auth setup-git\n"


def test_an_issue_is_opened_with_what_it_takes(checkout: Path) -> None:
    path = f"{checkout.parent / 'bin'}:{os.environ['PATH']}"
    env = {"PATH": path, "RUN": "https://example.org/7", "RESULTS": "gate: failure"}
    run(script("nightly", "tell", "Open an issue"), checkout, **env)
    said = (checkout.parent / "gh.log").read_text()
    assert said.startswith("issue create --title Nightly: a regression or a failed cell, 20")
    assert "gate: failure. The verdict and the tables: https://example.org/7" in said

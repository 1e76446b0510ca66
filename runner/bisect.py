"""`connbench bisect`: the gate walks the released versions of a package between a good and a bad one.

Each step is a gate of its own, with a run folder of its own; the notes beside them say what is known, and a bisection
that was broken off goes on from them.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from packaging.version import Version
from rich.console import Console

from runner.analysis.bisection import Bisection, Passed, Step, conclude, next_version, outcome_of
from runner.apps import find_app, take_app, with_app
from runner.bench import Options
from runner.errors import EnvironmentUnfit, UsageError
from runner.gate import GateOptions, measure_gate
from runner.host import describe_host
from runner.matrix.reading import read_matrix
from runner.matrix.spec import MatrixFile
from runner.matrix.variants import cell_of, parse_variant
from runner.report.bisect import print_bisection, step_line
from runner.results.store import read_json, write_json
from runner.stacks.app import App
from runner.stacks.environment import build_environment, python_version
from runner.stacks.releases import Release, newest_like, releases
from runner.stacks.versions import PYTHON, exactly, parse_source

Say = Callable[[str], object]
OTHER_PYTHON = "; `--both python=3.12` or such asks for another Python"


@dataclass(frozen=True)
class BisectOptions:
    """What the command line asked for; `both` is what holds for all versions."""

    run: Options
    package: str
    good: str
    bad: str
    both: str = ""
    limit: float = 0.05


def bisect(options: BisectOptions, results: Console, messages: Console) -> int:
    """Walks until the slow-down is between two neighbours, or nothing more can be found out.

    Returns 0 with an answer, 1 where it could not be told whether the bad version is slower, 130 for an interrupt.
    """
    matrix = read_matrix(options.run.matrix)
    package = _package(options)
    with tempfile.TemporaryDirectory(prefix="connbench-bisect-") as folder:
        app = _app(options, matrix, Path(folder))
        return _walk(options, matrix, package, app, results, messages)


def _app(options: BisectOptions, matrix: MatrixFile, into: Path) -> App:
    """What all versions are tried with; one at a revision is a copy in `into`."""
    both = parse_variant(options.both, "--both")
    source = find_app(both.app or matrix.app, both.revision, "--both")
    return take_app(source, into / source.folder.name)


def _walk(
    options: BisectOptions, matrix: MatrixFile, package: str, app: App, results: Console, messages: Console
) -> int:
    say: Say = partial(messages.print, highlight=False, markup=False, soft_wrap=True)
    bisection = _plan(options, matrix, package, app)
    notes = _notes(options, matrix, app, bisection)
    if notes.exists():
        # What could not be installed is tried again: an index that did not answer says nothing about a version.
        judged = [step for step in read_json(notes, Bisection).steps if step.gate is not None]
        say(f"going on from {notes}: {len(judged)} of its versions are judged")
        bisection = bisection.model_copy(update={"steps": judged})
    say(f"{len(bisection.versions)} versions of {package}, notes in {notes}")
    interrupted = False
    while not interrupted and (version := next_version(bisection.versions, bisection.outcomes)) is not None:
        say(f"{package} {version} against {bisection.versions[0]}")
        step = _judged(options, matrix, package, app, bisection.versions[0], version, messages)
        interrupted = step is None
        if step is not None:
            say(step_line(package, step))
            bisection = bisection.model_copy(update={"steps": [*bisection.steps, step]})
            options.run.out.mkdir(parents=True, exist_ok=True)
            write_json(notes, bisection)
    finding = conclude(bisection.versions, bisection.outcomes)
    print_bisection(bisection, finding, results)
    if interrupted:
        return 130
    return 0 if finding.verdict in ("found", "narrowed", "level") else 1


def _package(options: BisectOptions) -> str:
    """The package's normal name, as a SPEC has it; UsageError where the app has no such package."""
    variant = parse_variant(f"{options.package}={options.good}", "PACKAGE and --good")
    bad = parse_variant(f"{options.package}={options.bad}", "--bad")
    names = [name for name in variant.versions if name != PYTHON]
    if any(parse_source(version) for version in (*variant.versions.values(), *bad.versions.values())):
        raise UsageError("--good and --bad: released versions are walked; git bisect walks commits")
    if not names:
        raise UsageError(f"{options.package}: no package whose released versions could be walked")
    return names[0]


def _plan(options: BisectOptions, matrix: MatrixFile, package: str, app: App) -> Bisection:
    """The versions from good to bad; UsageError where one is not there, or they stand the wrong way about."""
    variant = parse_variant(f"{package}={options.good}", "PACKAGE").over(parse_variant(options.both, "--both"))
    cell = with_app(cell_of(matrix, variant, "good", "PACKAGE"), app)
    found = releases(package, python_version(cell.environment))
    good = _end(found, package, options.good, "--good")
    bad = _end(found, package, options.bad, "--bad")
    first, last = Version(good.version), Version(bad.version)
    if first >= last:
        raise UsageError(f"--good {good.version} is not older than --bad {bad.version}")
    between = [one for one in found if first < Version(one.version) < last]
    walked = [one.version for one in between if not one.skipped]
    passed = [Passed(version=one.version, reason=one.skipped) for one in between if one.skipped]
    versions = [good.version, *walked, bad.version]
    return Bisection(package=package, limit=options.limit, versions=versions, passed=passed)


def _end(found: list[Release], package: str, asked: str, where: str) -> Release:
    release = newest_like(found, asked)
    if release is None:
        near = [one.version for one in found if one.version.startswith(asked.partition(".")[0]) and not one.skipped]
        shown = ", ".join(near[-8:]) or "none that begins so"
        raise UsageError(
            f"{where} {asked}: {package} has no such release for this Python; the last ones: {shown}{OTHER_PYTHON}"
        )
    if not release.installable:
        raise UsageError(f"{where} {asked}: {package} {release.version} {release.skipped}{OTHER_PYTHON}")
    return release


def _notes(options: BisectOptions, matrix: MatrixFile, app: App, bisection: Bisection) -> Path:
    """One file for what was asked here: steps under another matrix, app, limit or host do not belong together."""
    asked: dict[str, Any] = {
        "matrix": matrix.model_dump(mode="json"),
        "both": options.both,
        "app": app.description.model_dump(mode="json"),
        "packages": asdict(app.packages) if app.packages else None,
        "limit": options.limit,
        "host": describe_host().fingerprint,
        "versions": list(bisection.versions),
    }
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
    good, bad = bisection.versions[0], bisection.versions[-1]
    return options.run.out / f"bisect-{bisection.package}-{good}-{bad}-{key}.json"


def _judged(
    options: BisectOptions, matrix: MatrixFile, package: str, app: App, good: str, version: str, messages: Console
) -> Step | None:
    """One gate; None where it was interrupted."""
    base, candidate = (f"{package}={exactly(one)}" for one in (good, version))
    variant = parse_variant(candidate, "--candidate").over(parse_variant(options.both, "--both"))
    cell = with_app(cell_of(matrix, variant, version, "--candidate"), app)
    try:
        build_environment(cell.environment)
    except EnvironmentUnfit as error:
        reason = str(error).splitlines()[0]
        return Step(version=version, outcome="unknown", gate=None, reason=f"cannot be installed: {reason}")
    gate = GateOptions(run=options.run, base=base, candidate=candidate, both=options.both, limit=options.limit)
    measured = measure_gate(gate, messages)
    if measured.end.status == "interrupted":
        return None
    result = measured.result
    return Step(
        version=version,
        outcome=outcome_of(result),
        gate=result.verdict,
        reason=result.reason,
        run=measured.folder.path.name,
        look=result.confirmation or result.first,
    )

"""`connbench check`: an app started once under the plainest cell of a matrix, before a long run."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from runner import probe
from runner.adopt.ask import ask
from runner.adopt.trial import PLAIN, Standing, plain_server, require_servers, standing
from runner.apps import with_app
from runner.errors import ConnbenchError, StackError, UsageError
from runner.figures import error_kinds
from runner.load.generator import LoadGenerator, locustfile_of
from runner.load.records import read_records
from runner.matrix.cells import Cell, own_engines
from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.stacks.app import ROOT, App, load_app
from runner.stacks.environment import build_environment

#: A short piece of the matrix's own traffic: each kind of request should come up in it.
USERS, SECONDS = 2, 2.0
Say = Callable[[str], object]


@dataclass(frozen=True)
class Finding:
    """One thing that was tried; `text` says what, and where it is wrong what to do."""

    ok: bool
    text: str


def check(matrix_file: Path, say: Say, tell: Say) -> int:
    """Tries the app on every database of the matrix; findings go to `say`, progress to `tell`. 1 if any is wrong."""
    matrix = read_matrix(matrix_file)
    cells = expand(matrix).cells
    if not cells:
        raise UsageError(f"{matrix_file} has no cell that can exist: `connbench plan` says why")
    app = load_app(matrix.app)
    plainest = {cell.database_name: _plain(cell, app) for cell in reversed(cells)}
    require_servers(own_engines(plainest.values()))
    wrong = 0
    for name, cell in sorted(plainest.items(), key=lambda item: matrix_order(item[0], cells)):
        tell(f"{app.name} on {name}: one worker of {cell.server.title}, a connection for each request")
        for finding in examine(cell, app):
            say(f"{'ok   ' if finding.ok else 'WRONG'}  {name}: {finding.text}")
            wrong += not finding.ok
    say(
        f"{wrong} thing{'s' if wrong > 1 else ''} wrong"
        if wrong
        else f"{app.name} is ready: connbench run -m {matrix_file}"
    )
    return 1 if wrong else 0


def matrix_order(database: str, cells: tuple[Cell, ...]) -> int:
    return next(place for place, cell in enumerate(cells) if cell.database_name == database)


def _plain(cell: Cell, app: App) -> Cell:
    plain = replace(cell, server=plain_server(app.description), connection=PLAIN, pooler=None, phases=())
    return with_app(plain, app)


def examine(cell: Cell, app: App) -> Iterator[Finding]:
    """What was tried, one after the other; what cannot be tried for want of what comes before it is left out."""
    with tempfile.TemporaryDirectory(prefix="connbench-check-") as folder:
        try:
            environment = build_environment(cell.environment)
            answer, missing = ask(app, environment)
            if missing:
                names = ", ".join(variable.name for variable in missing)
                yield Finding(
                    ok=False, text=f"{app.description.settings} asks for {names}: add to env: in {app.source}"
                )
                return
            if answer.problem:
                yield Finding(ok=False, text=f"{app.description.settings}: {answer.problem}")
                return
            with standing(app, cell.database, environment, Path(folder)) as stands:
                up = f"set up in {stands.setup_seconds:.1f} s, answers after {stands.start_seconds:.1f} s"
                yield Finding(ok=True, text=f"{stands.product}, Django {answer.django}: {up}")
                yield from _walk(stands)
                yield from _drive(stands, cell)
            for note in answer.notes:
                yield Finding(ok=True, text=f"note: {note}")
        except ConnbenchError as error:
            yield Finding(ok=False, text=str(error))


def _walk(stands: Standing) -> Iterator[Finding]:
    with probe.own_client() as client:
        for one in stands.app.description.checks:
            try:
                probe.verify(client, stands.service, one)
            except StackError as error:
                yield Finding(ok=False, text=str(error))
            else:
                yield Finding(ok=True, text=f"{one.method} {one.path} answers {one.status}")


def _drive(stands: Standing, cell: Cell) -> Iterator[Finding]:
    """A little of the traffic: a profile whose requests fail would measure failures."""
    profile = cell.load.profile
    generator = LoadGenerator(stands.provider, "check", stands.logs / "requests.raw", stands.logs / "load.log")
    try:
        generator.configure(locustfile_of(profile, ROOT), stands.service.address, keep_alive=True, model="closed")
        driven = generator.window(0, users=USERS, lead_in=0.0, seconds=SECONDS, seed="check")
    finally:
        generator.close()
    requests, examples = read_records(generator.records, 0.0)
    for error in driven.script_errors[:1]:
        yield Finding(ok=False, text=f"traffic {profile}: it raised {error}")
    for kind, found in error_kinds(requests, examples).items():
        failed = requests[requests["error"] == kind]["endpoint"].astype(str)
        where = ", ".join(failed.unique()[:3])
        yield Finding(ok=False, text=f"traffic {profile}: {found.count} of {len(requests)} requests: {kind} ({where})")
    if not driven.errors and not driven.script_errors:
        kinds = requests["endpoint"].nunique()
        yield Finding(ok=bool(kinds), text=f"traffic {profile}: {len(requests)} requests of {kinds} kinds, none failed")

"""`connbench init`: from a project's folder to app.yaml, a matrix and traffic."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from runner.adopt.access_log import Traffic, WeightedRequest, collapsed, read_access_log
from runner.adopt.ask import Answer, ask
from runner.adopt.crawl import crawl
from runner.adopt.look import Found, look_at
from runner.adopt.present import own_drivers
from runner.adopt.traffic import as_locust_file
from runner.adopt.trial import Page, Standing, plain_server, require_servers, standing
from runner.adopt.variables import Variable
from runner.adopt.writing import APP, FILES, MATRIX, TRAFFIC, Adopted, app_yaml, matrix_yaml
from runner.errors import StackError, UsageError
from runner.stacks.app import App, AppDescription, Engine, slug
from runner.stacks.databases import DatabaseSpec
from runner.stacks.databases.mysql import MySQLSpec
from runner.stacks.databases.postgres import PostgresSpec
from runner.stacks.dependencies import AppPackages
from runner.stacks.environment import AppEnvironment, BothDrivers, build_environment
from runner.stacks.interpreters import under_fitting_python
from runner.stacks.packages import ENVIRONMENTS, environment_with
from runner.stacks.versions import PYTHON, recipe

#: As Django's system check says it of a field that PostgreSQL alone has.
_ASKED_FOR = re.compile(r"'([\w.]+)' must be in INSTALLED_APPS")
SPECS: Mapping[Engine, DatabaseSpec] = {"postgres": PostgresSpec(), "mysql": MySQLSpec()}
ROLES = ("default", "none", "keep")
Say = Callable[[str], object]


@dataclass(frozen=True)
class InitOptions:
    """What the command line asked for. `out` is the folder that the files go to: `connbench/` in the project's."""

    path: Path
    out: Path | None = None
    settings: str = ""
    force: bool = False
    access_log: Path | None = None
    methods: Sequence[str] = ("GET",)
    databases: Mapping[str, str] = field(default_factory=dict)
    #: Files that name the packages, in the place of those that are found.
    dependencies: Sequence[Path] = ()


def initialise(options: InitOptions, say: Say) -> int:
    """Writes the files; 1 where the app did not come up, which is then for a person to mend in app.yaml.

    UsageError where the folder holds no project that can be run, or files would be overwritten; nothing is written.
    """
    found = look_at(options.path, options.settings, options.dependencies)
    out = options.out or found.folder / "connbench"
    _refuse_to_overwrite(out, force=options.force)
    # Tried in any case: who lacks it is told before the packages are built.
    require_servers(["postgres"])
    traffic = read_access_log(options.access_log, options.methods) if options.access_log else None
    say(f"{found.project}: settings {found.settings}, serves {found.wsgi or found.asgi}")
    say(f"packages from {_named(found)}; building their environment")
    app, environment = fitting(_provisional(found, options, out), say)
    answer, variables = ask(app, environment, found.env_examples)
    if answer.problem:
        raise UsageError(f"{found.settings}: {_with_hint(answer.problem, found)}")
    env = {variable.name: variable.value for variable in variables}
    aliases = {**dict.fromkeys(answer.replicas, "default"), **options.databases}
    setup = [["migrate", "--no-input"], *answer.more_setup]
    found_out = {"env": env, "databases": aliases, "setup": setup, "plain_static": answer.plain_static}
    app = replace(app, description=app.description.model_copy(update=found_out))
    drivers = drivers_of(app, answer)
    tried = try_out(app, drivers, answer, traffic, say)
    adopted = _adopted(found, answer, variables, app, drivers, tried)
    _write(adopted, out, traffic, options.access_log)
    say(f"wrote {', '.join(str(out / name) for name in FILES)}")
    return _conclude(adopted, out, say)


def _refuse_to_overwrite(out: Path, *, force: bool) -> None:
    there = [name for name in FILES if (out / name).exists()]
    if there and not force:
        raise UsageError(f"{out} has {', '.join(there)} already: --force writes them anew, --out FOLDER elsewhere")


def _provisional(found: Found, options: InitOptions, out: Path) -> App:
    description = AppDescription(
        settings=found.settings,
        wsgi=found.wsgi,
        asgi=found.asgi,
        python=found.python,
        python_path=[str(path) for path in found.python_path],
        env_files=[str(path) for path in found.env_files],
        dependencies=[str(path) for path in found.dependencies],
        databases=options.databases,
        setup=[],
        ready="",
        checks=[],
    )
    return App(slug(found.project.name), found.project, description, out / APP)


def fitting(app: App, say: Say) -> tuple[App, AppEnvironment]:
    """The app's environment under the Python that it asks for; else the runner's own, or the next that will do."""
    if app.description.python:
        return app, _build(app, ENVIRONMENTS[0], app.description.python)
    python, environment = under_fitting_python(partial(_build, app, ENVIRONMENTS[0]))
    if python:
        say(f"its packages need another Python than the runner's: {python}")
    return replace(app, description=app.description.model_copy(update={"python": python})), environment


def _build(app: App, base: str, python: str) -> AppEnvironment:
    versions = {PYTHON: python} if python else {}
    return build_environment(recipe(base, versions, app=app.packages))


def drivers_of(app: App, answer: Answer) -> dict[Engine, str]:
    """The project's own, by the database; without those of which nothing says it."""
    packages = app.packages or AppPackages(app.name, ())
    drivers = own_drivers(answer.default, answer.pool_settings, answer.mysql_driver, packages)
    if drivers.get("postgres") == "psycopg2":
        try:
            _environment_for(app, _spec("postgres", drivers))
        except BothDrivers:
            # One of its packages brings psycopg 3 along, which Django takes then, in production as here.
            drivers["postgres"] = "psycopg"
    return drivers


def _spec(engine: Engine, drivers: Mapping[Engine, str]) -> DatabaseSpec:
    return SPECS[engine].model_copy(update={"driver": drivers[engine]} if engine in drivers else {})


def _environment_for(app: App, spec: DatabaseSpec) -> AppEnvironment:
    """What has the driver and the server that the app is tried with."""
    base = environment_with(spec.packages | plain_server(app.description).packages)
    assert base is not None, "each driver has a locked set"
    return _build(app, base, app.description.python)


@dataclass(frozen=True)
class TriedOut:
    """The pages of the first database on which the app came up, why it did not on others, what one of them takes."""

    pages: Sequence[Page]
    left_out: Mapping[str, str]
    apps: Mapping[Engine, Sequence[str]]


def try_out(app: App, drivers: Mapping[Engine, str], answer: Answer, traffic: Traffic | None, say: Say) -> TriedOut:
    """Starts the app on each database that it may run on."""
    left_out = {"mysql": answer.postgres_alone} if answer.postgres_alone else {}
    apps: dict[Engine, Sequence[str]] = {}
    pages: Sequence[Page] | None = None
    engines = [engine for engine in SPECS if engine not in left_out]
    engines.sort(key=lambda engine: engine != (answer.family or "postgres"))
    require_servers(engines)
    wanted = [request.path for request in traffic.requests] if traffic else answer.paths
    with tempfile.TemporaryDirectory(prefix="connbench-init-") as folder:
        for engine in engines:
            say(f"trying it on {engine}: {' '.join(app.description.setup[0])}, one worker, every page that is found")
            spec = _spec(engine, drivers)
            environment = _environment_for(app, spec)
            try:
                with _up(app, spec, environment, Path(folder)) as stands:
                    if needed := stands.app.description.apps.get(engine):
                        apps[engine] = needed
                    if pages is None:
                        visit = crawl(stands, wanted, answer.prefixes)
                        pages = visit.pages
                        for page in visit.broken[:3]:
                            say(f"{page.path} answers {page.status}, and is left out")
            except StackError as error:
                left_out[engine] = str(error)
    return TriedOut(pages or (), left_out, apps)


@contextmanager
def _up(app: App, spec: DatabaseSpec, environment: AppEnvironment, logs: Path) -> Iterator[Standing]:
    """The app standing; with the app that Django's own system check asks for on this database, where it does."""
    with ExitStack() as stack:
        try:
            stands = stack.enter_context(standing(app, spec, environment, logs))
        except StackError as error:
            if (needed := _ASKED_FOR.search(str(error))) is None:
                raise
            description = app.description.model_copy(update={"apps": {spec.engine: [needed[1]]}})
            stands = stack.enter_context(standing(replace(app, description=description), spec, environment, logs))
        yield stands


def _adopted(
    found: Found,
    answer: Answer,
    variables: Sequence[Variable],
    app: App,
    drivers: Mapping[Engine, str],
    tried: TriedOut,
) -> Adopted:
    up = [engine for engine in SPECS if engine not in tried.left_out]
    first = answer.family or "postgres"
    return Adopted(
        found=found,
        answer=answer,
        variables=variables,
        python=app.description.python,
        aliases=app.description.databases,
        setup=app.description.setup,
        pages=tried.pages,
        apps=tried.apps,
        # Where it came up on none, what is wrong is the app's own, as a rule.
        databases=sorted(up or SPECS, key=lambda engine: engine != first),
        left_out=tried.left_out,
        drivers=drivers,
    )


def _write(adopted: Adopted, out: Path, traffic: Traffic | None, log: Path | None) -> None:
    pages = adopted.asked_for
    requests: Sequence[WeightedRequest] = [WeightedRequest("GET", page.path, collapsed(page.path), 1) for page in pages]
    about = f"Traffic of {adopted.name}: the pages that `connbench init` found, each as often as the others."
    if traffic is not None and log is not None:
        requests = traffic.requests
        about = f"Traffic of {adopted.name}, from {log.name}: {traffic.taken} of its {traffic.lines} lines."
    if not requests:
        requests = [WeightedRequest("GET", "/", "/", 1)]
    out.mkdir(parents=True, exist_ok=True)
    (out / APP).write_text(app_yaml(adopted, out), encoding="utf-8")
    (out / MATRIX).write_text(matrix_yaml(adopted), encoding="utf-8")
    (out / TRAFFIC).write_text(as_locust_file(requests, about, TRAFFIC), encoding="utf-8")


def _conclude(adopted: Adopted, out: Path, say: Say) -> int:
    for note in adopted.notes:
        say(f"note: {note}")
    for variable in adopted.variables:
        if not variable.origin:
            say(f"note: {variable.name} has no value in the project; {variable.value!r} stands in")
    for engine, why in adopted.left_out.items():
        say(f"not on {engine}: {why}")
    stuck = len(adopted.left_out) == len(SPECS)
    if not stuck and not adopted.pages:
        say(f"no page answers with less than 400: name some under checks: in {out / APP}, and in {out / TRAFFIC}")
    say(f"{'mend that in ' + str(out / APP) + ', then' if stuck else 'next'}: connbench check -m {out / MATRIX}")
    return 1 if stuck or not adopted.pages else 0


def _named(found: Found) -> str:
    return ", ".join(os.path.relpath(path, found.folder) for path in found.dependencies) or "no file"


def _with_hint(problem: str, found: Found) -> str:
    """The same reason, with the option that settles it here, where there is no app.yaml yet."""
    if "under `databases:`" in problem:
        return f"{problem} (--database ALIAS=ROLE writes it there)"
    if "No module named" in problem:
        return (
            f"{problem}; the packages are those of {_named(found)} "
            "(--dependencies FILE names another file, --settings MODULE other settings)"
        )
    return problem


def parse_databases(options: Sequence[str]) -> dict[str, str]:
    """`replica=default` as the command line has it; UsageError for anything else."""
    roles = {}
    for option in options:
        alias, equals, role = option.partition("=")
        if not equals or role not in ROLES:
            raise UsageError(f"--database: found {option!r}, allowed: ALIAS={' or ALIAS='.join(ROLES)}")
        roles[alias] = role
    return roles

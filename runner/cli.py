"""The command line: one small function a command. Results go to stdout, everything else to stderr."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runner import doctor
from runner.adopt.check import check as check_app
from runner.adopt.initialise import InitOptions, initialise, parse_databases
from runner.adopt.traffic import parse_methods, write_traffic
from runner.advise import AdviseOptions, run_advise
from runner.analysis.compare import compare_folders
from runner.analysis.history import add_night, night_of, read_history, series_of
from runner.analysis.summary import write_summary
from runner.apps import for_app
from runner.bench import Options, bench, conclude, has_failed
from runner.bisect import BisectOptions
from runner.bisect import bisect as run_bisect
from runner.claims import run_claims
from runner.errors import ConnbenchError, UsageError
from runner.gate import GateOptions, parse_limit
from runner.gate import gate as run_gate
from runner.interrupts import terminate_like_interrupt
from runner.load.worker import TOKEN_VARIABLE, join
from runner.matrix.deployment import read_deployment, refuse_if_impossible
from runner.matrix.expansion import MOST_CELLS, expand
from runner.matrix.reading import read_matrix
from runner.matrix.schema import json_schema
from runner.plan import make_plan, parse_shard, plan_as_json
from runner.provision.leftovers import sweep
from runner.report.changes import changes_text, print_changes, refuse_incomparable
from runner.report.history import print_history
from runner.report.html import write_report
from runner.report.plan_table import print_deployment, print_plan
from runner.report.serve import Server
from runner.report.site.manifest import NAME as MANIFEST
from runner.report.site.publish import publish
from runner.report.tables import print_tables, table_text
from runner.report.wording import counted
from runner.results.merge import merge as merge_shards
from runner.results.store import open_run
from runner.resume import finish, finish_spread
from runner.stacks.app import load_app
from runner.stacks.databases.hosted_home import clean as clean_hosted

app = typer.Typer(
    name="connbench",
    help="How should this Django deployment hold its database connections? Measured on real servers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
history_app = typer.Typer(pretty_exceptions_enable=False)
app.add_typer(history_app, name="history")
# A pipe gets the design's 120 columns; a terminal its own.
results = Console(width=None if sys.stdout.isatty() else 120)
messages = Console(stderr=True)

MatrixOption = Annotated[Path, typer.Option("-m", "--matrix", help="The matrix file.", show_default=True)]
RunArgument = Annotated[Path, typer.Argument(help="A run's folder.")]
DEFAULT_MATRIX = Path("matrix.yaml")
RESULTS = Path("results")
LATEST = RESULTS / "latest"
HISTORY = Path("results/history")
HistoryOption = Annotated[Path, typer.Option("--history", help="The history's folder.")]


class Provider(StrEnum):
    auto = "auto"
    native = "native"
    docker = "docker"


ProviderOption = Annotated[Provider, typer.Option(help="Where it runs.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Repeats a run's order and traffic.")]
OutOption = Annotated[Path, typer.Option(help="Where run folders go.")]
YesOption = Annotated[bool, typer.Option("--yes", help=f"Although there are more than {MOST_CELLS:,} cells.")]
SchedulerOption = Annotated[
    str | None, typer.Option(metavar="tcp://HOST:PORT", help="A Dask scheduler: its workers measure, a block on each.")
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait while another run measures on this machine.")]


class TableFormat(StrEnum):
    text = "text"
    md = "md"
    csv = "csv"
    json = "json"


class AdviceFormat(StrEnum):
    text = "text"
    md = "md"


def _plainly(console: Console) -> Callable[[str], None]:
    """Prints text as it stands."""
    return partial(console.print, markup=False, highlight=False, soft_wrap=True)


@app.callback()
def before_every_command() -> None:
    """How should this Django deployment hold its database connections? Measured on real servers."""
    sweep(
        lambda text: messages.print(f"connbench: {text}", markup=False, highlight=False, soft_wrap=True), clean_hosted
    )


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="A Django project's folder.")],
    out: Annotated[Path | None, typer.Option(help="Where the files go; PATH/connbench unless told.")] = None,
    settings: Annotated[str, typer.Option(metavar="MODULE", help="Another settings module than manage.py's.")] = "",
    access_log: Annotated[Path | None, typer.Option(metavar="FILE", help="Take the traffic from this log.")] = None,
    methods: Annotated[str, typer.Option(help="Which of the log's requests: GET, POST or both.")] = "GET",
    database: Annotated[
        list[str] | None, typer.Option(metavar="ALIAS=ROLE", help="What another database is: default, none or keep.")
    ] = None,
    dependencies: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="What names its packages; found unless told.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Take up a Django project: look at it, start it once, write app.yaml, a matrix and traffic for it."""
    roles, wanted = parse_databases(database or []), parse_methods(methods)
    options = InitOptions(path, out, settings, force, access_log, wanted, roles, dependencies or ())
    raise typer.Exit(initialise(options, _plainly(messages)))


@app.command()
def check(matrix: MatrixOption = DEFAULT_MATRIX) -> None:
    """Start the app once on each database, under the plainest cell; ask for its pages and say what is wrong."""
    raise typer.Exit(check_app(matrix, _plainly(results), _plainly(messages)))


@app.command()
def traffic(
    access_log: Annotated[Path, typer.Argument(help="Common, combined or JSON lines.")],
    methods: Annotated[str, typer.Option(help="Which of its requests: GET, POST or both.")] = "GET",
    out: Annotated[Path, typer.Option(help="The Locust file to write.")] = Path("traffic.py"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Make a Locust file of an access log: its paths, as often as they were asked for."""
    told = write_traffic(access_log, parse_methods(methods), out, force=force)
    messages.print(told, markup=False, highlight=False, soft_wrap=True)


@app.command()
def run(
    matrix: MatrixOption = DEFAULT_MATRIX,
    blocks: Annotated[int | None, typer.Option(min=1, help="How often each cell is measured.")] = None,
    only: Annotated[str | None, typer.Option(metavar="GLOB", help="Only the cells whose id matches.")] = None,
    provider: ProviderOption = Provider.auto,
    quick: Annotated[bool, typer.Option("--quick", help="One block, a short count, few windows.")] = False,
    seed: SeedOption = None,
    out: OutOption = Path("results"),
    wait: WaitOption = False,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="One of N parts of the run, such as 2/4.")] = None,
    yes: YesOption = False,
    scheduler: SchedulerOption = None,
) -> None:
    """Measure every cell, print the comparison, write the HTML report."""
    options = Options(
        matrix=matrix,
        out=out,
        blocks=blocks,
        only=only,
        shard=parse_shard(shard) if shard else None,
        provider=provider.value,
        quick=quick,
        seed=seed,
        wait=wait,
        most_cells=None if yes else MOST_CELLS,
        scheduler=scheduler,
        command=" ".join(["connbench", *sys.argv[1:]]),
    )
    raise typer.Exit(bench(options, results, messages))


@app.command()
def resume(
    run: RunArgument = LATEST,
    force: Annotated[bool, typer.Option("--force", help="Although matrix, versions or host changed.")] = False,
    wait: WaitOption = False,
    yes: YesOption = False,
    scheduler: SchedulerOption = None,
) -> None:
    """Finish a run that was interrupted, killed or cut off: whatever groups of cells are missing, nothing else."""
    most = None if yes else MOST_CELLS
    if scheduler is not None:
        raise typer.Exit(finish_spread(run, scheduler, results=results, messages=messages, most_cells=most))
    raise typer.Exit(finish(run, force=force, wait=wait, results=results, messages=messages, most_cells=most))


@app.command()
def gate(
    candidate: Annotated[str, typer.Option(metavar="SPEC", help="key=value[,key=value…]: what is new.")],
    base: Annotated[str, typer.Option(metavar="SPEC", help="What it is held against.")] = "",
    both: Annotated[str, typer.Option(metavar="SPEC", help="What holds for both.")] = "",
    matrix: MatrixOption = DEFAULT_MATRIX,
    limit: Annotated[str, typer.Option(metavar="SHARE", help="The throughput that may be lost.")] = "5%",
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the verdict as JUnit XML.")] = None,
    provider: ProviderOption = Provider.auto,
    seed: SeedOption = None,
    out: OutOption = Path("results"),
    wait: WaitOption = False,
) -> None:
    """Measure two variants of a matrix side by side; exit code 1 if the candidate is slower by more than the limit.

    A SPEC names definitions (server=uwsgi), parameters (connection.conn_max_age=60, load.users=32), package versions
    (django=5.2), the app (app=FOLDER) and its revision (app@HEAD~1). What it leaves open is the first of the matrix.
    """
    common = Options(
        matrix=matrix,
        out=out,
        provider=provider.value,
        seed=seed,
        wait=wait,
        command=" ".join(["connbench", *sys.argv[1:]]),
    )
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    options = GateOptions(common, base, candidate, both, parse_limit(limit), junit, Path(summary) if summary else None)
    raise typer.Exit(run_gate(options, results, messages))


@app.command()
def bisect(
    package: Annotated[str, typer.Argument(help="Whose released versions are walked, such as django.")],
    good: Annotated[str, typer.Option(metavar="VERSION", help="One that is quick; 5.1 is the newest 5.1.")],
    bad: Annotated[str, typer.Option(metavar="VERSION", help="A later one that is slow.")],
    both: Annotated[str, typer.Option(metavar="SPEC", help="What holds for all versions.")] = "",
    matrix: MatrixOption = DEFAULT_MATRIX,
    limit: Annotated[str, typer.Option(metavar="SHARE", help="The throughput that may be lost.")] = "5%",
    provider: ProviderOption = Provider.auto,
    seed: SeedOption = None,
    out: OutOption = Path("results"),
    wait: WaitOption = False,
) -> None:
    """Find the version of a package with which a slow-down came: each step is a gate against the good one.

    What is known is noted after each step; the same command goes on where it was broken off.
    """
    common = Options(
        matrix=matrix,
        out=out,
        provider=provider.value,
        seed=seed,
        wait=wait,
        command=" ".join(["connbench", *sys.argv[1:]]),
    )
    options = BisectOptions(common, package, good, bad, both, parse_limit(limit))
    raise typer.Exit(run_bisect(options, results, messages))


@app.command()
def advise(
    matrix: MatrixOption = DEFAULT_MATRIX,
    max_connections: Annotated[int | None, typer.Option(help="What the deployed database lets in.")] = None,
    headroom: Annotated[str | None, typer.Option(metavar="SHARE", help="Of that, kept free for others: 10%.")] = None,
    hosts: Annotated[int | None, typer.Option(help="App servers with this stack on each: 1.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="The app's on one host, such as 2GB.")] = None,
    p95: Annotated[str | None, typer.Option(metavar="TIME", help="Response time to keep, such as 200ms.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second that all hosts together must answer.")] = None,
    within: Annotated[str | None, typer.Option(metavar="TIME", help="For all of the measuring: 15m.")] = None,
    present: Annotated[str | None, typer.Option(metavar="SPEC", help="Today's settings; the matrix's first.")] = None,
    form: Annotated[AdviceFormat, typer.Option("--format", help="How to print it.")] = AdviceFormat.text,
    provider: ProviderOption = Provider.auto,
    seed: SeedOption = None,
    out: OutOption = Path("results"),
    wait: WaitOption = False,
) -> None:
    """Search a matrix for the settings to use: measured, within the connection budget, ready to paste.

    The limits can stand in the matrix too, as `advise:`. docs/advise.md says how it searches and how sure it is.
    """
    limits = {
        "max_connections": max_connections,
        "headroom": headroom,
        "hosts": hosts,
        "memory": memory,
        "p95": p95,
        "rate": rate,
        "within": within,
        "present": present,
    }
    common = Options(
        matrix=matrix,
        out=out,
        provider=provider.value,
        seed=seed,
        wait=wait,
        command=" ".join(["connbench", *sys.argv[1:]]),
    )
    raise typer.Exit(run_advise(AdviseOptions(common, limits, form.value), results, messages))


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(help="The folders of all shards of one run.")],
    out: OutOption = Path("results"),
) -> None:
    """Make one run of its shards (connbench run --shard I/N), print the comparison, write the HTML report."""
    folder = merge_shards([open_run(run) for run in runs], out, " ".join(["connbench", *sys.argv[1:]]))
    raise typer.Exit(conclude(folder, folder.end(), results))


@app.command()
def plan(
    matrix: MatrixOption = DEFAULT_MATRIX,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    from_env: Annotated[
        Path | None, typer.Option("--from-env", metavar="FILE", help="A deployment's .env file instead of a matrix.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """Show the cells, the skipped ones with reasons, predicted connections and the time; start nothing."""
    deployment = None if from_env is None else read_deployment(from_env)
    read = read_matrix(matrix) if deployment is None else deployment.matrix
    expansion = expand(read, None if yes else MOST_CELLS)
    if deployment is not None:
        refuse_if_impossible(expansion)
        print_deployment(deployment, messages)
    planned = for_app(make_plan(expansion, read, seed=0), load_app(read.app))
    if as_json:
        sys.stdout.write(json.dumps(plan_as_json(expansion, planned), indent=1) + "\n")
    else:
        print_plan(expansion, planned, results)


@app.command()
def report(run: RunArgument = LATEST) -> None:
    """Make a run's report again from its raw data."""
    folder = open_run(run)
    results.print(str(write_report(folder, write_summary(folder))), highlight=False, soft_wrap=True)


@app.command()
def table(
    run: RunArgument = LATEST,
    form: Annotated[TableFormat, typer.Option("--format", help="How to print them.")] = TableFormat.text,
) -> None:
    """Print a run's comparison tables; exit code 1 if a cell or an expectation failed."""
    summary = write_summary(open_run(run))
    if form is TableFormat.text:
        print_tables(summary, results)
    else:
        sys.stdout.write(table_text(summary, form.value))
    raise typer.Exit(1 if has_failed(summary) else 0)


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(help="The earlier run's folder.")],
    new: Annotated[Path, typer.Argument(help="The later run's folder.")],
    ratios: Annotated[bool, typer.Option("--ratios", help="Ratios to each run's own reference.")] = False,
    form: Annotated[TableFormat, typer.Option("--format", help="How to print them.")] = TableFormat.text,
) -> None:
    """Hold one run against another; exit code 2 if they do not compare. A change is no failure: that is a gate's."""
    result = compare_folders(open_run(base), open_run(new), ratios=ratios)
    refuse_incomparable(result)
    if form is TableFormat.text:
        print_changes(result, results)
    else:
        sys.stdout.write(changes_text(result, form.value))


@app.command()
def claims(
    only: Annotated[list[int] | None, typer.Option(metavar="N", help="The claims with these numbers alone.")] = None,
    wait: WaitOption = False,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
) -> None:
    """Try the documented claims of matrices/documented/, one run each, and say which hold."""
    raise typer.Exit(run_claims(only or [], out, wait, results, messages))


@history_app.callback(invoke_without_command=True)
def history(context: typer.Context, folder: HistoryOption = HISTORY) -> None:
    """Print the nightly ratios and the nights from which on they were others; with `add`, keep a run."""
    if context.invoked_subcommand is None:
        print_history(series_of(read_history(folder)), results)


@history_app.command(name="add")
def add_to_history(run: RunArgument, folder: HistoryOption = HISTORY) -> None:
    """Keep a run's ratios, their spread and its versions as the night of its date."""
    results.print(str(add_night(folder, night_of(open_run(run)))), highlight=False, soft_wrap=True)


@app.command(name="publish")
def publish_command(
    results_folder: Annotated[Path, typer.Argument(metavar="[RESULTS]", help="Runs' folder, or one run's.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Where the site is; what it has already stays.")] = Path("site"),
) -> None:
    """Make or extend a static site: every run's report, the history, the claims, a feed and badges."""
    done = publish(results_folder, out)
    told = f"{done.index}: {counted(done.runs, 'run')}, {done.new} of them new"
    results.print(told, highlight=False, soft_wrap=True)


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(metavar="[SITE|RESULTS]", help="What to show.")] = RESULTS,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    results_folder: Annotated[Path, typer.Option("--results", help="Where /live looks for runs.")] = RESULTS,
) -> None:
    """Show a site or the results on loopback, with the progress of a run that goes on, until Ctrl-C."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder; connbench publish makes a site")
    # A site has no runs of its own; results are where runs go on.
    live = results_folder if (folder / MANIFEST).is_file() else folder
    with Server(folder, port, live) as server:
        messages.print(f"{server.url}   a run under way: {server.url}live   Ctrl-C ends", highlight=False)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


@app.command(name="load-worker")
def load_worker(
    runner: Annotated[str, typer.Argument(metavar="tcp://HOST:PORT", help="As the run has printed it.")],
    name: Annotated[str, typer.Option(help="This host's name in the matrix (load.hosts).")],
) -> None:
    """Drive load for a run on another machine, which prints this command; its token is in CONNBENCH_LOAD_TOKEN."""
    with suppress(KeyboardInterrupt), terminate_like_interrupt():
        join(runner, name, os.environ.get(TOKEN_VARIABLE, ""), _plainly(messages))


@app.command()
def schema() -> None:
    """Print the JSON Schema of matrix files, for editors."""
    sys.stdout.write(json.dumps(json_schema(), indent=1) + "\n")


@app.command(name="doctor")
def doctor_command() -> None:
    """Say what this machine has and lacks, with the command that mends it."""
    raise typer.Exit(doctor.examine(results))


def main() -> None:
    """Entry point: an error of ours is one message and its exit code, never a traceback."""
    try:
        app()
    except ConnbenchError as error:
        messages.print(f"connbench: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)

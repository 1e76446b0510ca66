"""The ledger is exact: for every server kind, what the books say is what the database's own log of connections says.

One run for each database: the servers of the registry side by side, a connection for each request, and beside them a
database that has not room for all. PostgreSQL logs connections anyway; the MySQL family is told to keep a general log.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.errors import EnvironmentUnfit
from runner.stacks.databases.base import HARNESS_SESSIONS
from runner.stacks.servers import SERVERS, ServerSpec
from tests.test_end_to_end import run_matrix

pytestmark = pytest.mark.server


def can_run(spec: type[ServerSpec]) -> bool:
    """Whether this machine has what the server needs beside the app's environment: Apache's mod_wsgi is Debian's."""
    try:
        spec.installed()
    except EnvironmentUnfit:
        return False
    return True


#: Every kind as it is by itself, and the ways to serve that differ in how connections come about.
SPECS: Mapping[str, Mapping[str, Any]] = {
    **{
        # As a cell's id writes it.
        spec.model_fields["kind"].default.replace("_", "-"): {"kind": spec.model_fields["kind"].default}
        for spec in SERVERS
        if can_run(spec)
    },
    "gthread": {"kind": "gunicorn", "worker_class": "gthread", "workers": 2, "threads": 8},
    "gevent": {"kind": "gunicorn", "worker_class": "gevent", "workers": 2, "worker_connections": 50},
}
CROWDED = "gthread"
#: Fewer slots than users who each hold a connection for 100 ms; PostgreSQL keeps three of them for itself.
ROOM = 10
ENGINES = {"pg": "postgres", "my": "mysql"}
#: `4 Connect  user@host on database using …`, and the end of the session.
CONNECT = re.compile(r"\t *(\d+) Connect\t(\S+)@\S+ (?:as \S+ )?on (\S*)")
QUIT = re.compile(r"\t *(\d+) Quit\b")


@dataclass(frozen=True)
class Logged:
    """What a log says of one account: sessions let in, those turned away, and the most at once."""

    opened: int
    refused: int
    peak: int


@dataclass(frozen=True)
class Ledgers:
    """A run, and where its database wrote its log."""

    database: str
    output: str
    attempts: Mapping[str, dict[str, Any]]
    logs: list[Path]

    def logged(self, attempt: dict[str, Any]) -> Logged:
        settings = attempt["django_databases"]["default"]
        lines = [line for log in self.logs for line in log.read_text(errors="replace").splitlines()]
        changes = (postgres_changes if self.database == "pg" else mysql_changes)(
            lines, settings["NAME"], settings["USER"]
        )
        now, most = 0, 0
        for change in changes:
            now += change
            most = max(most, now)
        refused = sum("\t53300\t" in line and f"\t{settings['NAME']}\t" in line for line in lines)
        return Logged(opened=changes.count(1), refused=refused, peak=most)


def postgres_changes(lines: list[str], database: str, user: str) -> list[int]:
    """+1 for each session that was let in, -1 for each that went, in the order of the log."""
    turned_away = {line.split("\t")[2] for line in lines if "\t53300\t" in line}
    changes, live = [], set()
    for line in lines:
        fields = line.split("\t", 7)
        # The harness looks into the attempt's database too, as itself.
        if len(fields) != 8 or fields[5:7] != [user, database]:
            continue
        process, text = fields[2], fields[7]
        if text.startswith("LOG:  connection authorized:") and process not in turned_away:
            live.add(process)
            changes.append(1)
        elif text.startswith("LOG:  disconnection:") and process in live:
            live.remove(process)
            changes.append(-1)
    return changes


def mysql_changes(lines: list[str], database: str, user: str) -> list[int]:
    changes, live = [], set()
    for line in lines:
        if (found := CONNECT.search(line)) and (found[2], found[3]) == (user, database):
            live.add(found[1])
            changes.append(1)
        elif (found := QUIT.search(line)) and found[1] in live:
            live.remove(found[1])
            changes.append(-1)
    return changes


def matrix(name: str, general_log: Path) -> dict[str, Any]:
    """Written as JSON, which YAML is a superset of."""
    database: dict[str, Any] = {"engine": ENGINES[name]}
    if name == "my":
        database["settings"] = {"general_log": "on", "general_log_file": str(general_log)}
    others = [server for server in SPECS if server != CROWDED]
    crowded = {"database": "crowded"}
    return {
        "name": f"ledger-{name}",
        "load": {"users": 14, "count": "1s", "idle": "300ms", "windows": 0},
        "blocks": 1,
        "databases": {name: database, "crowded": {"engine": ENGINES[name], "max_connections": ROOM}},
        "servers": SPECS,
        "connections": {"per-request": {"conn_max_age": 0}},
        "matrix": {"database": [name, "crowded"], "server": list(SPECS), "load.profile": ["read", "hold"]},
        "exclude": [
            {"database": name, "load.profile": "hold"},
            {**crowded, "load.profile": "read"},
            {**crowded, "server": others},
        ],
    }


@pytest.fixture(scope="module", params=ENGINES)
def ledgers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledgers]:
    folder = tmp_path_factory.mktemp("ledger")
    with tempfile.TemporaryDirectory(prefix="connbench-ledger-") as log_folder:
        # Where the server's own user may write.
        Path(log_folder).chmod(0o777)
        general_log = Path(log_folder) / "general.log"
        (folder / "ledger.yaml").write_text(json.dumps(matrix(request.param, general_log)))
        _, run, output = run_matrix(str(folder / "ledger"), folder)
        found = {path.parts[-3]: json.loads(path.read_text()) for path in run.glob("cells/*/b1-a1/attempt.json")}
        logs = sorted((run / "logs").glob("*.log")) if request.param == "pg" else [general_log]
        yield Ledgers(request.param, output, found, logs)


def attempt_of(ledgers: Ledgers, server: str, database: str | None = None) -> dict[str, Any]:
    prefix = f"{database or ledgers.database}-{server}-"
    attempt = next((found for name, found in ledgers.attempts.items() if name.startswith(prefix)), None)
    assert attempt is not None, ledgers.output
    assert attempt["verdict"] == {"status": "ok", "reason": ""}, ledgers.output
    return attempt


@pytest.mark.parametrize("server", SPECS)
def test_the_books_are_what_the_log_says(ledgers: Ledgers, server: str) -> None:
    """Opened to the last connection; and the requests of the load, the server's log and the database agree."""
    attempt = attempt_of(ledgers, server)
    connections, agreement, logged = attempt["connections"], attempt["agreement"], ledgers.logged(attempt)
    assert connections["opened"] == logged.opened > 0
    assert (connections["refused"], logged.refused) == (0, 0)
    assert connections["lingering"] == 0
    assert agreement["locust"] == agreement["server_log"] == attempt["requests"] > 0
    assert (agreement["unanswered"], attempt["count_errors"]) == (0, 0)
    assert 0 < connections["peak"] <= connections["peak_slots"]
    if ledgers.database == "pg":
        assert connections["peak_slots"] == logged.peak


def test_the_connections_of_all_are_many(ledgers: Ledgers) -> None:
    """A book that is right by accident would not be so this often."""
    opened = [attempt_of(ledgers, server)["connections"]["opened"] for server in SPECS]
    assert sum(opened) > 300


def test_the_refused_are_counted_apart(ledgers: Ledgers) -> None:
    """Each is a request that failed, and none of them was opened."""
    attempt = attempt_of(ledgers, CROWDED, "crowded")
    connections, logged = attempt["connections"], ledgers.logged(attempt)
    failed = sum(kind["count"] for kind in attempt["errors"].values())
    assert connections["refused"] == failed > 0
    assert connections["peak"] <= connections["peak_slots"] <= ROOM + HARNESS_SESSIONS
    if ledgers.database == "pg":
        assert (connections["opened"], connections["refused"]) == (logged.opened, logged.refused)

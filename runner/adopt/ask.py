"""What an app's own settings and URLs say, asked in its own environment; no database is connected to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import waiting
from runner.adopt.present import own_connection
from runner.adopt.variables import Variable, value_of
from runner.errors import StackError, UsageError
from runner.provision.commands import run_command
from runner.provision.service import Command
from runner.stacks.app import OVERLAY, App, make_overlay
from runner.stacks.environment import AppEnvironment

#: Of variables that are missing: more than that and the settings are not this project's own.
MOST_VARIABLES = 60
#: The engines of Django's own backends, as a matrix names them.
FAMILIES = {"postgres": "postgres", "postgis": "postgres", "mysql": "mysql"}
DATABASE_URL = "DATABASE_URL"
#: What the line begins with on which connbench_look answers.
ANSWER = "connbench: "
IN_MEMORY = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


@dataclass(frozen=True)
class Answer:
    """What was seen; `problem` says in words why the app cannot be set up, or is empty."""

    databases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    debug: bool = False
    apps: Sequence[str] = ()
    https: bool = False
    user_model: str = "auth.User"
    #: Settings beside DATABASES that have POOL in their names.
    pool_settings: Mapping[str, Any] = field(default_factory=dict)
    #: What the app itself has put in MySQLdb's place: `pymysql`, or empty.
    mysql_driver: str = ""
    #: Of static and media files.
    prefixes: Sequence[str] = ()
    django: str = ""
    #: Every path of the URL configuration that has no parameter.
    paths: Sequence[str] = ()
    #: Aliases under which it reaches the same database as under `default`.
    replicas: Sequence[str] = ()
    #: Whether static files are looked up in a list that collectstatic has not made here.
    plain_static: bool = False
    #: Management commands that it needs beside `migrate`.
    more_setup: Sequence[Sequence[str]] = ()
    problem: str = ""

    @property
    def default(self) -> Mapping[str, Any]:
        return self.databases.get("default", {})

    @property
    def family(self) -> str:
        """The engine that the project is written for, as a matrix names it; empty where it is neither."""
        engine = str(self.default.get("ENGINE", ""))
        return next((family for part, family in FAMILIES.items() if part in engine), "")

    @property
    def postgres_alone(self) -> str:
        """Why it cannot run on another database than PostgreSQL; empty where nothing says so."""
        if "django.contrib.postgres" in self.apps:
            return "django.contrib.postgres is among the INSTALLED_APPS"
        return ""

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures should know."""
        notes = []
        if self.debug:
            notes.append(
                "DEBUG is on: Django keeps every query's text and renders more than in production; "
                "another settings module (--settings) or an environment variable (env: in app.yaml) turns it off"
            )
        if self.plain_static:
            notes.append(
                "static files have not been collected, and pages name them without the hashes that they have in "
                "production: plain_static in app.yaml"
            )
        if self.https:
            notes.append("SECURE_SSL_REDIRECT is on: every answer is a redirect to https; turn it off under env:")
        if left := own_connection(self.default, self.pool_settings).left:
            notes.append(
                f"of DATABASES['default'] this is not taken over: {', '.join(left)}; "
                "write OPTIONS that matter under `options:` of the matrix's connections"
            )
        return notes


def ask(app: App, environment: AppEnvironment, examples: Sequence[Path] = ()) -> tuple[Answer, list[Variable]]:
    """Asks until nothing is missing; also the environment variables that had to be given beside the app's own.

    UsageError where the settings go on asking, StackError where Python itself does not come up.
    """
    given: list[Variable] = []
    while len(given) < MOST_VARIABLES:
        told = _told(app, environment, {variable.name: variable.value for variable in given})
        missing = told.pop("missing", "")
        if not missing:
            answer = Answer(**told)
            if _has_database(answer) or any(variable.name == DATABASE_URL for variable in given):
                return answer, given
            # dj-database-url says nothing of a missing address, and leaves its other settings out.
            missing = DATABASE_URL
        if any(variable.name == missing for variable in given) or missing in app.env:
            return Answer(**told, problem=f"{missing} is set, and {app.description.settings} still misses it"), given
        given.append(value_of(missing, examples))
    names = ", ".join(variable.name for variable in given[:5])
    raise UsageError(f"{app.description.settings} asks for more than {MOST_VARIABLES} variables ({names} …)")


def _has_database(answer: Answer) -> bool:
    return bool(answer.default.get("ENGINE")) or not answer.databases or bool(answer.problem)


def _told(app: App, environment: AppEnvironment, given: Mapping[str, str]) -> dict[str, Any]:
    env = {**given, **make_overlay(app, IN_MEMORY, "127.0.0.1").env}
    argv = [str(environment.bin / "python"), "-W", "ignore", str(OVERLAY / "connbench_look.py")]
    command = Command([*argv, app.description.settings], env, app.folder)
    output = run_command(command, limit=waiting.MANAGEMENT_COMMAND, what=f"importing {app.description.settings}")
    lines = output.splitlines()
    answers = [line.removeprefix(ANSWER) for line in lines if line.startswith(ANSWER)]
    if not answers:
        tail = "\n".join(lines[-20:])
        raise StackError(f"importing {app.description.settings} ended without an answer:\n{tail}")
    told: dict[str, Any] = json.loads(answers[-1])
    return told

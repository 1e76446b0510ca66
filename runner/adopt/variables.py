"""Values for the environment variables that an app's settings insist on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.stacks.env_file import read_env_file

#: How variables with a database's address are called, before `_URL`.
DATABASE_ENDS = ("DATABASE", "DB", "POSTGRES", "POSTGRESQL", "PG", "REPLICA")
#: What stands in where no file of the project's has a value: nothing is connected to, and nothing is kept secret.
#: By the end of the variable's name; the first that fits. `{name}` is the variable's own, so that two databases do
#: not come out as one.
STAND_INS = (
    *((f"{end}_URL", "postgres://connbench:connbench@127.0.0.1/{name}") for end in DATABASE_ENDS),
    ("MYSQL_URL", "mysql://connbench:connbench@127.0.0.1/{name}"),
    ("REDIS_URL", "redis://127.0.0.1:6379/0"),
    ("CACHE_URL", "locmemcache://"),
    ("BROKER_URL", "memory://"),
    ("EMAIL_URL", "consolemail://"),
    ("ALLOWED_HOSTS", "127.0.0.1"),
    ("ORIGINS", "http://127.0.0.1"),
    ("DEBUG", "False"),
    ("PORT", "5432"),
    ("HOST", "127.0.0.1"),
    ("URL", "http://127.0.0.1/"),
    ("EMAIL", "nobody@example.org"),
    ("SECRET_KEY", "only-for-benchmarks-0123456789-abcdefghijklmnopqrstuvwxyz"),
    ("TIMEOUT", "10"),
    ("SECONDS", "10"),
    ("", "{name}"),
)


@dataclass(frozen=True)
class Variable:
    """`origin` is the file that has the value; empty where it only stands in."""

    name: str
    value: str
    origin: str


def value_of(name: str, files: Sequence[Path]) -> Variable:
    """From the first of the project's files that has it, or a stand-in by the variable's name.

    UsageError where a file is no text.
    """
    for path in files:
        value = read_env_file(path, interpolate=False).get(name)
        if value:
            return Variable(name, value, path.name)
    stand_in = next(value for end, value in STAND_INS if name.endswith(end))
    return Variable(name, stand_in.format(name=f"connbench_{name.lower()}"), "")

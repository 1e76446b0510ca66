"""Values for what settings insist on: the project's own files first."""

from pathlib import Path

import pytest

from runner.adopt.variables import value_of
from runner.errors import UsageError


def test_the_first_file_that_has_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EMPTY=\nNAME='from env'\n")
    (tmp_path / ".env.example").write_text("NAME=example\nEMPTY=filled\n")
    files = [tmp_path / ".env", tmp_path / ".env.example"]
    assert (value_of("NAME", files).value, value_of("NAME", files).origin) == ("from env", ".env")
    assert (value_of("EMPTY", files).value, value_of("EMPTY", files).origin) == ("filled", ".env.example")


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes("NAME=señor\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"\.env: cannot be read: .*utf-8"):
        value_of("NAME", [path])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://connbench:connbench@127.0.0.1/connbench_database_url"),
        ("ANALYTICS_DB_URL", "postgres://connbench:connbench@127.0.0.1/connbench_analytics_db_url"),
        ("REPLICA_URL", "postgres://connbench:connbench@127.0.0.1/connbench_replica_url"),
        ("POSTGRES_URL", "postgres://connbench:connbench@127.0.0.1/connbench_postgres_url"),
        ("MYSQL_URL", "mysql://connbench:connbench@127.0.0.1/connbench_mysql_url"),
        ("POSTGRES_PORT", "5432"),
        ("DJANGO_DEBUG", "False"),
        ("PAYMENT_URL", "http://127.0.0.1/"),
        ("ANYTHING", "connbench_anything"),
    ],
)
def test_what_stands_in_is_chosen_by_the_name(name: str, value: str) -> None:
    found = value_of(name, [])
    assert (found.value, found.origin) == (value, "")

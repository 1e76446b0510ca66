"""MySQL or MariaDB, whichever this machine has, on a real server."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import MySQLdb
import pytest

from runner.errors import StackError
from runner.provision.native import NativeProvider
from runner.stacks.databases import mysql_server
from runner.stacks.databases.base import Account, Database, DatabaseSpec
from runner.stacks.databases.mysql import MySQL, MySQLSpec
from runner.stacks.databases.mysql_server import Product, product_name, server_arguments, server_settings
from tests.stacks.databases.clients import ask, session
from tests.stacks.databases.contract import ROWS, DatabaseContract

_NUMBERS = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"


@pytest.mark.server
def test_a_temporary_folder_that_is_closed_to_the_servers_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As root's own TMPDIR is, which others may pass through and not write to."""
    with tempfile.TemporaryDirectory(prefix="cb-") as made:
        Path(made).chmod(0o711)
        monkeypatch.setenv("TMPDIR", made)
        monkeypatch.setattr(tempfile, "tempdir", made)
        with closing(NativeProvider()) as provider, closing(MySQL(MySQLSpec())) as database:
            database.start(provider, "my", tmp_path)
            database.ping()
            (folder,) = database._rows("SELECT @@tmpdir")[0]
            assert Path(folder).resolve() == (provider.folder / "my").resolve()


@pytest.mark.server
class TestMySQL(DatabaseContract):
    is_mysql: ClassVar[bool] = True
    make_spec: ClassVar[Callable[..., DatabaseSpec]] = MySQLSpec
    template: ClassVar[list[str]] = [
        "SET SESSION max_recursive_iterations = 10000",
        "CREATE TABLE parent (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40))",
        """
        CREATE TABLE child (
            id BIGINT AUTO_INCREMENT PRIMARY KEY, parent_id BIGINT NOT NULL,
            twice BIGINT GENERATED ALWAYS AS (parent_id * 2) STORED,
            CONSTRAINT has_parent FOREIGN KEY (parent_id) REFERENCES parent (id)
        )
        """,
        f"INSERT INTO parent (name) {_NUMBERS} SELECT MD5(i) FROM n",
        f"INSERT INTO child (parent_id) {_NUMBERS} SELECT i FROM n",
        # INSERT … SELECT sets more numbers aside than it needs.
        f"ALTER TABLE parent AUTO_INCREMENT = {ROWS + 1}",
    ]
    missing_parent: ClassVar[type[Exception]] = MySQLdb.IntegrityError
    refusal: ClassVar[type[Exception]] = MySQLdb.OperationalError
    sleep: ClassVar[str] = "SELECT SLEEP(1)"

    def test_copies_have_the_same_definition_and_figures(
        self, database: Database, original: Account, account: Account
    ) -> None:
        other = database.create_from_template("second_copy", original)
        seen = []
        for one in (account, other):
            with closing(session(database, one)) as client:
                figures = f"""
                    SELECT table_name, index_name, column_name, cardinality FROM information_schema.statistics
                    WHERE table_schema = '{one.database}' ORDER BY 1, 2, 3
                """
                definitions = [ask(client, f"SHOW CREATE TABLE {table}") for table in ("parent", "child")]
                # CHECKSUM TABLE is now and then wrong the first time where a column is generated.
                content = ask(client, "SELECT SUM(CRC32(CONCAT_WS(',', id, parent_id, twice))) FROM child")
                seen.append((definitions, ask(client, figures), content))
        database.drop(other)
        assert seen[0] == seen[1]
        assert f"AUTO_INCREMENT={ROWS + 1}" in str(seen[0][0])
        assert all(row[3] == ROWS for row in seen[0][1])

    def test_what_a_copy_would_lose_is_refused(self, database: Database) -> None:
        account = database.create_empty("with_a_view")
        with closing(session(database, account)) as client:
            ask(client, "CREATE VIEW seen AS SELECT 1 AS one")
        with pytest.raises(StackError, match=r"has views \(seen\)"):
            database.freeze(account)
        database.drop(account)

    def test_nobody_gets_in_without_a_password(self, database: Database) -> None:
        address = database.service.address
        with pytest.raises(MySQLdb.OperationalError):
            MySQLdb.connect(host=address.host, port=address.port, user="root")
        users = {row[0] for row in _rows(database, "SELECT user FROM mysql.user")}
        assert "root" not in users

    def test_others_that_come_meanwhile_put_the_peak_in_doubt(
        self, database: Database, original: Account, account: Account, exact: bool
    ) -> None:
        other = database.create_from_template("comes_meanwhile", original)
        mark = database.mark_peak(account)
        with closing(session(database, other)):
            peak = database.read_peak(mark)
        database.drop(other)
        assert "other accounts" in peak.doubt
        assert ("clients opened 1 connections, of which 0" in peak.doubt) == exact


@pytest.mark.parametrize(
    ("version", "comment", "name"),
    [
        ("10.11.19-MariaDB-0+deb12u1", "Debian 12", "MariaDB 10.11.19"),
        ("11.4.2-MariaDB", "", "MariaDB 11.4.2"),
        ("8.4.3", "MySQL Community Server - GPL", "MySQL 8.4.3"),
        ("9.7.0-1", "(Debian)", "MySQL 9.7.0"),
    ],
)
def test_product_by_its_own_words(version: str, comment: str, name: str) -> None:
    assert product_name(version, comment) == name


def test_each_product_gets_its_own_settings() -> None:
    mysql = Product("mysqld", "MySQL 8.4.3", mysql_server.MYSQL.kit)
    mariadb = Product("mariadbd", "MariaDB 10.11.19", mysql_server.MARIADB.kit)
    arguments = server_arguments(mysql, server_settings(mysql))
    assert {"--mysqlx=OFF", "--secure_file_priv=", "--skip-log-bin"} <= set(arguments)
    assert not any("userstat" in argument for argument in arguments)
    arguments = server_arguments(mariadb, server_settings(mariadb))
    assert "--userstat=ON" in arguments
    assert not any("mysqlx" in argument for argument in arguments)


def _rows(database: Any, query: str) -> Any:
    return database._rows(query)

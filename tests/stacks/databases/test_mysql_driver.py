"""The harness's own sessions where mysqlclient cannot be compiled: PyMySQL gives the same books."""

import subprocess
import sys

import pytest

from runner.stacks.databases import mysql_driver
from tests.processes import ROOT

FILE = "tests/stacks/databases/test_mysql.py"
#: What MySQL's own tests hold of books, copies, states and sessions that are ended.
TESTS = "books_are_exact or copy_is_equal or each_state or connections_that_are_killed or cut_off"
# PyMySQL leaves the socket of a connection that was refused to the garbage collector.
WARNINGS = "ignore::ResourceWarning"
# None in its place is Python's own way of saying that a module is not there.
WITHOUT_MYSQLCLIENT = f"""
import sys
sys.modules["MySQLdb"] = None
from runner.stacks.databases import mysql_driver
assert mysql_driver.PACKAGE == "pymysql"
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-W", "{WARNINGS}", "-k", "{TESTS}", "{FILE}"]))
"""


def test_mysqlclient_is_taken_where_it_is_there() -> None:
    assert mysql_driver.PACKAGE == "mysqlclient"


@pytest.mark.server
def test_pymysql_gives_the_same_books() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MYSQLCLIENT], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout

"""MySQLdb for the harness's own sessions: mysqlclient, or PyMySQL where a machine without a compiler has containers."""

try:
    import MySQLdb

    #: The package that it is.
    PACKAGE = "mysqlclient"
except ImportError:
    import pymysql

    pymysql.install_as_MySQLdb()
    import MySQLdb

    PACKAGE = "pymysql"

__all__ = ["PACKAGE", "MySQLdb"]

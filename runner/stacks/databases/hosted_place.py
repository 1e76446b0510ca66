"""Where a database is that is there already: the URL in an environment variable, read and looked at."""

import os
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict

from runner.errors import EnvironmentUnfit
from runner.provision.service import Address
from runner.stacks.databases.base import HARNESS_SESSIONS
from runner.stacks.databases.postgres import PostgresSpec
from runner.stacks.databases.postgres_monitor import Session, WayIn, connect

#: The comment on a database that is the harness's to use although there is something in it.
MARK = "connbench"
#: Where the harness keeps, in the database that the URL names, the names of what it has made on the server.
SCHEMA, TABLE = "connbench", "made"
PORT = 5432
# `pg_stat_database` counts sessions since then.
OLDEST = 14
_EXAMPLE = "postgresql://user:password@host:5432/database"
# What the server is told of each of the harness's sessions, in milliseconds: a statement has an end, before
# `waiting.DATABASE_REPLY`.
_SESSION = "-c statement_timeout=55000 -c lock_timeout=30000"
# What libpq is: a network that has gone is noticed within half a minute.
_NETWORK = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}
_NAMED = ("host", "dbname", "user", "password")
_TLS_MODES = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Place:
    """Where a URL leads; `variable` is what has it."""

    variable: str
    address: Address
    way_in: WayIn


@dataclass(frozen=True)
class Terms:
    """What the server lets the account do. `others`: sessions of other people when this was asked."""

    may_make_roles: bool
    others: int


def read_place(spec: PostgresSpec) -> Place:
    """What the environment variable `url_from` says; EnvironmentUnfit where it says too little, or what cannot be."""
    place = read_url(spec.url_from or "", "require" if spec.tls else "disable")
    variable, mode = place.variable, place.way_in.sslmode
    if mode in _TLS_MODES and not spec.tls:
        raise EnvironmentUnfit(f"{variable} asks for TLS (sslmode={mode}), and the matrix has none: write tls: true")
    if mode not in _TLS_MODES and spec.tls:
        raise EnvironmentUnfit(f"the matrix has tls: true, and {variable} sslmode={mode}: leave that out of the URL")
    return place


def read_url(variable: str, sslmode: str) -> Place:
    """The same without a matrix; `sslmode` is for a URL that has none."""
    try:
        words = {name: str(value) for name, value in conninfo_to_dict(os.environ.get(variable, "")).items()}
    except psycopg.ProgrammingError:
        # Its own message may have the password in it.
        raise EnvironmentUnfit(f"{variable} is no PostgreSQL URL: {_EXAMPLE}") from None
    missing = [name for name in _NAMED if not words.get(name)]
    if missing:
        raise EnvironmentUnfit(
            f"{variable} names no {missing[0]}: set it to {_EXAMPLE}, a database that is empty and connbench's alone"
        )
    port = words.pop("port", str(PORT))
    user, password, home, host = (words.pop(name) for name in ("user", "password", "dbname", "host"))
    if host.startswith("/") or "," in host or not port.isdigit():
        raise EnvironmentUnfit(f"{variable} has to name one host and one port, as in {_EXAMPLE}")
    mode = words.pop("sslmode", sslmode)
    options = {**_NETWORK, **words, "options": f"{words.get('options', '')} {_SESSION}".strip()}
    return Place(variable, Address(host, int(port)), WayIn(user, password, home, mode, options))


def refuse_unfit(spec: PostgresSpec) -> None:
    """EnvironmentUnfit unless a run on that server can begin; it is looked at, and nothing is changed there."""
    place = read_place(spec)
    with enter(place) as session:
        look(session, place, spec)


def enter(place: Place) -> Session:
    """A session in the database that the URL names; EnvironmentUnfit, in the server's words, where there is none."""
    try:
        return connect(place.address, place.way_in)
    except psycopg.Error as error:
        raise EnvironmentUnfit(f"{place.variable}: no session on that server: {_words(error, place)}") from None


def look(session: Session, place: Place, spec: PostgresSpec) -> Terms:
    """EnvironmentUnfit unless the server is as the matrix says, and the database and the account fit for a run."""
    where, home = f"the server at {place.variable}", place.way_in.home
    version, lets_in, reserved, sessions, roles, databases, schemas, comment, found = session.execute(_LOOK).fetchall()[
        0
    ]
    if version < OLDEST * 10_000:
        raise EnvironmentUnfit(f"{where} is too old: PostgreSQL counts sessions since version {OLDEST}")
    if lets_in != spec.max_connections:
        raise EnvironmentUnfit(
            f"{where} lets in {lets_in} connections, and the matrix says {spec.max_connections}: "
            f"write max_connections: {lets_in}"
        )
    if lets_in - reserved - sessions < HARNESS_SESSIONS + 1:
        raise EnvironmentUnfit(
            f"{where} is full: of {lets_in} connections {reserved} are reserved and {sessions} taken by others"
        )
    if not databases:
        raise EnvironmentUnfit(
            f"{place.variable}: {place.way_in.user} may make no databases, and each attempt has one of its own, "
            f"with counters of its own: ALTER ROLE {place.way_in.user} CREATEDB"
        )
    if comment != MARK and found:
        raise EnvironmentUnfit(
            f"the database {home} at {place.variable} is not empty ({', '.join(found[:3])}) and has no mark, so it is "
            f"somebody's: name an empty one, or say that it is connbench's: COMMENT ON DATABASE {home} IS '{MARK}'"
        )
    if not schemas:
        raise EnvironmentUnfit(
            f"{place.variable}: {place.way_in.user} may make no schema in {home}, where connbench keeps the names of "
            f"what it makes: GRANT CREATE ON DATABASE {home} TO {place.way_in.user}"
        )
    return Terms(bool(roles), int(sessions))


def _words(error: psycopg.Error, place: Place) -> str:
    """The server's own words, on one line, without the password should it be in them."""
    words = "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__
    return words.replace(place.way_in.password, "***")


_LOOK = f"""
    SELECT current_setting('server_version_num')::int,
           current_setting('max_connections')::int,
           (SELECT coalesce(sum(setting::int), 0) FROM pg_settings
            WHERE name IN ('superuser_reserved_connections', 'reserved_connections',
                           'rds.rds_superuser_reserved_connections')),
           (SELECT count(*) FROM pg_stat_activity
            WHERE datname IS NOT NULL AND usename IS NOT NULL AND application_name !~ '^connbench'),
           rolcreaterole OR rolsuper,
           rolcreatedb OR rolsuper,
           has_database_privilege(current_database(), 'CREATE'),
           (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()),
           ARRAY(SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                   AND NOT (n.nspname = '{SCHEMA}' AND c.relname = '{TABLE}')
                   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
                 ORDER BY 1)
    FROM pg_roles WHERE rolname = current_user
"""

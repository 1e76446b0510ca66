"""The database of a deployment, from the environment; SQLite where the environment names none.

`DB_ENGINE` (or the scheme of `DATABASE_URL`) is `postgresql` or `mysql`, as in Django. Other names are
Django's own settings with `DB_` before them, and those of its connection pool with `DB_POOL_`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

ENGINES = {
    "postgresql": "django.db.backends.postgresql",
    "postgres": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
    "mariadb": "django.db.backends.mysql",
}
SWITCHES = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
}


def switch(text: str) -> bool:
    if text.lower() not in SWITCHES:
        raise ValueError("expected true or false")
    return SWITCHES[text.lower()]


def age(text: str) -> int | None:
    """Seconds, or None for connections that are never closed."""
    return None if text.lower() in ("none", "null") else int(text)


CONNECTION: Mapping[str, Callable[[str], object]] = {
    "CONN_MAX_AGE": age,
    "CONN_HEALTH_CHECKS": switch,
    "ATOMIC_REQUESTS": switch,
    "DISABLE_SERVER_SIDE_CURSORS": switch,
}
POOL: Mapping[str, Callable[[str], object]] = {
    "MIN_SIZE": int,
    "MAX_SIZE": int,
    "TIMEOUT": float,
    "MAX_WAITING": int,
    "MAX_LIFETIME": float,
    "MAX_IDLE": float,
    "RECONNECT_TIMEOUT": float,
    "NUM_WORKERS": int,
}


def database(environ: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """`DATABASES["default"]`; ImproperlyConfigured names the variable that is wrong."""
    place = _place(environ)
    if place is None:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": folder / "db.sqlite3",
            # SQLite has no row locks: an order that takes the write lock at its start waits for its turn, one
            # that takes it halfway fails with "database is locked".
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        }
    settings = {**place, **_read(environ, "DB_", CONNECTION)}
    if _read(environ, "DB_POOL_", {"ENABLED": switch}).get("ENABLED"):
        pool = _read(environ, "DB_POOL_", POOL)
        settings["OPTIONS"] = {"pool": {name.lower(): value for name, value in pool.items()} or True}
    return settings


def _place(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Which database, and where; None where the environment names none."""
    url = urlsplit(environ.get("DATABASE_URL", ""))
    name = environ.get("DB_ENGINE") or url.scheme
    if not name:
        return None
    engine = ENGINES.get(name.removeprefix("django.db.backends."))
    if engine is None:
        raise ImproperlyConfigured(f"DB_ENGINE or DATABASE_URL: {name} is none of {', '.join(ENGINES)}")
    return {
        "ENGINE": engine,
        "NAME": environ.get("DB_NAME", unquote(url.path.removeprefix("/"))),
        "USER": environ.get("DB_USER", unquote(url.username or "")),
        "PASSWORD": environ.get("DB_PASSWORD", unquote(url.password or "")),
        "HOST": environ.get("DB_HOST", url.hostname or ""),
        "PORT": environ.get("DB_PORT", url.port or ""),
    }


def _read(
    environ: Mapping[str, str], prefix: str, names: Mapping[str, Callable[[str], object]]
) -> dict[str, Any]:
    values = {}
    for name, reader in names.items():
        text = environ.get(prefix + name)
        if text is None:
            continue
        try:
            values[name] = reader(text.strip())
        except ValueError as error:
            raise ImproperlyConfigured(f"{prefix}{name}: {text!r}: {error}") from error
    return values

"""Run by the harness, once: what an app's settings and URLs say. Prints ANSWER and one JSON object on a line.

Runs inside the app's environment with the settings module's name as its argument. The settings are imported under the
overlay, with a database in memory, and Django is set up: no server is connected to.
"""

import json
import os
import re
import sys
from typing import Any

from connbench_aliases import under_test

ANSWER = "connbench: "
#: Stands for the database that a cell has; its name is nobody else's.
CELL = {"ENGINE": "django.db.backends.sqlite3", "NAME": "of the cell"}
#: Told of each database beside its engine; nothing that is a secret.
SHOWN = (
    "CONN_MAX_AGE",
    "CONN_HEALTH_CHECKS",
    "ATOMIC_REQUESTS",
    "AUTOCOMMIT",
    "DISABLE_SERVER_SIDE_CURSORS",
)
#: How os.environ, django-environ, environs, python-decouple and home-made helpers name what they miss.
MISSING = (
    re.compile(r"[Ss]et the ['\"]?([A-Z][A-Z0-9_]+)"),
    re.compile(r"^([A-Z][A-Z0-9_]+) not found\. Declare"),
    re.compile(r"[Ee]nvironment variable:? ['\"]?([A-Z][A-Z0-9_]+)"),
    re.compile(r"([A-Z][A-Z0-9_]+)['\"]? environment variable"),
)
NAME = re.compile(r"[A-Z][A-Z0-9_]+")
SECRET = re.compile(r"['\"]([A-Z0-9_]*SECRET_KEY[A-Z0-9_]*)['\"]")
#: Paths that a look should not follow.
HARMFUL = re.compile(r"log-?out|sign-?out|delete|remove|debug|silk|__", re.IGNORECASE)


def main() -> None:
    # What the app prints may stand before it without a line's end, and after it.
    print(f"\n{ANSWER}{json.dumps(look(sys.argv[1]))}")  # noqa: T201  the answer


def look(module: str) -> dict[str, Any]:
    """`missing` names an environment variable; `problem` says what is wrong; otherwise what was seen."""
    try:
        from django.conf import settings as overlaid  # noqa: PLC0415  Django may not be there

        # Any will do: Django imports the overlay's settings, and those the app's.
        overlaid.DEBUG  # noqa: B018
    except Exception as error:  # noqa: BLE001  an app's settings can raise anything
        # What the overlay itself refuses is told below, beside what was seen.
        if module not in sys.modules:
            return told(error)
    settings = sys.modules[module]
    if not getattr(settings, "SECRET_KEY", "") and (name := _secret_of(settings)):
        return {"missing": name}
    seen = {
        "databases": {alias: _shown(one) for alias, one in getattr(settings, "DATABASES", {}).items()},
        "pool_settings": {name: _plain(getattr(settings, name)) for name in dir(settings) if _of_a_pool(name)},
        "debug": bool(getattr(settings, "DEBUG", False)),
        "apps": [app for app in getattr(settings, "INSTALLED_APPS", []) if isinstance(app, str)],
        "https": bool(getattr(settings, "SECURE_SSL_REDIRECT", False)),
        "user_model": getattr(settings, "AUTH_USER_MODEL", "auth.User"),
        "more_setup": _more_setup(settings),
        "prefixes": [str(getattr(settings, name, None) or "") for name in ("STATIC_URL", "MEDIA_URL")],
    }
    try:
        aliases = json.loads(os.environ["CONNBENCH_OVERLAY"])["aliases"]
        used = under_test(getattr(settings, "DATABASES", {}), CELL, aliases)
        replicas = [alias for alias, one in used.items() if alias != "default" and one.get("NAME") == CELL["NAME"]]
        more = {"plain_static": _is_uncollected(settings), "mysql_driver": _mysql_driver()}
        return {**seen, "replicas": replicas, **_set_up(), **more}
    except Exception as error:  # noqa: BLE001
        return {**seen, **told(error)}


def told(error: Exception) -> dict[str, str]:
    """What is missing or wrong, from what the app raised."""
    text = str(error)
    if isinstance(error, KeyError) and error.args and NAME.fullmatch(str(error.args[0])):
        return {"missing": str(error.args[0])}
    for pattern in MISSING:
        if found := pattern.search(text):
            return {"missing": found[1]}
    return {"problem": f"{type(error).__name__}: {text}"}


def _secret_of(settings: Any) -> str:
    """The variable from which the settings, or those that they are built upon, take their SECRET_KEY."""
    known = [
        settings,
        *(module for name, module in sys.modules.items() if name.startswith(settings.__name__.split(".")[0])),
    ]
    for module in known:
        path = getattr(module, "__file__", None)
        if path and path.endswith(".py") and (found := SECRET.search(open(path, encoding="utf-8").read())):  # noqa: PTH123, SIM115
            return found[1]
    return ""


def _shown(database: dict[str, Any]) -> dict[str, Any]:
    shown = {name: _plain(database[name]) for name in SHOWN if name in database}
    options = {name: _plain(database.get(name) or {}) for name in ("OPTIONS", "POOL_OPTIONS")}
    return {"ENGINE": str(database.get("ENGINE", "")), **shown, **options}


def _of_a_pool(name: str) -> bool:
    return name.isupper() and "POOL" in name


def _plain(value: Any) -> Any:
    """Numbers and switches as they are, of everything else its type: it may be a secret, or nothing that JSON has."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return value if value is None or isinstance(value, (int, float)) else f"<{type(value).__name__}>"


def _mysql_driver() -> str:
    """`pymysql` where the app has put it in MySQLdb's place; empty where it has not."""
    pymysql = sys.modules.get("pymysql")
    return "pymysql" if pymysql is not None and sys.modules.get("MySQLdb") is pymysql else ""


def _more_setup(settings: Any) -> list[list[str]]:
    """Management commands beside `migrate` without which pages fail: what settings ask for and nobody has made."""
    caches = getattr(settings, "CACHES", {}).values()
    return [["createcachetable"]] if any("DatabaseCache" in cache.get("BACKEND", "") for cache in caches) else []


def _is_uncollected(settings: Any) -> bool:
    """Whether static files are looked up in a list of collectstatic's that this machine does not have.

    To make it would be to write into the project, or into a bucket that is in use.
    """
    from django.contrib.staticfiles.storage import ManifestFilesMixin, StaticFilesStorage  # noqa: PLC0415
    from django.utils.module_loading import import_string  # noqa: PLC0415

    storage = getattr(settings, "STORAGES", {}).get("staticfiles", {}).get("BACKEND", "")
    try:
        kind = import_string(storage or getattr(settings, "STATICFILES_STORAGE", ""))
    except ImportError:
        # Without one, or with one that is not there: its pages say so.
        return False
    # Any other is somewhere else, and keeps its list there.
    local = issubclass(kind, StaticFilesStorage)
    made = os.path.join(str(getattr(settings, "STATIC_ROOT", None) or ""), getattr(kind, "manifest_name", ""))  # noqa: PTH118
    return issubclass(kind, ManifestFilesMixin) and not (local and os.path.exists(made))  # noqa: PTH110


def _set_up() -> dict[str, Any]:
    import django  # noqa: PLC0415  the settings may be wrong

    django.setup()
    from django.urls import get_resolver  # noqa: PLC0415  it wants to be set up

    paths = sorted(set(_paths(get_resolver().url_patterns, "/")), key=lambda path: (path.count("/"), path))
    return {"django": django.get_version(), "paths": [path for path in paths if not HARMFUL.search(path)]}


def _paths(patterns: Any, before: str) -> list[str]:
    """Every path without a parameter in it."""
    found = []
    for pattern in patterns:
        text = str(pattern.pattern).removeprefix("^").removesuffix("$").removesuffix("\\Z").replace("\\.", ".")
        if re.search(r"[<>()\[\]*+?\\|]", text):
            continue
        if hasattr(pattern, "url_patterns"):
            found += _paths(pattern.url_patterns, before + text)
        else:
            found.append(before + text)
    return found


if __name__ == "__main__":
    main()

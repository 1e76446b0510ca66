"""The settings module of a Django process under test: the app's own settings, and a few things on top.

Runs inside the app's environment, where nothing of the runner can be imported. Everything comes from one
environment variable, CONNBENCH_OVERLAY: a JSON object with `settings` (the app's own module), `databases`, `aliases`
(what becomes of the app's other databases), `allowed_hosts` (put behind the app's own), `middleware` (put before the
app's own), `apps` (put behind them), `plain_static` (whether static files go without hashes in their names) and
`process` (what driver and pool need); `token`, `probe` and `timing` are for the timing middleware. Variables of the
app's that would steer the server come as CONNBENCH_KEPT_BACK_<name>, and are there while its settings are imported;
libpq's are taken away then, wherever they come from: PGHOSTADDR goes before the HOST of DATABASES. `runserver` has no
option for its log: CONNBENCH_RUNSERVER_LOG names the file.
"""

import importlib
import json
import os
import sys
from typing import Any

from connbench_aliases import under_test

_overlay = json.loads(os.environ["CONNBENCH_OVERLAY"])
if _overlay["process"]["driver"] == "pymysql":
    # Django knows MySQLdb alone. Its backend is loaded after the settings, so that it finds PyMySQL in its place.
    importlib.import_module("pymysql").install_as_MySQLdb()
_PREFIX = "CONNBENCH_KEPT_BACK_"
_kept_back = {name.removeprefix(_PREFIX): value for name, value in os.environ.items() if name.startswith(_PREFIX)}
os.environ.update(_kept_back)


def __dir__() -> list[str]:
    """While the app's settings are imported: those that it has so far, for code of its that asks Django for them."""
    return [name for name in dir(sys.modules.get(_overlay["settings"])) if name.isupper() and name != "DATABASES"]


def __getattr__(name: str) -> Any:
    return getattr(sys.modules.get(_overlay["settings"]), name)


_app = importlib.import_module(_overlay["settings"])
del __dir__, __getattr__
for _name in [name for name in os.environ if name in _kept_back or name.startswith("PG")]:
    del os.environ[_name]
_pymysql = sys.modules.get("pymysql")
if _overlay["process"]["driver"] == "mysqlclient" and sys.modules.get("MySQLdb", ...) is _pymysql:
    # The app has put PyMySQL in MySQLdb's place; the cell is measured with what it says.
    del sys.modules["MySQLdb"]
globals().update({name: getattr(_app, name) for name in dir(_app) if name.isupper()})
globals().update(_overlay["process"]["settings"])

DATABASES = under_test(getattr(_app, "DATABASES", {}), _overlay["databases"]["default"], _overlay["aliases"])
ALLOWED_HOSTS = [*getattr(_app, "ALLOWED_HOSTS", []), *_overlay["allowed_hosts"]]
MIDDLEWARE = [*_overlay["middleware"], *getattr(_app, "MIDDLEWARE", [])]
if _overlay["apps"]:
    INSTALLED_APPS = [*getattr(_app, "INSTALLED_APPS", []), *_overlay["apps"]]

if _overlay["plain_static"]:
    _plain = "django.contrib.staticfiles.storage.StaticFilesStorage"
    # Django refuses the old setting beside the new one, and from 5.1 on knows the new one alone.
    if hasattr(_app, "STATICFILES_STORAGE") and "staticfiles" not in getattr(_app, "STORAGES", {}):
        STATICFILES_STORAGE = _plain
    else:
        STORAGES = {**getattr(_app, "STORAGES", {}), "staticfiles": {"BACKEND": _plain}}

if "CONNBENCH_RUNSERVER_LOG" in os.environ:
    _logging: dict[str, Any] = {"version": 1, "disable_existing_loggers": False, **getattr(_app, "LOGGING", {})}
    _handler = {"class": "logging.FileHandler", "filename": os.environ["CONNBENCH_RUNSERVER_LOG"]}
    _logger = {"handlers": ["connbench_access"], "level": "INFO", "propagate": False}
    LOGGING = {
        **_logging,
        "handlers": {**_logging.get("handlers", {}), "connbench_access": _handler},
        "loggers": {**_logging.get("loggers", {}), "django.server": _logger},
    }
